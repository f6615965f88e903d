//! The transport of the `sentry` crate: two lines in a program that has it, and its envelopes are delivered by this
//! crate's engine.

#[cfg(feature = "opentelemetry")]
mod active_span;
mod envelope;
mod kept;
mod place;
mod serializer;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sentry_core::client_report::{Reason as LossReason, Recorder};
use sentry_core::{Envelope, TransactionContext, Transport, TransportFactory, TransportOptions};

#[cfg(feature = "opentelemetry")]
pub use active_span::ActiveSpan;

use crate::builder::{BuildError, ClientBuilder};
use crate::client::Client;

/// A [`SentryTransport`] with the documented defaults.
#[must_use]
pub fn transport() -> SentryTransport {
    SentryTransport::new(Client::builder())
}

/// A transport for the `sentry` crate: what `sentry::ClientOptions::transport` takes. Clones are the same transport.
///
/// The crate keeps capturing as it does, and hands its envelopes over:
///
/// ```no_run
/// # use std::sync::Arc;
/// let transport = surgetank::sentry::transport();
/// let _guard = sentry::init((
///     "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/42",
///     sentry::ClientOptions::new()
///         .traces_sampler(transport.traces_sampler(0.2))
///         .transport(transport),
/// ));
/// ```
///
/// # What differs from the transport that comes with the crate
///
/// | | with the crate | this one |
/// |---|---|---|
/// | queue | 30 envelopes, however large | [`ClientBuilder::memory`] bytes; errors push out transactions and logs |
/// | a full queue | the newest envelope is lost | the oldest of the least important lane |
/// | no answer, 502, 503, 504 | lost | sent again with growing, jittered pauses, up to [`ClientBuilder::retry_for`] |
/// | while a limit lasts | one request for each client report | nothing; refused before the envelope is serialized |
/// | `flush` and `close` | may wait for ever for room in the queue | return by their deadline |
/// | compression | none | gzip ([`ClientBuilder::compression`]) |
/// | after `fork` | the child delivers nothing and may hang at its end | the child delivers what it records |
/// | client reports | the crate's | one account: the crate's losses (`before_send`, `sample_rate`, ...) join ours |
///
/// `transport_channel_capacity` has no meaning here; memory bounds the queue. Envelopes are serialized by the thread
/// that captures (as bytes they need no further memory, and their size is known when the queue decides), into memory
/// that the thread keeps: after its first envelopes that allocates nothing for events and spans. (What the crate does itself to
/// capture them does; so do a sampling context in an envelope's header, and values that are rare.)
///
/// # How to see that it works
///
/// ```
/// # let transport = surgetank::sentry::transport();
/// if let Some(client) = transport.client() {
///     let status = client.status();
///     let errors = status.totals.of(surgetank::Category::Error);
///     println!("{:?}: {} recorded, {} delivered", status.health.level, errors.recorded, errors.delivered);
///     for lost in status.totals.reasons() {
///         println!("lost {} {}: {}", lost.quantity, lost.category.as_str(), lost.reason.as_str());
///     }
/// } else if let Some(error) = transport.error() {
///     println!("nothing is delivered: {error}");
/// }
/// ```
///
/// [`ClientBuilder::debug`] writes what happens (refused requests, retries, health) to standard error. With feature
/// `opentelemetry`, `opentelemetry::report_metrics` shows the same to a meter provider.
#[derive(Clone)]
pub struct SentryTransport {
    shared: Arc<Shared>,
}

struct Shared {
    builder: ClientBuilder,
    made: RwLock<Option<Result<Client, BuildError>>>,
}

impl SentryTransport {
    /// One with settings of its own: memory, time-outs, compression, diagnostics, an OTLP endpoint beside. The DSN, the
    /// proxies and the name that servers see come from the `sentry` crate's options.
    ///
    /// Release and environment do not, which the crate tells no transport: give them to `builder`, too, if the
    /// [`client`](SentryTransport::client) records something itself or makes transactions of OpenTelemetry's spans.
    #[must_use]
    pub fn new(builder: ClientBuilder) -> Self {
        Self {
            shared: Arc::new(Shared {
                builder,
                made: RwLock::new(None),
            }),
        }
    }

