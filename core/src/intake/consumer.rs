//! The one reader.

use super::protocol::{
    FREE, FREE_INTERRUPTED, KIND, LENGTH_AT, OVERHEAD_BYTES, PREFIX_BYTES, RECORD, Ring, SIZE, TAKEN,
    WAITING, position_of,
};
use super::sync::{Ordering, step};
use crate::item::{Category, DropReason, Header, Item};
use crate::limits::{INTAKE_LONGEST_NAP, INTAKE_NAP, INTAKE_RELEASE_BYTES};
use crate::ring;
use crate::time::Duration;
use core::fmt;

/// How much one [`Consumer::drain`] may take: it stops at whichever comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Records, discarded ones included.
    pub records: usize,
    /// Bytes of payload; the record that passes it is still taken.
    pub bytes: usize,
}

impl Budget {
    /// Everything that is there, until the consumer catches up with the producers.
    pub const ALL: Self = Self {
        records: usize::MAX,
        bytes: usize::MAX,
    };
}

/// What one [`Consumer::drain`] did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Drained {
    /// Records handed on.
    pub records: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// True when the budget ended it: more may be ready.
    pub more: bool,
}

/// How long a consumer that has read everything may rest.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sleep {
    /// Until it is woken: nothing is reserved. Exactly one producer is told to wake it, the one that reserves next, as soon
    /// as its record can be read.
    UntilWoken,
    /// For that long, and then it has to look again: somebody is in the middle of the next record and wakes nobody.
    Nap(Duration),
    /// Not at all: a record can be read.
    No,
}

/// The reading end of an [`Intake`](super::Intake). One exists at a time; dropping it lets the next one be made.
///
/// A record is released when the consumer moves past it, which is after the closure given to [`Consumer::drain`] has
/// returned. When that closure panics, the record in its hands is not released: the next [`Consumer::drain`], of this
/// consumer or of the next, hands it on again, unless [`Consumer::skip_interrupted`] gives it up first.
pub struct Consumer<'a> {
    ring: Ring<'a>,
    /// The ring's. It stands beside the tail, too, which is for the producers alone to look at.
    capacity: usize,
    /// The next record.
    cursor: usize,
    /// Everything before this is released: equal to the shared head.
    released: usize,
    /// How far the cursor gets before it releases what it has passed.
    batch: usize,
    /// A record at `cursor` is, or was when a panic ended it, in the hands of a closure.
    in_hand: bool,
    /// The mark of a sleep may be in the tail.
    marked: bool,
    /// The slot that naps wait for, and their number.
    naps: (usize, u32),
}

