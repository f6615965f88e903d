//! Records in bytes: fixed blocks, one list per lane, eviction and whole-trace removal.
//!
//! Why blocks: records are 50 bytes to megabytes, live for very different times and leave in any order. A byte ring
//! would be held up by its oldest record, an allocator would fragment until a large error finds no room although
//! plenty is free. Chained blocks of one size have neither problem: a record fits exactly when enough blocks are
//! free, freeing is a constant-time splice, and a list position can be anywhere. The price is half a block per record
//! and payloads that are read in pieces ([`Chunks`]).
//!
//! ```text
//!  blocks: | index .. | record A: first -> next -> next | record B: first | free -> free -> ... |
//!              |             ^ prev/next: the list it is in (lane or request)
//!              '- heads of the trace chains, and keys of traces that lost a span
//! ```
//!
//! First block of a record: links, lengths, times and the [`Header`] in 80 bytes, then payload; further blocks: a link
//! and payload. All access is by checked offsets: an out-of-range index (only corrupted memory can cause one) reads
//! as nothing and writes nothing.
//!
//! The first blocks hold the trace index: list heads by hash of the trace key, so that all records of one trace are
//! found without a walk through the lane, and a direct-mapped set of "doomed" keys, so that spans arriving after
//! their trace was evicted go the same way. The set forgets under pressure; a forgotten trace is kept in part.

use crate::check::always;
use crate::item::{CategorySet, Header, TraceKey};
use crate::limits::{BLOCK_BYTES, MAX_RECORD_BYTES};
use crate::record::{self, HEADER_BYTES};
use crate::rng;
use crate::time::Instant;

/// One block of queue memory.
#[derive(Clone)]
#[repr(align(8))]
pub struct Block([u8; BLOCK_BYTES]);

impl core::fmt::Debug for Block {
    /// Nothing of its content: that is other people's data.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Block").finish_non_exhaustive()
    }
}

impl Block {
    /// A block nothing was written to.
    pub const EMPTY: Self = Self([0; BLOCK_BYTES]);

    #[inline]
    fn word<const AT: usize>(&self) -> u32 {
        match self.0.get(AT..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u32::from_le_bytes(*bytes),
            None => NIL,
        }
    }

    #[inline]
    fn set_word<const AT: usize>(&mut self, value: u32) {
        if let Some(bytes) = self.0.get_mut(AT..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = value.to_le_bytes();
        }
    }

    #[inline]
    fn long<const AT: usize>(&self) -> u64 {
        match self.0.get(AT..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => 0,
        }
    }

    #[inline]
    fn set_long<const AT: usize>(&mut self, value: u64) {
        if let Some(bytes) = self.0.get_mut(AT..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = value.to_le_bytes();
        }
    }
}

const NIL: u32 = u32::MAX;

// Layout of a record's first block. `LINK` is also the only link of a continuation block.
const LINK: usize = 0;
const LAST: usize = 4;
const PREV: usize = 8;
const NEXT: usize = 12;
const TRACE_PREV: usize = 16;
const TRACE_NEXT: usize = 20;
const LENGTH: usize = 24;
const RECORDED_AT: usize = 32;
const REMOVED: usize = 40;
const SEQUENCE: usize = 48;
const HEADER: usize = 56;
const FIRST_PAYLOAD: usize = HEADER + HEADER_BYTES;
const NEXT_PAYLOAD: usize = 4;

const FIRST_BYTES: usize = BLOCK_BYTES - FIRST_PAYLOAD;
const NEXT_BYTES: usize = BLOCK_BYTES - NEXT_PAYLOAD;

// Layout of an index block: 32 chain heads, then 16 doomed keys.
const HEADS_PER_BLOCK: u32 = 32;
const DOOMED_PER_BLOCK: u32 = 16;
const DOOMED_OFFSET: usize = 128;
/// One index block serves this many blocks.
const BLOCKS_PER_INDEX_BLOCK: u32 = 64;

/// A record in the queue: the index of its first block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordRef(u32);

/// A list of records: a lane, or the records of one request.
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: u32,
    tail: u32,
    records: u32,
    bytes: u32,
    blocks: u32,
}

