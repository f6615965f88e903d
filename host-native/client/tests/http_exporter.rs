//! The HTTP exporter against servers that answer, refuse, hang, dribble, break off, and speak something else.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use surgetank::delivery::http::{HttpExporter, HttpRoute, HttpSettings, HttpTarget};
use surgetank::delivery::{Answer, Endpoint, Exporter as _, Outgoing};
use surgetank_core::item::Signal;
use surgetank_core::limits;
use surgetank_core::response::Failure;

use support::{Reply, Server};

const LOGS: Endpoint = Endpoint::Otlp(Signal::Logs);

fn exporter() -> HttpExporter {
    HttpExporter::new(HttpSettings {
        connect_timeout: PATIENT,
        environment_proxies: false,
        ..HttpSettings::default()
    })
}

fn outgoing(url: &str, endpoint: Endpoint, timeout: Duration) -> Outgoing<HttpTarget> {
    let mut route = HttpRoute::to(url.parse().unwrap());
    route.headers.insert("x-test", "yes".parse().unwrap());
    Outgoing {
        target: Arc::new(HttpTarget::default().with(endpoint, route)),
        endpoint,
        attempt: 1,
        timeout,
        content_type: "application/x-test",
        content_encoding: None,
        body: b"some bytes".to_vec(),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// One attempt, dropped at its deadline as the delivery thread does it.
fn post(url: &str, endpoint: Endpoint, timeout: Duration) -> Result<Answer, Failure> {
    run(async {
        let attempt = exporter().export(outgoing(url, endpoint, timeout));
        let ended = tokio::time::timeout(timeout, attempt).await;
        ended.unwrap_or(Err(Failure::Timeout))
    })
}

const PATIENT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn the_request_arrives_as_it_was_given() {
    let server = Server::start(|_, _| Reply::ok());
    let answer = post(&server.url("/api/42/envelope/"), Endpoint::Envelope, PATIENT).unwrap();
    assert_eq!(answer.status, 200);
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/api/42/envelope/")
    );
    assert_eq!(request.header("content-type"), Some("application/x-test"));
    assert_eq!(request.header("x-test"), Some("yes"));
    assert_eq!(request.header("accept"), Some("*/*"));
    let url = server.url("");
    assert_eq!(request.header("host"), url.strip_prefix("http://"));
    assert!(request.header("user-agent").unwrap().starts_with("surgetank/"));
    assert_eq!(request.body, b"some bytes");
}

#[test]
fn the_answer_is_passed_on_as_it_came() {
    let server = Server::start(|_, _| {
        Reply::status(429)
            .with("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")
            .with("X-Sentry-Rate-Limits", "60:error:key")
            .with("x-sentry-rate-limits", "10:transaction:key")
            .with("Content-Type", "application/json")
            .body(b"{\"detail\":\"no\"}")
    });
    let answer = post(&server.url("/"), Endpoint::Envelope, PATIENT).unwrap();
    assert_eq!(
        answer,
        Answer {
            status: 429,
            retry_after: Some(b"Wed, 21 Oct 2026 07:28:00 GMT".to_vec()),
            rate_limits: vec![b"60:error:key".to_vec(), b"10:transaction:key".to_vec()],
            content_type: Some(b"application/json".to_vec()),
            body: b"{\"detail\":\"no\"}".to_vec(),
        }
    );
}

#[test]
fn connections_are_kept_alive() {
    let server = Server::start(|_, _| Reply::ok().body(b"{}"));
    let exporter = exporter();
    let url = server.url("/");
    run(async {
        for _ in 0..5 {
            exporter
                .export(outgoing(&url, Endpoint::Envelope, PATIENT))
                .await
                .unwrap();
        }
    });
    assert_eq!(server.requests().len(), 5);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // One request for each connection, without a word of it.
    let mut answer = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"some bytes") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..read]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
    };
    let exporter = exporter();
    run(async {
        for _ in 0..3 {
            let closed = tokio::task::spawn_blocking(move || {
                answer();
                answer
            });
            let answer_got = exporter.export(outgoing(&url, Endpoint::Envelope, PATIENT)).await;
            assert_eq!(answer_got.unwrap().status, 200);
            answer = closed.await.unwrap();
        }
    });
}

