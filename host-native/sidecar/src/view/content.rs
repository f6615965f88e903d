//! What a payload turns out to be when it is looked at.

use super::json_text;
use crate::store::StoredItem;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// A payload in the form in which it can be shown.
#[derive(Debug)]
pub(crate) enum Content {
    /// JSON, as it arrived or decoded from protobuf.
    Json(Vec<u8>),
    /// Other text.
    Text(String),
    /// Anything else.
    Binary,
}

/// Looks at `payload`, which belongs to `item`.
pub(crate) fn content(item: &StoredItem, payload: &[u8]) -> Content {
    if item.source == "otlp" && item.content_type == "application/x-protobuf" {
        return otlp_json(&item.kind, payload).map_or(Content::Binary, Content::Json);
    }
    let trimmed = payload.trim_ascii();
    if matches!(trimmed.first(), Some(b'{' | b'[')) && json_text::compact(trimmed).is_some() {
        return Content::Json(trimmed.to_vec());
    }
    match std::str::from_utf8(payload) {
        Ok(text) if !text.contains(|c: char| c.is_control() && !c.is_whitespace()) => {
            Content::Text(text.to_owned())
        }
        _ => Content::Binary,
    }
}

/// The JSON form of an OTLP request in protobuf (OTLP specification, "JSON Protobuf Encoding").
fn otlp_json(signal: &str, payload: &[u8]) -> Option<Vec<u8>> {
    match signal {
        "traces" => json_of::<ExportTraceServiceRequest>(payload),
        "logs" => json_of::<ExportLogsServiceRequest>(payload),
        "metrics" => json_of::<ExportMetricsServiceRequest>(payload),
        _ => None,
    }
}

fn json_of<M: Message + Default + serde::Serialize>(payload: &[u8]) -> Option<Vec<u8>> {
    serde_json::to_vec(&M::decode(payload).ok()?).ok()
}
