//! The ring's bytes under the model checker: the interface of `memory.rs` without its unsafe code.
//!
//! loom sees a data race only in its own cells, so each word keeps its commit word, its bytes and a marker apart.
//! The marker stands for the fact that in real memory the commit word is four of the bytes: using the commit word
//! reads the marker, zeroing writes it, and so zeroing that is not ordered with a use of the commit word is found.

use super::sync::{AtomicU32, Ordering};
use crate::item::Header;
use crate::record;
use crate::ring::ALIGN;
use core::ops::Range;
use loom::cell::UnsafeCell;
use std::vec::Vec;

/// Bytes of a record's header, which is encoded here, for it has to lie in the cells of several words.
pub(super) const HEADER_BYTES: usize = record::HEADER_BYTES;

/// Eight bytes of an intake's memory.
pub struct Word {
    commit: AtomicU32,
    marker: UnsafeCell<()>,
    bytes: UnsafeCell<[u8; ALIGN]>,
}

// SAFETY: loom checks every access to the cells.
unsafe impl Sync for Word {}

impl Word {
    /// Eight zero bytes.
    #[must_use]
    pub fn zeroed() -> Self {
        Self {
            commit: AtomicU32::new(0),
            marker: UnsafeCell::new(()),
            bytes: UnsafeCell::new([0; ALIGN]),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Memory<'a>(&'a [Word]);

impl<'a> Memory<'a> {
    pub(super) fn new(words: &'a [Word]) -> Self {
        Self(words)
    }

    /// Each word that `offset..offset + len` touches, with the part of it and the same part counted from `offset`.
    fn parts(
        self,
        offset: usize,
        len: usize,
    ) -> impl Iterator<Item = (&'a Word, Range<usize>, Range<usize>)> {
        let end = offset + len;
        (offset / ALIGN..end.div_ceil(ALIGN)).map(move |index| {
            let start = offset.max(index * ALIGN);
            let stop = end.min((index + 1) * ALIGN);
            let within = start - index * ALIGN..stop - index * ALIGN;
            (&self.0[index], within, start - offset..stop - offset)
        })
    }

    pub(super) unsafe fn commit_word(self, offset: usize) -> &'a AtomicU32 {
        let word = &self.0[offset / ALIGN];
        word.marker.with(|_| ());
        &word.commit
    }

    pub(super) unsafe fn write(self, offset: usize, bytes: &[u8]) {
        for (word, within, outer) in self.parts(offset, bytes.len()) {
            // SAFETY: loom checks that nobody else uses the cell.
            word.bytes
                .with_mut(|cell| unsafe { (&mut *cell)[within].copy_from_slice(&bytes[outer]) });
        }
    }

    pub(super) unsafe fn write_short(self, offset: usize, bytes: &[u8]) {
        // SAFETY: the same as here.
        unsafe { self.write(offset, bytes) }
    }

    fn copy_out(self, offset: usize, into: &mut [u8]) {
        for (word, within, outer) in self.parts(offset, into.len()) {
            // SAFETY: loom checks that nobody writes the cell.
            word.bytes
                .with(|cell| unsafe { into[outer].copy_from_slice(&(&*cell)[within]) });
        }
    }

    pub(super) unsafe fn read<const N: usize>(self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.copy_out(offset, &mut bytes);
        bytes
    }

    pub(super) unsafe fn write_header(self, offset: usize, header: &Header) {
        // SAFETY: the same as here.
        unsafe { self.write(offset, &record::encode(header)) }
    }

    pub(super) unsafe fn read_header(self, offset: usize) -> Header {
        // SAFETY: the same as here.
        let bytes = unsafe { self.read(offset) };
        record::decode(&bytes).expect("a record's header was overwritten in the ring")
    }

    pub(super) unsafe fn lend<R>(self, offset: usize, len: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = Vec::new();
        bytes.resize(len, 0);
        self.copy_out(offset, &mut bytes);
        look(&bytes)
    }

    pub(super) unsafe fn zero(self, offset: usize, len: usize) {
        for (word, within, _) in self.parts(offset, len) {
            if within.start == 0 {
                word.marker.with_mut(|_| ());
                word.commit.store(0, Ordering::Relaxed);
            }
            // SAFETY: loom checks that nobody else uses the cell.
            word.bytes
                .with_mut(|cell| unsafe { (&mut *cell)[within].fill(0) });
        }
    }
}
