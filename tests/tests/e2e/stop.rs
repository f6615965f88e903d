//! SIGTERM: ends within the deadline whatever the upstream does, and says what was left.

use std::time::Duration;

use serde_json::json;
use surgetank_tests::upstream::{Reply, Upstream};

use crate::compare::quantities;
use crate::scene::{EVERY_SDK, Scene};

/// Beyond the deadline: for a machine that is busy with other tests. A stop that waited for the upstream would last as
/// long as an attempt may, half a minute.
const SLACK: Duration = Duration::from_secs(20);

#[test]
fn a_stop_while_the_upstream_stalls_ends_in_time_and_says_what_was_left() {
    let upstream = Upstream::start(|_, _| Reply::Stall);
    let mut scene = Scene::forwarding(upstream, EVERY_SDK, &["--shutdown-timeout", "2s"]);
    scene.record_some("in vain");
    scene.end_clients();
    scene.assert_clients_were_served();
    let (sent, exports) = scene.sent();
    let stopped = scene.sidecar.stop();
    assert!(
        stopped.took < Duration::from_secs(2) + SLACK,
        "{:?}",
        stopped.took
    );
    assert_eq!(stopped.code, Some(3), "{}", stopped.farewell);
    assert_eq!(stopped.farewell["complete"], false);
    assert_eq!(stopped.farewell["delivered"], json!({}));
    let left = &stopped.farewell["left"];
    let sentry = quantities(&sent);
    // The two OpenTelemetry SDKs recorded two spans and three logs each.
    for (category, more) in [("error", 0), ("transaction", 0), ("span", 4), ("log_item", 6)] {
        let expected = sentry.get(category).copied().unwrap_or(0) + more;
        assert_eq!(left[category].as_u64(), Some(expected), "{category} in {left}");
    }
    let metrics = exports
        .iter()
        .filter(|export| export.kind.0 == "/v1/metrics")
        .count();
    assert!(left["trace_metric"].as_u64() >= Some(metrics as u64), "{left}");
}

#[test]
fn a_stop_delivers_what_is_queued_while_the_upstream_is_well() {
    let upstream = Upstream::start(|_, _| Reply::Stall);
    let mut scene = Scene::forwarding(upstream, EVERY_SDK, &["--shutdown-timeout", "30s"]);
    scene.record_some("at the last moment");
    scene.end_clients();
    scene.upstream.always(Reply::Accept);
    let (sent, exports) = scene.sent();
    scene.sidecar.stop().assert_clean();
    let all = scene.upstream.exchanges();
    crate::compare::assert_same_envelopes(&sent, &crate::compare::accepted_envelopes(&all));
    crate::compare::assert_same_exports(&exports, &crate::compare::accepted_exports(&all));
}
