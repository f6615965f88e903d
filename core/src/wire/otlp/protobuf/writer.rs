//! Writes protobuf, or measures what would be written.

use super::{WireType, tag};
use core::error::Error;
use core::fmt;

/// Bytes of a length prefix that is reserved and patched.
pub const OPEN_PREFIX_BYTES: usize = 4;

/// Bytes of a number with what stands before it, written in one piece of which the end may be unused.
const NUMBER_BYTES: usize = size_of::<u128>();

/// Bytes of a short key and value with what stands around them, and of a short key and a number.
const WINDOW_BYTES: usize = 144;

/// Bytes that a [`Writer`] can count.
const MAX_WRITTEN: usize = u32::MAX as usize;

/// Largest length that fits a reserved prefix.
const MAX_PATCHED_LEN: usize = (1 << 28) - 1;

/// Where fields go: into memory ([`Writer`]) or nowhere, for their length ([`Length`]).
///
/// An encoder written against this gives its exact length and its bytes from one piece of code. Implementors never
/// fail at a call: what does not fit is reported once, at the end.
pub trait Out {
    /// Takes `bytes` as they are.
    fn raw(&mut self, bytes: &[u8]);

    /// Takes `N` bytes as they are; for fixed parts, where the copy is a few stores.
    fn array<const N: usize>(&mut self, bytes: [u8; N]);

    /// Takes the first `count` of `N` bytes; for digits, which are computed in blocks.
    fn front<const N: usize>(&mut self, bytes: [u8; N], count: usize);

    /// Takes three pieces at once: a text with what stands around it, whose length the compiler knows.
    fn framed(&mut self, before: &[u8], bytes: &[u8], after: &[u8]);

    /// Takes two fixed parts, each followed by bytes, at once: a key and a value with what stands in front of them.
    fn pair(&mut self, key_opening: [u8; 4], key: &[u8], value_opening: [u8; 4], value: &[u8]);

    /// Takes a fixed part, bytes, and the first `count` of the bytes of `number`, lowest first: a key and a number.
    fn numbered(&mut self, key_opening: [u8; 4], key: &[u8], number: u128, count: usize);

    /// Bytes taken so far.
    fn position(&self) -> usize;

    /// Replaces four bytes that were taken before, at `position`.
    fn patch(&mut self, position: usize, bytes: [u8; OPEN_PREFIX_BYTES]);

    /// Gives up: the output is not to be used.
    fn fail(&mut self);

    /// This output, as a value of its own that takes its place until it is put back. An output that is handed to a
    /// function which is not inlined has to live in memory from its beginning to its end, and one that is held does not.
    #[must_use]
    fn lift(&mut self) -> Self
    where
        Self: Sized;

    /// Does `work` on this output lifted, so that it is not the caller's own that is handed on.
    #[inline(always)]
    fn apart(&mut self, work: impl FnOnce(&mut Self))
    where
        Self: Sized,
    {
        let mut lifted = self.lift();
        work(&mut lifted);
        *self = lifted;
    }

    /// Writes a varint.
    #[inline]
    fn varint(&mut self, value: u64) {
        let mut value = value;
        while value >= 0x80 {
            self.array([value as u8 | 0x80]);
            value >>= 7;
        }
        self.array([value as u8]);
    }

    /// Writes a tag.
    #[inline]
    fn tag(&mut self, field: u32, wire_type: WireType) {
        self.varint(u64::from(tag(field, wire_type)));
    }

    /// Writes a varint field, also when it is zero.
    #[inline]
    fn varint_field(&mut self, field: u32, value: u64) {
        let tag = tag(field, WireType::Varint);
        if tag < 0x80 && value < 0x80 {
            self.array([tag as u8, value as u8]);
        } else if tag < 0x80 && value < 0x4000 {
            self.array([tag as u8, value as u8 | 0x80, (value >> 7) as u8]);
        } else {
            self.varint(u64::from(tag));
            self.varint(value);
        }
    }

    /// Writes a `fixed64`, `sfixed64` or `double` field, also when it is zero.
    #[inline]
    fn fixed64_field(&mut self, field: u32, value: u64) {
        let tag = tag(field, WireType::Fixed64);
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        if tag < 0x80 {
            self.array([tag as u8, a, b, c, d, e, f, g, h]);
        } else {
            self.varint(u64::from(tag));
            self.array([a, b, c, d, e, f, g, h]);
        }
    }

