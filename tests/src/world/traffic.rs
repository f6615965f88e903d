//! What programs record: rates per kind over time, each record unique so that servers can be audited.

use surgetank_core::gate::GateState;
use surgetank_core::item::{Category, DestinationId, Form, Header, TraceKey};
use surgetank_core::rng::{Rng, mix};
use surgetank_core::time::{Duration, Instant};

/// A kind of record and how it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A Sentry envelope with one error.
    Error,
    /// A Sentry envelope with a transaction of four spans.
    Transaction,
    /// A log for a Sentry container.
    Log,
    /// A span for a Sentry container.
    Span,
    /// A session item.
    Session,
    /// An OTLP span.
    OtlpSpan,
    /// An OTLP log record.
    OtlpLog,
}

/// A stream of records of one kind to one destination.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What.
    pub kind: Kind,
    /// Index of the destination.
    pub destination: usize,
    /// Mean time between two records, from each moment on; `None` stops it.
    pub rates: Vec<(Instant, Option<Duration>)>,
    /// Payload bytes: from, to.
    pub bytes: (u64, u64),
    next: Option<Instant>,
}

impl Stream {
    /// Records of `kind` every `every` on average, from the start on.
    #[must_use]
    pub fn steady(kind: Kind, destination: usize, every: Duration) -> Self {
        Self::new(kind, destination, vec![(Instant::ORIGIN, Some(every))])
    }

    /// Records of `kind` at changing rates.
    #[must_use]
    pub fn new(kind: Kind, destination: usize, rates: Vec<(Instant, Option<Duration>)>) -> Self {
        let next = rates.first().map(|(at, _)| *at);
        Self {
            kind,
            destination,
            rates,
            bytes: (60, 600),
            next,
        }
    }

    fn gap(&self, now: Instant) -> Option<Duration> {
        self.rates
            .iter()
            .rev()
            .find(|(from, _)| *from <= now)
            .and_then(|(_, every)| *every)
    }

    fn schedule(&mut self, now: Instant, rng: &mut Rng) {
        self.next = match self.gap(now) {
            // Anything between half and one and a half times the mean.
            Some(every) => Some(
                now.saturating_add(rng.jitter(every, 50))
                    .max(now.saturating_add(Duration::from_micros(1))),
            ),
            None => self.rates.iter().map(|(from, _)| *from).find(|from| *from > now),
        };
    }
}

/// All streams.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    streams: Vec<Stream>,
    /// Number of the next record.
    sequence: u64,
    /// Records that the engine kept.
    pub queued: u64,
    /// Records that the engine refused.
    pub dropped: u64,
}

/// A record to be made.
#[derive(Debug)]
pub struct Record {
    /// Its header.
    pub header: Header,
    /// Its payload: unique in this world.
    pub payload: Vec<u8>,
}

impl Record {
    /// True when a program would not make this record at the present downsample factor: roots of traces, here
    /// transactions, are kept or left out by their trace id.
    #[must_use]
    pub fn is_sampled_out(&self, gate: GateState) -> bool {
        self.header.count.category == Category::Transaction && !gate.keeps_trace(self.header.trace)
    }
}

impl Traffic {
    /// Those streams.
    #[must_use]
    pub fn new(streams: Vec<Stream>) -> Self {
        Self {
            streams,
            ..Self::default()
        }
    }

    /// When the next record is made.
    #[must_use]
    pub fn next_at(&self, _rng: &Rng) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| stream.next).min()
    }

    /// The next record that is due by `now`.
    pub fn take(&mut self, now: Instant, rng: &mut Rng, destinations: &[DestinationId]) -> Option<Record> {
        let at = self
            .streams
            .iter()
            .position(|stream| stream.next.is_some_and(|next| next <= now))?;
        let stream = &mut self.streams[at];
        let due = stream.next.unwrap_or(now);
        stream.schedule(due, rng);
        self.sequence += 1;
        let length = stream.bytes.0 + rng.below(stream.bytes.1 - stream.bytes.0 + 1);
        Some(make(
            stream.kind,
            destinations[stream.destination],
            self.sequence,
            length as usize,
            rng,
        ))
    }
}

