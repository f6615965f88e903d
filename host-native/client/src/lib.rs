//! Telemetry delivery for Rust programs: errors, transactions, spans, logs, sessions and check-ins on their way to
//! Sentry or to anything that speaks OTLP.
//!
//! ```no_run
//! use std::time::Duration;
//! use surgetank::Client;
//! use surgetank::sentry::Level;
//!
//! let client = Client::builder()
//!     .sentry_dsn("https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/42")
//!     .release("shop@1.4.2")
//!     .build()?;
//! let _ = client.message(Level::Warning, "the disk is nearly full");
//! let report = client.close(Duration::from_secs(2));
//! if !report.complete {
//!     eprintln!("telemetry was left behind: {:?}", report.left().collect::<Vec<_>>());
//! }
//! # Ok::<(), surgetank::BuildError>(())
//! ```
//!
//! # What to rely on
//!
//! - **Recording never blocks**: no lock, no allocation, bounded work. Records are encoded straight into a ring of fixed
//!   memory, after one look at whether they may enter at all.
//! - **Memory never grows**: intake and queue are reserved when the client is built ([`ClientBuilder::memory`]). A
//!   request in flight has its body in memory beside them.
//! - **Nothing is lost silently**: [`Client::status`] has what was recorded, delivered, dropped (by reason) and is queued,
//!   per category; Sentry is told of losses in client reports.
//! - **Everything ends**: [`Client::flush`] and [`Client::close`] keep their deadlines whatever the server does.
//! - **The server is obeyed**: rate limits, `Retry-After` and OTLP throttling.
//! - **Errors outlive logs** under pressure.
//!
//! Decisions are made in [`surgetank_core`]; this crate adds the thread, the clock and HTTP (see [`delivery`]).
//!
//! # What it does not do
//!
//! It captures nothing by itself: no panic hook, no `log` or `tracing` layer, no instrumentation. It is what such a
//! layer delivers through.

mod body;
mod builder;
mod client;
pub mod delivery;
pub mod diagnostics;
pub mod environment;
mod ids;
mod json;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
mod panics;
pub mod sentry;

pub use body::Compression;
pub use builder::{BuildError, ClientBuilder, DEFAULT_MEMORY, LONGEST_TIMEOUT, MAX_MEMORY, MIN_MEMORY};
pub use client::{Capture, Client};
pub use delivery::http::{PemError, TlsFiles};
pub use delivery::{FlushReport, Status};
pub use ids::{EventId, InvalidId};
pub use surgetank_core::downsample::Policy;
pub use surgetank_core::item::{Category, DropReason, Outcome, Signal};
pub use surgetank_core::time::UnixTime;
/// What can be recorded for OTLP, and the values of attributes.
pub use surgetank_core::wire::otlp::encode as otlp;
