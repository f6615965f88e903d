//! Spans of the SDK as Sentry transactions, at a real server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};
use surgetank::opentelemetry::{Sampler, SpanProcessor};
use surgetank::{Category, Client, ClientBuilder, DropReason};

use crate::PATIENT;
use crate::support::envelope::{Envelope, parse};
use crate::support::{Reply, Server};

pub(crate) fn sentry(server: &Server) -> ClientBuilder {
    Client::builder()
        .sentry_dsn(&server.dsn())
        .release("shop@1")
        .environment("prod")
        .server_name("web-1")
        .environment_proxies(false)
        .compression(surgetank::Compression::None)
}

fn provider(client: &Client) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(client))
        .build()
}

/// The envelopes that arrived, with the payload of their one item.
pub(crate) fn envelopes(server: &Server) -> Vec<(Envelope, Value)> {
    let requests = server.requests();
    let envelopes = requests.iter().map(|request| parse(&request.body));
    envelopes
        .filter(|envelope| envelope.items[0].kind() != "client_report")
        .map(|envelope| {
            let payload = envelope.items[0].json();
            (envelope, payload)
        })
        .collect()
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis)
}

fn remote(trace: u128, flags: TraceFlags, state: &str) -> Context {
    let caller = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(0xca11),
        flags,
        true,
        state.parse().expect("a trace state"),
    );
    Context::new().with_remote_span_context(caller)
}

#[test]
fn a_root_leaves_with_what_is_below_it_as_one_transaction() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "shop"),
            KeyValue::new("cloud.region", "eu"),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let tracer = provider.tracer("t");
    let linked = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let root = tracer.build_with_context(
        SpanBuilder::from_name("GET /cart/{id}")
            .with_kind(SpanKind::Server)
            .with_start_time(at(0))
            .with_attributes([
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("http.route", "/cart/{id}"),
                KeyValue::new("http.response.status_code", 404),
            ])
            .with_links(vec![Link::new(linked, vec![KeyValue::new("why", "batch")], 0)]),
        &Context::new(),
    );
    let root_id = root.span_context().span_id();
    let trace_id = root.span_context().trace_id();
    let context = Context::new().with_span(root);
    let mut query = tracer.build_with_context(
        SpanBuilder::from_name("query")
            .with_kind(SpanKind::Client)
            .with_start_time(at(10))
            .with_attributes([
                KeyValue::new("db.system.name", "postgresql"),
                KeyValue::new("db.query.text", "SELECT \"1\""),
            ]),
        &context,
    );
    query.set_status(Status::error("deadline_exceeded"));
    let query_id = query.span_context().span_id();
    query.end_with_timestamp(at(20));
    context.span().add_event(
        "first_byte",
        vec![
            KeyValue::new("sentry.measurement_value", 1.5),
            KeyValue::new("sentry.measurement_unit", "millisecond"),
        ],
    );
    context.span().end_with_timestamp(at(250));
    assert!(client.flush(PATIENT).complete);

    let all = envelopes(&server);
    assert_eq!(all.len(), 1);
    let (envelope, event) = &all[0];
    let ids = |id: SpanId| (trace_id.to_string(), id.to_string());
    assert_eq!(envelope.header["event_id"], event["event_id"]);
    assert_eq!(
        envelope.header["trace"],
        json!({
            "trace_id": trace_id.to_string(),
            "public_key": "0123456789abcdef0123456789abcdef",
            "release": "shop@1",
            "environment": "prod",
            "transaction": "GET /cart/{id}",
            "sampled": "true",
        })
    );
    let mut event = event.clone();
    event["event_id"].take();
    event["sdk"].take();
    assert_eq!(
        event,
        json!({
            "event_id": null, "sdk": null,
            "type": "transaction",
            "transaction": "GET /cart/{id}",
            "transaction_info": {"source": "route"},
            "start_timestamp": 1_700_000_000.0,
            "timestamp": 1_700_000_000.25,
            "contexts": {
                "trace": {
                    "trace_id": ids(root_id).0, "span_id": ids(root_id).1,
                    "op": "http.server", "status": "not_found", "origin": "auto.otel",
                    "data": {
                        "http.request.method": "GET", "http.route": "/cart/{id}",
                        "http.response.status_code": 404, "otel.kind": "SERVER",
                    },
                    "links": [{
                        "trace_id": "00000000000000000000000000000007", "span_id": "0000000000000008",
                        "sampled": true, "attributes": {"why": "batch"},
                    }],
                },
                "otel": {"resource": {"service.name": "shop", "cloud.region": "eu"}},
            },
            "measurements": {"first_byte": {"value": 1.5, "unit": "millisecond"}},
            "spans": [{
                "trace_id": ids(query_id).0, "span_id": ids(query_id).1, "parent_span_id": ids(root_id).1,
                "description": "SELECT \"1\"",
                "op": "db", "status": "deadline_exceeded", "origin": "auto.otel",
                "data": {
                    "db.system.name": "postgresql", "db.query.text": "SELECT \"1\"", "otel.kind": "CLIENT",
                },
                "start_timestamp": 1_700_000_000.01, "timestamp": 1_700_000_000.02,
            }],
            "release": "shop@1", "environment": "prod", "server_name": "web-1", "platform": "native",
        })
    );
    let totals = client.status().totals;
    for (category, quantity) in [(Category::Transaction, 1), (Category::Span, 2)] {
        let sums = totals.of(category);
        assert_eq!(
            (sums.recorded, sums.delivered),
            (quantity, quantity),
            "{category:?}"
        );
    }
}

