//! The index of traces: list heads by hash of the trace key, so that all records of one trace are found without a walk
//! through the lane, and a direct-mapped set of "doomed" keys, so that spans arriving after their trace was evicted go
//! the same way. The set forgets under pressure; a forgotten trace is kept in part.

use super::{BLOCK_BYTES, Block, HEADER, NIL, Queue, RecordRef, TRACE_NEXT, TRACE_PREV};
use crate::item::TraceKey;
use crate::rng;

// Layout of an index block: 32 chain heads, then 16 doomed keys.
const HEADS_PER_BLOCK: u32 = 32;
const DOOMED_PER_BLOCK: u32 = 16;
const DOOMED_OFFSET: usize = 128;
/// One index block serves this many blocks.
pub(super) const BLOCKS_PER_INDEX_BLOCK: u32 = 64;

/// Makes an index block of it: no chains, no doomed keys.
pub(super) fn clear(block: &mut Block) {
    block.0 = [0xFF; BLOCK_BYTES];
    if let Some(keys) = block.0.get_mut(DOOMED_OFFSET..) {
        keys.fill(0);
    }
}

impl Queue {
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

    /// Puts a record into the chain of its trace, so that [`Queue::trace_member`] finds it. Constant time.
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

fn trace_of(blocks: &[Block], record: RecordRef) -> TraceKey {
    // Bytes 16..24 of an encoded header.
    TraceKey(
        blocks
            .get(record.0 as usize)
            .map_or(0, |block| block.long::<{ HEADER + 16 }>()),
    )
}
