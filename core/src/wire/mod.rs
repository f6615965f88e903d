//! The wire formats: pure text and bytes, no state, no decisions.
//!
//! Every parser here reads what a stranger sent. It borrows its input, is bounded by a constant of [`crate::limits`],
//! never allocates and never panics; what it cannot read it refuses by name. Writers go to any [`core::fmt::Write`] or
//! [`embedded_io::Write`], so a host chooses where bytes end up.
//!
//! What follows from a header (which item is blocked for how long, whether a request is sent again) is decided
//! elsewhere; modules here know only [`crate::item`] and [`crate::time`].

pub mod auth;
mod base64;
mod calendar;
pub mod client_report;
pub mod dsn;
pub mod envelope;
mod hex;
pub mod http_date;
pub mod json;
mod lossy_utf8;
pub mod otlp;
pub(crate) mod output;
pub mod percent;
pub mod rate_limits;
pub mod retry_after;
mod seconds;
mod sink;
mod split;
pub mod timestamp;
pub mod trace_context;

pub use output::{WriteError, put};
