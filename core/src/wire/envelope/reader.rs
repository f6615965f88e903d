//! The incremental reader: an envelope in pieces of any size in, headers and payload pieces out.
//!
//! ```text
//! envelope = header { LF item } [ LF ]          item = header LF payload
//!
//!  gap --'{'--> header --'}'--> header end --LF--> gap --'{'--> item header --'}'--> item header end
//!                                                   ^                                      | LF
//!                                                   |            with length: payload <----+
//!                                                   +-----LF---- payload end <----'        |
//!                                                   +-----LF---- payload line <------------+ without length
//! ```
//!
//! Headers are scanned as they go by, payloads are passed on as slices of the input without looking at their bytes
//! (without `length`: looking for the line feed only), so state is a few hundred bytes and nothing is ever copied.
//!
//! Follows the develop docs ("Envelopes", serialization format). Where those leave room, what Relay does: `length: 0`
//! is a length and its payload has its line feed; the last item may end at its header; blank lines (any JSON white
//! space) may stand before a header, not at the end; a carriage return belongs to what precedes it, so it is payload
//! in a payload and an error behind a header. Stricter than Relay in one point: no line feed inside a header.

use super::error::{EnvelopeError, EnvelopeErrorKind};
use super::header::{EnvelopeHeader, Extent, HeaderLine, ItemHeader};
use crate::limits::{MAX_ENVELOPE_ITEMS, MAX_HEADER_LINE_BYTES, MAX_JSON_DEPTH};
use crate::wire::json::{JsonError, Scanner};

/// A step of the reader.
///
/// Exhaustive. Order: one `Header`, then for each item one `Item`, its `Payload` pieces, one `ItemEnd`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// The envelope header, its line feed included.
    Header(EnvelopeHeader),
    /// An item header, its line feed included.
    Item(ItemHeader),
    /// A piece of the payload, never empty.
    Payload(&'a [u8]),
    /// The payload is complete, its line feed included.
    ItemEnd {
        /// Where the payload was.
        payload: Extent,
    },
}

/// The same without what it is about, which stays in the reader: an event is 300 bytes, and most who walk over an envelope
/// look at little of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) enum Step<'a> {
    /// All input was taken, and more is needed.
    More,
    /// See [`Reader::header`].
    Header,
    /// See [`Reader::item`].
    Item,
    /// A piece of the payload.
    Payload(&'a [u8]),
    /// See [`Reader::payload`].
    ItemEnd,
    /// There is nothing behind.
    End,
    /// See [`Reader::outcome`].
    Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Before a header.
    Gap,
    Header,
    HeaderEnd,
    /// Inside a payload of declared length, this much still to come.
    Payload(u64),
    PayloadEnd,
    PayloadLine,
}

