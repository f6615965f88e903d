//! An output on the heap, for what is encoded once when a client is built.

use surgetank_core::wire::otlp::protobuf::{OPEN_PREFIX_BYTES, Out};

/// What `encode` writes.
pub(crate) fn collected(encode: impl FnOnce(&mut Collected)) -> Vec<u8> {
    let mut collected = Collected(Vec::new());
    encode(&mut collected);
    collected.0
}

/// Collects what is written, for what is encoded once when a client is built.
pub(crate) struct Collected(pub(crate) Vec<u8>);

impl Out for Collected {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    fn front<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
        self.raw(bytes.get(..count).unwrap_or_default());
    }

    fn framed(&mut self, before: &[u8], bytes: &[u8], after: &[u8]) {
        for piece in [before, bytes, after] {
            self.raw(piece);
        }
    }

    fn pair(&mut self, key_opening: [u8; 4], key: &[u8], value_opening: [u8; 4], value: &[u8]) {
        for piece in [&key_opening, key, &value_opening, value] {
            self.raw(piece);
        }
    }

    fn numbered(&mut self, key_opening: [u8; 4], key: &[u8], number: u128, count: usize) {
        self.framed(
            &key_opening,
            key,
            number.to_le_bytes().get(..count).unwrap_or_default(),
        );
    }

    fn position(&self) -> usize {
        self.0.len()
    }

    fn patch(&mut self, position: usize, bytes: [u8; OPEN_PREFIX_BYTES]) {
        let written = self.0.get_mut(position..).and_then(|rest| rest.first_chunk_mut());
        if let Some(target) = written {
            *target = bytes;
        }
    }

    fn fail(&mut self) {
        self.0.clear();
    }

    fn lift(&mut self) -> Self {
        Self(core::mem::take(&mut self.0))
    }
}
