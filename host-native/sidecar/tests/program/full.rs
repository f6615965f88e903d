//! A queue without room: refused at once, bulk before errors, and nothing that was accepted is lost.

use crate::sidecar::{Sidecar, at_once, parts};
use crate::upstream::{OK, Reply, Upstream};
use crate::{envelope, eventually, pause};
use std::collections::BTreeSet;
use std::time::Duration;

/// A payload of about 40 kB that says its number.
fn numbered(number: u32) -> String {
    format!("[{number},\"{}\"]", "x".repeat(40_000))
}

fn number_of(payload: &[u8]) -> u32 {
    let digits = payload[1..].split(|byte| *byte == b',').next().unwrap();
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

#[test]
fn a_full_queue_is_told_at_once_and_keeps_what_it_accepted() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url(), "--memory", "8MiB"]);
    let offer = |kind: &str, number: u32| {
        let (status, headers, body) = at_once(|| parts(sidecar.send(envelope(kind, &numbered(number)))));
        if status == 200 {
            return None;
        }
        assert_eq!(status, 503, "{body}");
        assert_eq!(
            body,
            "{\"detail\":\"failed to queue envelope\",\"causes\":[\"envelope buffer does not have capacity\"]}"
        );
        assert_eq!(headers["retry-after"], "1");
        Some(headers["x-sentry-rate-limits"].to_str().unwrap().to_owned())
    };
    // One refusal may come from a delivery thread that did not get to run; a full queue refuses again and again.
    let refused_for_good = |kind: &str, number: u32| {
        let mut refusal = offer(kind, number)?;
        for _ in 0..20 {
            pause(Duration::from_millis(50));
            refusal = offer(kind, number)?;
        }
        Some(refusal)
    };
    let fill = |kind: &str| {
        let mut accepted = BTreeSet::new();
        for number in 0..1000 {
            if let Some(refusal) = refused_for_good(kind, number) {
                return (accepted, refusal);
            }
            accepted.insert(number);
        }
        panic!("1000 times 40 kB went into 8 MiB");
    };
    let (profiles, header) = fill("profile");
    assert_eq!(header, "1:profile:key:queue_full");
    let (transactions, _) = fill("transaction");
    let (errors, header) = fill("event");
    assert_eq!(header, "1:error:key:queue_full");
    assert!(
        profiles.len() >= 40 && transactions.len() >= 5 && errors.len() >= 10,
        "{} {} {}",
        profiles.len(),
        transactions.len(),
        errors.len()
    );
    let ready = sidecar.client.get(format!(
        "http://{}/api/relay/healthcheck/ready/",
        sidecar.address()
    ));
    assert_eq!(ready.send().unwrap().status(), 503);
    assert!(sidecar.resident_kb() < 60_000, "{} KiB", sidecar.resident_kb());

    upstream.always(OK);
    let expected = [
        ("profile", profiles),
        ("transaction", transactions),
        ("event", errors),
    ];
    let total: usize = expected.iter().map(|(_, numbers)| numbers.len()).sum();
    let items = upstream.items_until(|items| items.len() >= total);
    for (kind, numbers) in expected {
        let delivered: BTreeSet<u32> = items
            .iter()
            .filter(|(other, _)| other == kind)
            .map(|(_, payload)| number_of(payload))
            .collect();
        assert_eq!(delivered, numbers, "{kind}");
    }
    let reports: Vec<_> = items.iter().filter(|(kind, _)| kind == "client_report").collect();
    assert!(reports.is_empty(), "who was told counts it himself: {reports:?}");
    eventually("room again", || {
        (parts(sidecar.send(envelope("profile", &numbered(0)))).0 == 200).then_some(())
    });
}

#[test]
fn what_a_sender_lost_can_be_told_when_the_queue_is_full_of_errors() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url(), "--memory", "8MiB"]);
    let refused = (0..1000).any(|number| parts(sidecar.send(envelope("event", &numbered(number)))).0 == 503);
    assert!(refused, "1000 times 40 kB went into 8 MiB");
    let small = envelope("event", "{}");
    let refused = (0..1000).any(|_| parts(sidecar.send(small.clone())).0 == 503);
    assert!(refused, "more found room than one of 40 kB needs");
    let report = r#"{"discarded_events":[{"reason":"network_error","category":"error","quantity":1}]}"#;
    assert_eq!(parts(sidecar.send(envelope("client_report", report))).0, 200);
    upstream.always(OK);
    let items = upstream.items_until(|items| items.iter().any(|(kind, _)| kind == "client_report"));
    assert!(
        items.iter().any(|(_, payload)| payload == report.as_bytes()),
        "as it was sent"
    );
}

#[test]
fn otlp_is_told_in_its_own_format() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&["--otlp-upstream", &upstream.url(), "--memory", "8MiB"]);
    let name = "n".repeat(100_000);
    let (headers, body) = eventually("a full queue", || {
        let request = sidecar
            .otlp("/v1/traces")
            .header("content-type", "application/x-protobuf");
        let response = at_once(|| request.body(crate::otlp::traces(&name)).send().unwrap());
        let (status, headers, body) = (
            response.status().as_u16(),
            response.headers().clone(),
            response.bytes().unwrap(),
        );
        (status == 503).then_some((headers, body))
    });
    assert_eq!(headers["retry-after"], "1");
    assert!(
        body.starts_with(b"\x08\x0e\x12\x11the queue is full\x1a"),
        "UNAVAILABLE, with a RetryInfo: {body:?}"
    );
}
