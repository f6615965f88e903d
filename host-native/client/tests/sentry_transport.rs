//! The `sentry` crate itself, delivering through this crate's transport.

#![cfg(feature = "sentry")]
#![expect(
    clippy::disallowed_methods,
    reason = "a macro of the sentry crate reads the clock"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentry::protocol::{Attachment, EnvelopeItem, MonitorCheckIn, MonitorCheckInStatus, SessionStatus};
use sentry::{
    Client, ClientOptions, Envelope, Hub, Level, Scope, SessionMode, TransactionContext, Transport,
    TransportFactory, TransportOptions,
};
use serde_json::Value;
use surgetank::sentry::{SentryTransport, transport};
use surgetank::{Category, DropReason};

use support::envelope::{self, Item};
use support::{Received, Reply, Server, now};

const PATIENT: Duration = Duration::from_secs(60);

fn options(server: &Server, transport: &SentryTransport) -> ClientOptions {
    ClientOptions::new()
        .dsn(server.dsn().as_str())
        .release("shop@1.0")
        .traces_sample_rate(1.0)
        .transport(transport.clone())
}

/// A hub of its own, so that tests do not share the process-wide one.
fn hub(options: ClientOptions) -> Arc<Hub> {
    let client = Arc::new(Client::from_config(options));
    Arc::new(Hub::new(Some(client), Arc::new(Scope::default())))
}

fn items(requests: &[Received]) -> Vec<Item> {
    requests
        .iter()
        .flat_map(|request| envelope::parse(&request.body).items)
        .collect()
}

/// What client reports say, summed up: category, reason, quantity. How many reports it takes depends on the machine.
fn reported(requests: &[Received]) -> Vec<(String, String, u64)> {
    let mut sums = BTreeMap::new();
    for item in items(requests)
        .iter()
        .filter(|item| item.kind() == "client_report")
    {
        for entry in item.json()["discarded_events"].as_array().unwrap() {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            *sums.entry((text("category"), text("reason"))).or_insert(0) +=
                entry["quantity"].as_u64().unwrap();
        }
    }
    let entry = |((category, reason), quantity)| (category, reason, quantity);
    sums.into_iter().map(entry).collect()
}

/// Keeps envelopes beside sending them on.
struct Tee {
    inner: Arc<dyn Transport>,
    seen: Arc<Mutex<Vec<Envelope>>>,
}

impl Transport for Tee {
    fn send_envelope(&self, envelope: Envelope) {
        self.seen.lock().unwrap().push(envelope.clone());
        self.inner.send_envelope(envelope);
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.inner.flush(timeout)
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        self.inner.shutdown(timeout)
    }
}

struct TeeFactory {
    inner: SentryTransport,
    seen: Arc<Mutex<Vec<Envelope>>>,
}

impl TransportFactory for TeeFactory {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        Arc::new(Tee {
            inner: self.inner.create_transport_with_options(options),
            seen: Arc::clone(&self.seen),
        })
    }
}

/// Everything behind the header of an envelope, which gets a new `sent_at` on its way.
fn body(envelope: &[u8]) -> String {
    let body = envelope
        .splitn(2, |byte| *byte == b'\n')
        .nth(1)
        .unwrap_or_default();
    String::from_utf8_lossy(body).trim_end().to_owned()
}

