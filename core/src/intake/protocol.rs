//! The producers' side of the protocol: claim, publish, give back. See the module's narrative.

use super::Pushed;
use super::losses::Losses;
use super::memory::{HEADER_BYTES, Memory};
use super::sync::{AtomicU8, AtomicUsize, Line, Ordering, const_fn, step};
use crate::item::{DropReason, Header, Outcome, Priority};
use crate::limits::{INTAKE_RESERVE_ATTEMPTS, INTAKE_SHARE_PERCENT};
use crate::ring::{self, Look, Place, align_up};

/// Bytes of a record before its header: the commit word, then the payload's length, both of 32 bits in native order.
pub(super) const PREFIX_BYTES: usize = 8;
/// Bytes of a record before its payload.
pub(super) const OVERHEAD_BYTES: usize = PREFIX_BYTES + HEADER_BYTES;
/// Offset of the payload's length.
pub(super) const LENGTH_AT: usize = 4;

/// Commit words: nothing yet, or the record's total size, a multiple of 8, with its kind in the low three bits.
///
/// A record to be read.
pub(super) const RECORD: u32 = 2;
/// Bytes up to the end of memory that a record skipped.
pub(super) const PADDING: u32 = 4;
/// A slot that was given up; only its commit word is not zero.
pub(super) const DISCARDED: u32 = 6;
/// Set in part in every published word.
pub(super) const KIND: u32 = 6;
/// The size in a commit word.
pub(super) const SIZE: u32 = !7;

/// Flags of the tail, in bits that alignment leaves free.
///
/// No reservation succeeds any more.
pub(super) const CLOSED: usize = 1;
/// The consumer sleeps: whoever exchanges this tail for a reservation takes the flag, and wakes the consumer when it is done.
pub(super) const WAITING: usize = 2;
/// All of them.
const FLAGS: usize = CLOSED | WAITING;

/// The position in a tail.
#[inline]
pub(super) const fn position_of(tail: usize) -> usize {
    tail & !FLAGS
}

/// States of [`Head::owner`].
pub(super) const FREE: u8 = 0;
pub(super) const TAKEN: u8 = 1;
pub(super) const FREE_INTERRUPTED: u8 = 2;

/// Where a reservation repeats a position, a stale fill could pass; see "Positions" in the module's narrative.
const POSITIONS_REPEAT: bool = usize::BITS < 64 || cfg!(all(test, not(surgetank_loom)));

/// Producers look at a copy of the head first. With 32 bits a producer that is held up before it writes the copy could set it
/// back by so much that it looks new; and machines with 32 bits mostly have one core, where a copy saves nothing.
const HEAD_IS_COPIED: bool = usize::BITS >= 64;

/// What producers write.
pub(super) struct Tail {
    /// End of the last reservation, with [`CLOSED`] and [`WAITING`].
    pub(super) position: AtomicUsize,
    /// The head as some producer last saw it: never later than the head is, and mostly enough to see that there is room,
    /// without the cache line that the consumer writes.
    known_head: AtomicUsize,
    /// How many bytes may be in use after a record of each priority.
    shares: [usize; Priority::COUNT],
    /// Bytes of the largest payload.
    pub(super) max_payload: usize,
    /// Bytes of memory, a power of two.
    pub(super) capacity: usize,
}

/// What the consumer writes.
pub(super) struct Head {
    /// Start of the oldest byte that is not free.
    pub(super) position: AtomicUsize,
    /// Whether there is a consumer, or how the last one ended.
    pub(super) owner: AtomicU8,
}

/// Everything of an intake but its memory and gates.
pub(super) struct State {
    pub(super) tail: Line<Tail>,
    pub(super) head: Line<Head>,
    pub(super) losses: Line<Losses>,
}

