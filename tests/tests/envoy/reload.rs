//! A new configuration, draining and the end: no request fails, and what was recorded under the old configuration
//! still arrives.

use serde_json::{Value, json};
use surgetank_tests::envoy::wait;
use surgetank_tests::upstream::{Reply, Upstream};

use crate::delivery::traffic;
use crate::envoy::Envoy;
use crate::spans::{accepted, attribute};

/// A long wait for company, so that spans are still queued when the configuration goes.
fn named(environment: &str) -> Value {
    json!({"environment": environment, "otlp": {"cluster": "collector", "delay_ms": 60000}})
}

#[test]
fn what_was_recorded_under_a_configuration_that_goes_is_delivered_when_it_goes() {
    let (collector, shop) = (Upstream::accepting(), Upstream::start(|_, _| Reply::status(200)));
    let envoy = Envoy::start(&named("old"), &collector, &shop);
    let old = traffic(&envoy, "/local/old", 20);
    wait("the sums", || {
        (envoy.statistic("spans.recorded") == old).then_some(())
    });
    assert_eq!(accepted(&collector.exchanges()).len(), 0, "they wait for company");

    envoy.reconfigure(&named("new"));
    let spans = crate::spans::wait_for(&collector, old as usize);
    assert!(
        spans
            .iter()
            .all(|span| attribute(span, "url.path") == "/local/old")
    );
    let new = traffic(&envoy, "/local/new", 20);
    wait("the sums", || {
        (envoy.statistic("spans.recorded") == old + new).then_some(())
    });
    assert_eq!(envoy.statistic("spans.dropped"), 0);
    envoy.stop();
}

#[test]
fn a_configuration_that_is_refused_leaves_the_old_one_at_work() {
    let (collector, shop) = (Upstream::accepting(), Upstream::start(|_, _| Reply::status(200)));
    let good = json!({"otlp": {"cluster": "collector", "delay_ms": 50}});
    let envoy = Envoy::start(&good, &collector, &shop);
    envoy.replace(&json!({"otlp": {"cluster": ""}}));
    wait("the refusal", || {
        (envoy.listener_updates("rejected") > 0).then_some(())
    });
    let sent = traffic(&envoy, "/local", 10);
    assert_eq!(envoy.settled("spans", sent), (sent, 0));
    envoy.stop();
}

#[test]
fn it_ends_at_once_with_a_collector_that_stalls() {
    let (collector, shop) = (Upstream::start(|_, _| Reply::Stall), Upstream::accepting());
    let plugin = json!({"otlp": {"cluster": "collector", "delay_ms": 50, "timeout_ms": 60000}});
    let envoy = Envoy::start(&plugin, &collector, &shop);
    traffic(&envoy, "/local", 20);
    collector.wait_for("an attempt", |exchanges| (!exchanges.is_empty()).then_some(()));
    // Clean, with a call under way and records queued.
    envoy.stop();
}
