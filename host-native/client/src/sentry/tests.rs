use core::time::Duration;

use serde_json::{Value, json};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Writer;

use super::*;
use crate::ids::EventId;

const ID: EventId = EventId::from_bytes(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
const ID_HEX: &str = "0123456789abcdef0123456789abcdef";
pub(super) const NOW: UnixTime = UnixTime::from_micros(1_700_000_000_250_000);

pub(super) fn context() -> SentryContext {
    SentryContext::new(SentryFacts {
        release: "shop@1.0",
        environment: "prod",
        server_name: "web-1",
        public_key: "key",
        org_id: "",
        sdk_name: "sdk.rust",
        sdk_version: "0.1",
    })
}

pub(super) fn trace() -> TraceContext<'static> {
    TraceContext {
        trace_id: TraceId::new([0xaa; 16]).unwrap(),
        span_id: SpanId::new([0xbb; 8]).unwrap(),
        parent_span_id: None,
        op: "http.server",
    }
}

/// Writes into exactly the measured length.
pub(super) fn bytes(value: &impl Encode) -> Vec<u8> {
    let mut bytes = vec![0; value.encoded_len()];
    let mut out = Writer::new(&mut bytes);
    value.encode(&mut out);
    assert_eq!(
        out.finish(),
        Ok(bytes.len()),
        "the measured length is the written one"
    );
    // Two passes and one write the same, and one that has too little room for its passing needs says so.
    let mut once = vec![0; bytes.len() + 64];
    assert_eq!(value.write(&mut once), Some(bytes.len()));
    assert_eq!(once.get(..bytes.len()), Some(&bytes[..]));
    for room in 0..bytes.len() {
        assert_eq!(value.write(&mut once[..room]), None, "{room} of {}", bytes.len());
    }
    bytes
}

/// Envelope header, item header, payload.
fn envelope(value: &impl Encode) -> [Value; 3] {
    let text = String::from_utf8(bytes(value)).unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    let [envelope, item, payload, ""] = lines.as_slice() else {
        panic!("{text}")
    };
    let item: Value = serde_json::from_str(item).unwrap();
    assert_eq!(item["length"], payload.len());
    [
        serde_json::from_str(envelope).unwrap(),
        item,
        serde_json::from_str(payload).unwrap(),
    ]
}

/// Item header, payload.
fn parsed_item(value: &impl Encode) -> [Value; 2] {
    let text = String::from_utf8(bytes(value)).unwrap();
    let (header, payload) = text.split_once('\n').unwrap();
    let header: Value = serde_json::from_str(header).unwrap();
    assert_eq!(header["length"], payload.len());
    [header, serde_json::from_str(payload).unwrap()]
}

#[test]
fn a_message_is_an_envelope_with_its_event() {
    let context = context();
    let event = Event {
        level: Level::Warning,
        message: "low on \"disk\"\n",
        ..Event::default()
    };
    let [header, item, payload] = envelope(&encoded_event(&event, None, ID, NOW, &context));
    assert_eq!(
        header,
        json!({"event_id": ID_HEX, "sdk": {"name": "sdk.rust", "version": "0.1"}})
    );
    assert_eq!(item["type"], "event");
    assert_eq!(
        payload,
        json!({
            "event_id": ID_HEX, "timestamp": 1_700_000_000.25, "level": "warning",
            "logentry": {"formatted": "low on \"disk\"\n"},
            "release": "shop@1.0", "environment": "prod", "server_name": "web-1", "platform": "native",
            "sdk": {"name": "sdk.rust", "version": "0.1"},
        })
    );
}

