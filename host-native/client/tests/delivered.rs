//! Everything that can be recorded arrives at a real server, whole, framed as its protocol says.

mod support;

use std::time::Duration;

use serde_json::json;
use surgetank::otlp::{AnyValue, KeyValue, LogRecord, Severity, Span};
use surgetank::sentry::{
    CheckIn, CheckInStatus, Event, Exception, Level, Log, Session, SessionStatus, SpanStatus, TraceContext,
    Transaction,
};
use surgetank::{Category, Client, Compression, DropReason, Outcome, Signal};
use surgetank_core::time::UnixTime;

use support::envelope::{self, Envelope};
use support::{Received, Reply, Server, otlp};

const PATIENT: Duration = Duration::from_secs(60);

fn sentry(server: &Server) -> Client {
    Client::builder()
        .sentry_dsn(&server.dsn())
        .release("shop@1.0")
        .environment("test")
        .server_name("here")
        .environment_proxies(false)
        .build()
        .unwrap()
}

/// Every envelope that arrived, in order.
fn envelopes(requests: &[Received]) -> Vec<Envelope> {
    requests
        .iter()
        .map(|request| envelope::parse(&request.body))
        .collect()
}

fn items<'e>(envelopes: &'e [Envelope], kind: &str) -> Vec<&'e envelope::Item> {
    envelopes
        .iter()
        .flat_map(|envelope| &envelope.items)
        .filter(|item| item.kind() == kind)
        .collect()
}

#[test]
fn an_event_arrives_in_an_envelope_with_authentication() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server);
    let captured = client.event(&Event {
        exceptions: &[Exception {
            kind: "E",
            value: "broken",
            ..Exception::default()
        }],
        ..Event::default()
    });
    assert_eq!(captured.outcome, Outcome::Queued);
    assert!(client.close(PATIENT).complete);
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(request.path, "/api/42/envelope/");
    assert_eq!(
        request.header("content-type"),
        Some("application/x-sentry-envelope")
    );
    let auth = request.header("x-sentry-auth").unwrap();
    assert!(auth.starts_with("Sentry ") && auth.contains("sentry_key=0123456789abcdef0123456789abcdef"));
    assert!(auth.contains("sentry_version=7") && auth.contains("sentry_client=surgetank/"));
    let envelope = envelope::parse(&request.body);
    assert_eq!(envelope.header["event_id"], captured.id.to_string());
    let sent_at = envelope.header["sent_at"].as_str().unwrap();
    assert!(sent_at.ends_with('Z') && sent_at.len() >= 20, "{sent_at}");
    let event = envelope.items[0].json();
    assert_eq!(
        event["exception"]["values"][0],
        json!({"type": "E", "value": "broken"})
    );
    assert_eq!(event["release"], "shop@1.0");
}

/// A transaction without spans or anything else that it can do without.
fn transaction<'a>(client: &Client, name: &'a str) -> Transaction<'a> {
    let trace = TraceContext {
        trace_id: client.new_trace_id(),
        span_id: client.new_span_id(),
        parent_span_id: None,
        op: "http.server",
    };
    Transaction {
        name,
        source: "route",
        trace,
        status: SpanStatus::Ok,
        start: UnixTime::from_secs(1),
        end: UnixTime::from_secs(2),
        spans: &[],
        data: &[],
        tags: &[],
        contexts: &[],
        measurements: &[],
        sampled: None,
        dynamic_sampling: &[],
    }
}

#[test]
fn a_transaction_far_longer_than_it_looks_arrives_whole_and_once() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server);
    let name = "\n".repeat(4000);
    assert_eq!(
        client.transaction(&transaction(&client, &name)).outcome,
        Outcome::Queued
    );
    assert!(client.close(PATIENT).complete);
    let envelopes = envelopes(&server.requests());
    let [arrived] = items(&envelopes, "transaction")[..] else {
        panic!("{envelopes:?}")
    };
    assert_eq!(arrived.json()["transaction"], name);
    assert_eq!(client.status().totals.of(Category::Transaction).recorded, 1);
}

