//! Client reports: what was lost before it reached the server, told to the server (develop docs, "Client Reports").
//!
//! Written as a whole item that goes behind any envelope; read back from the payloads of other clients' reports when
//! the envelope that carried them is lost, so that their counts are not.

use super::envelope::{ItemType, Source, Walk};
use super::json::{Scanner, Short, Token};
use super::output::WriteError;
use super::sink::{Sink, through};
use crate::item::{Category, DropReason};
use crate::limits::{MAX_CLIENT_REPORT_BYTES, MAX_PAYLOAD_JSON_DEPTH, MAX_REPORT_ENTRIES};
use crate::time::UnixTime;
use embedded_io::Write;

/// One line of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What was lost.
    pub category: Category,
    /// Why it was lost.
    pub reason: DropReason,
    /// How much, in the category's unit.
    pub quantity: u64,
}

impl Entry {
    /// The word for the reason, if this may be told: neither losses that the server counted itself, nor client reports.
    fn told_as(&self) -> Option<&'static str> {
        match self.category {
            Category::Internal => None,
            _ => self.reason.client_report_name().filter(|_| self.quantity > 0),
        }
    }
}

/// Bytes of the longest entry: the longest names, 20 digits, and a comma.
const MAX_ENTRY_BYTES: usize =
    r#"{"reason":"internal_sdk_error","category":"transaction_processed","quantity":18446744073709551615},"#
        .len();
/// Bytes of the payload around its entries.
const FRAME_BYTES: usize = r#"{"timestamp":"2026-01-02T03:04:05.678901Z","discarded_events":[]}"#.len();
const _: () = assert!(MAX_REPORT_ENTRIES * MAX_ENTRY_BYTES + FRAME_BYTES <= MAX_CLIENT_REPORT_BYTES);

/// Writes a client report as a whole item with the line feed behind it, and returns how many of `entries` are told by
/// it, from the first on: at most [`MAX_REPORT_ENTRIES`], so that it stays within [`MAX_CLIENT_REPORT_BYTES`]. Entries
/// of which nothing may be told are passed over and count as told. With no entry to tell nothing is written.
///
/// # Errors
///
/// The sink's.
pub fn write_item<I, W>(entries: I, timestamp: UnixTime, out: &mut W) -> Result<usize, WriteError<W::Error>>
where
    I: Iterator<Item = Entry> + Clone,
    W: Write + ?Sized,
{
    let mut each = |tell: &mut dyn FnMut(Entry)| entries.clone().take(MAX_REPORT_ENTRIES).for_each(tell);
    through(out, |out| write_told(&mut each, timestamp, out))
}

/// Calls a function with each entry.
type Each<'e> = &'e mut dyn FnMut(&mut dyn FnMut(Entry));

fn write_told(each: Each<'_>, timestamp: UnixTime, out: &mut Sink<'_>) -> usize {
    let (mut count, mut is_any_told) = (0_usize, false);
    each(&mut |entry| {
        count = count.saturating_add(1);
        is_any_told |= entry.told_as().is_some();
    });
    if is_any_told {
        let mut length = 0_u64;
        let mut measure = |bytes: &[u8]| {
            length = length.saturating_add(bytes.len() as u64);
            true
        };
        write_payload(each, timestamp, &mut Sink::new(&mut measure));
        out.member("{\"type\":", ItemType::ClientReport.as_str());
        out.put(b",\"length\":");
        out.number(length);
        out.put(b"}\n");
        write_payload(each, timestamp, out);
        out.put(b"\n");
    }
    count
}

fn write_payload(each: Each<'_>, timestamp: UnixTime, out: &mut Sink<'_>) {
    out.put(b"{\"timestamp\":");
    out.time(timestamp);
    out.put(b",\"discarded_events\":[");
    let mut before = "{\"reason\":";
    each(&mut |entry| {
        if let Some(reason) = entry.told_as() {
            out.member(before, reason);
            out.member(",\"category\":", entry.category.as_str());
            out.put(b",\"quantity\":");
            out.number(entry.quantity);
            out.put(b"}");
            before = ",{\"reason\":";
        }
    });
    out.put(b"]}");
}

