//! A ready-made envelope on its way out: without what is limited, and with the time it is sent at.
//!
//! An item is left out when a removed category is one it is limited by. When that happens to the item that makes the
//! envelope's event (the first one that does), everything that needs an event goes too: attachments, profiles, user
//! reports, replay events (Relay's rule; sessions, logs, metrics, spans, check-ins, replay recordings and client
//! reports stay). Everything else is passed on byte for byte.

use super::error::EnvelopeError;
use super::header::{EnvelopeHeader, ItemHeader};
use super::quantities::ItemScan;
use super::reader::{Event, Reader};
use super::summary::Tally;
use super::walk::Walk;
use crate::item::{CategorySet, Count};
use crate::limits::MAX_ENVELOPE_ITEMS;
use crate::time::UnixTime;
use crate::wire::output::{WriteError, put};
use crate::wire::timestamp::timestamp;
use embedded_io::Write;

/// One bit for each item of an envelope.
#[derive(Clone, Copy, Default, Debug)]
struct ItemSet([u64; MAX_ENVELOPE_ITEMS.div_ceil(64)]);

impl ItemSet {
    fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn union(mut self, other: &Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }
}

/// Which items the removal of some categories leaves out; found while their headers go by.
#[derive(Clone, Copy, Debug)]
struct Selection {
    removed: CategorySet,
    limited: ItemSet,
    /// The envelope's event is among them. `None` as long as no item made one.
    event_limited: Option<bool>,
}

impl Selection {
    fn new(removed: CategorySet) -> Self {
        Self {
            removed,
            limited: ItemSet::default(),
            event_limited: None,
        }
    }

    fn see(&mut self, index: usize, header: &ItemHeader) {
        let limited = header.limited_by().intersects(self.removed);
        if limited {
            self.limited.insert(index);
        }
        if header.creates_event() && self.event_limited.is_none() {
            self.event_limited = Some(limited);
        }
    }

    /// The items left out, `dependent` being those that need an event.
    fn left_out(self, dependent: &ItemSet) -> ItemSet {
        if self.event_limited == Some(true) {
            self.limited.union(dependent)
        } else {
            self.limited
        }
    }
}

/// Calls `found` once for each category in which something is left of the envelope in `chunks` when `removed` is taken
/// out: everything it holds when `removed` is empty.
///
/// Bound: one walk over the headers and the payloads that must be read to be counted; before it, when `removed` is not
/// empty, one over the headers alone.
///
/// # Errors
///
/// What is wrong with the envelope, and where; `found` was not called then.
pub fn counts_of<'a, I>(
    chunks: I,
    removed: CategorySet,
    mut found: impl FnMut(Count),
) -> Result<(), EnvelopeError>
where
    I: Iterator<Item = &'a [u8]> + Clone,
{
    let tally = tally_of(chunks, removed)?;
    for category in tally.categories().iter() {
        let quantity = tally.total(category);
        if quantity > 0 {
            found(Count { category, quantity });
        }
    }
    Ok(())
}

/// Apart from its caller so that there is one copy of it, not one for each `found`.
#[inline(never)]
fn tally_of<'a>(
    chunks: impl Iterator<Item = &'a [u8]> + Clone,
    removed: CategorySet,
) -> Result<Tally, EnvelopeError> {
    let left_out = if removed.is_empty() {
        ItemSet::default()
    } else {
        select(chunks.clone(), removed)?.2
    };
    let mut tally = Tally::new();
    let mut walk = Walk::new(Reader::new(), chunks);
    let mut index = 0_usize;
    let mut scan = None;
    while let Some(event) = walk.event()? {
        match event {
            Event::Item(header) => {
                tally.see(&header);
                scan = (!left_out.contains(index)).then(|| (header, ItemScan::new(&header)));
                index = index.saturating_add(1);
            }
            Event::Payload(piece) => {
                if let Some((_, scan)) = &mut scan {
                    scan.feed(piece);
                }
            }
            Event::ItemEnd { payload } => {
                if let Some((header, scan)) = scan.take() {
                    tally.add(&header, &scan.finish(payload.len()));
                }
            }
            Event::Header(_) => {}
        }
    }
    tally.close();
    Ok(tally)
}

/// What [`write_filtered`] wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filtered {
    /// Items that were passed on.
    pub items: u16,
    /// Items that were left out.
    pub left_out: u16,
}

