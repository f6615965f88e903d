//! Structured logs: elements of the log container ("Logs" in the telemetry documentation).

use surgetank_core::limits::MAX_VALUE_DEPTH;
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::{AnyValue, Resource, SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

use super::{Level, Map, SentryContext};
use crate::json::{Encode, Json};

#[cfg(test)]
mod tests;
mod text;

pub(crate) use text::LogTexts;

/// One log line.
#[derive(Clone, Copy, Default, Debug)]
pub struct Log<'a> {
    /// How bad it is.
    pub level: Level,
    /// The line.
    pub body: &'a str,
    /// Facts. Names that the client sets itself (`sentry.release` and so on) come from it.
    pub attributes: Map<'a>,
    /// The trace it belongs to; the client's own one if absent, or that of the span that is active
    /// (`ClientBuilder::active_span`).
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// When; now if absent.
    pub timestamp: Option<UnixTime>,
}

/// [`Header::origin`](surgetank_core::item::Header::origin) of a log that is no JSON yet. Above every number of a scope.
pub(crate) const NOTED_LOG: u8 = u8::MAX - 1;

/// A log as producers record it: what it says, without the JSON around that, which is several times as long and which the
/// delivery thread writes ([`LogTexts`]).
///
/// | bytes | |
/// |---|---|
/// | 0..8 | when, in microseconds since 1970, little-endian |
/// | 8..24 | trace id |
/// | 24..32 | span id, zero for none |
/// | 32 | position of its level among [`LEVELS`] |
/// | 33..37 | bytes of its body, little-endian |
/// | 37.. | its body, and then its attributes as they stand in OTLP's `Resource` |
pub(crate) struct NotedLog<'a> {
    pub(crate) log: &'a Log<'a>,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) now: UnixTime,
}

/// Every level, where its number says.
const LEVELS: [Level; 6] = [
    Level::Trace,
    Level::Debug,
    Level::Info,
    Level::Warning,
    Level::Error,
    Level::Fatal,
];

impl Encode for NotedLog<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let log = self.log;
        let timestamp = log.timestamp.unwrap_or(self.now);
        out.array(timestamp.as_micros().to_le_bytes());
        out.array(self.trace_id.bytes());
        out.array(self.span_id.map_or([0; 8], |span_id| span_id.bytes()));
        // A slice of four GiB would not fit the intake.
        let [a, b, c, d] = (log.body.len() as u32).to_le_bytes();
        out.framed(&[log.level as u8, a, b, c, d], log.body.as_bytes(), &[]);
        Resource {
            attributes: log.attributes,
        }
        .encode(out);
    }
}

/// The quantity of a log in the `log_byte` category: body, keys and values, at least 1 (Relay, `relay-ourlogs`).
#[inline]
pub(crate) fn billed_bytes(log: &Log<'_>, context: &SentryContext) -> usize {
    let attributes: usize = log
        .attributes
        .iter()
        .map(|entry| {
            entry.key.len()
                + match &entry.value {
                    AnyValue::String(text) => text.len(),
                    AnyValue::Int(_) | AnyValue::Double(_) => 8,
                    value => value_bytes(value, MAX_VALUE_DEPTH),
                }
        })
        .sum();
    (log.body.len() + attributes + context.log_bytes).max(1)
}

/// `"key":{"value":..,"type":".."}`; bytes are base64.
#[inline(always)]
pub(super) fn attribute<O: Out>(json: &mut Json<'_, O>, key: impl AsRef<[u8]>, value: &AnyValue<'_>) {
    if *value == AnyValue::Empty {
        return;
    }
    json.key(key);
    match value {
        AnyValue::String(text) => text_value(json, text),
        AnyValue::Int(number) => {
            json.begin_with(b"{\"value\":");
            json.i64(*number);
            json.end_with(b",\"type\":\"integer\"}");
        }
        AnyValue::Double(number) => {
            json.begin_with(b"{\"value\":");
            json.f64(*number);
            json.end_with(b",\"type\":\"double\"}");
        }
        AnyValue::Bool(true) => json.end_with(b"{\"value\":true,\"type\":\"boolean\"}"),
        AnyValue::Bool(false) => json.end_with(b"{\"value\":false,\"type\":\"boolean\"}"),
        _ => json.apart(|json| {
            json.begin_with(b"{\"value\":");
            json.value(value);
            json.end_with(match value {
                AnyValue::Array(_) => b",\"type\":\"array\"}",
                AnyValue::Map(_) => b",\"type\":\"object\"}",
                _ => b",\"type\":\"string\"}",
            });
        }),
    }
}

#[inline(always)]
fn text_value<O: Out>(json: &mut Json<'_, O>, text: impl AsRef<[u8]>) {
    json.framed(b"{\"value\":\"", text, b"\",\"type\":\"string\"}");
}

/// What a value counts in the `log_byte` category (Relay, `relay-ourlogs`): text by its length, a number as 8, a truth
/// value as 1, containers as the sum of what is in them.
fn value_bytes(value: &AnyValue<'_>, depth: usize) -> usize {
    let inner = depth.checked_sub(1);
    match value {
        AnyValue::Empty => 0,
        AnyValue::Bool(_) => 1,
        AnyValue::Int(_) | AnyValue::Double(_) => 8,
        AnyValue::String(text) => text.len(),
        AnyValue::Bytes(bytes) => bytes.len().div_ceil(3) * 4,
        AnyValue::Array(values) => inner.map_or(0, |depth| {
            values.iter().map(|value| value_bytes(value, depth)).sum()
        }),
        AnyValue::Map(entries) => inner.map_or(0, |depth| {
            entries
                .iter()
                .map(|entry| entry.key.len() + value_bytes(&entry.value, depth))
                .sum()
        }),
    }
}
