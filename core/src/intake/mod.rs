//! The concurrent edge: many producers put records of any size into one byte ring, one consumer takes them out.
//!
//! This is the only place in the core with atomics and the only one with unsafe code. It holds bytes and headers and
//! counts what it refused; it has no clock, knows no batches and no policy. Threads, signal handlers, finalizers and
//! interrupts call [`Intake::push`] or [`Intake::reserve`]; the worker drains into the engine and publishes the
//! engine's [`GateState`](crate::gate::GateState) back through a [`Gate`].
//!
//! ```text
//!  producers: admit -> reserve -> write -> commit            consumer: drain -> release
//!
//!            free (all zero)     open      committed, waiting to be read        free (all zero)
//!        |.....................|#####|=======|====|###|=========|pad|====|..........................|
//!                              ^ head (oldest not free)                  ^ tail (end of reservations)
//!
//!  record: | commit word u32 | payload length u32 | header 40 bytes | payload | zero to 8 bytes |
//!          0                 4                    8                 48
//! ```
//!
//! # What is promised
//!
//! - No lock, no system call, no allocation, no waiting: a call does a bounded number of steps (at most
//!   [`INTAKE_RESERVE_ATTEMPTS`](crate::limits::INTAKE_RESERVE_ATTEMPTS) attempts to reserve) and copies the record.
//! - Re-entrant: a push may interrupt a push, a commit, a drain or itself at any instruction, in a signal handler or an
//!   interrupt, and completes.
//! - What does not fit is refused at once and counted, per destination, reason and category, until
//!   [`Consumer::take_losses`].
//! - Who can stall whom: a producer that stops between reserving and committing holds up the *reading* of everything
//!   behind it, and once the ring is full, pushes are refused (never delayed). Its memory is not taken away from it;
//!   [`Consumer::stuck_position`] makes it visible. Producers hold up neither each other nor the consumer in any other
//!   way, except that each reservation that gets ahead costs the others one more attempt.
//!
//! # The protocol
//!
//! 1. *Claim.* A producer reads the tail and the head, sees whether its record fits (within its lane's share, see
//!    [`INTAKE_SHARE_PERCENT`](crate::limits::INTAKE_SHARE_PERCENT)), and moves the tail by compare-and-swap. The bytes
//!    between the old and the new tail are its own now. A record never wraps: if it does not fit before the end of
//!    memory the claim covers the rest of it, too, which is published as padding at once.
//!    What is common (a record that fits, or a ring that is full) is decided by the first attempt, in the caller's own code;
//!    the end of memory, a sleeping consumer, a closed ring and a lost race take the long way, which looks anew.
//!    With 64-bit positions the head that it reads is a copy, which lies beside the tail and which producers renew from the head
//!    when the ring seems full by it: the head's own cache line is the consumer's, and to fetch it costs more than the rest of
//!    the claim. The copy is never later than the head, so it can only show less room than there is.
//! 2. *Write.* Length, header and payload, with plain stores. The commit word stays zero.
//! 3. *Publish.* One store (Release) puts the record's size and kind into the commit word. The bytes are the consumer's
//!    from here on. Before that, room reserved and not used goes back to the ring if the tail still is where the claim
//!    ended; a slot that is given up goes back whole, or is published as discarded if somebody reserved behind it.
//! 4. *Read.* The consumer looks at the commit word at its cursor (Acquire), and only there: zero means "not yet",
//!    whether the bytes are free or reserved. It hands the record on and moves the cursor past it.
//! 5. *Release.* The consumer zeroes what it has passed and stores the new head (Release). A producer that reads this
//!    head (Acquire, in step 1) may reuse the bytes, and finds every word of them zero, wherever its record starts.
//!
//! Free memory is all zero at every moment. That one invariant is why the consumer can trust a word it finds: payload
//! bytes can never pose as a commit word.
//!
//! # Sleeping and waking
//!
//! Whoever publishes with a plain store cannot see in the same step whether somebody sleeps, and a look after the store
//! would need the fence that the store avoids. So the duty to wake is settled before, where producers exchange a word
//! anyway: it is a mark in the tail.
//!
//! - *The consumer sets the mark only in a tail that equals its cursor*, by one compare-and-swap: at that moment nothing is
//!   reserved, so nothing can be published that it has not seen. Then it sleeps without an end
//!   ([`Sleep::UntilWoken`]). Whatever comes to be read after that comes by an exchange of this very word.
//! - *The reservation that exchanges a tail with the mark takes it*, and its producer wakes the consumer after publishing.
//!   It is the first behind the cursor, so its publication is what makes something readable. There is one mark, so one
//!   producer wakes for each sleep. A claim that is given back whole takes the mark back into the tail. A
//!   slot that is dropped (not committed, not explicitly discarded) has nobody to tell and leaves it in the tail for the
//!   next reservation.
//! - *When something is reserved and not published* there is nobody who could be told: its producer may be past its last look at
//!   anything. The consumer sets no mark and naps ([`Sleep::Nap`]): 1 ms, and twice as long each time that the same slot is
//!   in the way, up to 100 ms ([`INTAKE_LONGEST_NAP`](crate::limits::INTAKE_LONGEST_NAP)). A producer mostly takes
//!   a microsecond from its reservation to its publication, so this is rare, and short when it happens. One that
//!   is stopped in between for good costs ten looks a second, and never a consumer that spins.
//! - *A drain takes an unanswered mark back*, for a consumer that wakes up for another reason: a flush, a deadline, a nap.
//!
//! Nothing is recorded: the consumer sleeps without looking. A signal handler that records in the middle of an interrupted
//! record finds the mark taken, and the interrupted producer, whose record is the first, wakes; or finds it and wakes itself.
//! A thread that is frozen or killed with the mark in its claim leaves the consumer asleep, as nothing can be read behind
//! that claim anyway; whoever else wakes the consumer (a flush, an end) finds a slot that is open, and deadlines are the host's.
//!
//! # Positions
//!
//! Head and tail count bytes and wrap with `usize`. A producer compares and swaps the tail, so it must not be possible
//! that the tail comes back to an old value while a producer sleeps between its reading and its exchange, with the head
//! elsewhere. With 64 bits that takes centuries. With 32 bits it takes exactly a multiple of 4 GiB through the ring
//! while one producer is preempted in a window of a few instructions; there the producer reads the head once more after
//! its exchange, and if its claim overlaps bytes still in use, it gives the claim back and drops its record as an
//! internal error, without having written a byte. (Should another producer have passed through the same window at the
//! same moment, giving back fails; the claim then stays open for ever: stuck and visible, but nothing is overwritten.)
//! Giving back within one lap is no such case: a tail that equals the end of an open claim means that nobody holds
//! bytes behind it. The consumer is alone in writing the head.
//!
//! # Panic, fork, end
//!
//! - A producer that unwinds out of a slot discards it, counted. A reader that unwinds leaves a consistent ring (see
//!   [`Consumer`]).
//! - After `fork`, the child must not use the intake it inherited: the threads that held open slots and the consumer
//!   do not exist there, and the records in it are the parent's, which will deliver them. It makes a new one. Nothing
//!   is locked, so nothing has to be unlocked first, and the parent is unaffected.
//! - [`Intake::close`] is exact: every reservation either came before it and will be read, or is refused.
//!
//! # How it is checked
//!
//! ```text
//! cargo test -p surgetank-core --all-features intake          unit tests, the nesting test, a random-operations model
//! cargo test -p surgetank-core --all-features --test intake_threads                             real threads
//! RUSTFLAGS="--cfg surgetank_loom" cargo test -p surgetank-core --release --target-dir target/loom --lib intake::loom
//! MIRIFLAGS=-Zmiri-strict-provenance cargo +nightly miri test -p surgetank-core --target-dir target/miri intake
//! MIRIFLAGS=-Zmiri-strict-provenance cargo +nightly miri test -p surgetank-core --target-dir target/miri \
//!     --target i686-unknown-linux-gnu intake                  32-bit positions
//! RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu \
//!     -p surgetank-core --features alloc --target-dir target/tsan --test intake_threads
//! ```

