//! The record path: everything between a call of the application and the intake.

use surgetank_core::intake::{Pushed, Slot};
use surgetank_core::item::{Count, DestinationId, DropReason, Header, Outcome};
use surgetank_core::wire::otlp::protobuf::{Full, OPEN_PREFIX_BYTES, Out, Writer};

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

    /// Records what `make` makes, which is asked only if such a record may enter. As [`Delivery::record`].
    ///
    /// What mostly fits [`SHORT_BYTES`] is encoded once, beside the intake, and copied in one piece. That is half the
    /// work of measuring first; what is longer is measured after all.
    pub(crate) fn record_short<V: Encode>(&self, header: &Header, make: impl FnOnce() -> V) -> Outcome {
        let shared = &*self.shared;
        if let Err(reason) = admit(shared, header) {
            return Outcome::Dropped(reason);
        }
        let value = make();
        let mut scratch = [0; SHORT_BYTES];
        let length = value.write(&mut scratch);
        match length.and_then(|length| scratch.get(..length)) {
            Some(payload) => self.pushed(shared.intake.push(header, payload)),
            None => self.measured(header, &value),
        }
    }

    /// Records bytes that are no record of their own, whatever the gate says.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn record_past_gate(&self, header: &Header, value: &impl Encode) -> Outcome {
        if on_delivery_thread() {
            return Outcome::Dropped(DropReason::Reentrant);
        }
        self.measured(header, value)
    }

    /// The same for what is mostly longer: measured, then encoded straight into the intake.
    pub(crate) fn record_long<V: Encode>(&self, header: &Header, make: impl FnOnce() -> V) -> Outcome {
        match admit(&self.shared, header) {
            Ok(()) => self.measured(header, &make()),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// Apart from its callers: its stage on their stack would slow the short path down.
    #[inline(never)]
    fn measured(&self, header: &Header, value: &impl Encode) -> Outcome {
        let length = value.encoded_len();
        let slot = match self.shared.intake.reserve(header, length) {
            Ok(slot) => slot,
            Err(reason) => return Outcome::Dropped(reason),
        };
        let mut out = SlotOut::new(slot);
        value.encode(&mut out);
        let slot = out.finish();
        self.pushed(match slot {
            Ok(slot) if slot.len() == length => slot.commit(),
            Ok(slot) | Err(slot) => slot.discard(DropReason::InternalSdkError),
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

/// Bytes that are collected before they are appended to a slot.
const STAGE_BYTES: usize = 512;

/// A slot as an encoder's output. Encoders write a few bytes at a time; they are collected, because an append costs more
/// than such a piece.
struct SlotOut<'a> {
    slot: Slot<'a>,
    stage: [u8; STAGE_BYTES],
    staged: usize,
    failed: bool,
}

impl<'a> SlotOut<'a> {
    fn new(slot: Slot<'a>) -> Self {
        Self {
            slot,
            stage: [0; STAGE_BYTES],
            staged: 0,
            failed: false,
        }
    }

    /// The slot, as an error if something could not be written.
    fn finish(mut self) -> Result<Slot<'a>, Slot<'a>> {
        self.flush();
        if self.failed {
            Err(self.slot)
        } else {
            Ok(self.slot)
        }
    }

    /// Writes to the stage; false, and nothing written, when it has no room for it.
    #[inline]
    fn stage(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> bool {
        let mut stage = Writer::new(self.stage.get_mut(self.staged..).unwrap_or_default());
        write(&mut stage);
        match stage.finish() {
            Ok(written) => {
                self.staged = self.staged.saturating_add(written);
                true
            }
            Err(Full) => false,
        }
    }

    #[inline(never)]
    fn flush(&mut self) {
        let staged = self.stage.get(..self.staged).unwrap_or_default();
        self.failed |= self.slot.append(staged).is_err();
        self.staged = 0;
    }

    /// What did not fit the stage.
    #[inline(never)]
    fn spill(&mut self, bytes: &[u8]) {
        self.flush();
        match self.stage.get_mut(..bytes.len()) {
            Some(target) => {
                target.copy_from_slice(bytes);
                self.staged = bytes.len();
            }
            None => self.failed |= self.slot.append(bytes).is_err(),
        }
    }
}

impl Out for SlotOut<'_> {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        if !self.stage(|stage| stage.raw(bytes)) {
            self.spill(bytes);
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        if !self.stage(|stage| stage.array(bytes)) {
            self.spill(&bytes);
        }
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
        self.slot.len().saturating_add(self.staged)
    }

    fn patch(&mut self, position: usize, bytes: [u8; OPEN_PREFIX_BYTES]) {
        if self.slot.len() < position.saturating_add(OPEN_PREFIX_BYTES) {
            self.flush();
        }
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
