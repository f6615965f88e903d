//! The OpenTelemetry SDK with its batch processors and OTLP exporter, with surgetank's processors, and with processors
//! that drop everything.

use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    LogProcessor, LoggerProviderBuilder, SdkLogRecord, SdkLogger, SdkLoggerProvider,
};
use opentelemetry_sdk::trace::{
    SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor, TracerProviderBuilder,
};
use surgetank::Client;
use tracing_subscriber::layer::SubscriberExt as _;

use super::own::lost;
use super::{Setting, Subject};

/// What stands behind the SDK.
pub trait Way: Send + Sync + 'static {
    fn trace(builder: TracerProviderBuilder, behind: &Behind) -> TracerProviderBuilder;
    fn log(builder: LoggerProviderBuilder, behind: &Behind) -> LoggerProviderBuilder;
    /// The client that delivers, if it is surgetank's.
    fn client(_: &Setting) -> Option<Client> {
        None
    }
}

/// What a way needs.
pub struct Behind<'a> {
    setting: &'a Setting,
    client: Option<Client>,
}

impl Behind<'_> {
    fn surgetank(&self) -> &Client {
        self.client.as_ref().expect("this way has one")
    }

    fn endpoint(&self, signal: &str) -> String {
        format!("http://{}/v1/{signal}", self.setting.upstream)
    }
}

/// Spans of the SDK.
pub struct Spans<W> {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    client: Option<Client>,
    way: PhantomData<fn() -> W>,
}

impl<W: Way> Subject for Spans<W> {
    fn start(setting: &Setting) -> Self {
        let behind = Behind {
            setting,
            client: W::client(setting),
        };
        let provider = W::trace(SdkTracerProvider::builder(), &behind).build();
        Self {
            tracer: provider.tracer("bench"),
            provider,
            client: behind.client,
            way: PhantomData,
        }
    }

    #[inline]
    fn record(&self) {
        let mut span = self
            .tracer
            .span_builder("GET /api/items/{id}")
            .with_attributes(attributes())
            .start(&self.tracer);
        span.end();
    }

    #[inline]
    fn make(&self) {
        black_box(&attributes());
    }

    fn flush(&self, within: Duration) {
        match &self.client {
            Some(client) => drop(client.flush(within)),
            None => drop(self.provider.force_flush()),
        }
    }

    fn lost(&self) -> Option<u64> {
        self.client.as_ref().map(lost)
    }
}

#[inline]
fn attributes() -> [KeyValue; 5] {
    [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.route", "/api/items/{id}"),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("server.address", "shop.example.com"),
        KeyValue::new("duration_ms", 12.5),
    ]
}

/// Logs of the SDK.
pub struct Logs<W> {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
    client: Option<Client>,
    way: PhantomData<fn() -> W>,
}

impl<W: Way> Subject for Logs<W> {
    fn start(setting: &Setting) -> Self {
        let behind = Behind {
            setting,
            client: W::client(setting),
        };
        let provider = W::log(SdkLoggerProvider::builder(), &behind).build();
        Self {
            logger: provider.logger("bench"),
            provider,
            client: behind.client,
            way: PhantomData,
        }
    }

    #[inline]
    fn record(&self) {
        let mut record = self.logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_body(AnyValue::from("request served"));
        record.add_attribute("http.request.method", "GET");
        record.add_attribute("http.route", "/api/items/{id}");
        record.add_attribute("http.response.status_code", 200);
        record.add_attribute("server.address", "shop.example.com");
        record.add_attribute("duration_ms", 12.5);
        self.logger.emit(record);
    }

    fn flush(&self, within: Duration) {
        match &self.client {
            Some(client) => drop(client.flush(within)),
            None => drop(self.provider.force_flush()),
        }
    }

    fn lost(&self) -> Option<u64> {
        self.client.as_ref().map(lost)
    }
}

