//! The two kinds of header lines: what is kept of them while they go by.
//!
//! A header line is scanned byte by byte and never stored. Of the envelope header the event id, the trace id and the
//! places of a few values are kept; of an item header what decides where its payload ends and how it counts. Names
//! that occur twice: the last one wins.

use super::error::EnvelopeErrorKind;
use super::item_type::ItemType;
use crate::item::TraceKey;
use crate::wire::hex;
use crate::wire::json::{Scanner, Short, Token, Whole};

/// A range of bytes, counted from the start of the envelope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
}

impl Extent {
    /// Number of bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// True when it holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes it names, when `envelope` is the whole envelope.
    #[must_use]
    pub fn of(self, envelope: &[u8]) -> Option<&[u8]> {
        envelope.get(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?)
    }
}

/// What the first line says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct EnvelopeHeader {
    /// The line, from `{` to `}`.
    pub line: Extent,
    /// True for `{}`.
    pub is_empty: bool,
    /// `event_id`.
    pub event_id: Option<[u8; 16]>,
    /// `trace.trace_id`; `None` also when it is no id, for a broken trace context does not break an envelope.
    pub trace_id: Option<[u8; 16]>,
    /// `trace.public_key`, as it stands, with its quotes.
    pub public_key: Option<Extent>,
    /// `dsn`, as it stands, with its quotes. A secret may be in it.
    pub dsn: Option<Extent>,
    /// `sent_at`, as it stands.
    pub sent_at: Option<Extent>,
}

impl EnvelopeHeader {
    /// Key of the trace the envelope belongs to, or [`TraceKey::NONE`].
    #[must_use]
    pub fn trace_key(&self) -> TraceKey {
        self.trace_id.as_ref().map_or(TraceKey::NONE, TraceKey::of)
    }
}

/// Which data category a profile's platform makes it belong to.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProfileSide {
    /// Every platform that is not listed below.
    Backend,
    /// `cocoa`, `android`, `javascript`.
    Ui,
}

/// What an item's header line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemHeader {
    /// The line, from `{` to `}`.
    pub line: Extent,
    /// `type`.
    pub item_type: ItemType,
    /// `type` as it stands, with its quotes: names an unknown one.
    pub type_name: Extent,
    /// `length`: bytes of the payload. Without it the payload ends at the next line feed.
    pub length: Option<u32>,
    /// `item_count`: elements of a container.
    pub item_count: Option<u32>,
    /// `content_type`, as it stands, with its quotes.
    pub content_type: Option<Extent>,
    /// `filename`, as it stands, with its quotes.
    pub filename: Option<Extent>,
    /// What `platform` makes of a profile.
    pub profile_side: Option<ProfileSide>,
    /// True for an attachment that the server makes an event of: a crash dump, or parts of an event.
    pub crash: bool,
    /// What the payload of an attachment is.
    pub attachment: AttachmentForm,
    /// `meta_length`: bytes of metadata in front of a trace attachment.
    pub meta_length: u32,
    /// `attachment_length`: bytes that an attachment placeholder stands for.
    pub attachment_length: u64,
}

/// What the payload of an attachment is, after its `content_type`.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AttachmentForm {
    /// The attached bytes.
    Plain,
    /// Metadata, then the attached bytes; belongs to a trace or span and needs no event.
    Trace,
    /// A reference to bytes that were uploaded on their own.
    Placeholder,
}

impl ItemHeader {
    const EMPTY: Self = Self {
        line: Extent { start: 0, end: 0 },
        item_type: ItemType::Unknown,
        type_name: Extent { start: 0, end: 0 },
        length: None,
        item_count: None,
        content_type: None,
        filename: None,
        profile_side: None,
        crash: false,
        attachment: AttachmentForm::Plain,
        meta_length: 0,
        attachment_length: 0,
    };

    /// True when the server makes an event of the item.
    #[must_use]
    pub const fn creates_event(&self) -> bool {
        self.item_type.is_event() || self.is_crash()
    }

    /// True when the item is worth nothing once the event of its envelope is left out.
    #[must_use]
    pub const fn requires_event(&self) -> bool {
        self.item_type.requires_event() && !self.is_trace_attachment()
    }

    /// True for an attachment that is a crash dump or a part of an event.
    pub(super) const fn is_crash(&self) -> bool {
        matches!(self.item_type, ItemType::Attachment) && self.crash
    }

    const fn is_trace_attachment(&self) -> bool {
        matches!(self.item_type, ItemType::Attachment) && matches!(self.attachment, AttachmentForm::Trace)
    }
}

/// Long enough for every name and value that is looked at.
type Text = Short<48>;

/// A member that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    EventId,
    Dsn,
    SentAt,
    Trace,
    TraceId,
    PublicKey,
    Type,
    Length,
    ItemCount,
    ContentType,
    Filename,
    Platform,
    AttachmentType,
    MetaLength,
    AttachmentLength,
    Other,
}