#[test]
fn every_kind_of_sentry_record_arrives() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server);
    let _ = client.message(Level::Info, "hello");
    let transaction = transaction(&client, "GET /");
    assert_eq!(client.transaction(&transaction).outcome, Outcome::Queued);
    for number in 0..250 {
        let attributes = [KeyValue::new("n", AnyValue::Int(number))];
        let log = Log {
            level: Level::Info,
            body: "a line",
            attributes: &attributes,
            ..Log::default()
        };
        assert_eq!(client.log(&log), Outcome::Queued);
    }
    let session = Session {
        id: client.new_event_id(),
        distinct_id: "u",
        init: true,
        started: UnixTime::from_secs(1),
        status: SessionStatus::Ok,
        errors: 0,
        duration: None,
        user_agent: "",
        ip_address: None,
    };
    assert_eq!(client.session(&session), Outcome::Queued);
    let check_in = CheckIn {
        monitor: "nightly",
        status: CheckInStatus::Ok,
        id: None,
        duration: None,
        config: None,
        trace_id: None,
    };
    assert_eq!(client.check_in(&check_in).outcome, Outcome::Queued);
    assert!(client.close(PATIENT).complete);

    let envelopes = envelopes(&server.requests());
    assert_eq!(items(&envelopes, "event").len(), 1);
    assert_eq!(items(&envelopes, "transaction").len(), 1);
    assert_eq!(
        items(&envelopes, "session")[0].json()["attrs"]["release"],
        "shop@1.0"
    );
    assert_eq!(items(&envelopes, "check_in")[0].json()["monitor_slug"], "nightly");
    let mut numbers = Vec::new();
    for container in items(&envelopes, "log") {
        assert_eq!(
            container.header["content_type"],
            "application/vnd.sentry.items.log+json"
        );
        let payload = container.json();
        let lines = payload["items"].as_array().unwrap();
        assert_eq!(container.header["item_count"], lines.len());
        assert!(lines.len() <= 100);
        numbers.extend(
            lines
                .iter()
                .map(|line| line["attributes"]["n"]["value"].as_i64().unwrap()),
        );
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..250).collect::<Vec<_>>());
    let totals = client.status().totals;
    for (category, quantity) in [
        (Category::Error, 1),
        (Category::Transaction, 1),
        (Category::Span, 1),
        (Category::LogItem, 250),
        (Category::Session, 1),
        (Category::Monitor, 1),
    ] {
        assert_eq!(totals.of(category).delivered, quantity, "{category:?}");
    }
}

#[test]
fn a_ready_made_envelope_arrives_byte_for_byte_but_for_its_sent_at() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server);
    let event = "{\"event_id\":\"0123456789abcdef0123456789abcdef\",\"x\":\"ä\"}";
    let envelope = format!(
        "{{\"event_id\":\"0123456789abcdef0123456789abcdef\",\"own\":1}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n\
         {{\"type\":\"attachment\",\"length\":4,\"filename\":\"a\"}}\n\x00\x01\n\x02\n{{\"type\":\"odd\",\"length\":0}}\n\n",
        event.len()
    );
    assert_eq!(client.envelope(envelope.as_bytes()), Ok(Outcome::Queued));
    assert!(client.envelope(b"no envelope").is_err());
    assert!(client.close(PATIENT).complete);
    let envelopes = envelopes(&server.requests());
    let [arrived] = envelopes.as_slice() else {
        panic!("{envelopes:?}")
    };
    assert_eq!(arrived.header["own"], 1);
    let payloads: Vec<&[u8]> = arrived.items.iter().map(|item| item.payload.as_slice()).collect();
    assert_eq!(payloads, [event.as_bytes(), b"\x00\x01\n\x02", b""]);
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Error).delivered, 1);
    assert_eq!(totals.of(Category::Attachment).delivered, 4);
}

#[test]
fn a_ready_made_item_arrives() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server);
    let item = b"{\"type\":\"check_in\",\"length\":19}\n{\"status\":\"ok\",\"a\"";
    assert!(client.item(item).is_err(), "its length is wrong");
    let item = b"{\"type\":\"check_in\",\"length\":15}\n{\"status\":\"ok\"}";
    assert_eq!(client.item(item), Ok(Outcome::Queued));
    assert!(client.close(PATIENT).complete);
    let envelopes = envelopes(&server.requests());
    assert_eq!(items(&envelopes, "check_in")[0].payload, b"{\"status\":\"ok\"}");
}

#[test]
fn sessions_need_a_release_and_check_ins_a_monitor() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .build()
        .unwrap();
    let session = Session {
        id: client.new_event_id(),
        distinct_id: "",
        init: true,
        started: UnixTime::from_secs(1),
        status: SessionStatus::Ok,
        errors: 0,
        duration: None,
        user_agent: "",
        ip_address: None,
    };
    assert_eq!(
        client.session(&session),
        Outcome::Dropped(DropReason::InsufficientData)
    );
    let check_in = CheckIn {
        monitor: "",
        status: CheckInStatus::Ok,
        id: None,
        duration: None,
        config: None,
        trace_id: None,
    };
    assert_eq!(
        client.check_in(&check_in).outcome,
        Outcome::Dropped(DropReason::InsufficientData)
    );
    let _ = client.close(PATIENT);
    let totals = client.status().totals;
    assert_eq!(totals.dropped(Category::Session, DropReason::InsufficientData), 1);
    assert_eq!(totals.dropped(Category::Monitor, DropReason::InsufficientData), 1);
}