impl State {
    const_fn! {
        /// The state of an empty ring of `capacity` bytes, whose positions begin at `origin`.
        pub(super) fn new(capacity: usize, origin: usize) -> Self {
            let mut shares = [0; Priority::COUNT];
            let mut rest: &mut [usize] = &mut shares;
            let mut percents: &[u8] = &INTAKE_SHARE_PERCENT;
            while let ([share, later @ ..], [percent, next @ ..]) = (rest, percents) {
                *share = (capacity as u64 * *percent as u64 / 100) as usize;
                rest = later;
                percents = next;
            }
            Self {
                tail: Line(Tail {
                    position: AtomicUsize::new(origin),
                    known_head: AtomicUsize::new(origin),
                    shares,
                    max_payload: (capacity / 2).saturating_sub(OVERHEAD_BYTES),
                    capacity,
                }),
                head: Line(Head {
                    position: AtomicUsize::new(origin),
                    owner: AtomicU8::new(FREE),
                }),
                losses: Line(Losses::new()),
            }
        }
    }
}

/// An intake without its storage type, so that the code below exists once.
#[derive(Clone, Copy)]
pub(super) struct Ring<'a> {
    pub(super) state: &'a State,
    pub(super) memory: Memory<'a>,
}

/// Bytes of the ring that belong to the producer that holds this.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// Start of the record.
    pub(super) position: usize,
    /// Its place in memory.
    at: usize,
    /// All of it, aligned.
    pub(super) total: usize,
    /// The consumer's mark came with it: whoever ends this claim wakes the consumer, or passes the mark on.
    wakes: bool,
}

/// What the first attempt to reserve came to.
enum Attempt {
    Claimed(Claim),
    Refused(DropReason),
    /// Closed, the consumer asleep, at the end of memory, or somebody else was faster: a closer look decides.
    Unclear,
}

impl<'a> Ring<'a> {
    /// The place in memory of `position`.
    #[inline]
    pub(super) fn offset(self, position: usize) -> usize {
        ring::offset(position, self.capacity())
    }

    /// Bytes of memory, a power of two.
    #[inline]
    pub(super) fn capacity(self) -> usize {
        self.state.tail.0.capacity
    }

    /// Bytes in use, open slots and padding included.
    pub(super) fn fill(self) -> usize {
        // Head first: the difference is never negative, and at most too large by what was added in between.
        let head = self.state.head.0.position.load(Ordering::Relaxed);
        let tail = position_of(self.state.tail.0.position.load(Ordering::Relaxed));
        tail.wrapping_sub(head).min(self.capacity())
    }

    /// All bytes of a record with that payload; `None` when it is too large.
    #[inline]
    fn total(self, payload: usize) -> Option<usize> {
        (payload <= self.state.tail.0.max_payload).then(|| align_up(payload.wrapping_add(OVERHEAD_BYTES)))
    }

    /// How many bytes may be in use after a record of that priority.
    #[inline]
    fn share(self, priority: Priority) -> usize {
        match self.state.tail.0.shares.get(priority.index()) {
            Some(share) => *share,
            None => 0,
        }
    }

    /// Copies a record into the ring, or refuses and counts it.
    #[inline(always)]
    pub(super) fn push(self, header: &Header, payload: &[u8]) -> Pushed {
        if let Some(total) = self.total(payload.len()) {
            match self.claim_at_once(header.priority, total) {
                Attempt::Claimed(claim) => return self.put(claim, header, payload),
                Attempt::Refused(reason) => return self.refused(header, reason),
                Attempt::Unclear => {}
            }
        }
        self.push_again(header, payload)
    }

    /// The rest of the way, where the first attempt did not decide it.
    #[cold]
    #[inline(never)]
    fn push_again(self, header: &Header, payload: &[u8]) -> Pushed {
        match self.claim_again(header.priority, payload.len()) {
            Ok(claim) => self.put(claim, header, payload),
            Err(reason) => self.refused(header, reason),
        }
    }

    #[inline(always)]
    fn put(self, claim: Claim, header: &Header, payload: &[u8]) -> Pushed {
        self.write_header(&claim, header);
        step!();
        let at = claim.at.wrapping_add(OVERHEAD_BYTES);
        // SAFETY: within the claim, which has room for exactly this payload and belongs to the caller.
        unsafe { self.memory.write_short(at, payload) }
        Pushed {
            outcome: Outcome::Queued,
            wake: self.commit(claim, payload.len()),
        }
    }

