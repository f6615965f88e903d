//! A new configuration, draining and the end: no request fails, and what was recorded under the old configuration
//! still arrives.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use surgetank_tests::envoy::wait;
use surgetank_tests::upstream::{Reply, Upstream};
use surgetank_tests::web::Connection;

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
fn new_configurations_under_traffic_fail_no_request_and_lose_nothing() {
    const CONNECTIONS: usize = 4;
    let (collector, shop) = (Upstream::accepting(), Upstream::start(|_, _| Reply::status(200)));
    let envoy = Envoy::start(&named("first"), &collector, &shop);
    let is_over = AtomicBool::new(false);
    let sent: u64 = std::thread::scope(|scope| {
        let run = || {
            let mut connection = Connection::to(envoy.address);
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(connection.get_again("/local").status, 200);
                sent += 1;
            }
            sent
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(run)).collect();
        // They end with the test, however it ends.
        let stop = Stop(&is_over);
        for environment in ["second", "third"] {
            let before = envoy.statistic("spans.recorded");
            envoy.reconfigure(&named(environment));
            wait("traffic under it", || {
                (envoy.statistic("spans.recorded") > before + 20).then_some(())
            });
        }
        drop(stop);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no request fails"))
            .sum()
    });
    // The last one's spans leave when it goes, too.
    envoy.reconfigure(&named("fourth"));
    let delivered = wait("the end of delivery, without a loss", || {
        let sums = envoy.statistics();
        let of = |what: &str| sums.get(&format!("spans.{what}")).copied().unwrap_or_default();
        (of("recorded") >= sent && of("recorded") == of("delivered")).then(|| of("delivered"))
    });
    assert_eq!(envoy.statistic("spans.dropped"), 0);
    let mut ids: Vec<_> = accepted(&collector.exchanges())
        .into_iter()
        .map(|span| span.span_id)
        .collect();
    let arrived = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), arrived as u64), (arrived, delivered));
    envoy.stop();
}

/// Says that it is over when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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

#[test]
fn beside_a_service_of_the_same_plugin_it_works_and_ends() {
    // Envoy has been seen to crash when such a service made a call at its end.
    let (collector, shop) = (Upstream::accepting(), Upstream::accepting());
    let plugin = json!({"otlp": {"cluster": "collector", "delay_ms": 50}});
    let envoy = Envoy::start_with_service(&plugin, &collector, &shop);
    let sent = traffic(&envoy, "/local", 20);
    assert_eq!(envoy.settled("spans", sent), (sent, 0));
    collector.always(Reply::Stall);
    traffic(&envoy, "/local", 20);
    envoy.stop();
}
