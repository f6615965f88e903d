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
use super::header::{EnvelopeHeader, EnvelopeHeaderFields, Extent, ItemHeader, ItemHeaderFields};
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

#[derive(Clone, Debug)]
enum Fields {
    Envelope(EnvelopeHeaderFields),
    Item(ItemHeaderFields),
}

/// Reads one envelope. About 350 bytes, whatever the envelope's size.
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
    fields: Fields,
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
            fields: Fields::Envelope(EnvelopeHeaderFields::new()),
            error: None,
        }
    }

    /// A reader at the start of an item, for one that is recorded without its envelope.
    pub(super) fn at_item() -> Self {
        Self {
            fields: Fields::Item(ItemHeaderFields::new()),
            ..Self::new()
        }
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
        if let Some(error) = self.error {
            return Err(error);
        }
        let outcome = self.advance(input);
        self.remember(outcome)
    }

    /// The events that the end of the envelope brings, one a call; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// When the envelope must not end here.
    pub fn finish(&mut self) -> Result<Option<Event<'static>>, EnvelopeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let outcome = self.end();
        self.remember(outcome)
    }

    fn remember<T>(&mut self, outcome: Result<T, EnvelopeError>) -> Result<T, EnvelopeError> {
        if let Err(error) = &outcome {
            self.error = Some(*error);
        }
        outcome
    }

    /// The byte that comes next is wrong.
    const fn wrong(&self, kind: EnvelopeErrorKind) -> EnvelopeError {
        EnvelopeError {
            kind,
            offset: self.offset,
        }
    }

    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, EnvelopeError> {
        loop {
            let Some((byte, _)) = input.split_first() else {
                return Ok(None);
            };
            match self.stage {
                Stage::Gap => {
                    if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                        self.take(input, 1);
                    } else {
                        self.begin_header()?;
                    }
                }
                Stage::Header => self.header(input)?,
                Stage::HeaderEnd => {
                    if *byte != b'\n' {
                        return Err(self.wrong(EnvelopeErrorKind::HeaderNotEnded));
                    }
                    let event = self.end_header(1)?;
                    self.take(input, 1);
                    return Ok(Some(event));
                }
                Stage::Payload(left) if left > 0 => {
                    let here = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.stage = Stage::Payload(left.saturating_sub(here as u64));
                    return Ok(Some(Event::Payload(self.take(input, here))));
                }
                Stage::Payload(_) => self.stage = Stage::PayloadEnd,
                Stage::PayloadEnd => {
                    if *byte != b'\n' {
                        return Err(self.wrong(EnvelopeErrorKind::PayloadNotEnded));
                    }
                    let event = self.end_item();
                    self.take(input, 1);
                    self.start = self.offset;
                    return Ok(Some(event));
                }
                Stage::PayloadLine => {
                    let here = line_length(input);
                    if here > 0 {
                        return Ok(Some(Event::Payload(self.take(input, here))));
                    }
                    self.stage = Stage::PayloadEnd;
                }
            }
        }
    }

    fn end(&mut self) -> Result<Option<Event<'static>>, EnvelopeError> {
        match self.stage {
            Stage::Gap if matches!(self.fields, Fields::Envelope(_)) => {
                Err(self.wrong(EnvelopeErrorKind::MissingHeader))
            }
            Stage::Gap if self.offset > self.start => Err(self.wrong(EnvelopeErrorKind::MissingItem)),
            Stage::Gap => Ok(None),
            Stage::Header => Err(self.wrong(EnvelopeErrorKind::Json(JsonError::UnexpectedEnd))),
            Stage::HeaderEnd => self.end_header(0).map(Some),
            Stage::Payload(left) if left > 0 => Err(self.wrong(EnvelopeErrorKind::PayloadTooShort)),
            Stage::Payload(_) | Stage::PayloadEnd | Stage::PayloadLine => {
                let event = self.end_item();
                self.start = self.offset;
                Ok(Some(event))
            }
        }
    }

    /// Takes `count` bytes, at most what there is.
    fn take<'a>(&mut self, input: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
        *input = rest;
        self.offset = self.offset.saturating_add(taken.len() as u64);
        taken
    }

    fn begin_header(&mut self) -> Result<(), EnvelopeError> {
        if matches!(self.fields, Fields::Item(_)) {
            if usize::from(self.items) >= MAX_ENVELOPE_ITEMS {
                return Err(self.wrong(EnvelopeErrorKind::TooManyItems));
            }
            self.items = self.items.saturating_add(1);
        }
        self.start = self.offset;
        self.scanner = Scanner::new(MAX_JSON_DEPTH);
        self.stage = Stage::Header;
        Ok(())
    }

    /// Scans header bytes until the header or the input ends.
    fn header(&mut self, input: &mut &[u8]) -> Result<(), EnvelopeError> {
        let room = MAX_HEADER_LINE_BYTES.saturating_sub(self.scanner.position() as usize);
        if room == 0 {
            return Err(self.wrong(EnvelopeErrorKind::HeaderTooLong));
        }
        let window = input.get(..room).unwrap_or(input);
        let line = window.get(..line_length(window)).unwrap_or(window);
        if line.is_empty() {
            return Err(self.wrong(EnvelopeErrorKind::HeaderNotOneLine));
        }
        let mut rest = line;
        let outcome = self.scan(&mut rest);
        self.take(input, line.len().saturating_sub(rest.len()));
        outcome.map_err(|kind| match kind {
            EnvelopeErrorKind::Json(_) => self.wrong(kind),
            // The value was read to its end: name its start.
            _ => EnvelopeError {
                kind,
                offset: self.start.saturating_add(u64::from(match &self.fields {
                    Fields::Envelope(fields) => fields.value_start(),
                    Fields::Item(fields) => fields.value_start(),
                })),
            },
        })?;
        if self.scanner.is_done() {
            self.end = self.offset;
            self.stage = Stage::HeaderEnd;
        }
        Ok(())
    }

    fn scan(&mut self, input: &mut &[u8]) -> Result<(), EnvelopeErrorKind> {
        while let Some(token) = self.scanner.next(input).map_err(EnvelopeErrorKind::Json)? {
            match &mut self.fields {
                Fields::Envelope(fields) => fields.token(token, &self.scanner, self.start)?,
                Fields::Item(fields) => fields.token(token, &self.scanner, self.start)?,
            }
        }
        Ok(())
    }

    /// The header is complete, `line_feed` bytes of it (0 or 1) still to be taken.
    fn end_header(&mut self, line_feed: u64) -> Result<Event<'static>, EnvelopeError> {
        let line = Extent {
            start: self.start,
            end: self.end,
        };
        match &self.fields {
            Fields::Envelope(fields) => {
                let header = fields.finish(line);
                self.start = self.offset.saturating_add(line_feed);
                self.fields = Fields::Item(ItemHeaderFields::new());
                self.stage = Stage::Gap;
                Ok(Event::Header(header))
            }
            Fields::Item(fields) => {
                let header = fields.finish(line).map_err(|kind| EnvelopeError {
                    kind,
                    offset: line.start,
                })?;
                self.start = self.offset.saturating_add(line_feed);
                self.fields = Fields::Item(ItemHeaderFields::new());
                self.stage = match header.length {
                    Some(length) => Stage::Payload(u64::from(length)),
                    None => Stage::PayloadLine,
                };
                Ok(Event::Item(header))
            }
        }
    }

    fn end_item(&mut self) -> Event<'static> {
        self.stage = Stage::Gap;
        Event::ItemEnd {
            payload: Extent {
                start: self.start,
                end: self.offset,
            },
        }
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
