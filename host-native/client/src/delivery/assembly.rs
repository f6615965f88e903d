//! Ended spans that wait for their root, to leave with it as one Sentry transaction.
//!
//! Sentry takes a program's part of a trace in one piece, and OpenTelemetry ends its spans one by one. Somebody has to
//! hold the children until their root ends. Here that is the delivery thread: producers record *parts* like anything
//! else, through the intake, and the one thread that reads them puts them together. So producers share no table that
//! they would have to lock, and holding is plain single-threaded code over fixed memory.
//!
//! ```text
//!  span ends    -> part -> [ intake ] -> held by (trace, parent) ----.
//!  root ends    -> part -> [ intake ] -> with all below it, by parent '-> envelope -> [ engine ]
//!  root refused -> part -> [ intake ] -> all below it counted as lost, for the same reason
//! ```
//!
//! Nothing is known of spans that have not ended, and nothing needs to be: children are found from their root downwards.
//! A child ends before its root, so its part comes before the root's.
//!
//! - Memory is a share of the queue's ([`QUEUE_SHARE`]), reserved with the first part and never more. What waits for
//!   longest makes room, and is counted as `buffer_overflow`.
//! - What has waited [`MAX_WAIT`] (its root never ends, or ended before it) is counted as `no_parent_span`.
//! - A transaction holds [`MAX_SPANS`] and [`MAX_TRANSACTION_BYTES`] at most, which servers do not take more of; spans
//!   farther from the root go first, counted as `too_large`.
//!
//! What is held is not in the engine's sums, like what lies in the intake: it is counted when it leaves.

#[cfg(test)]
mod tests;

use surgetank_core::item::{Category, DestinationId, DropReason, Form, Header, Item};
use surgetank_core::time::{Duration, Instant};
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

/// [`Header::origin`] of a part, which is no record yet. Above every number of a scope.
pub(crate) const PART: u8 = u8::MAX;

/// Memory for spans that wait, as a part of the queue's.
pub(super) const QUEUE_SHARE: usize = 4;

/// How long a span waits for its root.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Spans below the root of one transaction, as in Sentry's own SDKs.
const MAX_SPANS: usize = 1000;

/// Bytes of one transaction. Relay refuses more than 1 MiB.
const MAX_TRANSACTION_BYTES: usize = 1_000_000;

/// Scratch memory that is kept between transactions.
const KEPT_BYTES: usize = 64 * 1024;

/// Ends a piece of a root's part. JSON text has no such byte.
pub(crate) const PIECE_END: u8 = 0;

/// What a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum PartKind {
    /// A child span: a JSON object.
    Child = 0,
    /// A root. Four pieces: the envelope's header without its brace, the members of its `trace`, the event up to the
    /// spans, the rest of it.
    Root = 1,
    /// The members of the `trace` header for the root that [`PartHead::parent_id`] names, as its caller sent them.
    Sampling = 2,
    /// A root that was refused: one byte with the reason.
    Gone = 3,
}

/// What stands in front of every part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartHead {
    pub(crate) kind: PartKind,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// The span it is below. Of no meaning for roots.
    pub(crate) parent_id: SpanId,
}

impl PartHead {
    pub(crate) fn write<O: Out>(&self, out: &mut O) {
        out.array([self.kind as u8]);
        out.array(self.trace_id.bytes());
        out.array(self.span_id.bytes());
        out.array(self.parent_id.bytes());
    }

    fn read(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = payload.split_first()?;
        let (trace_id, rest) = rest.split_first_chunk()?;
        let (span_id, rest) = rest.split_first_chunk()?;
        let (parent_id, rest) = rest.split_first_chunk()?;
        let kind = match kind {
            0 => PartKind::Child,
            1 => PartKind::Root,
            2 => PartKind::Sampling,
            3 => PartKind::Gone,
            _ => return None,
        };
        let head = Self {
            kind,
            trace_id: TraceId::new(*trace_id)?,
            span_id: SpanId::new(*span_id)?,
            parent_id: SpanId::new(*parent_id)?,
        };
        Some((head, rest))
    }
}

/// What comes out.
pub(super) enum Assembled<'a> {
    /// A record for the engine.
    Record(Item<'a>),
    /// So many spans are lost.
    Lost {
        destination: DestinationId,
        reason: DropReason,
        spans: u64,
    },
}

/// Position in a table plus one; 0 for none.
type Handle = u32;

/// Bytes of a block: one or two hold a span with a handful of attributes.
const BLOCK_BYTES: usize = 256;

#[derive(Clone, Copy)]
struct Block {
    next: Handle,
    bytes: [u8; BLOCK_BYTES],
}

/// What is known of a held part; it has the number of its first block.
#[derive(Clone, Copy)]
struct Held {
    head: PartHead,
    destination: DestinationId,
    since: Instant,
    bytes: usize,
    /// Neighbours by age; the one that was found next, once it is found.
    older: Handle,
    newer: Handle,
    /// Neighbours in its bucket.
    before: Handle,
    behind: Handle,
    /// It goes into the transaction that is being made.
    included: bool,
}

