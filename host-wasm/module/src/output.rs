//! Writing into the output window: numbers in little-endian, bytes, JSON; and a part of a long body.

use embedded_io::{ErrorKind, ErrorType, Write};
use surgetank_core::wire::json::Writer;

use crate::error::{Code, Error, Said};

/// There is no room for more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the output window is full")
    }
}

impl core::error::Error for Full {}

impl embedded_io::Error for Full {
    fn kind(&self) -> ErrorKind {
        ErrorKind::OutOfMemory
    }
}

/// Bytes that are copied at once.
const PIECE: usize = 32;

/// The output window while an answer is written into it.
pub(crate) struct Out<'w> {
    room: &'w mut [u8],
    written: usize,
    /// Bytes to leave out before the first one that is kept.
    skip: u64,
    full: bool,
}

impl<'w> Out<'w> {
    pub(crate) const fn new(room: &'w mut [u8]) -> Self {
        Self::from(room, 0)
    }

    /// Keeps what comes after the first `skip` bytes, as far as there is room.
    pub(crate) const fn from(room: &'w mut [u8], skip: u64) -> Self {
        Self {
            room,
            written: 0,
            skip,
            full: false,
        }
    }

    pub(crate) const fn written(&self) -> i64 {
        self.written as i64
    }

    /// Bytes written, unless some found no room.
    pub(crate) fn finish(self) -> Result<i64, Error> {
        if self.full {
            return Err(const { &Said::new(Code::Window, "the output window is too small") });
        }
        Ok(self.written())
    }

    #[inline(never)]
    pub(crate) fn word(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    #[inline(never)]
    pub(crate) fn long(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.put(bytes);
        self
    }

    /// Writes `before` and a number in decimal.
    pub(crate) fn decimal(&mut self, before: &str, value: u64) {
        self.put(before.as_bytes());
        // What finds no room is remembered here.
        let _ = Writer::new(self).unsigned(value);
    }

    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) {
        let left_out = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip = self.skip.saturating_sub(left_out as u64);
        let mut kept = bytes.get(left_out..).unwrap_or_default();
        let room = self.room.get_mut(self.written..).unwrap_or_default();
        if kept.len() > room.len() {
            self.full = true;
            kept = kept.get(..room.len()).unwrap_or_default();
        }
        // In pieces of a fixed length: a copy of any length keeps a path to a panic here, and a byte alone costs 14 instructions.
        let (pieces, tail) = kept.as_chunks::<PIECE>();
        let done = kept.len().saturating_sub(tail.len());
        for (to, from) in room.as_chunks_mut::<PIECE>().0.iter_mut().zip(pieces) {
            *to = *from;
        }
        let rest = room.get_mut(done..).unwrap_or_default();
        for (to, from) in rest.iter_mut().zip(tail) {
            *to = *from;
        }
        self.written = self.written.wrapping_add(kept.len());
    }
}

impl ErrorType for Out<'_> {
    type Error = Full;
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Full> {
        self.put(bytes);
        if self.full { Err(Full) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> Result<(), Full> {
        Ok(())
    }
}
