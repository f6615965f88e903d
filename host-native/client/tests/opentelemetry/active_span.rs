//! Events of the `sentry` crate on spans of the OpenTelemetry SDK.

use std::sync::Arc;

use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use surgetank::Client;
use surgetank::opentelemetry::SpanProcessor;
use surgetank::sentry::{ActiveSpan, SentryTransport};

use crate::PATIENT;
use crate::support::{Reply, Server};
use crate::transactions::envelopes;

#[test]
fn an_event_belongs_to_the_span_that_is_active() {
    let server = Server::start(|_, _| Reply::ok());
    let builder = Client::builder()
        .environment_proxies(false)
        .compression(surgetank::Compression::None);
    let transport = SentryTransport::new(builder);
    let options = sentry::ClientOptions::new()
        .dsn(server.dsn().as_str())
        .add_integration(ActiveSpan)
        .transport(transport.clone());
    let hub = sentry::Hub::new(
        Some(Arc::new(sentry::Client::from(sentry::apply_defaults(options)))),
        Arc::default(),
    );
    let client = transport.client().expect("a client");
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
