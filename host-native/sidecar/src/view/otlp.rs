//! Summaries of OTLP requests in their JSON form: one for each span, log record and metric.

use super::summary::Summary;
use crate::store::StoredItem;
use serde_json::Value;

/// What there is to say about a request of `item`'s signal.
pub(super) fn summaries(item: &StoredItem, request: &Value) -> Vec<Summary> {
    let (resources, scopes, records, summary): (&str, &str, &str, fn(&Value) -> Summary) =
        match item.kind.as_str() {
            "traces" => ("resourceSpans", "scopeSpans", "spans", span),
            "logs" => ("resourceLogs", "scopeLogs", "logRecords", log),
            "metrics" => ("resourceMetrics", "scopeMetrics", "metrics", metric),
            _ => return Vec::new(),
        };
    let mut all = Vec::new();
    for resource in members(request, resources) {
        let service = service_name(resource);
        for record in members(resource, scopes).flat_map(|scope| members(scope, records)) {
            let mut summary = summary(record);
            summary.title = format!("{service}: {}", summary.title);
            all.push(summary);
        }
    }
    all
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// 64-bit integers are strings in OTLP/JSON, but numbers are accepted.
fn integer(value: &Value, name: &str) -> Option<i128> {
    let value = value.get(name)?;
    value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_str()?.parse().ok())
}

fn service_name(resource: &Value) -> &str {
    resource
        .get("resource")
        .into_iter()
        .flat_map(|resource| members(resource, "attributes"))
        .find(|attribute| text(attribute, "key") == "service.name")
        .and_then(|attribute| attribute.pointer("/value/stringValue")?.as_str())
        .unwrap_or("unknown service")
}

fn trace_id(record: &Value) -> Option<String> {
    Some(text(record, "traceId"))
        .filter(|id| !id.is_empty())
        .map(str::to_ascii_lowercase)
}

fn span(span: &Value) -> Summary {
    let kind = match span.get("kind").and_then(Value::as_i64) {
        Some(2) => " (server)",
        Some(3) => " (client)",
        Some(4) => " (producer)",
        Some(5) => " (consumer)",
        _ => "",
    };
    let level = match span.pointer("/status/code").and_then(Value::as_i64) {
        Some(1) => "ok",
        Some(2) => "error",
        _ => "",
    };
    let duration = match (
        integer(span, "startTimeUnixNano"),
        integer(span, "endTimeUnixNano"),
    ) {
        (Some(start), Some(end)) if end >= start => {
            let micros = (end - start) / 1000;
            format!(", {}.{} ms", micros / 1000, micros % 1000 / 100)
        }
        _ => String::new(),
    };
    Summary {
        kind: "span".to_owned(),
        level: level.to_owned(),
        title: format!("{}{kind}{duration}", text(span, "name")),
        trace_id: trace_id(span),
        event_id: None,
    }
}

fn log(log: &Value) -> Summary {
    let level = match log.get("severityNumber").and_then(Value::as_i64).unwrap_or(0) {
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warn",
        17..=20 => "error",
        21..=24 => "fatal",
        _ => text(log, "severityText"),
    };
    let body = match log.get("body") {
        Some(body) => any_value(body),
        None => text(log, "eventName").to_owned(),
    };
    Summary {
        kind: "log".to_owned(),
        level: level.to_owned(),
        title: body,
        trace_id: trace_id(log),
        event_id: None,
    }
}

/// The value itself where it is a scalar; else its JSON.
fn any_value(value: &Value) -> String {
    match value.as_object().and_then(|value| value.values().next()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn metric(metric: &Value) -> Summary {
    let shapes = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
    let found = shapes
        .into_iter()
        .find_map(|shape| Some((shape, metric.get(shape)?)));
    let (shape, points) = match found {
        Some((shape, data)) => (shape, members(data, "dataPoints").count()),
        None => ("metric", 0),
    };
    let last = found
        .and_then(|(_, data)| members(data, "dataPoints").last())
        .and_then(|point| {
            let value = point.get("asDouble").or_else(|| point.get("asInt"))?;
            Some(format!(
                ", last {}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            ))
        })
        .unwrap_or_default();
    let unit = match text(metric, "unit") {
        "" => String::new(),
        unit => format!(" [{unit}]"),
    };
    Summary {
        kind: "metric".to_owned(),
        title: format!("{shape} {}{unit}, {points} points{last}", text(metric, "name")),
        ..Summary::default()
    }
}
