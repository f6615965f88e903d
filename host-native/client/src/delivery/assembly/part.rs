//! What producers record for the assembly: one piece of a transaction, with what is needed to find its place.

use surgetank_core::wire::otlp::encode::{SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

/// [`Header::origin`](surgetank_core::item::Header::origin) of a part, which is no record yet. Above every number of a scope.
pub(crate) const PART: u8 = u8::MAX;

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

    pub(super) fn read(payload: &[u8]) -> Option<(Self, &[u8])> {
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
