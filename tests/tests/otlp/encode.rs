//! What the encoders and the framing write, read by the generated messages.

use embedded_io::Write;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{self as common, InstrumentationScope};
use opentelemetry_proto::tonic::{logs, resource as resources, trace};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use surgetank_core::wire::otlp::encode::{
    AnyValue, Attributes, Entries, Event, KeyValue, Limits, Link, LogRecord, Resource, Scope, Severity, Span,
    SpanId, SpanKind, Status, TraceId, Values,
};
use surgetank_core::wire::otlp::framing::{Frame, Records};
use surgetank_core::wire::otlp::protobuf::Out;

use crate::samples;
use crate::written;

/// A value that holds no others.
fn plain(value: &common::AnyValue) -> Option<AnyValue<'_>> {
    Some(match value.value.as_ref() {
        None => AnyValue::Empty,
        Some(Value::StringValue(text)) => AnyValue::String(text),
        Some(Value::BoolValue(value)) => AnyValue::Bool(*value),
        Some(Value::IntValue(value)) => AnyValue::Int(*value),
        Some(Value::DoubleValue(value)) => AnyValue::Double(*value),
        Some(Value::BytesValue(bytes)) => AnyValue::Bytes(bytes),
        Some(_) => return None,
    })
}

fn fill_values<O: Out>(values: &[common::AnyValue], out: &mut Values<'_, O>) {
    for value in values {
        match (plain(value), value.value.as_ref()) {
            (Some(value), _) => out.add(value),
            (_, Some(Value::ArrayValue(array))) => out.add_array(|out| fill_values(&array.values, out)),
            (_, Some(Value::KvlistValue(map))) => out.add_map(|out| fill_entries(&map.values, out)),
            _ => unreachable!("every other kind is plain"),
        }
    }
}

fn fill_entries<O: Out>(entries: &[common::KeyValue], out: &mut Entries<'_, O>) {
    for entry in entries {
        let value = entry.value.as_ref().unwrap();
        match (plain(value), value.value.as_ref()) {
            (Some(value), _) => out.add(&entry.key, value),
            (_, Some(Value::ArrayValue(array))) => {
                out.add_array(&entry.key, |out| fill_values(&array.values, out))
            }
            (_, Some(Value::KvlistValue(map))) => {
                out.add_map(&entry.key, |out| fill_entries(&map.values, out))
            }
            _ => unreachable!("every other kind is plain"),
        }
    }
}

fn fill_attributes<O: Out>(attributes: &[common::KeyValue], out: &mut Attributes<'_, O>) {
    for attribute in attributes {
        let value = attribute.value.as_ref().unwrap();
        match (plain(value), value.value.as_ref()) {
            (Some(value), _) => out.add(&attribute.key, value),
            (_, Some(Value::ArrayValue(array))) => {
                out.add_array(&attribute.key, |out| fill_values(&array.values, out));
            }
            (_, Some(Value::KvlistValue(map))) => {
                out.add_map(&attribute.key, |out| fill_entries(&map.values, out))
            }
            _ => unreachable!("every other kind is plain"),
        }
    }
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    bytes.try_into().ok().and_then(TraceId::new)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    bytes.try_into().ok().and_then(SpanId::new)
}

/// Encodes a span with everything that is a list added one by one.
fn encode_span<O: Out>(span: &trace::v1::Span, limits: &Limits, out: &mut O) {
    let kinds = [
        SpanKind::Unspecified,
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];
    let head = Span {
        parent_span_id: span_id(&span.parent_span_id),
        trace_state: &span.trace_state,
        flags: span.flags,
        kind: kinds[span.kind as usize],
        start_unix_nanos: span.start_time_unix_nano,
        end_unix_nanos: span.end_time_unix_nano,
        dropped_attributes: span.dropped_attributes_count,
        dropped_events: span.dropped_events_count,
        dropped_links: span.dropped_links_count,
        status: match span.status.as_ref() {
            None => Status::Unset,
            Some(status) if status.code == 1 => Status::Ok,
            Some(status) => Status::Error {
                message: &status.message,
            },
        },
        ..Span::new(
            trace_id(&span.trace_id).unwrap(),
            span_id(&span.span_id).unwrap(),
            &span.name,
        )
    };
    head.encode_with(out, limits, |parts| {
        for attribute in &span.attributes {
            let value = attribute.value.as_ref().unwrap();
            match (plain(value), value.value.as_ref()) {
                (Some(value), _) => parts.attribute(&attribute.key, value),
                (_, Some(Value::ArrayValue(array))) => {
                    parts.array_attribute(&attribute.key, |out| fill_values(&array.values, out));
                }
                (_, Some(Value::KvlistValue(map))) => {
                    parts.map_attribute(&attribute.key, |out| fill_entries(&map.values, out));
                }
                _ => unreachable!("every other kind is plain"),
            }
        }
        for event in &span.events {
            let head = Event {
                time_unix_nanos: event.time_unix_nano,
                name: &event.name,
                attributes: &[],
                dropped_attributes: event.dropped_attributes_count,
            };
            parts.event(&head, |out| fill_attributes(&event.attributes, out));
        }
        for link in &span.links {
            let head = Link {
                trace_id: trace_id(&link.trace_id).unwrap(),
                span_id: span_id(&link.span_id).unwrap(),
                trace_state: &link.trace_state,
                attributes: &[],
                dropped_attributes: link.dropped_attributes_count,
                flags: link.flags,
            };
            parts.link(&head, |out| fill_attributes(&link.attributes, out));
        }
    });
}

