//! Numbers of a message, one after another: written into a fixed place, read from a frame's content.

/// The fixed part of a message, put together on the stack.
pub(super) struct Head {
    bytes: [u8; HEAD_BYTES],
    length: usize,
}

/// Bytes of the longest fixed part: a welcome's.
const HEAD_BYTES: usize = 24;

impl Head {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; HEAD_BYTES],
            length: 0,
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What is left to be read of a frame's content.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next so many bytes.
    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}
