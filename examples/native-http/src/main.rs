//! An application that reports what it does: an error, a log, a transaction, a check-in to Sentry; a span to OTLP.
//!
//! ```text
//! cargo run -p surgetank-example-native-http                                  against a server that it starts itself
//! SENTRY_DSN=... OTEL_EXPORTER_OTLP_ENDPOINT=... cargo run -p surgetank-example-native-http       against real ones
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "that is how a program talks"
)]

mod local_server;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use surgetank::otlp::{AnyValue, KeyValue, Span, SpanKind};
use surgetank::sentry::{
    self, CheckIn, CheckInStatus, Event, Exception, Level, Log, SpanStatus, TraceContext, Transaction,
};
use surgetank::{Client, ClientBuilder, UnixTime};

use local_server::LocalServer;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    // Nothing set: a server of our own stands in for both.
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let server = if is_set("SENTRY_DSN") || is_set("OTEL_EXPORTER_OTLP_ENDPOINT") {
        None
    } else {
        Some(LocalServer::start()?)
    };
    let builder = match &server {
        Some(server) => Client::builder()
            .sentry_dsn(&server.dsn())
            .otlp_endpoint(&server.url()),
        None => ClientBuilder::from_env()?,
    };
    let builder = builder
        .release("shop@1.4.2")
        .environment("example")
        .service_name("shop")
        .on_diagnostic(|diagnostic| eprintln!("telemetry: {diagnostic}"));
    for warning in builder.warnings() {
        eprintln!("{warning}");
    }
    let client = builder.build()?;

    nightly_job(&client);

    // The end of the program. Nobody waits for a nightly job, so what is still queued gets half a minute.
    let report = client.close(Duration::from_secs(30));
    for (category, quantity) in report.delivered().filter(|(_, quantity)| *quantity > 0) {
        println!("delivered {quantity} {}", category.as_str());
    }
    let status = client.status();
    for loss in status.totals.reasons() {
        let (category, reason) = (loss.category.as_str(), loss.reason.as_str());
        eprintln!("dropped {} {category}: {reason}", loss.quantity);
    }
    println!("health: {:?}", status.health.level);
    if let Some(server) = server {
        println!("the local server took {} requests", server.requests());
    }
    if !report.complete {
        eprintln!(
            "not everything was settled within 30 s; health: {:?}",
            status.health
        );
    }
    Ok(report.complete && status.totals.reasons().is_empty())
}

/// The application's own work, which fails in one place.
fn nightly_job(client: &Client) {
    let began = now();
    let job = client.check_in(&CheckIn {
        monitor: "nightly-orders",
        status: CheckInStatus::InProgress,
        id: None,
        duration: None,
        config: None,
        trace_id: None,
    });
    let trace = TraceContext {
        trace_id: client.new_trace_id(),
        span_id: client.new_span_id(),
        parent_span_id: None,
        op: "job",
    };
    let sampled = client.sample_root(&trace.trace_id);
    let mut failures = 0;
    for order in 0..50 {
        let attributes = [KeyValue::new("order", AnyValue::Int(order))];
        if let Err(problem) = charge(order) {
            failures += 1;
            let exceptions = [Exception {
                kind: "CardError",
                value: problem,
                ..Exception::default()
            }];
            let captured = client.event(&Event {
                level: Level::Error,
                exceptions: &exceptions,
                extra: &attributes,
                trace: Some(trace),
                ..Event::default()
            });
            println!("order {order} failed, see event {}", captured.id);
        } else {
            let _ = client.log(&Log {
                level: Level::Info,
                body: "order charged",
                attributes: &attributes,
                trace_id: Some(trace.trace_id),
                span_id: Some(trace.span_id),
                timestamp: None,
            });
        }
    }
    let ended = now();
    if sampled {
        let _ = client.transaction(&Transaction {
            name: "nightly orders",
            source: "task",
            trace,
            status: SpanStatus::Ok,
            start: began,
            end: ended,
            spans: &[],
            data: &[],
            tags: &[("region", "eu")],
            contexts: &[],
            measurements: &[sentry::Measurement {
                name: "failures",
                value: f64::from(failures),
                unit: "none",
            }],
            sampled: Some(true),
            dynamic_sampling: &[],
        });
        let _ = client.otlp_span(&Span {
            kind: SpanKind::Internal,
            start_unix_nanos: began.as_micros() * 1000,
            end_unix_nanos: ended.as_micros() * 1000,
            ..Span::new(trace.trace_id, trace.span_id, "nightly orders")
        });
    }
    let _ = client.check_in(&CheckIn {
        monitor: "nightly-orders",
        status: CheckInStatus::Ok,
        id: Some(job.id),
        duration: Some(Duration::from_micros(ended.since(began).as_micros())),
        config: None,
        trace_id: Some(trace.trace_id),
    });
}

fn charge(order: i64) -> Result<(), &'static str> {
    if order == 17 { Err("card declined") } else { Ok(()) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an application reads its clock where it likes"
)]
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
