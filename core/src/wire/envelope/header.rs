//! The two kinds of header lines: what is kept of them while they go by.
//!
//! A header line is scanned byte by byte and never stored. Of the envelope header the event id, the trace id and the
//! places of a few values are kept; of an item header what decides where its payload ends and how it counts. Names
//! that occur twice: the last one wins.

use super::error::EnvelopeErrorKind;
use super::item_type::ItemType;
use crate::item::TraceKey;
use crate::wire::hex;
use crate::wire::json::{Scanner, Short, Token};

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

/// Collects an [`EnvelopeHeader`] from tokens.
#[derive(Clone, Debug)]
pub(super) struct EnvelopeHeaderFields {
    header: EnvelopeHeader,
    text: Text,
    field: EnvelopeField,
    trace_field: TraceField,
    value_start: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum EnvelopeField {
    EventId,
    Dsn,
    SentAt,
    Trace,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TraceField {
    TraceId,
    PublicKey,
    Other,
}

impl EnvelopeHeaderFields {
    pub(super) const fn new() -> Self {
        Self {
            header: EnvelopeHeader {
                line: Extent { start: 0, end: 0 },
                is_empty: true,
                event_id: None,
                trace_id: None,
                public_key: None,
                dsn: None,
                sent_at: None,
            },
            text: Text::new(),
            field: EnvelopeField::Other,
            trace_field: TraceField::Other,
            value_start: 0,
        }
    }

    pub(super) fn finish(&self, line: Extent) -> EnvelopeHeader {
        EnvelopeHeader { line, ..self.header }
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
        let in_trace = self.field == EnvelopeField::Trace;
        match (token, scanner.depth()) {
            (Token::Part(piece), _) => self.text.push(piece),
            (Token::Char(character), _) => self.text.push_char(character),
            (Token::Key, depth) => {
                if depth == 1 {
                    self.header.is_empty = false;
                    self.field = match self.text.get() {
                        Some(b"event_id") => EnvelopeField::EventId,
                        Some(b"dsn") => EnvelopeField::Dsn,
                        Some(b"sent_at") => EnvelopeField::SentAt,
                        Some(b"trace") => EnvelopeField::Trace,
                        _ => EnvelopeField::Other,
                    };
                } else if depth == 2 && in_trace {
                    self.trace_field = match self.text.get() {
                        Some(b"trace_id") => TraceField::TraceId,
                        Some(b"public_key") => TraceField::PublicKey,
                        _ => TraceField::Other,
                    };
                }
                self.text.clear();
            }
            (Token::ArrayStart, 1) => return Err(EnvelopeErrorKind::HeaderNotObject),
            (Token::ObjectStart | Token::ArrayStart, 2) => {
                self.value_start = scanner.start();
                if in_trace {
                    (self.header.trace_id, self.header.public_key) = (None, None);
                }
            }
            (Token::ObjectStart | Token::ArrayStart, _) => {}
            (Token::ObjectEnd | Token::ArrayEnd, 1) => {
                let value = extent(line, self.value_start, scanner);
                return self.value(token, value);
            }
            (Token::ObjectEnd | Token::ArrayEnd, _) => {}
            (_, depth) => {
                let value = extent(line, scanner.start(), scanner);
                let outcome = match depth {
                    1 => {
                        self.value_start = scanner.start();
                        self.value(token, value)
                    }
                    2 if in_trace => {
                        self.trace_value(token, value);
                        Ok(())
                    }
                    _ => Ok(()),
                };
                self.text.clear();
                return outcome;
            }
        }
        Ok(())
    }

    fn value(&mut self, token: Token<'_>, value: Extent) -> Result<(), EnvelopeErrorKind> {
        match self.field {
            EnvelopeField::EventId => {
                self.header.event_id = match token {
                    Token::Null => None,
                    Token::Text => Some(
                        self.text
                            .get()
                            .and_then(uuid)
                            .ok_or(EnvelopeErrorKind::InvalidEventId)?,
                    ),
                    _ => return Err(EnvelopeErrorKind::InvalidEventId),
                };
            }
            EnvelopeField::Dsn => {
                self.header.dsn = match token {
                    Token::Null => None,
                    Token::Text => Some(value),
                    _ => return Err(EnvelopeErrorKind::InvalidDsn),
                };
            }
            EnvelopeField::SentAt => self.header.sent_at = Some(value),
            EnvelopeField::Trace if !matches!(token, Token::ObjectEnd) => {
                (self.header.trace_id, self.header.public_key) = (None, None);
            }
            EnvelopeField::Trace | EnvelopeField::Other => {}
        }
        Ok(())
    }

    fn trace_value(&mut self, token: Token<'_>, value: Extent) {
        let is_text = matches!(token, Token::Text);
        match self.trace_field {
            TraceField::TraceId => {
                self.header.trace_id = if is_text {
                    self.text.get().and_then(uuid)
                } else {
                    None
                };
            }
            TraceField::PublicKey => self.header.public_key = is_text.then_some(value),
            TraceField::Other => {}
        }
    }
}

/// Collects an [`ItemHeader`] from tokens.
#[derive(Clone, Debug)]
pub(super) struct ItemHeaderFields {
    header: ItemHeader,
    has_type: bool,
    text: Text,
    field: ItemField,
    value_start: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ItemField {
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

impl ItemHeaderFields {
    pub(super) const fn new() -> Self {
        Self {
            header: ItemHeader::EMPTY,
            has_type: false,
            text: Text::new(),
            field: ItemField::Other,
            value_start: 0,
        }
    }

    pub(super) fn finish(&self, line: Extent) -> Result<ItemHeader, EnvelopeErrorKind> {
        if !self.has_type {
            return Err(EnvelopeErrorKind::MissingType);
        }
        Ok(ItemHeader { line, ..self.header })
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
        match (token, scanner.depth()) {
            (Token::Part(piece), _) => self.text.push(piece),
            (Token::Char(character), _) => self.text.push_char(character),
            (Token::Key, depth) => {
                if depth == 1 {
                    self.field = match self.text.get() {
                        Some(b"type") => ItemField::Type,
                        Some(b"length") => ItemField::Length,
                        Some(b"item_count") => ItemField::ItemCount,
                        Some(b"content_type") => ItemField::ContentType,
                        Some(b"filename") => ItemField::Filename,
                        Some(b"platform") => ItemField::Platform,
                        Some(b"attachment_type") => ItemField::AttachmentType,
                        Some(b"meta_length") => ItemField::MetaLength,
                        Some(b"attachment_length") => ItemField::AttachmentLength,
                        _ => ItemField::Other,
                    };
                }
                self.text.clear();
            }
            (Token::ArrayStart, 1) => return Err(EnvelopeErrorKind::HeaderNotObject),
            (Token::ObjectStart | Token::ArrayStart, 2) => self.value_start = scanner.start(),
            (Token::ObjectStart | Token::ArrayStart, _) => {}
            (_, depth) => {
                let mut outcome = Ok(());
                if depth == 1 {
                    if !matches!(token, Token::ObjectEnd | Token::ArrayEnd) {
                        self.value_start = scanner.start();
                    }
                    outcome = self.value(token, extent(line, self.value_start, scanner));
                }
                self.text.clear();
                return outcome;
            }
        }
        Ok(())
    }

    fn value(&mut self, token: Token<'_>, value: Extent) -> Result<(), EnvelopeErrorKind> {
        let is_text = matches!(token, Token::Text);
        let text = if is_text { self.text.get() } else { None };
        let header = &mut self.header;
        match self.field {
            ItemField::Type => {
                if !is_text {
                    return Err(EnvelopeErrorKind::InvalidType);
                }
                self.has_type = true;
                header.type_name = value;
                header.item_type = text.map_or(ItemType::Unknown, ItemType::from_name);
            }
            ItemField::Length => {
                header.length = optional_u32(token).ok_or(EnvelopeErrorKind::InvalidLength)?;
            }
            ItemField::ItemCount => {
                header.item_count = optional_u32(token).ok_or(EnvelopeErrorKind::InvalidItemCount)?;
            }
            ItemField::ContentType => {
                header.content_type = is_text.then_some(value);
                header.attachment = match text {
                    Some(b"application/vnd.sentry.trace-attachment") => AttachmentForm::Trace,
                    Some(b"application/vnd.sentry.attachment-ref+json") => AttachmentForm::Placeholder,
                    _ => AttachmentForm::Plain,
                };
            }
            ItemField::Filename => header.filename = is_text.then_some(value),
            ItemField::Platform => {
                header.profile_side = match text {
                    Some(b"cocoa" | b"android" | b"javascript") => Some(ProfileSide::Ui),
                    _ => is_text.then_some(ProfileSide::Backend),
                };
            }
            ItemField::AttachmentType => {
                header.crash = matches!(
                    text,
                    Some(
                        b"event.minidump"
                            | b"event.applecrashreport"
                            | b"event.payload"
                            | b"event.breadcrumbs"
                            | b"playstation.prosperodump"
                    )
                );
            }
            ItemField::MetaLength => {
                header.meta_length = optional_u32(token).flatten().unwrap_or_default();
            }
            ItemField::AttachmentLength => {
                header.attachment_length = match token {
                    Token::Number(Some(length)) => length,
                    _ => 0,
                };
            }
            ItemField::Other => {}
        }
        Ok(())
    }
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
pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens = match text.len() {
        32 => false,
        36 => true,
        _ => return None,
    };
    let mut id = [0; 16];
    let mut rest = text;
    for (at, byte) in id.iter_mut().enumerate() {
        if hyphens && matches!(at, 4 | 6 | 8 | 10) {
            rest = rest.strip_prefix(b"-")?;
        }
        let ([high, low], after) = rest.split_first_chunk::<2>()?;
        *byte = hex::byte(*high, *low)?;
        rest = after;
    }
    rest.is_empty().then_some(id)
}