    #[inline(always)]
    fn refused(self, header: &Header, reason: DropReason) -> Pushed {
        self.state.losses.0.count_record(header, reason);
        Pushed {
            outcome: Outcome::Dropped(reason),
            wake: false,
        }
    }

    /// Reserves room for a record of up to `payload` bytes and writes its header.
    ///
    /// At most [`INTAKE_RESERVE_ATTEMPTS`] attempts.
    #[inline]
    pub(super) fn claim(self, header: &Header, payload: usize) -> Result<Claim, DropReason> {
        let first = match self.total(payload) {
            Some(total) => self.claim_at_once(header.priority, total),
            None => Attempt::Unclear,
        };
        let claim = match first {
            Attempt::Claimed(claim) => claim,
            Attempt::Refused(reason) => return Err(reason),
            Attempt::Unclear => self.claim_again(header.priority, payload)?,
        };
        self.write_header(&claim, header);
        Ok(claim)
    }

    /// The first attempt to reserve `total` bytes, which mostly decides it: two loads, two comparisons and the exchange.
    #[inline(always)]
    fn claim_at_once(self, priority: Priority, total: usize) -> Attempt {
        let tail_cell = &self.state.tail.0.position;
        step!();
        // Acquire: as in `claim_again`, for all three.
        let tail = tail_cell.load(Ordering::Acquire);
        if tail & FLAGS != 0 {
            return Attempt::Unclear;
        }
        step!();
        let head = if HEAD_IS_COPIED {
            self.state.tail.0.known_head.load(Ordering::Acquire)
        } else {
            self.state.head.0.position.load(Ordering::Acquire)
        };
        let at = match ring::look(tail, head, self.capacity(), total, self.share(priority)) {
            Look::Fits(at) => at,
            Look::Full if HEAD_IS_COPIED && self.is_head_renewed(head) => return Attempt::Unclear,
            Look::Full => return Attempt::Refused(DropReason::QueueOverflow),
            Look::Wraps => return Attempt::Unclear,
        };
        let end = tail.wrapping_add(total);
        step!();
        // When the head was read later than the tail, this fails: a tail never comes back to what lies behind the head.
        match tail_cell.compare_exchange(tail, end, Ordering::AcqRel, Ordering::Relaxed) {
            Err(_) => Attempt::Unclear,
            Ok(_) if POSITIONS_REPEAT && !self.is_within_capacity(end) => {
                Attempt::Refused(self.overtaken(tail, end))
            }
            Ok(_) => Attempt::Claimed(Claim {
                position: tail,
                at,
                total,
                wakes: false,
            }),
        }
    }

    /// True when the head is not what the copy said, which is mended then.
    #[inline(always)]
    fn is_head_renewed(self, known: usize) -> bool {
        step!();
        // Acquire: as in `claim_again`.
        let head = self.state.head.0.position.load(Ordering::Acquire);
        if head == known {
            return false;
        }
        step!();
        // Release: pairs with the Acquire load of the copy. Who sees this head in the copy sees what was zeroed before it, as
        // we do. A store, which may set the copy back to an older head: then there seems to be less room than there is.
        self.state.tail.0.known_head.store(head, Ordering::Release);
        true
    }

