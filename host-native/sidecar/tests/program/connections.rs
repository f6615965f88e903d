//! Connections: more than there are places for, in HTTP/2, with headers that never end or that say two things at once.

use crate::sidecar::{Sidecar, auth, parts};
use crate::{KEY, SOON, envelope, eventually, pause};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Places on each port.
const PLACES: usize = 1024;
const HEALTH: &str = "GET /api/relay/healthcheck/live/ HTTP/1.1\r\nhost: h\r\n\r\n";

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// All that comes until the connection ends, which it must.
fn to_its_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionReset,
            "the connection never ends"
        );
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// What is answered to `request`, which is the last on its connection.
fn answered(address: &str, request: &str) -> String {
    let mut stream = connect(address);
    // A server that has seen enough may not read the rest.
    let _ = stream.write_all(request.as_bytes());
    to_its_end(&mut stream)
}

/// Asks for health and leaves the connection open; its status, `None` when the connection is gone.
fn health(stream: &mut TcpStream) -> Option<u16> {
    stream.write_all(HEALTH.as_bytes()).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some(head["http/1.1 ".len()..][..3].parse().unwrap())
}

/// Lets this process, and those that it starts, have so many files open.
fn allow_files(wanted: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).expect("the system allows a few thousand files");
    }
}

#[test]
fn who_finds_no_place_is_told_so_and_all_others_are_served() {
    allow_files(4096);
    let sidecar = Sidecar::start(&[]);
    // Those that waited too long on a busy machine have given up their places, so it may take a few more.
    let mut placed = Vec::new();
    while placed.len() < 2 * PLACES {
        let mut stream = connect(sidecar.address());
        match health(&mut stream) {
            Some(200) => placed.push(stream),
            Some(503) | None => break,
            Some(status) => panic!("{status}"),
        }
    }
    assert!(placed.len() >= PLACES, "{} connections", placed.len());
    assert!(placed.len() < 2 * PLACES, "connections have no bound");

    let answer = to_its_end(&mut connect(sidecar.address()));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(
        answer.ends_with("{\"detail\":\"too many connections\"}"),
        "{answer}"
    );

    // More than are told at a time: the rest is hung up on, and nobody is left waiting.
    let mut crowd: Vec<_> = (0..200).map(|_| connect(sidecar.address())).collect();
    let told = crowd.iter_mut().map(to_its_end).filter(|answer| {
        let told = answer.starts_with("HTTP/1.1 503 ");
        assert!(told || answer.is_empty(), "{answer:?}");
        told
    });
    assert!(told.count() > 0);

    // The newest have not waited too long.
    for stream in placed.iter_mut().rev().take(50) {
        assert_eq!(health(stream), Some(200));
    }
    let traces = sidecar
        .otlp("/v1/traces")
        .header("content-type", "application/x-protobuf");
    let traces = traces.body(crate::otlp::traces("a")).send().unwrap();
    assert_eq!(traces.status().as_u16(), 200, "the other port has its own places");

    placed.truncate(PLACES / 2);
    eventually("a place", || {
        (health(&mut connect(sidecar.address())) == Some(200)).then_some(())
    });
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
}

#[test]
fn headers_that_never_end_are_not_waited_for() {
    let sidecar = Sidecar::start(&[]);
    let mut slow = connect(sidecar.address());
    slow.set_nonblocking(true).unwrap();
    let endless = b"POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\n"
        .iter()
        .chain(b"x-slow: y\r\n".iter().cycle());
    let mut bytes = endless.copied();
    eventually("the end of the connection", || {
        pause(Duration::from_millis(100));
        assert_eq!(parts(sidecar.send(envelope("session", "{}"))).0, 200);
        match slow.write_all(&[bytes.next().unwrap()]) {
            Err(_) => Some(()),
            Ok(()) => match slow.read(&mut [0; 512]) {
                Ok(0) => Some(()),
                Ok(_) => None,
                Err(error) => (error.kind() != ErrorKind::WouldBlock).then_some(()),
            },
        }
    });
}

#[test]
fn headers_beyond_the_bound_are_refused() {
    let sidecar = Sidecar::start(&[]);
    let long = format!("x-long: {}\r\n", "x".repeat(100_000));
    let many = "x-many: y\r\n".repeat(1000);
    for headers in [long, many] {
        let request = format!("POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
        let answer = answered(sidecar.address(), &request);
        // The answer is lost when the client still writes.
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
    }
    let path = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(100_000));
    let answer = answered(sidecar.address(), &path);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 "),
        "{answer}"
    );
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
}

