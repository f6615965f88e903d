//! From the `sentry` crate's envelopes to records.
//!
//! An envelope with one item, the usual case, is judged before anything else: the crate itself knows what the item counts
//! for. Its heads are written before the payload once that is there, so all of it lies in one piece and is copied once, into
//! the intake. The crate's client reports are taken out and join the client's own account, so that a refused or lost
//! envelope takes no report with it.

use std::cell::RefCell;
use std::io;

use sentry_core::Envelope;
use sentry_core::protocol::client_report::{Category as SdkCategory, LossSource, Reason as SdkReason};
use sentry_core::protocol::{EnvelopeItem, ItemContainer};
use serde::Serialize;
use surgetank_core::item::{Category, Count, DestinationId, DropReason, Form, Header};
use surgetank_core::wire::otlp::protobuf::{Out as _, Writer};

use super::place::Place;
use super::serializer::{self, Unusual};
use crate::client::Client;
use crate::json::Json;

/// Memory that a thread keeps between envelopes, for each of the two buffers.
const KEPT_BYTES: usize = 64 * 1024;

/// Room for a payload to begin with: an event with its contexts and a list of images has some 5 KiB.
const FIRST_BYTES: usize = 16 * 1024;

/// Room before a payload for the heads of envelope and item, which take some 100 bytes, and 400 with a sampling context.
const HEAD_BYTES: usize = 1024;

/// An envelope of several items, and the payload of the item being written: its length stands before it.
#[derive(Default)]
struct Buffers {
    envelope: Vec<u8>,
    payload: Payload,
}

impl Buffers {
    fn reset(&mut self) {
        self.envelope.clear();
        self.envelope.shrink_to(KEPT_BYTES);
        self.payload.room.truncate(KEPT_BYTES);
        self.payload.room.shrink_to(KEPT_BYTES);
    }
}

