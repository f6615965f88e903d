//! From the `sentry` crate's envelopes to records.
//!
//! An envelope with one item, the usual case, is judged before it is serialized: the crate itself knows what the item
//! counts for. The crate's client reports are taken out and join the client's own account, so that a refused or lost
//! envelope takes no report with it.

use std::cell::RefCell;
use std::io;

use sentry_core::Envelope;
use sentry_core::protocol::client_report::{Category as SdkCategory, LossSource, Reason as SdkReason};
use sentry_core::protocol::{EnvelopeItem, ItemContainer};
use serde::Serialize;
use surgetank_core::item::{Category, Count, DestinationId, DropReason, Form, Header};

use super::serializer::{self, Unusual};
use crate::client::Client;

/// Memory that a thread keeps between envelopes, for each of the two buffers.
const KEPT_BYTES: usize = 64 * 1024;

/// Room for a payload to begin with: an event with its contexts and a list of images has some 5 KiB.
const FIRST_BYTES: usize = 16 * 1024;

/// The envelope, and the payload of the item being written: its length stands before it.
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

/// Memory of which the front is written: it is set to zero once, and not for each envelope.
#[derive(Default)]
struct Payload {
    room: Vec<u8>,
    written: usize,
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        self.room.get(..self.written).unwrap_or_default()
    }

    /// Replaces what was written by `value`.
    fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        if self.room.is_empty() {
            self.room.resize(FIRST_BYTES, 0);
        }
        loop {
            match serializer::write(value, &mut self.room) {
                Ok(Some(written)) => {
                    self.written = written;
                    return Ok(());
                }
                Ok(None) => self.room.resize(self.room.len().saturating_mul(2), 0),
                Err(Unusual) => {
                    self.room.clear();
                    let written = serde_json::to_writer(&mut self.room, value);
                    self.written = self.room.len();
                    return Ok(written?);
                }
            }
        }
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
        if envelope.items().next().is_none() || !envelope.items().all(is_known) {
            // Ready-made bytes, or a kind of item that is younger than this code.
            self.sdk_envelope_as_it_is(envelope, destination);
            return;
        }
        let mut items = 0;
        for item in envelope.items() {
            match item {
                EnvelopeItem::ClientReport(_) => self.count_losses(item, destination, None),
                _ => items += 1,
            }
        }
        if items == 0 {
            return;
        }
        let header = if items == 1 {
            header_of(envelope, destination)
        } else {
            None
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

/// The header of an envelope with one item beside client reports; `None` when it has to be read for that.
fn header_of(envelope: &Envelope, destination: DestinationId) -> Option<Header> {
    let item = envelope
        .items()
        .find(|item| !matches!(item, EnvelopeItem::ClientReport(_)))?;
    if matches!(item, EnvelopeItem::Attachment(_)) {
        return None;
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
    matches!(
        item,
        EnvelopeItem::Event(_)
            | EnvelopeItem::Transaction(_)
            | EnvelopeItem::SessionUpdate(_)
            | EnvelopeItem::SessionAggregates(_)
            | EnvelopeItem::Attachment(_)
            | EnvelopeItem::MonitorCheckIn(_)
            | EnvelopeItem::ClientReport(_)
            | EnvelopeItem::ItemContainer(ItemContainer::Logs(_) | ItemContainer::Metrics(_))
    )
}

/// Writes the envelope but for its client reports, byte for byte as [`Envelope::to_writer`] does, into memory that is
/// used again.
fn write(envelope: &Envelope, buffers: &mut Buffers) -> io::Result<()> {
    let Buffers {
        envelope: out,
        payload,
    } = buffers;
    serde_json::to_writer(&mut *out, envelope.headers())?;
    out.push(b'\n');
    for item in envelope.items() {
        let kind = match item {
            EnvelopeItem::Event(event) => json(payload, event, "event")?,
            EnvelopeItem::Transaction(transaction) => json(payload, transaction, "transaction")?,
            EnvelopeItem::SessionUpdate(session) => json(payload, session, "session")?,
            EnvelopeItem::SessionAggregates(sessions) => json(payload, sessions, "sessions")?,
            EnvelopeItem::MonitorCheckIn(check_in) => json(payload, check_in, "check_in")?,
            EnvelopeItem::ItemContainer(ItemContainer::Logs(logs)) => {
                json(payload, &Container { items: logs }, "log")?
            }
            EnvelopeItem::ItemContainer(ItemContainer::Metrics(metrics)) => {
                json(payload, &Container { items: metrics }, "trace_metric")?
            }
            EnvelopeItem::Attachment(attachment) => {
                attachment.to_writer(&mut *out)?;
                out.push(b'\n');
                continue;
            }
            _ => continue,
        };
        write_item_header(out, item, kind, payload.bytes().len())?;
        out.extend_from_slice(payload.bytes());
        out.push(b'\n');
    }
    Ok(())
}

fn write_item_header(out: &mut Vec<u8>, item: &EnvelopeItem, kind: &str, length: usize) -> io::Result<()> {
    use io::Write as _;

    match item {
        EnvelopeItem::ItemContainer(container) => writeln!(
            out,
            r#"{{"type":"{kind}","item_count":{},"content_type":"{}"}}"#,
            container.len(),
            container.content_type()
        ),
        _ => writeln!(out, r#"{{"type":"{kind}","length":{length}}}"#),
    }
}

fn json(payload: &mut Payload, value: &impl Serialize, kind: &'static str) -> io::Result<&'static str> {
    payload.write(value)?;
    Ok(kind)
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