    /// Writes a `fixed32` field, also when it is zero.
    #[inline]
    fn fixed32_field(&mut self, field: u32, value: u32) {
        let tag = tag(field, WireType::Fixed32);
        let [a, b, c, d] = value.to_le_bytes();
        if tag < 0x80 {
            self.array([tag as u8, a, b, c, d]);
        } else if tag < 0x4000 {
            self.array([tag as u8 | 0x80, (tag >> 7) as u8, a, b, c, d]);
        } else {
            self.varint(u64::from(tag));
            self.array([a, b, c, d]);
        }
    }

    /// Writes a string, bytes or already encoded message field, also when it is empty.
    #[inline(always)]
    fn bytes_field(&mut self, field: u32, bytes: &[u8])
    where
        Self: Sized,
    {
        let tag = tag(field, WireType::Bytes);
        if tag < 0x80 && bytes.len() < 0x80 {
            self.framed(&[tag as u8, bytes.len() as u8], bytes, &[]);
        } else {
            self.apart(|out| {
                out.message(field, bytes.len());
                out.raw(bytes);
            });
        }
    }

    /// Writes tag and prefix of a message of exactly `len` bytes; the caller writes those next.
    #[inline]
    fn message(&mut self, field: u32, len: usize) {
        let tag = tag(field, WireType::Bytes);
        if tag < 0x80 && len < 0x80 {
            self.array([tag as u8, len as u8]);
        } else {
            self.varint(u64::from(tag));
            self.varint(len as u64);
        }
    }

    /// Begins a message of unknown length: writes its tag and leaves [`OPEN_PREFIX_BYTES`] for its length.
    #[inline]
    fn open(&mut self, field: u32) -> Open {
        self.tag(field, WireType::Bytes);
        let prefix_at = self.position();
        self.array([0; OPEN_PREFIX_BYTES]);
        Open { prefix_at }
    }

    /// Ends a message: everything written since [`Out::open`] is its content. Close in the reverse order of opening.
    #[inline]
    fn close(&mut self, open: Open) {
        let start = open.prefix_at.wrapping_add(OPEN_PREFIX_BYTES);
        let len = self.position().saturating_sub(start);
        if len > MAX_PATCHED_LEN {
            self.fail();
        } else {
            self.patch(open.prefix_at, long_prefix(len));
        }
    }
}

/// A nested message that was begun with [`Out::open`].
#[derive(Debug)]
#[must_use = "the length prefix is wrong until `Out::close`"]
pub struct Open {
    prefix_at: usize,
}

/// Writes into a slice.
///
/// A write that does not fit writes nothing, and every write after it is ignored; [`Writer::finish`] tells. So callers
/// write straight through and check once. No call allocates or panics; each costs its own bytes. Of longer memory the first
/// 4 GiB are used.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    /// Bytes written: of 32 bits, so that the compiler sees that a sum of this and a constant does not overflow where
    /// words have 64, and compares once for each piece. More than there are when something did not fit.
    at: u32,
}

/// The output was too short for the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output is shorter than the message; reserve its encoded length")
    }
}

impl Error for Full {}

impl<'a> Writer<'a> {
    /// A writer that starts at the first byte of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        let countable = if bytes.len() < MAX_WRITTEN {
            bytes.len()
        } else {
            MAX_WRITTEN
        };
        let bytes = match bytes.split_at_mut_checked(countable) {
            Some((front, _)) => front,
            None => &mut [],
        };
        Self { bytes, at: 0 }
    }

    /// The next `len` bytes, which are then written.
    #[inline(always)]
    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        let start = self.at as usize;
        let end = start.wrapping_add(len);
        let next = self.bytes.get_mut(start..end)?;
        // It is within the memory, whose length fits 32 bits.
        self.at = end as u32;
        Some(next)
    }

    /// Bytes written.
    ///
    /// # Errors
    /// [`Full`] when something did not fit; what was written is then a truncated message.
    pub const fn finish(&self) -> Result<usize, Full> {
        let written = self.at as usize;
        if written <= self.bytes.len() {
            Ok(written)
        } else {
            Err(Full)
        }
    }
}

