//! The drop-ins for the OpenTelemetry SDK, with the real SDK and a real server.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "sentry")]
mod active_span;
mod decoded;
mod ending;
mod no_allocation;
mod propagation;
mod same_as_the_sdk;
mod sampling;
mod scopes;
#[path = "../support/sdk_span.rs"]
mod sdk_span;
mod self_metrics;
mod settings;
mod transactions;

use std::time::Duration;

use support::Server;
use support::counting::Counting;
use surgetank::{Client, ClientBuilder};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longer than anything takes that comes to an end.
const PATIENT: Duration = Duration::from_secs(60);

fn builder(server: &Server) -> ClientBuilder {
    Client::builder()
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
}
