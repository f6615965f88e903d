//! An item as one JSON object, for programs.

use super::content::{Content, content};
use super::json_text;
use super::timestamp::Timestamp;
use crate::store::StoredItem;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Object<'a> {
    id: i64,
    stored_at: String,
    source: &'a str,
    project: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    event_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    content_type: &'a str,
    payload_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope_headers: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_headers: Option<Box<RawValue>>,
    /// JSON payloads as they are, OTLP protobuf as its JSON form.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// The exact bytes, where `payload` does not give them.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// The object on one line. Payloads that were not read with the item are left out.
pub(crate) fn object(item: &StoredItem) -> String {
    let mut payload = None;
    let mut payload_base64 = None;
    if let Some(bytes) = item.payload.as_deref() {
        if let Content::Json(json) = content(item, bytes) {
            payload = raw(&json);
        }
        if payload.is_none() || item.content_type == "application/x-protobuf" {
            payload_base64 = Some(STANDARD.encode(bytes));
        }
    }
    let object = Object {
        id: item.id,
        stored_at: Timestamp(item.stored_at_us).to_string(),
        source: &item.source,
        project: &item.project,
        kind: &item.kind,
        event_id: item.event_id.as_deref(),
        trace_id: item.trace_id.as_deref(),
        content_type: &item.content_type,
        payload_bytes: item.payload_bytes,
        envelope_headers: raw(&item.envelope_headers),
        item_headers: raw(&item.item_headers),
        payload,
        payload_base64,
    };
    // Strings and JSON that was just checked: this cannot fail, and an empty line would be seen.
    serde_json::to_string(&object).unwrap_or_default()
}

fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(json_text::compact(json)?).ok()
}