impl Out for Writer<'_> {
    #[inline(always)]
    fn raw(&mut self, bytes: &[u8]) {
        match self.next(bytes.len()) {
            Some(target) => copy(target, bytes),
            None => self.fail(),
        }
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.front(bytes, N);
    }

    #[inline(always)]
    fn front<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
        let start = self.at as usize;
        let room = self.bytes.get_mut(start..start.wrapping_add(N));
        if let Some(target) = room.and_then(|room| room.first_chunk_mut::<N>()) {
            *target = bytes;
            self.at = start.wrapping_add(count.min(N)) as u32;
        } else if count < N {
            // Near the end of the memory the rest of the block may not fit.
            self.apart(|out| out.raw(bytes.get(..count).unwrap_or_default()));
        } else {
            self.fail();
        }
    }

    #[inline(always)]
    fn framed(&mut self, before: &[u8], bytes: &[u8], after: &[u8]) {
        // No two slices are so long that this goes round to what fits them.
        let len = before.len().wrapping_add(bytes.len()).wrapping_add(after.len());
        if let Some(target) = self.next(len)
            && let Some((front, room)) = target.split_at_mut_checked(before.len())
            && let Some((middle, back)) = room.split_at_mut_checked(bytes.len())
        {
            copy(front, before);
            copy(middle, bytes);
            copy(back, after);
        } else {
            self.fail();
        }
    }

    #[inline(always)]
    fn pair(&mut self, key_opening: [u8; 4], key: &[u8], value_opening: [u8; 4], value: &[u8]) {
        let start = self.at as usize;
        match window(self.bytes, start)
            .and_then(|window| pair_in(window, key_opening, key, value_opening, value))
        {
            Some(written) => self.at = start.wrapping_add(written) as u32,
            None => self.apart(|out| pair_exactly(out, key_opening, key, value_opening, value)),
        }
    }

    #[inline(always)]
    fn numbered(&mut self, key_opening: [u8; 4], key: &[u8], number: u128, count: usize) {
        let number = number.to_le_bytes();
        let start = self.at as usize;
        match window(self.bytes, start).and_then(|window| numbered_in(window, key_opening, key, number)) {
            Some(number_at) => {
                let end = number_at.wrapping_add(count.min(number.len()));
                self.at = start.wrapping_add(end) as u32;
            }
            None => self.apart(|out| numbered_exactly(out, key_opening, key, number, count)),
        }
    }

    #[inline]
    fn position(&self) -> usize {
        self.at as usize
    }

    #[inline]
    fn patch(&mut self, position: usize, bytes: [u8; OPEN_PREFIX_BYTES]) {
        let written = self.bytes.get_mut(position..self.at as usize).unwrap_or_default();
        match written.first_chunk_mut::<OPEN_PREFIX_BYTES>() {
            Some(target) => *target = bytes,
            None => self.fail(),
        }
    }

    #[inline]
    fn fail(&mut self) {
        self.bytes = &mut [];
        self.at = u32::MAX;
    }

    #[inline(always)]
    fn lift(&mut self) -> Self {
        Writer {
            bytes: core::mem::take(&mut self.bytes),
            ..*self
        }
    }
}

/// The memory from `start` on, as a block that is compared once; none near the end of the memory.
#[inline(always)]
fn window(bytes: &mut [u8], start: usize) -> Option<&mut [u8; WINDOW_BYTES]> {
    bytes
        .get_mut(start..start.wrapping_add(WINDOW_BYTES))?
        .first_chunk_mut()
}

/// [`Out::pair`] at the beginning of a block; how many bytes it is. Nothing that counts is written if it is longer.
#[inline(always)]
fn pair_in(
    window: &mut [u8; WINDOW_BYTES],
    key_opening: [u8; 4],
    key: &[u8],
    value_opening: [u8; 4],
    value: &[u8],
) -> Option<usize> {
    let opening_at = key.len().wrapping_add(4);
    let value_at = key.len().wrapping_add(8);
    let end = value_at.wrapping_add(value.len());
    *window.first_chunk_mut()? = key_opening;
    copy(window.get_mut(4..opening_at)?, key);
    *window.get_mut(opening_at..value_at)?.first_chunk_mut()? = value_opening;
    copy(window.get_mut(value_at..end)?, value);
    Some(end)
}

/// [`Out::numbered`] at the beginning of a block; where the number stands.
#[inline(always)]
fn numbered_in(
    window: &mut [u8; WINDOW_BYTES],
    key_opening: [u8; 4],
    key: &[u8],
    number: [u8; NUMBER_BYTES],
) -> Option<usize> {
    let number_at = key.len().wrapping_add(4);
    *window.first_chunk_mut()? = key_opening;
    copy(window.get_mut(4..number_at)?, key);
    *window
        .get_mut(number_at..number_at.wrapping_add(NUMBER_BYTES))?
        .first_chunk_mut()? = number;
    Some(number_at)
}

/// What is longer, or near the end of the memory.
#[cold]
#[inline(never)]
fn pair_exactly(out: &mut Writer<'_>, opening: [u8; 4], key: &[u8], value_opening: [u8; 4], value: &[u8]) {
    out.framed(&opening, key, &value_opening);
    out.raw(value);
}

