//! A small text buffer that remembers when it was too small.

use heapless::Vec;

/// Up to `N` bytes of text, collected piece by piece.
///
/// Longer text is not kept at all: it cannot be one of the few names the consumer looks for.
#[derive(Clone, Default, Debug)]
pub struct Short<const N: usize> {
    bytes: Vec<u8, N>,
    cut: bool,
}

impl<const N: usize> Short<N> {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            cut: false,
        }
    }

    /// Appends `piece`.
    pub fn push(&mut self, piece: &[u8]) {
        self.cut |= self.bytes.extend_from_slice(piece).is_err();
    }

    /// Appends one character.
    pub fn push_char(&mut self, character: char) {
        self.push(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Empties the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cut = false;
    }

    /// The text; `None` when there was more of it than fits.
    #[must_use]
    pub fn get(&self) -> Option<&[u8]> {
        (!self.cut).then_some(self.bytes.as_slice())
    }

    /// True when the text is exactly `text`.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.get() == Some(text.as_bytes())
    }
}
