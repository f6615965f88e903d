//! Rate limits of the upstream: obeyed, passed on, and lifted on time.

use crate::sidecar::{Sidecar, auth, parts};
use crate::upstream::{OK, Reply, Upstream};
use crate::{KEY, envelope, eventually};

/// An upstream that limits with its first answer, and a sidecar that has heard of it.
fn limited(header: &str, status: u16) -> (Upstream, Sidecar) {
    let upstream = Upstream::start();
    let header = format!("x-sentry-rate-limits: {header}\r\n");
    upstream.behave(move |number, _| {
        if number == 0 {
            Reply::Answer(status, header.clone())
        } else {
            OK
        }
    });
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    assert_eq!(parts(sidecar.send(envelope("session", "{}"))).0, 200);
    upstream.wait_for(1);
    (upstream, sidecar)
}

#[test]
fn a_limit_reaches_senders_as_a_429_for_what_it_covers() {
    let (upstream, sidecar) = limited("60:error:project:quota, 2700:transaction;span:key", 429);
    let (headers, body) = eventually("the limit", || {
        let (status, headers, body) = parts(sidecar.send(envelope("event", "{}")));
        (status == 429).then_some((headers, body))
    });
    assert!(body.contains("rate limit"), "{body}");
    let groups = headers["x-sentry-rate-limits"].to_str().unwrap();
    let (errors, traces) = groups.split_once(", ").unwrap();
    let (seconds, rest) = errors.split_once(':').unwrap();
    assert_eq!(rest, "error:project", "{groups}");
    assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()), "{groups}");
    assert!(traces.ends_with(":transaction;span:key"), "{groups}");
    let longest: u32 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((2600..=2700).contains(&longest), "{longest}");

    assert_eq!(
        parts(sidecar.send(envelope("check_in", "{}"))).0,
        200,
        "not covered"
    );
    let other = sidecar
        .post("/api/42/envelope/")
        .header("x-sentry-auth", auth(&"f".repeat(32)));
    let other = other.body(envelope("event", "\"other\"")).send().unwrap();
    assert_eq!(other.status(), 200, "another key has limits of its own");
    upstream.items_until(|items| items.iter().any(|(kind, _)| kind == "check_in"));
}

#[test]
fn of_a_mixed_envelope_the_rest_is_taken() {
    let (upstream, sidecar) = limited("60:error:key", 200);
    let mixed = "{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"attachment\"}\nx\n{\"type\":\"session\"}\n{\"sid\":\"rest\"}\n";
    eventually("the limit", || {
        (parts(sidecar.send(envelope("event", "{}"))).0 == 429).then_some(())
    });
    assert_eq!(parts(sidecar.send(mixed)).0, 429);
    let requests = eventually("the session", || {
        let requests = upstream.requests();
        let found = requests.iter().any(|request| {
            request
                .items()
                .iter()
                .any(|(_, payload)| payload == b"{\"sid\":\"rest\"}")
        });
        found.then_some(requests)
    });
    let last = requests
        .iter()
        .find(|request| request.body.windows(4).any(|window| window == b"rest"))
        .unwrap();
    let kinds: Vec<String> = last
        .items()
        .into_iter()
        .map(|(kind, _)| kind)
        .filter(|kind| kind != "client_report")
        .collect();
    assert_eq!(
        kinds,
        ["session"],
        "the event is left out, and what belongs to it"
    );
}

#[test]
fn what_a_limit_stopped_is_told_upstream() {
    let (upstream, sidecar) = limited("60:error:key", 200);
    eventually("the limit", || {
        (parts(sidecar.send(envelope("event", "{}"))).0 == 429).then_some(())
    });
    let report = eventually("a report", || {
        assert_eq!(parts(sidecar.send(envelope("session", "{}"))).0, 200);
        let items = upstream.items_until(|_| true);
        items
            .into_iter()
            .find(|(kind, _)| kind == "client_report")
            .map(|(_, payload)| payload)
    });
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let lost = &report["discarded_events"][0];
    assert_eq!(
        (lost["reason"].as_str(), lost["category"].as_str()),
        (Some("ratelimit_backoff"), Some("error"))
    );
}

#[test]
fn a_limit_ends_when_it_said_it_would() {
    // Each session renews the limit: a single one may be over before a busy machine looks.
    let upstream = Upstream::start();
    upstream.behave(|_, request| {
        if request.items().iter().any(|(kind, _)| kind == "session") {
            Reply::Answer(200, "x-sentry-rate-limits: 1:error:key\r\n".to_owned())
        } else {
            OK
        }
    });
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    eventually("the limit", || {
        assert_eq!(parts(sidecar.send(envelope("session", "{}"))).0, 200);
        (parts(sidecar.send(envelope("event", "{}"))).0 == 429).then_some(())
    });
    eventually("its end", || {
        (parts(sidecar.send(envelope("event", "\"after\""))).0 == 200).then_some(())
    });
    upstream.items_until(|items| items.iter().any(|(_, payload)| payload == b"\"after\""));
}

#[test]
fn the_limits_of_a_project_hold_for_its_otlp_too() {
    let (_upstream, sidecar) = limited("60:span:key", 200);
    let request = || {
        let request = sidecar
            .post("/api/42/integration/otlp/v1/traces")
            .header("x-sentry-auth", auth(KEY));
        request
            .header("content-type", "application/x-protobuf")
            .body(crate::otlp::traces("a"))
    };
    let headers = eventually("the limit", || {
        let (status, headers, _) = parts(request().send().unwrap());
        (status == 429).then_some(headers)
    });
    assert!(
        headers["x-sentry-rate-limits"]
            .to_str()
            .unwrap()
            .ends_with(":span:key")
    );
    assert!(headers.contains_key("retry-after"));
}
