//! What the drop-ins for other SDKs need of a client beyond its recording calls.

#[cfg(feature = "opentelemetry")]
use std::sync::{Arc, Weak};

#[cfg(feature = "sentry")]
use surgetank_core::gate::GateState;
use surgetank_core::item::Header;
#[cfg(feature = "opentelemetry")]
use surgetank_core::item::Outcome;
#[cfg(feature = "sentry")]
use surgetank_core::item::{Count, DestinationId, DropReason};

use super::Client;
#[cfg(feature = "opentelemetry")]
use super::Inner;
#[cfg(feature = "opentelemetry")]
use crate::delivery::Endpoint;
#[cfg(feature = "opentelemetry")]
use crate::json::Encode;

/// For the `sentry` crate.
#[cfg(feature = "sentry")]
impl Client {
    /// Where records for Sentry go.
    pub(crate) fn sentry_destination(&self) -> Option<DestinationId> {
        Some(self.sentry()?.0)
    }

    /// What producers for Sentry may know; everything passes where there is no Sentry.
    pub(crate) fn sentry_gate(&self) -> GateState {
        match (self.inner.process(), self.sentry()) {
            (Ok(process), Some((destination, _))) => process.delivery.gate(destination),
            _ => GateState::OPEN,
        }
    }

    /// Whether the record may enter; a refusal is counted.
    pub(crate) fn admit(&self, header: &Header) -> Result<(), DropReason> {
        self.inner.process()?.delivery.admit(header)
    }

    /// Counts one quantity as dropped.
    pub(crate) fn refuse_count(&self, destination: DestinationId, count: Count, reason: DropReason) {
        if let Ok(process) = self.inner.process() {
            process.delivery.refuse_count(destination, count, reason);
        }
    }
}

/// A client that somebody else keeps alive.
#[cfg(feature = "opentelemetry")]
pub(crate) struct WeakClient(Weak<Inner>);

#[cfg(feature = "opentelemetry")]
impl WeakClient {
    pub(crate) fn upgrade(&self) -> Option<Client> {
        self.0.upgrade().map(|inner| Client { inner })
    }
}

/// For transactions from OpenTelemetry, and for its metrics.
#[cfg(feature = "opentelemetry")]
impl Client {
    pub(crate) fn downgrade(&self) -> WeakClient {
        WeakClient(Arc::downgrade(&self.inner))
    }

    /// Records a part of something that the delivery thread puts together, whatever the gate says.
    pub(crate) fn record_past_gate(&self, header: &Header, value: &impl Encode) -> Outcome {
        match self.inner.process() {
            Ok(process) => process.delivery.record_past_gate(header, value),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// `OTEL_SDK_DISABLED` says that nothing is to be taken from that SDK.
    pub(crate) fn is_otel_disabled(&self) -> bool {
        self.inner.plan.otel_disabled
    }

    /// What the URLs of requests to this project at Sentry begin with.
    pub(crate) fn sentry_url(&self) -> String {
        let planned = self.inner.plan.destinations.first();
        let route = planned.and_then(|planned| planned.target.route(Endpoint::Envelope));
        let url = route.map_or("", |route| route.url.as_str());
        url.strip_suffix("envelope/").unwrap_or(url).to_owned()
    }

    /// What the sampling context of a trace that begins here says in `baggage`, but for the trace. Empty without a DSN.
    pub(crate) fn sampling_facts(&self) -> Vec<(&'static str, String)> {
        let plan = &self.inner.plan;
        let (Some(planned), Some(context)) = (plan.destinations.first(), &plan.sentry) else {
            return Vec::new();
        };
        let facts = [
            ("sentry-public_key", &planned.public_key),
            ("sentry-org_id", &context.org_id),
            ("sentry-release", &plan.release),
            ("sentry-environment", &plan.environment),
        ];
        let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
        known.map(|(key, value)| (key, value.clone())).collect()
    }
}