fn encode_log<O: Out>(record: &logs::v1::LogRecord, limits: &Limits, out: &mut O) {
    let body = record.body.as_ref();
    let head = LogRecord {
        time_unix_nanos: record.time_unix_nano,
        observed_unix_nanos: record.observed_time_unix_nano,
        severity: u8::try_from(record.severity_number).ok().and_then(Severity::new),
        severity_text: &record.severity_text,
        body: body.and_then(plain).unwrap_or_default(),
        attributes: &[],
        dropped_attributes: record.dropped_attributes_count,
        flags: record.flags,
        trace_id: trace_id(&record.trace_id),
        span_id: span_id(&record.span_id),
        event_name: &record.event_name,
    };
    head.encode_with(out, limits, |parts| {
        match body.and_then(|body| body.value.as_ref()) {
            Some(Value::ArrayValue(array)) => parts.array_body(|out| fill_values(&array.values, out)),
            Some(Value::KvlistValue(map)) => parts.map_body(|out| fill_entries(&map.values, out)),
            _ => {}
        }
        for attribute in &record.attributes {
            let value = attribute.value.as_ref().unwrap();
            match (plain(value), value.value.as_ref()) {
                (Some(value), _) => parts.attribute(&attribute.key, value),
                (_, Some(Value::ArrayValue(array))) => {
                    parts.array_attribute(&attribute.key, |out| fill_values(&array.values, out));
                }
                (_, Some(Value::KvlistValue(map))) => {
                    parts.map_attribute(&attribute.key, |out| fill_entries(&map.values, out));
                }
                _ => unreachable!("every other kind is plain"),
            }
        }
    });
}

/// The length first, then the bytes: from one piece of code, as a producer does.
macro_rules! encoded {
    ($encode:expr) => {{
        let len = surgetank_core::wire::otlp::protobuf::Length::of(|out| $encode(out));
        written(len, |out| $encode(out))
    }};
}

fn encoded_resource(resource: &resources::v1::Resource) -> Vec<u8> {
    fn encode<O: Out>(resource: &resources::v1::Resource, out: &mut O) {
        Resource::default().encode_with(out, |out| fill_entries(&resource.attributes, out));
    }
    encoded!(|out: &mut _| encode(resource, out))
}

fn encoded_scope(scope: &InstrumentationScope) -> Vec<u8> {
    // Scopes take slices only, so plain attributes only.
    let attributes: Vec<KeyValue<'_>> = scope
        .attributes
        .iter()
        .filter_map(|attribute| {
            let value = plain(attribute.value.as_ref().unwrap())?;
            Some(KeyValue::new(&attribute.key, value))
        })
        .collect();
    let scope = Scope {
        name: &scope.name,
        version: &scope.version,
        attributes: &attributes,
    };
    written(scope.encoded_len(), |out| scope.encode(out))
}

/// The scope as [`encoded_scope`] writes it.
fn with_plain_attributes(mut scope: InstrumentationScope) -> InstrumentationScope {
    scope
        .attributes
        .retain(|attribute| plain(attribute.value.as_ref().unwrap()).is_some());
    scope
}

