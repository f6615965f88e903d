//! The headers that carry a trace from one program to the next.
//!
//! | header | holds | follows |
//! |---|---|---|
//! | `traceparent` | [`Traceparent`]: trace, parent span, flags | W3C Trace Context Level 2, section 3.2 |
//! | `tracestate` | [`Tracestate`]: one entry per tracing system | W3C Trace Context Level 2, section 3.3 |
//! | `tracestate`, key `ot` | [`Probability`]: how probable it was to be kept | OpenTelemetry, "TraceState: Probability Sampling" |
//! | `baggage` | [`Baggage`]: keys, values, properties | W3C Baggage |
//! | `sentry-trace` | [`SentryTrace`]: trace, parent span, decision | Sentry develop docs, "Trace Propagation" |
//! | `baggage`, keys `sentry-*` | [`SamplingContext`] | Sentry develop docs, "Dynamic Sampling Context" |
//!
//! Parsers take the values of every field line with the header's name, in order and as received, for the rules say what
//! several lines mean: nothing valid for `traceparent` and `sentry-trace`, one joined list for the others. An invalid
//! `traceparent` means that a new trace starts and that `tracestate` is not even looked at; the reverse does not hold.

mod baggage;
mod probability;
mod sampling_context;
mod sentry_trace;
mod traceparent;
mod tracestate;

use core::fmt;

pub use baggage::{Baggage, BaggageError, BaggageWriter, Member, Property};
pub use probability::{OT, Probability};
pub use sampling_context::SamplingContext;
pub use sentry_trace::{SentryTrace, SentryTraceError};
pub use traceparent::{Traceparent, TraceparentError};
pub use tracestate::{Entry, Tracestate, TracestateError};

use super::hex;
use crate::item::TraceKey;

/// Id of a trace: 16 bytes, not all zero. `Display` and `Debug` are 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The id with these bytes; `None` when all are zero, which names no trace.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Reads exactly 32 lower-case hexadecimal digits, not all zero.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::new(hex::decode_lower(text)?)
    }

    /// The bytes, as in OTLP.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// As `Display` writes it.
    #[must_use]
    pub fn digits(self) -> [u8; 32] {
        digits(self.0)
    }

    /// The part that decisions use.
    #[must_use]
    pub const fn key(self) -> TraceKey {
        TraceKey::of(&self.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write_lower(f, &self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Id of a span: 8 bytes, not all zero. `Display` and `Debug` are 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// The id with these bytes; `None` when all are zero, which names no span.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Reads exactly 16 lower-case hexadecimal digits, not all zero.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::new(hex::decode_lower(text)?)
    }

    /// The bytes, as in OTLP.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// As `Display` writes it.
    #[must_use]
    pub fn digits(self) -> [u8; 16] {
        digits(self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write_lower(f, &self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Two lower-case digits a byte; `D` is twice `N`.
fn digits<const N: usize, const D: usize>(bytes: [u8; N]) -> [u8; D] {
    let mut digits = [b'0'; D];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = hex::lower_pair(byte);
    }
    digits
}

/// Without the optional white space of HTTP (`OWS`: spaces and tabs) around it.
fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
