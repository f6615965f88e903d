//! An axum service whose spans and logs go from `tracing` through the OpenTelemetry SDK to surgetank.
//!
//! ```text
//! cargo run -p surgetank-example-axum-opentelemetry                    against a collector that it starts itself
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run -p surgetank-example-axum-opentelemetry
//! ```
//!
//! It serves some requests to itself and ends. Its exit code says whether all that it recorded was delivered, and, with
//! a collector of its own, whether all of it arrived.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "that is how a program talks"
)]

mod collector;
mod service;
mod telemetry;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use surgetank::{Category, ClientBuilder};

use collector::Collector;
use telemetry::Telemetry;

/// Requests that the service serves before it ends.
const REQUESTS: u64 = 50;

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
    // No address set: a collector of our own.
    let collector = if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        None
    } else {
        Some(Collector::start()?)
    };
    let mut builder = ClientBuilder::from_env()?.debug(true);
    if let Some(collector) = &collector {
        builder = builder.otlp_endpoint(&collector.url());
    }
    let client = builder.build()?;
    let telemetry = Telemetry::start(&client)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(service::serve(REQUESTS))?;

    // The end of the program. Neither call needs the runtime, and both end in time.
    if let Err(error) = telemetry.shutdown(Duration::from_secs(10)) {
        eprintln!("{error}");
    }
    let report = client.close(Duration::from_secs(2));
    let status = client.status();
    for category in [Category::Span, Category::LogItem] {
        let sums = status.totals.of(category);
        println!(
            "{}: {} recorded, {} delivered, {} dropped",
            category.as_str(),
            sums.recorded,
            sums.delivered,
            sums.dropped
        );
    }
    for lost in status.totals.reasons() {
        println!(
            "lost {} {}: {}",
            lost.quantity,
            lost.category.as_str(),
            lost.reason.as_str()
        );
    }
    let expected = (
        REQUESTS * service::SPANS_PER_REQUEST,
        REQUESTS * service::LOGS_PER_REQUEST,
    );
    let delivered = (
        status.totals.of(Category::Span).delivered,
        status.totals.of(Category::LogItem).delivered,
    );
    let arrived = collector.map_or(expected, |collector| collector.counts());
    println!(
        "arrived: {} spans and {} logs of {} and {}",
        arrived.0, arrived.1, expected.0, expected.1
    );
    Ok(report.complete && delivered == expected && arrived == expected)
}
