//! Rate limits: the upstream's 429 reaches the SDKs, which then hold back by themselves, and every error is counted
//! somewhere.

use serde_json::json;
use surgetank_tests::upstream::envelope::{Envelope, Item};
use surgetank_tests::upstream::{Exchange, Received, Reply, Upstream};

use crate::client::Sdk;
use crate::compare::{accepted_envelopes, envelopes, outline, reported};
use crate::scene::{Scene, assert_at_once};

/// Attempts after which the limit must have come through; each is a whole round trip of the SDK.
const ATTEMPTS: u64 = 50;

fn has_event(request: &Received) -> bool {
    Envelope::read(&request.body)
        .is_ok_and(|envelope| envelope.items.iter().any(|item| item.kind() == "event"))
}

fn status(exchange: &Exchange) -> Option<u16> {
    exchange.answer.as_ref().map(|answer| answer.status)
}

#[track_caller]
fn a_limit_reaches_the_sdk(sdk: Sdk) {
    let upstream = Upstream::start(|request, _| {
        if has_event(request) {
            Reply::status(429)
                .with("retry-after", "3600")
                .with("x-sentry-rate-limits", "3600:error:organization")
        } else {
            Reply::Accept
        }
    });
    let mut scene = Scene::forwarding(upstream, &[sdk], &[]);
    let mut client = scene.clients.remove(0);

    // The first errors: until the sidecar has heard of the limit it takes them.
    let mut errors = 0;
    let limited = loop {
        errors += 1;
        assert!(errors <= ATTEMPTS, "the limit does not reach the client");
        client.ask("error", json!({"message": format!("number {errors}")}));
        client.flush();
        let exchanges = scene.sentry.exchanges();
        if let Some(limited) = exchanges.iter().find(|one| status(one) == Some(429)) {
            break limited.clone();
        }
        scene.upstream.wait_for("the answer to the error", |all| {
            all.iter().all(|one| one.answer.is_some()).then_some(())
        });
    };
    assert_at_once(&limited);
    let answer = limited.answer.expect("it has one");
    let groups = answer.header("x-sentry-rate-limits").unwrap_or_default();
    let (seconds, rest) = groups.split_once(':').unwrap_or_default();
    assert_eq!(rest, "error:organization");
    let seconds: u64 = seconds.parse().expect("seconds");
    assert!(
        (3000..=3600).contains(&seconds),
        "what is left of an hour: {groups}"
    );
    assert_eq!(answer.header("retry-after"), Some(seconds.to_string().as_str()));

    // From here on the SDK knows: an error does not leave it, other things do.
    let events = |scene: &Scene| {
        outline(&envelopes(&scene.sentry.exchanges()))
            .get("event")
            .copied()
            .unwrap_or(0)
    };
    let before = events(&scene);
    client.ask("error", json!({"message": "held back"}));
    errors += 1;
    client.ask("trace", json!({"name": "not limited", "spans": 1}));
    client.ask("check_in", json!({"slug": "not limited"}));
    client.flush();
    assert_eq!(events(&scene), before, "the SDK obeys the limit");
    client.end();
    scene.upstream.wait_for("what is not limited", |all| {
        let kinds = outline(&accepted_envelopes(all));
        (kinds.contains_key("transaction") && kinds.get("check_in") == Some(&2)).then_some(())
    });
    for exchange in scene.sentry.exchanges() {
        assert_at_once(&exchange);
        assert!(
            matches!(status(&exchange), Some(200 | 429)),
            "{:?} for {}",
            status(&exchange),
            exchange.request.path
        );
    }

    // Every error is somewhere: refused by the upstream, which counts it itself, or counted as held back by the SDK or by the
    // sidecar, in client reports that reached the upstream.
    let stopped = scene.sidecar.stop();
    let all = scene.upstream.exchanges();
    let refused = all.iter().filter(|one| has_event(&one.request)).count() as u64;
    let reports = accepted_envelopes(&all);
    let held_back = reported(&reports, "error", Some("ratelimit_backoff"));
    assert_eq!(refused + held_back, errors, "{:?}", outline(&reports));
    assert_eq!(reported(&reports, "error", None), held_back, "no other reason");
    let from_sdk = reported(&accepted_envelopes(&scene.sentry.exchanges()), "error", None);
    assert!(from_sdk >= 1, "the SDK counts what it held back");
    assert_eq!(
        stopped.dropped("error", "ratelimit_backoff"),
        held_back - from_sdk,
        "{}",
        stopped.farewell
    );
    let intact = |item: &&Item| item.kind() == "client_report";
    for envelope in accepted_envelopes(&scene.sentry.exchanges()) {
        for report in envelope.items.iter().filter(intact) {
            let arrived = reports
                .iter()
                .any(|envelope| envelope.items.iter().any(|item| item.payload == report.payload));
            assert!(arrived, "the SDK's own report is passed on as it is");
        }
    }
}

#[test]
fn a_limit_reaches_the_python_sdk() {
    a_limit_reaches_the_sdk(Sdk::SentryPython);
}

#[test]
fn a_limit_reaches_the_node_sdk() {
    a_limit_reaches_the_sdk(Sdk::SentryNode);
}
