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
pub(crate) use log::EncodedLog;
pub use log::Log;
#[cfg(feature = "sentry")]
pub use sdk::{SentryTransport, transport};
pub(crate) use session::encoded_session;
pub use session::{Session, SessionStatus};
pub(crate) use transaction::encoded_transaction;
pub use transaction::{Measurement, Span, SpanStatus, Transaction};

use surgetank_core::wire::otlp::encode::{AnyValue, KeyValue};
use surgetank_core::wire::otlp::protobuf::{Length, Out};

use crate::json::{Encode, Json};

/// A list of named values.
pub type Map<'a> = &'a [KeyValue<'a>];

/// Writes `"key":"text"` unless the text is empty.
fn text<O: Out>(json: &mut Json<'_, O>, key: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    json.key(key);
    json.str(text);
}

/// Writes `"key":number` unless the number is zero.
fn number<O: Out>(json: &mut Json<'_, O>, key: &str, number: u32) {
    if number == 0 {
        return;
    }
    json.key(key);
    json.u64(u64::from(number));
}

/// Writes `"key":{..}` unless the map is empty.
fn map<O: Out>(json: &mut Json<'_, O>, key: &str, map: Map<'_>) {
    if map.is_empty() {
        return;
    }
    json.key(key);
    json.value(&AnyValue::Map(map));
}

/// Writes the tags of an event unless there are none.
fn tags<O: Out>(json: &mut Json<'_, O>, tags: &[(&str, &str)]) {
    if tags.is_empty() {
        return;
    }
    json.key("tags");
    json.begin_object();
    for (key, value) in tags {
        json.key(key);
        json.str(value);
    }
    json.end_object();
}

/// One item of an envelope: its header line and its payload, which is measured once.
pub(crate) struct Item<P> {
    kind: &'static str,
    payload: P,
    payload_len: usize,
}

impl<P: Encode> Item<P> {
    fn new(kind: &'static str, payload: P) -> Self {
        Self {
            kind,
            payload_len: payload.encoded_len(),
            payload,
        }
    }

    fn header<O: Out>(&self, out: &mut O) {
        let mut header = Json::new(out);
        header.begin_object();
        header.key("type");
        header.plain(self.kind.as_bytes());
        header.key("length");
        header.u64(self.payload_len as u64);
        header.end_object();
        out.raw(b"\n");
    }
}

impl<P: Encode> Encode for Item<P> {
    fn encode<O: Out>(&self, out: &mut O) {
        self.header(out);
        self.payload.encode(out);
    }

    fn encoded_len(&self) -> usize {
        Length::of(|out| self.header(out)).saturating_add(self.payload_len)
    }
}

/// An envelope of one item: its header line, the item, and the line feed that the protocol leaves to taste.
pub(crate) struct Enveloped<H, P> {
    header: H,
    item: Item<P>,
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
}
