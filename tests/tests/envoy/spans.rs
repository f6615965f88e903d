//! What arrived at a collector, read by OpenTelemetry's own types.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use surgetank_tests::upstream::{Exchange, Upstream};

/// Every span that the collector accepted, in order of arrival.
pub(crate) fn accepted(exchanges: &[Exchange]) -> Vec<Span> {
    let accepted = exchanges
        .iter()
        .filter(|exchange| exchange.is_accepted() && exchange.request.path == "/v1/traces");
    accepted
        .flat_map(|exchange| {
            let request = ExportTraceServiceRequest::decode(&*exchange.request.body);
            request.expect("an export request").resource_spans
        })
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

/// As many spans as soon as they arrived.
#[track_caller]
pub(crate) fn wait_for(collector: &Upstream, count: usize) -> Vec<Span> {
    collector.wait_for(&format!("{count} spans"), |exchanges| {
        let spans = accepted(exchanges);
        (spans.len() >= count).then_some(spans)
    })
}

/// An attribute as text; empty when it is not there.
pub(crate) fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|pair| pair.key == key);
    match found.and_then(|pair| pair.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
