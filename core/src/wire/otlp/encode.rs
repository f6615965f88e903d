//! Encodes spans, log records, resources and scopes as OTLP protobuf, without allocating.
//!
//! What is recorded is borrowed, and written once, straight into the memory it will wait in:
//!
//! ```
//! use surgetank_core::wire::otlp::encode::{AnyValue, KeyValue, Limits, Span, SpanId, TraceId};
//! use surgetank_core::wire::otlp::protobuf::Writer;
//!
//! let trace = TraceId::new([1; 16]).unwrap();
//! let attributes = [KeyValue::new("http.response.status_code", AnyValue::Int(200))];
//! let span = Span {
//!     attributes: &attributes,
//!     start_unix_nanos: 1,
//!     end_unix_nanos: 2,
//!     ..Span::new(trace, SpanId::new([2; 8]).unwrap(), "GET /")
//! };
//! let limits = Limits::default();
//! let mut slot = [0; 256]; // or a reserved slot of `span.encoded_len(&limits)` bytes
//! let mut out = Writer::new(&mut slot);
//! span.encode(&mut out, &limits);
//! assert_eq!(out.finish(), Ok(span.encoded_len(&limits)));
//! ```
//!
//! Attributes that do not come as a slice (another library's map or list) are added one by one through the closure of
//! `encode_with`: [`Span::encode_with`], [`LogRecord::encode_with`], [`Resource::encode_with`]. The length of such a
//! record is measured by running the same closure against a [`Length`](super::protobuf::Length).
//!
//! Limits are those of the OpenTelemetry specification ("Attribute Limits", "Span Limits", "LogRecord Limits"): what is
//! beyond them is left out and counted in the record's own `dropped_*` fields. Ids that are no ids cannot be made, so an
//! encoded record is never refused for them. A later field of the same name is the caller's mistake and not looked for.

mod attributes;
mod limits;
mod log;
mod resource;
mod span;
#[cfg(test)]
mod tests;

pub use crate::wire::trace_context::{SpanId, TraceId};
pub use attributes::{AnyValue, Attributes, Entries, KeyValue, Values};
pub use limits::Limits;
pub use log::{LogParts, LogRecord, Severity};
pub use resource::{Resource, Scope};
pub use span::{Event, Link, Span, SpanKind, SpanParts, Status};
