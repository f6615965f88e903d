//! What is known of an item while the crate's own `Serialize` implementations write it.
//!
//! These make texts on the heap of identifiers and moments, and hand over only the texts. So the serializer is told beforehand
//! which item it is going to meet, keeps in mind where in it it is, and writes what stands in such a place from the
//! item itself. Which members there are, and in which order, stays with the crate; a member that is not listed here is written
//! as the crate has it.

use core::hash::{Hash, Hasher};
use core::slice;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use sentry_core::protocol::{
    Addr, Context, Event, Exception, Frame, Log, Map, Span, SpanId, Stacktrace, Thread, TraceContext,
    TraceId, Transaction,
};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::protobuf::{Out as _, Writer};
use surgetank_core::wire::timestamp::timestamp;

use super::kept;
use crate::json::Json;

/// Where the serializer is.
#[derive(Clone)]
pub(super) enum Place<'v> {
    /// Where nothing is known.
    Unknown,
    Event(&'v Event<'static>),
    Transaction(&'v Transaction<'static>),
    Spans(slice::Iter<'v, Span>),
    Span(&'v Span),
    /// Among contexts of which one, and only one, is a trace's.
    Contexts(&'v TraceContext),
    Trace(&'v TraceContext),
    LogContainer(&'v [Log]),
    Logs(slice::Iter<'v, Log>),
    Log(&'v Log),
    ExceptionValues(&'v [Exception]),
    Exceptions(slice::Iter<'v, Exception>),
    Exception(&'v Exception),
    ThreadValues(&'v [Thread]),
    Threads(slice::Iter<'v, Thread>),
    Thread(&'v Thread),
    Stacktrace(&'v Stacktrace),
    Frames(slice::Iter<'v, Frame>),
    Frame(&'v Frame),
}

impl<'v> Place<'v> {
    /// Where an object begins that the crate calls `name`.
    pub(super) fn object(self, name: &str) -> Self {
        match self {
            Self::Contexts(trace) if name == "TraceContext" => Self::Trace(trace),
            place => place,
        }
    }

    /// Where the next value of an array or a map stands.
    pub(super) fn element(&mut self) -> Self {
        match self {
            Self::Spans(spans) => spans.next().map_or(Self::Unknown, Self::Span),
            Self::Logs(logs) => logs.next().map_or(Self::Unknown, Self::Log),
            Self::Contexts(trace) => Self::Contexts(trace),
            Self::Exceptions(exceptions) => exceptions.next().map_or(Self::Unknown, Self::Exception),
            Self::Threads(threads) => threads.next().map_or(Self::Unknown, Self::Thread),
            Self::Frames(frames) => frames.next().map_or(Self::Unknown, Self::Frame),
            _ => Self::Unknown,
        }
    }

    /// Writes the value of a member; where it is none of the known ones, says where it stands.
    #[inline(always)]
    pub(super) fn member(&self, name: &str, out: &mut Writer<'_>) -> Option<Place<'v>> {
        match self {
            Self::Unknown => Some(Self::Unknown),
            known => known.known_member(name, out),
        }
    }

    #[inline(never)]
    fn known_member(&self, name: &str, out: &mut Writer<'_>) -> Option<Place<'v>> {
        if let Some(inner) = self.inner(name) {
            return Some(inner);
        }
        let written = match (self, name) {
            (Self::Event(Event { event_id, .. }), "event_id")
            | (Self::Transaction(Transaction { event_id, .. }), "event_id") => {
                Json::new(out).hex_16(event_id.as_bytes());
                true
            }
            (Self::Event(event), "debug_meta") => match event.debug_meta {
                Cow::Borrowed(meta) => kept::debug_meta(meta).inspect(|json| out.raw(json)).is_some(),
                Cow::Owned(_) => false,
            },
            (Self::Trace(trace), "trace_id") => write_trace_id(out, trace.trace_id),
            (Self::Trace(trace), "span_id") => write_span_id(out, trace.span_id),
            (Self::Span(span), "trace_id") => write_trace_id(out, span.trace_id),
            (Self::Span(span), "span_id") => write_span_id(out, span.span_id),
            (Self::Trace(TraceContext { parent_span_id, .. }), "parent_span_id")
            | (Self::Span(Span { parent_span_id, .. }), "parent_span_id") => {
                parent_span_id.is_some_and(|id| write_span_id(out, id))
            }
            (Self::Span(Span { timestamp, .. }), "timestamp")
            | (Self::Transaction(Transaction { timestamp, .. }), "timestamp") => {
                timestamp.is_some_and(|time| write_rfc3339(out, time))
            }
            (Self::Log(log), "trace_id") => log.trace_id.is_some_and(|id| write_trace_id(out, id)),
            (Self::Frame(Frame { image_addr: addr, .. }), "image_addr")
            | (
                Self::Frame(Frame {
                    instruction_addr: addr,
                    ..
                }),
                "instruction_addr",
            )
            | (
                Self::Frame(Frame {
                    symbol_addr: addr, ..
                }),
                "symbol_addr",
            ) => addr.inspect(|addr| write_address(out, *addr)).is_some(),
            _ => false,
        };
        (!written).then_some(Self::Unknown)
    }

    /// Where the value of a member stands of whose insides something is known.
    fn inner(&self, name: &str) -> Option<Place<'v>> {
        Some(match (self, name) {
            (Self::Event(Event { contexts, .. }), "contexts")
            | (Self::Transaction(Transaction { contexts, .. }), "contexts") => Self::contexts(contexts),
            (Self::Event(event), "exception") => Self::ExceptionValues(&event.exception.values),
            (Self::ExceptionValues(exceptions), "values") => Self::Exceptions(exceptions.iter()),
            (Self::Event(event), "threads") => Self::ThreadValues(&event.threads.values),
            (Self::ThreadValues(threads), "values") => Self::Threads(threads.iter()),
            (Self::Event(Event { stacktrace, .. }), "stacktrace")
            | (Self::Exception(Exception { stacktrace, .. }), "stacktrace")
            | (Self::Thread(Thread { stacktrace, .. }), "stacktrace") => {
                Self::Stacktrace(stacktrace.as_ref()?)
            }
            (Self::Stacktrace(stacktrace), "frames") => Self::Frames(stacktrace.frames.iter()),
            (Self::Transaction(transaction), "spans") => Self::Spans(transaction.spans.iter()),
            (Self::LogContainer(logs), "items") => Self::Logs(logs.iter()),
            _ => return None,
        })
    }

    fn contexts(contexts: &'v Map<String, Context>) -> Self {
        let mut traces = contexts.values().filter_map(|context| match context {
            Context::Trace(trace) => Some(trace),
            _ => None,
        });
        match (traces.next(), traces.next()) {
            (Some(trace), None) => Self::Contexts(trace),
            _ => Self::Unknown,
        }
    }
}

fn write_trace_id(out: &mut Writer<'_>, id: TraceId) -> bool {
    let bytes = bytes_of(id);
    bytes.inspect(|bytes| Json::new(out).hex_16(bytes)).is_some()
}

fn write_span_id(out: &mut Writer<'_>, id: SpanId) -> bool {
    let bytes = bytes_of(id);
    bytes.inspect(|bytes| Json::new(out).hex_8(*bytes)).is_some()
}

/// Without leading zeros.
fn write_address(out: &mut Writer<'_>, Addr(address): Addr) {
    let mut digits = [b'0'; 16];
    let mut rest = address;
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = HEX.get((rest & 15) as usize).copied().unwrap_or(b'0');
        rest >>= 4;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    out.framed(b"\"0x", digits.get(first..).unwrap_or_default(), b"\"");
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The bytes of an identifier, which has no call for them: caught where it hashes them. An identifier made of
/// them has to be equal, so whatever hashing comes to be, they are the right ones or none.
fn bytes_of<const N: usize, I: Hash + PartialEq + From<[u8; N]>>(id: I) -> Option<[u8; N]> {
    let mut caught = Caught(None);
    id.hash(&mut caught);
    caught.0.filter(|bytes| I::from(*bytes) == id)
}

/// A hasher that keeps the last `N` bytes it gets in one piece.
struct Caught<const N: usize>(Option<[u8; N]>);

impl<const N: usize> Hasher for Caught<N> {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.try_into().ok().or(self.0);
    }

    /// How many bytes come.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        0
    }
}

/// Nine digits at most behind the point, no zeros at the end, and no point without digits. False for a moment that has no such
/// text.
fn write_rfc3339(out: &mut Writer<'_>, time: SystemTime) -> bool {
    /// The first moment whose year has five digits.
    const TOO_LATE: u64 = 253_402_300_800;
    /// Of `2026-01-02T03:04:05`.
    const WHOLE_SECONDS: usize = 19;

    let Ok(since) = time.duration_since(UNIX_EPOCH) else {
        return false;
    };
    if since.as_secs() >= TOO_LATE {
        return false;
    }
    let text = timestamp(UnixTime::from_secs(since.as_secs()));
    out.raw(b"\"");
    out.raw(text.get(..WHOLE_SECONDS).unwrap_or_default());
    let mut rest = since.subsec_nanos();
    if rest > 0 {
        let mut digits = [b'0'; 9];
        let mut used = 0;
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            if *digit != b'0' && used == 0 {
                used = at + 1;
            }
        }
        out.raw(b".");
        out.raw(digits.get(..used).unwrap_or_default());
    }
    out.raw(b"Z\"");
    true
}

#[cfg(test)]
mod tests;