#[test]
fn every_kind_of_envelope_arrives_as_the_crate_writes_it() {
    let server = Server::start(|_, _| Reply::ok());
    let transport = transport();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let options = options(&server, &transport)
        .auto_session_tracking(false)
        .session_mode(SessionMode::Application)
        .transport(TeeFactory {
            inner: transport.clone(),
            seen: Arc::clone(&seen),
        });
    let hub = hub(options);
    Hub::run(Arc::clone(&hub), || {
        sentry::start_session();
        sentry::capture_message("a \"quoted\" message\nof two lines", Level::Warning);
        sentry::with_scope(
            |scope| {
                scope.set_tag("shop", "42");
                scope.add_attachment(Attachment {
                    buffer: b"several\nlines\n".to_vec(),
                    filename: "notes.txt".to_owned(),
                    ..Attachment::default()
                });
            },
            || sentry::capture_error(&std::io::Error::other("disk on fire")),
        );
        let transaction = sentry::start_transaction(TransactionContext::new("GET /", "http.server"));
        for _ in 0..10 {
            transaction.start_child("db", "SELECT 1").finish();
        }
        transaction.finish();
        for number in 0..3 {
            sentry::logger_info!(number = number, "a log line");
        }
        let mut check_in = Envelope::new();
        check_in.add_item(EnvelopeItem::MonitorCheckIn(MonitorCheckIn {
            check_in_id: sentry::types::random_uuid(),
            monitor_slug: "nightly".to_owned(),
            status: MonitorCheckInStatus::Ok,
            environment: None,
            duration: Some(1.5),
            monitor_config: None,
        }));
        hub.client().unwrap().send_envelope(check_in);
        sentry::end_session_with_status(SessionStatus::Exited);
    });
    assert!(hub.client().unwrap().close(Some(PATIENT)));
    let requests = server.requests();
    let mut sent: Vec<String> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|envelope| {
            let mut bytes = Vec::new();
            envelope.to_writer(&mut bytes).unwrap();
            body(&bytes)
        })
        .collect();
    let mut arrived: Vec<String> = requests.iter().map(|request| body(&request.body)).collect();
    // The engine sends errors first.
    sent.sort();
    arrived.sort();
    assert_eq!(arrived, sent);
    let all = items(&requests);
    let mut kinds: Vec<&str> = all.iter().map(Item::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        ["attachment", "check_in", "event", "log", "session", "transaction"]
    );
    let auth = requests[0].header("x-sentry-auth").unwrap();
    assert!(auth.contains("sentry_client=sentry.rust/"), "{auth}");

    let sums = transport.client().unwrap().status().totals;
    let delivered = |category| sums.of(category).delivered;
    assert_eq!(delivered(Category::Error), 2);
    assert_eq!(delivered(Category::Transaction), 1);
    assert_eq!(delivered(Category::Span), 11);
    assert_eq!(delivered(Category::LogItem), 3);
    assert_eq!(delivered(Category::Monitor), 1);
    assert_eq!(delivered(Category::Attachment), 14);
    for (category, totals) in sums.categories() {
        assert_eq!(totals.queued(), 0, "{category:?}");
    }
}

#[test]
fn what_the_crate_itself_lost_is_reported_once_and_survives_a_refusal() {
    let server = Server::start(|_, number| {
        if number == 0 {
            Reply::status(503)
        } else {
            Reply::ok()
        }
    });
    let transport = transport();
    let hub = hub(options(&server, &transport)
        .before_send(|event| (event.message.as_deref() != Some("unwanted")).then_some(event)));
    Hub::run(Arc::clone(&hub), || {
        for _ in 0..3 {
            sentry::capture_message("unwanted", Level::Info);
        }
        sentry::capture_message("wanted", Level::Info);
    });
    assert!(hub.client().unwrap().close(Some(PATIENT)));
    let requests = server.requests();
    let last = requests.last().unwrap();
    assert_eq!(
        reported(std::slice::from_ref(last)),
        [("error".to_owned(), "before_send".to_owned(), 3)]
    );
    let client = transport.client().unwrap();
    let sums = client.status().totals;
    assert_eq!(sums.of(Category::Error).delivered, 1);
    assert_eq!(sums.dropped(Category::Error, DropReason::BeforeSend), 3);
}

#[test]
fn limited_events_are_refused_until_the_limit_ends() {
    let server = Server::start(|_, number| match number {
        0 => Reply::status(429).with("x-sentry-rate-limits", "60:error:key"),
        _ => Reply::ok(),
    });
    let transport = transport();
    let hub = hub(options(&server, &transport));
    let send = |message: &str| {
        Hub::run(Arc::clone(&hub), || {
            sentry::capture_message(message, Level::Error)
        })
    };
    send("first");
    let _ = hub.client().unwrap().flush(Some(PATIENT));
    server.wait_for(|requests| requests.len() == 1);
    // The answer is settled when the sums say so.
    let client = transport.client().unwrap();
    let limited = || {
        client
            .status()
            .totals
            .dropped(Category::Error, DropReason::ServerRateLimited)
            == 1
    };
    while !limited() {
        std::thread::yield_now();
    }
    for _ in 0..1000 {
        send("limited");
    }
    Hub::run(Arc::clone(&hub), || {
        sentry::start_transaction(TransactionContext::new("GET /", "http.server")).finish();
    });
    assert!(hub.client().unwrap().close(Some(PATIENT)));
    let requests = server.requests();
    let events = items(&requests)
        .iter()
        .filter(|item| item.kind() == "event")
        .count();
    assert_eq!(events, 1, "only the one that met the limit");
    assert_eq!(
        reported(&requests),
        [("error".to_owned(), "ratelimit_backoff".to_owned(), 1000)]
    );
    assert!(requests.len() < 100, "{} requests", requests.len());
}

