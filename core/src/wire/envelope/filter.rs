//! A ready-made envelope on its way out: without what is limited, and with the time it is sent at.
//!
//! An item is left out when a removed category is one it is limited by. When that happens to the item that makes the
//! envelope's event (the first one that does), everything that needs an event goes too: attachments, profiles, user
//! reports, replay events (Relay's rule; sessions, logs, metrics, spans, check-ins, replay recordings and client
//! reports stay). Everything else is passed on byte for byte.

use super::error::EnvelopeError;
use super::header::Extent;
use super::reader::Step;
use super::summary::Tally;
use super::walk::{Source, Walk};
use crate::item::{CategorySet, Count};
use crate::limits::MAX_ENVELOPE_ITEMS;
use crate::time::UnixTime;
use crate::wire::output::WriteError;
use crate::wire::sink::{Sink, through};
use embedded_io::Write;

/// One bit for each item of an envelope.
#[derive(Clone, Debug)]
pub(super) struct ItemSet([u64; MAX_ENVELOPE_ITEMS.div_ceil(64)]);

impl ItemSet {
    pub(super) const EMPTY: Self = Self([0; _]);

    fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
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
    let (mut first, mut again) = (chunks.clone(), chunks);
    let tally = tally_of(&mut || first.next(), &mut || again.next(), removed)?;
    for category in tally.categories().iter() {
        let quantity = tally.total(category);
        if quantity > 0 {
            found(Count { category, quantity });
        }
    }
    Ok(())
}

/// Both sources give the same pieces.
#[inline(never)]
fn tally_of(
    first: Source<'_, '_>,
    again: Source<'_, '_>,
    removed: CategorySet,
) -> Result<Tally, EnvelopeError> {
    let mut left_out = ItemSet::EMPTY;
    if !removed.is_empty() {
        let mut walk = Walk::new(first);
        select(&mut walk, removed, &mut left_out);
        walk.outcome()?;
    }
    let mut walk = Walk::new(again);
    let tally = Tally::of(&mut walk, &left_out);
    walk.outcome()?;
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
    let (mut first, mut again) = (chunks.clone(), chunks);
    through(out, |out| {
        filter(&mut || first.next(), &mut || again.next(), removed, sent_at, out)
    })
}

/// Both sources give the same pieces.
#[inline(never)]
fn filter<'a>(
    first: Source<'a, '_>,
    again: Source<'a, '_>,
    removed: CategorySet,
    sent_at: UnixTime,
    out: &mut Sink<'_>,
) -> Filtered {
    let mut filtered = Filtered {
        items: 0,
        left_out: 0,
    };
    let mut walk = Walk::new(first);
    let header = walk.enter_envelope();
    let line_end = header.line.end;
    let mut copied = HeaderCopy {
        first: header.line.start.saturating_add(1),
        is_empty: header.is_empty,
        old: header.sent_at,
        sent_at,
        offset: 0,
    };
    let header_end = walk.offset();
    let mut left_out = ItemSet::EMPTY;
    if !removed.is_empty() {
        select(&mut walk, removed, &mut left_out);
    }
    if let Err(error) = walk.outcome() {
        out.refuse(error.kind.as_str());
        return filtered;
    }
    // The header line, its line feed included.
    let mut rest: &[u8] = &[];
    while copied.offset < header_end {
        let Some(chunk) = again() else {
            break;
        };
        let left = usize::try_from(header_end.saturating_sub(copied.offset)).unwrap_or(usize::MAX);
        let (piece, after) = chunk.split_at_checked(left).unwrap_or((chunk, &[]));
        copied.write(piece, out);
        rest = after;
    }
    if header_end == line_end {
        out.put(b"\n");
    }
    // The items: what was walked over to select some is walked over once more.
    if !removed.is_empty() {
        walk = Walk::new(again);
        walk.expect_item(rest);
    }
    let mut index = 0_usize;
    let mut line_end = 0;
    loop {
        let keep = !left_out.contains(index);
        let step = walk.step();
        if keep {
            out.put(walk.taken());
        }
        match step {
            Step::Item => line_end = walk.item().line.end,
            Step::ItemEnd => {
                if keep {
                    filtered.items = filtered.items.saturating_add(1);
                    // Line feeds that only the last item of an envelope may lack.
                    if walk.payload().start == line_end {
                        out.put(b"\n");
                    }
                    if walk.payload().end == walk.offset() {
                        out.put(b"\n");
                    }
                } else {
                    filtered.left_out = filtered.left_out.saturating_add(1);
                }
                index = index.saturating_add(1);
            }
            Step::Header | Step::More | Step::Payload(_) => {}
            Step::End => break,
            Step::Wrong => {
                if let Err(error) = walk.outcome() {
                    out.refuse(error.kind.as_str());
                }
                break;
            }
        }
        if out.has_failed() {
            break;
        }
    }
    filtered
}

/// Notes which of the items that `walk` comes to the removal of some categories leaves out: those limited by one and, when
/// the envelope's event is among them, those that need an event.
fn select(walk: &mut Walk<'_, '_>, removed: CategorySet, left_out: &mut ItemSet) {
    let mut dependent = ItemSet::EMPTY;
    let mut is_event_limited = None;
    let mut index = 0_usize;
    while walk.enter_item() {
        let header = walk.item();
        let is_limited = header.limited_by().intersects(removed);
        if is_limited {
            left_out.insert(index);
        }
        if header.creates_event() && is_event_limited.is_none() {
            is_event_limited = Some(is_limited);
        }
        if header.requires_event() {
            dependent.insert(index);
        }
        index = index.saturating_add(1);
    }
    if is_event_limited == Some(true) {
        left_out.add(&dependent);
    }
}

/// Copies the header line, `sent_at` replaced or put in as its first member.
struct HeaderCopy {
    /// Where the first member is, or would be.
    first: u64,
    is_empty: bool,
    /// Where the old time is.
    old: Option<Extent>,
    sent_at: UnixTime,
    offset: u64,
}

impl HeaderCopy {
    /// Writes the next piece of the line.
    fn write(&mut self, piece: &[u8], out: &mut Sink<'_>) {
        let (start, end) = match self.old {
            Some(place) => (place.start, place.end),
            None => (self.first, self.first),
        };
        let here = |offset: u64| usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let (before, from) = piece.split_at_checked(here(start)).unwrap_or((piece, &[]));
        out.put(before);
        let piece_end = self.offset.saturating_add(piece.len() as u64);
        // The place is in this piece: its first byte is, or it is empty and right behind the last byte before it.
        if self.offset <= start && start < piece_end {
            self.write_time(out);
        }
        let skipped = here(end).saturating_sub(before.len());
        out.put(from.get(skipped..).unwrap_or_default());
        self.offset = piece_end;
    }

    /// Writes the time, or a member that says it.
    fn write_time(&self, out: &mut Sink<'_>) {
        let is_member = self.old.is_none();
        if is_member {
            out.put(b"\"sent_at\":");
        }
        out.time(self.sent_at);
        if is_member && !self.is_empty {
            out.put(b",");
        }
    }
}
