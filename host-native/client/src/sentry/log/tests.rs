use serde_json::{Value, json};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::KeyValue;

use super::*;
use crate::sentry::tests::{NOW, bytes, context, trace};

#[test]
fn a_log_has_typed_attributes_and_is_billed_as_relay_bills_it() {
    let context = context();
    let attributes = [
        KeyValue::new("s", AnyValue::String("abc")),
        KeyValue::new("i", AnyValue::Int(-1)),
        KeyValue::new("d", AnyValue::Double(0.5)),
        KeyValue::new("b", AnyValue::Bool(true)),
        KeyValue::new("a", AnyValue::Array(&[AnyValue::String("xy"), AnyValue::Int(1)])),
        KeyValue::new("nothing", AnyValue::Empty),
    ];
    let log = Log {
        level: Level::Warning,
        body: "hello",
        attributes: &attributes,
        ..Log::default()
    };
    assert_eq!(
        serde_json::from_str::<Value>(&log_text(&log, &context)).unwrap(),
        json!({
            "timestamp": 1_700_000_000.25, "trace_id": "aa".repeat(16), "level": "warn", "severity_number": 13,
            "body": "hello",
            "attributes": {
                "s": {"value": "abc", "type": "string"},
                "i": {"value": -1, "type": "integer"},
                "d": {"value": 0.5, "type": "double"},
                "b": {"value": true, "type": "boolean"},
                "a": {"value": ["xy", 1], "type": "array"},
                "sentry.release": {"value": "shop@1.0", "type": "string"},
                "sentry.environment": {"value": "prod", "type": "string"},
                "server.address": {"value": "web-1", "type": "string"},
                "sentry.sdk.name": {"value": "sdk.rust", "type": "string"},
                "sentry.sdk.version": {"value": "0.1", "type": "string"},
            },
        })
    );
    let own = "hello".len() + (1 + 3) + (1 + 8) + (1 + 8) + (1 + 1) + (1 + 2 + 8) + "nothing".len();
    let added: usize = [
        ("sentry.release", "shop@1.0"),
        ("sentry.environment", "prod"),
        ("server.address", "web-1"),
        ("sentry.sdk.name", "sdk.rust"),
        ("sentry.sdk.version", "0.1"),
    ]
    .iter()
    .map(|(key, value)| key.len() + value.len())
    .sum();
    assert_eq!(billed_bytes(&log, &context), own + added);
}

