//! The variables of the OpenTelemetry specification reach the drop-ins through the client.

use opentelemetry::KeyValue;
use opentelemetry::logs::{Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Span as _, SpanBuilder, Tracer as _, TracerProvider as _};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use surgetank::environment::{Environment, EnvironmentError};
use surgetank::opentelemetry::{LogProcessor, Sampler, SpanProcessor};
use surgetank::{Client, ClientBuilder};

use crate::PATIENT;
use crate::decoded::spans;
use crate::support::{Reply, Server};

fn client(server: &Server, variables: &[(&str, &str)]) -> Client {
    let endpoint = server.url("");
    let environment = Environment::read(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        _ => variables
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned()),
    });
    builder(environment).build().expect("a client")
}

fn builder(environment: Result<Environment, EnvironmentError>) -> ClientBuilder {
    ClientBuilder::default()
        .with_environment(environment.expect("nothing impossible"))
        .environment_proxies(false)
}

#[test]
fn batch_sizes_headers_and_limits_are_those_of_the_environment() {
    let server = Server::start(|_, _| Reply::ok());
    let client = client(
        &server,
        &[
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=shop"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"),
        ],
    );
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let tracer = provider.tracer("t");
    for _ in 0..40 {
        let attributes = ["a", "b", "c"].map(|key| KeyValue::new(key, "länger"));
        let builder = SpanBuilder::from_name("span").with_attributes(attributes);
        tracer.build(builder).end();
    }
    provider.shutdown_with_timeout(PATIENT).expect("in time");
    let requests = server.requests();
    assert!(requests.len() >= 4);
    for request in &requests {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.header("x-team"), Some("shop"));
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        assert!(spans([request.body.as_slice()]).len() <= 10);
    }
    for whole in spans(requests.iter().map(|request| request.body.as_slice())) {
        assert_eq!(whole.record.dropped_attributes_count, 1);
        assert_eq!(whole.record.attributes.len(), 2);
        for attribute in whole.record.attributes {
            let value = attribute.value.and_then(|value| value.value);
            assert_eq!(value, Some(Value::StringValue("län".to_owned())));
        }
    }
}

#[test]
fn a_disabled_sdk_records_nothing() {
    let server = Server::start(|_, _| Reply::ok());
    records_nothing(&server, &client(&server, &[("OTEL_SDK_DISABLED", "true")]));
    let dsn = server.dsn();
    let both = [("OTEL_SDK_DISABLED", "true"), ("SENTRY_DSN", dsn.as_str())];
    records_nothing(&server, &client(&server, &both));
}

/// The SDK itself does not look at the variable.
#[test]
fn an_endpoint_in_the_program_does_not_enable_a_disabled_sdk() {
    let server = Server::start(|_, _| Reply::ok());
    let disabled = Environment::read(|name| (name == "OTEL_SDK_DISABLED").then(|| "true".to_owned()));
    let client = builder(disabled).otlp_endpoint(&server.url("")).build();
    records_nothing(&server, &client.expect("a client"));
}

fn records_nothing(server: &Server, client: &Client) {
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::new(client))
        .with_span_processor(SpanProcessor::new(client))
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_log_processor(LogProcessor::new(client))
        .build();
    provider.tracer("t").start("span").end();
    let logger = logs.logger("l");
    assert!(!logger.event_enabled(Severity::Fatal, "target", None));
    logger.emit(logger.create_log_record());
    provider
        .shutdown_with_timeout(PATIENT)
        .expect("nothing to wait for");
    logs.shutdown_with_timeout(PATIENT).expect("nothing to wait for");
    assert!(
        client
            .status()
            .totals
            .categories()
            .all(|(_, sums)| sums.recorded == 0)
    );
    assert_eq!(server.connections(), 0);
}