    /// The further attempts.
    #[cold]
    #[inline(never)]
    fn claim_again(self, priority: Priority, payload: usize) -> Result<Claim, DropReason> {
        let total = self.total(payload).ok_or(DropReason::TooLarge)?;
        let share = self.share(priority);
        let tail_cell = &self.state.tail.0.position;
        step!();
        // Acquire: pairs with the Release of the reservation that made this tail, so that the head loaded below is no
        // older than the one which that reservation rested on, and the difference of the two means something.
        let mut tail = tail_cell.load(Ordering::Acquire);
        for _ in 1..INTAKE_RESERVE_ATTEMPTS {
            if tail & CLOSED != 0 {
                return Err(DropReason::Closed);
            }
            step!();
            // Acquire: pairs with the Release store in `Consumer::release`. What is free by this position was zeroed
            // before it was released, and the zeroing is now over for us.
            let head = self.state.head.0.position.load(Ordering::Acquire);
            let start = position_of(tail);
            let padding = match ring::place(start, head, self.capacity(), total, share) {
                Place::After(padding) => padding,
                Place::Full => return Err(DropReason::QueueOverflow),
                Place::Stale => {
                    tail = tail_cell.load(Ordering::Acquire);
                    continue;
                }
            };
            let position = start.wrapping_add(padding);
            let end = position.wrapping_add(total);
            step!();
            // Acquire: pairs with the Release of a producer that gave bytes back (`give_back`), whose zeroing of them
            // must be over. Everything else that happens to the tail is an exchange, too, and continues that Release.
            // Release: pairs with the Acquire loads of the tail above. The consumer's mark, if it is there, is ours now.
            match tail_cell.compare_exchange_weak(tail, end, Ordering::AcqRel, Ordering::Acquire) {
                Err(now) => tail = now,
                Ok(_) => {
                    if POSITIONS_REPEAT && !self.is_within_capacity(end) {
                        return Err(self.overtaken(tail, end));
                    }
                    if padding > 0 {
                        step!();
                        self.publish(self.offset(start), padding as u32 | PADDING);
                    }
                    return Ok(Claim {
                        position,
                        at: self.offset(position),
                        total,
                        wakes: tail & WAITING != 0,
                    });
                }
            }
        }
        Err(DropReason::QueueOverflow)
    }

    /// Gives back a claim, of which no byte was written, that overlaps bytes in use.
    #[cold]
    #[inline(never)]
    fn overtaken(self, tail: usize, end: usize) -> DropReason {
        let tail_cell = &self.state.tail.0.position;
        let given = tail_cell.compare_exchange(end, tail, Ordering::Release, Ordering::Relaxed);
        if given.is_err() && tail & WAITING != 0 {
            self.mark();
        }
        DropReason::InternalSdkError
    }

    /// True unless [`claim`](Self::claim) would now find the ring filled up to the share of this lane.
    pub(super) fn has_room(self, priority: Priority, payload: usize) -> bool {
        // Relaxed: nothing is read or written on the strength of it.
        let tail = position_of(self.state.tail.0.position.load(Ordering::Relaxed));
        let head = self.state.head.0.position.load(Ordering::Relaxed);
        let total = align_up(payload.wrapping_add(OVERHEAD_BYTES));
        let place = ring::place(tail, head, self.capacity(), total, self.share(priority));
        !matches!(place, Place::Full)
    }

    /// True when the bytes up to `end` are not in use by records one lap behind.
    fn is_within_capacity(self, end: usize) -> bool {
        step!();
        // Acquire: as in `claim`; this is the position that makes the memory ours.
        let head = self.state.head.0.position.load(Ordering::Acquire);
        end.wrapping_sub(head) <= self.capacity()
    }

    /// Publishes what starts at this place in memory.
    #[inline]
    fn publish(self, at: usize, word: u32) {
        // SAFETY: what starts here is the caller's until this store.
        let cell = unsafe { self.memory.commit_word(at) };
        // Release: pairs with the Acquire load in `Consumer::drain`; everything written to the record is visible to
        // who reads this word. A store, for nobody else writes it: an exchange would wait until all of the record, which
        // lies in cache lines that the consumer had last, has arrived.
        cell.store(word, Ordering::Release);
    }

    /// Sets the mark of a sleeping consumer for the next reservation. For who took it and cannot wake.
    pub(super) fn mark(self) {
        // Relaxed: waking orders nothing.
        self.state.tail.0.position.fetch_or(WAITING, Ordering::Relaxed);
    }

    /// Writes `header` into a claim that is not published.
    #[inline]
    pub(super) fn write_header(self, claim: &Claim, header: &Header) {
        step!();
        let at = claim.at.wrapping_add(PREFIX_BYTES);
        // SAFETY: within the claim, which is aligned, at least OVERHEAD_BYTES long and belongs to the caller.
        unsafe { self.memory.write_header(at, header) }
    }

