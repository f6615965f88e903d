//! What the client reports about itself, read by the SDK's own reader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::logs::{Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::SdkTracerProvider;
use surgetank::Client;
use surgetank::opentelemetry::{LogProcessor, SpanProcessor, report_metrics};
use surgetank::sentry::Level;

use crate::support::{Reply, Server};
use crate::transactions::sentry;
use crate::{PATIENT, builder};

/// Name and attributes but for those of the component, with the value.
type Values = BTreeMap<String, i64>;

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Values>>);

impl PushMetricExporter for Seen {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut values = Values::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let name = metric.name();
            let mut point = |value: i64, attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
                let mut key = format!("{name} {}", metric.unit());
                let mut attributes: Vec<_> = attributes.collect();
                attributes.sort_by(|one, other| one.key.cmp(&other.key));
                for attribute in attributes {
                    let (name, value) = (attribute.key.as_str(), attribute.value.as_str());
                    if name == "otel.component.type" {
                        key = format!("{key} {value}");
                    } else if name != "otel.component.name" {
                        key = format!("{key} {name}={value}");
                    }
                }
                assert_eq!(values.insert(key.clone(), value), None, "{key}");
            };
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    assert!(sum.is_monotonic(), "{name}");
                    sum.data_points()
                        .for_each(|data| point(data.value() as i64, &mut data.attributes()));
                }
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    assert!(!sum.is_monotonic(), "{name}");
                    sum.data_points()
                        .for_each(|data| point(data.value(), &mut data.attributes()));
                }
                _ => panic!("{name} is no sum"),
            }
        }
        *self.0.lock().expect("not poisoned") = values;
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// A provider that is read on demand, and what was read last.
fn meters() -> (SdkMeterProvider, Seen) {
    let seen = Seen::default();
    let reader = PeriodicReader::builder(seen.clone())
        .with_interval(Duration::from_secs(3600))
        .build();
    (SdkMeterProvider::builder().with_reader(reader).build(), seen)
}

fn read(client: &Client) -> Values {
    let (provider, seen) = meters();
    report_metrics(client, &provider);
    provider.force_flush().expect("read");
    let values = seen.0.lock().expect("not poisoned").clone();
    let common = values
        .into_iter()
        .filter(|(key, _)| !key.starts_with("surgetank.queue."));
    common.collect()
}

fn values(expected: &[(&str, i64)]) -> Values {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect()
}

