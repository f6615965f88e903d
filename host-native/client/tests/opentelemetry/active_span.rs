//! What is recorded on spans of the OpenTelemetry SDK by others: by the `sentry` crate, and by the client's own calls.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use sentry::Hub;
use serde_json::Value;
use surgetank::opentelemetry::SpanProcessor;
use surgetank::otlp::{LogRecord, SpanId, TraceId};
use surgetank::sentry::{ActiveSpan, Event, Level, Log, SentryTransport, TraceContext};
use surgetank::{Client, ClientBuilder};

use crate::PATIENT;
use crate::decoded::logs;
use crate::support::{Reply, Server};
use crate::transactions::envelopes;

fn builder() -> ClientBuilder {
    Client::builder()
        .environment_proxies(false)
        .compression(surgetank::Compression::None)
}

/// A hub whose client has the integration and, after that, what `more` sets; and the client below it.
fn hub(server: &Server, more: impl FnOnce(sentry::ClientOptions) -> sentry::ClientOptions) -> (Hub, Client) {
    let transport = SentryTransport::new(builder());
    let options = sentry::ClientOptions::new()
        .dsn(server.dsn().as_str())
        .add_integration(ActiveSpan)
        .transport(transport.clone());
    let options = sentry::apply_defaults(more(options));
    let hub = Hub::new(Some(Arc::new(sentry::Client::from(options))), Arc::default());
    (hub, transport.client().expect("a client"))
}

/// Trace and span, in hexadecimal.
fn ids(context: &Context) -> [Value; 2] {
    let span = context.span();
    let span = span.span_context();
    [
        span.trace_id().to_string().into(),
        span.span_id().to_string().into(),
    ]
}

/// Elements of the containers of that kind that arrived, by `key`.
fn element<'a>(all: &'a [Value], key: &str, value: &str) -> &'a Value {
    let mut elements = all.iter().filter_map(|item| item["items"].as_array()).flatten();
    elements
        .find(|element| element[key] == value)
        .expect("it arrived")
}

#[test]
fn an_event_belongs_to_the_span_that_is_active() {
    let server = Server::start(|_, _| Reply::ok());
    let (hub, client) = hub(&server, |options| options);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let tracer = provider.tracer("t");
    let capture = |message: &str| hub.capture_message(message, sentry::Level::Error);
    let ids = tracer.in_span("root", |root| {
        tracer.in_span("child", |context| {
            capture("inside");
            let span = context.span();
            let root = root.span();
            let (span, root) = (span.span_context(), root.span_context());
            [
                span.trace_id().to_string(),
                span.span_id().to_string(),
                root.span_id().to_string(),
            ]
        })
    });
    capture("outside");
    assert!(client.flush(PATIENT).complete);
    let all = envelopes(&server);
    let trace_of = |message: &str| {
        let event = all.iter().find(|(_, event)| event["message"] == message);
        event.expect("it arrived").1["contexts"]["trace"].clone()
    };
    let inside = trace_of("inside");
    assert_eq!(
        (&inside["trace_id"], &inside["span_id"]),
        (&ids[0].clone().into(), &ids[1].clone().into())
    );
    assert_ne!(trace_of("outside")["trace_id"], inside["trace_id"]);
    let (_, root) = all
        .iter()
        .find(|(_, event)| event["type"] == "transaction")
        .expect("it arrived");
    assert_eq!(root["contexts"]["trace"]["span_id"], ids[2]);
    assert_eq!(root["contexts"]["trace"]["trace_id"], ids[0]);
}