#[test]
fn an_exception_carries_everything_it_was_given() {
    let context = context();
    let frames = [
        Frame {
            function: "main",
            in_app: Some(true),
            ..Frame::default()
        },
        Frame {
            function: "charge",
            module: "shop::pay",
            filename: "pay.rs",
            abs_path: "/src/pay.rs",
            line: 12,
            column: 3,
            in_app: None,
            instruction_addr: 0xdead_beef,
        },
    ];
    let exceptions = [Exception {
        kind: "CardError",
        value: "declined",
        module: "shop",
        frames: &frames,
        handled: Some(false),
        mechanism: "",
    }];
    let nested = [KeyValue::new("n", AnyValue::Int(1))];
    let extra = [
        KeyValue::new("list", AnyValue::Array(&[AnyValue::Bool(true), AnyValue::Empty])),
        KeyValue::new("map", AnyValue::Map(&nested)),
    ];
    let runtime = [KeyValue::new("name", AnyValue::String("rustc"))];
    let ignored = [KeyValue::new("trace_id", AnyValue::String("zz"))];
    let breadcrumbs = [Breadcrumb {
        timestamp: Some(NOW),
        category: "http",
        level: Some(Level::Trace),
        message: "GET /",
        ..Breadcrumb::default()
    }];
    let event = Event {
        exceptions: &exceptions,
        logger: "pay",
        transaction: "/charge",
        tags: &[("shop", "42")],
        extra: &extra,
        user: Some(User {
            id: "7",
            ip_address: Some("::1".parse().unwrap()),
            data: &nested,
            ..User::default()
        }),
        contexts: &[("runtime", &runtime), ("trace", &ignored), ("empty", &[])],
        breadcrumbs: &breadcrumbs,
        fingerprint: &["a", "b"],
        trace: Some(trace()),
        timestamp: Some(UnixTime::from_secs(1)),
        ..Event::default()
    };
    let [header, _, payload] = envelope(&encoded_event(&event, None, ID, NOW, &context));
    assert_eq!(
        header["trace"],
        json!({"trace_id": "aa".repeat(16), "public_key": "key", "release": "shop@1.0", "environment": "prod"})
    );
    assert_eq!(payload["timestamp"], 1.0);
    assert_eq!(payload["level"], "error");
    assert_eq!(
        payload["exception"]["values"],
        json!([{
            "type": "CardError", "value": "declined", "module": "shop",
            "mechanism": {"type": "generic", "handled": false},
            "stacktrace": {"frames": [
                {"function": "main", "in_app": true},
                {"function": "charge", "module": "shop::pay", "filename": "pay.rs", "abs_path": "/src/pay.rs",
                 "lineno": 12, "colno": 3, "instruction_addr": "0xdeadbeef"},
            ]},
        }])
    );
    assert_eq!(payload["tags"], json!({"shop": "42"}));
    assert_eq!(payload["extra"], json!({"list": [true, null], "map": {"n": 1}}));
    assert_eq!(
        payload["user"],
        json!({"id": "7", "ip_address": "::1", "data": {"n": 1}})
    );
    assert_eq!(
        payload["contexts"],
        json!({
            "trace": {"trace_id": "aa".repeat(16), "span_id": "bb".repeat(8), "op": "http.server"},
            "runtime": {"name": "rustc"},
        })
    );
    assert_eq!(
        payload["breadcrumbs"]["values"],
        json!([{"timestamp": 1_700_000_000.25, "category": "http", "level": "debug", "message": "GET /"}])
    );
    assert_eq!(payload["fingerprint"], json!(["a", "b"]));
    assert_eq!(
        (&payload["logger"], &payload["transaction"]),
        (&json!("pay"), &json!("/charge"))
    );
}

#[test]
fn what_a_transaction_is_likely_to_need_is_enough_and_not_far_off() {
    let context = context();
    let long = "x".repeat(300);
    for (count, text) in [
        (0, ""),
        (1, "db"),
        (10, "SELECT * FROM items WHERE id = ?"),
        (50, &long),
    ] {
        let span = Span {
            span_id: SpanId::new([0xcc; 8]).unwrap(),
            parent_span_id: SpanId::new([0xbb; 8]).unwrap(),
            op: text,
            description: text,
            status: Some(SpanStatus::FailedPrecondition),
            start: UnixTime::from_micros(u64::MAX),
            end: UnixTime::from_micros(u64::MAX),
            data: &[],
        };
        let spans = vec![span; count];
        let plain = Transaction {
            name: text,
            source: text,
            trace: TraceContext {
                parent_span_id: Some(span.span_id),
                op: text,
                ..trace()
            },
            start: span.start,
            end: span.end,
            status: SpanStatus::FailedPrecondition,
            measurements: &[],
            ..transaction(&spans)
        };
        let encoded = encoded_transaction(&plain, ID, &context);
        let needed = encoded.encoded_len() + crate::json::PASSING_BYTES;
        let likely = encoded.likely_len().unwrap();
        assert!(
            (needed..needed + 1000 + 16 * count).contains(&likely),
            "{needed} {likely}"
        );
        assert_eq!(encoded.write(&mut vec![0; likely]), Some(encoded.encoded_len()));
        let with_maps = Transaction {
            tags: &[("a", "b")],
            ..plain
        };
        assert_eq!(encoded_transaction(&with_maps, ID, &context).likely_len(), None);
    }
}