#[test]
fn every_span_and_log_is_counted_once_where_its_way_ended() {
    let server = Server::start(|request, _| match request.path.as_str() {
        // A partial success: one log record was rejected.
        "/v1/logs" => Reply::ok()
            .with("Content-Type", "application/x-protobuf")
            .body(&[0x0a, 2, 8, 1]),
        _ if request.body.windows(7).any(|text| text == b"refused") => Reply::status(400),
        _ => Reply::ok(),
    });
    let client = builder(&server).build().expect("a client");
    let tracers = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let loggers = SdkLoggerProvider::builder()
        .with_log_processor(LogProcessor::new(&client))
        .build();
    let nothing = read(&client);
    let tracer = tracers.tracer("t");
    for name in ["taken", "taken", "taken"] {
        tracer.start(name).end();
    }
    assert!(client.flush(PATIENT).complete);
    for name in ["refused", "refused"] {
        tracer.start(name).end();
    }
    let logger = loggers.logger("l");
    logger.emit(logger.create_log_record());
    assert!(client.flush(PATIENT).complete);
    loggers.shutdown_with_timeout(PATIENT).expect("in time");
    assert!(client.close(PATIENT).complete);
    tracer.start("late").end();

    let (span, log) = (
        "surgetank::opentelemetry::SpanProcessor",
        "surgetank::opentelemetry::LogProcessor",
    );
    let queue =
        |kind: &str, unit: &str, of: &str| format!("otel.sdk.processor.{kind}.queue.size {{{unit}}} {of}");
    let (spans, logs) = (queue("span", "span", span), queue("log", "log_record", log));
    let processed = format!("otel.sdk.processor.span.processed {{span}} {span}");
    let late = format!("otel.sdk.processor.span.processed {{span}} error.type=already_shutdown {span}");
    let logs_processed = format!("otel.sdk.processor.log.processed {{log_record}} {log}");
    assert_eq!(
        nothing,
        values(&[
            (&spans, 0),
            (&logs, 0),
            (&processed, 0),
            (&logs_processed, 0),
            (
                "otel.sdk.exporter.span.inflight {span} otlp_http_span_exporter",
                0
            ),
            (
                "otel.sdk.exporter.log.inflight {log_record} otlp_http_log_exporter",
                0
            ),
            (
                "otel.sdk.exporter.span.exported {span} otlp_http_span_exporter",
                0
            ),
            (
                "otel.sdk.exporter.log.exported {log_record} otlp_http_log_exporter",
                0
            ),
        ])
    );
    let client_of = |metric: &str, category: &str, rest: &str| {
        format!("surgetank.{metric} {{item}} surgetank::Client surgetank.category={category}{rest}")
    };
    assert_eq!(
        read(&client),
        values(&[
            (&spans, 0),
            (&logs, 0),
            (&processed, 5),
            (&late, 1),
            (&logs_processed, 1),
            (
                "otel.sdk.exporter.span.inflight {span} otlp_http_span_exporter",
                0
            ),
            (
                "otel.sdk.exporter.log.inflight {log_record} otlp_http_log_exporter",
                0
            ),
            (
                "otel.sdk.exporter.span.exported {span} otlp_http_span_exporter",
                3
            ),
            (
                "otel.sdk.exporter.span.exported {span} error.type=send_error otlp_http_span_exporter",
                2
            ),
            (
                "otel.sdk.exporter.log.exported {log_record} otlp_http_log_exporter",
                0
            ),
            (
                "otel.sdk.exporter.log.exported {log_record} error.type=rejected otlp_http_log_exporter",
                1
            ),
            (&client_of("delivered", "span", ""), 3),
            (&client_of("delivered", "log_item", ""), 0),
            (&client_of("dropped", "span", " surgetank.reason=send_error"), 2),
            (&client_of("dropped", "span", " surgetank.reason=closed"), 1),
            (&client_of("dropped", "log_item", " surgetank.reason=rejected"), 1),
        ])
    );
}

#[test]
fn what_waits_shows_and_so_does_what_goes_to_sentry() {
    let server = Server::start(|_, _| Reply::Stall);
    let client = sentry(&server).build().expect("a client");
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    provider
        .tracer("t")
        .in_span("root", |_| provider.tracer("t").start("child").end());
    let _ = client.message(Level::Error, "x");
    server.wait_for(|requests| requests.len() == 2);
    let (provider, seen) = meters();
    report_metrics(&client, &provider);
    provider.force_flush().expect("read");
    let values = seen.0.lock().expect("not poisoned").clone();
    let spans = "otel.sdk.processor.span.queue.size {span} surgetank::opentelemetry::SpanProcessor";
    assert_eq!(values[spans], 0);
    assert_eq!(
        values["otel.sdk.exporter.span.inflight {span} surgetank::Client"],
        2
    );
    assert!(values["surgetank.queue.size By surgetank::Client"] > 0);
    let capacity = client.status().queue.capacity_bytes;
    assert_eq!(
        values["surgetank.queue.capacity By surgetank::Client"],
        capacity as i64
    );
    assert_eq!(
        values["surgetank.delivered {item} surgetank::Client surgetank.category=error"],
        0
    );
    assert!(values.contains_key("otel.sdk.exporter.span.exported {span} surgetank::Client"));
    let _ = client.close(Duration::ZERO);
}

#[test]
fn instruments_do_not_keep_a_client_alive() {
    let server = Server::start(|_, _| Reply::ok());
    let (provider, seen) = meters();
    let client = builder(&server).build().expect("a client");
    report_metrics(&client, &provider);
    let _ = client.otlp_log(&surgetank::otlp::LogRecord::default());
    drop(client);
    assert_eq!(server.requests().len(), 1, "closing delivered it");
    provider.force_flush().expect("read");
    assert!(seen.0.lock().expect("not poisoned").is_empty());
}