#[test]
fn redirects_are_answers_and_not_followed() {
    let elsewhere = Server::start(|_, _| Reply::ok());
    let url = elsewhere.url("/");
    let server = Server::start(move |_, _| Reply::status(307).with("Location", &url));
    let answer = post(&server.url("/"), LOGS, PATIENT).unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn a_refused_connection_is_told_apart() {
    let (address, _held) = Server::refused();
    let url = format!("http://{address}/");
    assert_eq!(post(&url, Endpoint::Envelope, PATIENT), Err(Failure::Connect));
}

#[test]
fn an_unknown_name_is_told_apart() {
    // RFC 6761: names under `invalid` do not exist.
    let answer = post("http://surgetank.invalid/", Endpoint::Envelope, PATIENT);
    assert_eq!(answer, Err(Failure::Dns));
}

#[test]
fn a_stalled_server_ends_at_the_deadline() {
    let server = Server::start(|_, _| Reply::Stall);
    let begun = support::now();
    let answer = post(&server.url("/"), Endpoint::Envelope, SHORT);
    assert_eq!(answer, Err(Failure::Timeout));
    assert!(begun.elapsed() < PATIENT / 2, "the deadline is the promise");
}

#[test]
fn a_closed_connection_is_told_apart() {
    for reply in [Reply::Close, Reply::CloseMidway] {
        let server = Server::start(move |_, _| reply.clone());
        let answer = post(&server.url("/"), Endpoint::Envelope, PATIENT);
        assert_eq!(answer, Err(Failure::Disconnected));
    }
}

#[test]
fn what_is_no_http_is_malformed() {
    let server = Server::start(|_, _| Reply::Garbage);
    let answer = post(&server.url("/"), Endpoint::Envelope, PATIENT);
    assert_eq!(answer, Err(Failure::MalformedResponse));
}

#[test]
fn tls_to_a_server_without_it_is_a_tls_failure() {
    let server = Server::start(|_, _| Reply::Garbage);
    let url = format!("https://{}/", server.address);
    // A plain server answers the handshake with text, or hangs up on it.
    let answer = post(&url, Endpoint::Envelope, SHORT);
    assert!(
        matches!(answer, Err(Failure::Tls | Failure::Connect | Failure::Timeout)),
        "{answer:?}"
    );
}

#[test]
fn a_dribbled_body_does_not_hide_a_status_that_says_it_all() {
    let server = Server::start(|_, _| Reply::Dribble { status: 503 });
    let answer = post(&server.url("/"), LOGS, PATIENT).unwrap();
    assert_eq!((answer.status, answer.body.len()), (503, 0));
}

#[test]
fn a_success_whose_body_does_not_come_in_time_is_a_success() {
    let server = Server::start(|_, _| Reply::Dribble { status: 200 });
    // A busy machine may need longer for the status itself; the body takes longer than any of these.
    let mut patience = [SHORT, 10 * SHORT, 100 * SHORT].into_iter();
    let otlp = patience.find_map(|timeout| post(&server.url("/"), LOGS, timeout).ok());
    let status = otlp.map(|answer| answer.status);
    assert_eq!(status, Some(200), "what was taken must not be sent again");
    let envelope = post(&server.url("/"), Endpoint::Envelope, PATIENT).unwrap();
    assert_eq!((envelope.status, envelope.body.len()), (200, 0));
}

#[test]
fn only_the_first_bytes_of_a_large_answer_are_read() {
    let server = Server::start(|_, _| Reply::ok().body(&vec![b'x'; 10 * limits::MAX_ANSWER_BYTES]));
    let answer = post(&server.url("/"), LOGS, PATIENT).unwrap();
    assert_eq!(answer.body.len(), limits::MAX_ANSWER_BYTES);
}

#[test]
fn a_body_in_an_unasked_coding_is_not_read() {
    let server = Server::start(|_, _| {
        Reply::ok()
            .with("Content-Encoding", "gzip")
            .body(b"\x1f\x8b junk")
    });
    let answer = post(&server.url("/"), LOGS, PATIENT).unwrap();
    assert!(answer.body.is_empty());
}

#[test]
fn a_target_without_that_endpoint_is_our_own_fault() {
    let mut outgoing = outgoing("http://127.0.0.1:1/", LOGS, PATIENT);
    outgoing.endpoint = Endpoint::Envelope;
    assert_eq!(run(exporter().export(outgoing)), Err(Failure::Internal));
}

#[test]
fn debug_output_shows_neither_headers_nor_paths() {
    let mut route = HttpRoute::to(
        "http://user:hunter2@host/hunter2?sentry_key=hunter2"
            .parse()
            .unwrap(),
    );
    route.headers.insert("x-sentry-auth", "hunter2".parse().unwrap());
    let target = HttpTarget::default().with(Endpoint::Envelope, route);
    let shown = format!("{target:?}");
    assert!(!shown.contains("hunter2") && shown.contains("host"), "{shown}");
}
