//! An axum service with the `sentry` crate, which captures as it always does; surgetank delivers.
//!
//! ```text
//! cargo run -p surgetank-example-axum-sentry                    against a server that it starts itself
//! SENTRY_DSN=https://...@o1.ingest.sentry.io/1 cargo run -p surgetank-example-axum-sentry
//! ```
//!
//! It serves some requests to itself and ends. Its exit code says whether all that was captured was delivered, and, with
//! a server of its own, whether all of it arrived.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "that is how a program talks"
)]

mod ingestion;
mod service;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use surgetank::Category;

use ingestion::Ingestion;

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
    // No address set: a server of our own.
    let own = if std::env::var_os("SENTRY_DSN").is_some() {
        None
    } else {
        Some(Ingestion::start()?)
    };

    // The two lines: a transport, and a sampler that keeps fewer traces under pressure.
    let transport = surgetank::sentry::transport();
    let mut options = sentry::ClientOptions::new()
        .release("shop@1.4.2")
        .traces_sampler(transport.traces_sampler(1.0))
        .transport(transport.clone());
    if let Some(own) = &own {
        options = options.dsn(own.dsn().as_str());
    }
    let guard = sentry::init(options);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(service::serve(REQUESTS))?;

    // The end of the program: what is still queued gets ten seconds, and not one more.
    let complete = guard.close(Some(Duration::from_secs(10)));
    drop(guard);
    let Some(client) = transport.client() else {
        return Err(transport.error().unwrap_or("no DSN".to_owned()).into());
    };
    let totals = client.status().totals;
    let delivered = |category| totals.of(category).delivered;
    let seen = (delivered(Category::Error), delivered(Category::Transaction));
    let expected = (REQUESTS / service::MISSES, REQUESTS);
    println!(
        "delivered: {} errors and {} transactions of {expected:?}",
        seen.0, seen.1
    );
    let arrived = own.map_or(expected, |own| own.counts());
    println!("arrived:   {} errors and {} transactions", arrived.0, arrived.1);
    Ok(complete && seen == expected && arrived == expected)
}
