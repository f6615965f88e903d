//! Input that has optional parts: a row of fields, each a tag, a length and so many bytes. Numbers are little-endian, of
//! one to eight bytes.

use crate::error::Error;

/// The fields of some bytes.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field, `None` at the end.
    #[inline(never)]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.word()?;
        let length = self.word()? as usize;
        Ok(Some((tag, self.take(length)?)))
    }

    #[inline(never)]
    pub(crate) fn word(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline(never)]
    pub(crate) fn long(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Error::malformed("the input ends too early"))?;
        self.rest = rest;
        Ok(*array)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Error::malformed("a field is longer than the input"))?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// The number that a field holds.
#[inline(never)]
pub(crate) fn number(bytes: &[u8]) -> Result<u64, Error> {
    if bytes.is_empty() || bytes.len() > 8 {
        return Err(Error::malformed("a number has one to eight bytes"));
    }
    Ok(bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The text that a field holds.
#[inline(never)]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Error> {
    core::str::from_utf8(bytes).map_err(|_| Error::malformed("a text is not UTF-8"))
}