/// Writes the envelope in `chunks` with `sent_at` in its header and without the items that `removed` leaves out.
///
/// Everything else is byte for byte the same, but the output always ends with a line feed, so further items may be
/// written behind it. Bound: two walks over the headers when `removed` is not empty, else one; bytes are copied once.
///
/// # Errors
///
/// The sink's; or [`WriteError::Invalid`] when what lies in `chunks` is no envelope.
pub fn write_filtered<'a, I, W>(
    chunks: I,
    removed: CategorySet,
    sent_at: UnixTime,
    out: &mut W,
) -> Result<Filtered, WriteError<W::Error>>
where
    I: Iterator<Item = &'a [u8]> + Clone,
    W: Write + ?Sized,
{
    let (header, header_end, left_out) = select(chunks.clone(), removed).map_err(invalid)?;
    let mut copied = HeaderCopy {
        header: &header,
        sent_at,
        offset: 0,
    };
    // The header line, its line feed included.
    let mut chunks = chunks;
    let mut rest: &[u8] = &[];
    while copied.offset < header_end {
        let Some(chunk) = chunks.next() else {
            break;
        };
        let left = usize::try_from(header_end.saturating_sub(copied.offset)).unwrap_or(usize::MAX);
        let (piece, after) = chunk.split_at_checked(left).unwrap_or((chunk, &[]));
        copied.write(piece, out)?;
        rest = after;
    }
    if header_end == header.line.end {
        put(out, b"\n")?;
    }
    // The items.
    let mut walk = Walk::new(Reader::at_item(), chunks).with_input(rest);
    let mut index = 0_usize;
    let mut filtered = Filtered {
        items: 0,
        left_out: 0,
    };
    let mut line_end = 0;
    loop {
        let keep = !left_out.contains(index);
        let event = walk
            .next(|piece| {
                if keep {
                    put(out, piece).map_err(Failure::Write)
                } else {
                    Ok(())
                }
            })
            .map_err(|failure| match failure {
                Failure::Envelope(error) => invalid(error),
                Failure::Write(error) => error,
            })?;
        match event {
            Some(Event::Item(item)) => line_end = item.line.end,
            Some(Event::ItemEnd { payload }) => {
                if keep {
                    filtered.items = filtered.items.saturating_add(1);
                    // Line feeds that only the last item of an envelope may lack.
                    if payload.start == line_end {
                        put(out, b"\n")?;
                    }
                    if payload.end == walk.offset() {
                        put(out, b"\n")?;
                    }
                } else {
                    filtered.left_out = filtered.left_out.saturating_add(1);
                }
                index = index.saturating_add(1);
            }
            Some(Event::Header(_) | Event::Payload(_)) => {}
            None => return Ok(filtered),
        }
    }
}

/// The header, where its line feed ends, and the items that are left out.
fn select<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    removed: CategorySet,
) -> Result<(EnvelopeHeader, u64, ItemSet), EnvelopeError> {
    let mut walk = Walk::new(Reader::new(), chunks);
    let mut selection = Selection::new(removed);
    let mut dependent = ItemSet::default();
    let mut index = 0_usize;
    let mut line = (EnvelopeHeader::default(), 0);
    while let Some(event) = walk.event()? {
        match event {
            Event::Header(header) => {
                line = (header, walk.offset());
                if removed.is_empty() {
                    break;
                }
            }
            Event::Item(header) => {
                selection.see(index, &header);
                if header.requires_event() {
                    dependent.insert(index);
                }
                index = index.saturating_add(1);
            }
            Event::Payload(_) | Event::ItemEnd { .. } => {}
        }
    }
    Ok((line.0, line.1, selection.left_out(&dependent)))
}

/// Copies the header line, `sent_at` replaced or put in as its first member.
struct HeaderCopy<'h> {
    header: &'h EnvelopeHeader,
    sent_at: UnixTime,
    offset: u64,
}

impl HeaderCopy<'_> {
    /// Writes the next piece of the line.
    fn write<W: Write + ?Sized>(&mut self, piece: &[u8], out: &mut W) -> Result<(), WriteError<W::Error>> {
        let first = self.header.line.start.saturating_add(1);
        let (start, end) = match self.header.sent_at {
            Some(place) => (place.start, place.end),
            None => (first, first),
        };
        let here = |offset: u64| usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let (before, from) = piece.split_at_checked(here(start)).unwrap_or((piece, &[]));
        put(out, before)?;
        let piece_end = self.offset.saturating_add(piece.len() as u64);
        // The place is in this piece: its first byte is, or it is empty and right behind the last byte before it.
        let starts_here = self.offset <= start && start < piece_end;
        if starts_here {
            if self.header.sent_at.is_none() {
                put(out, b"\"sent_at\":")?;
            }
            put(out, b"\"")?;
            put(out, &timestamp(self.sent_at))?;
            put(out, b"\"")?;
            if self.header.sent_at.is_none() && !self.header.is_empty {
                put(out, b",")?;
            }
        }
        let skipped = here(end).saturating_sub(before.len());
        put(out, from.get(skipped..).unwrap_or_default())?;
        self.offset = piece_end;
        Ok(())
    }
}

enum Failure<E> {
    Envelope(EnvelopeError),
    Write(WriteError<E>),
}

impl<E> From<EnvelopeError> for Failure<E> {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

const fn invalid<E>(error: EnvelopeError) -> WriteError<E> {
    WriteError::Invalid(error.kind.as_str())
}
