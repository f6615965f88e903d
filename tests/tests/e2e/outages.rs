//! An upstream that is unwell and recovers: the clients notice nothing, and nothing is lost.

use std::time::Duration;

use surgetank_tests::upstream::{Reply, Upstream, now};

use crate::scene::{EVERY_SDK, Scene};

/// Answers are given and telemetry is recorded while the upstream is unwell; then it recovers, and all arrives.
#[track_caller]
fn nothing_is_lost_after(mut scene: Scene, recover: impl FnOnce(&mut Upstream)) {
    scene.record_some("while the upstream is unwell");
    scene.end_clients();
    let (sent, exports) = scene.sent();
    assert!(
        sent.len() >= 6 && exports.len() >= 6,
        "{} envelopes, {} exports",
        sent.len(),
        exports.len()
    );
    scene.assert_clients_were_served();
    assert!(
        scene.upstream.exchanges().iter().all(|one| !one.is_accepted()),
        "it has accepted nothing so far"
    );
    recover(&mut scene.upstream);
    scene.assert_everything_arrived();
    scene.assert_nothing_is_left();
}

#[test]
fn an_upstream_that_stalls() {
    let upstream = Upstream::start(|_, _| Reply::Stall);
    let scene = Scene::forwarding(upstream, EVERY_SDK, &[]);
    nothing_is_lost_after(scene, |upstream| upstream.always(Reply::Accept));
}

#[test]
fn an_upstream_that_refuses_connections() {
    let mut upstream = Upstream::accepting();
    upstream.close_port();
    let scene = Scene::forwarding(upstream, EVERY_SDK, &[]);
    nothing_is_lost_after(scene, Upstream::open_port);
}

#[test]
fn an_upstream_that_closes_connections_midway() {
    let upstream = Upstream::start(|_, number| {
        if number % 2 == 0 {
            Reply::Close
        } else {
            Reply::CloseMidway
        }
    });
    let scene = Scene::forwarding(upstream, EVERY_SDK, &[]);
    nothing_is_lost_after(scene, |upstream| {
        upstream.wait_for("a second attempt", |all| (all.len() > 2).then_some(()));
        upstream.always(Reply::Accept);
    });
}

#[test]
fn an_upstream_that_asks_to_come_back_later() {
    const LATER: Duration = Duration::from_secs(3);
    let refusing = || Reply::status(503).with("retry-after", "3");
    let upstream = Upstream::start(move |_, _| refusing());
    let begun = now();
    let scene = Scene::forwarding(upstream, EVERY_SDK, &[]);
    nothing_is_lost_after(scene, |upstream| {
        upstream.wait_for("a refusal of each kind", |all| {
            let refused = |path: &str| {
                all.iter()
                    .any(|one| one.request.path.contains(path) && one.answer.is_some())
            };
            (refused("/envelope/") && refused("/v1/")).then_some(())
        });
        // From a refusal on, its destination rests as long as it was told to, but for what was on its way already.
        let refusals = upstream.exchanges().len() as u64;
        let rounds = begun.elapsed().as_secs() / LATER.as_secs() + 1;
        assert!(
            refusals < 20 * rounds,
            "{refusals} requests in {rounds} times {LATER:?} to an upstream that asked for a pause"
        );
        upstream.always(Reply::Accept);
    });
}

#[test]
fn an_upstream_that_answers_a_byte_a_second() {
    // Its status says that it took them, so they are not sent again, and what comes after does not wait for them.
    // An OTLP success is read to its end as long as there is time, so the stop must leave it that time.
    let upstream = Upstream::start(|_, _| Reply::Dribble);
    let mut scene = Scene::forwarding(upstream, EVERY_SDK, &["--shutdown-timeout", "20s"]);
    scene.record_some("slowly");
    let (slow, slow_exports) = scene.sent();
    let taken = |all: &[surgetank_tests::upstream::Exchange]| {
        let envelopes = crate::compare::envelopes(all).len();
        let bytes: usize = all
            .iter()
            .filter(|one| one.request.path.starts_with("/v1/"))
            .map(|one| one.request.body.len())
            .sum();
        (envelopes, bytes)
    };
    let bytes: usize = slow_exports.iter().map(|export| export.body.len()).sum();
    scene.upstream.wait_for("all of it once", |all| {
        (taken(all).0 >= slow.len() && taken(all).1 >= bytes).then_some(())
    });
    scene.upstream.always(Reply::Accept);
    scene.record_some("fast again");
    scene.end_clients();
    scene.assert_clients_were_served();
    let (sent, exports) = scene.sent();
    let bytes: usize = exports.iter().map(|export| export.body.len()).sum();
    scene.upstream.wait_for("all of it", |all| {
        (taken(all).0 >= sent.len() && taken(all).1 >= bytes).then_some(())
    });
    let stopped = scene.sidecar.stop();
    stopped.assert_clean();
    let all = scene.upstream.exchanges();
    crate::compare::assert_same_envelopes(&sent, &crate::compare::envelopes(&all));
    assert_eq!(taken(&all).1, bytes, "nothing was sent twice");
}