impl List {
    /// No records.
    pub const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        records: 0,
        bytes: 0,
        blocks: 0,
    };

    /// Records in it.
    pub(crate) const fn records(&self) -> u32 {
        self.records
    }

    /// Payload bytes in it (saturating).
    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Blocks its records take.
    pub(crate) const fn blocks(&self) -> u32 {
        self.blocks
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.head == NIL
    }

    pub(crate) const fn head(&self) -> Option<RecordRef> {
        if self.head == NIL {
            None
        } else {
            Some(RecordRef(self.head))
        }
    }
}

/// Blocks needed for a payload of `bytes` bytes; at least one.
pub(crate) const fn blocks_for(bytes: usize) -> u32 {
    let rest = bytes.saturating_sub(FIRST_BYTES);
    (1 + rest.div_ceil(NEXT_BYTES)) as u32
}

/// The queue's own numbers; the blocks live in the storage.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    free_head: u32,
    free: u32,
    records: u32,
    usable: u32,
    index_blocks: u32,
    seed: u64,
}

impl Queue {
    /// Links all of `blocks` into the free list. Work is proportional to the number of blocks, once.
    pub(crate) fn new(blocks: &mut [Block], seed: u64) -> Self {
        let total = u32::try_from(blocks.len()).unwrap_or(NIL - 1);
        let index_blocks = if total < 2 {
            0
        } else {
            total.div_ceil(BLOCKS_PER_INDEX_BLOCK)
        };
        for (at, block) in (0u32..total).zip(blocks.iter_mut()) {
            if at < index_blocks {
                block.0 = [0xFF; BLOCK_BYTES];
                if let Some(keys) = block.0.get_mut(DOOMED_OFFSET..) {
                    keys.fill(0);
                }
            } else {
                block.set_word::<LINK>(if at.saturating_add(1) < total {
                    at.saturating_add(1)
                } else {
                    NIL
                });
            }
        }
        let usable = total.saturating_sub(index_blocks);
        Self {
            free_head: if usable == 0 { NIL } else { index_blocks },
            free: usable,
            records: 0,
            usable,
            index_blocks,
            seed: rng::mix(seed ^ 0x7472_6163_6569_6478),
        }
    }

    /// Blocks that records can use.
    pub(crate) const fn capacity(&self) -> u32 {
        self.usable
    }

    /// Records stored, in whatever list.
    pub(crate) const fn records(&self) -> u32 {
        self.records
    }

    /// Blocks in no record.
    pub(crate) const fn free(&self) -> u32 {
        self.free
    }

    /// Blocks in records.
    pub(crate) const fn used(&self) -> u32 {
        self.usable.saturating_sub(self.free)
    }

    /// Copies a record into free blocks, in no list yet. `None` when not enough blocks are free or it is larger than
    /// [`MAX_RECORD_BYTES`]. Work is proportional to the payload.
    #[inline]
    pub(crate) fn store(
        &mut self,
        blocks: &mut [Block],
        header: &Header,
        payload: &[u8],
        now: Instant,
        sequence: u64,
    ) -> Option<RecordRef> {
        let needed = blocks_for(payload.len());
        if needed > self.free || payload.len() > MAX_RECORD_BYTES {
            return None;
        }
        let first = self.free_head;
        let block = blocks.get_mut(first as usize)?;
        let (head, mut rest) = payload.split_at_checked(FIRST_BYTES).unwrap_or((payload, &[]));
        if let Some(room) = block.0.get_mut(FIRST_PAYLOAD..) {
            copy(room, head);
        }
        if let Some(room) = block.0.get_mut(HEADER..).and_then(|rest| rest.first_chunk_mut()) {
            *room = record::encode(header);
        }
        block.set_word::<TRACE_PREV>(NIL);
        block.set_word::<TRACE_NEXT>(NIL);
        block.set_word::<LENGTH>(payload.len() as u32);
        block.set_long::<RECORDED_AT>(now.as_micros());
        block.set_long::<REMOVED>(0);
        block.set_long::<SEQUENCE>(sequence);
        let mut last = first;
        let mut next = block.word::<LINK>();
        while !rest.is_empty() {
            let block = blocks.get_mut(next as usize)?;
            let (part, more) = rest.split_at_checked(NEXT_BYTES).unwrap_or((rest, &[]));
            rest = more;
            match (
                block.0.last_chunk_mut::<NEXT_BYTES>(),
                part.first_chunk::<NEXT_BYTES>(),
            ) {
                (Some(room), Some(whole)) => *room = *whole,
                (Some(room), None) => copy(room, part),
                (None, _) => {}
            }
            last = next;
            next = block.word::<LINK>();
        }
        self.free_head = next;
        self.free = self.free.wrapping_sub(needed);
        self.records = self.records.wrapping_add(1);
        if let Some(block) = blocks.get_mut(first as usize) {
            block.set_word::<LAST>(last);
        }
        Some(RecordRef(first))
    }

