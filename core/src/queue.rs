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
//! The first blocks hold the index of traces (`queue/traces.rs`).

mod lists;
mod traces;

pub use lists::List;
pub(crate) use lists::{Ahead, Run, append, next, prepend, push_back, push_front, remove, split_front};

use crate::check::always;
use crate::item::{CategorySet, Header};
use crate::limits::{BLOCK_BYTES, MAX_RECORD_BYTES};
use crate::record::{self, HEADER_BYTES};
use crate::rng;
use crate::time::Instant;

/// One block of queue memory.
#[derive(Clone)]
#[cfg_attr(feature = "alloc", derive(bytemuck::Zeroable))]
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
const BLOCKS: usize = 28;
const RECORDED_AT: usize = 32;
const REMOVED: usize = 40;
const SEQUENCE: usize = 48;
const HEADER: usize = 56;
const FIRST_PAYLOAD: usize = HEADER + HEADER_BYTES;
const NEXT_PAYLOAD: usize = 4;

const FIRST_BYTES: usize = BLOCK_BYTES - FIRST_PAYLOAD;
const NEXT_BYTES: usize = BLOCK_BYTES - NEXT_PAYLOAD;

/// A record in the queue: the index of its first block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordRef(u32);

/// Blocks needed for a payload of `bytes` bytes; at least one. For one over [`MAX_RECORD_BYTES`], more than there are.
#[inline]
#[expect(
    clippy::manual_div_ceil,
    reason = "with a length that leaves room for the sum it takes a third of the instructions"
)]
pub(crate) const fn blocks_for(bytes: usize) -> u32 {
    if bytes > MAX_RECORD_BYTES {
        return u32::MAX;
    }
    let rest = (bytes as u32).saturating_sub(FIRST_BYTES as u32);
    1 + (rest + (NEXT_BYTES as u32 - 1)) / NEXT_BYTES as u32
}

/// The queue's own numbers; the blocks live in the storage.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Start of the list of free blocks.
    free_head: u32,
    /// Free blocks, those that were never used included.
    free: u32,
    /// Blocks at the end that were never used and are in no list.
    fresh: u32,
    records: u32,
    usable: u32,
    index_blocks: u32,
    seed: u64,
}

/// Blocks that are taken up at once from those that were never used: a page of memory.
const FRESH_BLOCKS: u32 = 16;

impl Queue {
    /// All of `blocks` are free. Writes to the index alone (one block in 64), so that memory is not in use before records
    /// are.
    pub(crate) fn new(blocks: &mut [Block], seed: u64) -> Self {
        let total = u32::try_from(blocks.len()).unwrap_or(NIL - 1);
        let index_blocks = if total < 2 {
            0
        } else {
            total.div_ceil(traces::BLOCKS_PER_INDEX_BLOCK)
        };
        blocks
            .iter_mut()
            .take(index_blocks as usize)
            .for_each(traces::clear);
        let usable = total.saturating_sub(index_blocks);
        Self {
            free_head: NIL,
            free: usable,
            fresh: usable,
            records: 0,
            usable,
            index_blocks,
            seed: rng::mix(seed ^ 0x7472_6163_6569_6478),
        }
    }