    /// The header of a claim that is not published.
    pub(super) fn read_header(self, claim: &Claim) -> Header {
        let at = claim.at.wrapping_add(PREFIX_BYTES);
        // SAFETY: within the claim, which belongs to the caller, and whose header was written when it was made.
        unsafe { self.memory.read_header(at) }
    }

    /// Copies `bytes` to `at` bytes into the payload of a claim; the caller has checked that they fit.
    #[inline]
    pub(super) fn write_payload(self, claim: &Claim, at: usize, bytes: &[u8]) {
        debug_assert!(OVERHEAD_BYTES + at + bytes.len() <= claim.total);
        step!();
        let at = self
            .offset(claim.position)
            .wrapping_add(OVERHEAD_BYTES)
            .wrapping_add(at);
        // SAFETY: within the claim, which belongs to the caller.
        unsafe { self.memory.write(at, bytes) }
    }

    /// The first `written` bytes of the payload of a claim.
    #[cfg(not(surgetank_loom))]
    #[inline]
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "the claim stays borrowed with the bytes"
    )]
    pub(super) fn payload_mut<'b>(self, claim: &'b mut Claim, written: usize) -> &'b mut [u8]
    where
        'a: 'b,
    {
        debug_assert!(OVERHEAD_BYTES + written <= claim.total);
        let at = claim.at.wrapping_add(OVERHEAD_BYTES);
        // SAFETY: within the claim, which belongs to the caller and stays borrowed for as long as the reference.
        unsafe { self.memory.bytes_mut(at, written) }
    }

    /// Publishes a claim of which `written` bytes of payload are written; true when the consumer is to be woken.
    ///
    /// Bytes of the claim beyond those are still zero. They go back to the ring if nobody has reserved behind them;
    /// otherwise they stay part of the record.
    #[inline]
    pub(super) fn commit(self, claim: Claim, written: usize) -> bool {
        let used = align_up(written.wrapping_add(OVERHEAD_BYTES));
        let total = if used < claim.total && self.give_back(&claim, used) {
            used
        } else {
            claim.total
        };
        step!();
        let at = claim.at.wrapping_add(LENGTH_AT);
        // SAFETY: within the claim, which belongs to the caller.
        unsafe { self.memory.write(at, &(written as u32).to_ne_bytes()) }
        step!();
        self.publish(claim.at, total as u32 | RECORD);
        claim.wakes
    }

    /// Gives a claim up, of which `written` bytes of payload may be written; true when the consumer is to be woken.
    pub(super) fn discard(self, claim: Claim, written: usize) -> bool {
        step!();
        let at = claim.at.wrapping_add(LENGTH_AT);
        // SAFETY: within the claim, which belongs to the caller. The commit word is zero, and stays so until it is published.
        unsafe {
            self.memory
                .zero(at, OVERHEAD_BYTES.wrapping_sub(LENGTH_AT).wrapping_add(written));
        }
        if self.give_back(&claim, 0) {
            return false;
        }
        step!();
        self.publish(claim.at, claim.total as u32 | DISCARDED);
        claim.wakes
    }

    /// Moves the tail back so that only `used` bytes of `claim` stay reserved, if nothing was reserved behind it. All
    /// bytes given back are zero. With all of them the consumer's mark goes back, too, if it came with the claim.
    fn give_back(self, claim: &Claim, used: usize) -> bool {
        let end = claim.position.wrapping_add(claim.total);
        let mark = if used == 0 && claim.wakes { WAITING } else { 0 };
        let wanted = claim.position.wrapping_add(used) | mark;
        step!();
        // The tail equals our end only if whoever reserved behind us has given everything back, so nobody else has
        // bytes there. Release: pairs with the Acquire of the next reservation (`claim`), which gets these bytes.
        // Relaxed on failure: the bytes just stay with the record.
        self.state
            .tail
            .0
            .position
            .compare_exchange(end, wanted, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}