#[test]
fn traces_at_once_and_on_several_threads_do_not_mix() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let provider = provider(&client);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tracer = provider.tracer("t");
            scope.spawn(move || {
                for number in 0..20 {
                    tracer.in_span(format!("root {thread} {number}"), |root| {
                        tracer.in_span("a", |_| tracer.in_span("b", |_| {}));
                        let moved = (root.clone(), tracer.clone());
                        std::thread::spawn(move || moved.1.start_with_context("c", &moved.0).end())
                            .join()
                            .expect("it ends");
                    });
                }
            });
        }
    });
    assert!(client.flush(PATIENT).complete);
    let all = envelopes(&server);
    assert_eq!(all.len(), 80);
    for (_, event) in &all {
        let trace = &event["contexts"]["trace"];
        let spans = event["spans"].as_array().expect("spans");
        let mut names: Vec<_> = spans.iter().map(|span| span["description"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, [Some("a"), Some("b"), Some("c")]);
        for span in spans {
            assert_eq!(span["trace_id"], trace["trace_id"]);
            let parent = match span["description"].as_str() {
                Some("b") => &spans.iter().find(|span| span["description"] == "a").expect("a")["span_id"],
                _ => &trace["span_id"],
            };
            assert_eq!(&span["parent_span_id"], parent);
        }
    }
    assert_eq!(client.status().totals.of(Category::Span).delivered, 320);
    assert_eq!(client.status().assembly.used_bytes, 0);
}

#[test]
fn a_caller_elsewhere_makes_a_root_with_a_parent() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let provider = provider(&client);
    let tracer = provider.tracer("t");
    let context = remote(5, TraceFlags::SAMPLED, "ot=th:8");
    tracer
        .build_with_context(SpanBuilder::from_name("one"), &context)
        .end();
    // A second entry into the same program is a root of its own.
    tracer
        .build_with_context(SpanBuilder::from_name("two"), &context)
        .end();
    let unsampled = remote(6, TraceFlags::NOT_SAMPLED, "");
    tracer
        .build_with_context(SpanBuilder::from_name("three"), &unsampled)
        .end();
    assert!(client.flush(PATIENT).complete);
    let all = envelopes(&server);
    let mut names: Vec<_> = all
        .iter()
        .map(|(_, event)| event["transaction"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, [Some("one"), Some("two")]);
    for (envelope, event) in &all {
        assert_eq!(event["contexts"]["trace"]["parent_span_id"], "000000000000ca11");
        assert_eq!(envelope.header["trace"]["sample_rate"], "0.5");
        assert_eq!(envelope.header["trace"]["sample_rand"], "0.999999");
    }
}

