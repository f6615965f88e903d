//! A request: the records of one attempt, and its body.
//!
//! A request owns its records until it is settled: they are out of their lanes, but stay in the queue's memory, so a
//! retry sends the same records (less what a new limit removed) and nothing is copied. The body is not stored
//! anywhere; [`Request::write_body`] frames it straight from the queue into whatever the host has.

use crate::breaker::Permit;
use crate::item::{Category, DestinationId, Priority, Signal};
use crate::ledger::{self, Loss};
use crate::limits::MAX_ORIGINS;
use crate::queue::{self, Block, Chunks, List, RecordRef};
use crate::time::{Duration, Instant, UnixTime};
use crate::wire::client_report;
use crate::wire::envelope::{self, ContainerKind, EnvelopeFields, Trace};
use crate::wire::otlp::framing::{Frame, Merged, Records, Scopes, write_record_opening};
use crate::wire::output::{WriteError, put};
use embedded_io::Write;

/// Names one attempt's request. Stale ids (settled already, or of an earlier use of the same place) are recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId {
    index: u32,
    generation: u32,
}

impl RequestId {
    pub(crate) const fn new(index: usize, generation: u32) -> Self {
        Self {
            index: index as u32,
            generation,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }

    /// All of it in one word, for hosts that carry it through foreign code.
    #[must_use]
    pub const fn bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The inverse of [`RequestId::bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

/// What a request's body is. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    /// One ready-made Sentry envelope.
    Envelope,
    /// A Sentry envelope composed of single items.
    Items,
    /// A Sentry envelope with one item container.
    Container(ContainerKind),
    /// A Sentry envelope with nothing but a client report.
    Report,
    /// An OTLP request composed of single records.
    Records(Signal),
    /// Ready-made OTLP requests in protobuf, joined.
    Requests(Signal),
    /// One ready-made OTLP request in JSON.
    Json(Signal),
}

impl RequestKind {
    /// Value for `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Envelope | Self::Items | Self::Container(_) | Self::Report => {
                "application/x-sentry-envelope"
            }
            Self::Records(_) | Self::Requests(_) => "application/x-protobuf",
            Self::Json(_) => "application/json",
        }
    }

    /// The OTLP signal, which decides the path; `None` for Sentry.
    #[must_use]
    pub const fn signal(self) -> Option<Signal> {
        match self {
            Self::Records(signal) | Self::Requests(signal) | Self::Json(signal) => Some(signal),
            Self::Envelope | Self::Items | Self::Container(_) | Self::Report => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlotState {
    Free,
    /// The host has it.
    OnWire,
    /// It failed and waits for its next attempt.
    Parked,
}

/// An entry of the table of requests. The storage supplies the table; only the engine looks inside.
#[derive(Clone, Copy, Debug)]
pub struct RequestSlot {
    pub(crate) state: SlotState,
    pub(crate) generation: u32,
    pub(crate) destination: u8,
    pub(crate) kind: RequestKind,
    pub(crate) priority: Priority,
    pub(crate) records: List,
    pub(crate) attempt: u32,
    pub(crate) sent_at: Instant,
    pub(crate) deadline: Instant,
    pub(crate) permit: Permit,
    /// It carries what its destination is owed in client reports.
    pub(crate) report: bool,
}

impl RequestSlot {
    /// An entry no request uses.
    pub const EMPTY: Self = Self {
        state: SlotState::Free,
        generation: 0,
        destination: 0,
        kind: RequestKind::Report,
        priority: Priority::Medium,
        records: List::EMPTY,
        attempt: 0,
        sent_at: Instant::ORIGIN,
        deadline: Instant::ORIGIN,
        permit: Permit::NONE,
        report: false,
    };
}

/// What the host knows and a body needs.
#[derive(Clone, Copy, Debug)]
pub struct BodyContext<'a> {
    /// Wall clock now: `sent_at` of envelopes, `timestamp` of client reports.
    pub sent_at: UnixTime,
    /// Name of the SDK, for envelopes composed here.
    pub sdk_name: &'a str,
    /// Version of the SDK, for envelopes composed here.
    pub sdk_version: &'a str,
    /// Public key of the DSN, for envelopes of spans; may be empty for OTLP.
    pub public_key: &'a str,
    /// Release of the program, for envelopes of spans.
    pub release: Option<&'a str>,
    /// Environment of the program, for envelopes of spans.
    pub environment: Option<&'a str>,
    /// The encoded `Resource` message of OTLP requests composed here; may be empty.
    pub resource: &'a [u8],
    /// The encoded `InstrumentationScope` message of OTLP requests composed here; may be empty.
    pub scope: &'a [u8],
    /// Other resources and scopes: a record whose header says origin *n* stands in entry *n* - 1. At most
    /// [`MAX_ORIGINS`] of them are looked at.
    pub origins: &'a [Frame<'a>],
}

impl<'a> BodyContext<'a> {
    /// The resource and scope of that origin.
    fn frame(&self, origin: usize) -> Option<Frame<'a>> {
        match origin.checked_sub(1) {
            None => Some(Frame {
                resource: self.resource,
                scope: self.scope,
                ..Frame::default()
            }),
            Some(other) => self.origins.get(other).copied(),
        }
    }
}