#[test]
fn otlp_spans_and_logs_arrive_with_their_resource() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .otlp_endpoint(&server.url("/base"))
        .otlp_header("x-token", "t")
        .service_name("shop")
        .release("1.0")
        .resource_attribute("k", "v")
        .compression(Compression::Gzip)
        .environment_proxies(false)
        .build()
        .unwrap();
    let trace_id = client.new_trace_id();
    for number in 0..100 {
        let attributes = [KeyValue::new("n", AnyValue::Int(number))];
        let span = Span {
            attributes: &attributes,
            start_unix_nanos: 1,
            end_unix_nanos: 2,
            ..Span::new(trace_id, client.new_span_id(), "work")
        };
        assert_eq!(client.otlp_span(&span), Outcome::Queued);
    }
    let log = LogRecord {
        severity: Some(Severity::WARN),
        body: AnyValue::String("hm"),
        trace_id: Some(trace_id),
        ..LogRecord::default()
    };
    assert_eq!(client.otlp_log(&log), Outcome::Queued);
    assert!(client.close(PATIENT).complete);

    let requests = server.requests();
    let mut spans = Vec::new();
    let mut logs = Vec::new();
    for request in &requests {
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("x-token"), Some("t"));
        let export = otlp::parse(&request.body);
        let resource = &export.resource;
        for (key, value) in [
            ("service.name", "shop"),
            ("service.version", "1.0"),
            ("k", "v"),
            ("telemetry.sdk.name", "surgetank"),
        ] {
            assert!(
                resource.contains(&(key.to_owned(), value.to_owned())),
                "{key} in {resource:?}"
            );
        }
        assert_eq!(export.scope.0, "surgetank");
        match request.path.as_str() {
            "/base/v1/traces" => spans.extend(export.records),
            "/base/v1/logs" => logs.extend(export.records),
            other => panic!("{other}"),
        }
    }
    assert_eq!((spans.len(), logs.len()), (100, 1));
    assert!(
        spans
            .iter()
            .all(|span| otlp::span_trace_id(span) == trace_id.bytes())
    );
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Span).delivered, 100);
    assert_eq!(totals.of(Category::LogItem).delivered, 1);
}

#[test]
fn ready_made_otlp_requests_arrive_merged() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    // ResourceMetrics with one empty ScopeMetrics.
    let request = [0x0a, 0x02, 0x12, 0x00];
    for _ in 0..3 {
        assert_eq!(client.otlp_request(Signal::Metrics, 2, &request), Outcome::Queued);
    }
    assert!(client.close(PATIENT).complete);
    let bodies: Vec<u8> = server
        .requests()
        .into_iter()
        .flat_map(|request| request.body)
        .collect();
    assert_eq!(bodies, request.repeat(3));
    assert_eq!(client.status().totals.of(Category::TraceMetric).delivered, 6);
}

#[test]
fn one_client_serves_both_protocols() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    let _ = client.message(Level::Error, "both");
    let span = Span::new(client.new_trace_id(), client.new_span_id(), "work");
    assert_eq!(client.otlp_span(&span), Outcome::Queued);
    assert!(client.flush(PATIENT).complete);
    let mut paths: Vec<String> = server
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    paths.sort();
    assert_eq!(paths, ["/api/42/envelope/", "/v1/traces"]);
}

#[test]
fn large_bodies_are_compressed_as_asked() {
    for (compression, encoding) in [
        (Compression::Gzip, Some("gzip")),
        (Compression::Zstd, Some("zstd")),
        (Compression::None, None),
    ] {
        let server = Server::start(|_, _| Reply::ok());
        let client = Client::builder()
            .sentry_dsn(&server.dsn())
            .compression(compression)
            .environment_proxies(false)
            .build()
            .unwrap();
        let text = "the same again ".repeat(1000);
        let _ = client.message(Level::Error, &text);
        assert!(client.close(PATIENT).complete);
        let requests = server.requests();
        assert_eq!(requests[0].header("content-encoding"), encoding);
        let envelopes = envelopes(&requests);
        assert_eq!(envelopes[0].items[0].json()["logentry"]["formatted"], text);
    }
}

#[test]
fn roots_are_sampled_by_trace_id_and_the_loss_is_counted() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .traces_sample_rate(0.5)
        .environment_proxies(false)
        .build()
        .unwrap();
    let traces: Vec<_> = (0..1000).map(|_| client.new_trace_id()).collect();
    let kept = traces.iter().filter(|trace| client.sample_root(trace)).count();
    let again = traces.iter().filter(|trace| client.sample_root(trace)).count();
    assert_eq!(kept, again, "the same traces are kept each time");
    assert!((400..600).contains(&kept), "{kept}");
    let _ = client.close(PATIENT);
    let totals = client.status().totals;
    let lost = 2 * (1000 - kept as u64);
    assert_eq!(
        totals.dropped(Category::Transaction, DropReason::SampleRate),
        lost
    );
    assert_eq!(totals.dropped(Category::Span, DropReason::SampleRate), lost);
}

#[test]
fn dropping_the_last_handle_delivers_what_is_queued() {
    // The two seconds that it takes at most may be too few once on a busy machine, but not ten times.
    let delivered = (0..10).any(|_| {
        let server = Server::start(|_, _| Reply::ok());
        let client = sentry(&server);
        let clone = client.clone();
        let _ = clone.message(Level::Error, "last words");
        drop(client);
        drop(clone);
        server.requests().len() == 1
    });
    assert!(delivered);
}