#[test]
fn exceptions_become_errors_on_their_span() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let provider = provider(&client);
    let tracer = provider.tracer("t");
    let mut span = tracer.start("work");
    let (trace_id, span_id) = (span.span_context().trace_id(), span.span_context().span_id());
    span.add_event_with_timestamp(
        "exception",
        at(5),
        vec![
            KeyValue::new("exception.type", "CardError"),
            KeyValue::new("exception.message", "declined"),
            KeyValue::new("exception.stacktrace", "0: pay"),
            KeyValue::new("exception.escaped", true),
        ],
    );
    span.add_event("exception", vec![KeyValue::new("exception.message", "bare")]);
    span.add_event("something else", Vec::new());
    span.end();
    let mut quiet = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client).with_exceptions(false))
        .build()
        .tracer("t")
        .start("quiet");
    quiet.add_event(
        "exception",
        vec![KeyValue::new("exception.message", "captured elsewhere")],
    );
    quiet.end();
    assert!(client.flush(PATIENT).complete);
    let all = envelopes(&server);
    assert_eq!(
        all.iter()
            .filter(|(_, event)| event["type"] == "transaction")
            .count(),
        2
    );
    let errors: Vec<_> = all
        .iter()
        .filter(|(envelope, _)| envelope.items[0].kind() == "event")
        .collect();
    assert_eq!(errors.len(), 2);
    let full = errors
        .iter()
        .find(|(_, event)| event["timestamp"] == 1_700_000_000.005)
        .expect("the first");
    assert_eq!(full.0.header["event_id"], full.1["event_id"]);
    assert_eq!(
        full.1["exception"]["values"],
        json!([{
            "type": "CardError", "value": "declined",
            "mechanism": {"type": "auto.otel", "handled": false},
        }])
    );
    assert_eq!(
        full.1["contexts"]["trace"],
        json!({"trace_id": trace_id.to_string(), "span_id": span_id.to_string()})
    );
    assert_eq!(
        full.1["contexts"]["otel"]["attributes"]["exception.stacktrace"],
        "0: pay"
    );
    assert_eq!(
        (&full.1["level"], &full.1["release"]),
        (&json!("error"), &json!("shop@1"))
    );
    let bare = errors
        .iter()
        .find(|(_, event)| event["exception"]["values"][0]["value"] == "bare")
        .expect("the second");
    assert_eq!(bare.1["exception"]["values"][0]["mechanism"]["handled"], true);
    assert_eq!(client.status().totals.of(Category::Error).delivered, 2);
}

#[test]
fn requests_to_sentry_itself_are_left_out_and_counted() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let provider = provider(&client);
    let tracer = provider.tracer("t");
    for (url, kind) in [
        (server.url("/api/42/envelope/"), SpanKind::Client),
        (server.url("/api/43/envelope/"), SpanKind::Client),
        (server.url("/api/42/envelope/"), SpanKind::Server),
    ] {
        let builder = SpanBuilder::from_name("request")
            .with_kind(kind)
            .with_attributes([KeyValue::new("url.full", url)]);
        tracer.build_with_context(builder, &Context::new()).end();
    }
    assert!(client.flush(PATIENT).complete);
    assert_eq!(envelopes(&server).len(), 2);
    let totals = client.status().totals;
    assert_eq!(totals.dropped(Category::Transaction, DropReason::Ignored), 1);
}

