//! Envelopes made from single items, and containers made from single elements.
//!
//! An envelope is its header line and whatever items are written behind it: [`write_header`], then any of
//! [`write_items`], [`write_container`] and [`client_report::write_item`](crate::wire::client_report::write_item).
//! Nothing is buffered, so the length of a container is worked out from the lengths of its elements.

use super::header::uuid;
use super::walk::Source;
use crate::item::Category;
use crate::limits::MAX_PAYLOAD_JSON_DEPTH;
use crate::time::UnixTime;
use crate::wire::json::{Scanner, Short, Token};
use crate::wire::output::{WriteError, put};
use crate::wire::sink::through;
use embedded_io::Write;

/// What goes into the header line.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeFields<'a> {
    /// When the envelope is sent; written anew for every attempt.
    pub sent_at: UnixTime,
    /// Name of the client, `sentry.rust.surgetank`.
    pub sdk_name: &'a str,
    /// Its version.
    pub sdk_version: &'a str,
    /// The DSN, for envelopes whose request carries no authentication of its own.
    pub dsn: Option<&'a str>,
    /// Required when the envelope holds an event or transaction.
    pub event_id: Option<[u8; 16]>,
    /// Required when it holds spans, and only allowed when everything in it is of that trace.
    pub trace: Option<Trace<'a>>,
}

/// The dynamic sampling context, as far as a client without one of its own can fill it in.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The trace all items belong to.
    pub trace_id: [u8; 16],
    /// Public key of the project that began the trace.
    pub public_key: &'a str,
    /// Release of the program that began the trace.
    pub release: Option<&'a str>,
    /// Environment of the program that began the trace.
    pub environment: Option<&'a str>,
}

/// Writes the envelope header and its line feed.
///
/// # Errors
///
/// The sink's.
pub fn write_header<W: Write + ?Sized>(
    fields: &EnvelopeFields<'_>,
    out: &mut W,
) -> Result<(), WriteError<W::Error>> {
    through(out, |out| {
        out.put(b"{");
        if let Some(event_id) = &fields.event_id {
            out.put(b"\"event_id\":");
            out.hex(event_id);
            out.put(b",");
        }
        out.put(b"\"sent_at\":");
        out.time(fields.sent_at);
        out.member(",\"sdk\":{\"name\":", fields.sdk_name);
        out.member(",\"version\":", fields.sdk_version);
        out.put(b"}");
        if let Some(dsn) = fields.dsn {
            out.member(",\"dsn\":", dsn);
        }
        if let Some(trace) = &fields.trace {
            out.put(b",\"trace\":{\"trace_id\":");
            out.hex(&trace.trace_id);
            out.member(",\"public_key\":", trace.public_key);
            if let Some(release) = trace.release {
                out.member(",\"release\":", release);
            }
            if let Some(environment) = trace.environment {
                out.member(",\"environment\":", environment);
            }
            out.put(b"}");
        }
        out.put(b"}\n");
    })
}

/// Writes whole items, each of which is its header line, a line feed and its payload (checked by
/// [`describe_item`](super::describe_item) when it was recorded), and the line feed behind each. Returns how many.
///
/// # Errors
///
/// The sink's.
pub fn write_items<'a, I, W>(items: I, out: &mut W) -> Result<usize, WriteError<W::Error>>
where
    I: IntoIterator<Item: IntoIterator<Item = &'a [u8]>>,
    W: Write + ?Sized,
{
    let mut written = 0_usize;
    for item in items {
        for piece in item {
            put(out, piece)?;
        }
        put(out, b"\n")?;
        written = written.saturating_add(1);
    }
    Ok(written)
}

/// What a container holds.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContainerKind {
    /// Logs.
    Log,
    /// Application metrics.
    TraceMetric,
    /// Spans, all of the trace in the envelope header.
    Span,
}

impl ContainerKind {
    /// The container for elements of `category`.
    #[must_use]
    pub const fn of(category: Category) -> Option<Self> {
        match category {
            Category::LogItem | Category::LogByte => Some(Self::Log),
            Category::TraceMetric | Category::TraceMetricByte => Some(Self::TraceMetric),
            Category::Span => Some(Self::Span),
            _ => None,
        }
    }

    /// `type` of the item.
    #[must_use]
    pub const fn item_type(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::TraceMetric => "trace_metric",
            Self::Span => "span",
        }
    }

    /// `content_type` of the item.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Log => "application/vnd.sentry.items.log+json",
            Self::TraceMetric => "application/vnd.sentry.items.trace-metric+json",
            Self::Span => "application/vnd.sentry.items.span.v2+json",
        }
    }
}

const CONTAINER_START: &[u8] = br#"{"version":2,"items":["#;
const CONTAINER_END: &[u8] = b"]}";

/// Writes a container item and the line feed behind it. `elements` are `count` JSON objects of `bytes` bytes in sum,
/// each in pieces.
///
/// # Errors
///
/// The sink's; or [`WriteError::Invalid`] when the elements are not what `count` and `bytes` say, for then the header
/// that was written before them is wrong.
pub fn write_container<'a, I, W>(
    kind: ContainerKind,
    count: u32,
    bytes: u64,
    elements: I,
    out: &mut W,
) -> Result<(), WriteError<W::Error>>
where
    I: IntoIterator<Item: IntoIterator<Item = &'a [u8]>>,
    W: Write + ?Sized,
{
    let commas = u64::from(count.saturating_sub(1));
    let frame = CONTAINER_START.len().saturating_add(CONTAINER_END.len()) as u64;
    through(out, |out| {
        out.member("{\"type\":", kind.item_type());
        out.put(b",\"item_count\":");
        out.number(u64::from(count));
        out.member(",\"content_type\":", kind.content_type());
        out.put(b",\"length\":");
        out.number(bytes.saturating_add(commas).saturating_add(frame));
        out.put(b"}\n");
        out.put(CONTAINER_START);
    })?;
    let (mut written, mut written_bytes) = (0_u32, 0_u64);
    for element in elements {
        if written > 0 {
            put(out, b",")?;
        }
        written = written.saturating_add(1);
        for piece in element {
            put(out, piece)?;
            written_bytes = written_bytes.saturating_add(piece.len() as u64);
        }
    }
    if (written, written_bytes) != (count, bytes) {
        return Err(WriteError::Invalid(
            "the elements of a container are not those its header announces",
        ));
    }
    put(out, CONTAINER_END)?;
    put(out, b"\n")
}

/// `trace_id` of an element (a span or a log), which lies in `chunks`; `None` when it has none or is no JSON object.
/// Reads up to that member.
#[must_use]
pub fn element_trace_id<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<[u8; 16]> {
    let mut chunks = chunks.into_iter();
    trace_id_in(&mut || chunks.next())
}

fn trace_id_in(source: Source<'_, '_>) -> Option<[u8; 16]> {
    let mut scanner = Scanner::new(MAX_PAYLOAD_JSON_DEPTH);
    let mut text = Short::<36>::new();
    let mut found = false;
    while let Some(mut input) = source() {
        while let Some(token) = scanner.next(&mut input).ok()? {
            match token {
                Token::Part(piece) => text.push(piece),
                Token::Char(character) => text.push_char(character),
                Token::Text if found && scanner.depth() == 1 => return text.get().and_then(uuid),
                Token::Key => {
                    found = scanner.depth() == 1 && text.is("trace_id");
                    text.clear();
                }
                _ => text.clear(),
            }
        }
    }
    None
}
