//! The fixed memory of the assembly: blocks in chains, found by trace and parent, in order of age.

use surgetank_core::item::{DestinationId, DropReason};
use surgetank_core::time::Instant;
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};

use super::part::{PartHead, PartKind};
use super::{Assembled, Assembly, lose};

/// Position in a table plus one; 0 for none.
pub(super) type Handle = u32;

/// Bytes of a block: one or two hold a span with a handful of attributes.
pub(super) const BLOCK_BYTES: usize = 256;

#[derive(Clone, Copy)]
pub(super) struct Block {
    next: Handle,
    bytes: [u8; BLOCK_BYTES],
}

/// What is known of a held part; it has the number of its first block.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) head: PartHead,
    pub(super) destination: DestinationId,
    pub(super) since: Instant,
    pub(super) bytes: usize,
    /// Neighbours by age; the one that was found next, once it is found.
    older: Handle,
    pub(super) newer: Handle,
    /// Neighbours in its bucket.
    before: Handle,
    pub(super) behind: Handle,
    /// It goes into the transaction that is being made.
    pub(super) included: bool,
}

/// Memory that one block takes with all that belongs to it.
pub(super) const BYTES_PER_BLOCK: usize =
    size_of::<Block>() + size_of::<Option<Held>>() + size_of::<Handle>();

impl Assembly {
    pub(super) fn hold(
        &mut self,
        now: Instant,
        head: PartHead,
        destination: DestinationId,
        bytes: &[u8],
        each: &mut dyn FnMut(Assembled<'_>),
    ) -> Result<(), DropReason> {
        let needed = bytes.len().div_ceil(BLOCK_BYTES).max(1);
        if needed > self.capacity {
            return Err(DropReason::TooLarge);
        }
        self.reserve()?;
        while self.capacity - self.used < needed {
            self.drop_oldest(DropReason::BufferOverflow, each);
        }
        let mut first = 0;
        // From the last to the first, so that each is put in front of the one behind it.
        for number in (0..needed).rev() {
            let start = number * BLOCK_BYTES;
            let end = bytes.len().min(start + BLOCK_BYTES);
            first = self.new_block(first, bytes.get(start..end).unwrap_or_default());
        }
        let held = Held {
            head,
            destination,
            since: now,
            bytes: bytes.len(),
            older: self.newest,
            newer: 0,
            before: 0,
            behind: 0,
            included: false,
        };
        if let Some(place) = self.held.get_mut(position(first)) {
            *place = Some(held);
        }
        match self.at_mut(self.newest) {
            Some(newest) => newest.newer = first,
            None => self.oldest = first,
        }
        self.newest = first;
        self.enter_bucket(first, &head.trace_id, head.parent_id);
        Ok(())
    }

    /// Reserves the memory, once.
    fn reserve(&mut self) -> Result<(), DropReason> {
        if !self.buckets.is_empty() {
            return Ok(());
        }
        let reserved = self
            .blocks
            .try_reserve_exact(self.capacity)
            .and_then(|()| self.held.try_reserve_exact(self.capacity))
            .and_then(|()| self.buckets.try_reserve_exact(self.capacity));
        reserved.map_err(|_| DropReason::InternalSdkError)?;
        self.buckets.resize(self.capacity, 0);
        Ok(())
    }

    /// A block in front of `next`. There is one: its caller made room.
    fn new_block(&mut self, next: Handle, bytes: &[u8]) -> Handle {
        let handle = match self.free {
            0 => {
                self.blocks.push(Block {
                    next: 0,
                    bytes: [0; BLOCK_BYTES],
                });
                self.held.push(None);
                self.blocks.len() as Handle
            }
            free => free,
        };
        let Some(block) = self.blocks.get_mut(position(handle)) else {
            return next;
        };
        if handle == self.free {
            self.free = block.next;
        }
        block.next = next;
        for (to, from) in block.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.used += 1;
        handle
    }

    pub(super) fn at(&self, handle: Handle) -> Option<&Held> {
        self.held.get(position(handle))?.as_ref()
    }

    pub(super) fn at_mut(&mut self, handle: Handle) -> Option<&mut Held> {
        self.held.get_mut(position(handle))?.as_mut()
    }

    /// Its bytes, block by block.
    pub(super) fn read(&self, handle: Handle, mut each: impl FnMut(&[u8])) {
        let mut left = self.at(handle).map_or(0, |held| held.bytes);
        let mut at = handle;
        while let Some(block) = self.blocks.get(position(at))
            && left > 0
        {
            let bytes = block.bytes.get(..left).unwrap_or(&block.bytes);
            each(bytes);
            left -= bytes.len();
            at = block.next;
        }
    }

    /// Gives its memory back. It is in no list any more.
    pub(super) fn release(&mut self, handle: Handle) {
        if let Some(place) = self.held.get_mut(position(handle)) {
            *place = None;
        }
        let mut at = handle;
        while let Some(block) = self.blocks.get_mut(position(at)) {
            let next = block.next;
            block.next = self.free;
            self.free = at;
            self.used -= 1;
            at = next;
        }
    }

    pub(super) fn bucket(&self, trace_id: &TraceId, parent_id: SpanId) -> usize {
        // Span ids are made here and random, so this is as even as they are.
        let key = u64::from_le_bytes(parent_id.bytes()) ^ trace_id.key().0;
        let spread = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        spread as usize % self.buckets.len().max(1)
    }

    fn enter_bucket(&mut self, handle: Handle, trace_id: &TraceId, parent_id: SpanId) {
        let bucket = self.bucket(trace_id, parent_id);
        let Some(first) = self.buckets.get_mut(bucket) else {
            return;
        };
        let behind = core::mem::replace(first, handle);
        if let Some(held) = self.at_mut(behind) {
            held.before = handle;
        }
        if let Some(held) = self.at_mut(handle) {
            held.behind = behind;
        }
    }

    /// Takes it out of its bucket and of the order by age.
    pub(super) fn unlink(&mut self, handle: Handle) {
        let Some(held) = self.at(handle).copied() else {
            return;
        };
        match self.at_mut(held.before) {
            Some(before) => before.behind = held.behind,
            None => {
                let bucket = self.bucket(&held.head.trace_id, held.head.parent_id);
                if let Some(first) = self.buckets.get_mut(bucket) {
                    *first = held.behind;
                }
            }
        }
        if let Some(behind) = self.at_mut(held.behind) {
            behind.before = held.before;
        }
        match self.at_mut(held.older) {
            Some(older) => older.newer = held.newer,
            None => self.oldest = held.newer,
        }
        match self.at_mut(held.newer) {
            Some(newer) => newer.older = held.older,
            None => self.newest = held.older,
        }
    }

    pub(super) fn drop_oldest(&mut self, reason: DropReason, each: &mut dyn FnMut(Assembled<'_>)) {
        let handle = self.oldest;
        self.unlink(handle);
        if let Some(held) = self.at(handle)
            && held.head.kind == PartKind::Child
        {
            lose(held.destination, reason, 1, each);
        }
        self.release(handle);
    }
}

/// Beyond every table for the handle of nothing.
fn position(handle: Handle) -> usize {
    (handle as usize).wrapping_sub(1)
}