mod consumer;
mod gate;
mod losses;
#[cfg_attr(surgetank_loom, path = "memory_loom.rs")]
mod memory;
mod protocol;
mod slot;
mod storage;
mod sync;

#[cfg(all(test, surgetank_loom))]
mod loom;
#[cfg(all(test, not(surgetank_loom)))]
mod model;
#[cfg(all(test, not(surgetank_loom)))]
mod nesting;
#[cfg(all(test, not(surgetank_loom)))]
mod tests;

pub use consumer::{Budget, Consumer, Drained, Sleep};
pub use gate::Gate;
pub use memory::Word;
pub use slot::{Slot, SlotFull};
pub use storage::{CapacityError, SharedStorage};

use crate::item::{CategorySet, Count, DestinationId, DropReason, Header, Outcome, Priority};
use crate::limits::INTAKE_GATES;
use crate::ring::ALIGN;
use core::fmt;
use memory::Memory;
use protocol::{CLOSED, Ring, State};
use sync::{Line, Ordering};

/// What became of a record, and whether the consumer has to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the consumer may have to be woken"]
pub struct Pushed {
    /// In the ring, or dropped and counted.
    pub outcome: Outcome,
    /// The consumer announced that it sleeps, and the caller is the one to wake it. At most one producer per
    /// announcement is told so.
    pub wake: bool,
}

