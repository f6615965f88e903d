//! Which trace a request belongs to, and whether it is recorded.
//!
//! A trace that arrives is taken over: by `traceparent` (W3C), or by `sentry-trace` where there is no valid one. Its
//! sender's decision holds; only what has none is decided here, by the low 56 bits of the trace id, so that every proxy
//! with the same rate decides alike. Without either, a trace starts here.
//!
//! The decision is made before the request goes on, so that what it is passed on with tells the services behind.

use core::fmt::Write;

use heapless::String;
use surgetank_core::gate::GateState;
use surgetank_core::rng::Rng;
use surgetank_core::sampling;
use surgetank_core::wire::trace_context::{
    Baggage, BaggageWriter, SentryTrace, SpanId, TraceId, Traceparent,
};

use crate::headers::Pairs;

/// Flag of `traceparent`: recorded.
const SAMPLED: u8 = 1;
/// Flag of `traceparent`: the low 56 bits of the trace id are random.
const RANDOM: u8 = 2;

/// Bytes of a `baggage` value that is passed on: what others must pass on at least (W3C Baggage).
const BAGGAGE_BYTES: usize = 8192;

/// Where a request comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub span_id: SpanId,
    /// The caller's decision; `None` leaves it to us.
    pub sampled: Option<bool>,
    /// Flags of `traceparent` that may be passed on, `sampled` left out.
    pub flags: u8,
}

