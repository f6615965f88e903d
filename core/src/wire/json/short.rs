//! A small text buffer that remembers when it was too small.

/// Up to `N` bytes of text, collected piece by piece; at most 255.
///
/// Longer text is not kept at all: it cannot be one of the few names the consumer looks for.
#[derive(Clone, Debug)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    fill: Fill,
}

/// How much of the buffer is text.
#[derive(Clone, Copy, Debug)]
struct Fill {
    used: u8,
    cut: bool,
}

impl Fill {
    const NONE: Self = Self { used: 0, cut: false };

    /// Appends `piece` to what is in `bytes`. One copy for buffers of every length.
    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    fn push(&mut self, bytes: &mut [u8], piece: &[u8]) {
        let used = usize::from(self.used);
        match bytes.get_mut(used..).and_then(|rest| rest.get_mut(..piece.len())) {
            Some(room) if used.saturating_add(piece.len()) <= usize::from(u8::MAX) => {
                for (to, from) in room.iter_mut().zip(piece) {
                    *to = *from;
                }
                self.used = self.used.wrapping_add(piece.len() as u8);
            }
            _ => self.cut = true,
        }
    }

    fn text(self, bytes: &[u8]) -> Option<&[u8]> {
        if self.cut {
            return None;
        }
        bytes.get(..usize::from(self.used))
    }

    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    fn is(self, bytes: &[u8], text: &str) -> bool {
        self.text(bytes) == Some(text.as_bytes())
    }
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Short<N> {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            fill: Fill::NONE,
        }
    }

    /// Appends `piece`.
    pub fn push(&mut self, piece: &[u8]) {
        self.fill.push(&mut self.bytes, piece);
    }

    /// Appends one character.
    pub fn push_char(&mut self, character: char) {
        push_char(&mut self.fill, &mut self.bytes, character);
    }

    /// Empties the buffer.
    pub const fn clear(&mut self) {
        self.fill = Fill::NONE;
    }

    /// The text; `None` when there was more of it than fits.
    #[must_use]
    pub fn get(&self) -> Option<&[u8]> {
        self.fill.text(&self.bytes)
    }

    /// True when the text is exactly `text`.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.fill.is(&self.bytes, text)
    }
}

#[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
fn push_char(fill: &mut Fill, bytes: &mut [u8], character: char) {
    fill.push(bytes, character.encode_utf8(&mut [0; 4]).as_bytes());
}