/// Reads the payload of a client report in pieces. About 200 bytes.
#[derive(Clone, Debug)]
pub struct Reader {
    scanner: Scanner,
    text: Short<48>,
    in_discarded: bool,
    field: Field,
    reason: Option<DropReason>,
    category: Option<Category>,
    quantity: u64,
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Reason,
    Category,
    Quantity,
    Other,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the start of a payload.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            scanner: Scanner::new(MAX_PAYLOAD_JSON_DEPTH),
            text: Short::new(),
            in_discarded: false,
            field: Field::Other,
            reason: None,
            category: None,
            quantity: 0,
            failed: false,
        }
    }

    /// Reads the next piece and calls `report` for each complete entry of `discarded_events` that names a known category
    /// (others cannot be counted) and a quantity above 0. A reason outside the specification reads as
    /// [`DropReason::InternalSdkError`]: the amount is kept, the word is not. Behind a mistake nothing more is read.
    /// Touches each byte once.
    pub fn feed(&mut self, piece: &[u8], mut report: impl FnMut(Entry)) {
        self.read(piece, &mut report);
    }

    fn read(&mut self, piece: &[u8], report: &mut dyn FnMut(Entry)) {
        let mut input = piece;
        while !self.failed {
            match self.scanner.next(&mut input) {
                Ok(Some(token)) => self.token(token, report),
                Ok(None) => break,
                Err(_) => self.failed = true,
            }
        }
    }

    fn token(&mut self, token: Token<'_>, report: &mut dyn FnMut(Entry)) {
        match token {
            Token::Part(piece) => return self.text.push(piece),
            Token::Char(character) => return self.text.push_char(character),
            _ => {}
        }
        match (token, self.scanner.depth()) {
            (Token::Key, 1) => self.in_discarded = self.text.is("discarded_events"),
            (Token::ObjectStart, 2) => self.in_discarded = false,
            _ if !self.in_discarded => {}
            (Token::ObjectStart, 3) => {
                (self.reason, self.category, self.quantity) = (None, None, 0);
                self.field = Field::Other;
            }
            (Token::ObjectEnd, 2) => {
                if let Some(category) = self.category
                    && self.quantity > 0
                {
                    report(Entry {
                        category,
                        reason: self.reason.unwrap_or(DropReason::InternalSdkError),
                        quantity: self.quantity,
                    });
                }
            }
            (Token::Key, 3) => {
                self.field = if self.text.is("reason") {
                    Field::Reason
                } else if self.text.is("category") {
                    Field::Category
                } else if self.text.is("quantity") {
                    Field::Quantity
                } else {
                    Field::Other
                };
            }
            (Token::Text, 3) => match self.field {
                Field::Reason => {
                    self.reason = self.text.get().and_then(DropReason::from_client_report_name);
                }
                Field::Category => self.category = self.text.get().and_then(Category::from_name),
                Field::Quantity | Field::Other => {}
            },
            (Token::Number(Some(value)), 3) if self.field == Field::Quantity => self.quantity = value,
            _ => {}
        }
        self.text.clear();
    }
}

/// Calls `report` for each entry of the client reports in the envelope that lies in `chunks`. Behind a mistake nothing
/// more is read. Bound: one walk over the headers and the reports.
pub fn each_in_envelope<'a>(chunks: impl Iterator<Item = &'a [u8]>, mut report: impl FnMut(Entry)) {
    let mut chunks = chunks;
    read_all(&mut || chunks.next(), &mut report);
}

#[inline(never)]
fn read_all(source: Source<'_, '_>, report: &mut dyn FnMut(Entry)) {
    let mut walk = Walk::new(source);
    while walk.enter_item() {
        if walk.item().item_type == ItemType::ClientReport {
            let mut reader = Reader::new();
            walk.read_payload(&mut |piece| reader.read(piece, report));
        }
    }
}
