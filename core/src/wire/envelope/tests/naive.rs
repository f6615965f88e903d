//! An envelope parser as one would write it with all of an envelope in memory and `serde_json` at hand.

use serde_json::{Map, Value};
use std::string::{String, ToString};
use std::vec::Vec;

pub(super) struct Envelope {
    pub(super) header: Header,
    pub(super) items: Vec<Item>,
}

pub(super) struct Item {
    pub(super) header: Header,
    /// Header line, line feed and payload.
    pub(super) whole: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Item {
    pub(super) fn item_type(&self) -> &str {
        self.header["type"].as_str().unwrap()
    }
}

/// The envelope, or what is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Envelope, String> {
    let (header, mut rest) = header(bytes)?;
    let header = header.ok_or("no header")?;
    match header.get("event_id") {
        None | Some(Value::Null) => {}
        Some(Value::String(id)) if is_uuid(id) => {}
        _ => return Err("event_id".into()),
    }
    match header.get("dsn") {
        None | Some(Value::Null | Value::String(_)) => {}
        _ => return Err("dsn".into()),
    }
    let mut items = Vec::new();
    while !rest.is_empty() {
        if items.len() == 500 {
            return Err("too many".into());
        }
        let start = rest;
        let (header, payload) = self::header(rest)?;
        let header = header.ok_or("no item")?;
        if !header.get("type").is_some_and(Value::is_string) {
            return Err("type".into());
        }
        let length = small_integer(header.get("length"))?;
        small_integer(header.get("item_count"))?;
        let length = match length {
            Some(length) if length > payload.len() => return Err("short".into()),
            Some(length) => length,
            None => payload
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(payload.len()),
        };
        let (payload, after) = payload.split_at(length);
        if !matches!(after.first(), None | Some(b'\n')) {
            return Err("long".into());
        }
        let blank = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        items.push(Item {
            header,
            whole: start[blank..start.len() - after.len()].to_vec(),
            payload: payload.to_vec(),
        });
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(Envelope { header, items })
}

type Header = Map<String, Value>;

/// The object on the next line that is not blank, if there is one, and what follows that line.
fn header(bytes: &[u8]) -> Result<(Option<Header>, &[u8]), String> {
    let blank = bytes
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        .count();
    let bytes = &bytes[blank..];
    if bytes.is_empty() {
        return Ok((None, bytes));
    }
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    let object = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if line.last() != Some(&b'}') || line.len() > 16 * 1024 {
        return Err("line".into());
    }
    Ok((Some(object), rest.get(1..).unwrap_or_default()))
}

fn small_integer(value: Option<&Value>) -> Result<Option<usize>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(integer) if integer <= u64::from(u32::MAX) => Ok(Some(integer as usize)),
            _ => Err("integer".into()),
        },
    }
}

pub(super) fn is_uuid(text: &str) -> bool {
    let hyphens = text.len() == 36;
    (hyphens || text.len() == 32)
        && text.bytes().enumerate().all(|(at, byte)| {
            if hyphens && matches!(at, 8 | 13 | 18 | 23) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// The counts of an item by category name, read from whole JSON values.
pub(super) fn quantities(item: &Item) -> Vec<(&'static str, u64)> {
    let payload: Value = serde_json::from_slice(&item.payload).unwrap_or_default();
    let items = item.header.get("item_count").and_then(Value::as_u64);
    let count = items.unwrap_or(1).max(1);
    let ui = match item.header.get("platform").and_then(Value::as_str) {
        Some("cocoa" | "android" | "javascript") => Some(true),
        Some(_) => Some(false),
        None => None,
    };
    match item.item_type() {
        "event" | "unreal_report" => [("error", 1)].into(),
        "transaction" => {
            let spans = payload["spans"].as_array().map_or(0, Vec::len) as u64;
            [("transaction", 1), ("span", spans + 1)].into()
        }
        "span" => [("span", count)].into(),
        "attachment" => [
            ("attachment", (item.payload.len() as u64).max(1)),
            ("attachment_item", 1),
        ]
        .into(),
        "session" => [("session", count)].into(),
        "sessions" => {
            let sum = |aggregate: &Value| -> u64 {
                ["exited", "errored", "abnormal", "crashed"]
                    .iter()
                    .filter_map(|name| aggregate[*name].as_u64())
                    .sum()
            };
            let aggregates = payload["aggregates"].as_array();
            let sum: u64 = aggregates.into_iter().flatten().map(sum).sum();
            [("session", sum.max(1))].into()
        }
        "log" => {
            let (logs, bytes) = records(&payload, "body", 0);
            [("log_item", items.unwrap_or(logs).max(1)), ("log_byte", bytes)].into()
        }
        "trace_metric" => {
            let (metrics, bytes) = records(&payload, "name", 8);
            [
                ("trace_metric", items.unwrap_or(metrics).max(1)),
                ("trace_metric_byte", bytes),
            ]
            .into()
        }
        "profile" => match ui {
            None => [("profile", count)].into(),
            Some(true) => [("profile", count), ("profile_ui", count)].into(),
            Some(false) => [("profile", count), ("profile_backend", count)].into(),
        },
        "profile_chunk" if ui == Some(true) => [("profile_chunk_ui", count)].into(),
        "profile_chunk" => [("profile_chunk", count)].into(),
        "profile_chunk_ui" if ui == Some(false) => [("profile_chunk", count)].into(),
        "profile_chunk_ui" => [("profile_chunk_ui", count)].into(),
        "replay_event" | "replay_recording" | "replay_video" => [("replay", 1)].into(),
        "check_in" => [("monitor", count)].into(),
        "feedback" | "user_report" => [("feedback", 1)].into(),
        "security" | "raw_security" => [("security", 1)].into(),
        "metric_buckets" => [("metric_bucket", count)].into(),
        "client_report" => [("internal", count)].into(),
        "form_data" => [("default", 1)].into(),
        _ => [("default", count)].into(),
    }
}

fn records(payload: &Value, text: &str, fixed: u64) -> (u64, u64) {
    let one = core::slice::from_ref(payload);
    let all = match payload.get("items") {
        Some(Value::Array(items)) => items,
        _ if payload.is_object() => one,
        _ => return (0, 1),
    };
    let records: Vec<_> = all.iter().filter(|record| record.is_object()).collect();
    let bytes: u64 = records
        .iter()
        .map(|record| record_bytes(record, text, fixed))
        .sum();
    (records.len() as u64, bytes.max(1))
}

fn record_bytes(record: &Value, text: &str, fixed: u64) -> u64 {
    let text = record[text].as_str().map_or(0, str::len) as u64;
    let attributes = record["attributes"].as_object();
    let attributes: u64 = attributes
        .into_iter()
        .flatten()
        .map(|(name, attribute)| name.len() as u64 + attribute.get("value").map_or(0, value_bytes))
        .sum();
    (text + fixed + attributes).max(1)
}

fn value_bytes(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 8,
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() as u64 + value_bytes(value))
            .sum(),
    }
}
