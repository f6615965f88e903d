//! What arrives is what the SDK's own OTLP exporter sends of the same spans and logs.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use surgetank::opentelemetry::{LogProcessor, SpanProcessor};

use crate::decoded::{logs, spans};
use crate::support::{Reply, Server};
use crate::{PATIENT, builder};

/// What the SDK's exporter sends, kept instead of sent.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Bytes>>>);

impl HttpClient for Kept {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        self.0.lock().expect("not poisoned").push(request.into_body());
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}

fn resource() -> Resource {
    Resource::builder_empty()
        .with_schema_url(
            [
                KeyValue::new("service.name", "shop"),
                KeyValue::new("service.instances", 3),
                KeyValue::new("zones", Value::Array(Array::String(vec!["a".into(), "b".into()]))),
            ],
            "https://opentelemetry.io/schemas/1.30.0",
        )
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("library")
        .with_version("1.2.3")
        .with_schema_url("https://opentelemetry.io/schemas/1.31.0")
        .with_attributes([KeyValue::new("experimental", true)])
        .build()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(1_700_000_000 + seconds, 123_456_789)
}

fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("text", "a \"quoted\" ünïcode text"),
        KeyValue::new("long", "x".repeat(300)),
        KeyValue::new("empty", ""),
        KeyValue::new("int", -7),
        KeyValue::new("large", i64::MAX),
        KeyValue::new("double", 0.25),
        KeyValue::new("not a number", f64::INFINITY),
        KeyValue::new("bool", false),
        KeyValue::new("bools", Value::Array(Array::Bool(vec![true, false]))),
        KeyValue::new("ints", Value::Array(Array::I64(vec![1, -1, 1 << 40]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![0.5, -0.0]))),
        KeyValue::new("texts", Value::Array(Array::String(vec!["x".into(), "".into()]))),
        KeyValue::new("none", Value::Array(Array::I64(vec![]))),
    ]
}

fn context(id: u64, flags: TraceFlags, remote: bool, state: &str) -> SpanContext {
    SpanContext::new(
        TraceId::from(u128::from(id) << 70 | 5),
        SpanId::from(id),
        flags,
        remote,
        state.parse::<TraceState>().expect("a trace state"),
    )
}

#[test]
fn spans_arrive_as_the_sdks_exporter_sends_them() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let kept = Kept::default();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(kept.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint("http://127.0.0.1:9/v1/traces")
        .build()
        .expect("an exporter");
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_max_attributes_per_span(14)
        .with_max_events_per_span(3)
        .with_max_links_per_span(3)
        .with_max_attributes_per_event(13)
        .with_max_attributes_per_link(13)
        .with_span_processor(SpanProcessor::new(&client))
        .with_simple_exporter(exporter)
        .build();
    for tracer in [
        provider.tracer_with_scope(scope()),
        provider.tracer("plain"),
        provider.tracer(""),
    ] {
        // Nothing set.
        tracer.build(SpanBuilder::from_name("")).end();
        // A root with a child that fails.
        let root = tracer.start("GET /");
        let context_of_root = Context::new().with_span(root);
        let mut child = tracer.build_with_context(
            SpanBuilder::from_name("child").with_kind(SpanKind::Client),
            &context_of_root,
        );
        child.set_status(Status::error("no such table"));
        child.end();
        context_of_root.span().set_status(Status::Ok);
        context_of_root.span().end();
        // A remote parent with a trace state, and more of everything than is kept.
        for (kind, flags) in [
            (SpanKind::Server, TraceFlags::SAMPLED),
            (SpanKind::Producer, TraceFlags::new(0x03)),
            (SpanKind::Consumer, TraceFlags::SAMPLED),
            (SpanKind::Internal, TraceFlags::SAMPLED),
        ] {
            let parent = context(77, flags, true, "ot=th:8;rv:0123456789abcd,vendor=x");
            let links = vec![
                Link::new(context(78, TraceFlags::SAMPLED, false, ""), Vec::new(), 0),
                Link::new(context(79, TraceFlags::NOT_SAMPLED, true, "a=b"), attributes(), 0),
                Link::with_context(context(80, TraceFlags::NOT_SAMPLED, true, "")),
                Link::with_context(context(81, TraceFlags::NOT_SAMPLED, true, "")),
            ];
            let builder = SpanBuilder::from_name("full")
                .with_kind(kind)
                .with_start_time(at(1))
                .with_attributes(attributes())
                .with_links(links);
            let mut span =
                tracer.build_with_context(builder, &Context::new().with_remote_span_context(parent));
            let mut many = attributes();
            many.extend([KeyValue::new("one too many", 1), KeyValue::new("two", 2)]);
            span.add_event_with_timestamp("event", at(2), many.clone());
            for number in 0..5 {
                span.add_event_with_timestamp("again", at(3 + number), Vec::new());
            }
            span.set_attributes(many);
            span.set_status(Status::error(""));
            span.end_with_timestamp(at(9));
        }
    }
    provider.force_flush().expect("in time");
    let requests = server.requests();
    let ours = spans(requests.iter().map(|request| request.body.as_slice()));
    let kept = kept.0.lock().expect("not poisoned");
    let theirs = spans(kept.iter().map(|body| body.as_ref()));
    assert_eq!(theirs.len(), 3 * 7);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    let full = ours
        .iter()
        .find(|whole| whole.record.name == "full")
        .expect("one");
    let span = &full.record;
    assert!(
        span.dropped_attributes_count > 0 && span.dropped_events_count > 0 && span.dropped_links_count > 0
    );
    assert!(span.events[0].dropped_attributes_count > 0);
}

