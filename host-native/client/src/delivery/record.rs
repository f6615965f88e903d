//! The record path: everything between a call of the application and the intake.

use core::cell::RefCell;

use surgetank_core::intake::{Pushed, SlotFull};
use surgetank_core::item::{Count, DestinationId, DropReason, Header, Outcome};

use super::thread::on_delivery_thread;
use super::{Delivery, Exporter, worker};
use crate::json::{Encode, PASSING_BYTES};

#[cfg(test)]
mod tests;

/// Bytes for a record that is mostly short: a span or log with a dozen attributes has 300 to 600.
const SHORT_BYTES: usize = 1024;

thread_local! {
    /// Where a thread encodes what is mostly short. Not on the stack, where it would be zeroed for each record. Taken while
    /// a record is encoded: a signal handler that comes in between finds that, and goes the long way. Without a
    /// destructor, so that it is there until the thread's last instruction.
    static SCRATCH: RefCell<[u8; SHORT_BYTES]> = const { RefCell::new([0; SHORT_BYTES]) };
}

impl<E: Exporter> Delivery<E> {
    /// Records bytes that are encoded already.
    ///
    /// No lock, no allocation; at most one non-blocking system call. Dropped records are counted before this returns.
    pub fn record(&self, header: &Header, payload: &[u8]) -> Outcome {
        match self.admits(header) {
            Ok(()) => self.pushed(self.shared.intake.push(header, payload)),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// Records what `make` makes, which is asked only if such a record may enter. As [`Delivery::record`].
    ///
    /// What mostly fits [`SHORT_BYTES`] is encoded once, beside the intake, and copied in one piece. That is half the
    /// work of measuring first; what is longer is measured after all.
    pub(crate) fn record_short<V: Encode>(&self, header: &Header, make: impl FnOnce() -> V) -> Outcome {
        match self.admits(header) {
            Ok(()) => self.record_admitted(header, &make()),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// The same for a record that may enter.
    #[inline]
    pub(crate) fn record_admitted(&self, header: &Header, value: &impl Encode) -> Outcome {
        let pushed = SCRATCH.with(|scratch| {
            let mut scratch = scratch.try_borrow_mut().ok()?;
            let length = value.write(scratch.as_mut_slice())?;
            Some(self.shared.intake.push(header, scratch.get(..length)?))
        });
        match pushed {
            Some(pushed) => self.pushed(pushed),
            None => self.record_long(header, value),
        }
    }

    /// The same for what is mostly longer: encoded straight into the intake, into room for what it is likely to need, or
    /// else after it was measured. Apart from the short path.
    #[inline(never)]
    pub(crate) fn record_long(&self, header: &Header, value: &impl Encode) -> Outcome {
        if let Some(room) = value.likely_len() {
            let mut slot = match self.shared.intake.reserve(header, room) {
                Ok(slot) => slot,
                Err(reason) => return Outcome::Dropped(reason),
            };
            if slot.fill(|bytes| value.write(bytes)).is_ok() {
                return self.pushed(slot.commit());
            }
            if slot.withdraw() {
                self.shared.ring.ring();
            }
        }
        let room = value.encoded_len().saturating_add(PASSING_BYTES);
        match self.shared.intake.reserve(header, room) {
            Ok(mut slot) => {
                let written = slot.fill(|bytes| value.write(bytes));
                self.pushed(match written {
                    Ok(()) => slot.commit(),
                    Err(SlotFull) => slot.discard(DropReason::InternalSdkError),
                })
            }
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// Records bytes that are no record of their own, whatever the gate says.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn record_past_gate(&self, header: &Header, value: &impl Encode) -> Outcome {
        if on_delivery_thread() {
            return Outcome::Dropped(DropReason::Reentrant);
        }
        self.record_long(header, value)
    }

    /// Whether the record may enter; a refusal is counted.
    #[inline(always)]
    pub(crate) fn admits(&self, header: &Header) -> Result<(), DropReason> {
        // Before the gate, or what the thread records once all is closed would count as closed.
        if on_delivery_thread() {
            let reason = DropReason::Reentrant;
            let intake = &self.shared.intake;
            intake.refuse_apart(header.destination, header.count, header.also, reason);
            return Err(reason);
        }
        self.shared.intake.admit(header)
    }

    /// The same for callers who have a long way to the bytes: `record` asks again.
    #[cfg(feature = "sentry")]
    pub(crate) fn admit(&self, header: &Header) -> Result<(), DropReason> {
        let admitted = self.admits(header);
        if admitted.is_err() {
            // Somebody has to tell the server.
            worker::start(&self.shared);
        }
        admitted
    }

    /// Counts something the application dropped before it recorded it. `header` says what it would have been.
    pub fn refuse(&self, header: &Header, reason: DropReason) {
        self.shared.intake.refuse(header, reason);
        worker::start(&self.shared);
    }

    /// Counts one quantity of `destination` as dropped, for parts of a mixed record that `record` refused.
    pub fn refuse_count(&self, destination: DestinationId, count: Count, reason: DropReason) {
        self.shared
            .intake
            .refuse_count(destination.index(), count, reason);
        worker::start(&self.shared);
    }

    fn pushed(&self, pushed: Pushed) -> Outcome {
        worker::start(&self.shared);
        if pushed.wake {
            self.shared.ring.ring();
        }
        pushed.outcome
    }
}
