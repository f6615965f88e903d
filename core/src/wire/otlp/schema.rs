//! The messages of an export request, as tables: enough to check every byte of one without knowing what it means.
//!
//! Transcribed from `opentelemetry-proto` 1.11 (`collector/*/v1`, `common/v1`, `resource/v1`, `trace/v1`, `logs/v1`,
//! `metrics/v1`). A field that a table does not have is unknown, and skipped, as protobuf asks.

use crate::item::Signal;

/// A message: its fields by number, from 0 (which no field has).
pub(super) struct Message {
    fields: &'static [Kind],
    /// True when one of these is one item: a span, a log record, a data point.
    pub(super) is_item: bool,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Not known here, or no field at all.
    Unknown,
    /// An integer, a boolean or an enum.
    Varint,
    /// `fixed64`, `sfixed64` or `double`.
    Fixed64,
    /// `fixed32`.
    Fixed32,
    /// Bytes.
    Bytes,
    /// The trace id of a span.
    TraceId,
    /// UTF-8.
    Text,
    /// Integers, packed or one by one.
    Varints,
    /// 64-bit values, packed or one by one.
    Fixed64s,
    /// A nested message.
    Message(&'static Message),
}

impl Message {
    /// What the field of that number holds.
    pub(super) fn field(&self, number: u32) -> Kind {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.fields.get(index).copied().unwrap_or(Kind::Unknown)
    }
}

/// `Export*ServiceRequest` of that signal.
pub(super) const fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    }
}

use Kind::{Bytes, Fixed32, Fixed64, Fixed64s, Text, TraceId, Unknown, Varint, Varints};

const fn nested(message: &'static Message) -> Kind {
    Kind::Message(message)
}

