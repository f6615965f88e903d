//! Without an upstream: what arrives is kept, and shown as it arrived.

use serde_json::Value;
use surgetank_tests::process::Process;
use surgetank_tests::upstream::Upstream;

use crate::client::{Client, Sdk};
use crate::compare::{accepted_envelopes, accepted_exports};
use crate::sidecar::Sidecar;

/// What a stored item is known by, and its exact bytes.
type Kept = (String, Vec<u8>);

/// Items as `tail --json` prints them while they arrive, each with what `show --raw` gives of it.
#[track_caller]
fn kept(sidecar: &Sidecar, tail: &mut Process, count: usize) -> Vec<Kept> {
    let one = |_| {
        let line = tail.line();
        let item: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let id = item["id"].to_string();
        let shown = sidecar.command(&["show", "--raw", &id]);
        assert!(shown.status.success(), "show {id}");
        let kind = format!(
            "{} {}",
            item["type"].as_str().unwrap_or_default(),
            item["content_type"].as_str().unwrap_or_default()
        );
        (kind, shown.stdout)
    };
    (0..count).map(one).collect()
}

#[track_caller]
fn assert_same(mut sent: Vec<Kept>, mut kept: Vec<Kept>) {
    sent.sort();
    kept.sort();
    let kinds = |all: &[Kept]| -> Vec<(String, usize)> {
        all.iter()
            .map(|(kind, bytes)| (kind.clone(), bytes.len()))
            .collect()
    };
    assert_eq!(kinds(&sent), kinds(&kept), "kinds and sizes");
    assert!(sent == kept, "the bytes differ");
}

#[track_caller]
fn everything_of_a_sentry_sdk_is_kept(sdk: Sdk) {
    let sidecar = Sidecar::start(&[]);
    let mut tail = sidecar.follow();
    let between = Upstream::before(sidecar.address);
    let mut client = Client::start(sdk, &between.dsn(42), &[]);
    client.record_everything();
    let event_id = client.ask("error", serde_json::json!({"message": "the last one"}));
    client.end();
    let item = |item: &surgetank_tests::upstream::envelope::Item| {
        let header: Value = serde_json::from_slice(&item.header).expect("it was read before");
        let content_type = header["content_type"].as_str().unwrap_or_default();
        (format!("{} {content_type}", item.kind()), item.payload.clone())
    };
    let envelopes = accepted_envelopes(&between.exchanges());
    let sent: Vec<Kept> = envelopes
        .iter()
        .flat_map(|envelope| &envelope.items)
        .map(item)
        .collect();
    assert!(sent.len() > 10, "{} items", sent.len());
    let kept = kept(&sidecar, &mut tail, sent.len());
    assert_same(sent, kept);

    let event_id = event_id.as_str().expect("an event id");
    let shown = sidecar.command(&["show", event_id]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains(event_id) && text.contains("the last one"), "{text}");
    let lines = sidecar.command(&["tail", "--no-follow", "-n", "1000"]);
    let text = String::from_utf8_lossy(&lines.stdout);
    for words in ["out of stock", "paid 4", "checkout", "nightly", "attached.bin"] {
        assert!(text.contains(words), "no line on {words}:\n{text}");
    }
    sidecar.stop().assert_clean();
}

#[test]
fn everything_of_the_python_sentry_sdk_is_kept() {
    everything_of_a_sentry_sdk_is_kept(Sdk::SentryPython);
}

#[test]
fn everything_of_the_node_sentry_sdk_is_kept() {
    everything_of_a_sentry_sdk_is_kept(Sdk::SentryNode);
}

#[test]
fn everything_of_the_opentelemetry_sdks_is_kept() {
    let sidecar = Sidecar::start(&[]);
    let mut tail = sidecar.follow();
    let between = Upstream::before(sidecar.otlp_address);
    for sdk in [Sdk::OtelPython, Sdk::OtelNode] {
        let mut client = Client::start(sdk, &between.url(), &[]);
        client.record_everything();
        client.end();
    }
    let exports = accepted_exports(&between.exchanges());
    let sent: Vec<Kept> = exports
        .into_iter()
        .map(|export| {
            let signal = export.kind.0.trim_start_matches("/v1/").to_owned();
            (format!("{signal} {}", export.kind.1), export.body)
        })
        .collect();
    assert!(sent.len() >= 6, "three signals from two programs");
    let kept = kept(&sidecar, &mut tail, sent.len());
    assert_same(sent, kept);
    let lines = sidecar.command(&["tail", "--no-follow", "-n", "1000"]);
    let text = String::from_utf8_lossy(&lines.stdout);
    for words in ["checkout 3", "paid 4", "order.duration"] {
        assert!(text.matches(words).count() >= 2, "no lines on {words}:\n{text}");
    }
    sidecar.stop().assert_clean();
}
