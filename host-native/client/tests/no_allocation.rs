//! Recording allocates nothing, whatever is recorded: counted by the allocator itself, on the recording thread.

mod support;

use std::time::Duration;

use surgetank::otlp::{AnyValue, Event as SpanEvent, KeyValue, Link, LogRecord, Severity, Span, Status};
use surgetank::sentry::{
    Breadcrumb, CheckIn, CheckInStatus, Event, Exception, Frame, Interval, Log, Monitor, Schedule, Session,
    SessionStatus, Span as ChildSpan, SpanStatus, TraceContext, Transaction, User,
};
use surgetank::{Client, DropReason, Outcome, Signal};
use surgetank_core::time::UnixTime;

use support::counting::{Counting, allocations};
use support::{Reply, Server};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Records everything there is, with every field in use.
fn record_all(client: &Client) -> Vec<(&'static str, u64, Outcome)> {
    let nested = [KeyValue::new("n", AnyValue::Double(0.5))];
    let facts = [
        KeyValue::new("text", AnyValue::String("a \"quoted\" text\n")),
        KeyValue::new(
            "list",
            AnyValue::Array(&[AnyValue::Bool(true), AnyValue::Int(-1)]),
        ),
        KeyValue::new("map", AnyValue::Map(&nested)),
        KeyValue::new("bytes", AnyValue::Bytes(b"\x00\xff")),
    ];
    let (trace_id, span_id) = (client.new_trace_id(), client.new_span_id());
    let trace = TraceContext {
        trace_id,
        span_id,
        parent_span_id: Some(span_id),
        op: "http.server",
    };
    let frames = [Frame {
        function: "f",
        filename: "f.rs",
        line: 7,
        instruction_addr: 0xabc,
        ..Frame::default()
    }];
    let exceptions = [Exception {
        kind: "E",
        value: "v",
        frames: &frames,
        handled: Some(true),
        ..Exception::default()
    }];
    let breadcrumbs = [Breadcrumb {
        message: "before",
        data: &facts,
        ..Breadcrumb::default()
    }];
    let event = Event {
        message: "m",
        exceptions: &exceptions,
        tags: &[("k", "v")],
        extra: &facts,
        user: Some(User {
            id: "u",
            ip_address: Some([127, 0, 0, 1].into()),
            ..User::default()
        }),
        contexts: &[("c", &facts)],
        breadcrumbs: &breadcrumbs,
        fingerprint: &["p"],
        trace: Some(trace),
        ..Event::default()
    };
    let children = [ChildSpan {
        span_id,
        parent_span_id: span_id,
        op: "db",
        description: "SELECT 1",
        status: Some(SpanStatus::Ok),
        start: UnixTime::from_secs(1),
        end: UnixTime::from_secs(2),
        data: &facts,
    }];
    let transaction = Transaction {
        name: "GET /",
        source: "route",
        trace,
        status: SpanStatus::Ok,
        start: UnixTime::from_secs(1),
        end: UnixTime::from_secs(2),
        spans: &children,
        data: &facts,
        tags: &[("k", "v")],
        contexts: &[],
        measurements: &[],
        sampled: None,
        dynamic_sampling: &[],
    };
    let log = Log {
        body: "line",
        attributes: &facts,
        ..Log::default()
    };
    let session = Session {
        id: client.new_event_id(),
        distinct_id: "d",
        init: true,
        started: UnixTime::from_secs(1),
        status: SessionStatus::Exited,
        errors: 1,
        duration: Some(Duration::from_secs(1)),
        user_agent: "a",
        ip_address: None,
    };
    let check_in = CheckIn {
        monitor: "nightly",
        status: CheckInStatus::Ok,
        id: None,
        duration: Some(Duration::from_secs(1)),
        config: Some(Monitor {
            schedule: Schedule::Every(1, Interval::Day),
            checkin_margin: 1,
            max_runtime: 1,
            timezone: "UTC",
            failure_issue_threshold: 1,
            recovery_threshold: 1,
        }),
        trace_id: Some(trace_id),
    };
    let envelope = b"{}\n{\"type\":\"event\",\"length\":2}\n{}\n{\"type\":\"session\",\"length\":2}\n{}\n";
    let item = b"{\"type\":\"feedback\",\"length\":2}\n{}";
    let span_events = [SpanEvent {
        time_unix_nanos: 1,
        name: "e",
        attributes: &facts,
        dropped_attributes: 0,
    }];
    let links = [Link {
        trace_id,
        span_id,
        trace_state: "a=b",
        attributes: &facts,
        dropped_attributes: 0,
        flags: 0,
    }];
    let span = Span {
        attributes: &facts,
        events: &span_events,
        links: &links,
        status: Status::Error { message: "no" },
        ..Span::new(trace_id, span_id, "work")
    };
    let record = LogRecord {
        severity: Some(Severity::INFO),
        body: AnyValue::Map(&facts),
        attributes: &facts,
        trace_id: Some(trace_id),
        ..LogRecord::default()
    };
    let mut results = Vec::with_capacity(16);
    let mut count = |name, call: &mut dyn FnMut() -> Outcome| {
        let mut outcome = Outcome::Queued;
        let made = allocations(|| outcome = call());
        results.push((name, made, outcome));
    };
    count("event", &mut || client.event(&event).outcome);
    count("transaction", &mut || client.transaction(&transaction).outcome);
    count("log", &mut || client.log(&log));
    count("session", &mut || client.session(&session));
    count("check-in", &mut || client.check_in(&check_in).outcome);
    count("envelope", &mut || client.envelope(envelope).unwrap());
    count("item", &mut || client.item(item).unwrap());
    count("OTLP span", &mut || client.otlp_span(&span));
    count("OTLP log", &mut || client.otlp_log(&record));
    count("OTLP request", &mut || {
        client.otlp_request(Signal::Metrics, 1, &[])
    });
    count("sampling", &mut || {
        if client.sample_root(&trace_id) {
            Outcome::Queued
        } else {
            Outcome::Dropped(DropReason::SampleRate)
        }
    });
    results
}

