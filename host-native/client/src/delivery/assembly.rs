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

#[cfg(all(test, unix))]
pub(crate) mod interruption;
mod memory;
mod part;
#[cfg(test)]
mod tests;

use surgetank_core::item::{Category, DestinationId, DropReason, Form, Header, Item};
use surgetank_core::time::{Duration, Instant};
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};

use memory::{BLOCK_BYTES, BYTES_PER_BLOCK, Block, Handle, Held};
pub(crate) use part::{PART, PIECE_END, PartHead, PartKind};

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
        #[cfg(all(test, unix))]
        interruption::half_way(&root.trace_id);

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

fn lose(destination: DestinationId, reason: DropReason, spans: u64, each: &mut dyn FnMut(Assembled<'_>)) {
    each(Assembled::Lost {
        destination,
        reason,
        spans,
    });
}