    /// Gives a record's blocks back. It must be in no list. Constant time, except for the trace chain's links.
    #[inline]
    pub(crate) fn release(&mut self, blocks: &mut [Block], record: RecordRef) {
        let Some(block) = blocks.get(record.0 as usize) else {
            return;
        };
        let last = block.word::<LAST>();
        let needed = blocks_for(block.word::<LENGTH>() as usize);
        self.leave_trace(blocks, record);
        let free_head = self.free_head;
        if let Some(block) = blocks.get_mut(last as usize) {
            block.set_word::<LINK>(free_head);
            self.free_head = record.0;
            self.free = self.free.saturating_add(needed);
            self.records = self.records.wrapping_sub(1);
            always!(self.free <= self.usable, "more blocks free than there are");
        }
    }

    /// Gives the blocks of all of `list` back at once; returns the sums of both quantities. `left` is told the
    /// sequence number of each. The records must be in no trace's chain.
    #[inline]
    pub(crate) fn release_all(
        &mut self,
        blocks: &mut [Block],
        list: List,
        mut left: impl FnMut(u64),
    ) -> (u64, u64) {
        let (mut first, mut second) = (0u64, 0u64);
        let mut at = list.head;
        while let Some(block) = blocks.get(at as usize) {
            let (last, next, both) = (block.word::<LAST>(), block.word::<NEXT>(), quantities(block));
            left(block.long::<SEQUENCE>());
            first = first.wrapping_add(both & 0xFFFF_FFFF);
            second = second.wrapping_add(both >> 32);
            let link = if next == NIL { self.free_head } else { next };
            if let Some(block) = blocks.get_mut(last as usize) {
                block.set_word::<LINK>(link);
            }
            at = next;
        }
        if !list.is_empty() {
            self.free_head = list.head;
            self.free = self.free.saturating_add(list.blocks);
            self.records = self.records.wrapping_sub(list.records);
            always!(self.free <= self.usable, "more blocks free than there are");
        }
        (first, second)
    }

    // ---- trace index ---------------------------------------------------------------------------------------------

    fn hash(&self, trace: TraceKey) -> u32 {
        (rng::mix(trace.0 ^ self.seed) >> 32) as u32
    }

    /// Where the chain head for `trace` is: index block and position in it.
    fn chain_of(&self, trace: TraceKey) -> (usize, usize) {
        let heads = self.index_blocks.saturating_mul(HEADS_PER_BLOCK);
        let at = ((u64::from(self.hash(trace)) * u64::from(heads)) >> 32) as u32;
        ((at / HEADS_PER_BLOCK) as usize, (at % HEADS_PER_BLOCK) as usize)
    }

    fn chain_head(&self, blocks: &[Block], trace: TraceKey) -> u32 {
        let (block, at) = self.chain_of(trace);
        match blocks
            .get(block)
            .and_then(|block| block.0.get(at * 4..))
            .and_then(|rest| rest.first_chunk())
        {
            Some(bytes) if self.index_blocks > 0 => u32::from_le_bytes(*bytes),
            _ => NIL,
        }
    }

    fn set_chain_head(&self, blocks: &mut [Block], trace: TraceKey, value: u32) {
        let (block, at) = self.chain_of(trace);
        if self.index_blocks > 0
            && let Some(bytes) = blocks
                .get_mut(block)
                .and_then(|block| block.0.get_mut(at * 4..))
                .and_then(|rest| rest.first_chunk_mut())
        {
            *bytes = value.to_le_bytes();
        }
    }

