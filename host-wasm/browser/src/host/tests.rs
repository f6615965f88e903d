//! The page's engine as its bindings drive it, on simulated time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::allowance::{FULL, SPARE};

const EVENT: &[u8] = b"{\"event_id\":\"00112233445566778899aabbccddeeff\"}\n{\"type\":\"event\"}\n{\"message\":\"it broke\"}\n";

const fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn put(host: &mut Host, bytes: &[u8]) -> usize {
    host.input()[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

fn host() -> Host {
    Host::new(64 * 1024, 7, at(0)).expect("the core takes its own defaults")
}

fn sentry(host: &mut Host) -> u32 {
    put(host, b"key1.0test");
    host.open(at(0), false, None, [3, 3, 4])
        .expect("the first destination")
}

fn otlp(host: &mut Host) -> u32 {
    host.open(at(0), true, None, [0; 3]).expect("a destination")
}

const fn otlp_span() -> What {
    What {
        form: Form::OtlpRecord,
        category: Category::Span,
        log_bytes: 0,
        trace: 9,
        origin: 0,
        urgent: false,
    }
}

fn record_event(host: &mut Host, now: Instant, to: u32) -> Outcome {
    let length = put(host, EVENT);
    host.record_envelope(now, Duration::ZERO, to, length)
}

fn status(host: &mut Host) -> serde_json::Value {
    host.status();
    serde_json::from_slice(host.output()).expect("the status is JSON")
}

#[test]
fn an_event_leaves_as_it_came_and_is_delivered_by_a_good_answer() {
    let mut host = host();
    let to = sentry(&mut host);
    assert_eq!(record_event(&mut host, at(1), to), Outcome::Queued);
    assert_eq!(host.poll(at(1), UnixTime::from_secs(1)), Next::Send);
    let body = String::from_utf8_lossy(host.output()).into_owned();
    assert!(body.contains("\"sent_at\":\"1970-01-01T00:00:01"), "{body}");
    assert!(
        body.ends_with("{\"type\":\"event\"}\n{\"message\":\"it broke\"}\n"),
        "{body}"
    );
    let sending = host.sending();
    assert_eq!((sending.destination, sending.signal), (to, 0));
    let ok = Answer {
        status: 200,
        ..Answer::default()
    };
    host.respond(at(2), UnixTime::from_secs(1), sending.id, ok);
    assert_eq!(host.poll(at(2), UnixTime::from_secs(1)), Next::Idle);
    let status = status(&mut host);
    assert_eq!(status["categories"]["error"]["delivered"], 1);
    assert_eq!(status["health"], "healthy");
    assert_eq!(host.deadline(at(2)), None, "nothing to do, so no timer");
}

#[test]
fn a_limit_in_an_answer_closes_the_door_before_anything_is_encoded() {
    let mut host = host();
    let to = sentry(&mut host);
    assert_eq!(record_event(&mut host, at(1), to), Outcome::Queued);
    assert_eq!(host.poll(at(1), UnixTime::from_secs(1)), Next::Send);
    let limits = b"10:error:key";
    put(&mut host, limits);
    let answer = Answer {
        status: 429,
        rate_limits: Some(limits.len()),
        ..Answer::default()
    };
    host.respond(at(2), UnixTime::from_secs(1), host.sending().id, answer);
    let admitted = host.admit(at(3), to, Category::Error, 1, false);
    assert_eq!(admitted, Err(DropReason::RatelimitBackoff));
    assert_eq!(host.admit(at(3), to, Category::LogItem, 1, false), Ok(()));
    assert_eq!(host.admit(at(10_003), to, Category::Error, 1, false), Ok(()));
    let status = status(&mut host);
    assert_eq!(
        status["categories"]["error"]["recorded"], 2,
        "the refused one was counted"
    );
    assert_eq!(status["categories"]["error"]["dropped"], 2);
}

#[test]
fn a_retry_waits_as_long_as_the_server_said() {
    let mut host = host();
    let to = sentry(&mut host);
    assert_eq!(record_event(&mut host, at(0), to), Outcome::Queued);
    assert_eq!(host.poll(at(0), UnixTime::from_secs(1)), Next::Send);
    put(&mut host, b"30");
    let answer = Answer {
        status: 503,
        retry_after: Some(2),
        ..Answer::default()
    };
    host.respond(at(0), UnixTime::from_secs(1), host.sending().id, answer);
    assert_eq!(host.poll(at(29_999), UnixTime::from_secs(1)), Next::Idle);
    let due = host.deadline(at(29_999)).expect("another attempt");
    assert!(due >= at(30_000) && due < at(60_000), "{due:?}");
    assert_eq!(host.poll(due, UnixTime::from_secs(1)), Next::Send);
}

#[test]
fn recording_in_a_loop_is_refused_when_its_time_is_used_up() {
    let mut host = host();
    let to = sentry(&mut host);
    let mut recorded = 0;
    for _ in 0..10_000 {
        if host.admit(at(5), to, Category::Error, 1, false).is_ok() {
            let length = put(&mut host, EVENT);
            let _ = host.record_envelope(at(5), Duration::from_micros(100), to, length);
            recorded += 1;
        }
    }
    assert_eq!(recorded, FULL.as_micros() / 100 + u64::from(SPARE));
    let status = status(&mut host);
    assert_eq!(status["categories"]["error"]["recorded"], 10_000);
    let dropped: u64 = status["dropped"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|entry| entry["reason"] == "buffer_overflow")
        .filter_map(|entry| entry["quantity"].as_u64())
        .sum();
    assert_eq!(dropped, 10_000 - recorded);
}

#[test]
fn spans_leave_under_the_resource_and_scope_that_they_name() {
    let mut host = host();
    let to = otlp(&mut host);
    put(&mut host, b"\x0a\x00S1S2");
    assert_eq!(host.origin(to, 2, 2), Some(0));
    put(&mut host, b"\x0a\x00S2");
    assert_eq!(host.origin(to, 2, 2), Some(1));
    for origin in 0..2 {
        let length = put(&mut host, b"\x2a\x01n");
        let what = What {
            origin,
            ..otlp_span()
        };
        let recorded = host.record(at(0), Duration::ZERO, to, what, length);
        assert_eq!(recorded, Outcome::Queued);
    }
    assert_eq!(
        host.poll(at(0), UnixTime::from_secs(1)),
        Next::Idle,
        "they wait for company"
    );
    let due = host.deadline(at(0)).expect("a time to send");
    assert_eq!(due, at(5000));
    assert_eq!(host.poll(due, UnixTime::from_secs(1)), Next::Send);
    assert_eq!(host.sending().signal, 1);
    // One resource, in it two scopes of one span each (opentelemetry-proto, ExportTraceServiceRequest).
    let scope = |name: &[u8]| [&b"\x12\x09\x0a\x02"[..], name, b"\x12\x03\x2a\x01n"].concat();
    let mut resource = b"\x0a\x02\x0a\x00".to_vec();
    resource.extend(scope(b"S1"));
    resource.extend(scope(b"S2"));
    let expected = [&[0x0a, resource.len() as u8][..], &resource].concat();
    assert_eq!(host.output(), expected);
}

#[test]
fn an_origin_too_many_is_refused() {
    let mut host = host();
    let to = otlp(&mut host);
    let named = (0..100).map_while(|_| host.origin(to, 0, 0)).count();
    assert_eq!(named, MAX_ORIGINS + 1);
}

#[test]
fn what_is_malformed_or_unknown_is_counted_and_changes_nothing_else() {
    let mut host = host();
    let to = sentry(&mut host);
    let length = put(&mut host, b"no envelope");
    let outcome = host.record_envelope(at(0), Duration::ZERO, to, length);
    assert_eq!(outcome, Outcome::Dropped(DropReason::Invalid));
    let outcome = host.record_envelope(at(0), Duration::ZERO, 5, length);
    assert_eq!(outcome, Outcome::Dropped(DropReason::Closed));
    let beyond = host.input().len() + 1;
    let _ = host.record_envelope(at(0), Duration::ZERO, to, beyond);
    host.fail(at(0), 99, Failure::Connect);
    host.respond(at(0), UnixTime::from_secs(1), u64::MAX, Answer::default());
    let status = status(&mut host);
    assert_eq!(status["staleAnswers"], 2);
    assert_eq!(status["categories"]["default"]["dropped"], 2);
}

#[test]
fn roots_are_kept_by_rate_and_every_other_is_counted() {
    let mut host = host();
    let to = sentry(&mut host);
    let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let kept = (1..=1000)
        .filter(|n| host.sample(at(0), to, random(*n), 0.25).is_ok())
        .count();
    assert!((200..300).contains(&kept), "{kept} of 1000 at a quarter");
    assert!((1..=100).all(|n| host.sample(at(0), to, random(n), 1.0).is_ok()));
    assert!((1..=100).all(|n| host.sample(at(0), to, random(n), f64::NAN).is_err()));
    let status = status(&mut host);
    assert_eq!(status["categories"]["span"]["dropped"], 1000 - kept + 100);
}

#[test]
fn a_page_has_so_many_destinations_and_no_more() {
    let mut host = host();
    let opened = (0..100)
        .map_while(|_| host.open(at(0), true, None, [0; 3]))
        .count();
    assert_eq!(opened, MAX_DESTINATIONS);
    put(&mut host, b"\xff");
    let mut other = Host::new(0, 0, at(0)).expect("the smallest queue");
    other.input()[0] = 0xff;
    assert_eq!(
        other.open(at(0), false, None, [1, 0, 0]),
        None,
        "a key that is no text"
    );
}

#[test]
fn close_ends_at_its_deadline() {
    let mut host = host();
    let to = sentry(&mut host);
    assert_eq!(record_event(&mut host, at(0), to), Outcome::Queued);
    assert_eq!(host.poll(at(0), UnixTime::from_secs(1)), Next::Send);
    host.close(at(0), at(100));
    assert_eq!(host.poll(at(99), UnixTime::from_secs(1)), Next::Idle);
    assert_eq!(host.deadline(at(99)), Some(at(100)));
    assert_eq!(host.poll(at(100), UnixTime::from_secs(1)), Next::Closed);
    assert_eq!(
        host.admit(at(101), to, Category::Error, 1, false),
        Err(DropReason::Closed)
    );
}

/// Every record that is held, as a store would have it.
fn held(host: &mut Host) -> Vec<Vec<u8>> {
    host.begin_held();
    let mut all = Vec::new();
    while host.next_held() {
        all.push(host.output().to_vec());
    }
    all
}

#[test]
fn what_an_outage_holds_back_goes_on_in_another_engine() {
    let mut host = host();
    let (to, collector) = (sentry(&mut host), otlp(&mut host));
    put(&mut host, b"\x0a\x00S1");
    assert_eq!(host.origin(collector, 2, 2), Some(0));
    assert_eq!(record_event(&mut host, at(0), to), Outcome::Queued);
    let length = put(&mut host, b"\x2a\x01n");
    let recorded = host.record(at(0), Duration::ZERO, collector, otlp_span(), length);
    assert_eq!(recorded, Outcome::Queued);
    assert!(!host.is_troubled());
    assert_eq!(host.poll(at(0), UnixTime::from_secs(1)), Next::Send);
    host.fail(at(0), host.sending().id, Failure::Disconnected);
    assert!(host.is_troubled());
    let stored = held(&mut host);
    assert_eq!(stored.len(), 2);
    assert_eq!(held(&mut host), stored, "looking takes nothing out");

    let mut next = Host::new(64 * 1024, 8, at(0)).expect("another engine");
    let (to, collector) = (sentry(&mut next), otlp(&mut next));
    for (record, to) in stored.iter().zip([to, collector]) {
        let length = put(&mut next, record);
        assert_eq!(next.restore(at(0), to, length), Outcome::Queued);
    }
    let mut bodies = Vec::new();
    let _ = next.flush(at(0));
    while next.poll(at(0), UnixTime::from_secs(1)) == Next::Send {
        bodies.push(next.output().to_vec());
        let ok = Answer {
            status: 200,
            ..Answer::default()
        };
        next.respond(at(0), UnixTime::from_secs(1), next.sending().id, ok);
    }
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].ends_with(b"{\"message\":\"it broke\"}\n"));
    assert_eq!(
        bodies[1],
        b"\x0a\x0f\x0a\x02\x0a\x00\x12\x09\x0a\x02S1\x12\x03\x2a\x01n"
    );
    assert!(held(&mut next).is_empty());
}

#[test]
fn a_store_that_was_tampered_with_harms_nothing() {
    let mut host = host();
    let to = sentry(&mut host);
    for length in 0..64 {
        put(&mut host, &[0xff; 64]);
        assert_eq!(
            host.restore(at(0), to, length),
            Outcome::Dropped(DropReason::Invalid)
        );
    }
    let beyond = host.input().len() + 1;
    assert_eq!(
        host.restore(at(0), to, beyond),
        Outcome::Dropped(DropReason::Invalid)
    );
}