/// Declares a message with its fields in order, the first of them number 1; `-` is a number without a field.
macro_rules! message {
    ($(#[$($doc:tt)*])* $name:ident, $is_item:literal, [$($field:expr),* $(,)?]) => {
        $(#[$($doc)*])*
        static $name: Message = Message {
            fields: &[Unknown, $($field),*],
            is_item: $is_item,
        };
    };
}

message!(TRACES, false, [nested(&RESOURCE_SPANS)]);
message!(
    RESOURCE_SPANS,
    false,
    [nested(&RESOURCE), nested(&SCOPE_SPANS), Text]
);
message!(SCOPE_SPANS, false, [nested(&SCOPE), nested(&SPAN), Text]);

message!(LOGS, false, [nested(&RESOURCE_LOGS)]);
message!(
    RESOURCE_LOGS,
    false,
    [nested(&RESOURCE), nested(&SCOPE_LOGS), Text]
);
message!(SCOPE_LOGS, false, [nested(&SCOPE), nested(&LOG_RECORD), Text]);

message!(METRICS, false, [nested(&RESOURCE_METRICS)]);
message!(
    RESOURCE_METRICS,
    false,
    [nested(&RESOURCE), nested(&SCOPE_METRICS), Text]
);
message!(SCOPE_METRICS, false, [nested(&SCOPE), nested(&METRIC), Text]);

message!(RESOURCE, false, [nested(&KEY_VALUE), Varint, nested(&ENTITY_REF)]);
message!(ENTITY_REF, false, [Text, Text, Text, Text]);
message!(SCOPE, false, [Text, Text, nested(&KEY_VALUE), Varint]);
message!(KEY_VALUE, false, [Text, nested(&ANY_VALUE), Varint]);
message!(
    ANY_VALUE,
    false,
    [
        Text,
        Varint,
        Varint,
        Fixed64,
        nested(&ARRAY_VALUE),
        nested(&KEY_VALUE_LIST),
        Bytes,
        Varint
    ]
);
message!(ARRAY_VALUE, false, [nested(&ANY_VALUE)]);
message!(KEY_VALUE_LIST, false, [nested(&KEY_VALUE)]);

message!(
    SPAN,
    true,
    [
        TraceId,
        Bytes,              // span_id
        Text,               // trace_state
        Bytes,              // parent_span_id
        Text,               // name
        Varint,             // kind
        Fixed64,            // start_time_unix_nano
        Fixed64,            // end_time_unix_nano
        nested(&KEY_VALUE), // attributes
        Varint,             // dropped_attributes_count
        nested(&EVENT),
        Varint, // dropped_events_count
        nested(&LINK),
        Varint, // dropped_links_count
        nested(&STATUS),
        Fixed32, // flags
    ]
);
message!(EVENT, false, [Fixed64, Text, nested(&KEY_VALUE), Varint]);
message!(
    LINK,
    false,
    [Bytes, Bytes, Text, nested(&KEY_VALUE), Varint, Fixed32]
);
message!(STATUS, false, [Unknown, Text, Varint]);

message!(
    LOG_RECORD,
    true,
    [
        Fixed64, // time_unix_nano
        Varint,  // severity_number
        Text,    // severity_text
        Unknown,
        nested(&ANY_VALUE), // body
        nested(&KEY_VALUE), // attributes
        Varint,             // dropped_attributes_count
        Fixed32,            // flags
        Bytes,              // trace_id
        Bytes,              // span_id
        Fixed64,            // observed_time_unix_nano
        Text,               // event_name
    ]
);

message!(
    METRIC,
    false,
    [
        Text, // name
        Text, // description
        Text, // unit
        Unknown,
        nested(&GAUGE),
        Unknown,
        nested(&SUM),
        Unknown,
        nested(&HISTOGRAM),
        nested(&EXPONENTIAL_HISTOGRAM),
        nested(&SUMMARY),
        nested(&KEY_VALUE), // metadata
    ]
);
message!(GAUGE, false, [nested(&NUMBER_POINT)]);
message!(SUM, false, [nested(&NUMBER_POINT), Varint, Varint]);
message!(HISTOGRAM, false, [nested(&HISTOGRAM_POINT), Varint]);
message!(
    EXPONENTIAL_HISTOGRAM,
    false,
    [nested(&EXPONENTIAL_HISTOGRAM_POINT), Varint]
);
message!(SUMMARY, false, [nested(&SUMMARY_POINT)]);
message!(
    NUMBER_POINT,
    true,
    [
        Unknown,
        Fixed64, // start_time_unix_nano
        Fixed64, // time_unix_nano
        Fixed64, // as_double
        nested(&EXEMPLAR),
        Fixed64,            // as_int
        nested(&KEY_VALUE), // attributes
        Varint,             // flags
    ]
);
message!(
    HISTOGRAM_POINT,
    true,
    [
        Unknown,
        Fixed64,  // start_time_unix_nano
        Fixed64,  // time_unix_nano
        Fixed64,  // count
        Fixed64,  // sum
        Fixed64s, // bucket_counts
        Fixed64s, // explicit_bounds
        nested(&EXEMPLAR),
        nested(&KEY_VALUE), // attributes
        Varint,             // flags
        Fixed64,            // min
        Fixed64,            // max
    ]
);
message!(
    EXPONENTIAL_HISTOGRAM_POINT,
    true,
    [
        nested(&KEY_VALUE), // attributes
        Fixed64,            // start_time_unix_nano
        Fixed64,            // time_unix_nano
        Fixed64,            // count
        Fixed64,            // sum
        Varint,             // scale
        Fixed64,            // zero_count
        nested(&BUCKETS),   // positive
        nested(&BUCKETS),   // negative
        Varint,             // flags
        nested(&EXEMPLAR),
        Fixed64, // min
        Fixed64, // max
        Fixed64, // zero_threshold
    ]
);
message!(BUCKETS, false, [Varint, Varints]);
message!(
    SUMMARY_POINT,
    true,
    [
        Unknown,
        Fixed64, // start_time_unix_nano
        Fixed64, // time_unix_nano
        Fixed64, // count
        Fixed64, // sum
        nested(&VALUE_AT_QUANTILE),
        nested(&KEY_VALUE), // attributes
        Varint,             // flags
    ]
);
message!(VALUE_AT_QUANTILE, false, [Fixed64, Fixed64]);
message!(
    EXEMPLAR,
    false,
    [
        Unknown,
        Fixed64,            // time_unix_nano
        Fixed64,            // as_double
        Bytes,              // span_id
        Bytes,              // trace_id
        Fixed64,            // as_int
        nested(&KEY_VALUE), // filtered_attributes
    ]
);