#[test]
fn what_never_becomes_part_of_a_transaction_is_counted_at_the_end() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let provider = provider(&client);
    let tracer = provider.tracer("t");
    let root = Context::new().with_span(tracer.start("root"));
    let mut late = tracer.start_with_context("late", &root);
    tracer.start_with_context("in time", &root).end();
    root.span().end();
    late.end();
    assert!(client.flush(PATIENT).complete);
    assert_eq!(envelopes(&server)[0].1["spans"].as_array().map(Vec::len), Some(1));
    assert!(client.status().assembly.used_bytes > 0, "it waits");
    assert!(!client.close(PATIENT).complete, "something was left");
    let totals = client.status().totals;
    assert_eq!(totals.dropped(Category::Span, DropReason::Closed), 1);
    let spans = totals.of(Category::Span);
    assert_eq!((spans.recorded, spans.delivered, spans.dropped), (3, 2, 1));
    tracer.start("after").end();
    assert_eq!(
        client
            .status()
            .totals
            .dropped(Category::Transaction, DropReason::Closed),
        1
    );
}

#[test]
fn a_limit_on_transactions_takes_what_waits_with_it() {
    let server = Server::start(|_, number| {
        let reply = Reply::ok();
        match number {
            0 => reply.with("X-Sentry-Rate-Limits", "600:transaction:key"),
            _ => reply,
        }
    });
    let client = sentry(&server).build().expect("a client");
    let provider = provider(&client);
    let tracer = provider.tracer("t");
    let root = Context::new().with_span(tracer.start("root"));
    tracer.start_with_context("child", &root).end();
    tracer.start("other").end();
    assert!(client.flush(PATIENT).complete);
    assert_eq!(envelopes(&server).len(), 1);
    root.span().end();
    assert!(client.flush(PATIENT).complete);
    let status = client.status();
    assert_eq!(
        status
            .totals
            .dropped(Category::Transaction, DropReason::RatelimitBackoff),
        1
    );
    assert_eq!(
        status
            .totals
            .dropped(Category::Span, DropReason::RatelimitBackoff),
        2
    );
    assert_eq!(status.assembly.used_bytes, 0);
    assert_eq!(envelopes(&server).len(), 1, "nothing was sent that must not be");
}

#[test]
fn roots_are_sampled_by_the_clients_rate_and_say_so() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server)
        .traces_sample_rate(0.25)
        .build()
        .expect("a client");
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::new(&client))
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let tracer = provider.tracer("t");
    for _ in 0..400 {
        tracer.in_span("root", |_| tracer.in_span("child", |_| {}));
    }
    assert!(client.flush(PATIENT).complete);
    let all = envelopes(&server);
    assert!((50..150).contains(&all.len()), "{}", all.len());
    for (envelope, event) in &all {
        let trace = &envelope.header["trace"];
        assert_eq!(trace["sample_rate"], "0.25");
        let random: f64 = trace["sample_rand"]
            .as_str()
            .expect("text")
            .parse()
            .expect("a number");
        assert!((0.0..0.25).contains(&random), "{random}");
        assert_eq!(event["spans"].as_array().map(Vec::len), Some(1));
    }
    let totals = client.status().totals;
    let lost = 400 - all.len() as u64;
    for category in [Category::Transaction, Category::Span] {
        assert_eq!(
            totals.dropped(category, DropReason::SampleRate),
            lost,
            "{category:?}"
        );
    }
}

#[test]
fn with_both_protocols_spans_go_where_they_are_told() {
    for (told, transactions) in [(None, 0), (Some(true), 1), (Some(false), 0)] {
        let (server, collector) = (
            Server::start(|_, _| Reply::ok()),
            Server::start(|_, _| Reply::ok()),
        );
        let client = sentry(&server)
            .otlp_endpoint(&collector.url(""))
            .build()
            .expect("a client");
        let processor = SpanProcessor::new(&client);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(match told {
                Some(told) => processor.with_transactions(told),
                None => processor,
            })
            .build();
        provider.tracer("t").in_span("root", |_| {});
        assert!(client.flush(PATIENT).complete);
        assert_eq!(envelopes(&server).len(), transactions, "{told:?}");
        assert_eq!(collector.requests().len(), 1, "{told:?}");
    }
}
