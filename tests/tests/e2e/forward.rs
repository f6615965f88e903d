//! An upstream that is well: everything arrives there as it was sent.

use std::collections::BTreeMap;

use serde_json::Value;
use surgetank_tests::upstream::{KEY, Upstream};

use crate::client::{Client, Sdk};
use crate::compare::{outline, quantities};
use crate::scene::Scene;

/// Every kind of item, as each way of sending traces has it, from two programs at a time.
#[track_caller]
fn everything_of_a_sentry_sdk_arrives(sdk: Sdk, kinds: &[&str]) {
    let mut scene = Scene::forwarding(Upstream::accepting(), &[], &[]);
    let dsn = scene.sentry.dsn(42);
    let ways = [
        [("TRACE_LIFECYCLE", "static"), ("COMPRESSION", "gzip")],
        [("TRACE_LIFECYCLE", "stream"), ("COMPRESSION", "br")],
    ];
    scene.clients = ways.iter().map(|way| Client::start(sdk, &dsn, way)).collect();
    scene.clients.iter_mut().for_each(Client::record_everything);
    scene.end_clients();

    let (sent, _) = scene.sent();
    let seen = outline(&sent);
    for kind in kinds {
        assert!(seen.contains_key(*kind), "the SDK sent no {kind}: {seen:?}");
    }
    scene.assert_clients_were_served();
    scene.assert_everything_arrived();
    for exchange in scene.upstream.exchanges() {
        let request = exchange.request;
        assert_eq!(
            request.path.split('?').next(),
            Some("/api/42/envelope/"),
            "the senders' project"
        );
        let auth = request.header("x-sentry-auth").unwrap_or_default();
        assert!(auth.contains(&format!("sentry_key={KEY}")), "the senders' key");
        assert!(
            auth.contains("sentry_client=sentry."),
            "the senders' name: {auth}"
        );
    }
    let stopped = scene.sidecar.stop();
    stopped.assert_clean();
    let delivered: BTreeMap<String, u64> = stopped.farewell["delivered"]
        .as_object()
        .expect("sums")
        .iter()
        // Bytes are counted, too; how is the core's own business and tested there.
        .filter(|(category, _)| !category.ends_with("_byte") && *category != "attachment")
        .map(|(category, quantity)| (category.clone(), quantity.as_u64().expect("a number")))
        .collect();
    assert_eq!(delivered, quantities(&sent));
}

#[test]
fn everything_of_the_python_sentry_sdk_arrives() {
    let kinds = [
        "attachment",
        "check_in",
        "event",
        "log",
        "session",
        "sessions",
        "span",
        "trace_metric",
        "transaction",
    ];
    everything_of_a_sentry_sdk_arrives(Sdk::SentryPython, &kinds);
}

#[test]
fn everything_of_the_node_sentry_sdk_arrives() {
    let kinds = [
        "attachment",
        "check_in",
        "event",
        "feedback",
        "log",
        "session",
        "span",
        "trace_metric",
        "transaction",
    ];
    everything_of_a_sentry_sdk_arrives(Sdk::SentryNode, &kinds);
}

/// All three signals, with and without compression, from two programs at a time.
#[track_caller]
fn everything_of_an_opentelemetry_sdk_arrives(sdk: Sdk, compression: &str, content_type: &str) {
    let mut scene = Scene::forwarding(Upstream::accepting(), &[], &[]);
    let url = scene.otlp.url();
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant-token=north");
    let ways = [
        [headers, ("OTEL_EXPORTER_OTLP_COMPRESSION", "none")],
        [headers, ("OTEL_EXPORTER_OTLP_COMPRESSION", compression)],
    ];
    scene.clients = ways.iter().map(|way| Client::start(sdk, &url, way)).collect();
    scene.clients.iter_mut().for_each(Client::record_everything);
    scene.end_clients();

    let (_, exports) = scene.sent();
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        let kind = (path.to_owned(), content_type.to_owned());
        let count = exports.iter().filter(|export| export.kind == kind).count();
        assert!(count >= 2, "both programs send {kind:?}, {count} came");
    }
    scene.assert_clients_were_served();
    scene.assert_everything_arrived();
    for exchange in scene.upstream.exchanges() {
        assert_eq!(
            exchange.request.header("x-tenant-token"),
            Some("north"),
            "the senders' credentials"
        );
    }
    let stopped = scene.sidecar.stop();
    stopped.assert_clean();
    let delivered = &stopped.farewell["delivered"];
    assert_eq!(delivered["span"], Value::from(8), "{delivered}");
    assert_eq!(delivered["log_item"], Value::from(10), "{delivered}");
}

#[test]
fn everything_of_the_python_opentelemetry_sdk_arrives() {
    everything_of_an_opentelemetry_sdk_arrives(Sdk::OtelPython, "deflate", "application/x-protobuf");
}

#[test]
fn everything_of_the_node_opentelemetry_sdk_arrives() {
    everything_of_an_opentelemetry_sdk_arrives(Sdk::OtelNode, "gzip", "application/json");
}