    /// Puts a record into the chain of its trace, so that [`Queue::trace_members`] finds it. Constant time.
    pub(crate) fn join_trace(&self, blocks: &mut [Block], record: RecordRef, trace: TraceKey) {
        if self.index_blocks == 0 {
            return;
        }
        let old = self.chain_head(blocks, trace);
        if let Some(block) = blocks.get_mut(record.0 as usize) {
            block.set_word::<TRACE_NEXT>(old);
            // A record's own index marks the chain's first member: `NIL` means "in no chain".
            block.set_word::<TRACE_PREV>(record.0);
        }
        if let Some(block) = blocks.get_mut(old as usize) {
            block.set_word::<TRACE_PREV>(record.0);
        }
        self.set_chain_head(blocks, trace, record.0);
    }

    /// Takes a record out of its trace's chain, if it is in one. Constant time.
    #[inline]
    pub(crate) fn leave_trace(&self, blocks: &mut [Block], record: RecordRef) {
        let Some(block) = blocks.get(record.0 as usize) else {
            return;
        };
        let (prev, next) = (block.word::<TRACE_PREV>(), block.word::<TRACE_NEXT>());
        if prev == NIL {
            return;
        }
        if prev == record.0 {
            let trace = trace_of(blocks, record);
            self.set_chain_head(blocks, trace, next);
        } else if let Some(block) = blocks.get_mut(prev as usize) {
            block.set_word::<TRACE_NEXT>(next);
        }
        if let Some(block) = blocks.get_mut(next as usize) {
            block.set_word::<TRACE_PREV>(if prev == record.0 { next } else { prev });
        }
        if let Some(block) = blocks.get_mut(record.0 as usize) {
            block.set_word::<TRACE_PREV>(NIL);
        }
    }

    /// The first member of `trace`'s chain at or after `from` (`None`: from the start). The walk passes members of
    /// other traces with the same hash: about two on average.
    pub(crate) fn trace_member(
        &self,
        blocks: &[Block],
        trace: TraceKey,
        after: Option<RecordRef>,
    ) -> Option<RecordRef> {
        let mut at = match after {
            None => self.chain_head(blocks, trace),
            Some(record) => blocks.get(record.0 as usize)?.word::<TRACE_NEXT>(),
        };
        while let Some(block) = blocks.get(at as usize) {
            if trace_of(blocks, RecordRef(at)) == trace {
                return Some(RecordRef(at));
            }
            at = block.word::<TRACE_NEXT>();
        }
        None
    }

    /// Block and offset of the doomed-set slot of `trace`.
    fn doomed_slot(&self, trace: TraceKey) -> (usize, usize) {
        let slots = self.index_blocks.saturating_mul(DOOMED_PER_BLOCK);
        let at = ((u64::from(self.hash(trace)) * u64::from(slots)) >> 32) as u32;
        let offset = DOOMED_OFFSET.saturating_add((at % DOOMED_PER_BLOCK) as usize * 8);
        ((at / DOOMED_PER_BLOCK) as usize, offset)
    }

    /// Remembers that `trace` lost a span, so that later ones are refused. One slot, overwritten by collisions.
    /// Marks of earlier rounds no longer match.
    pub(crate) fn doom(&self, blocks: &mut [Block], trace: TraceKey, round: u32) {
        let (block, offset) = self.doomed_slot(trace);
        if self.index_blocks > 0
            && let Some(slot) = blocks
                .get_mut(block)
                .and_then(|block| block.0.get_mut(offset..))
                .and_then(|rest| rest.first_chunk_mut())
        {
            *slot = doom_mark(trace, round).to_le_bytes();
        }
    }

    /// True when `trace` is remembered as having lost a span in this round.
    pub(crate) fn is_doomed(&self, blocks: &[Block], trace: TraceKey, round: u32) -> bool {
        let (block, offset) = self.doomed_slot(trace);
        let slot = blocks
            .get(block)
            .and_then(|block| block.0.get(offset..))
            .and_then(|rest| rest.first_chunk());
        self.index_blocks > 0 && slot.is_some_and(|slot| *slot == doom_mark(trace, round).to_le_bytes())
    }
}

