//! Input that has optional parts: a row of fields, each a tag, a length and so many bytes. Numbers are little-endian, of
//! one to eight bytes.

use crate::error::{Error, Said};

/// The fields of some bytes.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    is_short: bool,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            is_short: false,
        }
    }

    /// An error when something was asked for that the input was too short for; what was given then is zero.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_short {
            return Err(const { &Said::malformed("the input ends too early") });
        }
        Ok(())
    }

    /// The next field, `None` at the end.
    #[inline(never)]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (tag, length) = (self.word(), self.word() as usize);
        self.check()?;
        Ok(Some((tag, self.take(length)?)))
    }

    #[inline(never)]
    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    #[inline(never)]
    pub(crate) fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        if let Some((array, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
            *array
        } else {
            self.is_short = true;
            [0; N]
        }
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(const { &Said::malformed("a field is longer than the input") })?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// The number that a field holds.
#[inline(never)]
pub(crate) fn number(bytes: &[u8]) -> Result<u64, Error> {
    if bytes.is_empty() || bytes.len() > 8 {
        return Err(const { &Said::malformed("a number has one to eight bytes") });
    }
    Ok(bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The text that a field holds.
#[inline(never)]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Error> {
    core::str::from_utf8(bytes).map_err(|_| const { &Said::malformed("a text is not UTF-8") })
}
