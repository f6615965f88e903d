//! What can be recorded for Sentry, as borrowed data that is encoded straight into the intake.
//!
//! Field names and meanings are those of Sentry's develop documentation ("Event Payloads", "Transactions", "Logs",
//! "Sessions", "Check-Ins"). Every struct has a `Default` (all absent), so that a call names only what it has:
//!
//! ```
//! use surgetank::sentry::{Event, Exception, Frame, Level};
//!
//! let frames = [Frame { function: "charge", filename: "pay.rs", line: 12, ..Frame::default() }];
//! let exceptions = [Exception { kind: "CardError", value: "declined", frames: &frames, ..Exception::default() }];
//! let event = Event { level: Level::Error, exceptions: &exceptions, tags: &[("shop", "42")], ..Event::default() };
//! # let _ = event;
//! ```
//!
//! Empty text stands for an absent field everywhere: Sentry treats both alike.

mod check_in;
mod context;
mod event;
mod log;
#[cfg(feature = "sentry")]
mod sdk;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

pub(crate) use check_in::encoded_check_in;
pub use check_in::{CheckIn, CheckInStatus, Interval, Monitor, Schedule};
pub(crate) use context::{SentryContext, SentryFacts};
pub(crate) use event::encoded_event;
pub use event::{Breadcrumb, Event, Exception, Frame, Level, TraceContext, User};
pub use log::Log;
pub(crate) use log::{LogTexts, NOTED_LOG, NotedLog, billed_bytes};
#[cfg(all(feature = "sentry", feature = "opentelemetry"))]
pub use sdk::ActiveSpan;
#[cfg(feature = "sentry")]
pub use sdk::{SentryTransport, transport};
pub(crate) use session::encoded_session;
pub use session::{Session, SessionStatus};
pub(crate) use transaction::encoded_transaction;
pub use transaction::{Measurement, Span, SpanStatus, Transaction};

use core::cell::OnceCell;

use surgetank_core::wire::otlp::encode::{AnyValue, KeyValue};
use surgetank_core::wire::otlp::protobuf::{Length, Out, Writer};

use crate::json::{Encode, Json, Name, PASSING_BYTES, name};

/// A list of named values.
pub type Map<'a> = &'a [KeyValue<'a>];

/// Writes `"key":"text"` unless the text is empty.
#[inline(always)]
fn text<O: Out>(json: &mut Json<'_, O>, name: Name, text: &str) {
    if !text.is_empty() {
        json.member(name, text);
    }
}

/// Writes `"key":number` unless the number is zero.
#[inline(always)]
fn number<O: Out>(json: &mut Json<'_, O>, name: Name, number: u32) {
    if number == 0 {
        return;
    }
    json.name(name);
    json.u64(u64::from(number));
}

/// Writes `"key":{..}` unless the map is empty.
#[inline(always)]
fn map<O: Out>(json: &mut Json<'_, O>, name: Name, map: Map<'_>) {
    if !map.is_empty() {
        json.name(name);
        json.apart(|json| json.value(&AnyValue::Map(map)));
    }
}

/// Writes the tags of an event unless there are none.
#[inline(always)]
fn tags<O: Out>(json: &mut Json<'_, O>, tags: &[(&str, &str)]) {
    if tags.is_empty() {
        return;
    }
    json.name(name!("tags"));
    json.begin_object();
    for (key, value) in tags {
        json.key(key);
        json.str(value);
    }
    json.end_object();
}

/// Room for the header line of an item: its constant parts, a name of ours and a length.
const ITEM_HEADER_BYTES: usize = PASSING_BYTES;

/// One item of an envelope: its header line and its payload, which is measured at most once.
pub(crate) struct Item<P> {
    kind: &'static str,
    payload: P,
    payload_len: OnceCell<usize>,
}

impl<P: Encode> Item<P> {
    fn new(kind: &'static str, payload: P) -> Self {
        Self {
            kind,
            payload,
            payload_len: OnceCell::new(),
        }
    }

    fn payload_len(&self) -> usize {
        *self.payload_len.get_or_init(|| self.payload.encoded_len())
    }

    #[inline]
    fn header<O: Out>(&self, out: &mut O, payload_len: usize) {
        let mut header = Json::new(out);
        header.begin_object();
        header.plain_member(name!("type"), self.kind.as_bytes());
        header.name(name!("length"));
        header.u64(payload_len as u64);
        header.end_with(b"}\n");
    }
}

impl<P: Encode> Encode for Item<P> {
    fn encode<O: Out>(&self, out: &mut O) {
        self.header(out, self.payload_len());
        self.payload.encode(out);
    }

    fn encoded_len(&self) -> usize {
        let payload_len = self.payload_len();
        Length::of(|out| self.header(out, payload_len)).saturating_add(payload_len)
    }

    /// The payload first, because the header names its length; then it is moved up to the header.
    #[inline]
    fn write(&self, bytes: &mut [u8]) -> Option<usize> {
        let (front, rest) = bytes.split_at_mut_checked(ITEM_HEADER_BYTES)?;
        let payload_len = self.payload.write(rest)?;
        let mut out = Writer::new(front);
        self.header(&mut out, payload_len);
        let header_len = out.finish().ok()?;
        bytes.copy_within(
            ITEM_HEADER_BYTES..ITEM_HEADER_BYTES.checked_add(payload_len)?,
            header_len,
        );
        header_len.checked_add(payload_len)
    }
}

/// An envelope of one item: its header line, the item, and the line feed that the protocol leaves to taste.
pub(crate) struct Enveloped<H, P> {
    header: H,
    item: Item<P>,
}

#[cfg(feature = "opentelemetry")]
impl<H, P: Encode> Enveloped<H, P> {
    pub(crate) fn new(header: H, kind: &'static str, payload: P) -> Self {
        Self {
            header,
            item: Item::new(kind, payload),
        }
    }
}

impl<H: Encode, P: Encode> Encode for Enveloped<H, P> {
    fn encode<O: Out>(&self, out: &mut O) {
        self.header.encode(out);
        out.raw(b"\n");
        self.item.encode(out);
        out.raw(b"\n");
    }

    fn encoded_len(&self) -> usize {
        self.header
            .encoded_len()
            .saturating_add(self.item.encoded_len())
            .saturating_add(2)
    }

    fn likely_len(&self) -> Option<usize> {
        Some(
            self.header
                .likely_len()?
                .saturating_add(self.item.payload.likely_len()?),
        )
    }

    #[inline]
    fn write(&self, bytes: &mut [u8]) -> Option<usize> {
        let header_len = self.header.write(bytes)?;
        let (line_feed, rest) = bytes.get_mut(header_len..)?.split_first_mut()?;
        *line_feed = b'\n';
        let item_len = self.item.write(rest)?;
        *rest.get_mut(item_len)? = b'\n';
        header_len.checked_add(item_len)?.checked_add(2)
    }
}
