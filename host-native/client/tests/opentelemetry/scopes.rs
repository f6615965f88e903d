//! No record is labelled with another one's resource or scope, and each stands once per request.

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use surgetank::opentelemetry::{LogProcessor, SpanProcessor};
use surgetank::{Client, otlp};

use crate::decoded::{logs, spans};
use crate::support::{Reply, Server};
use crate::{PATIENT, builder};

fn service(name: &str) -> Resource {
    Resource::builder_empty()
        .with_service_name(name.to_owned())
        .build()
}

fn tracers(client: &Client, name: &str) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(service(name))
        .with_span_processor(SpanProcessor::new(client))
        .build()
}

#[test]
fn spans_of_many_scopes_and_two_providers_share_requests_and_keep_their_labels() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).service_name("own").build().expect("a client");
    let providers = [tracers(&client, "one"), tracers(&client, "two")];
    for round in 0..10 {
        for (number, provider) in providers.iter().enumerate() {
            for scope in 0..5 {
                let scope = format!("scope {scope}");
                let tracer = provider.tracer(scope.clone());
                tracer.in_span(format!("{number}, {scope}, {round}"), |_| {});
            }
        }
        let span = otlp::Span::new(client.new_trace_id(), client.new_span_id(), "own");
        let _ = client.otlp_span(&span);
    }
    assert!(client.close(PATIENT).complete);
    let requests = server.requests();
    let all = spans(requests.iter().map(|request| request.body.as_slice()));
    assert_eq!(all.len(), 10 * (2 * 5 + 1));
    for whole in all {
        let service = whole
            .resource
            .attributes
            .iter()
            .find(|fact| fact.key == "service.name");
        let value = service
            .and_then(|fact| fact.value.clone())
            .and_then(|value| value.value);
        let from = match whole.record.name.as_bytes()[0] {
            b'0' => "one",
            b'1' => "two",
            _ => "own",
        };
        let expected = opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(from.to_owned());
        assert_eq!(value, Some(expected), "{}", whole.record.name);
        let scope = whole.record.name.split(", ").nth(1).unwrap_or("surgetank");
        assert_eq!(whole.scope.name, scope, "{}", whole.record.name);
    }
    for request in requests {
        let request = ExportTraceServiceRequest::decode(request.body.as_slice()).expect("a request");
        let mut resources: Vec<_> = request.resource_spans.iter().map(|part| &part.resource).collect();
        assert!(resources.len() <= 3);
        resources.dedup();
        assert_eq!(
            resources.len(),
            request.resource_spans.len(),
            "each resource once"
        );
        for part in request.resource_spans {
            let mut names: Vec<_> = part
                .scope_spans
                .iter()
                .map(|scope| scope.scope.as_ref().map(|scope| scope.name.clone()))
                .collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "each scope once");
        }
    }
}

#[test]
fn scopes_of_one_name_that_differ_in_anything_else_are_kept_apart() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let provider = tracers(&client, "apart");
    for _ in 0..3 {
        for (version, schema, fact) in [
            (None, None, None),
            (Some("1"), None, None),
            (Some("2"), None, None),
            (Some("1"), Some("https://example.org/1"), None),
            (Some("1"), None, Some("a")),
            (Some("1"), None, Some("b")),
        ] {
            let mut scope = InstrumentationScope::builder("library");
            if let Some(version) = version {
                scope = scope.with_version(version);
            }
            if let Some(schema) = schema {
                scope = scope.with_schema_url(schema);
            }
            if let Some(fact) = fact {
                scope = scope.with_attributes([KeyValue::new(fact, true)]);
            }
            let name = [version, schema, fact].map(Option::unwrap_or_default).join(" ");
            let tracer = provider.tracer_with_scope(scope.build());
            tracer.in_span(name, |_| {});
        }
    }
    assert!(client.close(PATIENT).complete);
    let requests = server.requests();
    let all = spans(requests.iter().map(|request| request.body.as_slice()));
    assert_eq!(all.len(), 3 * 6);
    for whole in all {
        let facts = whole.scope.attributes.iter().map(|fact| fact.key.as_str());
        let label = [
            whole.scope.version.clone(),
            whole.scope_schema.clone(),
            facts.collect(),
        ]
        .join(" ");
        assert_eq!(whole.record.name, label);
    }
}

#[test]
fn more_scopes_than_are_kept_and_a_large_one_are_labelled_truly_all_the_same() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let provider = tracers(&client, "many");
    let large = "x".repeat(10_000);
    for _ in 0..2 {
        for number in 0..100 {
            let scope = InstrumentationScope::builder(format!("scope {number}"))
                .with_schema_url(format!("https://example.org/{number}"))
                .build();
            let tracer = provider.tracer_with_scope(scope);
            tracer.in_span(number.to_string(), |_| {});
        }
        let scope = InstrumentationScope::builder("scope large")
            .with_attributes([KeyValue::new("a", large.clone())])
            .build();
        provider.tracer_with_scope(scope).in_span("large", |_| {});
    }
    assert!(client.close(PATIENT).complete);
    let requests = server.requests();
    let all = spans(requests.iter().map(|request| request.body.as_slice()));
    assert_eq!(all.len(), 2 * 101);
    for whole in all {
        let name = &whole.record.name;
        assert_eq!(whole.scope.name, format!("scope {name}"));
        if name == "large" {
            assert_eq!(whole.scope.attributes.len(), 1);
        } else {
            assert_eq!(whole.scope_schema, format!("https://example.org/{name}"));
        }
        assert_eq!(whole.resource.attributes.len(), 1);
    }
}

#[test]
fn a_target_is_the_name_of_a_logs_scope_and_nothing_else_of_it() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let provider = SdkLoggerProvider::builder()
        .with_resource(service("logs"))
        .with_log_processor(LogProcessor::new(&client))
        .build();
    let scope = InstrumentationScope::builder("bridge").with_version("2").build();
    let logger = provider.logger_with_scope(scope);
    for target in [None, Some("app::db"), Some("app::web"), None, Some("app::db")] {
        let mut record = logger.create_log_record();
        record.set_body(target.unwrap_or("bridge").into());
        if let Some(target) = target {
            record.set_target(target);
        }
        logger.emit(record);
    }
    assert!(client.close(PATIENT).complete);
    let requests = server.requests();
    let all = logs(requests.iter().map(|request| request.body.as_slice()));
    assert_eq!(all.len(), 5);
    for whole in all {
        let body = whole.record.body.and_then(|body| body.value);
        let expected =
            opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(whole.scope.name);
        assert_eq!(body, Some(expected));
        assert_eq!(whole.scope.version, "2");
    }
}