/// Memory that one block takes with all that belongs to it.
const BYTES_PER_BLOCK: usize = size_of::<Block>() + size_of::<Option<Held>>() + size_of::<Handle>();

pub(super) struct Assembly {
    /// Most blocks.
    capacity: usize,
    blocks: Vec<Block>,
    held: Vec<Option<Held>>,
    /// First of those with one hash of trace and parent.
    buckets: Vec<Handle>,
    free: Handle,
    used: usize,
    oldest: Handle,
    newest: Handle,
    transaction: Vec<u8>,
}

impl Assembly {
    /// One that holds at most so much. Reserves nothing yet.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            capacity: (bytes / BYTES_PER_BLOCK).min(Handle::MAX as usize - 1),
            blocks: Vec::new(),
            held: Vec::new(),
            buckets: Vec::new(),
            free: 0,
            used: 0,
            oldest: 0,
            newest: 0,
            transaction: Vec::new(),
        }
    }

    /// Bytes in use, and bytes there are.
    pub(super) fn fill(&self) -> (usize, usize) {
        (self.used * BLOCK_BYTES, self.capacity * BLOCK_BYTES)
    }

    /// Takes a part out of the intake. Work is bounded by what is held, and by the number of blocks of `item`.
    pub(super) fn take(&mut self, now: Instant, item: &Item<'_>, each: &mut dyn FnMut(Assembled<'_>)) {
        let Some((head, rest)) = PartHead::read(item.payload) else {
            lose(item.header.destination, DropReason::InternalSdkError, 1, each);
            return;
        };
        match head.kind {
            PartKind::Child | PartKind::Sampling => {
                let held = self.hold(now, head, item.header.destination, rest, each);
                if let (Err(reason), PartKind::Child) = (held, head.kind) {
                    lose(item.header.destination, reason, 1, each);
                }
            }
            PartKind::Root => self.complete(&head, &item.header, rest, each),
            PartKind::Gone => {
                let reason = rest.first().and_then(|number| DropReason::from_number(*number));
                let below = self.gather(&head);
                self.drop_all(below, reason.unwrap_or(DropReason::InternalSdkError), each);
            }
        }
    }

    /// Gives up what has waited for too long.
    pub(super) fn age(&mut self, now: Instant, each: &mut dyn FnMut(Assembled<'_>)) {
        while let Some(held) = self.at(self.oldest)
            && now.since(held.since) >= MAX_WAIT
        {
            self.drop_oldest(DropReason::NoParentSpan, each);
        }
    }

    /// Gives up everything.
    pub(super) fn clear(&mut self, reason: DropReason, each: &mut dyn FnMut(Assembled<'_>)) {
        while self.oldest != 0 {
            self.drop_oldest(reason, each);
        }
    }

    /// Forgets everything, for the books may be wrong. How many spans there seemed to be.
    pub(super) fn reset(&mut self) -> u64 {
        let lost = self.held.iter().flatten();
        let lost = lost.filter(|held| held.head.kind == PartKind::Child).count() as u64;
        *self = Self::new(self.capacity * BYTES_PER_BLOCK);
        lost
    }

    // ---- holding ---------------------------------------------------------------------------------------------------

    fn hold(
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

    fn at(&self, handle: Handle) -> Option<&Held> {
        self.held.get(position(handle))?.as_ref()
    }

    fn at_mut(&mut self, handle: Handle) -> Option<&mut Held> {
        self.held.get_mut(position(handle))?.as_mut()
    }

    /// Its bytes, block by block.
    fn read(&self, handle: Handle, mut each: impl FnMut(&[u8])) {
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
    fn release(&mut self, handle: Handle) {
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

    // ---- lists -----------------------------------------------------------------------------------------------------

    fn bucket(&self, trace_id: &TraceId, parent_id: SpanId) -> usize {
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
    fn unlink(&mut self, handle: Handle) {
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

    fn drop_oldest(&mut self, reason: DropReason, each: &mut dyn FnMut(Assembled<'_>)) {
        let handle = self.oldest;
        self.unlink(handle);
        if let Some(held) = self.at(handle)
            && held.head.kind == PartKind::Child
        {
            lose(held.destination, reason, 1, each);
        }
        self.release(handle);
    }

    // ---- transactions ----------------------------------------------------------------------------------------------

    /// Takes everything below `root` out of the lists, nearest first: a chain by [`Held::newer`].
    fn gather(&mut self, root: &PartHead) -> Handle {
        let mut chain = Chain::default();
        self.gather_children(&root.trace_id, root.span_id, &mut chain);
        let mut at = chain.first;
        while let Some(held) = self.at(at).copied() {
            if held.head.kind == PartKind::Child {
                self.gather_children(&root.trace_id, held.head.span_id, &mut chain);
            }
            at = self.at(at).map_or(0, |held| held.newer);
        }
        chain.first
    }

    fn gather_children(&mut self, trace_id: &TraceId, parent_id: SpanId, chain: &mut Chain) {
        let bucket = self.bucket(trace_id, parent_id);
        let mut at = self.buckets.get(bucket).copied().unwrap_or(0);
        while let Some(held) = self.at(at).copied() {
            if held.head.trace_id == *trace_id && held.head.parent_id == parent_id {
                self.unlink(at);
                match self.at_mut(chain.last) {
                    Some(last) => last.newer = at,
                    None => chain.first = at,
                }
                chain.last = at;
                if let Some(found) = self.at_mut(at) {
                    found.newer = 0;
                }
            }
            at = held.behind;
        }
    }

    /// Ends the waiting of a gathered chain.
    fn drop_all(&mut self, chain: Handle, reason: DropReason, each: &mut dyn FnMut(Assembled<'_>)) {
        let mut at = chain;
        while let Some(held) = self.at(at).copied() {
            if held.head.kind == PartKind::Child {
                lose(held.destination, reason, 1, each);
            }
            self.release(at);
            at = held.newer;
        }
    }

    /// Makes the transaction of `root` and all below it.
    fn complete(
        &mut self,
        root: &PartHead,
        header: &Header,
        pieces: &[u8],
        each: &mut dyn FnMut(Assembled<'_>),
    ) {
        let mut pieces = pieces.split(|byte| *byte == PIECE_END);
        let [lead, own_trace, head, tail] = [(); 4].map(|()| pieces.next().unwrap_or_default());
        let below = self.gather(root);
        let chosen = self.choose(below, root, head.len() + tail.len());

        let mut out = core::mem::take(&mut self.transaction);
        out.extend_from_slice(lead);
        let trace_from = out.len();
        match chosen.sampling {
            Some(handle) => self.read(handle, |bytes| out.extend_from_slice(bytes)),
            None => out.extend_from_slice(own_trace),
        }
        if out.len() > trace_from {
            out.push(b'}');
            out.splice(trace_from..trace_from, *b",\"trace\":{");
        }
        out.extend_from_slice(b"}\n{\"type\":\"transaction\",\"length\":");
        let _ = std::io::Write::write_fmt(&mut out, format_args!("{}", chosen.bytes));
        out.extend_from_slice(b"}\n");
        out.extend_from_slice(head);
        let mut separator = None;
        let mut at = below;
        while let Some(held) = self.at(at) {
            if held.included {
                out.extend(separator.replace(b','));
                self.read(at, |bytes| out.extend_from_slice(bytes));
            }
            at = held.newer;
        }
        out.extend_from_slice(tail);
        out.push(b'\n');

        let spans = u32::try_from(chosen.spans).unwrap_or(u32::MAX).saturating_add(1);
        let header = Header {
            form: Form::Envelope,
            origin: 0,
            ..header.also(Category::Span, spans)
        };
        each(Assembled::Record(Item {
            header,
            payload: &out,
        }));
        let left = chosen.left as u64;
        if left > 0 {
            lose(header.destination, DropReason::TooLarge, left, each);
        }
        out.clear();
        out.shrink_to(KEPT_BYTES);
        self.transaction = out;
        let mut at = below;
        while let Some(held) = self.at(at).copied() {
            self.release(at);
            at = held.newer;
        }
    }

    /// Marks what the transaction of `root` has room for, beside `fixed` bytes of its own.
    fn choose(&mut self, chain: Handle, root: &PartHead, fixed: usize) -> Chosen {
        let mut chosen = Chosen {
            bytes: fixed,
            ..Chosen::default()
        };
        let mut at = chain;
        while let Some(held) = self.at_mut(at) {
            let comma = usize::from(chosen.spans > 0);
            let bytes = chosen.bytes + comma + held.bytes;
            match held.head.kind {
                PartKind::Child if chosen.spans < MAX_SPANS && bytes <= MAX_TRANSACTION_BYTES => {
                    held.included = true;
                    chosen.bytes = bytes;
                    chosen.spans += 1;
                }
                PartKind::Child => chosen.left += 1,
                _ if held.head.parent_id == root.span_id => chosen.sampling = Some(at),
                _ => {}
            }
            at = held.newer;
        }
        chosen
    }
}

/// What a transaction is made of.
#[derive(Default)]
struct Chosen {
    /// Of the event.
    bytes: usize,
    spans: usize,
    /// Spans without room.
    left: usize,
    /// The trace header that came with the request.
    sampling: Option<Handle>,
}

/// Parts in a row.
#[derive(Default)]
struct Chain {
    first: Handle,
    last: Handle,
}

/// Beyond every table for the handle of nothing.
fn position(handle: Handle) -> usize {
    (handle as usize).wrapping_sub(1)
}

fn lose(destination: DestinationId, reason: DropReason, spans: u64, each: &mut dyn FnMut(Assembled<'_>)) {
    each(Assembled::Lost {
        destination,
        reason,
        spans,
    });
}
