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
//! # The model
//!
//! ```text
//!  any thread, handler, destructor          one thread of ours                              servers
//!
//!  sentry crate ------.                                                          .-- envelopes --> Sentry
//!  opentelemetry_sdk --> gate? -> encode -> [ intake ] -> [ engine: lanes, ] ---<
//!  Client::event, .. -'     ^                fixed ring   [ limits, retries ]    '-- requests ---> OTLP collector
//!                           |                                |        ^
//!                           '--- limits, pressure -----------'        '-- answers, failures, time
//! ```
//!
//! - A record is encoded where it is made, straight into the **intake**, after one look at the **gate**, which knows what
//!   would be refused: a rate limit, a full queue, a closed client.
//! - One thread takes records out and hands them to the **engine**, which makes every decision: which record goes first,
//!   which one makes room, what is sent together, when something is sent again. It keeps the account.
//! - What becomes of a record shows in [`Client::status`]: for every [`Category`], recorded = delivered + dropped + queued,
//!   and each drop has a [reason](DropReason).
//!
//! # Two lines in a program that has an SDK
//!
//! | SDK | feature | the two lines | about |
//! |---|---|---|---|
//! | `sentry` | `sentry` | `let transport = surgetank::sentry::transport();` and `.transport(transport.clone())` | `sentry::SentryTransport` |
//! | `opentelemetry_sdk` | `opentelemetry` | `let client = surgetank::ClientBuilder::from_env()?.build()?;` and `.with_span_processor(surgetank::opentelemetry::SpanProcessor::new(&client))` | module `opentelemetry` |
//! | `tracing` | `opentelemetry` | the same, under `tracing-opentelemetry` (spans) and `opentelemetry-appender-tracing` (logs) | `examples/axum-opentelemetry` |
//! | `sentry` and `opentelemetry_sdk` | both | one client for both: `transport.client()` | `sentry::ActiveSpan`, and `examples/axum-both` |
//!
//! Without an SDK, a [`Client`] has its own calls: [`Client::event`], [`Client::transaction`], [`Client::log`],
//! [`Client::session`], [`Client::check_in`], [`Client::otlp_span`], [`Client::otlp_log`]; and it takes what others
//! encoded: [`Client::envelope`], [`Client::item`], [`Client::otlp_request`]. Programs in C and C++ have the crate
//! `surgetank-capi`.
//!
//! To see that it works, [`ClientBuilder::debug`] writes to standard error which requests were refused, why no answer came, what
//! is tried again, and which variables were ignored.
//!
//! # What to rely on
//!
//! - **Recording never blocks**: no lock, no allocation, bounded work.
//! - **Memory never grows**: intake and queue are reserved when the client is built ([`ClientBuilder::memory`]). A
//!   request in flight has its body in memory beside them, and so have spans that wait for the root of their transaction
//!   ([`Status::assembly`]), at most a quarter of the queue.
//! - **Nothing is lost silently**: the account of [`Client::status`] is told to Sentry in client reports, and to
//!   OpenTelemetry as metrics (`opentelemetry::report_metrics`).
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
