use super::content::{Content, content};
use super::object::object;
use super::summary::{Line, summaries};
use crate::store::StoredItem;
use serde_json::Value;

fn sentry(kind: &str, payload: &str) -> StoredItem {
    StoredItem {
        id: 7,
        stored_at_us: 1_795_231_715_000_000,
        source: "sentry".to_owned(),
        project: "42".to_owned(),
        kind: kind.to_owned(),
        event_id: None,
        trace_id: None,
        content_type: "application/json".to_owned(),
        envelope_headers: b"{}".to_vec(),
        item_headers: format!("{{\"type\":\"{kind}\"}}").into_bytes(),
        payload_bytes: payload.len() as i64,
        payload: Some(payload.as_bytes().to_vec()),
    }
}

fn otlp(signal: &str, content_type: &str, payload: &[u8]) -> StoredItem {
    StoredItem {
        source: "otlp".to_owned(),
        project: String::new(),
        content_type: content_type.to_owned(),
        envelope_headers: Vec::new(),
        item_headers: Vec::new(),
        payload_bytes: payload.len() as i64,
        payload: Some(payload.to_vec()),
        ..sentry(signal, "")
    }
}

fn lines(item: &StoredItem) -> Vec<String> {
    let line = |summary| {
        Line {
            item,
            summary: &summary,
            coloured: false,
        }
        .to_string()
    };
    summaries(item).into_iter().map(line).collect()
}

/// What stands behind time, number and project.
fn tails(item: &StoredItem) -> Vec<String> {
    lines(item)
        .iter()
        .map(|line| {
            line.splitn(4, "  ")
                .last()
                .unwrap()
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .trim()
                .to_owned()
        })
        .map(|line| {
            line.trim_start_matches("project 42")
                .trim_start_matches("otlp")
                .trim()
                .to_owned()
        })
        .collect()
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Encoded by the reference library: service `a`, scope `s`, one server span `n` with status error.
fn reference_span() -> Vec<u8> {
    bytes_of_hex(concat!(
        "0a5d0a150a130a0c736572766963652e6e616d6512030a016112440a030a0173123d0a100102030405060708090a0b0c0d0e0f10",
        "120811121314151617182a016e30023901000000000000004102000000000000007a021802850101010000"
    ))
}

#[test]
fn an_error_is_shown_with_what_was_raised() {
    let mut event = sentry(
        "event",
        r#"{"exception":{"values":[{"type":"KeyError","value":"k"},{"type":"ValueError","value":"boom\nmore"}]},
            "contexts":{"trace":{"trace_id":"cafe"}}}"#,
    );
    event.event_id = Some("ab".to_owned());
    assert_eq!(
        lines(&event),
        [
            "2026-11-21T03:28:35.000Z      7  project 42  event        error    ValueError: boom...  event=ab  trace=cafe"
        ]
    );
    let message = sentry(
        "event",
        r#"{"level":"info","logentry":{"formatted":"hello","message":"hel%s"}}"#,
    );
    assert_eq!(tails(&message), ["event        info     hello"]);
}

#[test]
fn each_log_of_a_container_has_its_line() {
    let logs = sentry(
        "log",
        r#"{"version":2,"items":[{"level":"warn","body":"one","trace_id":"aa"},{"level":"info","body":"two"}]}"#,
    );
    assert_eq!(
        tails(&logs),
        ["log          warn     one  trace=aa", "log          info     two"]
    );
}

