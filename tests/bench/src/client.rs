//! Recording calls on the producer's thread. The worker runs as it would, against a server on loopback; what it does is
//! not counted, for callgrind counts the thread under the glass only.

use std::hint::black_box;
use std::time::Duration;

use surgetank::otlp::{AnyValue, KeyValue, Span};
use surgetank::sentry::{Event, Log, Span as ChildSpan, SpanStatus, TraceContext, Transaction};
use surgetank::{Client, DropReason, Outcome, UnixTime};

use crate::glass::{Glass, Phase};
use crate::upstream;

const KEY: &str = "e12d836b15bb49d7bbf99e64295d995b";

/// Calls between two flushes: what is measured is recording, not a full queue.
const BURST: u32 = 50;

fn attributes() -> [KeyValue<'static>; 5] {
    [
        KeyValue::new("http.request.method", AnyValue::String("GET")),
        KeyValue::new("http.route", AnyValue::String("/api/items/{id}")),
        KeyValue::new("http.response.status_code", AnyValue::Int(200)),
        KeyValue::new("server.address", AnyValue::String("shop.example.com")),
        KeyValue::new("duration_ms", AnyValue::Double(12.5)),
    ]
}

fn client(answer: &'static str) -> Client {
    let address = upstream::start(answer).expect("loopback can be listened on");
    let client = Client::builder()
        .sentry_dsn(&format!("http://{KEY}@{address}/1"))
        .otlp_endpoint(&format!("http://{address}"))
        .release("bench@1.0.0")
        .environment_proxies(false)
        .build()
        .expect("the settings are right");
    assert!(client.start(), "the worker starts");
    client
}

fn each_call(glass: Glass, rounds: u32, mut call: impl FnMut(&Client) -> Outcome) {
    let client = client(upstream::OK);
    for round in 0..rounds {
        let outcome = glass.look(Phase::Record, || black_box(call(&client)));
        assert_eq!(outcome, Outcome::Queued, "round {round}");
        if round % BURST == BURST - 1 {
            client.flush(Duration::from_secs(60));
        }
    }
    let _ = client.close(Duration::from_secs(60));
}

fn small_event() -> Event<'static> {
    Event {
        message: "the disk is full",
        tags: &[("disk", "sda1")],
        ..Event::default()
    }
}

pub(crate) fn event(glass: Glass, rounds: u32) {
    let event = small_event();
    each_call(glass, rounds, |client| client.event(black_box(&event)).outcome);
}

pub(crate) fn log(glass: Glass, rounds: u32) {
    let attributes = attributes();
    let log = Log {
        body: "request served",
        attributes: &attributes,
        ..Log::default()
    };
    each_call(glass, rounds, |client| client.log(black_box(&log)));
}

pub(crate) fn otlp_span(glass: Glass, rounds: u32) {
    let attributes = attributes();
    each_call(glass, rounds, |client| {
        let span = Span {
            attributes: black_box(&attributes),
            ..Span::new(client.new_trace_id(), client.new_span_id(), "GET /api/items/{id}")
        };
        client.otlp_span(&span)
    });
}

pub(crate) fn transaction(glass: Glass, rounds: u32) {
    each_call(glass, rounds, |client| {
        let trace = TraceContext {
            trace_id: client.new_trace_id(),
            span_id: client.new_span_id(),
            parent_span_id: None,
            op: "http.server",
        };
        let spans: [ChildSpan<'_>; 10] = std::array::from_fn(|_| ChildSpan {
            span_id: client.new_span_id(),
            parent_span_id: trace.span_id,
            op: "db",
            description: "SELECT * FROM items WHERE id = ?",
            status: Some(SpanStatus::Ok),
            start: UnixTime::from_secs(1_800_000_000),
            end: UnixTime::from_secs(1_800_000_001),
            data: &[],
        });
        client
            .transaction(&Transaction {
                name: "GET /api/items/{id}",
                source: "route",
                trace,
                status: SpanStatus::Ok,
                start: UnixTime::from_secs(1_800_000_000),
                end: UnixTime::from_secs(1_800_000_001),
                spans: black_box(&spans),
                data: &[],
                tags: &[],
                contexts: &[],
                measurements: &[],
                sampled: Some(true),
                dynamic_sampling: &[],
            })
            .outcome
    });
}

/// An error event while the server limits errors.
pub(crate) fn refused(glass: Glass, rounds: u32) {
    let client = client(upstream::LIMITED);
    let event = small_event();
    let limited = Outcome::Dropped(DropReason::RatelimitBackoff);
    while client.event(&event).outcome != limited {
        client.flush(Duration::from_secs(60));
    }
    for _ in 0..rounds {
        let outcome = glass.look(Phase::Record, || client.event(black_box(&event)).outcome);
        assert_eq!(outcome, limited);
    }
    let _ = client.close(Duration::from_secs(60));
}