const OF_ENVELOPE: &[(&str, Field)] = &[
    ("event_id", Field::EventId),
    ("dsn", Field::Dsn),
    ("sent_at", Field::SentAt),
    ("trace", Field::Trace),
];

const OF_TRACE: &[(&str, Field)] = &[("trace_id", Field::TraceId), ("public_key", Field::PublicKey)];

const OF_ITEM: &[(&str, Field)] = &[
    ("type", Field::Type),
    ("length", Field::Length),
    ("item_count", Field::ItemCount),
    ("content_type", Field::ContentType),
    ("filename", Field::Filename),
    ("platform", Field::Platform),
    ("attachment_type", Field::AttachmentType),
    ("meta_length", Field::MetaLength),
    ("attachment_length", Field::AttachmentLength),
];

/// Attachments that are not just the attached bytes, by content type.
const ATTACHMENTS: &[(&str, AttachmentForm)] = &[
    ("application/vnd.sentry.trace-attachment", AttachmentForm::Trace),
    (
        "application/vnd.sentry.attachment-ref+json",
        AttachmentForm::Placeholder,
    ),
];

/// Platforms whose profiles belong to user interfaces.
const UI_PLATFORMS: &[&str] = &["cocoa", "android", "javascript"];

/// Attachments that the server makes an event of.
const CRASHES: &[&str] = &[
    "event.minidump",
    "event.applecrashreport",
    "event.payload",
    "event.breadcrumbs",
    "playstation.prosperodump",
];

/// Collects what a header line says from its tokens: the envelope's first, then one item's after the other.
#[derive(Clone, Debug)]
pub(super) struct HeaderLine {
    pub(super) envelope: EnvelopeHeader,
    pub(super) item: ItemHeader,
    /// The line is an item's.
    pub(super) is_item: bool,
    has_type: bool,
    text: Text,
    field: Field,
    trace_field: Field,
    value_start: u32,
}

impl HeaderLine {
    pub(super) const fn new() -> Self {
        Self {
            envelope: EnvelopeHeader {
                line: Extent { start: 0, end: 0 },
                is_empty: true,
                event_id: None,
                trace_id: None,
                public_key: None,
                dsn: None,
                sent_at: None,
            },
            item: ItemHeader::EMPTY,
            is_item: false,
            has_type: false,
            text: Text::new(),
            field: Field::Other,
            trace_field: Field::Other,
            value_start: 0,
        }
    }

    /// A line begins.
    pub(super) fn begin(&mut self) {
        if self.is_item {
            self.item = ItemHeader::EMPTY;
            self.has_type = false;
        }
        self.field = Field::Other;
        self.text.clear();
    }

    /// The line is complete: the next one is an item's.
    pub(super) fn end(&mut self, line: Extent) -> Result<(), EnvelopeErrorKind> {
        if !self.is_item {
            self.is_item = true;
            self.envelope.line = line;
        } else if self.has_type {
            self.item.line = line;
        } else {
            return Err(EnvelopeErrorKind::MissingType);
        }
        Ok(())
    }

    /// Where the member read last has its value, from the start of the line.
    pub(super) const fn value_start(&self) -> u32 {
        self.value_start
    }

    /// Takes the next token of the line that starts at `line`.
    pub(super) fn token(
        &mut self,
        token: Token<'_>,
        scanner: &Scanner,
        line: u64,
    ) -> Result<(), EnvelopeErrorKind> {
        let depth = scanner.depth();
        match token {
            Token::Part(piece) => self.text.push(piece),
            Token::Char(character) => self.text.push_char(character),
            Token::Key => {
                let name = core::mem::take(&mut self.text);
                self.name(depth, name.get());
            }
            Token::ArrayStart if depth == 1 => return Err(EnvelopeErrorKind::HeaderNotObject),
            Token::ObjectStart | Token::ArrayStart => {
                if depth == 2 {
                    self.value_start = scanner.start();
                    self.forget_trace();
                }
            }
            _ => {
                let text = core::mem::take(&mut self.text);
                return self.end_value(token, text.get(), scanner, line);
            }
        }
        Ok(())
    }

    /// Takes the next member of the line that starts at `line`.
    pub(super) fn member(
        &mut self,
        member: &Whole<'_>,
        scanner: &Scanner,
        line: u64,
    ) -> Result<(), EnvelopeErrorKind> {
        self.name(scanner.depth(), Some(member.name));
        self.end_value(member.value, Some(member.text), scanner, line)
    }

    /// A member has that name.
    fn name(&mut self, depth: u8, name: Option<&[u8]>) {
        let of = |names| named(name, names).unwrap_or(Field::Other);
        if depth == 1 {
            self.envelope.is_empty &= self.is_item;
            self.field = of(if self.is_item { OF_ITEM } else { OF_ENVELOPE });
        } else if depth == 2 && self.field == Field::Trace {
            self.trace_field = of(OF_TRACE);
        }
    }

