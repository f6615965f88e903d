//! Summaries of Sentry items; an item of a type or shape that is not known has none.

use super::summary::Summary;
use crate::store::StoredItem;
use serde_json::Value;

/// What there is to say about the payload of `item`.
pub(super) fn summaries(item: &StoredItem, payload: &Value) -> Vec<Summary> {
    let one = |level: &str, title: String, trace_id: Option<&str>| {
        vec![Summary {
            kind: item.kind.clone(),
            level: level.to_owned(),
            title,
            trace_id: trace_id.map(str::to_owned),
            event_id: None,
        }]
    };
    let trace = text(payload, "/contexts/trace/trace_id");
    let or = |pointer: &str, default: &'static str| text(payload, pointer).unwrap_or(default).to_owned();
    match item.kind.as_str() {
        "event" => one(&or("/level", "error"), event_title(payload), trace),
        "transaction" => {
            let spans = payload
                .pointer("/spans")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let title = format!(
                "{} ({}){}, {spans} child spans",
                or("/transaction", "<unnamed>"),
                or("/contexts/trace/op", "default"),
                duration(payload, "/start_timestamp", "/timestamp"),
            );
            one(&or("/contexts/trace/status", ""), title, trace)
        }
        "log" => elements(payload, |log| Summary {
            kind: "log".to_owned(),
            level: text(log, "/level").unwrap_or("info").to_owned(),
            title: text(log, "/body").unwrap_or_default().to_owned(),
            trace_id: text(log, "/trace_id").map(str::to_owned),
            event_id: None,
        }),
        "span" => elements(payload, |span| Summary {
            kind: "span".to_owned(),
            level: text(span, "/status").unwrap_or_default().to_owned(),
            title: format!(
                "{}{}",
                text(span, "/name").unwrap_or("<unnamed>"),
                duration(span, "/start_timestamp", "/end_timestamp")
            ),
            trace_id: text(span, "/trace_id").map(str::to_owned),
            event_id: None,
        }),
        "trace_metric" => elements(payload, |metric| Summary {
            kind: "trace_metric".to_owned(),
            level: String::new(),
            title: format!(
                "{} {} = {}{}",
                text(metric, "/type").unwrap_or("metric"),
                text(metric, "/name").unwrap_or("<unnamed>"),
                metric.pointer("/value").unwrap_or(&Value::Null),
                text(metric, "/unit")
                    .map(|unit| format!(" {unit}"))
                    .unwrap_or_default(),
            ),
            trace_id: text(metric, "/trace_id").map(str::to_owned),
            event_id: None,
        }),
        "session" => {
            let title = format!(
                "{} release {}",
                or("/sid", "<no id>"),
                or("/attrs/release", "<none>")
            );
            one(&or("/status", "ok"), title, None)
        }
        "sessions" => {
            let groups = payload
                .pointer("/aggregates")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            one(
                "",
                format!("{groups} groups, release {}", or("/attrs/release", "<none>")),
                None,
            )
        }
        "check_in" => one(&or("/status", ""), or("/monitor_slug", "<unnamed>"), trace),
        "feedback" => one("", or("/contexts/feedback/message", ""), trace),
        "user_report" => one("", or("/comments", ""), None),
        "client_report" => one("", discarded(payload), None),
        _ => Vec::new(),
    }
}

/// `, file NAME` of an attachment, from its item headers.
pub(super) fn file_name(item: &StoredItem) -> String {
    serde_json::from_slice::<Value>(&item.item_headers)
        .ok()
        .as_ref()
        .and_then(|headers| text(headers, "/filename"))
        .map(|name| format!(", file {name}"))
        .unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// One summary for each element of a container.
fn elements(payload: &Value, summary: impl Fn(&Value) -> Summary) -> Vec<Summary> {
    match payload.pointer("/items").and_then(Value::as_array) {
        Some(items) => items.iter().map(summary).collect(),
        // Standalone spans of older SDKs come without a container.
        None => vec![summary(payload)],
    }
}

/// The last exception, which is the one that was raised; else the message.
fn event_title(event: &Value) -> String {
    let exceptions = event
        .pointer("/exception/values")
        .or_else(|| event.pointer("/exception"))
        .and_then(Value::as_array);
    if let Some(exception) = exceptions.and_then(|values| values.last()) {
        let kind = text(exception, "/type").unwrap_or("Error");
        return match text(exception, "/value") {
            Some(value) if !value.is_empty() => format!("{kind}: {value}"),
            _ => kind.to_owned(),
        };
    }
    [
        "/logentry/formatted",
        "/logentry/message",
        "/message/formatted",
        "/message/message",
        "/message",
    ]
    .into_iter()
    .find_map(|pointer| text(event, pointer))
    .unwrap_or("<no message>")
    .to_owned()
}

/// `, 12.3 ms`, when both ends are numbers of seconds.
fn duration(value: &Value, start: &str, end: &str) -> String {
    let seconds = |pointer: &str| value.pointer(pointer).and_then(Value::as_f64);
    match (seconds(start), seconds(end)) {
        (Some(start), Some(end)) if end >= start => format!(", {:.1} ms", (end - start) * 1000.0),
        _ => String::new(),
    }
}

fn discarded(report: &Value) -> String {
    let events = report.pointer("/discarded_events").and_then(Value::as_array);
    let lost: Vec<String> = events
        .into_iter()
        .flatten()
        .map(|event| {
            format!(
                "{} {} ({})",
                event.pointer("/quantity").unwrap_or(&Value::Null),
                text(event, "/category").unwrap_or("?"),
                text(event, "/reason").unwrap_or("?")
            )
        })
        .collect();
    if lost.is_empty() {
        "nothing lost".to_owned()
    } else {
        format!("lost {}", lost.join(", "))
    }
}