/// A ring of records in fixed memory, written by many and read by one. See the module's documentation.
///
/// `S` is its memory, a power of two in bytes: `Intake<[Word; N]>` for a `static`, `Intake<&'static mut [Word]>`, or
/// with the feature `alloc` `Intake<Box<[Word]>>`, usually in an `Arc`.
///
/// ```
/// use surgetank_core::intake::{Budget, Intake, Sleep, Word};
/// use surgetank_core::item::{Category, DestinationId, Form, Header, Outcome};
///
/// static INTAKE: Intake<[Word; 512]> = Intake::fixed(); // 4 KiB
///
/// let header = Header::new(DestinationId::default(), Form::Item, Category::Error, 1);
/// let pushed = INTAKE.push(&header, b"{}");
/// assert_eq!(pushed.outcome, Outcome::Queued);
///
/// let mut consumer = INTAKE.consumer().expect("the only one");
/// consumer.drain(Budget::ALL, |item| assert_eq!((item.header, item.payload), (header, &b"{}"[..])));
/// match consumer.sleep() {
///     Sleep::UntilWoken => {} // Wait here until a producer's `wake`, or until the engine's next deadline.
///     Sleep::Nap(_) => {}     // The same, but no longer than that.
///     Sleep::No => {}         // Drain again.
/// }
/// ```
pub struct Intake<S> {
    gates: Line<[Gate; INTAKE_GATES]>,
    state: State,
    storage: S,
}

#[cfg(not(surgetank_loom))]
impl<const N: usize> Intake<[Word; N]> {
    /// An intake of `8 * N` bytes inside the value itself, for a `static`. `N` is a power of two of at least 16; any
    /// other does not compile.
    #[must_use]
    pub const fn fixed() -> Self {
        const {
            assert!(
                storage::check(N).is_ok(),
                "the number of words must be a power of two from 16 to 2^27"
            );
        }
        Self {
            gates: Line([const { Gate::new() }; INTAKE_GATES]),
            state: State::new(N * ALIGN, 0),
            storage: [const { Word::zeroed() }; N],
        }
    }
}

#[cfg(any(feature = "alloc", test))]
impl Intake<alloc::boxed::Box<[Word]>> {
    /// An intake of `bytes` bytes from the allocator, taken once.
    ///
    /// # Errors
    /// A capacity that is not a power of two or out of range, or no memory.
    pub fn allocate(bytes: usize) -> Result<Self, CapacityError> {
        if !bytes.is_multiple_of(ALIGN) {
            return Err(CapacityError::NotAPowerOfTwo);
        }
        Self::new(storage::allocate(bytes / ALIGN)?)
    }
}

impl<S: SharedStorage> Intake<S> {
    /// An intake in this memory.
    ///
    /// # Errors
    /// A capacity that is not a power of two or out of range.
    pub fn new(storage: S) -> Result<Self, CapacityError> {
        Self::starting_at(storage, 0)
    }

    /// The same with positions that begin at `origin`, a multiple of [`ALIGN`].
    fn starting_at(storage: S, origin: usize) -> Result<Self, CapacityError> {
        let words = storage.words().len();
        storage::check(words)?;
        Ok(Self {
            gates: Line([const { Gate::new() }; INTAKE_GATES]),
            state: State::new(words.wrapping_mul(ALIGN), origin),
            storage,
        })
    }