#[test]
fn a_hub_lets_go_by_its_deadline_whatever_the_server_does() {
    let server = Server::start(|_, _| Reply::Stall);
    let transport = transport();
    let hub = hub(options(&server, &transport));
    for number in 0..200 {
        Hub::run(Arc::clone(&hub), || {
            sentry::capture_message(&format!("event {number}"), Level::Error)
        });
    }
    let begun = now();
    let client = hub.client().unwrap();
    assert!(!client.flush(Some(Duration::from_millis(300))));
    assert!(!client.close(Some(Duration::from_millis(300))));
    // A promise of the interface; a busy machine still shows the difference to an attempt's half a minute.
    assert!(begun.elapsed() < Duration::from_secs(15));
    let sums = transport.client().unwrap().close(PATIENT).sums;
    let errors = sums.of(Category::Error);
    assert_eq!((errors.recorded, errors.delivered, errors.queued()), (200, 0, 0));
}

#[test]
fn settings_that_cannot_be_are_told_and_hurt_nobody() {
    let server = Server::start(|_, _| Reply::ok());
    let transport = SentryTransport::new(surgetank::Client::builder().memory(7));
    assert!(transport.error().is_none() && transport.client().is_none());
    let hub = hub(options(&server, &transport));
    Hub::run(Arc::clone(&hub), || sentry::capture_message("lost", Level::Error));
    assert!(hub.client().unwrap().close(Some(PATIENT)));
    assert!(
        transport.error().unwrap().contains("65536"),
        "{:?}",
        transport.error()
    );
    assert!(transport.client().is_none() && server.requests().is_empty());

    let transport = surgetank::sentry::transport();
    let hub = self::hub(options(&server, &transport).http_proxy("no proxy"));
    drop(hub);
    assert!(
        transport.error().unwrap().contains("http_proxy"),
        "{:?}",
        transport.error()
    );
}

#[test]
fn the_sampler_follows_a_parents_decision_and_otherwise_the_rate() {
    let server = Server::start(|_, _| Reply::ok());
    let transport = transport();
    let sampler = transport.traces_sampler(0.25);
    let root = TransactionContext::new("GET /", "http.server");
    assert_eq!(sampler(&root), 0.25, "before there is a client");
    let hub = hub(options(&server, &transport));
    assert_eq!(sampler(&root), 0.25, "without pressure");
    for (flag, rate) in [("1", 1.0), ("0", 0.0)] {
        let header = format!("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flag}");
        let child = TransactionContext::continue_from_headers(
            "GET /",
            "http.server",
            [("sentry-trace", header.as_str())],
        );
        assert_eq!(sampler(&child), rate);
    }
    drop(hub);
}

#[test]
fn ready_made_bytes_go_as_they_are() {
    let server = Server::start(|_, _| Reply::ok());
    let transport = transport();
    let hub = hub(options(&server, &transport));
    let bytes = b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"from_the_future\",\"length\":4}\n\x00\x01\n\xff\n";
    let envelope = Envelope::from_bytes_raw(bytes.to_vec()).unwrap();
    hub.client().unwrap().send_envelope(envelope);
    assert!(hub.client().unwrap().close(Some(PATIENT)));
    let requests = server.requests();
    let parsed = envelope::parse(&requests[0].body);
    assert_eq!(parsed.items[0].kind(), "from_the_future");
    assert_eq!(parsed.items[0].payload, b"\x00\x01\n\xff");
    assert_eq!(
        parsed.header["event_id"],
        Value::from("9ec79c33ec9942ab8353589fcb2e04dc")
    );
}
