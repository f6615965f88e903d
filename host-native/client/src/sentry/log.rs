//! Structured logs: elements of the log container ("Logs" in the telemetry documentation).

use surgetank_core::limits::MAX_VALUE_DEPTH;
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::{AnyValue, SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

use super::{Level, Map, SentryContext};
use crate::json::{Encode, Json, name};

/// One log line.
#[derive(Clone, Copy, Default, Debug)]
pub struct Log<'a> {
    /// How bad it is.
    pub level: Level,
    /// The line.
    pub body: &'a str,
    /// Facts. Names that the client sets itself (`sentry.release` and so on) come from it.
    pub attributes: Map<'a>,
    /// The trace it belongs to; the client's own one if absent.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// When; now if absent.
    pub timestamp: Option<UnixTime>,
}

/// What stands between the span id and the body of a log of this level: its name and severity number (the logs protocol).
macro_rules! before_body {
    ($level:literal, $severity:literal) => {
        concat!(
            ",\"level\":\"",
            $level,
            "\",\"severity_number\":",
            $severity,
            ",\"body\":\""
        )
        .as_bytes()
    };
}

impl Level {
    const fn before_body(self) -> &'static [u8] {
        match self {
            Self::Trace => before_body!("trace", 1),
            Self::Debug => before_body!("debug", 5),
            Self::Info => before_body!("info", 9),
            Self::Warning => before_body!("warn", 13),
            Self::Error => before_body!("error", 17),
            Self::Fatal => before_body!("fatal", 21),
        }
    }
}

/// A log with what its client adds.
pub(crate) struct EncodedLog<'a> {
    pub(crate) log: &'a Log<'a>,
    pub(crate) trace_id: TraceId,
    pub(crate) now: UnixTime,
    pub(crate) context: &'a SentryContext,
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

impl Encode for EncodedLog<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let log = self.log;
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("timestamp"));
        json.seconds(log.timestamp.unwrap_or(self.now).as_micros());
        json.name(name!("trace_id"));
        json.hex_16(&self.trace_id.bytes());
        if let Some(span_id) = log.span_id {
            json.name(name!("span_id"));
            json.hex_8(span_id.bytes());
        }
        json.framed(log.level.before_body(), log.body, b"\"");
        json.name(name!("attributes"));
        json.begin_object();
        for entry in log.attributes {
            attribute(&mut json, entry.key, &entry.value);
        }
        json.members(&self.context.log);
        json.end_object();
        json.end_object();
    }
}

/// `"key":{"value":..,"type":".."}`; bytes are base64.
#[inline(always)]
pub(super) fn attribute<O: Out>(json: &mut Json<'_, O>, key: &str, value: &AnyValue<'_>) {
    if *value == AnyValue::Empty {
        return;
    }
    json.key(key);
    match value {
        AnyValue::String(text) => json.framed(b"{\"value\":\"", text, b"\",\"type\":\"string\"}"),
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
