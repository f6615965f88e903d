//! Collectors that behave badly: what passes through the proxy does not notice, and nothing is lost uncounted.

use std::time::Duration;

use serde_json::{Value, json};
use surgetank_tests::envoy::wait;
use surgetank_tests::upstream::{Reply, Upstream, now};
use surgetank_tests::web::Connection;

use crate::envoy::{DSN, Envoy};
use crate::spans::{accepted, hex};

/// How long a proxied request may take that waits for nothing but a busy machine: less than any time-out of the plugin.
const AT_ONCE: Duration = Duration::from_secs(15);

fn plugin() -> Value {
    // Longer than `AT_ONCE`, so that a request that waited for a collector would show.
    json!({"otlp": {"cluster": "collector", "delay_ms": 50, "timeout_ms": 20000}})
}

fn shop() -> Upstream {
    Upstream::start(|_, _| Reply::status(200))
}

/// Sends requests on several connections at once; none may fail or wait. Returns how many.
#[track_caller]
pub(crate) fn traffic(envoy: &Envoy, path: &str, each: usize) -> u64 {
    const CONNECTIONS: usize = 4;
    let address = envoy.address;
    std::thread::scope(|scope| {
        let run = || {
            let mut connection = Connection::to(address);
            for _ in 0..each {
                let begun = now();
                assert_eq!(connection.get(path, &[]).status, 200);
                assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
            }
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            thread.join().expect("no request fails");
        }
    });
    (CONNECTIONS * each) as u64
}

/// That the collector's own count is that of the statistics, and that no span came twice.
#[track_caller]
fn assert_counts(envoy: &Envoy, collector: &Upstream, recorded: u64, dropped: u64) {
    assert_eq!(envoy.settled("spans", recorded), (recorded - dropped, dropped));
    let spans = accepted(&collector.exchanges());
    let mut ids: Vec<String> = spans.iter().map(|span| hex(&span.span_id)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(
        (spans.len(), ids.len()),
        (ids.len(), (recorded - dropped) as usize)
    );
}

#[test]
fn every_request_of_many_arrives_once_and_memory_stays_as_it_is() {
    let (collector, shop) = (Upstream::accepting(), shop());
    let envoy = Envoy::start(&plugin(), &collector, &shop);
    let mut sent = traffic(&envoy, "/local", 1000) + traffic(&envoy, "/", 50);
    let before = envoy.resident_bytes();
    sent += traffic(&envoy, "/local", 1500);
    let grown = envoy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "grew by {grown} bytes");
    assert_counts(&envoy, &collector, sent, 0);
    envoy.stop();
}

#[test]
fn a_collector_that_is_throttled_broken_gone_and_back_costs_nobody_anything() {
    let (mut collector, shop) = (Upstream::accepting(), shop());
    let envoy = Envoy::start(&plugin(), &collector, &shop);
    let mut sent = 0;
    for reply in [
        Reply::status(429).with("retry-after", "1"),
        Reply::status(503),
        Reply::Close,
        Reply::CloseMidway,
    ] {
        collector.always(reply);
        let seen = collector.exchanges().len();
        sent += traffic(&envoy, "/local", 50);
        collector.wait_for("an attempt", |exchanges| (exchanges.len() > seen).then_some(()));
    }
    collector.close_port();
    sent += traffic(&envoy, "/local", 50);
    collector.open_port();
    collector.always(Reply::Accept);
    assert_counts(&envoy, &collector, sent, 0);
    envoy.stop();
}

#[test]
fn a_collector_that_stalls_holds_nothing_up_and_memory_stays_as_it_is() {
    let (collector, shop) = (Upstream::start(|_, _| Reply::Stall), shop());
    let machine = json!({"queue_bytes": 256 * 1024});
    let envoy = Envoy::start_in(machine, &plugin(), &collector, &shop);
    // More than the queues of two workers hold.
    let mut sent = traffic(&envoy, "/local", 1500);
    let before = envoy.resident_bytes();
    sent += traffic(&envoy, "/local", 1500);
    let grown = envoy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "grew by {grown} bytes while nothing left");
    let overflow = wait("counted losses", || {
        let overflow = envoy.statistic("spans.dropped.queue_overflow");
        (envoy.statistic("spans.recorded") == sent && overflow > 0).then_some(overflow)
    });
    assert!(overflow < sent);
    collector.always(Reply::Accept);
    let (delivered, dropped) = envoy.settled("spans", sent);
    assert_eq!(delivered + dropped, sent);
    envoy.stop();
}

#[test]
fn an_answer_with_429_is_final_for_events_and_their_limit_is_obeyed() {
    let (collector, shop) = (Upstream::accepting(), Upstream::start(|_, _| Reply::status(502)));
    let plugin = json!({"sentry": {"cluster": "collector", "dsn": DSN}});
    let envoy = Envoy::start(&plugin, &collector, &shop);
    let limited = Reply::status(429).with("x-sentry-rate-limits", "600:error:key");
    collector.always(limited);
    let mut connection = envoy.connect();
    assert_eq!(connection.get("/", &[]).status, 502);
    wait("the refusal", || {
        (envoy.statistic("errors.dropped.server_rate_limited") == 1).then_some(())
    });
    assert_eq!(connection.get("/", &[]).status, 502);
    wait("the loss", || {
        (envoy.statistic("errors.dropped.ratelimit_backoff") == 1).then_some(())
    });
    assert_eq!(envoy.settled("errors", 2), (0, 2));
    assert_eq!(
        collector.exchanges().len(),
        1,
        "nothing is sent while it must not be"
    );
    envoy.stop();
}