#[test]
fn logs_arrive_as_the_sdks_exporter_sends_them() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let kept = Kept::default();
    let exporter = LogExporter::builder()
        .with_http()
        .with_http_client(kept.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint("http://127.0.0.1:9/v1/logs")
        .build()
        .expect("an exporter");
    let provider = SdkLoggerProvider::builder()
        .with_resource(resource())
        .with_log_processor(LogProcessor::new(&client))
        .with_simple_exporter(exporter)
        .build();
    let nested = AnyValue::Map(Box::new(
        [
            (
                Key::from("list"),
                AnyValue::ListAny(Box::new(vec![1.into(), "two".into(), 0.5.into()])),
            ),
            (Key::from("bytes"), AnyValue::Bytes(Box::new(vec![0, 255]))),
            (
                Key::from("map"),
                AnyValue::Map(Box::new([(Key::from("deep"), AnyValue::Boolean(true))].into())),
            ),
        ]
        .into(),
    ));
    let bodies = [
        AnyValue::from("a line"),
        AnyValue::from(-1),
        AnyValue::from(1.5),
        AnyValue::from(false),
        AnyValue::Bytes(Box::new(b"\x00\xff".to_vec())),
        AnyValue::ListAny(Box::new(vec![nested.clone(), 3.into()])),
        nested.clone(),
    ];
    let severities = [
        Severity::Trace,
        Severity::Debug4,
        Severity::Info,
        Severity::Warn2,
        Severity::Fatal4,
    ];
    let mut time = 0;
    for logger in [provider.logger_with_scope(scope()), provider.logger("plain")] {
        for (number, body) in bodies.iter().enumerate() {
            let mut record = logger.create_log_record();
            time += 1;
            record.set_timestamp(at(time));
            record.set_body(body.clone());
            record.set_severity_number(severities[number % severities.len()]);
            record.set_severity_text("LEVEL");
            record.set_event_name("ready");
            record.add_attribute("value", body.clone());
            record.add_attribute("nested", nested.clone());
            if number % 2 == 0 {
                record.set_target(["app::db", "app::web"][number / 2 % 2]);
            }
            if number % 3 == 0 {
                record.set_trace_context(TraceId::from(7), SpanId::from(8), Some(TraceFlags::SAMPLED));
            }
            logger.emit(record);
        }
        let mut bare = logger.create_log_record();
        time += 1;
        bare.set_timestamp(at(time));
        logger.emit(bare);
    }
    provider.shutdown_with_timeout(PATIENT).expect("in time");
    let requests = server.requests();
    let ours = logs(requests.iter().map(|request| request.body.as_slice()));
    let kept = kept.0.lock().expect("not poisoned");
    let theirs = logs(kept.iter().map(|body| body.as_ref()));
    assert_eq!(theirs.len(), 2 * 8);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}