/// Reads one envelope. About 500 bytes, whatever the envelope's size.
#[derive(Clone, Debug)]
pub struct Reader {
    stage: Stage,
    offset: u64,
    /// Where the header or payload being read started; in the gap: where the gap did.
    start: u64,
    /// Where the header being read ended.
    end: u64,
    items: u16,
    scanner: Scanner,
    line: HeaderLine,
    payload: Extent,
    error: Option<EnvelopeError>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the start of an envelope.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stage: Stage::Gap,
            offset: 0,
            start: 0,
            end: 0,
            items: 0,
            scanner: Scanner::new(MAX_JSON_DEPTH),
            line: HeaderLine::new(),
            payload: Extent { start: 0, end: 0 },
            error: None,
        }
    }

    /// For a reader at its start: what comes is an item, recorded without its envelope.
    pub(super) const fn expect_item(&mut self) {
        self.line.is_item = true;
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Items begun so far.
    #[must_use]
    pub const fn items(&self) -> u16 {
        self.items
    }

    /// What the first line said.
    pub(in crate::wire) const fn header(&self) -> &EnvelopeHeader {
        &self.line.envelope
    }

    /// What the header of the last item said.
    pub(in crate::wire) const fn item(&self) -> &ItemHeader {
        &self.line.item
    }

    /// Where the last payload was.
    pub(in crate::wire) const fn payload(&self) -> Extent {
        self.payload
    }

    /// What went wrong, if something did.
    pub(in crate::wire) fn outcome(&self) -> Result<(), EnvelopeError> {
        self.error.map_or(Ok(()), Err)
    }

    /// Takes bytes off the front of `input` up to the end of the next event; `None` when all was taken and more is
    /// needed.
    ///
    /// What an event covers, it takes whole: after `Header`, `Item` and `ItemEnd` the line feed is taken, too, so a
    /// copy of the bytes between two events is a copy of that part of the envelope. Touches each byte of a header
    /// once, and those of a payload without `length`.
    ///
    /// # Errors
    ///
    /// What is wrong and where; every later call says the same.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, EnvelopeError> {
        let step = self.step(input);
        self.event(step)
    }

    /// The events that the end of the envelope brings, one a call; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// When the envelope must not end here.
    pub fn finish(&mut self) -> Result<Option<Event<'static>>, EnvelopeError> {
        let step = self.end_step();
        self.event(step)
    }

    fn event<'a>(&self, step: Step<'a>) -> Result<Option<Event<'a>>, EnvelopeError> {
        Ok(Some(match step {
            Step::Header => Event::Header(self.line.envelope),
            Step::Item => Event::Item(self.line.item),
            Step::Payload(piece) => Event::Payload(piece),
            Step::ItemEnd => Event::ItemEnd {
                payload: self.payload,
            },
            Step::More | Step::End | Step::Wrong => return self.outcome().map(|()| None),
        }))
    }

    /// The byte that comes next is wrong.
    const fn wrong<'a>(&mut self, kind: EnvelopeErrorKind) -> Step<'a> {
        self.wrong_at(kind, self.offset)
    }

    const fn wrong_at<'a>(&mut self, kind: EnvelopeErrorKind, offset: u64) -> Step<'a> {
        self.error = Some(EnvelopeError { kind, offset });
        Step::Wrong
    }

    /// [`Reader::next`] in small.
    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    pub(in crate::wire) fn step<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        loop {
            if self.error.is_some() {
                return Step::Wrong;
            }
            let Some((byte, _)) = input.split_first() else {
                return Step::More;
            };
            match self.stage {
                Stage::Gap => {
                    if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                        self.take(input, 1);
                    } else {
                        self.begin_header();
                    }
                }
                Stage::Header => self.scan_line(input),
                Stage::HeaderEnd => {
                    if *byte != b'\n' {
                        return self.wrong(EnvelopeErrorKind::HeaderNotEnded);
                    }
                    let step = self.end_header(1);
                    if !matches!(step, Step::Wrong) {
                        self.take(input, 1);
                    }
                    return step;
                }
                Stage::Payload(left) if left > 0 => {
                    let here = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.stage = Stage::Payload(left.saturating_sub(here as u64));
                    return Step::Payload(self.take(input, here));
                }
                Stage::Payload(_) => self.stage = Stage::PayloadEnd,
                Stage::PayloadEnd => {
                    if *byte != b'\n' {
                        return self.wrong(EnvelopeErrorKind::PayloadNotEnded);
                    }
                    self.end_item();
                    self.take(input, 1);
                    self.start = self.offset;
                    return Step::ItemEnd;
                }
                Stage::PayloadLine => {
                    let here = line_length(input);
                    if here > 0 {
                        return Step::Payload(self.take(input, here));
                    }
                    self.stage = Stage::PayloadEnd;
                }
            }
        }
    }

    /// [`Reader::finish`] in small.
    pub(in crate::wire) fn end_step(&mut self) -> Step<'static> {
        if self.error.is_some() {
            return Step::Wrong;
        }
        let kind = match self.stage {
            Stage::Gap if !self.line.is_item => EnvelopeErrorKind::MissingHeader,
            Stage::Gap if self.offset > self.start => EnvelopeErrorKind::MissingItem,
            Stage::Gap => return Step::End,
            Stage::Header => EnvelopeErrorKind::Json(JsonError::UnexpectedEnd),
            Stage::HeaderEnd => return self.end_header(0),
            Stage::Payload(left) if left > 0 => EnvelopeErrorKind::PayloadTooShort,
            Stage::Payload(_) | Stage::PayloadEnd | Stage::PayloadLine => {
                self.end_item();
                self.start = self.offset;
                return Step::ItemEnd;
            }
        };
        self.wrong(kind)
    }

    /// Takes `count` bytes, at most what there is.
    fn take<'a>(&mut self, input: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
        *input = rest;
        self.offset = self.offset.saturating_add(taken.len() as u64);
        taken
    }

    fn begin_header(&mut self) {
        if self.line.is_item {
            if usize::from(self.items) >= MAX_ENVELOPE_ITEMS {
                self.wrong(EnvelopeErrorKind::TooManyItems);
                return;
            }
            self.items = self.items.saturating_add(1);
        }
        self.start = self.offset;
        self.scanner = Scanner::new(MAX_JSON_DEPTH);
        self.line.begin();
        self.stage = Stage::Header;
    }

    /// Scans header bytes until the header or the input ends.
    fn scan_line(&mut self, input: &mut &[u8]) {
        let room = MAX_HEADER_LINE_BYTES.saturating_sub(self.scanner.position() as usize);
        if room == 0 {
            self.wrong(EnvelopeErrorKind::HeaderTooLong);
            return;
        }
        let window = input.get(..room).unwrap_or(input);
        let line = window.get(..line_length(window)).unwrap_or(window);
        if line.is_empty() {
            self.wrong(EnvelopeErrorKind::HeaderNotOneLine);
            return;
        }
        let mut rest = line;
        let outcome = self.scan(&mut rest);
        self.take(input, line.len().saturating_sub(rest.len()));
        match outcome {
            Ok(()) if !self.scanner.is_done() => {}
            Ok(()) => {
                self.end = self.offset;
                self.stage = Stage::HeaderEnd;
            }
            Err(kind @ EnvelopeErrorKind::Json(_)) => {
                self.wrong(kind);
            }
            Err(kind) => {
                // The value was read to its end: name its start.
                let start = u64::from(self.line.value_start());
                self.wrong_at(kind, self.start.saturating_add(start));
            }
        }
    }

    fn scan(&mut self, input: &mut &[u8]) -> Result<(), EnvelopeErrorKind> {
        loop {
            if let Some(member) = self.scanner.member(input) {
                self.line.member(&member, &self.scanner, self.start)?;
                continue;
            }
            if self.scanner.end_object(input) {
                return Ok(());
            }
            let token = self.scanner.next(input).map_err(EnvelopeErrorKind::Json)?;
            let Some(token) = token else { return Ok(()) };
            self.line.token(token, &self.scanner, self.start)?;
        }
    }

    /// The header is complete, `line_feed` bytes of it (0 or 1) still to be taken.
    fn end_header(&mut self, line_feed: u64) -> Step<'static> {
        let line = Extent {
            start: self.start,
            end: self.end,
        };
        let is_item = self.line.is_item;
        if let Err(kind) = self.line.end(line) {
            return self.wrong_at(kind, line.start);
        }
        self.start = self.offset.saturating_add(line_feed);
        self.stage = match self.line.item.length {
            _ if !is_item => Stage::Gap,
            Some(length) => Stage::Payload(u64::from(length)),
            None => Stage::PayloadLine,
        };
        if is_item { Step::Item } else { Step::Header }
    }

    fn end_item(&mut self) {
        self.stage = Stage::Gap;
        self.payload = Extent {
            start: self.start,
            end: self.offset,
        };
    }
}

/// Bytes of `input` before its first line feed, or all of them. Eight bytes at a time.
fn line_length(input: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let (words, tail) = input.as_chunks::<8>();
    let mut length = 0_usize;
    for word in words {
        let difference = u64::from_le_bytes(*word) ^ (ONES * b'\n' as u64);
        let zero = difference.wrapping_sub(ONES) & !difference & (ONES << 7);
        if zero != 0 {
            return length.saturating_add((zero.trailing_zeros() / 8) as usize);
        }
        length = length.saturating_add(8);
    }
    let last = tail.iter().position(|byte| *byte == b'\n');
    length.saturating_add(last.unwrap_or(tail.len()))
}
