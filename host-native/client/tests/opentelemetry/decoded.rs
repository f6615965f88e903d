//! Requests as the messages of `opentelemetry-proto`, in an order of their own, so that two can be compared.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;

/// A record with all that stands around it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Whole<R> {
    pub(crate) resource: Resource,
    pub(crate) resource_schema: String,
    pub(crate) scope: InstrumentationScope,
    pub(crate) scope_schema: String,
    pub(crate) record: R,
}

/// The spans of these requests, by span id.
pub(crate) fn spans<'r>(bodies: impl IntoIterator<Item = &'r [u8]>) -> Vec<Whole<Span>> {
    let mut all = Vec::new();
    for body in bodies {
        let request = ExportTraceServiceRequest::decode(body).expect("a request");
        for resource in request.resource_spans {
            for scope in resource.scope_spans {
                all.extend(scope.spans.into_iter().map(|mut record| {
                    // A status that says nothing may be left out.
                    record.status.get_or_insert_with(Status::default);
                    Whole {
                        resource: sorted(resource.resource.clone().unwrap_or_default()),
                        resource_schema: resource.schema_url.clone(),
                        scope: scope.scope.clone().unwrap_or_default(),
                        scope_schema: scope.schema_url.clone(),
                        record,
                    }
                }));
            }
        }
    }
    all.sort_by(|one, other| one.record.span_id.cmp(&other.record.span_id));
    all
}

/// The log records of these requests, by time.
pub(crate) fn logs<'r>(bodies: impl IntoIterator<Item = &'r [u8]>) -> Vec<Whole<LogRecord>> {
    let mut all = Vec::new();
    for body in bodies {
        let request = ExportLogsServiceRequest::decode(body).expect("a request");
        for resource in request.resource_logs {
            for scope in resource.scope_logs {
                all.extend(scope.log_records.into_iter().map(|mut record| {
                    record.body.iter_mut().for_each(sort_value);
                    sort_entries(&mut record.attributes);
                    Whole {
                        resource: sorted(resource.resource.clone().unwrap_or_default()),
                        resource_schema: resource.schema_url.clone(),
                        scope: scope.scope.clone().unwrap_or_default(),
                        scope_schema: scope.schema_url.clone(),
                        record,
                    }
                }));
            }
        }
    }
    all.sort_by_key(|whole| whole.record.time_unix_nano);
    all
}

/// A resource and a map have no order.
fn sorted(mut resource: Resource) -> Resource {
    resource.attributes.sort_by(|one, other| one.key.cmp(&other.key));
    resource
}

fn sort_entries(entries: &mut [KeyValue]) {
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    for entry in entries {
        entry.value.iter_mut().for_each(sort_value);
    }
}

fn sort_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::KvlistValue(map)) => sort_entries(&mut map.values),
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(sort_value),
        _ => {}
    }
}