/// One attempt to be made by the host. Borrows the queue: write the body, then let go.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) blocks: &'a [Block],
    pub(crate) losses: &'a [Loss],
    pub(crate) id: RequestId,
    pub(crate) slot: &'a RequestSlot,
    pub(crate) destination: DestinationId,
    pub(crate) timeout: Duration,
}

impl core::fmt::Debug for Request<'_> {
    /// Sizes only: the payloads are other people's data.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("kind", &self.slot.kind)
            .field("destination", &self.destination)
            .field("attempt", &self.slot.attempt)
            .field("records", &self.slot.records.records())
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// To be given back with the outcome.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// Where to.
    #[must_use]
    pub const fn destination(&self) -> DestinationId {
        self.destination
    }

    /// What the body is.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        self.slot.kind
    }

    /// 1 for the first attempt.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.slot.attempt
    }

    /// How long the attempt may take in all: connecting, sending and the answer.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Records in it; 0 for a report alone.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.slot.records.records()
    }

    /// Quantity of `category` in it, by the headers of its records: of a mixed envelope only what the header names. One
    /// look at each record.
    #[must_use]
    pub fn quantity(&self, category: Category) -> u64 {
        self.refs()
            .filter_map(|(record, _)| queue::header(self.blocks, record))
            .flat_map(|header| [Some(header.count), header.also])
            .flatten()
            .filter(|count| count.category == category)
            .fold(0, |sum, count| sum.saturating_add(u64::from(count.quantity)))
    }

    /// Payload bytes in it, framing not included.
    #[must_use]
    pub const fn payload_bytes(&self) -> u32 {
        self.slot.records.bytes()
    }

    /// True when the body ends with a client report.
    #[must_use]
    pub const fn carries_report(&self) -> bool {
        self.slot.report
    }

    /// Every record's payload, in order, each in pieces. What limits removed from a mixed envelope is still in it.
    pub fn payloads(&self) -> impl Iterator<Item = Chunks<'a>> + Clone {
        self.refs()
            .map(move |(record, _)| queue::payload(self.blocks, record))
    }

    fn refs(&self) -> impl Iterator<Item = (RecordRef, usize)> + Clone + use<'a> {
        let blocks = self.blocks;
        core::iter::successors(self.slot.records.head(), move |record| {
            queue::next(blocks, *record)
        })
        .map(move |record| (record, queue::length(blocks, record) as usize))
    }

    /// Writes the body, uncompressed. Work is proportional to it; nothing is buffered.
    ///
    /// # Errors
    /// [`WriteError::Sink`] and [`WriteError::Stalled`] when `out` fails, [`WriteError::Invalid`] for a record that is not
    /// what its header says. Nothing of the body may be used then; settle the request by `on_failure` with
    /// [`Failure::Internal`](crate::response::Failure::Internal) in the first case and
    /// [`Failure::InvalidRequest`](crate::response::Failure::InvalidRequest) in the last.
    pub fn write_body<W: Write + ?Sized>(
        &self,
        context: &BodyContext<'_>,
        out: &mut W,
    ) -> Result<(), WriteError<W::Error>> {
        match self.slot.kind {
            RequestKind::Records(_) => return self.write_records(context, out),
            RequestKind::Requests(_) | RequestKind::Json(_) => return self.write_payloads(out),
            RequestKind::Envelope => {
                if let Some(record) = self.slot.records.head() {
                    let removed = queue::removed(self.blocks, record);
                    envelope::write_filtered(
                        queue::payload(self.blocks, record),
                        removed,
                        context.sent_at,
                        out,
                    )?;
                }
            }
            RequestKind::Items => {
                envelope::write_header(&self.envelope_fields(context), out)?;
                envelope::write_items(self.payloads(), out)?;
            }
            RequestKind::Container(kind) => {
                envelope::write_header(&self.envelope_fields(context), out)?;
                let bytes = self
                    .refs()
                    .map(|(_, length)| length as u64)
                    .fold(0, u64::saturating_add);
                envelope::write_container(kind, self.slot.records.records(), bytes, self.payloads(), out)?;
            }
            RequestKind::Report => envelope::write_header(&self.envelope_fields(context), out)?,
        }
        if self.slot.report {
            let entries =
                ledger::taken(self.losses, self.slot.destination).map(|loss| client_report::Entry {
                    category: loss.category(),
                    reason: loss.reason(),
                    quantity: loss.taken(),
                });
            client_report::write_item(entries, context.sent_at, out)?;
        }
        Ok(())
    }

    fn envelope_fields<'c>(&self, context: &BodyContext<'c>) -> EnvelopeFields<'c> {
        let trace = match self.slot.kind {
            // All spans of an envelope are of one trace, and its header must say of which.
            RequestKind::Container(ContainerKind::Span) => self
                .payloads()
                .next()
                .and_then(envelope::element_trace_id)
                .map(|trace_id| Trace {
                    trace_id,
                    public_key: context.public_key,
                    release: context.release,
                    environment: context.environment,
                }),
            _ => None,
        };
        EnvelopeFields {
            sent_at: context.sent_at,
            sdk_name: context.sdk_name,
            sdk_version: context.sdk_version,
            dsn: None,
            event_id: None,
            trace,
        }
    }

    /// Writes the records under their resources and scopes, each of which stands once. Work beside the bytes: one pass
    /// over the records for each scope among them, at most [`MAX_ORIGINS`] and one.
    fn write_records<W: Write + ?Sized>(
        &self,
        context: &BodyContext<'_>,
        out: &mut W,
    ) -> Result<(), WriteError<W::Error>> {
        let mut sums = [Records::default(); MAX_ORIGINS + 1];
        let mut left = OriginSet::default();
        for (record, length) in self.refs() {
            let origin = usize::from(queue::origin(self.blocks, record));
            let Some(sum) = sums.get_mut(origin) else {
                return Err(WriteError::Invalid(UNKNOWN_ORIGIN));
            };
            sum.add(length);
            left.insert(origin);
        }
        let mut whole = Merged::default();
        while let Some(first) = left.first() {
            let leader = context.frame(first).ok_or(WriteError::Invalid(UNKNOWN_ORIGIN))?;
            let mut scopes = Scopes::default();
            let mut alike = OriginSet::default();
            for (origin, records) in left.of(&sums) {
                let frame = context.frame(origin).ok_or(WriteError::Invalid(UNKNOWN_ORIGIN))?;
                if frame.has_resource_of(&leader) {
                    scopes.add(&frame, records);
                    alike.insert(origin);
                }
            }
            let Ok(resource) = leader.resource(scopes) else {
                return Err(WriteError::Invalid(TOO_LARGE));
            };
            if whole.add(resource.content_length()).is_err() {
                return Err(WriteError::Invalid(TOO_LARGE));
            }
            resource.write_opening(out)?;
            for (origin, records) in alike.of(&sums) {
                let frame = context.frame(origin).ok_or(WriteError::Invalid(UNKNOWN_ORIGIN))?;
                frame.write_scope_opening(out, records)?;
                for (record, length) in self.refs() {
                    if usize::from(queue::origin(self.blocks, record)) == origin {
                        write_record_opening(out, length)?;
                        write_pieces(queue::payload(self.blocks, record), out)?;
                    }
                }
            }
            left.remove(alike);
        }
        Ok(())
    }

    fn write_payloads<W: Write + ?Sized>(&self, out: &mut W) -> Result<(), WriteError<W::Error>> {
        self.payloads().try_for_each(|payload| write_pieces(payload, out))
    }
}