fn doom_mark(trace: TraceKey, round: u32) -> u64 {
    trace.0 ^ rng::mix(u64::from(round))
}

/// Copies all of `from` to the start of `to`; what does not fit is left out (callers make it fit).
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn trace_of(blocks: &[Block], record: RecordRef) -> TraceKey {
    // Bytes 16..24 of an encoded header.
    TraceKey(
        blocks
            .get(record.0 as usize)
            .map_or(0, |block| block.long::<{ HEADER + 16 }>()),
    )
}

// ---- lists ---------------------------------------------------------------------------------------------------------

/// Adds a record at the start. Constant time.
pub(crate) fn push_front(blocks: &mut [Block], list: &mut List, record: RecordRef) {
    let mut front = List::EMPTY;
    push_back(blocks, &mut front, record);
    prepend(blocks, list, front);
}

/// Adds a record at the end. Constant time.
#[inline]
pub(crate) fn push_back(blocks: &mut [Block], list: &mut List, record: RecordRef) {
    let length = match blocks.get_mut(record.0 as usize) {
        Some(block) => {
            block.set_word::<PREV>(list.tail);
            block.set_word::<NEXT>(NIL);
            block.word::<LENGTH>()
        }
        None => return,
    };
    match blocks.get_mut(list.tail as usize) {
        Some(tail) => tail.set_word::<NEXT>(record.0),
        None => list.head = record.0,
    }
    list.tail = record.0;
    list.records = list.records.wrapping_add(1);
    list.bytes = list.bytes.saturating_add(length);
    list.blocks = list.blocks.wrapping_add(blocks_for(length as usize));
}

/// Takes a record out of the list it is in. Constant time.
#[inline]
pub(crate) fn remove(blocks: &mut [Block], list: &mut List, record: RecordRef) {
    let Some(block) = blocks.get(record.0 as usize) else {
        return;
    };
    let (prev, next, length) = (block.word::<PREV>(), block.word::<NEXT>(), block.word::<LENGTH>());
    match blocks.get_mut(prev as usize) {
        Some(block) => block.set_word::<NEXT>(next),
        None => list.head = next,
    }
    match blocks.get_mut(next as usize) {
        Some(block) => block.set_word::<PREV>(prev),
        None => list.tail = prev,
    }
    list.records = list.records.wrapping_sub(1);
    list.bytes = list.bytes.saturating_sub(length);
    list.blocks = list.blocks.wrapping_sub(blocks_for(length as usize));
}

/// Puts all of `front` before what is in `list`, keeping both orders. Constant time.
pub(crate) fn prepend(blocks: &mut [Block], list: &mut List, front: List) {
    if front.is_empty() {
        return;
    }
    if list.is_empty() {
        *list = front;
        return;
    }
    if let Some(block) = blocks.get_mut(front.tail as usize) {
        block.set_word::<NEXT>(list.head);
    }
    if let Some(block) = blocks.get_mut(list.head as usize) {
        block.set_word::<PREV>(front.tail);
    }
    list.head = front.head;
    list.records = list.records.wrapping_add(front.records);
    list.bytes = list.bytes.saturating_add(front.bytes);
    list.blocks = list.blocks.wrapping_add(front.blocks);
}

/// Takes the records from the first one to `last` out of `list`, as a list of their own. `run` holds their sums.
/// Constant time.
pub(crate) fn split_front(blocks: &mut [Block], list: &mut List, last: RecordRef, run: Run) -> List {
    let rest = match blocks.get_mut(last.0 as usize) {
        Some(block) => {
            let rest = block.word::<NEXT>();
            block.set_word::<NEXT>(NIL);
            rest
        }
        None => return List::EMPTY,
    };
    let front = List {
        head: list.head,
        tail: last.0,
        records: run.records,
        bytes: run.bytes,
        blocks: run.blocks,
    };
    match blocks.get_mut(rest as usize) {
        Some(block) => block.set_word::<PREV>(NIL),
        None => list.tail = NIL,
    }
    list.head = rest;
    list.records = list.records.wrapping_sub(run.records);
    list.bytes = list.bytes.saturating_sub(run.bytes);
    list.blocks = list.blocks.wrapping_sub(run.blocks);
    front
}