    /// The client that delivers, for its [`status`](Client::status) or to record with; `None` before `sentry::init`, without
    /// a DSN, and when it could not be built (see [`SentryTransport::error`]).
    #[must_use]
    pub fn client(&self) -> Option<Client> {
        let made = self.shared.made.read().unwrap_or_else(PoisonError::into_inner);
        made.as_ref()?.as_ref().ok().cloned()
    }

    /// Why nothing is delivered: the setting that was wrong and what would be right. What is captured then is lost, and
    /// the `sentry` crate counts it as `internal_sdk_error`.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let made = self.shared.made.read().unwrap_or_else(PoisonError::into_inner);
        made.as_ref()?.as_ref().err().map(ToString::to_string)
    }

    /// For `sentry::ClientOptions::traces_sampler`: what a parent decided, and for roots `rate` (0 to 1), halved as often as
    /// the downsample factor of the moment says. Events and sessions are never downsampled.
    ///
    /// The crate rolls the dice and writes the rate it was given into the trace's sampling context, so that Sentry
    /// extrapolates rightly. Never waits: one attempt to read, one load.
    pub fn traces_sampler(
        &self,
        rate: f32,
    ) -> impl Fn(&TransactionContext) -> f32 + Send + Sync + 'static + use<> {
        let shared = Arc::clone(&self.shared);
        move |context| match context.sampled() {
            Some(sampled) => f32::from(sampled),
            None => downsampled(rate, shared.factor()),
        }
    }
}

/// `rate`, halved `factor` times.
fn downsampled(rate: f32, factor: u8) -> f32 {
    // A factor is at most 10, so the divisor is exact.
    rate / f32::from(1u16 << factor.min(15))
}

impl Shared {
    fn factor(&self) -> u8 {
        // Whoever writes is making the client: there is no pressure yet.
        let Ok(made) = self.made.try_read() else { return 0 };
        match &*made {
            Some(Ok(client)) => client.sentry_gate().factor(),
            _ => 0,
        }
    }
}

impl fmt::Debug for SentryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentryTransport")
            .field("client", &self.client())
            .field("error", &self.error())
            .finish()
    }
}

impl TransportFactory for SentryTransport {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let built = self
            .shared
            .builder
            .clone()
            .sentry_dsn(&options.dsn.to_string())
            .sentry_client(&options.user_agent)
            .proxies(options.http_proxy.as_deref(), options.https_proxy.as_deref())
            .accept_invalid_certs(options.accept_invalid_certs)
            .build();
        let transport: Arc<dyn Transport> = match &built {
            Ok(client) => Arc::new(Delivering {
                client: client.clone(),
            }),
            Err(_) => Arc::new(Off {
                recorder: options.client_report_recorder,
            }),
        };
        *self.shared.made.write().unwrap_or_else(PoisonError::into_inner) = Some(built);
        transport
    }
}

struct Delivering {
    client: Client,
}

impl Transport for Delivering {
    fn send_envelope(&self, envelope: Envelope) {
        self.client.sdk_envelope(&envelope);
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.client.flush(timeout).complete
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        self.client.close(timeout).complete
    }
}

/// Stands in for a client that could not be built.
struct Off {
    recorder: Recorder,
}

impl Transport for Off {
    fn send_envelope(&self, envelope: Envelope) {
        self.recorder
            .record_lost_data(&envelope, LossReason::InternalError);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_the_factor_halves_the_rate() {
        assert_eq!(downsampled(0.5, 0), 0.5);
        assert_eq!(downsampled(0.5, 1), 0.25);
        assert_eq!(downsampled(1.0, 10), 1.0 / 1024.0);
    }
}
