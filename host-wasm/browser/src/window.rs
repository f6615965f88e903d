//! The output window while something is written into it.

use core::convert::Infallible;

use embedded_io::{ErrorType, Write};
use surgetank_core::wire::json::Writer;

/// What finds no room is not written, and [`Window::written`] says so. No sink of the libraries', because theirs can panic, and
/// a panic brings texts and the paths of this machine into the module.
pub(crate) struct Window<'w> {
    room: &'w mut [u8],
    written: usize,
    full: bool,
}

impl<'w> Window<'w> {
    pub(crate) const fn new(room: &'w mut [u8]) -> Self {
        Self {
            room,
            written: 0,
            full: false,
        }
    }

    /// Writes `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let end = self.written.saturating_add(bytes.len());
        match self.room.get_mut(self.written..end) {
            Some(place) if !self.full => {
                for (to, from) in place.iter_mut().zip(bytes) {
                    *to = *from;
                }
                self.written = end;
            }
            _ => self.full = true,
        }
    }

    /// Writes a number in decimal.
    pub(crate) fn number(&mut self, value: u64) {
        // What finds no room is remembered here.
        let _ = Writer::new(self).unsigned(value);
    }

    /// Bytes written; `None` when not all found room.
    pub(crate) const fn written(&self) -> Option<usize> {
        if self.full { None } else { Some(self.written) }
    }
}

impl ErrorType for Window<'_> {
    type Error = Infallible;
}

impl Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_fits_is_written_and_what_does_not_is_said() {
        let mut room = [0; 5];
        let mut window = Window::new(&mut room);
        window.put(b"ab");
        window.number(307);
        assert_eq!(window.written(), Some(5));
        window.put(b"c");
        assert_eq!(window.written(), None);
        window.put(b"");
        assert_eq!(window.written(), None, "nothing goes on behind a gap");
        assert_eq!(&room, b"ab307");
    }
}