/// Sums of records that follow each other in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) records: u32,
    pub(crate) bytes: u32,
    blocks: u32,
}

impl Run {
    /// This and one more record.
    #[inline]
    pub(crate) fn with(self, length: u32) -> Self {
        Self {
            records: self.records.wrapping_add(1),
            bytes: self.bytes.saturating_add(length),
            blocks: self.blocks.wrapping_add(blocks_for(length as usize)),
        }
    }
}

/// Adds all of `back` behind what is in `list`. Constant time.
pub(crate) fn append(blocks: &mut [Block], list: &mut List, back: List) {
    let front = core::mem::replace(list, back);
    prepend(blocks, list, front);
}

/// The record after `record` in its list.
pub(crate) fn next(blocks: &[Block], record: RecordRef) -> Option<RecordRef> {
    match blocks.get(record.0 as usize)?.word::<NEXT>() {
        NIL => None,
        next => Some(RecordRef(next)),
    }
}

// ---- reading a record ----------------------------------------------------------------------------------------------

/// The header a record was stored with. `None` only if memory was corrupted.
#[inline]
pub(crate) fn header(blocks: &[Block], record: RecordRef) -> Option<Header> {
    record::decode(blocks.get(record.0 as usize)?.0.get(HEADER..)?.first_chunk()?)
}

/// Everything of the header that records of one request share: category, second category, lane, form, destination.
#[inline]
pub(crate) fn kind(blocks: &[Block], record: RecordRef) -> u64 {
    blocks
        .get(record.0 as usize)
        .map_or(0, |block| block.long::<HEADER>())
}

/// The two quantities of the header, the second in the high half.
#[inline]
fn quantities(block: &Block) -> u64 {
    block.long::<{ HEADER + 8 }>()
}

/// Payload bytes of the record.
#[inline]
pub(crate) fn length(blocks: &[Block], record: RecordRef) -> u32 {
    blocks
        .get(record.0 as usize)
        .map_or(0, |block| block.word::<LENGTH>())
}

/// When it was recorded.
pub(crate) fn recorded_at(blocks: &[Block], record: RecordRef) -> Instant {
    Instant::from_micros(
        blocks
            .get(record.0 as usize)
            .map_or(0, |block| block.long::<RECORDED_AT>()),
    )
}

/// Its place in the order of all records of the engine.
pub(crate) fn sequence(blocks: &[Block], record: RecordRef) -> u64 {
    blocks
        .get(record.0 as usize)
        .map_or(0, |block| block.long::<SEQUENCE>())
}

/// Categories whose items were dropped from this (mixed) record since it was stored.
pub(crate) fn removed(blocks: &[Block], record: RecordRef) -> CategorySet {
    CategorySet::from_bits(
        blocks
            .get(record.0 as usize)
            .map_or(0, |block| block.long::<REMOVED>()),
    )
}

/// Notes that items of these categories are dropped from this record.
pub(crate) fn set_removed(blocks: &mut [Block], record: RecordRef, removed: CategorySet) {
    if let Some(block) = blocks.get_mut(record.0 as usize) {
        block.set_long::<REMOVED>(removed.bits());
    }
}

/// The payload of a record, block by block.
pub(crate) fn payload(blocks: &[Block], record: RecordRef) -> Chunks<'_> {
    Chunks {
        blocks,
        at: record.0,
        left: length(blocks, record) as usize,
        first: true,
    }
}

/// Pieces of one payload, in order.
#[derive(Clone)]
pub struct Chunks<'a> {
    blocks: &'a [Block],
    at: u32,
    left: usize,
    first: bool,
}

impl core::fmt::Debug for Chunks<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunks")
            .field("bytes_left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let block = self.blocks.get(self.at as usize)?;
        let bytes = block
            .0
            .get(if self.first { FIRST_PAYLOAD } else { NEXT_PAYLOAD }..)?;
        self.first = false;
        self.at = block.word::<LINK>();
        let bytes = bytes.get(..self.left).unwrap_or(bytes);
        self.left = self.left.saturating_sub(bytes.len());
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