#[cfg(feature = "peers")]
pub(crate) mod peers {
    //! The same calls of other clients. `sentry` sends to the same server; `opentelemetry_sdk` has an exporter that drops
    //! everything, for the producer's thread never sees it.

    use super::*;

    use opentelemetry::KeyValue as OtelKeyValue;
    use opentelemetry::logs::{
        AnyValue as LogValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity,
    };
    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

    fn sentry_calls(glass: Glass, rounds: u32, mut call: impl FnMut()) {
        let address = upstream::start(upstream::OK).expect("loopback can be listened on");
        // The HTTP library is built without a provider of its own, because surgetank brings one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = sentry::ClientOptions::new()
            .dsn(&format!("http://{KEY}@{address}/1"))
            .release("bench@1.0.0")
            .traces_sample_rate(1.0);
        let guard = sentry::init(options);
        for round in 0..rounds {
            glass.look(Phase::Record, &mut call);
            if round % 10 == 9 {
                // Its transport holds 30 envelopes.
                guard.flush(Some(Duration::from_secs(60)));
            }
        }
    }

    pub(crate) fn sentry_event(glass: Glass, rounds: u32) {
        sentry_calls(glass, rounds, || {
            let mut event = sentry::protocol::Event {
                message: Some("the disk is full".into()),
                ..Default::default()
            };
            event.tags.insert("disk".into(), "sda1".into());
            black_box(sentry::capture_event(event));
        });
    }

    pub(crate) fn sentry_log(glass: Glass, rounds: u32) {
        sentry_calls(glass, rounds, || {
            sentry::logger_info!(
                http.request.method = "GET",
                http.route = "/api/items/{id}",
                http.response.status_code = 200,
                server.address = "shop.example.com",
                duration_ms = 12.5,
                "request served"
            );
        });
    }

    pub(crate) fn sentry_transaction(glass: Glass, rounds: u32) {
        sentry_calls(glass, rounds, || {
            let context = sentry::TransactionContext::new("GET /api/items/{id}", "http.server");
            let transaction = sentry::start_transaction(context);
            for _ in 0..10 {
                let span = transaction.start_child("db", "SELECT * FROM items WHERE id = ?");
                span.set_status(sentry::protocol::SpanStatus::Ok);
                span.finish();
            }
            transaction.set_status(sentry::protocol::SpanStatus::Ok);
            transaction.finish();
        });
    }

    #[derive(Debug)]
    struct Nowhere;

    impl SpanExporter for Nowhere {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            drop(batch);
            Ok(())
        }
    }

    impl LogExporter for Nowhere {
        async fn export(&self, _: LogBatch<'_>) -> OTelSdkResult {
            Ok(())
        }
    }

    pub(crate) fn otel_span(glass: Glass, rounds: u32) {
        let provider = SdkTracerProvider::builder().with_batch_exporter(Nowhere).build();
        let tracer = provider.tracer("bench");
        for _ in 0..rounds {
            glass.look(Phase::Record, || {
                let mut span = tracer
                    .span_builder("GET /api/items/{id}")
                    .with_attributes([
                        OtelKeyValue::new("http.request.method", "GET"),
                        OtelKeyValue::new("http.route", "/api/items/{id}"),
                        OtelKeyValue::new("http.response.status_code", 200),
                        OtelKeyValue::new("server.address", "shop.example.com"),
                        OtelKeyValue::new("duration_ms", 12.5),
                    ])
                    .start(&tracer);
                span.end();
            });
        }
        let _ = provider.shutdown();
    }

    pub(crate) fn otel_log(glass: Glass, rounds: u32) {
        let provider = SdkLoggerProvider::builder().with_batch_exporter(Nowhere).build();
        let logger = provider.logger("bench");
        for _ in 0..rounds {
            glass.look(Phase::Record, || {
                let mut record = logger.create_log_record();
                record.set_severity_number(Severity::Info);
                record.set_body(LogValue::from("request served"));
                record.add_attribute("http.request.method", "GET");
                record.add_attribute("http.route", "/api/items/{id}");
                record.add_attribute("http.response.status_code", 200);
                record.add_attribute("server.address", "shop.example.com");
                record.add_attribute("duration_ms", 12.5);
                logger.emit(record);
            });
        }
        let _ = provider.shutdown();
    }
}