/// Whoever stands in between may have seen where the request ends elsewhere, so nothing behind it may be taken for one.
#[test]
fn a_request_of_two_lengths_is_the_last_of_its_connection() {
    let sidecar = Sidecar::start(&[]);
    let hidden = format!(
        "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\ncontent-length: 30\r\n\r\n\
         {{}}\n{{\"type\":\"session\"}}\n\"new\"\n\n",
        auth(KEY)
    );
    let length = hidden.len();
    for (lengths, refused) in [
        (format!("content-length: 5\r\ncontent-length: {length}\r\n"), true),
        (format!("content-length: 5, {length}\r\n"), true),
        (format!("content-length: +{length}\r\n"), true),
        ("content-length: -5\r\n".to_owned(), true),
        ("content-length: 0x5\r\n".to_owned(), true),
        ("content-length: 18446744073709551616\r\n".to_owned(), true),
        (format!("content-length : {length}\r\n"), true),
        (format!("content-length:\r\n {length}\r\n"), true),
        ("transfer-encoding: identity\r\n".to_owned(), true),
        ("transfer-encoding: chunked, identity\r\n".to_owned(), true),
        ("transfer-encoding: xchunked\r\n".to_owned(), true),
        ("transfer-encoding : chunked\r\n".to_owned(), true),
        // The chunks count, and they are none: an empty body is no envelope.
        (
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            false,
        ),
        (
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
            false,
        ),
    ] {
        let chunks = if refused { "" } else { "0\r\n\r\n" };
        let request = format!(
            "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\n{lengths}\r\n{chunks}{hidden}",
            auth(KEY)
        );
        let answer = answered(sidecar.address(), &request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{lengths:?}: {answer}");
    }
    let old = format!(
        "POST /api/42/envelope/ HTTP/1.0\r\nx-sentry-auth: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        auth(KEY)
    );
    let answer = answered(sidecar.address(), &old);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );

    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
    let items = sidecar.stored(1);
    assert!(
        items.iter().all(|item| item["type"] == "event"),
        "a hidden request was taken: {items:?}"
    );
}

#[test]
fn chunks_that_are_none_end_the_request() {
    let sidecar = Sidecar::start(&[]);
    for chunks in ["5x\r\n", "-1\r\n", "fffffffffffffffff\r\n", "2\r\n{}xx\r\n"] {
        let request = format!(
            "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}",
            auth(KEY)
        );
        let answer = answered(sidecar.address(), &request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
    }
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, stream][..], payload].concat()
}

#[test]
fn who_begins_with_http_2_is_answered_in_it() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let sidecar = Sidecar::start(&[]);
    let path = b"/api/relay/healthcheck/live/";
    // GET, http, then path and authority as text (RFC 7541, appendix A).
    let headers = [&[0x82, 0x86, 0x04, path.len() as u8][..], path, b"\x01\x01h"].concat();
    let mut stream = connect(sidecar.address());
    let request = [PREFACE, &frame(4, 0, 0, b""), &frame(1, 5, 1, &headers)].concat();
    stream.write_all(&request).unwrap();
    let (mut status, mut body) = (None, Vec::new());
    while body.is_empty() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        match (head[3], head[8]) {
            (1, 1) => status = payload.first().copied(),
            (0, 1) => body = payload,
            (3 | 7, _) => panic!("refused: {head:?} {payload:?}"),
            _ => {}
        }
    }
    assert_eq!((status, &body[..]), (Some(0x88), &b"{\"is_healthy\":true}"[..]));

    // One that only looks like it ends.
    let _ = answered(sidecar.address(), "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    let mut stream = connect(sidecar.address());
    stream.write_all(PREFACE).unwrap();
    stream.write_all(b"no frame of any kind at all").unwrap();
    let _ = to_its_end(&mut stream);
    // The way from 1.1 to 2 is not offered, which a client has to live with.
    let mut stream = connect(sidecar.address());
    stream
        .write_all(b"GET /api/relay/healthcheck/live/ HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n")
        .unwrap();
    let answer = to_its_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
