//! Pulls fields out of a protobuf message.

use super::{MAX_VARINT_BYTES, WireType};
use core::error::Error;
use core::fmt;

/// Largest field number of the protobuf language.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// Reads a message field by field, in place.
///
/// Each call to [`Reader::next`] reads one field in constant time (a length-delimited value is handed out unread), so
/// a whole message costs at most one step per two bytes. Nested messages are read by a reader of their own
/// ([`Field::message`]): nothing recurses here, and the depth is the caller's choice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
    cut: bool,
}

/// One field of a message.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Field<'a> {
    /// Field number, 1 to 2²⁹ − 1.
    pub number: u32,
    /// What follows the tag.
    pub value: Value<'a>,
    /// Where the value's content begins, in bytes from the start of the outermost message.
    pub at: usize,
    cut: bool,
}

/// A field's value by wire type. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Any of the integer types, `bool` or an enum. Negative `int32` and `int64` are sign-extended.
    Varint(u64),
    /// `fixed64`, `sfixed64` or the bits of a `double`.
    Fixed64(u64),
    /// A string, bytes, a message or a packed list.
    Bytes(&'a [u8]),
    /// `fixed32`, `sfixed32` or the bits of a `float`.
    Fixed32(u32),
}

/// Where and why bytes are not a protobuf message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Offset of the offending byte from the start of the outermost message.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a message. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The input ends inside a field.
    Truncated,
    /// A varint does not end within ten bytes, or holds more than 64 bits.
    LongVarint,
    /// A field number outside 1 to 2²⁹ − 1.
    FieldNumber,
    /// A group or one of the two wire types that do not exist.
    WireType,
    /// A known field has another wire type than its schema says.
    UnexpectedType,
    /// A string field holds bytes that are not UTF-8.
    NotUtf8,
    /// Messages are nested deeper than is followed.
    TooDeep,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends inside a field",
            Self::LongVarint => "a varint is longer than ten bytes or 64 bits",
            Self::FieldNumber => "a field number is not within 1 to 536870911",
            Self::WireType => "a wire type is not varint, 64-bit, length-delimited or 32-bit",
            Self::UnexpectedType => "a field has another wire type than OTLP gives it",
            Self::NotUtf8 => "a string is not UTF-8",
            Self::TooDeep => "messages are nested too deep",
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid protobuf at byte {}: {}", self.at, self.problem)
    }
}

impl Error for Malformed {}

impl<'a> Reader<'a> {
    /// A reader of the whole message `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            at: 0,
            cut: false,
        }
    }

    /// A reader of the first bytes of a message whose end was not received.
    ///
    /// The end of input is then no error: a length-delimited value that reaches past it is handed out as far as it is
    /// there, and an incomplete field otherwise ends the message.
    #[must_use]
    pub const fn of_prefix(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            at: 0,
            cut: true,
        }
    }

    /// The next field; `None` at the end.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no protobuf; the reader then stays at its end.
    #[allow(
        clippy::should_implement_trait,
        reason = "fallible, so it cannot be an Iterator without losing `?`"
    )]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let read = self.field();
        match read {
            Ok(field) => Ok(Some(field)),
            Err(malformed) => {
                self.rest = &[];
                if self.cut && malformed.problem == Problem::Truncated {
                    Ok(None)
                } else {
                    Err(malformed)
                }
            }
        }
    }

    /// Reads the rest as packed varints, for being sound.
    ///
    /// # Errors
    /// [`Malformed`] where a varint is not.
    pub fn varints(&mut self) -> Result<(), Malformed> {
        while !self.rest.is_empty() {
            self.varint()?;
        }
        Ok(())
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let tag_at = self.at;
        let malformed = |problem| Malformed { at: tag_at, problem };
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > MAX_FIELD_NUMBER {
            return Err(malformed(Problem::FieldNumber));
        }
        let mut at = self.at;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.chunk()?)),
            2 => {
                let len = self.varint()?;
                at = self.at;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.chunk()?)),
            _ => return Err(malformed(Problem::WireType)),
        };
        Ok(Field {
            number: number as u32,
            value,
            at,
            cut: self.cut && self.rest.is_empty(),
        })
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            self.at = self.at.wrapping_add(1);
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let at = self.at;
        let mut value = 0u64;
        for index in 0..MAX_VARINT_BYTES {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(self.truncated());
            };
            self.rest = rest;
            self.at = self.at.wrapping_add(1);
            if index == MAX_VARINT_BYTES - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed {
            at,
            problem: Problem::LongVarint,
        })
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let Some((chunk, rest)) = self.rest.split_first_chunk() else {
            return Err(self.truncated());
        };
        self.rest = rest;
        self.at = self.at.wrapping_add(N);
        Ok(chunk)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (taken, rest) = match self.rest.split_at_checked(len) {
            Some(parts) => parts,
            None if self.cut => (self.rest, Default::default()),
            None => return Err(self.truncated()),
        };
        self.rest = rest;
        self.at = self.at.wrapping_add(taken.len());
        Ok(taken)
    }

    fn truncated(&self) -> Malformed {
        Malformed {
            at: self.at.wrapping_add(self.rest.len()),
            problem: Problem::Truncated,
        }
    }
}

impl<'a> Field<'a> {
    /// A reader of the nested message that this field is.
    ///
    /// # Errors
    /// [`Problem::UnexpectedType`] when the field is not length-delimited.
    pub fn message(&self) -> Result<Reader<'a>, Malformed> {
        Ok(Reader {
            rest: self.bytes()?,
            at: self.at,
            cut: self.cut,
        })
    }

    /// The bytes of a length-delimited field.
    ///
    /// # Errors
    /// [`Problem::UnexpectedType`] when it is not one.
    pub fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// The value of an integer field.
    ///
    /// # Errors
    /// [`Problem::UnexpectedType`] when it is no varint.
    pub fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// This field's wire type.
    #[must_use]
    pub const fn wire_type(&self) -> WireType {
        match self.value {
            Value::Varint(_) => WireType::Varint,
            Value::Fixed64(_) => WireType::Fixed64,
            Value::Bytes(_) => WireType::Bytes,
            Value::Fixed32(_) => WireType::Fixed32,
        }
    }

    /// The error for a field of the wrong wire type.
    #[must_use]
    pub const fn unexpected(&self) -> Malformed {
        Malformed {
            at: self.at,
            problem: Problem::UnexpectedType,
        }
    }
}