/// Logs of the `tracing` crate, which its appender for the SDK passes on: the way most programs make them.
pub struct Traced<W> {
    provider: SdkLoggerProvider,
    client: Option<Client>,
    way: PhantomData<fn() -> W>,
}

impl<W: Way> Subject for Traced<W> {
    fn start(setting: &Setting) -> Self {
        let behind = Behind {
            setting,
            client: W::client(setting),
        };
        let provider = W::log(SdkLoggerProvider::builder(), &behind).build();
        let bridge = OpenTelemetryTracingBridge::new(&provider);
        let subscriber = tracing_subscriber::registry().with(bridge);
        tracing::subscriber::set_global_default(subscriber).expect("one subject per process");
        Self {
            provider,
            client: behind.client,
            way: PhantomData,
        }
    }

    #[inline]
    fn record(&self) {
        tracing::info!(
            http.request.method = "GET",
            http.route = "/api/items/{id}",
            http.response.status_code = 200,
            server.address = "shop.example.com",
            duration_ms = 12.5,
            "request served"
        );
    }

    fn flush(&self, within: Duration) {
        match &self.client {
            Some(client) => drop(client.flush(within)),
            None => drop(self.provider.force_flush()),
        }
    }

    fn lost(&self) -> Option<u64> {
        self.client.as_ref().map(lost)
    }
}

/// As it comes: batch processor, OTLP over HTTP with protobuf.
pub struct Batch;

impl Way for Batch {
    fn trace(builder: TracerProviderBuilder, behind: &Behind) -> TracerProviderBuilder {
        // The HTTP library is built without a provider of its own, because surgetank brings one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(behind.endpoint("traces"))
            .build();
        builder.with_batch_exporter(exporter.expect("the settings are right"))
    }

    fn log(builder: LoggerProviderBuilder, behind: &Behind) -> LoggerProviderBuilder {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let exporter = LogExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(behind.endpoint("logs"))
            .build();
        builder.with_batch_exporter(exporter.expect("the settings are right"))
    }
}

/// surgetank's processors.
pub struct DropIn;

impl Way for DropIn {
    fn trace(builder: TracerProviderBuilder, behind: &Behind) -> TracerProviderBuilder {
        builder.with_span_processor(surgetank::opentelemetry::SpanProcessor::new(behind.surgetank()))
    }

    fn log(builder: LoggerProviderBuilder, behind: &Behind) -> LoggerProviderBuilder {
        builder.with_log_processor(surgetank::opentelemetry::LogProcessor::new(behind.surgetank()))
    }

    fn client(setting: &Setting) -> Option<Client> {
        let builder = setting
            .builder()
            .otlp_endpoint(&format!("http://{}", setting.upstream));
        Some(builder.build().expect("the settings are right"))
    }
}

/// surgetank's processor, to Sentry: each span without a parent is a transaction.
pub struct ToSentry;

impl Way for ToSentry {
    fn trace(builder: TracerProviderBuilder, behind: &Behind) -> TracerProviderBuilder {
        DropIn::trace(builder, behind)
    }

    fn log(builder: LoggerProviderBuilder, behind: &Behind) -> LoggerProviderBuilder {
        DropIn::log(builder, behind)
    }

    fn client(setting: &Setting) -> Option<Client> {
        let builder = setting.builder().sentry_dsn(&setting.dsn());
        Some(builder.build().expect("the settings are right"))
    }
}

/// Processors that drop everything: what the SDK costs by itself.
#[derive(Debug)]
pub struct Nothing;

impl Way for Nothing {
    fn trace(builder: TracerProviderBuilder, _: &Behind) -> TracerProviderBuilder {
        builder.with_span_processor(Nothing)
    }

    fn log(builder: LoggerProviderBuilder, _: &Behind) -> LoggerProviderBuilder {
        builder.with_log_processor(Nothing)
    }
}

impl SpanProcessor for Nothing {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Nothing {
    fn emit(&self, _: &mut SdkLogRecord, _: &InstrumentationScope) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}