fn transaction<'a>(spans: &'a [Span<'a>]) -> Transaction<'a> {
    Transaction {
        name: "GET /",
        source: "route",
        trace: trace(),
        status: SpanStatus::NotFound,
        start: UnixTime::from_secs(10),
        end: UnixTime::from_micros(10_500_000),
        spans,
        data: &[],
        tags: &[],
        contexts: &[],
        measurements: &[Measurement {
            name: "ttfb",
            value: 1.5,
            unit: "millisecond",
        }],
        sampled: None,
        dynamic_sampling: &[],
    }
}

#[test]
fn a_transaction_carries_its_spans_and_a_sampling_context_of_its_own() {
    let context = context();
    let spans = [Span {
        span_id: SpanId::new([0xcc; 8]).unwrap(),
        parent_span_id: SpanId::new([0xbb; 8]).unwrap(),
        op: "db",
        description: "SELECT 1",
        status: Some(SpanStatus::Ok),
        start: UnixTime::from_secs(10),
        end: UnixTime::from_secs(11),
        data: &[KeyValue::new("db.system", AnyValue::String("sqlite"))],
    }];
    let transaction = transaction(&spans);
    let [header, item, payload] = envelope(&encoded_transaction(&transaction, ID, &context));
    assert_eq!(
        header["trace"],
        json!({
            "trace_id": "aa".repeat(16), "public_key": "key", "release": "shop@1.0", "environment": "prod",
            "transaction": "GET /", "sampled": "true",
        })
    );
    assert_eq!(item["type"], "transaction");
    assert_eq!(payload["type"], "transaction");
    assert_eq!(payload["transaction"], "GET /");
    assert_eq!(payload["transaction_info"], json!({"source": "route"}));
    assert_eq!(
        (&payload["start_timestamp"], &payload["timestamp"]),
        (&json!(10.0), &json!(10.5))
    );
    assert_eq!(payload["contexts"]["trace"]["status"], "not_found");
    assert_eq!(
        payload["spans"],
        json!([{
            "trace_id": "aa".repeat(16), "span_id": "cc".repeat(8), "parent_span_id": "bb".repeat(8), "op": "db",
            "description": "SELECT 1", "status": "ok", "start_timestamp": 10.0, "timestamp": 11.0,
            "data": {"db.system": "sqlite"},
        }])
    );
    assert_eq!(
        payload["measurements"],
        json!({"ttfb": {"value": 1.5, "unit": "millisecond"}})
    );
}

#[test]
fn a_continued_trace_keeps_the_sampling_context_it_came_with() {
    let context = context();
    let transaction = Transaction {
        dynamic_sampling: &[("trace_id", "from elsewhere"), ("sample_rate", "0.5")],
        ..transaction(&[])
    };
    let [header, ..] = envelope(&encoded_transaction(&transaction, ID, &context));
    assert_eq!(
        header["trace"],
        json!({"trace_id": "from elsewhere", "sample_rate": "0.5"})
    );
}

#[test]
fn a_session_update_names_its_release() {
    let context = context();
    let session = Session {
        id: ID,
        distinct_id: "u1",
        init: true,
        started: UnixTime::from_secs(1),
        status: SessionStatus::Crashed,
        errors: 2,
        duration: Some(Duration::from_millis(1500)),
        user_agent: "",
        ip_address: Some("10.0.0.1".parse().unwrap()),
    };
    let [header, payload] = parsed_item(&encoded_session(&session, NOW, &context));
    assert_eq!(header["type"], "session");
    assert_eq!(
        payload,
        json!({
            "sid": ID_HEX, "did": "u1", "init": true, "started": "1970-01-01T00:00:01.000000Z",
            "timestamp": "2023-11-14T22:13:20.250000Z", "status": "crashed", "errors": 2, "duration": 1.5,
            "attrs": {"release": "shop@1.0", "environment": "prod", "ip_address": "10.0.0.1"},
        })
    );
}

#[test]
fn a_check_in_can_bring_its_monitor() {
    let context = context();
    let check_in = CheckIn {
        monitor: "nightly",
        status: CheckInStatus::InProgress,
        id: None,
        duration: None,
        config: Some(Monitor {
            schedule: Schedule::Every(2, Interval::Hour),
            checkin_margin: 5,
            max_runtime: 0,
            timezone: "Europe/Vienna",
            failure_issue_threshold: 0,
            recovery_threshold: 3,
        }),
        trace_id: Some(trace().trace_id),
    };
    let [header, payload] = parsed_item(&encoded_check_in(&check_in, ID, &context));
    assert_eq!(header["type"], "check_in");
    assert_eq!(
        payload,
        json!({
            "check_in_id": ID_HEX, "monitor_slug": "nightly", "status": "in_progress",
            "release": "shop@1.0", "environment": "prod",
            "monitor_config": {
                "schedule": {"type": "interval", "value": 2, "unit": "hour"},
                "checkin_margin": 5, "timezone": "Europe/Vienna", "recovery_threshold": 3,
            },
            "contexts": {"trace": {"trace_id": "aa".repeat(16)}},
        })
    );
    let crontab = CheckIn {
        config: Some(Monitor {
            schedule: Schedule::Crontab("0 * * * *"),
            ..check_in.config.unwrap()
        }),
        ..check_in
    };
    let [_, payload] = parsed_item(&encoded_check_in(&crontab, ID, &context));
    assert_eq!(
        payload["monitor_config"]["schedule"],
        json!({"type": "crontab", "value": "0 * * * *"})
    );
}

#[test]
fn hostile_text_cannot_break_out_of_its_place() {
    let context = context();
    let evil = "\"}\n{\"type\":\"event\"}\u{0}\\";
    let event = Event {
        message: evil,
        tags: &[(evil, evil)],
        extra: &[KeyValue::new(evil, AnyValue::String(evil))],
        ..Event::default()
    };
    let [_, _, payload] = envelope(&encoded_event(&event, None, ID, NOW, &context));
    assert_eq!(payload["logentry"]["formatted"], evil);
    assert_eq!(payload["tags"][evil], evil);
    assert_eq!(payload["extra"][evil], evil);
}