/// Memory of which a part is written: it is set to zero once, and not for each envelope. The payload stands behind
/// [`HEAD_BYTES`], so that what stands before it in an envelope of one item can be written there afterwards.
#[derive(Default)]
struct Payload {
    room: Vec<u8>,
    written: usize,
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        let end = HEAD_BYTES.saturating_add(self.written);
        self.room.get(HEAD_BYTES..end).unwrap_or_default()
    }

    /// Replaces what was written by `value`, of which is known what `place` says.
    fn write(&mut self, value: &impl Serialize, place: &Place<'_>) -> io::Result<()> {
        if self.room.is_empty() {
            self.room.resize(FIRST_BYTES, 0);
        }
        loop {
            let room = self.room.get_mut(HEAD_BYTES..).unwrap_or_default();
            match serializer::write(value, place.clone(), room) {
                Ok(Some(written)) => {
                    self.written = written;
                    return Ok(());
                }
                Ok(None) => self.room.resize(self.room.len().saturating_mul(2), 0),
                Err(Unusual) => {
                    self.room.truncate(HEAD_BYTES);
                    let written = serde_json::to_writer(&mut self.room, value);
                    self.written = self.room.len().saturating_sub(HEAD_BYTES);
                    return Ok(written?);
                }
            }
        }
    }

    /// The payload as an envelope of one item, with its heads before it; `None` when they do not fit there.
    fn as_envelope(&mut self, envelope: &Envelope, item: &EnvelopeItem) -> Option<&[u8]> {
        let end = HEAD_BYTES.checked_add(self.written)?;
        // There may be no byte left behind the payload.
        if self.room.len() <= end {
            self.room.push(0);
        }
        *self.room.get_mut(end)? = b'\n';
        let heads = self.room.get_mut(..HEAD_BYTES)?;
        let headers = serializer::write(envelope.headers(), Place::Unknown, heads).ok()??;
        let mut out = Writer::new(heads.get_mut(headers..)?);
        out.raw(b"\n");
        write_item_header(&mut out, item, self.written)?;
        let length = headers.checked_add(out.finish().ok()?)?;
        let start = HEAD_BYTES.checked_sub(length)?;
        heads.copy_within(..length, start);
        self.room.get(start..=end)
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Client {
    /// Records what the `sentry` crate wants sent.
    pub(super) fn sdk_envelope(&self, envelope: &Envelope) {
        let Some(destination) = self.sentry_destination() else {
            return;
        };
        let mut items = envelope.items();
        let (first, second) = (items.next(), items.next());
        let Some(first) = first else {
            // Ready-made bytes.
            return self.sdk_envelope_as_it_is(envelope, destination);
        };
        match header_of(first, destination) {
            Some(header) if second.is_none() => {
                // Before anything is written.
                if self.admit(&header).is_ok() {
                    self.sdk_item(envelope, first, &header);
                }
            }
            _ => self.sdk_items(envelope, destination),
        }
    }

    /// Records an envelope of one item.
    #[inline(never)]
    fn sdk_item(&self, envelope: &Envelope, item: &EnvelopeItem, header: &Header) {
        with_buffers(|buffers| {
            if write_payload(item, &mut buffers.payload).is_err() {
                self.lose(envelope, header.destination, DropReason::InternalSdkError);
            } else if let Some(bytes) = buffers.payload.as_envelope(envelope, item) {
                let _ = self.record_bytes(header, bytes);
            } else if write(envelope, buffers).is_ok() {
                let _ = self.record_bytes(header, &buffers.envelope);
            } else {
                self.lose(envelope, header.destination, DropReason::InternalSdkError);
            }
        });
    }

    /// Records an envelope of several items, or of one that says by itself what it counts for.
    #[inline(never)]
    fn sdk_items(&self, envelope: &Envelope, destination: DestinationId) {
        if !envelope.items().all(is_known) {
            // A kind of item that is younger than this code.
            self.sdk_envelope_as_it_is(envelope, destination);
            return;
        }
        let mut items = 0;
        let mut only = None;
        for item in envelope.items() {
            match item {
                EnvelopeItem::ClientReport(_) => self.count_losses(item, destination, None),
                _ => {
                    items += 1;
                    only = Some(item);
                }
            }
        }
        let header = match only {
            None => return,
            Some(item) if items == 1 => header_of(item, destination),
            Some(_) => None,
        };
        if header.is_some_and(|header| self.admit(&header).is_err()) {
            return;
        }
        with_buffers(|buffers| {
            if write(envelope, buffers).is_err() {
                self.lose(envelope, destination, DropReason::InternalSdkError);
                return;
            }
            match header {
                Some(header) => {
                    let _ = self.record_bytes(&header, &buffers.envelope);
                }
                None => self.record_described(&buffers.envelope, envelope, destination),
            }
        });
    }

    fn sdk_envelope_as_it_is(&self, envelope: &Envelope, destination: DestinationId) {
        with_buffers(|buffers| match envelope.to_writer(&mut buffers.envelope) {
            Ok(()) => self.record_described(&buffers.envelope, envelope, destination),
            Err(_) => self.lose(envelope, destination, DropReason::InternalSdkError),
        });
    }

    /// Records bytes whose items are to be counted by reading them.
    fn record_described(&self, bytes: &[u8], envelope: &Envelope, destination: DestinationId) {
        if self.envelope(bytes).is_err() {
            self.lose(envelope, destination, DropReason::Invalid);
        }
    }

    /// Counts all of the envelope as lost, but what was counted before.
    fn lose(&self, envelope: &Envelope, destination: DestinationId, reason: DropReason) {
        for item in envelope.items() {
            if !matches!(item, EnvelopeItem::ClientReport(_)) {
                self.count_losses(item, destination, Some(reason));
            }
        }
    }

    /// Counts what the loss of `item` costs: for `reason`, or for the reason that a client report gives.
    fn count_losses(&self, item: &EnvelopeItem, destination: DestinationId, reason: Option<DropReason>) {
        for loss in item.losses() {
            let reason = reason.or_else(|| reason_of(loss.reason?));
            let (Some(category), Some(reason)) = (category_of(loss.category), reason) else {
                continue;
            };
            let quantity = u32::try_from(loss.quantity).unwrap_or(u32::MAX);
            self.refuse_count(destination, Count { category, quantity }, reason);
        }
    }
}

/// Hands out the thread's buffers, empty; new ones where they are in use (a signal handler) or gone (the thread ends).
fn with_buffers(work: impl FnOnce(&mut Buffers)) {
    let mut work = Some(work);
    let _ = BUFFERS.try_with(|buffers| {
        if let Ok(mut buffers) = buffers.try_borrow_mut()
            && let Some(work) = work.take()
        {
            work(&mut buffers);
            buffers.reset();
        }
    });
    if let Some(work) = work.take() {
        work(&mut Buffers::default());
    }
}

/// The header of an envelope with `item` and nothing else to be sent; `None` when it has to be read for that.
fn header_of(item: &EnvelopeItem, destination: DestinationId) -> Option<Header> {
    match item {
        // The usual one, without the crate's account of it.
        EnvelopeItem::Event(_) => return Some(Header::new(destination, Form::Envelope, Category::Error, 1)),
        EnvelopeItem::Transaction(_)
        | EnvelopeItem::SessionUpdate(_)
        | EnvelopeItem::SessionAggregates(_)
        | EnvelopeItem::MonitorCheckIn(_)
        | EnvelopeItem::ItemContainer(ItemContainer::Logs(_) | ItemContainer::Metrics(_)) => {}
        _ => return None,
    }
    let mut header: Option<Header> = None;
    for loss in item.losses() {
        let category = category_of(loss.category)?;
        let quantity = u32::try_from(loss.quantity).unwrap_or(u32::MAX);
        header = Some(match header {
            None => Header::new(destination, Form::Envelope, category, quantity),
            Some(header) => header.also(category, quantity),
        });
    }
    header
}

/// True for the items that [`write()`] knows.
fn is_known(item: &EnvelopeItem) -> bool {
    let other = matches!(item, EnvelopeItem::Attachment(_) | EnvelopeItem::ClientReport(_));
    other || kind(item).is_some()
}

/// Writes the envelope but for its client reports, byte for byte as [`Envelope::to_writer`] does, into memory that is
/// used again.
fn write(envelope: &Envelope, buffers: &mut Buffers) -> io::Result<()> {
    let Buffers {
        envelope: out,
        payload,
    } = buffers;
    out.clear();
    serde_json::to_writer(&mut *out, envelope.headers())?;
    out.push(b'\n');
    for item in envelope.items() {
        match item {
            EnvelopeItem::Attachment(attachment) => {
                attachment.to_writer(&mut *out)?;
                out.push(b'\n');
                continue;
            }
            item if kind(item).is_none() => continue,
            _ => {}
        }
        write_payload(item, payload)?;
        let mut head = [0; ITEM_HEAD_BYTES];
        let mut writer = Writer::new(&mut head);
        let _ = write_item_header(&mut writer, item, payload.bytes().len());
        let written = writer.finish().unwrap_or(0);
        out.extend_from_slice(head.get(..written).unwrap_or_default());
        out.extend_from_slice(payload.bytes());
        out.push(b'\n');
    }
    Ok(())
}

/// Writes the JSON of an item that has a [`kind`].
fn write_payload(item: &EnvelopeItem, payload: &mut Payload) -> io::Result<()> {
    match item {
        EnvelopeItem::Event(event) => payload.write(event, &Place::Event(event)),
        EnvelopeItem::Transaction(transaction) => {
            payload.write(transaction, &Place::Transaction(transaction))
        }
        EnvelopeItem::SessionUpdate(session) => payload.write(session, &Place::Unknown),
        EnvelopeItem::SessionAggregates(sessions) => payload.write(sessions, &Place::Unknown),
        EnvelopeItem::MonitorCheckIn(check_in) => payload.write(check_in, &Place::Unknown),
        EnvelopeItem::ItemContainer(ItemContainer::Logs(logs)) => {
            payload.write(&Container { items: logs }, &Place::LogContainer(logs))
        }
        EnvelopeItem::ItemContainer(ItemContainer::Metrics(metrics)) => {
            payload.write(&Container { items: metrics }, &Place::Unknown)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The type that an item's header names, of items that are written as JSON.
fn kind(item: &EnvelopeItem) -> Option<&'static str> {
    Some(match item {
        EnvelopeItem::Event(_) => "event",
        EnvelopeItem::Transaction(_) => "transaction",
        EnvelopeItem::SessionUpdate(_) => "session",
        EnvelopeItem::SessionAggregates(_) => "sessions",
        EnvelopeItem::MonitorCheckIn(_) => "check_in",
        EnvelopeItem::ItemContainer(ItemContainer::Logs(_)) => "log",
        EnvelopeItem::ItemContainer(ItemContainer::Metrics(_)) => "trace_metric",
        _ => return None,
    })
}

/// More than an item's header takes.
const ITEM_HEAD_BYTES: usize = 160;

/// Writes the header of an item that has a [`kind`].
fn write_item_header(out: &mut Writer<'_>, item: &EnvelopeItem, length: usize) -> Option<()> {
    out.raw(b"{\"type\":\"");
    out.raw(kind(item)?.as_bytes());
    if let EnvelopeItem::ItemContainer(container) = item {
        out.raw(b"\",\"item_count\":");
        Json::new(out).u64(container.len() as u64);
        out.raw(b",\"content_type\":\"");
        out.raw(container.content_type().as_bytes());
        out.raw(b"\"}\n");
    } else {
        out.raw(b"\",\"length\":");
        Json::new(out).u64(length as u64);
        out.raw(b"}\n");
    }
    Some(())
}

#[derive(Serialize)]
struct Container<'a, T> {
    items: &'a [T],
}

fn category_of(category: SdkCategory) -> Option<Category> {
    Some(match category {
        SdkCategory::Error => Category::Error,
        SdkCategory::Session => Category::Session,
        SdkCategory::Transaction => Category::Transaction,
        SdkCategory::Span => Category::Span,
        SdkCategory::Attachment => Category::Attachment,
        SdkCategory::Monitor => Category::Monitor,
        SdkCategory::LogItem => Category::LogItem,
        SdkCategory::LogByte => Category::LogByte,
        SdkCategory::TraceMetric => Category::TraceMetric,
        SdkCategory::TraceMetricByte => Category::TraceMetricByte,
        _ => return None,
    })
}

fn reason_of(reason: SdkReason) -> Option<DropReason> {
    Some(match reason {
        SdkReason::SendError => DropReason::SendError,
        SdkReason::InternalSdkError => DropReason::InternalSdkError,
        SdkReason::NetworkError => DropReason::NetworkError,
        SdkReason::RatelimitBackoff => DropReason::RatelimitBackoff,
        SdkReason::QueueOverflow => DropReason::QueueOverflow,
        SdkReason::BufferOverflow => DropReason::BufferOverflow,
        SdkReason::EventProcessor => DropReason::EventProcessor,
        SdkReason::BeforeSend => DropReason::BeforeSend,
        SdkReason::SampleRate => DropReason::SampleRate,
        _ => return None,
    })
}
