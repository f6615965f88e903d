use std::io::{Read as _, Write as _};

use super::envelope::Envelope;
use super::*;

/// Sends `request` on a connection of its own and gives what comes back until the connection ends.
fn send(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const SMALL: &[u8] = b"POST /v1/logs HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{\"resourceLogs\":[]}";

fn envelope_request(authorization: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /api/7/envelope/ HTTP/1.1\r\n{authorization}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn well_formed_telemetry_is_accepted_and_recorded() {
    let upstream = Upstream::accepting();
    let key = format!("x-sentry-auth: Sentry sentry_key={KEY}, sentry_version=7\r\n");
    let answer = send(
        upstream.address(),
        &envelope_request(&key, "{\"event_id\":\"a\"}\n{\"type\":\"event\"}\n{}"),
    );
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"id":"a"}"#),
        "{answer}"
    );
    assert!(send(upstream.address(), SMALL).starts_with("HTTP/1.1 200"));
    let exchanges = upstream.wait_for("two answers", |all| {
        (all.iter().filter(|one| one.is_accepted()).count() == 2).then(|| all.to_vec())
    });
    assert_eq!(exchanges[1].request.body, b"{\"resourceLogs\":[]}");
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let upstream = Upstream::accepting();
    let key = format!("x-sentry-auth: Sentry sentry_key={KEY}\r\n");
    for (request, status) in [
        (envelope_request("", "{}"), "401"),
        (envelope_request("x-sentry-auth: Sentry sentry_key=short\r\n", "{}"), "400"),
        (envelope_request(&key, "nothing"), "400"),
        (envelope_request(&key, "{}\n{\"type\":\"event\",\"length\":5}\n{}"), "400"),
        (b"POST /v1/traces HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_vec(), "400"),
        (b"POST /v1/traces HTTP/1.1\r\ncontent-type: application/x-protobuf\r\ncontent-length: 2\r\n\r\n\x0a\x05".to_vec(), "400"),
        (b"POST /v1/traces HTTP/1.1\r\ncontent-length: 0\r\n\r\n".to_vec(), "415"),
        (b"POST /elsewhere HTTP/1.1\r\ncontent-length: 0\r\n\r\n".to_vec(), "404"),
    ] {
        let answer = send(upstream.address(), &request);
        assert_eq!(answer.get(9..12), Some(status), "{}", String::from_utf8_lossy(&request));
    }
}

#[test]
fn chunks_and_compression_are_undone() {
    let upstream = Upstream::accepting();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"{\"resourceLogs\":[]}").unwrap();
    let body = gzip.finish().unwrap();
    let (one, two) = body.split_at(7);
    let mut request =
        b"POST /v1/logs HTTP/1.1\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\
        transfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for chunk in [one, two, b""] {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    assert!(send(upstream.address(), &request).starts_with("HTTP/1.1 200"));
    assert_eq!(upstream.exchanges()[0].request.body, b"{\"resourceLogs\":[]}");
}

#[test]
fn a_request_that_is_passed_on_arrives_as_it_was_and_the_answer_comes_back() {
    let receiver = Upstream::start(|_, _| Reply::status(429).with("retry-after", "7"));
    let between = Upstream::before(receiver.address());
    let answer = send(between.address(), SMALL);
    assert!(
        answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 7\r\n"),
        "{answer}"
    );
    assert_eq!(receiver.exchanges()[0].request.bytes, SMALL);
    let seen = between.exchanges()[0].answer.clone().unwrap();
    assert_eq!((seen.status, seen.header("Retry-After")), (429, Some("7")));
}

#[test]
fn a_stalled_request_is_answered_by_the_next_script() {
    let upstream = Upstream::start(|_, _| Reply::Stall);
    let address = upstream.address();
    let waiting = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(SMALL).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        start
    });
    upstream.wait_for("the request", |all| (all.len() == 1).then_some(()));
    assert!(upstream.exchanges()[0].answer.is_none());
    upstream.always(Reply::Accept);
    assert_eq!(&waiting.join().unwrap(), b"HTTP/1.1 200");
}

#[test]
fn a_peer_that_gave_up_is_not_answered() {
    let upstream = Upstream::start(|_, _| Reply::Stall);
    assert_eq!(send(upstream.address(), SMALL), "");
    upstream.always(Reply::Accept);
    assert!(!upstream.exchanges()[0].is_accepted());
}

#[test]
fn answers_can_be_broken_off_and_connections_closed() {
    let upstream = Upstream::start(|_, number| {
        if number == 0 {
            Reply::Close
        } else {
            Reply::CloseMidway
        }
    });
    assert_eq!(send(upstream.address(), SMALL), "");
    assert_eq!(send(upstream.address(), SMALL), "HTTP/1.1 200 OK\r\ncontent-le");
    assert!(upstream.exchanges().iter().all(|one| one.answer.is_none()));
}

#[test]
fn a_closed_port_refuses_and_an_open_one_takes_again() {
    let mut upstream = Upstream::accepting();
    upstream.close_port();
    assert!(TcpStream::connect(upstream.address()).is_err());
    upstream.open_port();
    assert!(send(upstream.address(), SMALL).starts_with("HTTP/1.1 200"));
}

#[test]
fn an_envelope_is_taken_apart_to_the_byte() {
    let bytes = b"{}\n{\"type\":\"attachment\",\"length\":3}\n\n{\n\n{\"type\":\"log\"}\n{ }\n";
    let envelope = Envelope::read(bytes).unwrap();
    let payloads: Vec<&[u8]> = envelope
        .items
        .iter()
        .map(|item| item.payload.as_slice())
        .collect();
    assert_eq!(payloads, [b"\n{\n".as_slice(), b"{ }"]);
    assert_eq!(envelope.items[1].kind(), "log");
}
