//! What can be wrong with an envelope, and where.

use crate::wire::json::JsonError;

/// What is wrong with an envelope.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EnvelopeErrorKind {
    /// There is no header line, not even `{}`.
    MissingHeader,
    /// A header line is no JSON.
    Json(JsonError),
    /// A header line is JSON, but no object.
    HeaderNotObject,
    /// A header line is longer than [`MAX_HEADER_LINE_BYTES`](crate::limits::MAX_HEADER_LINE_BYTES).
    HeaderTooLong,
    /// A line feed inside a header.
    HeaderNotOneLine,
    /// Something other than a line feed follows the `}` of a header.
    HeaderNotEnded,
    /// `event_id` is neither 32 hexadecimal digits nor a hyphenated UUID.
    InvalidEventId,
    /// `dsn` is no string.
    InvalidDsn,
    /// An item header has no `type`.
    MissingType,
    /// `type` is no string.
    InvalidType,
    /// `length` is no integer from 0 to 2^32 - 1.
    InvalidLength,
    /// `item_count` is no integer from 0 to 2^32 - 1.
    InvalidItemCount,
    /// The envelope ends before the `length` of a payload is reached.
    PayloadTooShort,
    /// Something other than a line feed follows a payload of declared length.
    PayloadNotEnded,
    /// An item header is announced by a blank line, but none follows.
    MissingItem,
    /// What should be a single item is not its header line, a line feed and its payload, and nothing else.
    NotOneItem,
    /// More than [`MAX_ENVELOPE_ITEMS`](crate::limits::MAX_ENVELOPE_ITEMS) items.
    TooManyItems,
}

impl EnvelopeErrorKind {
    /// The complaint and what would be right, as a clause.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingHeader => "no envelope header; the first line must be a JSON object, at least {}",
            Self::Json(error) => error.as_str(),
            Self::HeaderNotObject => "a header that is no JSON object",
            Self::HeaderTooLong => "a header line of more than 16384 bytes",
            Self::HeaderNotOneLine => "a line feed inside a header; a header must be one line",
            Self::HeaderNotEnded => "bytes between the closing brace of a header and the line feed",
            Self::InvalidEventId => {
                "an event_id that is no UUID; expected 32 hexadecimal digits, with or without hyphens"
            }
            Self::InvalidDsn => "a dsn that is no string",
            Self::MissingType => "an item header without type",
            Self::InvalidType => "an item type that is no string",
            Self::InvalidLength => "a length that is no integer from 0 to 4294967295",
            Self::InvalidItemCount => "an item_count that is no integer from 0 to 4294967295",
            Self::PayloadTooShort => "an end before the declared length of the payload",
            Self::PayloadNotEnded => "a payload longer than its declared length; a line feed must follow it",
            Self::MissingItem => "a blank line at the end, where an item header should follow",
            Self::NotOneItem => {
                "not one whole item; expected its header, a line feed and its payload, and no line feed behind it"
            }
            Self::TooManyItems => "more than 500 items",
        }
    }
}

/// What is wrong with an envelope, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EnvelopeError {
    /// What is wrong.
    pub kind: EnvelopeErrorKind,
    /// Bytes of the envelope before the first one that is wrong.
    pub offset: u64,
}

impl core::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "malformed envelope at byte {}: {}",
            self.offset,
            self.kind.as_str()
        )
    }
}

impl core::error::Error for EnvelopeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.kind {
            EnvelopeErrorKind::Json(error) => Some(error),
            _ => None,
        }
    }
}
