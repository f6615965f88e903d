use super::*;
use std::string::{String as Text, ToString};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn refusal(text: &str) -> Text {
    parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_whole_configuration_is_read() {
    let text = std::format!(
        r#"{{"service_name": "edge", "release": "1.2", "environment": "prod", "sample_rate": 0.25,
        "otlp": {{"cluster": "collector", "path": "/otlp/v1/traces", "headers": {{"authorization": "Bearer x"}},
                  "timeout_ms": 2000, "delay_ms": 100}},
        "sentry": {{"cluster": "sentry", "dsn": "https://{KEY}@o1.ingest.sentry.io:8443/base/42"}}}}"#
    );
    let settings = parse(text.as_bytes()).unwrap();
    assert_eq!(settings.rate.threshold, (1 << 56) / 4 * 3);
    let otlp = settings.otlp.unwrap();
    assert_eq!(
        (otlp.authority.as_str(), otlp.path.as_str()),
        ("collector", "/otlp/v1/traces")
    );
    assert_eq!((otlp.timeout_ms, otlp.delay_ms), (2000, 100));
    assert_eq!(otlp.headers[0].1, "Bearer x");
    let sentry = settings.sentry.unwrap();
    assert_eq!(sentry.authority, "o1.ingest.sentry.io:8443");
    assert_eq!(sentry.path, "/base/api/42/envelope/");
    assert!(sentry.auth.contains(KEY) && sentry.auth.contains("sentry_client=surgetank.envoy/"));
    assert_eq!(sentry.timeout_ms, 10_000);
}

