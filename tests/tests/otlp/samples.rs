//! Random requests, made of the generated message types.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Short text, mostly ASCII, long enough now and then for a prefix of two bytes.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ -~]{0,12}", 1 => "\\PC{0,6}", 1 => "[a-zé]{100,200}"]
}

/// Integers of every encoded length.
pub(crate) fn integer() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0_u32..64).prop_map(|(value, shift)| value >> shift)
}

pub(crate) fn any_value() -> impl Strategy<Value = AnyValue> {
    let plain = prop_oneof![
        text().prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        integer().prop_map(Value::IntValue),
        (-1e9_f64..1e9).prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..20).prop_map(Value::BytesValue),
    ];
    let leaf = prop_oneof![9 => plain.prop_map(Some), 1 => Just(None)].prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec((text(), inner), 0..3).prop_map(|entries| {
                let values = entries
                    .into_iter()
                    .map(|(key, value)| key_value(key, Some(value)));
                Value::KvlistValue(KeyValueList {
                    values: values.collect(),
                })
            }),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

pub(crate) fn key_value(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

/// Attributes with names.
pub(crate) fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let name = prop_oneof![9 => "[a-z.]{1,20}", 1 => "[a-z]{120,140}"];
    vec(
        (name, any_value()).prop_map(|(key, value)| key_value(key, Some(value))),
        0..4,
    )
}

pub(crate) fn id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), bytes).prop_filter("an id is not all zero", |id| id.iter().any(|byte| *byte != 0))
}

fn some_id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    option::of(id(bytes)).prop_map(Option::unwrap_or_default)
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), attributes(), 0_u32..300).prop_map(|(time, name, attributes, dropped)| Event {
        time_unix_nano: time,
        name,
        attributes,
        dropped_attributes_count: dropped,
    })
}

fn link() -> impl Strategy<Value = Link> {
    (id(16), id(8), text(), attributes(), 0_u32..300, any::<u32>()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count: dropped,
            flags,
        },
    )
}

fn status() -> impl Strategy<Value = Option<Status>> {
    prop_oneof![
        Just(None),
        Just(Some(Status {
            message: String::new(),
            code: 1
        })),
        text().prop_map(|message| Some(Status { message, code: 2 })),
    ]
}

pub(crate) fn span() -> impl Strategy<Value = Span> {
    let names = (id(16), id(8), some_id(8), text(), text());
    let numbers = (
        0_i32..=5,
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
        any::<[u16; 3]>(),
    );
    let lists = (attributes(), vec(event(), 0..3), vec(link(), 0..3), status());
    (names, numbers, lists).prop_map(|(names, numbers, lists)| {
        let (trace_id, span_id, parent_span_id, trace_state, name) = names;
        let (kind, start, end, flags, dropped) = numbers;
        let (attributes, events, links, status) = lists;
        Span {
            trace_id,
            span_id,
            trace_state,
            parent_span_id,
            flags,
            name,
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            dropped_attributes_count: dropped[0].into(),
            events,
            dropped_events_count: dropped[1].into(),
            links,
            dropped_links_count: dropped[2].into(),
            status,
        }
    })
}

pub(crate) fn log_record() -> impl Strategy<Value = LogRecord> {
    let names = (text(), text(), some_id(16), some_id(8));
    let numbers = (any::<u64>(), any::<u64>(), 0_i32..=24, any::<u32>(), 0_u32..300);
    (names, numbers, option::of(any_value()), attributes()).prop_map(|(names, numbers, body, attributes)| {
        let (severity_text, event_name, trace_id, span_id) = names;
        let (time_unix_nano, observed_time_unix_nano, severity_number, flags, dropped) = numbers;
        LogRecord {
            time_unix_nano,
            observed_time_unix_nano,
            severity_number,
            severity_text,
            body,
            attributes,
            dropped_attributes_count: dropped,
            flags,
            trace_id,
            span_id,
            event_name,
        }
    })
}

pub(crate) fn resource() -> impl Strategy<Value = Resource> {
    attributes().prop_map(|attributes| Resource {
        attributes,
        ..Resource::default()
    })
}

pub(crate) fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes()).prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        dropped_attributes_count: 0,
    })
}

/// A resource and a scope with everything that can be in them, and a schema.
type Around = (Resource, InstrumentationScope, String);

fn around() -> impl Strategy<Value = Around> {
    (resource(), scope(), text(), any::<u32>()).prop_map(|(mut resource, mut scope, schema, dropped)| {
        resource.dropped_attributes_count = dropped;
        resource.entity_refs = vec![EntityRef {
            schema_url: schema.clone(),
            r#type: "service".to_owned(),
            id_keys: vec!["service.name".to_owned()],
            description_keys: vec![schema.clone()],
        }];
        scope.dropped_attributes_count = dropped;
        (resource, scope, schema)
    })
}

