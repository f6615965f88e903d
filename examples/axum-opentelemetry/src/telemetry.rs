//! `tracing` on top, the OpenTelemetry SDK in the middle, surgetank below.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use surgetank::Client;
use surgetank::opentelemetry::{LogProcessor, Sampler, SpanProcessor};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The two providers, which are to be shut down.
pub(crate) struct Telemetry {
    spans: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

impl Telemetry {
    /// From here on what `tracing` records in this crate goes to `client`.
    pub(crate) fn start(client: &Client) -> Result<Self, TryInitError> {
        let resource = Resource::builder().with_service_name("orders").build();
        let spans = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(Sampler::new(client))
            .with_span_processor(SpanProcessor::new(client))
            .build();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_log_processor(LogProcessor::new(client))
            .build();
        let own_crate = Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO);
        tracing_subscriber::registry()
            .with(own_crate)
            .with(tracing_opentelemetry::layer().with_tracer(spans.tracer("orders")))
            .with(OpenTelemetryTracingBridge::new(&logs))
            .try_init()?;
        Ok(Self { spans, logs })
    }

    /// Delivers what was recorded, for at most `timeout` each.
    pub(crate) fn shutdown(&self, timeout: Duration) -> OTelSdkResult {
        let spans = self.spans.shutdown_with_timeout(timeout);
        let logs = self.logs.shutdown_with_timeout(timeout);
        spans.and(logs)
    }
}
