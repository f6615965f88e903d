//! OTLP records as producers encode them, with any values, into memory that may be too small.

use surgetank_core::wire::otlp::encode::{
    AnyValue, Event, KeyValue, Limits, Link, LogRecord, Resource, Scope, Severity, Span, SpanId, SpanKind,
    Status, TraceId,
};
use surgetank_core::wire::otlp::protobuf::Writer;

use crate::input::Tape;
use crate::output::keep;

/// Any plain value, or a list of the two given ones, or a map of one of them.
fn value<'a>(tape: &mut Tape, values: &'a [AnyValue<'a>], entries: &'a [KeyValue<'a>]) -> AnyValue<'a> {
    match tape.byte() {
        0 => AnyValue::Empty,
        1 => AnyValue::String(tape.text()),
        2 => AnyValue::Bool(tape.flag()),
        3 => AnyValue::Int(tape.long().cast_signed()),
        4 => AnyValue::Double(f64::from_bits(tape.long())),
        5 => AnyValue::Bytes(tape.bytes()),
        6 => AnyValue::Array(values),
        _ => AnyValue::Map(entries),
    }
}

/// Gives `use_it` two attributes, one of which may nest the other.
fn with_attributes(tape: &mut Tape, use_it: impl FnOnce(&[KeyValue<'_>], &mut Tape)) {
    let inner = [value(tape, &[], &[]), value(tape, &[], &[])];
    let entry = [KeyValue::new(tape.text(), value(tape, &inner, &[]))];
    let [first] = entry;
    let second = KeyValue::new(tape.text(), value(tape, &inner, &entry));
    use_it(&[first, second], tape);
}

fn limits(tape: &mut Tape) -> Limits {
    Limits {
        attributes: tape.word(),
        value_length: tape.word(),
        events: tape.word(),
        links: tape.word(),
        event_attributes: tape.word(),
        link_attributes: tape.word(),
    }
}

fn into_buffer(tape: &mut Tape, write: impl FnOnce(&mut Writer<'_>)) {
    let mut buffer = [0_u8; 1024];
    let len = usize::from(u16::from_le_bytes(tape.array()));
    let mut writer = Writer::new(buffer.get_mut(..len).unwrap_or_default());
    write(&mut writer);
    keep(writer.finish());
    keep(buffer);
}

/// A span with attributes, an event and a link.
#[unsafe(no_mangle)]
extern "C" fn otlp_span() {
    with_attributes(&mut Tape::new(), |attributes, tape| {
        let limits = limits(tape);
        let (Some(trace_id), Some(span_id)) = (TraceId::new(tape.array()), SpanId::new(tape.array())) else {
            return;
        };
        let event = Event {
            time_unix_nanos: tape.long(),
            name: tape.text(),
            attributes,
            dropped_attributes: tape.word(),
        };
        let link = Link {
            trace_id,
            span_id,
            trace_state: tape.text(),
            attributes,
            dropped_attributes: tape.word(),
            flags: tape.word(),
        };
        let span = Span {
            trace_id,
            span_id,
            parent_span_id: SpanId::new(tape.array()),
            trace_state: tape.text(),
            flags: tape.word(),
            name: tape.text(),
            kind: if tape.flag() {
                SpanKind::Server
            } else {
                SpanKind::Client
            },
            start_unix_nanos: tape.long(),
            end_unix_nanos: tape.long(),
            attributes,
            dropped_attributes: tape.word(),
            events: &[event],
            dropped_events: tape.word(),
            links: &[link],
            dropped_links: tape.word(),
            status: match tape.byte() {
                0 => Status::Unset,
                1 => Status::Ok,
                _ => Status::Error { message: tape.text() },
            },
        };
        keep(span.encoded_len(&limits));
        into_buffer(tape, |out| {
            span.encode_with(out, &limits, |parts| {
                attributes
                    .iter()
                    .for_each(|attribute| parts.attribute(attribute.key, attribute.value));
                parts.event(&event, |more| more.add_all(attributes));
                parts.link(&link, |more| more.add_all(attributes));
                let members = || attributes.iter().map(|attribute| (attribute.key, attribute.key));
                parts.link_in(&link, members, |more| more.add_all(attributes));
                parts.trace_state(members);
            });
        });
    });
}

/// A log record.
#[unsafe(no_mangle)]
extern "C" fn otlp_log() {
    with_attributes(&mut Tape::new(), |attributes, tape| {
        let limits = limits(tape);
        let log = LogRecord {
            time_unix_nanos: tape.long(),
            observed_unix_nanos: tape.long(),
            severity: Severity::new(tape.byte()),
            severity_text: tape.text(),
            body: value(tape, &[], attributes),
            attributes,
            dropped_attributes: tape.word(),
            flags: tape.word(),
            trace_id: TraceId::new(tape.array()),
            span_id: SpanId::new(tape.array()),
            event_name: tape.text(),
        };
        keep(log.encoded_len(&limits));
        into_buffer(tape, |out| log.encode(out, &limits));
    });
}

/// A resource and a scope.
#[unsafe(no_mangle)]
extern "C" fn otlp_resource_and_scope() {
    with_attributes(&mut Tape::new(), |attributes, tape| {
        let resource = Resource { attributes };
        let scope = Scope {
            name: tape.text(),
            version: tape.text(),
            attributes,
        };
        keep((resource.encoded_len(), scope.encoded_len()));
        into_buffer(tape, |out| resource.encode(out));
        into_buffer(tape, |out| scope.encode(out));
    });
}
