//! The end: what is under way is answered and delivered, within a deadline, and what is left is said.

use crate::sidecar::{Sidecar, auth, parts};
use crate::upstream::{OK, Reply, Upstream};
use crate::{KEY, SOON, envelope, eventually, now};
use rustix::process::Signal;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn sigterm_delivers_what_is_queued() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url(), "--shutdown-timeout", "1m"]);
    for number in 0..40 {
        assert_eq!(parts(sidecar.send(envelope("event", &number.to_string()))).0, 200);
    }
    sidecar.signal(Signal::TERM);
    upstream.always(OK);
    let ended = sidecar.ended();
    assert_eq!(
        ended.status.code(),
        Some(0),
        "{} {}",
        ended.farewell,
        ended.stderr
    );
    assert_eq!(ended.farewell["event"], "stopped");
    assert_eq!(
        (&ended.farewell["complete"], &ended.farewell["left"]),
        (&json!(true), &json!({}))
    );
    assert_eq!(ended.farewell["delivered"], json!({"error": 40}));
    assert_eq!(upstream.requests().len(), 40);
}

#[test]
fn what_cannot_be_delivered_in_time_is_said() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&[
        "--sentry-upstream",
        &upstream.url(),
        "--shutdown-timeout",
        "400ms",
    ]);
    for kind in ["event", "event", "transaction"] {
        assert_eq!(parts(sidecar.send(envelope(kind, "{}"))).0, 200);
    }
    upstream.wait_for(1);
    // Who waited for the upstream would wait for the half minute of an attempt.
    let started = now();
    let ended = sidecar.stop();
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(20),
        "{took:?}"
    );
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(ended.farewell["complete"], false);
    assert_eq!(
        ended.farewell["left"],
        json!({"error": 2, "transaction": 1, "span": 1})
    );
}

#[test]
fn a_second_signal_means_now() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url(), "--shutdown-timeout", "1h"]);
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
    upstream.wait_for(1);
    sidecar.signal(Signal::TERM);
    // Refused connections show that the first one was taken.
    eventually("the port to close", || {
        TcpStream::connect(sidecar.address()).err()
    });
    sidecar.signal(Signal::INT);
    let ended = sidecar.ended();
    assert_eq!(
        (ended.status.code(), &ended.farewell["left"]),
        (Some(3), &json!({"error": 1}))
    );
}

#[test]
fn a_request_under_way_is_answered() {
    let sidecar = Sidecar::start(&["--shutdown-timeout", "1m"]);
    let mut stream = TcpStream::connect(sidecar.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let body = envelope("event", "\"under way\"");
    let (first, rest) = body.split_at(10);
    write!(
        stream,
        "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        auth(KEY),
        body.len()
    )
    .unwrap();
    // The request has begun when its body is asked for.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(first).unwrap();
    sidecar.signal(Signal::TERM);
    eventually("the port to close", || {
        TcpStream::connect(sidecar.address()).err()
    });
    stream.write_all(rest).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ended = sidecar.ended();
    assert_eq!(
        (ended.status.code(), &ended.farewell["delivered"]),
        (Some(0), &json!({"error": 1}))
    );
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let sidecar = Sidecar::start(&["--shutdown-timeout", "1h"]);
    let _silent = TcpStream::connect(sidecar.address()).unwrap();
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
    // The client keeps its connection, too.
    let ended = sidecar.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.farewell);
}
