//! A reserved record that is being written.

use super::Pushed;
use super::protocol::{Claim, Ring};
use crate::item::{DropReason, Header, Outcome};
use core::fmt;
use core::mem::ManuallyDrop;

/// More was written to a [`Slot`] than it had reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotFull;

impl fmt::Display for SlotFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is longer than the room that was reserved for it; reserve more")
    }
}

impl core::error::Error for SlotFull {}

impl embedded_io::Error for SlotFull {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::OutOfMemory
    }
}

/// Room in the ring for one record, written from front to back through [`fmt::Write`] or [`embedded_io::Write`].
///
/// The consumer cannot read past an open slot, so encode and let go: no waiting while one is held. A slot that is
/// dropped is discarded, and the record counted as lost under [`DropReason::InternalSdkError`], because an encoder
/// failed or panicked; [`Slot::discard`] gives another reason. A slot that is leaked blocks the ring for good, which
/// [`Consumer::stuck_position`](super::Consumer::stuck_position) shows.
///
/// What does not fit is refused whole and remembered: [`Slot::commit`] then drops the record as too large, so an
/// encoder need not check every write.
#[must_use = "a slot that is dropped is discarded, and its record counted as lost"]
pub struct Slot<'a> {
    ring: Ring<'a>,
    claim: Claim,
    room: usize,
    written: usize,
    overflowed: bool,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(super) fn new(ring: Ring<'a>, claim: Claim, room: usize) -> Self {
        Self {
            ring,
            claim,
            room,
            written: 0,
            overflowed: false,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.written
    }

    /// True when nothing was written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Bytes that can still be written.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.room.saturating_sub(self.written)
    }

    /// True when a write did not fit; nothing can be written any more and [`Slot::commit`] drops the record.
    #[must_use]
    pub const fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Appends `bytes`, all or none of them.
    ///
    /// # Errors
    /// [`SlotFull`] when they do not fit, and for every call after that.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SlotFull> {
        if self.overflowed || bytes.len() > self.remaining() {
            self.overflowed = true;
            return Err(SlotFull);
        }
        self.ring.write_payload(&self.claim, self.written, bytes);
        self.written = self.written.wrapping_add(bytes.len());
        Ok(())
    }

    /// Hands all of the room, zeroes and what was written so far, to `write`, which says how many bytes at its front are
    /// the record. They replace what was written before. Costs what `write` costs and zeroing of the rest.
    ///
    /// # Errors
    /// [`SlotFull`] when `write` says `None`; the slot then counts as overflowed.
    #[cfg(not(surgetank_loom))]
    pub fn fill(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Result<(), SlotFull> {
        if self.overflowed {
            return Err(SlotFull);
        }
        // All of it may be written to, also by a `write` that panics: a slot that is given up is zeroed that far.
        self.written = self.room;
        let room = self.ring.payload_mut(&mut self.claim, self.room);
        match write(room).and_then(|len| Some((len, room.get_mut(len..)?))) {
            Some((len, rest)) => {
                rest.fill(0);
                self.written = len;
                Ok(())
            }
            None => {
                self.overflowed = true;
                Err(SlotFull)
            }
        }
    }

    /// What was written so far, to be changed in place: a length that is known only afterwards.
    #[cfg(not(surgetank_loom))]
    pub fn written_mut(&mut self) -> &mut [u8] {
        self.ring.payload_mut(&mut self.claim, self.written)
    }

    /// Replaces the header, for quantities that are known only after encoding (the bytes of a log). The room stays
    /// accounted to the lane of the header it was reserved with.
    pub fn set_header(&mut self, header: &Header) {
        self.ring.write_header(&self.claim, header);
    }

    /// Publishes the record with what was written to it; an overflowed slot is discarded as
    /// [`DropReason::TooLarge`] instead. The rest of the room goes back if nobody reserved behind it.
    #[inline]
    pub fn commit(self) -> Pushed {
        if self.overflowed {
            return self.discard(DropReason::TooLarge);
        }
        let this = ManuallyDrop::new(self);
        Pushed {
            outcome: Outcome::Queued,
            wake: this.ring.commit(this.claim, this.written),
        }
    }

    /// Gives the room back and counts the record as dropped for `reason`.
    pub fn discard(self, reason: DropReason) -> Pushed {
        let this = ManuallyDrop::new(self);
        Pushed {
            outcome: Outcome::Dropped(reason),
            wake: this.give_up(reason),
        }
    }

    /// Gives the room back as if it had never been reserved: nothing is counted. For a caller who asked for too little and
    /// reserves again. True when the consumer is to be woken.
    #[must_use = "the consumer may have to be woken"]
    pub fn withdraw(self) -> bool {
        let this = ManuallyDrop::new(self);
        this.ring.discard(this.claim, this.written)
    }

    /// Discards the claim, which must not be used after this.
    fn give_up(&self, reason: DropReason) -> bool {
        let header = self.ring.read_header(&self.claim);
        self.ring.state.losses.0.count_record(&header, reason);
        self.ring.discard(self.claim, self.written)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.give_up(DropReason::InternalSdkError) {
            // Nobody to return it to: the next reservation takes it over.
            self.ring.mark();
        }
    }
}

impl fmt::Write for Slot<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text.as_bytes()).map_err(|SlotFull| fmt::Error)
    }
}

impl embedded_io::ErrorType for Slot<'_> {
    type Error = SlotFull;
}

impl embedded_io::Write for Slot<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<usize, SlotFull> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn flush(&mut self) -> Result<(), SlotFull> {
        Ok(())
    }
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("len", &self.written)
            .field("remaining", &self.remaining())
            .field("overflowed", &self.overflowed)
            .finish()
    }
}