    /// Links blocks that were never used into the list of free ones: at least `needed`, if there are as many.
    #[cold]
    fn take_up_fresh(&mut self, blocks: &mut [Block], needed: u32) {
        let end = self.index_blocks.saturating_add(self.usable);
        let first = end.saturating_sub(self.fresh);
        let count = needed.max(FRESH_BLOCKS).min(self.fresh);
        let behind = first.saturating_add(count);
        for at in first..behind {
            let next = at.saturating_add(1);
            if let Some(block) = blocks.get_mut(at as usize) {
                block.set_word::<LINK>(if next < behind { next } else { self.free_head });
            }
        }
        self.free_head = first;
        self.fresh = self.fresh.saturating_sub(count);
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

    /// Copies a record into `needed` free blocks ([`blocks_for`] its payload), in no list yet. `None` when not enough
    /// are free. Work is proportional to the payload.
    #[inline]
    pub(crate) fn store(
        &mut self,
        blocks: &mut [Block],
        header: &Header,
        payload: &[u8],
        needed: u32,
        now: Instant,
        sequence: u64,
    ) -> Option<RecordRef> {
        if needed > self.free {
            return None;
        }
        if needed > self.free.wrapping_sub(self.fresh) {
            self.take_up_fresh(blocks, needed);
        }
        let first = self.free_head;
        let block = blocks.get_mut(first as usize)?;
        let next = block.word::<LINK>();
        if let Some(room) = block.0.get_mut(HEADER..).and_then(|rest| rest.first_chunk_mut()) {
            *room = record::encode(header);
        }
        block.set_word::<TRACE_PREV>(NIL);
        block.set_word::<TRACE_NEXT>(NIL);
        block.set_word::<LENGTH>(payload.len() as u32);
        block.set_word::<BLOCKS>(needed);
        block.set_long::<RECORDED_AT>(now.as_micros());
        block.set_long::<REMOVED>(0);
        block.set_long::<SEQUENCE>(sequence);
        let (last, next) = if let Some((head, rest)) = payload.split_first_chunk::<FIRST_BYTES>() {
            if let Some(room) = block.0.last_chunk_mut::<FIRST_BYTES>() {
                *room = *head;
            }
            store_rest(blocks, first, next, rest)?
        } else {
            copy(block.0.get_mut(FIRST_PAYLOAD..)?, payload);
            (first, next)
        };
        if let Some(block) = blocks.get_mut(first as usize) {
            block.set_word::<LAST>(last);
        }
        self.free_head = next;
        self.free = self.free.wrapping_sub(needed);
        self.records = self.records.wrapping_add(1);
        Some(RecordRef(first))
    }

    /// Gives a record's blocks back. It must be in no list. Constant time, except for the trace chain's links.
    #[inline]
    pub(crate) fn release(&mut self, blocks: &mut [Block], record: RecordRef) {
        let Some(block) = blocks.get(record.0 as usize) else {
            return;
        };
        let last = block.word::<LAST>();
        let needed = block.word::<BLOCKS>();
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
            self.free = self.free.saturating_add(list.blocks());
            self.records = self.records.wrapping_sub(list.records());
            always!(self.free <= self.usable, "more blocks free than there are");
        }
        (first, second)
    }
}

/// Copies what does not fit into a record's first block into the free blocks from `next` on. Gives the last block
/// written and the free one behind it.
#[inline]
fn store_rest(blocks: &mut [Block], first: u32, mut next: u32, mut rest: &[u8]) -> Option<(u32, u32)> {
    let mut last = first;
    while !rest.is_empty() {
        let block = blocks.get_mut(next as usize)?;
        last = next;
        next = block.word::<LINK>();
        let room = block.0.last_chunk_mut::<NEXT_BYTES>()?;
        rest = match rest.split_first_chunk::<NEXT_BYTES>() {
            Some((whole, more)) => {
                *room = *whole;
                more
            }
            None => {
                copy(room, rest);
                &[]
            }
        };
    }
    Some((last, next))
}

/// Copies all of `from` to the start of `to`; what does not fit is left out (callers make it fit).
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
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

/// Where the record comes from, see [`Header::origin`].
#[inline]
pub(crate) fn origin(blocks: &[Block], record: RecordRef) -> u8 {
    blocks.get(record.0 as usize).map_or(0, |block| {
        record::origin_of(block.long::<{ HEADER + record::HEADER_BYTES - 8 }>())
    })
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

/// Blocks that the record takes.
#[inline]
pub(crate) fn blocks_of(blocks: &[Block], record: RecordRef) -> u32 {
    blocks
        .get(record.0 as usize)
        .map_or(0, |block| block.word::<BLOCKS>())
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
        whole: &[],
    }
}

/// Pieces of one payload, in order.
#[derive(Clone)]
pub struct Chunks<'a> {
    blocks: &'a [Block],
    at: u32,
    left: usize,
    first: bool,
    /// What comes behind the blocks.
    whole: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// A payload that lies in one piece, outside of the queue.
    pub(crate) const fn of(payload: &'a [u8]) -> Self {
        Self {
            blocks: &[],
            at: NIL,
            left: 0,
            first: false,
            whole: payload,
        }
    }
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
            let whole = core::mem::take(&mut self.whole);
            return (!whole.is_empty()).then_some(whole);
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