#[test]
fn logs_and_metrics_of_the_crate_belong_to_the_span_that_is_active() {
    let server = Server::start(|_, _| Reply::ok());
    // What the program filters with sees the trace already, and is asked all the same.
    let (hub, _client) = hub(&server, |options| {
        options
            .before_send_log(|mut log| {
                log.body = format!("{} {}", log.body, log.trace_id.expect("a trace"));
                (!log.body.starts_with("secret")).then_some(log)
            })
            .before_send_metric(|metric| (metric.name != "secret").then_some(metric))
    });
    let hub = Arc::new(hub);
    let provider = SdkTracerProvider::builder().build();
    let capture = |name: &'static str| {
        Hub::run(Arc::clone(&hub), || {
            Hub::current().capture_log(sentry::protocol::Log {
                level: sentry::protocol::LogLevel::Info,
                body: name.to_owned(),
                trace_id: None,
                timestamp: std::time::UNIX_EPOCH,
                severity_number: None,
                attributes: [("tag".to_owned(), 1.into())].into(),
            });
            sentry::metrics::counter(name, 1).capture();
        });
    };
    let active = provider.tracer("t").in_span("root", |context| {
        capture("inside");
        capture("secret");
        ids(&context)
    });
    capture("outside");
    let in_own_span = Hub::run(Arc::clone(&hub), || {
        let transaction = sentry::start_transaction(sentry::TransactionContext::new("own", "test"));
        hub.configure_scope(|scope| scope.set_span(Some(transaction.into())));
        provider.tracer("t").in_span("both", |context| {
            capture("both");
            ids(&context)
        })
    });
    assert!(hub.client().expect("it has one").flush(Some(PATIENT)));
    let all: Vec<Value> = envelopes(&server)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    for (name, [trace, span]) in [("inside", &active), ("both", &in_own_span)] {
        let log = element(&all, "body", &format!("{name} {}", trace.as_str().expect("text")));
        assert_eq!(log["trace_id"], *trace, "{log}");
        assert_eq!(
            log["attributes"]["sentry.trace.parent_span_id"]["value"], *span,
            "{log}"
        );
        assert_eq!(
            log["attributes"].get("parent_span_id"),
            None,
            "it names a span of the crate's own"
        );
        assert_eq!(log["attributes"]["tag"]["value"], 1);
        let metric = element(&all, "name", name);
        assert_eq!((&metric["trace_id"], &metric["span_id"]), (trace, span));
    }
    let outside = element(&all, "name", "outside");
    assert_ne!(outside["trace_id"], active[0]);
    assert_eq!(outside.get("span_id"), None);
    let names = all.iter().filter_map(|item| item["items"].as_array()).flatten();
    assert_eq!(names.count(), 6, "what was filtered did not leave: {all:?}");
}

#[test]
fn what_the_clients_own_calls_record_belongs_to_the_span_that_is_active_if_that_is_wanted() {
    for wanted in [false, true] {
        let server = Server::start(|_, _| Reply::ok());
        let client = builder()
            .sentry_dsn(&server.dsn())
            .otlp_endpoint(&server.url(""))
            .active_span(wanted)
            .build()
            .expect("a client");
        let provider = SdkTracerProvider::builder().build();
        let own = (
            TraceId::new([1; 16]).expect("an id"),
            SpanId::new([2; 8]).expect("an id"),
        );
        let record = |body: &'static str, ids: Option<(TraceId, SpanId)>| {
            let trace = ids.map(|(trace_id, span_id)| TraceContext {
                trace_id,
                span_id,
                parent_span_id: None,
                op: "",
            });
            let (trace_id, span_id) = ids.unzip();
            let event = Event {
                message: body,
                trace,
                ..Event::default()
            };
            let _ = client.event(&event);
            let _ = client.log(&Log {
                body,
                trace_id,
                span_id,
                ..Log::default()
            });
            let _ = client.otlp_log(&LogRecord {
                event_name: body,
                trace_id,
                span_id,
                ..LogRecord::default()
            });
        };
        let active = provider.tracer("t").in_span("root", |context| {
            record("inside", None);
            record("named", Some(own));
            let _ = client.message(Level::Info, "message");
            ids(&context)
        });
        record("outside", None);
        assert!(client.close(PATIENT).complete);

        let requests = server.requests();
        let (otlp, sentry): (Vec<_>, Vec<_>) =
            requests.iter().partition(|request| request.path == "/v1/logs");
        let sentry: Vec<Value> = sentry
            .iter()
            .map(|request| crate::support::envelope::parse(&request.body).items[0].json())
            .collect();
        let otlp = logs(otlp.iter().map(|request| request.body.as_slice()));
        let ids_of = |body: &str| -> [[Value; 2]; 3] {
            let event = sentry.iter().find(|event| event["logentry"]["formatted"] == body);
            let trace = &event.expect("it arrived")["contexts"]["trace"];
            let log = element(&sentry, "body", body);
            let mut otlp = otlp.iter().map(|whole| &whole.record);
            let record = otlp.find(|record| record.event_name == body).expect("it arrived");
            let hex = |bytes: &[u8]| {
                Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            };
            [
                [trace["trace_id"].clone(), trace["span_id"].clone()],
                [log["trace_id"].clone(), log["span_id"].clone()],
                [hex(&record.trace_id), hex(&record.span_id)],
            ]
        };
        let named = [Value::from("01".repeat(16)), Value::from("02".repeat(8))];
        assert_eq!(ids_of("named"), [&named, &named, &named].map(Clone::clone));
        let [event, log, otlp] = ids_of("inside");
        assert_eq!(event == active, wanted);
        assert_eq!(log == active, wanted);
        assert_eq!(otlp == active, wanted);
        let [event, log, otlp] = ids_of("outside");
        assert_eq!(event, [Value::Null, Value::Null]);
        assert_eq!(log[1], Value::Null);
        assert_eq!(otlp, [Value::from(""), Value::from("")]);
        let message = sentry
            .iter()
            .find(|event| event["logentry"]["formatted"] == "message");
        let trace = &message.expect("it arrived")["contexts"]["trace"];
        assert_eq!(trace["span_id"] == active[1], wanted);
    }
}