/// Near the end of the memory, where the rest of the block may not fit.
#[cold]
#[inline(never)]
fn numbered_exactly(
    out: &mut Writer<'_>,
    opening: [u8; 4],
    key: &[u8],
    number: [u8; NUMBER_BYTES],
    count: usize,
) {
    out.framed(&opening, key, number.get(..count).unwrap_or_default());
}

/// Measures what would be written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Length {
    bytes: usize,
}

impl Length {
    /// Bytes that `encode` writes. `usize::MAX` when that is not possible at all.
    pub fn of(encode: impl FnOnce(&mut Self)) -> usize {
        let mut length = Self::default();
        encode(&mut length);
        length.bytes
    }
}

impl Out for Length {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len());
    }

    #[inline]
    fn array<const N: usize>(&mut self, _bytes: [u8; N]) {
        self.bytes = self.bytes.saturating_add(N);
    }

    #[inline]
    fn front<const N: usize>(&mut self, _bytes: [u8; N], count: usize) {
        self.bytes = self.bytes.saturating_add(count.min(N));
    }

    #[inline]
    fn framed(&mut self, before: &[u8], bytes: &[u8], after: &[u8]) {
        let len = bytes.len().saturating_add(before.len());
        self.bytes = self.bytes.saturating_add(len).saturating_add(after.len());
    }

    #[inline]
    fn pair(&mut self, _key_opening: [u8; 4], key: &[u8], _value_opening: [u8; 4], value: &[u8]) {
        let len = key.len().saturating_add(value.len()).saturating_add(8);
        self.bytes = self.bytes.saturating_add(len);
    }

    #[inline]
    fn numbered(&mut self, _key_opening: [u8; 4], key: &[u8], _number: u128, count: usize) {
        let len = key.len().saturating_add(count).saturating_add(4);
        self.bytes = self.bytes.saturating_add(len);
    }

    #[inline]
    fn position(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn patch(&mut self, _position: usize, _bytes: [u8; OPEN_PREFIX_BYTES]) {}

    fn fail(&mut self) {
        self.bytes = usize::MAX;
    }

    #[inline(always)]
    fn lift(&mut self) -> Self {
        *self
    }
}

/// Copies between slices of one length. Names and values are mostly 1 to 64 bytes, which two overlapping copies of a
/// fixed size do in a third of what calling `memcpy` takes.
#[inline(always)]
fn copy(target: &mut [u8], source: &[u8]) {
    if !(ends::<16>(target, source) || ends::<8>(target, source) || ends::<4>(target, source)) {
        // Up to three bytes: the first, the last, and the one in the middle, which may be either.
        let middle = source.len() / 2;
        if let ([.., last], Some(between), [first, ..]) = (source, source.get(middle), source)
            && let Some(at) = target.get_mut(middle)
        {
            *at = *between;
            if let Some(at) = target.first_mut() {
                *at = *first;
            }
            if let Some(at) = target.last_mut() {
                *at = *last;
            }
        }
    }
}

/// Copies what has at least `N` bytes: in two overlapping blocks up to twice as many. Bytes of another length stay as
/// they are, which only a slip of this module could ask for.
#[inline(always)]
fn ends<const N: usize>(target: &mut [u8], source: &[u8]) -> bool {
    let (Some(first), Some(last)) = (source.first_chunk::<N>(), source.last_chunk::<N>()) else {
        return false;
    };
    if N == 16 && source.len() > 2 * N {
        return long(target, source);
    }
    if let Some(target) = target.first_chunk_mut::<N>() {
        *target = *first;
    }
    if let Some(target) = target.last_chunk_mut::<N>() {
        *target = *last;
    }
    true
}

#[inline(always)]
fn long(target: &mut [u8], source: &[u8]) -> bool {
    if source.len() <= 64 {
        return ends::<32>(target, source);
    }
    copy_long(target, source);
    true
}

#[cold]
#[inline(never)]
fn copy_long(target: &mut [u8], source: &[u8]) {
    if target.len() == source.len() {
        target.copy_from_slice(source);
    }
}

/// `len` below 2²⁸ as a varint of exactly four bytes.
const fn long_prefix(len: usize) -> [u8; OPEN_PREFIX_BYTES] {
    [
        len as u8 | 0x80,
        (len >> 7) as u8 | 0x80,
        (len >> 14) as u8 | 0x80,
        (len >> 21) as u8 & 0x7F,
    ]
}
