//! Ending a span and emitting a log allocate nothing of ours: counted inside the processors' own calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use surgetank::Category;
use surgetank::opentelemetry::{LogProcessor, Propagator, SpanProcessor};

use crate::support::counting::allocations;
use crate::support::{Reply, Server};
use crate::transactions::sentry;
use crate::{PATIENT, builder};

/// Calls of a processor, and allocations in them.
#[derive(Clone, Debug, Default)]
struct Counts {
    calls: Arc<AtomicU64>,
    allocations: Arc<AtomicU64>,
}

impl Counts {
    fn count(&self, work: impl FnOnce()) {
        self.allocations.fetch_add(allocations(work), Ordering::Relaxed);
    }

    fn count_call(&self, work: impl FnOnce()) {
        self.count(work);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> (u64, u64) {
        (
            self.calls.swap(0, Ordering::Relaxed),
            self.allocations.swap(0, Ordering::Relaxed),
        )
    }
}

#[derive(Debug)]
struct Counted<P> {
    inner: P,
    counts: Counts,
}

impl opentelemetry_sdk::trace::SpanProcessor for Counted<SpanProcessor> {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, context: &Context) {
        self.counts.count(|| self.inner.on_start(span, context));
    }

    fn on_end(&self, span: SpanData) {
        self.counts.count_call(|| self.inner.on_end(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl opentelemetry_sdk::logs::LogProcessor for Counted<LogProcessor> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.counts.count_call(|| self.inner.emit(record, scope));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// More than the table of scopes holds, so that records carry their scope themselves, too.
const SCOPES: usize = 70;

#[test]
fn neither_a_span_nor_a_log_allocates() {
    assert!(allocations(|| drop(Box::new(1))) > 0, "the counter counts");
    let server = Server::start(|_, _| Reply::ok());
    // Room for all of it, should the delivery thread get no turn meanwhile.
    let client = builder(&server).memory(64 << 20).build().expect("a client");
    assert!(client.start());
    let (spans, logs) = (Counts::default(), Counts::default());
    let tracers = SdkTracerProvider::builder()
        .with_span_processor(Counted {
            inner: SpanProcessor::new(&client),
            counts: spans.clone(),
        })
        .build();
    let loggers = SdkLoggerProvider::builder()
        .with_log_processor(Counted {
            inner: LogProcessor::new(&client),
            counts: logs.clone(),
        })
        .build();
    let state: TraceState = "ot=th:8,vendor=x".parse().expect("a trace state");
    let parent = SpanContext::new(
        TraceId::from(5),
        SpanId::from(6),
        TraceFlags::SAMPLED,
        true,
        state,
    );
    let facts = || {
        vec![
            KeyValue::new("text", "value"),
            KeyValue::new("list", Value::Array(Array::I64(vec![1, 2]))),
        ]
    };
    let record_all = || {
        for number in 0..SCOPES {
            let scope = InstrumentationScope::builder(format!("scope {number}"))
                .with_version("1")
                .with_attributes(facts())
                .build();
            let tracer = tracers.tracer_with_scope(scope.clone());
            let builder = SpanBuilder::from_name("span")
                .with_attributes(facts())
                .with_links(vec![Link::new(parent.clone(), facts(), 0)]);
            let context = Context::new().with_remote_span_context(parent.clone());
            let mut span = tracer.build_with_context(builder, &context);
            span.add_event("event", facts());
            span.set_status(Status::error("no"));
            span.end();
            let logger = loggers.logger_with_scope(scope);
            let mut record = logger.create_log_record();
            record.set_severity_number(Severity::Info);
            record.set_body("a line".into());
            record.set_target("app::db");
            record.add_attribute("list", AnyValue::ListAny(Box::new(vec![1.into(), "x".into()])));
            record.set_trace_context(TraceId::from(5), SpanId::from(6), None);
            logger.emit(record);
        }
    };
    // Each scope is kept when it is first seen.
    record_all();
    assert_eq!(spans.take().0, SCOPES as u64);
    assert_eq!(logs.take().0, SCOPES as u64);
    for round in 0..20 {
        record_all();
        assert_eq!(
            (spans.take(), logs.take()),
            ((SCOPES as u64, 0), (SCOPES as u64, 0)),
            "round {round}"
        );
    }
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    for category in [Category::Span, Category::LogItem] {
        let sums = totals.of(category);
        assert_eq!(
            (sums.recorded, sums.delivered),
            (21 * SCOPES as u64, 21 * SCOPES as u64)
        );
    }
    record_all();
    assert_eq!(spans.take(), (SCOPES as u64, 0), "refused when closed");
    assert_eq!(logs.take(), (SCOPES as u64, 0), "refused when closed");
}

#[test]
fn neither_a_transaction_nor_its_spans_nor_an_exception_allocates() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).memory(64 << 20).build().expect("a client");
    assert!(client.start());
    let spans = Counts::default();
    let tracers = SdkTracerProvider::builder()
        .with_span_processor(Counted {
            inner: SpanProcessor::new(&client),
            counts: spans.clone(),
        })
        .build();
    let tracer = tracers.tracer("t");
    let headers = HashMap::from([
        (
            "traceparent".to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        ),
        (
            "baggage".to_owned(),
            "sentry-trace_id=4bf92f3577b34da6a3ce929d0e0e4736,sentry-public_key=a".to_owned(),
        ),
    ]);
    let incoming = Propagator::new(&client).extract_with_context(&Context::new(), &headers);
    let record_all = || {
        for context in [&Context::new(), &incoming] {
            let root = context.with_span(tracer.start_with_context("root", context));
            for _ in 0..5 {
                let mut span = tracer.start_with_context("child", &root);
                span.set_attribute(KeyValue::new("db.system.name", "x".repeat(2000)));
                span.add_event("exception", vec![KeyValue::new("exception.type", "E")]);
                span.end();
            }
            root.span().end();
        }
    };
    for round in 0..20 {
        record_all();
        assert_eq!(spans.take(), (12, 0), "round {round}");
    }
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    for (category, quantity) in [
        (Category::Transaction, 40),
        (Category::Span, 240),
        (Category::Error, 200),
    ] {
        assert_eq!(totals.of(category).delivered, quantity, "{category:?}");
    }
    record_all();
    assert_eq!(spans.take(), (12, 0), "refused when closed");
}
