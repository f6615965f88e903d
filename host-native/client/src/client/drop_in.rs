//! What the drop-ins for other SDKs need of a client beyond its recording calls.

use surgetank_core::gate::GateState;
use surgetank_core::item::{Count, DestinationId, DropReason, Header};

use super::Client;

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
