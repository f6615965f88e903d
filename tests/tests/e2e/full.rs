//! A queue that is full: told at once, and every event is counted by whoever dropped it.

use serde_json::json;
use surgetank_tests::upstream::{Reply, Upstream};

use crate::client::Sdk;
use crate::compare::{accepted_envelopes, outline, reported};
use crate::scene::{Scene, assert_at_once};

/// Bytes attached to each event; random, so that compression does not shrink them.
const SIZE: u64 = 900_000;

#[test]
fn a_full_queue_is_told_at_once_and_nothing_is_lost_silently() {
    let upstream = Upstream::start(|_, _| Reply::Stall);
    let mut scene = Scene::forwarding(upstream, &[Sdk::SentryPython], &["--memory", "8MiB"]);
    let mut client = scene.clients.remove(0);
    let mut errors = 0;
    let refused = loop {
        errors += 1;
        assert!(
            errors < 30,
            "eight mebibytes do not hold {errors} times {SIZE} bytes"
        );
        client.ask("large_error", json!({"message": "large", "size": SIZE}));
        client.flush();
        let exchanges = scene.sentry.exchanges();
        let refused = exchanges
            .iter()
            .find(|one| one.answer.as_ref().is_some_and(|answer| answer.status == 503));
        if let Some(refused) = refused {
            break refused.answer.clone().expect("it has one");
        }
    };
    let seconds = refused
        .header("retry-after")
        .and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "{refused:?}");
    assert!(errors > 2, "some find room");

    scene.upstream.always(Reply::Accept);
    let (queued, _) = scene.sent();
    scene.upstream.wait_for("what was queued", |all| {
        (accepted_envelopes(all).len() >= queued.len()).then_some(())
    });
    // The SDK may hold back for as long as it was asked to; at its end it says what it lost.
    client.ask("trace", json!({"name": "afterwards", "spans": 0}));
    client.flush();
    client.end();
    scene.sentry.exchanges().iter().for_each(assert_at_once);
    scene.assert_everything_arrived();
    let arrived = accepted_envelopes(&scene.upstream.exchanges());
    let events = outline(&arrived).get("event").copied().unwrap_or(0) as u64;
    assert_eq!(
        events + reported(&arrived, "error", None),
        errors,
        "{:?}",
        outline(&arrived)
    );
    let stopped = scene.sidecar.stop();
    stopped.assert_clean();
    assert!(
        stopped.farewell["refused_requests"]["full"].as_u64() >= Some(1),
        "{}",
        stopped.farewell
    );
}
