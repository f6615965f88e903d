//! The record path: everything between a call of the application and the intake.

use surgetank_core::intake::{Pushed, Slot};
use surgetank_core::item::{Count, DestinationId, DropReason, Header, Outcome};
use surgetank_core::wire::otlp::protobuf::{OPEN_PREFIX_BYTES, Out, Writer};

use super::control::Shared;
use super::thread::on_delivery_thread;
use super::{Delivery, Exporter, worker};
use crate::json::Encode;

/// Bytes on the stack for a record that is mostly short: a span or log with a dozen attributes has 300 to 600.
const SHORT_BYTES: usize = 1024;

impl<E: Exporter> Delivery<E> {
    /// Records bytes that are encoded already.
    ///
    /// No lock, no allocation; at most one non-blocking system call. Dropped records are counted before this returns.
    pub fn record(&self, header: &Header, payload: &[u8]) -> Outcome {
        let shared = &*self.shared;
        if let Err(reason) = admit(shared, header) {
            return Outcome::Dropped(reason);
        }
        self.pushed(shared.intake.push(header, payload))
    }

    /// Records what `value` encodes to, straight into the intake. As [`Delivery::record`].
    pub(crate) fn record_encoded(&self, header: &Header, value: &impl Encode) -> Outcome {
        let shared = &*self.shared;
        if let Err(reason) = admit(shared, header) {
            return Outcome::Dropped(reason);
        }
        let length = value.encoded_len();
        let slot = match shared.intake.reserve(header, length) {
            Ok(slot) => slot,
            Err(reason) => return Outcome::Dropped(reason),
        };
        let mut out = SlotOut { slot, failed: false };
        value.encode(&mut out);
        let SlotOut { slot, failed } = out;
        let whole = !failed && slot.len() == length;
        self.pushed(if whole {
            slot.commit()
        } else {
            slot.discard(DropReason::InternalSdkError)
        })
    }

    /// Whether the record may enter; a refusal is counted. For callers who have a long way to the bytes: `record` asks
    /// again.
    #[cfg(feature = "sentry")]
    pub(crate) fn admit(&self, header: &Header) -> Result<(), DropReason> {
        let admitted = admit(&self.shared, header);
        if admitted.is_err() {
            // Somebody has to tell the server.
            worker::start(&self.shared);
        }
        admitted
    }

    /// The same for what mostly fits [`SHORT_BYTES`]: encoded once, beside the intake, and copied in one piece. That is
    /// half the work of measuring first and appending piece by piece; what is longer is done so after all.
    pub(crate) fn record_short(&self, header: &Header, value: &impl Encode) -> Outcome {
        let shared = &*self.shared;
        if let Err(reason) = admit(shared, header) {
            return Outcome::Dropped(reason);
        }
        let mut scratch = [0; SHORT_BYTES];
        let mut out = Writer::new(&mut scratch);
        value.encode(&mut out);
        let length = out.finish();
        match length.ok().and_then(|length| scratch.get(..length)) {
            Some(payload) => self.pushed(shared.intake.push(header, payload)),
            None => self.record_encoded(header, value),
        }
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

/// Whether the record may enter; a refusal is counted.
fn admit<E: Exporter>(shared: &Shared<E>, header: &Header) -> Result<(), DropReason> {
    if on_delivery_thread() {
        shared.intake.refuse(header, DropReason::Reentrant);
        return Err(DropReason::Reentrant);
    }
    shared.intake.admit(header)
}

/// A slot as an encoder's output.
struct SlotOut<'a> {
    slot: Slot<'a>,
    failed: bool,
}

impl Out for SlotOut<'_> {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.failed |= self.slot.append(bytes).is_err();
    }

    #[inline]
    fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.raw(&bytes);
    }

    #[inline]
    fn pair(&mut self, key_opening: [u8; 4], key: &[u8], value_opening: [u8; 4], value: &[u8]) {
        self.raw(&key_opening);
        self.raw(key);
        self.raw(&value_opening);
        self.raw(value);
    }

    #[inline]
    fn position(&self) -> usize {
        self.slot.len()
    }

    fn patch(&mut self, position: usize, bytes: [u8; OPEN_PREFIX_BYTES]) {
        let rest = self.slot.written_mut().get_mut(position..);
        match rest.and_then(|rest| rest.first_chunk_mut()) {
            Some(target) => *target = bytes,
            None => self.failed = true,
        }
    }

    fn fail(&mut self) {
        self.failed = true;
    }
}