#[test]
fn other_items_say_what_matters() {
    for (kind, payload, expected) in [
        (
            "transaction",
            r#"{"transaction":"/a","start_timestamp":1.0,"timestamp":1.0125,"spans":[{}],"contexts":{"trace":{"op":"http","status":"ok"}}}"#,
            "transaction  ok       /a (http), 12.5 ms, 1 child spans",
        ),
        (
            "session",
            r#"{"sid":"s1","status":"exited","attrs":{"release":"r1"}}"#,
            "session      exited   s1 release r1",
        ),
        (
            "check_in",
            r#"{"monitor_slug":"nightly","status":"ok"}"#,
            "check_in     ok       nightly",
        ),
        (
            "client_report",
            r#"{"discarded_events":[{"reason":"queue_overflow","category":"error","quantity":3}]}"#,
            "client_report  lost 3 error (queue_overflow)",
        ),
        (
            "trace_metric",
            r#"{"items":[{"type":"counter","name":"c","value":1,"unit":"ms"}]}"#,
            "trace_metric  counter c = 1 ms",
        ),
        (
            "span",
            r#"{"items":[{"name":"n","status":"ok","start_timestamp":1,"end_timestamp":2}]}"#,
            "span         ok       n, 1000.0 ms",
        ),
        ("invented", r#"{"a":1}"#, "invented     7 bytes"),
        ("event", "[1]", "event        error    <no message>"),
        ("event", "not json", "event        8 bytes"),
    ] {
        assert_eq!(tails(&sentry(kind, payload)), [expected], "{kind}");
    }
}

#[test]
fn an_attachment_is_named() {
    let mut attachment = sentry("attachment", "\u{0}\u{1}");
    attachment.item_headers = br#"{"type":"attachment","filename":"a.log"}"#.to_vec();
    assert_eq!(tails(&attachment), ["attachment   2 bytes, file a.log"]);
}

#[test]
fn long_containers_are_cut_and_counted() {
    let logs: Vec<String> = (0..150).map(|i| format!("{{\"body\":\"{i}\"}}")).collect();
    let all = tails(&sentry("log", &format!("{{\"items\":[{}]}}", logs.join(","))));
    assert_eq!(all.len(), 101);
    assert_eq!(
        all[100],
        "log          and 50 more; see all with: surgetank show 7"
    );
}

#[test]
fn nothing_a_terminal_obeys_gets_through() {
    let mut event = sentry(
        "event\u{1b}[2J",
        r#"{"level":"\u001b[31m","message":"a\u001b]0;owned\u0007\u009b"}"#,
    );
    event.kind = "event".to_owned();
    event.project = "\u{1b}c".to_owned();
    let line = &lines(&event)[0];
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
}

#[test]
fn otlp_in_protobuf_and_in_json_reads_the_same() {
    let protobuf = otlp("traces", "application/x-protobuf", &reference_span());
    let expected = "span         error    a: n (server), 0.0 ms  trace=0102030405060708090a0b0c0d0e0f10";
    assert_eq!(tails(&protobuf), [expected]);
    let Content::Json(json) = content(&protobuf, &reference_span()) else {
        panic!("not decoded")
    };
    let value: Value = serde_json::from_slice(&json).unwrap();
    let span = value.pointer("/resourceSpans/0/scopeSpans/0/spans/0").unwrap();
    assert_eq!(span["traceId"], "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(span["spanId"], "1112131415161718");
    assert_eq!(span["endTimeUnixNano"], "2");
    assert_eq!(span["kind"], 2);
    assert_eq!(tails(&otlp("traces", "application/json", &json)), [expected]);
}

#[test]
fn otlp_logs_and_metrics_have_their_lines() {
    let logs = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"severityNumber":17,"body":{"stringValue":"bad"},"traceId":"AB"},{"body":{"intValue":"5"}}]}]}]}"#;
    assert_eq!(
        tails(&otlp("logs", "application/json", logs)),
        [
            "log          error    unknown service: bad  trace=ab",
            "log          unknown service: 5"
        ]
    );
    let metrics = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},
        "scopeMetrics":[{"metrics":[{"name":"m","unit":"s","sum":{"dataPoints":[{"asInt":"1"},{"asInt":"2"}]}}]}]}]}"#;
    assert_eq!(
        tails(&otlp("metrics", "application/json", metrics)),
        ["metric       a: sum m [s], 2 points, last 2"]
    );
}

#[test]
fn the_object_holds_the_payload_unchanged() {
    let event = sentry("event", "{ \"a\": 1.10, \"b\": 1e400, \"a\": 2 }");
    let text = object(&event);
    assert!(text.contains(r#""payload":{"a":1.10,"b":1e400,"a":2}"#), "{text}");
    assert!(
        text.contains(r#""envelope_headers":{},"item_headers":{"type":"event"}"#),
        "{text}"
    );
    assert!(!text.contains("payload_base64"));

    let span = object(&otlp("traces", "application/x-protobuf", &reference_span()));
    let value: Value = serde_json::from_str(&span).unwrap();
    assert!(value["payload"]["resourceSpans"].is_array());
    assert_eq!(
        value["payload_base64"].as_str().unwrap().len(),
        reference_span().len().div_ceil(3) * 4
    );

    let mut unread = sentry("attachment", "");
    unread.payload = None;
    let value: Value = serde_json::from_str(&object(&unread)).unwrap();
    assert!(value.get("payload").is_none() && value.get("payload_base64").is_none());
}
