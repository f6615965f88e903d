//! What is written by pieces here and there: one copy of the code that does it, whatever the host's sink.

use super::hex;
use super::json::{decimal, quoted};
use super::output::{WriteError, put};
use super::timestamp::timestamp;
use crate::time::UnixTime;
use embedded_io::Write;

/// Any sink of a host's, behind a function. For headers and reports; what is most of a body is written without it. Behind
/// a failure nothing more is written, so that callers need not look.
pub(crate) struct Sink<'w> {
    /// False when it failed.
    write: &'w mut dyn FnMut(&[u8]) -> bool,
    has_failed: bool,
    refused: Option<&'static str>,
}

/// Has `work` write to `out`.
///
/// # Errors
/// The sink's; or that `work` refused to go on.
pub(crate) fn through<T, W: Write + ?Sized>(
    out: &mut W,
    work: impl FnOnce(&mut Sink<'_>) -> T,
) -> Result<T, WriteError<W::Error>> {
    let mut failure = None;
    let mut write = |bytes: &[u8]| {
        failure = put(out, bytes).err();
        failure.is_none()
    };
    let mut sink = Sink::new(&mut write);
    let value = work(&mut sink);
    let refused = sink.refused.map(WriteError::Invalid);
    match failure.or(refused) {
        Some(error) => Err(error),
        None => Ok(value),
    }
}

impl<'w> Sink<'w> {
    /// A sink that hands all bytes to `write`, which says whether it took them.
    pub(crate) const fn new(write: &'w mut dyn FnMut(&[u8]) -> bool) -> Self {
        Self {
            write,
            has_failed: false,
            refused: None,
        }
    }

    /// True when nothing more is written.
    pub(crate) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Gives up: what was to be written is not what was announced or not well formed.
    pub(crate) const fn refuse(&mut self, what: &'static str) {
        if !self.has_failed {
            self.has_failed = true;
            self.refused = Some(what);
        }
    }

    /// Writes `bytes`.
    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if !self.has_failed {
            self.has_failed = !(self.write)(bytes);
        }
    }

    /// Writes a JSON string.
    pub(crate) fn text(&mut self, text: &str) {
        // What fails is remembered in the sink.
        let _ = quoted(self, text);
    }

    /// Writes `before`, and `text` as a JSON string.
    pub(crate) fn member(&mut self, before: &str, text: &str) {
        self.put(before.as_bytes());
        self.text(text);
    }

    /// Writes lower-case hexadecimal digits as a JSON string.
    pub(crate) fn hex(&mut self, bytes: &[u8]) {
        self.put(b"\"");
        for byte in bytes {
            self.put(&hex::lower_pair(*byte));
        }
        self.put(b"\"");
    }

    /// Writes a time as a JSON string.
    pub(crate) fn time(&mut self, time: UnixTime) {
        self.put(b"\"");
        self.put(&timestamp(time));
        self.put(b"\"");
    }

    /// Writes a number in decimal.
    pub(crate) fn number(&mut self, value: u64) {
        // What fails is remembered in the sink.
        let _ = decimal(self, value);
    }
}

impl embedded_io::ErrorType for Sink<'_> {
    type Error = core::convert::Infallible;
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