/// A record of `kind` whose payload is about `length` bytes and names `sequence`.
fn make(kind: Kind, destination: DestinationId, sequence: u64, length: usize, rng: &mut Rng) -> Record {
    let filler = "x".repeat(length.saturating_sub(40));
    // Traces of about eight records that follow each other.
    let trace = TraceKey(mix(sequence / 8 * 2 + rng.below(2)) | 1);
    let (header, payload) = match kind {
        Kind::Error => {
            let body = format!("{{\"message\":\"{sequence} {filler}\"}}");
            let envelope = format!("{{}}\n{{\"type\":\"event\",\"length\":{}}}\n{body}\n", body.len());
            (
                Header::new(destination, Form::Envelope, Category::Error, 1),
                envelope,
            )
        }
        Kind::Transaction => {
            let body = format!("{{\"transaction\":\"{sequence} {filler}\",\"spans\":[{{}},{{}},{{}},{{}}]}}");
            let envelope = format!(
                "{{}}\n{{\"type\":\"transaction\",\"length\":{}}}\n{body}\n",
                body.len()
            );
            let header =
                Header::new(destination, Form::Envelope, Category::Transaction, 1).also(Category::Span, 5);
            (header.in_trace(trace), envelope)
        }
        Kind::Log => {
            let body = format!("{{\"body\":\"{sequence} {filler}\"}}");
            let bytes = body.len() as u32;
            let header = Header::new(destination, Form::Element, Category::LogItem, 1);
            (header.also(Category::LogByte, bytes), body)
        }
        Kind::Span => {
            let body = format!("{{\"name\":\"{sequence} {filler}\"}}");
            (
                Header::new(destination, Form::Element, Category::Span, 1).in_trace(trace),
                body,
            )
        }
        Kind::Session => {
            let body = format!("{{\"sid\":\"{sequence} {filler}\"}}");
            let item = format!("{{\"type\":\"session\",\"length\":{}}}\n{body}", body.len());
            (Header::new(destination, Form::Item, Category::Session, 1), item)
        }
        Kind::OtlpSpan => {
            let header = Header::new(destination, Form::OtlpRecord, Category::Span, 1).in_trace(trace);
            (header, format!("{sequence} {filler}"))
        }
        Kind::OtlpLog => {
            let header = Header::new(destination, Form::OtlpRecord, Category::LogItem, 1);
            (header, format!("{sequence} {filler}"))
        }
    };
    Record {
        header,
        payload: payload.into_bytes(),
    }
}

/// What `make` made: the category that counts it, and its number. Both stand in the first bytes of a payload.
///
/// # Panics
/// For what no program of these worlds records.
#[must_use]
pub fn recognise(start: &[u8]) -> (Category, u64) {
    const MARKS: [(&[u8], Category); 5] = [
        (b"{\"message\":\"", Category::Error),
        (b"{\"transaction\":\"", Category::Transaction),
        (b"{\"body\":\"", Category::LogItem),
        (b"{\"name\":\"", Category::Span),
        (b"{\"sid\":\"", Category::Session),
    ];
    // Behind the headers of an envelope and of an item, each a line.
    let marked = start.splitn(3, |byte| *byte == b'\n').find_map(|line| {
        let mut marks = MARKS.iter();
        marks.find_map(|(mark, category)| Some((*category, line.strip_prefix(*mark)?)))
    });
    // An OTLP record begins with its number and does not say what it is.
    let (category, rest) = marked.unwrap_or((Category::Default, start));
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(None, |number, digit| {
        Some(number.unwrap_or(0) * 10 + u64::from(digit - b'0'))
    });
    (category, number.expect("every record has a number"))
}
