//! Protobuf wire format: a writer into fixed memory and a bounded pull reader.
//!
//! OTLP needs a dozen messages, all known here, so there is no descriptor and no generated code: encoders call the
//! writer field by field, decoders pull field by field and skip what they do not know.
//!
//! **Length prefixes.** A nested message's length stands before it. Three ways to know it were weighed:
//!
//! - sizing every message before writing it walks a value once per nesting level, quadratic for nested lists;
//! - reserving four bytes everywhere and patching them costs three bytes per key and per value, a tenth of a span;
//! - writing backwards needs the end of the output before the start, which a ring slot cannot give.
//!
//! So both of the first are used, each where it is free: a message whose length follows from the lengths of its
//! strings gets an exact prefix ([`Out::message`]), one that has to be walked gets four bytes that are patched in
//! place ([`Out::open`], [`Out::close`]). A varint may be longer than it must (protobuf encoding, "Base 128
//! varints"; every parser accepts it), and four bytes hold 2²⁸ − 1, more than a record may be long.
//!
//! What the reader accepts is what `protoc` parsers accept, except groups (deprecated, never in OTLP).

use core::fmt;

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Field, Malformed, Problem, Reader, Value};
pub use writer::{Full, Length, OPEN_PREFIX_BYTES, Open, Out, Writer};

/// Most bytes of a varint: 64 bits, 7 a byte.
pub const MAX_VARINT_BYTES: usize = 10;

/// How a field's value is laid out.
///
/// Exhaustive: the wire types of proto3. The numbers 3 and 4 (groups) are refused, 6 and 7 mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum WireType {
    /// Up to ten bytes, seven bits each, least significant first.
    Varint = 0,
    /// Eight bytes, little-endian.
    Fixed64 = 1,
    /// A varint length and that many bytes.
    Bytes = 2,
    /// Four bytes, little-endian.
    Fixed32 = 5,
}

/// The tag in front of a field: its number and wire type. One byte as a varint up to field 15.
#[must_use]
pub const fn tag(field: u32, wire_type: WireType) -> u32 {
    (field << 3) | wire_type as u32
}

/// Bytes that `value` takes as a varint: 1 to [`MAX_VARINT_BYTES`].
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    let significant = 64 - (value | 1).leading_zeros();
    (significant.wrapping_mul(9).wrapping_add(64) / 64) as usize
}

/// Bytes that a length-delimited field of `len` bytes takes after its tag: the prefix and the content.
///
/// Saturates, so sums of hostile lengths end up above every limit instead of wrapping below it.
#[must_use]
pub const fn delimited_len(len: usize) -> usize {
    len.saturating_add(varint_len(len as u64))
}

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varint => "varint",
            Self::Fixed64 => "64-bit",
            Self::Bytes => "length-delimited",
            Self::Fixed32 => "32-bit",
        })
    }
}