/// The headers that matter for tracing, found in one pass.
#[derive(Clone, Default, Debug)]
pub struct Incoming<'a> {
    traceparent: heapless::Vec<&'a [u8], 2>,
    sentry_trace: heapless::Vec<&'a [u8], 2>,
    /// True when there is a `tracestate`.
    pub has_tracestate: bool,
    /// The first lines of `baggage`.
    pub baggage: heapless::Vec<&'a [u8], 4>,
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`, query included.
    pub path: &'a [u8],
    /// `:authority`.
    pub authority: &'a [u8],
    /// `content-type`.
    pub content_type: &'a [u8],
    /// The first `x-sentry-auth`.
    pub x_sentry_auth: Option<&'a [u8]>,
    /// The first `authorization`.
    pub authorization: Option<&'a [u8]>,
}

impl<'a> Incoming<'a> {
    /// Reads the headers of a request.
    #[must_use]
    pub fn of(pairs: Pairs<'a>) -> Self {
        let mut found = Self::default();
        for (name, value) in pairs.iter() {
            match name {
                b":method" => found.method = value,
                b":path" => found.path = value,
                b":authority" => found.authority = value,
                b"content-type" => found.content_type = value,
                b"x-sentry-auth" => found.x_sentry_auth = found.x_sentry_auth.or(Some(value)),
                b"authorization" => found.authorization = found.authorization.or(Some(value)),
                b"traceparent" => keep(&mut found.traceparent, value),
                b"sentry-trace" => keep(&mut found.sentry_trace, value),
                b"baggage" => keep(&mut found.baggage, value),
                b"tracestate" => found.has_tracestate = true,
                _ => {}
            }
        }
        found
    }

    /// The trace that arrives, if one does.
    #[must_use]
    pub fn parent(&self) -> Option<Parent> {
        if let Ok(w3c) = Traceparent::parse(&self.traceparent) {
            return Some(Parent {
                trace_id: w3c.trace_id,
                span_id: w3c.parent_id,
                sampled: Some(w3c.sampled()),
                flags: w3c.known_flags() & !SAMPLED,
            });
        }
        let sentry = SentryTrace::parse(&self.sentry_trace).ok()?;
        Some(Parent {
            trace_id: sentry.trace_id,
            span_id: sentry.parent_id,
            sampled: sentry.sampled,
            flags: 0,
        })
    }

    /// True when there is a `traceparent`, good or not.
    #[must_use]
    pub fn has_traceparent(&self) -> bool {
        !self.traceparent.is_empty()
    }

    /// True when there is a `sentry-trace`, good or not.
    #[must_use]
    pub fn has_sentry_trace(&self) -> bool {
        !self.sentry_trace.is_empty()
    }

    /// True when `traceparent` is there and good, so that what `tracestate` says is about this trace.
    #[must_use]
    pub fn is_w3c(&self) -> bool {
        Traceparent::parse(&self.traceparent).is_ok()
    }
}

/// Keeps a line while there is room: more lines are as wrong as two, or a list too long to be passed on.
fn keep<'a, const N: usize>(lines: &mut heapless::Vec<&'a [u8], N>, line: &'a [u8]) {
    let _ = lines.push(line);
}

/// The trace, and our span in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The trace.
    pub trace_id: TraceId,
    /// Our span.
    pub span_id: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Flags as they are passed on.
    pub flags: u8,
    /// What became of it: recorded, or why not.
    pub decision: Decision,
}

/// Whether a request is recorded. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Decision {
    /// Recorded.
    Record,
    /// The caller decided against it.
    Caller,
    /// The configured rate left it out.
    Rate,
    /// The rate would have kept it; the downsample factor left it out.
    Pressure,
}

impl Decision {
    /// The decision with that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Record,
            1 => Self::Caller,
            2 => Self::Rate,
            3 => Self::Pressure,
            _ => return None,
        })
    }
}

impl Context {
    /// Takes `parent` over or starts a trace. `threshold` is the configured rate as a rejection threshold (0 keeps all).
    #[must_use]
    pub fn new(parent: Option<Parent>, threshold: u64, gate: GateState, random: &mut Rng) -> Self {
        let trace_id = match parent {
            Some(parent) => parent.trace_id,
            None => new_trace_id(random),
        };
        let lot = sampling::randomness(trace_id.key());
        let decision = match parent.and_then(|parent| parent.sampled) {
            Some(true) => Decision::Record,
            Some(false) => Decision::Caller,
            None if lot >= gate.threshold(threshold) => Decision::Record,
            None if lot >= threshold => Decision::Pressure,
            None => Decision::Rate,
        };
        let sampled = if decision == Decision::Record { SAMPLED } else { 0 };
        Self {
            trace_id,
            span_id: new_span_id(random),
            parent: parent.map(|parent| parent.span_id),
            flags: sampled | parent.map_or(RANDOM, |parent| parent.flags),
            decision,
        }
    }

    /// True when it is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.decision == Decision::Record
    }

    /// The value of `traceparent` for the services behind.
    #[must_use]
    pub fn traceparent(&self) -> [u8; 55] {
        // The flags are two bits.
        let flags = b'0'.wrapping_add(self.flags & (SAMPLED | RANDOM));
        let (trace, span) = (self.trace_id.digits(), self.span_id.digits());
        join([b"00-", &trace, b"-", &span, b"-0", &[flags]])
    }

    /// The value of `sentry-trace` for the services behind.
    #[must_use]
    pub fn sentry_trace(&self) -> [u8; 51] {
        let sampled: &[u8] = if self.is_recorded() { b"-1" } else { b"-0" };
        let (trace, span) = (self.trace_id.digits(), self.span_id.digits());
        join([&trace, b"-", &span, sampled])
    }

    /// `baggage` for a trace that starts here: what arrived, and the dynamic sampling context (develop docs, "Dynamic
    /// Sampling Context"). Empty when what arrived is none.
    #[must_use]
    pub fn baggage(&self, incoming: &[&[u8]], head: &Head<'_>) -> String<BAGGAGE_BYTES> {
        let mut text = String::new();
        let mut writer = BaggageWriter::new(&mut text);
        let mut write = || -> Result<(), core::fmt::Error> {
            if let Ok(arrived) = Baggage::parse(incoming) {
                for member in arrived
                    .members()
                    .filter(|member| !member.key.starts_with("sentry-"))
                {
                    writer.push_member(&member)?;
                }
            }
            let mut id = String::<32>::new();
            write!(id, "{}", self.trace_id)?;
            let sampled = if self.is_recorded() { "true" } else { "false" };
            for (key, value) in [
                ("sentry-trace_id", id.as_str()),
                ("sentry-public_key", head.public_key),
                ("sentry-sample_rate", head.sample_rate),
                ("sentry-sampled", sampled),
                ("sentry-release", head.release),
                ("sentry-environment", head.environment),
            ] {
                if !value.is_empty() {
                    writer.push(key, value)?;
                }
            }
            Ok(())
        };
        if write().is_err() {
            text.clear();
        }
        text
    }
}

/// What the head of a trace says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Public key of the DSN.
    pub public_key: &'a str,
    /// The configured rate, as it was written.
    pub sample_rate: &'a str,
    /// Release; may be empty.
    pub release: &'a str,
    /// Environment; may be empty.
    pub environment: &'a str,
}

/// The parts one behind the other, which have `N` bytes together. To format them was a quarter of a request's whole cost.
fn join<const N: usize, const P: usize>(parts: [&[u8]; P]) -> [u8; N] {
    let mut text = [b'0'; N];
    let mut rest = text.as_mut_slice();
    for part in parts {
        let Some((place, behind)) = rest.split_at_mut_checked(part.len()) else {
            break;
        };
        for (to, from) in place.iter_mut().zip(part) {
            *to = *from;
        }
        rest = behind;
    }
    text
}

fn new_trace_id(random: &mut Rng) -> TraceId {
    loop {
        let [a, b, c, d, e, f, g, h] = random.next_u64().to_be_bytes();
        let [i, j, k, l, m, n, o, p] = random.next_u64().to_be_bytes();
        if let Some(id) = TraceId::new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) {
            return id;
        }
    }
}

/// Ids are not all zero: the generator, a bijection of a counter, gives zero once in 2^64.
fn new_span_id(random: &mut Rng) -> SpanId {
    loop {
        if let Some(id) = SpanId::new(random.next_u64().to_be_bytes()) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests;