const TOO_LARGE: &str = "the OTLP request is larger than its specification recommends to send";
const UNKNOWN_ORIGIN: &str = "a record's header names an origin that the host does not have";

/// Origins among a request's records, one bit each.
#[derive(Clone, Copy, Default)]
struct OriginSet(u64);

// The mask below relies on it.
const _: () = assert!(MAX_ORIGINS + 1 == u64::BITS as usize);

impl OriginSet {
    const fn insert(&mut self, origin: usize) {
        self.0 |= 1 << (origin & MAX_ORIGINS);
    }

    const fn remove(&mut self, others: Self) {
        self.0 &= !others.0;
    }

    const fn contains(self, origin: usize) -> bool {
        self.0 & (1 << (origin & MAX_ORIGINS)) != 0
    }

    const fn first(self) -> Option<usize> {
        match self.0 {
            0 => None,
            bits => Some(bits.trailing_zeros() as usize),
        }
    }

    /// Those in the set, with their sums.
    fn of(self, sums: &[Records]) -> impl Iterator<Item = (usize, Records)> {
        let sums = sums.iter().copied().enumerate();
        sums.filter(move |(origin, _)| self.contains(*origin))
    }
}

fn write_pieces<W: Write + ?Sized>(pieces: Chunks<'_>, out: &mut W) -> Result<(), WriteError<W::Error>> {
    for piece in pieces {
        put(out, piece)?;
    }
    Ok(())
}
