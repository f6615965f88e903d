//! Log records (`opentelemetry/proto/logs/v1/logs.proto`).

use super::attributes::{
    AnyValue, Attributes, Entries, KeyValue, Values, write_text, write_unlimited, write_unlimited_array,
    write_unlimited_map,
};
use super::span::{count, nanos, text};
use super::{Limits, SpanId, TraceId};
use crate::wire::otlp::protobuf::{Length, Out};

/// Severity number: 1 to 24, in six ranges of four.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Severity(u8);

impl Severity {
    /// Fine-grained debugging.
    pub const TRACE: Self = Self(1);
    /// Debugging.
    pub const DEBUG: Self = Self(5);
    /// Something happened.
    pub const INFO: Self = Self(9);
    /// Something to look at.
    pub const WARN: Self = Self(13);
    /// Something went wrong.
    pub const ERROR: Self = Self(17);
    /// The program ends.
    pub const FATAL: Self = Self(21);

    /// The severity of that number, 1 to 24.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            1..=24 => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A log record, borrowed from wherever it is. Everything is optional.
#[derive(Clone, Copy, Default, Debug)]
pub struct LogRecord<'a> {
    /// When it happened, in nanoseconds since 1970; 0 for unknown.
    pub time_unix_nanos: u64,
    /// When it was seen by the collecting side, in nanoseconds since 1970.
    pub observed_unix_nanos: u64,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// The level as its source calls it.
    pub severity_text: &'a str,
    /// What is said; no limit but that of depth applies.
    pub body: AnyValue<'a>,
    /// Its attributes; keys should be unique.
    pub attributes: &'a [KeyValue<'a>],
    /// Attributes that were dropped before.
    pub dropped_attributes: u32,
    /// W3C trace flags.
    pub flags: u32,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// Name of the kind of event that it is; empty for none.
    pub event_name: &'a str,
}

impl LogRecord<'_> {
    /// Bytes that [`LogRecord::encode`] writes under the same limits.
    #[must_use]
    pub fn encoded_len(&self, limits: &Limits) -> usize {
        Length::of(|out| self.encode(out, limits))
    }

    /// Writes the `LogRecord` message. Costs its bytes.
    pub fn encode<O: Out>(&self, out: &mut O, limits: &Limits) {
        self.encode_with(out, limits, |_| {});
    }

    /// Writes the `LogRecord` message with what `fill` adds to it.
    #[inline(always)]
    pub fn encode_with<O: Out>(&self, out: &mut O, limits: &Limits, fill: impl FnOnce(&mut LogParts<'_, O>)) {
        let mut lifted = out.lift();
        self.write(&mut lifted, limits, fill);
        *out = lifted;
    }

    /// On an output of its own, which lives in registers.
    #[inline(always)]
    fn write<O: Out>(&self, out: &mut O, limits: &Limits, fill: impl FnOnce(&mut LogParts<'_, O>)) {
        nanos(out, 1, self.time_unix_nanos);
        if let Some(severity) = self.severity {
            out.varint_field(2, u64::from(severity.number()));
        }
        text(out, 3, self.severity_text);
        match self.body {
            AnyValue::Empty => {}
            AnyValue::String(text) => write_text(out, 5, text),
            body => out.apart(|out| write_unlimited(out, 5, body)),
        }
        let mut parts = LogParts {
            attributes: Attributes::new(
                out,
                6,
                limits.attributes,
                limits.value_length,
                self.dropped_attributes,
            ),
        };
        parts.attributes.add_all(self.attributes);
        fill(&mut parts);
        let dropped = parts.attributes.dropped();
        count(out, 7, dropped);
        if self.flags != 0 {
            out.fixed32_field(8, self.flags);
        }
        if let Some(trace_id) = self.trace_id {
            out.bytes_field(9, &trace_id.bytes());
        }
        if let Some(span_id) = self.span_id {
            out.bytes_field(10, &span_id.bytes());
        }
        nanos(out, 11, self.observed_unix_nanos);
        text(out, 12, self.event_name);
    }
}

/// The lists of one log record, for adding to them one by one.
#[derive(Debug)]
pub struct LogParts<'o, O> {
    attributes: Attributes<'o, O>,
}

impl<O: Out> LogParts<'_, O> {
    /// Adds an attribute.
    #[inline(always)]
    pub fn attribute(&mut self, key: &str, value: AnyValue<'_>) {
        self.attributes.add(key, value);
    }

    /// Adds an attribute that is an array whose values `fill` adds.
    #[inline(always)]
    pub fn array_attribute(&mut self, key: &str, fill: impl FnOnce(&mut Values<'_, O>)) {
        self.attributes.add_array(key, fill);
    }

    /// Adds an attribute that is a map whose entries `fill` adds.
    #[inline(always)]
    pub fn map_attribute(&mut self, key: &str, fill: impl FnOnce(&mut Entries<'_, O>)) {
        self.attributes.add_map(key, fill);
    }

    /// Sets the body to an array whose values `fill` adds; for records whose `body` is [`AnyValue::Empty`].
    #[inline]
    pub fn array_body(&mut self, fill: impl FnOnce(&mut Values<'_, O>)) {
        self.attributes
            .out()
            .apart(|out| write_unlimited_array(out, 5, fill));
    }

    /// Sets the body to a map whose entries `fill` adds; for records whose `body` is [`AnyValue::Empty`].
    #[inline]
    pub fn map_body(&mut self, fill: impl FnOnce(&mut Entries<'_, O>)) {
        self.attributes
            .out()
            .apart(|out| write_unlimited_map(out, 5, fill));
    }
}