pub(crate) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scopes = vec((around(), vec(span(), 0..3)), 0..3);
    scopes.prop_map(|scopes| ExportTraceServiceRequest {
        resource_spans: scopes
            .into_iter()
            .map(|((resource, scope, schema_url), spans)| ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                    schema_url: schema_url.clone(),
                }],
                schema_url,
            })
            .collect(),
    })
}

pub(crate) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scopes = vec((around(), vec(log_record(), 0..3)), 0..3);
    scopes.prop_map(|scopes| ExportLogsServiceRequest {
        resource_logs: scopes
            .into_iter()
            .map(|((resource, scope, schema_url), log_records)| ResourceLogs {
                resource: Some(resource),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope),
                    log_records,
                    schema_url: schema_url.clone(),
                }],
                schema_url,
            })
            .collect(),
    })
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    (attributes(), any::<u64>(), id(8), id(16), integer()).prop_map(
        |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value: Some(if value % 2 == 0 {
                exemplar::Value::AsInt(value)
            } else {
                exemplar::Value::AsDouble(value as f64)
            }),
        },
    )
}

/// What data points of every kind have: attributes, times, exemplars, flags, and numbers for everything else.
type Point = (Vec<KeyValue>, [u64; 2], Vec<Exemplar>, u32, Vec<u64>);

fn point() -> impl Strategy<Value = Point> {
    let exemplars = vec(exemplar(), 0..2);
    (
        attributes(),
        any::<[u64; 2]>(),
        exemplars,
        any::<u32>(),
        vec(0_u64..1 << 40, 1..6),
    )
}

fn number_point((attributes, times, exemplars, flags, numbers): Point) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: times[0],
        time_unix_nano: times[1],
        exemplars,
        flags,
        value: Some(if numbers[0] % 2 == 0 {
            number_data_point::Value::AsInt(numbers[0] as i64)
        } else {
            number_data_point::Value::AsDouble(numbers[0] as f64)
        }),
    }
}

fn histogram_point((attributes, times, exemplars, flags, numbers): Point) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: times[0],
        time_unix_nano: times[1],
        count: numbers[0],
        sum: Some(numbers[0] as f64),
        explicit_bounds: numbers[1..].iter().map(|bound| *bound as f64).collect(),
        bucket_counts: numbers,
        exemplars,
        flags,
        min: Some(1.0),
        max: Some(2.0),
    }
}

fn exponential_point((attributes, times, exemplars, flags, numbers): Point) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: times[0],
        time_unix_nano: times[1],
        count: numbers[0],
        sum: Some(numbers[0] as f64),
        scale: -3,
        zero_count: numbers[0],
        positive: Some(Buckets {
            offset: -70_000,
            bucket_counts: numbers.clone(),
        }),
        negative: Some(Buckets {
            offset: 5,
            bucket_counts: numbers,
        }),
        flags,
        exemplars,
        min: Some(1.0),
        max: Some(2.0),
        zero_threshold: 0.5,
    }
}

fn summary_point((attributes, times, _, flags, numbers): Point) -> SummaryDataPoint {
    SummaryDataPoint {
        attributes,
        start_time_unix_nano: times[0],
        time_unix_nano: times[1],
        count: numbers[0],
        sum: numbers[0] as f64,
        quantile_values: vec![ValueAtQuantile {
            quantile: 0.5,
            value: 7.0,
        }],
        flags,
    }
}

fn metric() -> impl Strategy<Value = Metric> {
    (vec(point(), 0..3), 0..5, text(), attributes()).prop_map(|(points, kind, name, metadata)| {
        let points = points.into_iter();
        let data = match kind {
            0 => Data::Gauge(Gauge {
                data_points: points.map(number_point).collect(),
            }),
            1 => Data::Sum(Sum {
                data_points: points.map(number_point).collect(),
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
            2 => Data::Histogram(Histogram {
                data_points: points.map(histogram_point).collect(),
                aggregation_temporality: 1,
            }),
            3 => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: points.map(exponential_point).collect(),
                aggregation_temporality: 1,
            }),
            _ => Data::Summary(Summary {
                data_points: points.map(summary_point).collect(),
            }),
        };
        Metric {
            name: name.clone(),
            description: name.clone(),
            unit: name,
            metadata,
            data: Some(data),
        }
    })
}

/// Data points of one metric.
pub(crate) fn points(metric: &Metric) -> usize {
    match metric.data.as_ref() {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    }
}

pub(crate) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scopes = vec((around(), vec(metric(), 0..3)), 0..3);
    scopes.prop_map(|scopes| ExportMetricsServiceRequest {
        resource_metrics: scopes
            .into_iter()
            .map(|((resource, scope, schema_url), metrics)| ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    schema_url: schema_url.clone(),
                }],
                schema_url,
            })
            .collect(),
    })
}