/// A framed request, its records handed over in pieces of `piece` bytes.
fn framed(frame: Frame<'_>, records: &[Vec<u8>], piece: usize) -> Vec<u8> {
    let mut lengths = Records::default();
    records.iter().for_each(|record| lengths.add(record.len()));
    let request = frame.request(lengths).unwrap();
    let mut body = vec![0; request.content_length()];
    let mut out = body.as_mut_slice();
    request.write_opening(&mut out).unwrap();
    for record in records {
        request.write_record_opening(&mut out, record.len()).unwrap();
        record
            .chunks(piece)
            .for_each(|piece| out.write_all(piece).unwrap());
    }
    assert!(out.is_empty(), "the content length is exact");
    body
}

/// What an empty body and an absent one have in common: both are left out.
fn without_empty_body(mut record: logs::v1::LogRecord) -> logs::v1::LogRecord {
    record.body = record.body.filter(|body| body.value.is_some());
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_trace_request_decodes_to_what_was_encoded(
        spans in vec(samples::span(), 0..4),
        resource in samples::resource(),
        scope in samples::scope(),
        schema in samples::text(),
        piece in 1_usize..300,
    ) {
        let records: Vec<_> = spans
            .iter()
            .map(|span| encoded!(|out: &mut _| encode_span(span, &Limits::NONE, out)))
            .collect();
        let resource_bytes = encoded_resource(&resource);
        let scope_bytes = encoded_scope(&scope);
        let frame = Frame {
            resource: &resource_bytes,
            scope: &scope_bytes,
            resource_schema_url: &schema,
            scope_schema_url: "s",
        };
        let body = framed(frame, &records, piece);
        let decoded = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        prop_assert_eq!(decoded.resource_spans.len(), 1);
        let outer = &decoded.resource_spans[0];
        let inner = &outer.scope_spans[0];
        prop_assert_eq!(outer.resource.clone().unwrap_or_default(), resource);
        prop_assert_eq!(&outer.schema_url, &schema);
        prop_assert_eq!(inner.scope.clone().unwrap_or_default(), with_plain_attributes(scope));
        prop_assert_eq!(&inner.spans, &spans);
    }

    #[test]
    fn a_log_request_decodes_to_what_was_encoded(
        records in vec(samples::log_record(), 0..4),
        piece in 1_usize..300,
    ) {
        let encoded: Vec<_> = records
            .iter()
            .map(|record| encoded!(|out: &mut _| encode_log(record, &Limits::NONE, out)))
            .collect();
        let body = framed(Frame::default(), &encoded, piece);
        let decoded = ExportLogsServiceRequest::decode(&body[..]).unwrap();
        let expected: Vec<_> = records.into_iter().map(without_empty_body).collect();
        prop_assert_eq!(&decoded.resource_logs[0].scope_logs[0].log_records, &expected);
    }

    #[test]
    fn limited_spans_decode_and_miss_nothing_uncounted(
        span in samples::span(),
        limits in prop::array::uniform6(0_u32..6),
    ) {
        let limits = Limits {
            attributes: limits[0],
            value_length: limits[1],
            events: limits[2],
            links: limits[3],
            event_attributes: limits[4],
            link_attributes: limits[5],
        };
        let bytes = encoded!(|out: &mut _| encode_span(&span, &limits, out));
        let decoded = trace::v1::Span::decode(&bytes[..]).unwrap();
        let total = |list: usize, dropped: u32| list as u32 + dropped;
        prop_assert!(decoded.attributes.len() <= limits.attributes as usize);
        prop_assert_eq!(
            total(decoded.attributes.len(), decoded.dropped_attributes_count),
            total(span.attributes.len(), span.dropped_attributes_count)
        );
        prop_assert_eq!(
            total(decoded.events.len(), decoded.dropped_events_count),
            total(span.events.len(), span.dropped_events_count)
        );
        prop_assert_eq!(
            total(decoded.links.len(), decoded.dropped_links_count),
            total(span.links.len(), span.dropped_links_count)
        );
        for (decoded, event) in decoded.events.iter().zip(&span.events) {
            prop_assert_eq!(
                total(decoded.attributes.len(), decoded.dropped_attributes_count),
                total(event.attributes.len(), event.dropped_attributes_count)
            );
        }
        for (decoded, attribute) in decoded.attributes.iter().zip(&span.attributes) {
            prop_assert_eq!(&decoded.key, &attribute.key);
            if let Some(Value::StringValue(text)) = &attribute.value.as_ref().unwrap().value {
                let cut: String = text.chars().take(limits.value_length as usize).collect();
                prop_assert_eq!(decoded.value.as_ref().unwrap().value.as_ref(), Some(&Value::StringValue(cut)));
            }
        }
    }
}
