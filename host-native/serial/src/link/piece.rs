//! The part of a body that goes out now: the whole body is written to it, and it passes on what the part covers, in frames.

use embedded_io::{ErrorType, Write};
use surgetank_core::wire::WriteError;

use super::{Link, Transfer};
use crate::message::{BodyKind, MAX_DATA_BYTES, Up};

/// A part of a body: what is before it is passed over, what is behind it stops the writing.
pub(super) struct Piece<'l, W, const ROOM: usize> {
    pub(super) link: &'l mut Link<ROOM>,
    pub(super) out: &'l mut W,
    /// With `sent` moved along as frames go out.
    pub(super) transfer: Transfer,
    pub(super) kind: BodyKind,
    /// Where in the body the writer is.
    pub(super) position: u32,
    /// End of the part.
    pub(super) until: u32,
    pub(super) chunk: [u8; MAX_DATA_BYTES],
    pub(super) filled: usize,
}

/// Why writing a body stopped.
#[derive(Debug)]
pub(super) enum Stop<E> {
    /// The part is written.
    Enough,
    Line(WriteError<E>),
}

impl<E: core::fmt::Debug> core::fmt::Display for Stop<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Enough => "the window is full",
            Self::Line(_) => "the line failed",
        })
    }
}

impl<E: core::fmt::Debug> core::error::Error for Stop<E> {}

impl<E: core::fmt::Debug> embedded_io::Error for Stop<E> {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

impl<W: Write, const ROOM: usize> Piece<'_, W, ROOM> {
    fn frame(&mut self, last: bool) -> Result<(), WriteError<W::Error>> {
        let bytes = self.chunk.get(..self.filled).unwrap_or_default();
        let message = Up::Data {
            transfer: self.transfer.number,
            offset: self.transfer.sent,
            kind: self.kind,
            last,
            bytes,
        };
        self.link.say(&message, self.out)?;
        self.transfer.sent = self.transfer.sent.saturating_add(self.filled as u32);
        self.filled = 0;
        Ok(())
    }

    /// Sends what is left; where the part ends.
    pub(super) fn finish(mut self, ended: bool) -> Result<u32, WriteError<W::Error>> {
        if ended || self.filled > 0 {
            self.frame(ended)?;
        }
        Ok(self.transfer.sent)
    }
}

impl<W: Write, const ROOM: usize> ErrorType for Piece<'_, W, ROOM> {
    type Error = Stop<W::Error>;
}

impl<W: Write, const ROOM: usize> Write for Piece<'_, W, ROOM> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let before = self.transfer.sent.saturating_add(self.filled as u32);
        let skipped = (before.saturating_sub(self.position) as usize).min(bytes.len());
        if skipped > 0 {
            self.position = self.position.saturating_add(skipped as u32);
            return Ok(skipped);
        }
        let open = self.until.saturating_sub(before) as usize;
        if open == 0 && !bytes.is_empty() {
            return Err(Stop::Enough);
        }
        if self.filled == self.chunk.len() {
            // Not before there is more: the frame that ends the body says so.
            self.frame(false).map_err(Stop::Line)?;
        }
        let room = self.chunk.get_mut(self.filled..).unwrap_or_default();
        let taken = bytes.len().min(room.len()).min(open);
        for (place, byte) in room.iter_mut().zip(bytes.iter().take(taken)) {
            *place = *byte;
        }
        self.filled += taken;
        self.position = self.position.saturating_add(taken as u32);
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
