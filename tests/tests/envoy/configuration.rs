//! A configuration is checked before the proxy takes a single request.

use crate::envoy::{DSN, Envoy};
use serde_json::json;

fn said(plugin: &str) -> (bool, String) {
    said_in(plugin, "")
}

fn said_in(plugin: &str, machine: &str) -> (bool, String) {
    let output = Envoy::check(plugin, machine);
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_good_one_loads() {
    let plugin = json!({
        "service_name": "edge",
        "sample_rate": 0.5,
        "otlp": {"cluster": "collector", "headers": {"authorization": "Bearer s3cret"}},
        "sentry": {"cluster": "collector", "dsn": DSN},
    });
    let (good, said) = said(&plugin.to_string());
    assert!(good, "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn the_examples_one_loads() {
    let output = Envoy::check_example();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_bad_one_is_refused_by_the_name_of_the_field_and_without_its_value() {
    for (plugin, words) in [
        (
            r#"{"otlp": {"cluster": "collector", "timeout_ms": 1}}"#,
            "otlp.timeout_ms must be a whole number of milliseconds from 100 to 60000",
        ),
        (
            r#"{"sentry": {"cluster": "collector", "dsn": "https://s3cret@"}}"#,
            "sentry.dsn must be a DSN",
        ),
        ("", "the configuration must be a JSON object"),
    ] {
        let (good, said) = said(plugin);
        assert!(!good, "{plugin} was accepted");
        assert!(said.contains(words), "{plugin}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn the_machines_configuration_is_checked_like_the_plugins() {
    let plugin = r#"{"otlp": {"cluster": "collector"}}"#;
    let (good, text) = said_in(plugin, r#"{"queue_bytes": 1048576}"#);
    assert!(good, "{text}");
    let (good, text) = said_in(plugin, r#"{"queue_bytes": 1}"#);
    assert!(!good, "it was accepted");
    let words = "vm_config.queue_bytes must be a whole number of bytes from 65536 to 16777216";
    assert!(text.contains(words), "{text}");
}