#[test]
fn defaults_are_as_documented() {
    let settings = parse(br#"{"otlp": {"cluster": "collector"}}"#).unwrap();
    assert_eq!(
        (settings.rate.threshold, settings.program.service_name.as_str()),
        (0, "envoy")
    );
    let otlp = settings.otlp.unwrap();
    assert_eq!(
        (otlp.path.as_str(), otlp.timeout_ms, otlp.delay_ms),
        ("/v1/traces", 10_000, 5_000)
    );
}

#[test]
fn rates_are_read_to_the_digit() {
    for (text, threshold) in [
        ("1", 0),
        ("1.0", 0),
        ("0", 1 << 56),
        ("0.5", 1 << 55),
        ("0.000000001", (1 << 56) - 72_057_594),
    ] {
        let text = std::format!(r#"{{"sample_rate": {text}, "otlp": {{"cluster": "c"}}}}"#);
        assert_eq!(
            parse(text.as_bytes()).unwrap().rate.threshold,
            threshold,
            "{text}"
        );
    }
}

#[test]
fn each_wrong_field_is_named_with_what_would_be_right() {
    let long = "x".repeat(200);
    for (text, field, expected) in [
        ("", "the configuration", "a JSON object"),
        ("[]", "the configuration", "a JSON object"),
        ("{", "the configuration", "a JSON object"),
        ("{}", "the configuration", NOTHING),
        (r#"{"guard": false}"#, "the configuration", NOTHING),
        (r#"{"guard": "yes"}"#, "guard", GUARD),
        (r#"{"otpl": {}}"#, "otpl", "absent: known are"),
        (r#"{"service_name": 1}"#, "service_name", NAME),
        (r#"{"service_name": ""}"#, "service_name", NAME),
        (r#"{"environment": "a/b"}"#, "environment", ENVIRONMENT),
        (r#"{"sample_rate": "1"}"#, "sample_rate", RATE),
        (r#"{"sample_rate": 1.5}"#, "sample_rate", RATE),
        (r#"{"sample_rate": 2}"#, "sample_rate", RATE),
        (r#"{"sample_rate": -0.5}"#, "sample_rate", RATE),
        (r#"{"sample_rate": 1e-1}"#, "sample_rate", RATE),
        (r#"{"otlp": "collector"}"#, "otlp", OTLP),
        (r#"{"otlp": {}}"#, "otlp.cluster", CLUSTER),
        (r#"{"otlp": {"cluster": "c", "path": "v1"}}"#, "otlp.path", PATH),
        (r#"{"otlp": {"cluster": "c", "path": "/a b"}}"#, "otlp.path", PATH),
        (r#"{"otlp": {"cluster": "c\n"}}"#, "otlp.cluster", CLUSTER),
        (
            r#"{"otlp": {"cluster": "c", "timeout_ms": 99}}"#,
            "otlp.timeout_ms",
            TIMEOUT,
        ),
        (
            r#"{"otlp": {"cluster": "c", "timeout_ms": 1.5}}"#,
            "otlp.timeout_ms",
            TIMEOUT,
        ),
        (
            r#"{"otlp": {"cluster": "c", "delay_ms": 60001}}"#,
            "otlp.delay_ms",
            DELAY,
        ),
        (
            r#"{"otlp": {"cluster": "c", "headers": []}}"#,
            "otlp.headers",
            HEADERS,
        ),
        (
            r#"{"otlp": {"cluster": "c", "headers": {"A": "b"}}}"#,
            "otlp.headers.A",
            HEADERS,
        ),
        (
            r#"{"otlp": {"cluster": "c", "headers": {"host": "b"}}}"#,
            "otlp.headers.host",
            HEADERS,
        ),
        (
            r#"{"otlp": {"cluster": "c", "headers": {"a": "b\r\nc: d"}}}"#,
            "otlp.headers.a",
            HEADERS,
        ),
        (
            r#"{"otlp": {"cluster": "c", "color": 1}}"#,
            "otlp.color",
            "absent: known are",
        ),
        (r#"{"sentry": {"cluster": "c"}}"#, "sentry.dsn", DSN),
        (
            r#"{"sentry": {"cluster": "c", "dsn": "http://example.org"}}"#,
            "sentry.dsn",
            DSN,
        ),
        (
            r#"{"sentry": {"dsn": "http://k@example.org/1"}}"#,
            "sentry.cluster",
            CLUSTER,
        ),
        (
            &std::format!(r#"{{"otlp": {{"cluster": "{long}"}}}}"#),
            "otlp.cluster",
            CLUSTER,
        ),
    ] {
        let said = refusal(text);
        let begin = std::format!("{field} must be {expected}");
        assert!(said.starts_with(&begin), "{text}: {said}");
    }
    assert!(parse(br#"{"guard": true}"#).unwrap().guard);
}

#[test]
fn no_value_is_ever_shown() {
    for text in [
        r#"{"sentry": {"cluster": "c", "dsn": "https://s3cret@"}}"#,
        r#"{"otlp": {"cluster": "c", "headers": {"authorization": "s3cret\n"}}}"#,
    ] {
        assert!(!refusal(text).contains("s3cret"));
    }
    let text = r#"{"otlp": {"cluster": "c", "headers": {"authorization": "s3cret"}}}"#;
    let settings = parse(text.as_bytes()).unwrap();
    assert!(!std::format!("{settings:?}").contains("s3cret"));
}

#[test]
fn the_machines_configuration_says_how_much_is_held() {
    assert_eq!(queue_bytes(b""), Ok(QUEUE_BYTES));
    assert_eq!(queue_bytes(b"{}"), Ok(QUEUE_BYTES));
    assert_eq!(queue_bytes(br#"{"queue_bytes": 65536}"#), Ok(65_536));
    assert_eq!(queue_bytes(br#"{"queue_bytes": 16777216}"#), Ok(MOST_QUEUE_BYTES));
    for (text, words) in [
        (
            r#"{"queue_bytes": 65535}"#,
            "vm_config.queue_bytes must be a whole number",
        ),
        (r#"{"queue_bytes": 16777217}"#, "vm_config.queue_bytes must be"),
        (r#"{"queue_bytes": "1 MB"}"#, "vm_config.queue_bytes must be"),
        (
            r#"{"queue": 1}"#,
            "vm_config.queue must be absent: known is queue_bytes",
        ),
        ("[]", "vm_config must be a JSON object"),
    ] {
        let refusal = queue_bytes(text.as_bytes()).unwrap_err().to_string();
        assert!(refusal.starts_with(words), "{text}: {refusal}");
    }
}