    #[inline]
    fn ring(&self) -> Ring<'_> {
        Ring {
            state: &self.state,
            memory: Memory::new(self.storage.words()),
        }
    }

    /// Touches the pages of the first `bytes` bytes of its memory. A system provides a page of fresh memory when it is first
    /// written, and may have whoever writes wait for that; so it is done here and not in a recording call.
    ///
    /// Bound: a write for each 4 KiB.
    #[cfg(not(surgetank_loom))]
    pub fn touch(&mut self, bytes: usize) {
        let ring = self.ring();
        // SAFETY: the reference is the only one to the intake.
        unsafe { ring.memory.touch(bytes.min(ring.capacity())) };
    }

    /// Bytes of memory for records: headers, padding and 8 bytes per record included.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring().capacity()
    }

    /// Bytes of the largest payload that can ever enter: half the capacity less 48.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.state.tail.0.max_payload
    }

    /// Bytes in use, open slots and padding included. A figure for health, read without ordering.
    #[must_use]
    pub fn fill_bytes(&self) -> usize {
        self.ring().fill()
    }

    /// True unless a record with a payload of so many bytes would now find the ring filled up to the share of its lane. For
    /// a host that lets records in one at a time and refuses without counting: the answer then holds until its next record.
    #[must_use]
    pub fn has_room(&self, priority: Priority, payload: usize) -> bool {
        payload > self.max_payload() || self.ring().has_room(priority, payload)
    }

    /// The gate of the destination with this index. Indices from `INTAKE_GATES - 1` on share the last one: publish to
    /// it only what holds for all of them.
    #[must_use]
    #[inline]
    pub fn gate(&self, destination: usize) -> &Gate {
        let [first @ .., last] = &self.gates.0;
        first.get(destination).unwrap_or(last)
    }

    /// Asks the gate, before anything is spent on encoding, whether such a record may enter; a refusal is counted.
    ///
    /// A mixed record is refused under a rate limit only if all its categories are limited, any other by its own
    /// category. Sampling is not part of it: see [`GateState::keeps_trace`](crate::gate::GateState::keeps_trace) and
    /// [`Intake::refuse`].
    ///
    /// # Errors
    /// [`DropReason::Closed`], [`DropReason::RatelimitBackoff`] or [`DropReason::QueueOverflow`].
    #[inline]
    pub fn admit(&self, header: &Header) -> Result<(), DropReason> {
        let categories = if header.is_mixed() {
            header.categories
        } else {
            CategorySet::of(header.count.category)
        };
        let gate = self.gate(header.destination.index()).load();
        match gate.admits(categories, header.priority) {
            Ok(()) => Ok(()),
            // The common one, apart from the others: its row in the table is known when this is compiled.
            Err(DropReason::RatelimitBackoff) => {
                self.refuse(header, DropReason::RatelimitBackoff);
                Err(DropReason::RatelimitBackoff)
            }
            Err(reason) => {
                self.refuse_apart(header.destination, header.count, header.also, reason);
                Err(reason)
            }
        }
    }

    /// As [`Intake::refuse`] for a record of those counts, and out of the way of the caller's code: a header that is known when
    /// that is compiled need not lie in memory for it.
    #[cold]
    #[inline(never)]
    pub fn refuse_apart(
        &self,
        destination: DestinationId,
        count: Count,
        also: Option<Count>,
        reason: DropReason,
    ) {
        self.state.losses.0.count_both(destination, count, also, reason);
    }

    /// Counts a record that never came to be, refused before it was encoded.
    #[inline]
    pub fn refuse(&self, header: &Header, reason: DropReason) {
        self.state.losses.0.count_record(header, reason);
    }

    /// Counts one quantity for `destination` as dropped.
    ///
    /// For the parts of a mixed record that [`Intake::push`] refused: the intake counts `count` and `also` of its
    /// header and cannot know the others, which the caller reads from the envelope.
    #[inline]
    pub fn refuse_count(&self, destination: usize, count: Count, reason: DropReason) {
        self.state
            .losses
            .0
            .count(losses::gate_index(destination), count, reason);
    }

    /// Copies a record into the ring. The gate is not asked again: see [`Intake::admit`].
    ///
    /// Dropped, and both counts of the header counted, when the payload is over [`Intake::max_payload`]
    /// ([`DropReason::TooLarge`]), when the ring is filled up to the share of the record's lane or every attempt to
    /// reserve was outrun ([`DropReason::QueueOverflow`]), or after [`Intake::close`] ([`DropReason::Closed`]).
    #[inline]
    pub fn push(&self, header: &Header, payload: &[u8]) -> Pushed {
        self.ring().push(header, payload)
    }

    /// Reserves room for a record with a payload of at most `max` bytes, to be encoded in place.
    ///
    /// Room that is not used counts as in use until the record is read, unless nobody reserved behind it meanwhile; a
    /// loose `max` above a kilobyte or so is worth a sizing pass.
    ///
    /// # Errors
    /// The reasons of [`Intake::push`]; the record is counted as dropped.
    #[inline]
    pub fn reserve(&self, header: &Header, max: usize) -> Result<Slot<'_>, DropReason> {
        let ring = self.ring();
        match ring.claim(header, max) {
            Ok(claim) => Ok(Slot::new(ring, claim, max)),
            Err(reason) => {
                self.refuse(header, reason);
                Err(reason)
            }
        }
    }

    /// The reading end, unless it is taken.
    #[must_use]
    pub fn consumer(&self) -> Option<Consumer<'_>> {
        Consumer::take(self.ring())
    }

    /// Ends recording: no reservation succeeds from here on. What was reserved before can still be committed and read;
    /// when [`Consumer::is_empty`] says true after this, nothing can come any more. There is no way back.
    pub fn close(&self) {
        // Relaxed: it orders nothing; it is one more change of the tail, before or after each reservation.
        self.state.tail.0.position.fetch_or(CLOSED, Ordering::Relaxed);
    }

    /// True after [`Intake::close`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // Relaxed: a figure.
        self.state.tail.0.position.load(Ordering::Relaxed) & CLOSED != 0
    }
}

impl<S: SharedStorage> fmt::Debug for Intake<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("capacity", &self.capacity())
            .field("fill_bytes", &self.fill_bytes())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