impl<'a> Consumer<'a> {
    /// Takes the reading end, if it is free.
    pub(super) fn take(ring: Ring<'a>) -> Option<Self> {
        let head = &ring.state.head.0;
        step!();
        // Acquire: pairs with the Release store in `drop`. Everything the last consumer did is visible to us.
        let free = |from| {
            head.owner
                .compare_exchange(from, TAKEN, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let interrupted = if free(FREE) {
            false
        } else if free(FREE_INTERRUPTED) {
            true
        } else {
            return None;
        };
        // Relaxed: only a consumer writes it, and the last one's writes are visible.
        let position = head.position.load(Ordering::Relaxed);
        let capacity = ring.capacity();
        Some(Self {
            ring,
            capacity,
            cursor: position,
            released: position,
            batch: INTAKE_RELEASE_BYTES.min(capacity / 8),
            in_hand: interrupted,
            marked: true,
            naps: (position, 0),
        })
    }

    /// Hands on committed records, oldest first, until the budget is used up or the next record is not committed.
    ///
    /// Items borrow the ring; what is to outlive the closure is copied. Per record: the closure, a copy of the
    /// header, and zeroing of the record's bytes.
    pub fn drain(&mut self, budget: Budget, mut each: impl FnMut(Item<'_>)) -> Drained {
        self.take_back();
        let mut drained = Drained::default();
        let mut taken = 0usize;
        // Only `each` can panic, and while it runs a record is in hand.
        let interrupted = core::mem::replace(&mut self.in_hand, true);
        // Beside `self`, which `each` may be taken to change.
        let (ring, capacity) = (self.ring, self.capacity);
        let mut cursor = self.cursor;
        loop {
            let at = ring::offset(cursor, capacity);
            let word = committed(ring, at);
            if word & KIND == 0 {
                break;
            }
            if taken >= budget.records || drained.bytes >= budget.bytes {
                drained.more = true;
                break;
            }
            taken = taken.wrapping_add(1);
            if word & KIND == RECORD {
                let bytes = hand_on(ring, at, &mut each);
                drained.records = drained.records.wrapping_add(1);
                // Positions count bytes and wrap, too, at many times what a ring can hold.
                drained.bytes = drained.bytes.wrapping_add(bytes);
            }
            cursor = cursor.wrapping_add(size(word));
            self.advance(cursor);
        }
        self.in_hand = interrupted && drained.records == 0;
        self.release();
        drained
    }

    /// True when there is something to read at the cursor.
    fn is_published(&self) -> bool {
        committed(self.ring, self.place(self.cursor)) & KIND != 0
    }

    /// The place in memory of `position`.
    #[inline]
    fn place(&self, position: usize) -> usize {
        ring::offset(position, self.capacity)
    }

    /// Moves the cursor there, past something published.
    #[inline]
    fn advance(&mut self, cursor: usize) {
        self.cursor = cursor;
        if cursor.wrapping_sub(self.released) >= self.batch {
            self.release();
        }
    }

    /// Gives the producers back everything the cursor has passed, zeroed.
    fn release(&mut self) {
        let bytes = self.cursor.wrapping_sub(self.released);
        if bytes == 0 {
            return;
        }
        let at = self.place(self.released);
        let first = bytes.min(self.capacity.wrapping_sub(at));
        step!();
        // SAFETY: everything from `released` up to the cursor was published by its producers and not released yet, so
        // it is ours; it is less than a lap, in at most two pieces.
        unsafe {
            self.ring.memory.zero(at, first);
            if bytes > first {
                self.ring.memory.zero(0, bytes.wrapping_sub(first));
            }
        }
        step!();
        self.released = self.cursor;
        // Release: pairs with the Acquire load in `Ring::claim`; who sees the new position sees the zeroes.
        self.ring
            .state
            .head
            .0
            .position
            .store(self.cursor, Ordering::Release);
    }

    /// Asks for leave to sleep, when [`Consumer::drain`] has left nothing to read, and announces it to the producers.
    ///
    /// If the consumer wakes up for another reason, the next `drain` takes the announcement back. Naps that wait for the same
    /// producer double, from [`INTAKE_NAP`] to [`INTAKE_LONGEST_NAP`].
    #[must_use = "sleeping without leave would miss a record"]
    pub fn sleep(&mut self) -> Sleep {
        self.release();
        step!();
        // The mark goes into the tail, and only into a tail that says that nothing is reserved, so whatever comes next comes
        // by an exchange of this very word, which takes the mark. There is nothing to look at after that: no record can
        // have been published between the last look and the mark, for it would have been reserved.
        // Release: pairs with the Acquire load in `Ring::claim_again`, so that who sees the mark sees the head released above.
        let tail = &self.ring.state.tail.0.position;
        let marked = tail.compare_exchange(
            self.cursor,
            self.cursor | WAITING,
            Ordering::Release,
            Ordering::Relaxed,
        );
        // The other flags change nothing: closed, there is nobody to wait for, and a mark that a slot left is as good as ours.
        let found = match marked {
            Ok(tail) | Err(tail) => position_of(tail),
        };
        if found == self.cursor {
            self.marked = true;
            return Sleep::UntilWoken;
        }
        if self.is_published() {
            return Sleep::No;
        }
        Sleep::Nap(self.nap())
    }

    /// The next nap before the slot at the cursor.
    fn nap(&mut self) -> Duration {
        let (position, before) = self.naps;
        let before = if position == self.cursor { before } else { 0 };
        self.naps = (self.cursor, before.saturating_add(1));
        INTAKE_NAP
            .saturating_mul(1 << before.min(31))
            .min(INTAKE_LONGEST_NAP)
    }

    /// Takes an announcement back that nobody has answered.
    fn take_back(&mut self) {
        if !core::mem::take(&mut self.marked) {
            return;
        }
        let tail = &self.ring.state.tail.0.position;
        step!();
        // Relaxed: waking orders nothing. Who has the mark keeps it, and wakes for nothing.
        if tail.load(Ordering::Relaxed) & WAITING != 0 {
            step!();
            tail.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }

    /// Hands over everything producers counted as dropped since the last call, and resets it: gate index (see
    /// [`Intake::gate`](super::Intake::gate)), category, reason, quantity in the category's unit.
    ///
    /// Reads one flag per gate and reason, and 40 counters for each under which anything was ever counted. Where pointers
    /// have 32 bits a counter that would pass 2^32 - 1 between two calls stays there.
    pub fn take_losses(&mut self, each: impl FnMut(usize, Category, DropReason, u64)) {
        self.ring.state.losses.0.take(each);
    }

    /// True when everything that was ever reserved has been handed on or discarded. Together with
    /// [`Intake::close`](super::Intake::close) that is final.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reserved() == self.cursor
    }

    /// The position of the slot that stands in the way: reserved, but not committed. `None` when there is none.
    ///
    /// A host with a clock that gets the same position for longer than any encoding takes has found a producer that
    /// stopped in the middle of a record; [`Intake::fill_bytes`](super::Intake::fill_bytes) says how much is held up.
    #[must_use]
    pub fn stuck_position(&self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        (!self.is_published()).then_some(self.cursor)
    }

    /// True when the last `drain` ended in a panic with the next record in its hands.
    #[must_use]
    pub const fn is_interrupted(&self) -> bool {
        self.in_hand
    }

    /// Gives up the record that was being read when a panic ended the last `drain`, and counts it as dropped for
    /// [`DropReason::InternalSdkError`]. False when there is none. For a record that makes its reader panic each time.
    pub fn skip_interrupted(&mut self) -> bool {
        if !self.in_hand {
            return false;
        }
        self.in_hand = false;
        let at = self.place(self.cursor);
        let word = committed(self.ring, at);
        if word & KIND == 0 {
            return false;
        }
        let (header, _) = record(self.ring, at);
        self.ring
            .state
            .losses
            .0
            .count_record(&header, DropReason::InternalSdkError);
        self.advance(self.cursor.wrapping_add(size(word)));
        self.release();
        true
    }

    fn reserved(&self) -> usize {
        // Relaxed: a figure, and after closing a constant.
        position_of(self.ring.state.tail.0.position.load(Ordering::Relaxed))
    }
}

/// The commit word of the consumer's next record, which is at this place in memory.
#[inline]
fn committed(ring: Ring<'_>, at: usize) -> u32 {
    step!();
    // SAFETY: it is at a record's start, or where the next record will start.
    let word = unsafe { ring.memory.commit_word(at) };
    // Acquire: pairs with the Release store in `Ring::publish`; the record's bytes are visible and ours.
    word.load(Ordering::Acquire)
}

/// Hands on the consumer's next record, which is published, and says how many bytes its payload has.
#[inline]
fn hand_on(ring: Ring<'_>, at: usize, each: &mut impl FnMut(Item<'_>)) -> usize {
    step!();
    let (header, len) = record(ring, at);
    let at = at.wrapping_add(OVERHEAD_BYTES);
    step!();
    // SAFETY: the record is published, so its bytes are the consumer's until it releases them, which `each` cannot do;
    // its producer wrote at least `len` bytes after the header.
    unsafe {
        ring.memory
            .lend(at, len, |payload| each(Item { header, payload }))
    }
    len
}

/// Header and payload length of the consumer's next record, which is published.
#[inline]
fn record(ring: Ring<'_>, at: usize) -> (Header, usize) {
    // SAFETY: the record is published, so these bytes, which every record has, are ours, and its producer wrote them.
    let (len, header) = unsafe {
        (
            ring.memory.read::<4>(at.wrapping_add(LENGTH_AT)),
            ring.memory.read_header(at.wrapping_add(PREFIX_BYTES)),
        )
    };
    (header, u32::from_ne_bytes(len) as usize)
}

/// The size of what was published with this commit word.
#[inline]
fn size(word: u32) -> usize {
    debug_assert!(word & KIND != 0 && word & SIZE != 0);
    (word & SIZE) as usize
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        self.release();
        step!();
        let state = if self.in_hand { FREE_INTERRUPTED } else { FREE };
        // Release: pairs with the Acquire in `take`.
        self.ring.state.head.0.owner.store(state, Ordering::Release);
    }
}

impl fmt::Debug for Consumer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("position", &self.cursor)
            .field("stuck_position", &self.stuck_position())
            .field("interrupted", &self.in_hand)
            .finish_non_exhaustive()
    }
}