    /// A value ends at the scanner's position.
    fn end_value(
        &mut self,
        token: Token<'_>,
        text: Option<&[u8]>,
        scanner: &Scanner,
        line: u64,
    ) -> Result<(), EnvelopeErrorKind> {
        let depth = scanner.depth();
        let is_end = matches!(token, Token::ObjectEnd | Token::ArrayEnd);
        if depth == 1 && !is_end {
            self.value_start = scanner.start();
        }
        let (field, start) = match depth {
            1 => (self.field, self.value_start),
            2 if self.field == Field::Trace && !is_end => (self.trace_field, scanner.start()),
            _ => return Ok(()),
        };
        self.value(field, token, text, extent(line, start, scanner))
    }

    /// A trace context that begins anew, or is none.
    fn forget_trace(&mut self) {
        if self.field == Field::Trace {
            (self.envelope.trace_id, self.envelope.public_key) = (None, None);
        }
    }

    fn value(
        &mut self,
        field: Field,
        token: Token<'_>,
        text: Option<&[u8]>,
        value: Extent,
    ) -> Result<(), EnvelopeErrorKind> {
        let is_text = matches!(token, Token::Text);
        let text = if is_text { text } else { None };
        let place = is_text.then_some(value);
        let (envelope, item) = (&mut self.envelope, &mut self.item);
        match field {
            Field::EventId => {
                envelope.event_id = text.and_then(uuid);
                if envelope.event_id.is_none() && token != Token::Null {
                    return Err(EnvelopeErrorKind::InvalidEventId);
                }
            }
            Field::Dsn => {
                envelope.dsn = place;
                if !is_text && token != Token::Null {
                    return Err(EnvelopeErrorKind::InvalidDsn);
                }
            }
            Field::SentAt => envelope.sent_at = Some(value),
            Field::Trace if token != Token::ObjectEnd => self.forget_trace(),
            Field::TraceId => envelope.trace_id = text.and_then(uuid),
            Field::PublicKey => envelope.public_key = place,
            Field::Type => {
                if !is_text {
                    return Err(EnvelopeErrorKind::InvalidType);
                }
                self.has_type = true;
                item.type_name = value;
                item.item_type = text.map_or(ItemType::Unknown, ItemType::from_name);
            }
            Field::Length => {
                item.length = optional_u32(token).ok_or(EnvelopeErrorKind::InvalidLength)?;
            }
            Field::ItemCount => {
                item.item_count = optional_u32(token).ok_or(EnvelopeErrorKind::InvalidItemCount)?;
            }
            Field::ContentType => {
                item.content_type = place;
                item.attachment = named(text, ATTACHMENTS).unwrap_or(AttachmentForm::Plain);
            }
            Field::Filename => item.filename = place,
            Field::Platform => {
                item.profile_side = is_text.then_some(if is_one_of(text, UI_PLATFORMS) {
                    ProfileSide::Ui
                } else {
                    ProfileSide::Backend
                });
            }
            Field::AttachmentType => item.crash = is_one_of(text, CRASHES),
            Field::MetaLength => item.meta_length = optional_u32(token).flatten().unwrap_or_default(),
            Field::AttachmentLength => {
                item.attachment_length = match token {
                    Token::Number(Some(length)) => length,
                    _ => 0,
                };
            }
            Field::Trace | Field::Other => {}
        }
        Ok(())
    }
}

/// What `text` names in that table.
fn named<T: Copy>(text: Option<&[u8]>, names: &[(&str, T)]) -> Option<T> {
    let text = text?;
    let found = names.iter().find(|(name, _)| name.as_bytes() == text);
    found.map(|(_, named)| *named)
}

/// True when `text` is one of `names`.
#[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
pub(super) fn is_one_of(text: Option<&[u8]>, names: &[&str]) -> bool {
    text.is_some_and(|text| names.iter().any(|name| name.as_bytes() == text))
}

/// Where the value that ends at the scanner's position lies.
const fn extent(line: u64, start: u32, scanner: &Scanner) -> Extent {
    Extent {
        start: line.saturating_add(start as u64),
        end: line.saturating_add(scanner.position() as u64),
    }
}

/// An integer that fits, or `null`.
fn optional_u32(token: Token<'_>) -> Option<Option<u32>> {
    match token {
        Token::Number(Some(value)) => Some(Some(u32::try_from(value).ok()?)),
        Token::Null => Some(None),
        _ => None,
    }
}

/// The id that 32 hexadecimal digits stand for, or 36 characters with hyphens in the usual places.
#[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut compact = [0; 32];
    let digits = match text.len() {
        32 => text,
        36 => {
            let mut places = compact.iter_mut();
            for (at, byte) in text.iter().enumerate() {
                match (at, byte) {
                    (8 | 13 | 18 | 23, b'-') => {}
                    (8 | 13 | 18 | 23, _) => return None,
                    (_, digit) => *places.next()? = *digit,
                }
            }
            &compact
        }
        _ => return None,
    };
    let mut id = [0; 16];
    let (words, _) = digits.as_chunks::<8>();
    for (bytes, word) in id.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = hex::eight(*word)?;
    }
    Some(id)
}
