//! An axum service with both SDKs on one surgetank client: `sentry` captures errors, OpenTelemetry makes spans.
//!
//! ```text
//!  sentry crate ------ errors ----------.              .-- errors, transactions --> Sentry
//!                                        > [ client ] <
//!  opentelemetry_sdk - spans -----------'              '-- spans -----------------> collector (OTLP)
//! ```
//!
//! ```text
//! cargo run -p surgetank-example-axum-both
//! ```
//!
//! It serves some requests to itself and ends. Its exit code says whether all of it arrived at the two servers that it
//! starts itself, and whether an error, its transaction and its spans there belong to one trace: that of the visitor.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "that is how a program talks"
)]

mod servers;
mod service;

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use surgetank::opentelemetry::{Propagator, Sampler, SpanProcessor};
use surgetank::sentry::{ActiveSpan, SentryTransport};
use surgetank::{Client, Compression};

use servers::Servers;

/// Version of the program.
const RELEASE: &str = "shop@1.4.2";

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
    let servers = Servers::start()?;

    // The `sentry` crate, whose transport makes the client. An event belongs to the span that is active.
    let transport = SentryTransport::new(
        Client::builder()
            .otlp_endpoint(&servers.collector())
            // Of the transactions; the options below are of the errors.
            .release(RELEASE)
            // The servers of this example read no compressed bodies.
            .compression(Compression::None),
    );
    let guard = sentry::init(
        sentry::ClientOptions::new()
            .dsn(servers.dsn().as_str())
            .release(RELEASE)
            .add_integration(ActiveSpan)
            .transport(transport.clone()),
    );
    let client = transport
        .client()
        .ok_or_else(|| transport.error().unwrap_or("no DSN".to_owned()))?;

    // The OpenTelemetry SDK on the same client: spans to the collector and, as transactions, to Sentry. Exceptions are
    // captured by `sentry` already.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::new(&client))
        .with_span_processor(
            SpanProcessor::new(&client)
                .with_transactions(true)
                .with_exceptions(false),
        )
        .build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    opentelemetry::global::set_text_map_propagator(Propagator::new(&client));

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(service::serve(REQUESTS))?;

    // The end of the program. Neither call needs the runtime, and both end in time.
    if let Err(error) = provider.shutdown_with_timeout(Duration::from_secs(10)) {
        eprintln!("{error}");
    }
    let complete = guard.close(Some(Duration::from_secs(10)));

    let seen = servers.seen();
    println!(
        "{} errors, {} transactions, {} spans in them, {} spans at the collector",
        seen.errors.len(),
        seen.transactions.len(),
        seen.children,
        seen.spans
    );
    let expected: BTreeSet<String> = (0..REQUESTS).map(service::trace_of).collect();
    let missing = (0..REQUESTS).filter(|number| service::is_missing(*number));
    let missing: BTreeSet<String> = missing.map(service::trace_of).collect();
    let as_expected = seen.errors == missing
        && seen.transactions == expected
        && seen.children == REQUESTS
        && seen.spans == 2 * REQUESTS
        && seen.holds_traces(&expected);
    println!(
        "each in the trace of its visitor: {}",
        if as_expected { "yes" } else { "no" }
    );
    Ok(complete && as_expected)
}