/// A log as the delivery thread writes it.
fn log_text(log: &Log<'_>, context: &SentryContext) -> String {
    let noted = bytes(&NotedLog {
        log,
        trace_id: trace().trace_id,
        span_id: log.span_id,
        now: NOW,
    });
    let mut texts = LogTexts::default();
    let text = texts.write(&noted, &context.log).unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn attributes_of_a_log_are_written_as_they_were_recorded() {
    let long = "x".repeat(300);
    let inner = [
        KeyValue::new("", AnyValue::Empty),
        KeyValue::new("q\"", AnyValue::Bytes(b"foo")),
        KeyValue::new("m", AnyValue::Map(&[])),
    ];
    let list = [AnyValue::Empty, AnyValue::Array(&[]), AnyValue::Double(1e300)];
    let quoted = |text: &str| format!("\"{text}\"");
    let (long_value, several) = (quoted(&long), "a\n\u{1F600}\u{1}");
    let cases = [
        ("", AnyValue::String("no key"), "\"no key\"", "string"),
        ("none", AnyValue::String(""), "\"\"", "string"),
        (&long, AnyValue::Int(i64::MIN), "-9223372036854775808", "integer"),
        ("long", AnyValue::String(&long), &long_value, "string"),
        (
            "several",
            AnyValue::String(several),
            "\"a\\n\u{1F600}\\u0001\"",
            "string",
        ),
        ("0", AnyValue::Int(0), "0", "integer"),
        ("1", AnyValue::Int(127), "127", "integer"),
        ("2", AnyValue::Int(128), "128", "integer"),
        ("3", AnyValue::Int(16_383), "16383", "integer"),
        ("4", AnyValue::Int(16_384), "16384", "integer"),
        ("half", AnyValue::Double(-0.5), "-0.5", "double"),
        ("nan", AnyValue::Double(f64::NAN), "null", "double"),
        ("no", AnyValue::Bool(false), "false", "boolean"),
        ("bytes", AnyValue::Bytes(&[0xff, 0xfe]), "\"//4=\"", "string"),
        ("list", AnyValue::Array(&list), "[null,[],1e300]", "array"),
        (
            "map",
            AnyValue::Map(&inner),
            r#"{"":null,"q\"":"Zm9v","m":{}}"#,
            "object",
        ),
    ];
    let mut attributes: Vec<_> = cases
        .iter()
        .map(|(key, value, ..)| KeyValue::new(key, *value))
        .collect();
    for at in [0, 7, attributes.len()] {
        attributes.insert(at, KeyValue::new("nothing", AnyValue::Empty));
    }
    let log = Log {
        level: Level::Fatal,
        body: "a \"quote\"",
        attributes: &attributes,
        trace_id: None,
        span_id: Some(trace().span_id),
        timestamp: Some(UnixTime::from_micros(1_500_000)),
    };
    let members: Vec<_> = cases
        .iter()
        .map(|(key, _, text, kind)| format!(r#""{key}":{{"value":{text},"type":"{kind}"}}"#))
        .collect();
    let expected = format!(
        r#"{{"timestamp":1.500000,"trace_id":"{}","span_id":"{}","level":"fatal","severity_number":21,"body":"a \"quote\"","attributes":{{{}}}}}"#,
        "aa".repeat(16),
        "bb".repeat(8),
        members.join(","),
    );
    assert_eq!(log_text(&log, &SentryContext::default()), expected);
}

#[test]
fn every_level_of_a_log_arrives() {
    let levels = [
        (Level::Trace, "trace", 1),
        (Level::Debug, "debug", 5),
        (Level::Info, "info", 9),
        (Level::Warning, "warn", 13),
        (Level::Error, "error", 17),
        (Level::Fatal, "fatal", 21),
    ];
    for (level, name, number) in levels {
        let log = Log {
            level,
            ..Log::default()
        };
        let parsed: Value = serde_json::from_str(&log_text(&log, &SentryContext::default())).unwrap();
        assert_eq!(
            (&parsed["level"], &parsed["severity_number"]),
            (&json!(name), &json!(number))
        );
    }
}

#[test]
fn attributes_of_a_log_end_at_the_depth_where_everything_ends() {
    let mut deep = AnyValue::Int(1);
    for _ in 0..100 {
        deep = AnyValue::Array(Vec::leak(vec![deep]));
    }
    let attributes = [KeyValue::new("deep", deep)];
    let log = Log {
        attributes: &attributes,
        ..Log::default()
    };
    let levels = surgetank_core::limits::MAX_VALUE_DEPTH + 1;
    let (open, close) = ("[".repeat(levels), "]".repeat(levels));
    let expected = format!("\"deep\":{{\"value\":{open}{close},");
    let text = log_text(&log, &SentryContext::default());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn what_is_no_log_becomes_none() {
    let log = Log {
        body: "hello",
        ..Log::default()
    };
    let noted = bytes(&NotedLog {
        log: &log,
        trace_id: trace().trace_id,
        span_id: log.span_id,
        now: NOW,
    });
    let mut texts = LogTexts::default();
    assert!(texts.write(&noted, b"").is_some());
    for cut in 0..noted.len() {
        assert!(texts.write(&noted[..cut], b"").is_none(), "{cut}");
    }
    let mut no_level = noted;
    no_level[32] = 6;
    assert!(texts.write(&no_level, b"").is_none());
}