#[test]
fn no_record_call_allocates() {
    assert!(allocations(|| drop(Box::new(1))) > 0, "the counter counts");
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .otlp_endpoint(&server.url(""))
        .release("r")
        .environment_proxies(false)
        .build()
        .unwrap();
    // The first call of a process starts the thread, which allocates.
    assert!(client.start());
    for round in 0..50 {
        for (name, made, outcome) in record_all(&client) {
            assert_eq!((made, outcome), (0, Outcome::Queued), "{name}, round {round}");
        }
    }
    assert!(client.flush(Duration::from_secs(60)).complete);
    let _ = client.close(Duration::from_secs(60));
    for (name, made, outcome) in record_all(&client) {
        assert_eq!(
            (made, outcome == Outcome::Queued),
            (0, name == "sampling"),
            "{name}, closed: {outcome:?}"
        );
    }
}

/// What the `sentry` crate allocates to capture is its own; handing the envelope over adds nothing.
#[cfg(feature = "sentry")]
#[test]
fn an_envelope_of_the_sentry_crate_costs_no_allocation() {
    use sentry::protocol::{self, Context, Exception, Frame, Stacktrace, TraceContext};
    use sentry::{ClientOptions, Envelope, TransportFactory as _, TransportOptions};

    let server = Server::start(|_, _| Reply::ok());
    let options = ClientOptions::new().dsn(server.dsn().as_str());
    let options = TransportOptions::try_from_client_options(&options).expect("there is a DSN");
    let transport = surgetank::sentry::transport().create_transport_with_options(options);
    let event = || -> Envelope {
        let frame = Frame {
            instruction_addr: Some(0xabc_u64.into()),
            ..Frame::default()
        };
        let exception = Exception {
            ty: "CardError".to_owned(),
            value: Some("declined".to_owned()),
            stacktrace: Some(Stacktrace {
                frames: vec![frame; 3],
                ..Stacktrace::default()
            }),
            ..Exception::default()
        };
        protocol::Event {
            exception: vec![exception].into(),
            release: Some("shop@1.0".into()),
            tags: [("shop".to_owned(), "42".to_owned())].into(),
            ..protocol::Event::default()
        }
        .into()
    };
    let transaction = || -> Envelope {
        let span = || protocol::Span {
            op: Some("db".to_owned()),
            description: Some("SELECT 1".to_owned()),
            ..protocol::Span::default()
        };
        protocol::Transaction {
            name: Some("GET /".to_owned()),
            spans: (0..10).map(|_| span()).collect(),
            contexts: [("trace".to_owned(), Context::from(TraceContext::default()))].into(),
            ..protocol::Transaction::default()
        }
        .into()
    };
    for make in [&event as &dyn Fn() -> Envelope, &transaction] {
        // The first starts the thread and makes its buffers.
        for _ in 0..3 {
            transport.send_envelope(make());
        }
        let envelope = make();
        assert_eq!(allocations(|| transport.send_envelope(envelope)), 0);
    }
    assert!(transport.shutdown(Duration::from_secs(60)));
}
