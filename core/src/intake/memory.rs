//! The ring's bytes and the few unsafe operations on them.
//!
//! Whoever calls one of the unsafe methods owns the bytes it names: a producer owns what it has reserved until it
//! commits, the consumer owns what is committed until it releases it, and nobody reads or writes free space except for
//! the commit word in which the next record will be published, which is only ever touched atomically.

use super::sync::AtomicU32;
use crate::item::Header;
use crate::ring::ALIGN;
use core::cell::UnsafeCell;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::{ptr, slice};

/// Bytes of a record's header: it stands in the ring as it stands elsewhere in memory, so that writing and reading it is a
/// copy, and no byte of it has to be doubted.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// A header's place in the ring is a multiple of [`ALIGN`].
const _: () = assert!(align_of::<Header>() <= ALIGN && ALIGN <= align_of::<Word>());

/// Eight bytes of an intake's memory, zero until an intake uses them.
///
/// ```
/// use surgetank_core::intake::{Intake, Word};
/// static MEMORY: Intake<[Word; 512]> = Intake::fixed(); // 4 KiB
/// assert_eq!(MEMORY.capacity(), 4096);
/// ```
#[repr(C, align(8))]
pub struct Word(UnsafeCell<[u8; ALIGN]>);

// SAFETY: a `Word` has no safe access to its bytes. The intake that owns it touches them as this module's head says,
// which orders all plain accesses by the intake's atomics.
unsafe impl Sync for Word {}
// What a panic leaves behind is a slot that is discarded or a record that is read again; never broken bytes.
impl UnwindSafe for Word {}
impl RefUnwindSafe for Word {}

impl Word {
    /// Eight zero bytes.
    #[must_use]
    pub const fn zeroed() -> Self {
        Self(UnsafeCell::new([0; ALIGN]))
    }
}

/// All the words of one intake.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a>(&'a [Word]);

impl<'a> Memory<'a> {
    #[inline]
    pub(super) fn new(words: &'a [Word]) -> Self {
        Self(words)
    }

    /// Bytes; a power of two.
    #[inline]
    pub(super) const fn capacity(self) -> usize {
        self.0.len().wrapping_mul(ALIGN)
    }

    #[inline]
    fn at(self, offset: usize, bytes: usize) -> *mut u8 {
        debug_assert!(offset.saturating_add(bytes) <= self.capacity());
        // The pointer may be used for all words and for writing: it comes from the whole slice, and the bytes are in
        // cells.
        self.0.as_ptr().cast_mut().cast::<u8>().wrapping_add(offset)
    }

    /// The word at `offset` in which a record is published.
    ///
    /// # Safety
    /// `offset` is aligned and below the capacity. A record starts there, or the next record will; the returned
    /// reference is not kept until the bytes belong to someone else.
    #[inline]
    pub(super) unsafe fn commit_word(self, offset: usize) -> &'a AtomicU32 {
        // SAFETY: in bounds and aligned by the caller's word, alive for 'a, and at a record's start every access to
        // these four bytes is atomic, but for the consumer's zeroing of memory that it owns.
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Safety
    /// `offset + bytes.len()` is at most the capacity, and the caller owns these bytes of the ring.
    #[inline]
    pub(super) unsafe fn write(self, offset: usize, bytes: &[u8]) {
        // SAFETY: in bounds; the caller owns the destination, which no other reference can overlap: the source is
        // memory of the caller's caller.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(offset, bytes.len()), bytes.len()) }
    }

    /// The `N` bytes at `offset`.
    ///
    /// # Safety
    /// `offset + N` is at most the capacity, and the caller owns these bytes of the ring.
    #[inline]
    pub(super) unsafe fn read<const N: usize>(self, offset: usize) -> [u8; N] {
        // SAFETY: in bounds, initialised since the ring was made, and owned by the caller.
        unsafe { self.at(offset, N).cast::<[u8; N]>().read() }
    }

    /// Puts a header at `offset`.
    ///
    /// # Safety
    /// `offset` is aligned, `offset + HEADER_BYTES` is at most the capacity, and the caller owns these bytes of the ring.
    #[inline]
    pub(super) unsafe fn write_header(self, offset: usize, header: &Header) {
        // SAFETY: in bounds, aligned, and owned by the caller. A header is `Copy`: overwriting one drops nothing.
        unsafe { self.at(offset, HEADER_BYTES).cast::<Header>().write(*header) }
    }

    /// The header at `offset`.
    ///
    /// # Safety
    /// `offset` is aligned and below the capacity, the caller owns the record there, and its producer has put a header at
    /// `offset` since these bytes became its own.
    #[inline]
    pub(super) unsafe fn read_header(self, offset: usize) -> Header {
        // SAFETY: in bounds, aligned, owned by the caller, and a header by the caller's word.
        unsafe { self.at(offset, HEADER_BYTES).cast::<Header>().read() }
    }

    /// Lends the bytes at `offset` to `look`.
    ///
    /// # Safety
    /// `offset + len` is at most the capacity, and the caller owns these bytes of the ring until `look` returns.
    #[inline]
    pub(super) unsafe fn lend<R>(self, offset: usize, len: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: in bounds, initialised since the ring was made, owned by the caller and not written meanwhile.
        look(unsafe { slice::from_raw_parts(self.at(offset, len), len) })
    }

    /// The bytes at `offset`, to be changed in place.
    ///
    /// # Safety
    /// `offset + len` is at most the capacity, and the caller owns these bytes of the ring for as long as it keeps the
    /// reference, and holds no other.
    #[inline]
    pub(super) unsafe fn bytes_mut(self, offset: usize, len: usize) -> &'a mut [u8] {
        // SAFETY: in bounds, initialised since the ring was made, owned by the caller alone.
        unsafe { slice::from_raw_parts_mut(self.at(offset, len), len) }
    }

    /// Sets the bytes at `offset` to zero.
    ///
    /// # Safety
    /// `offset + len` is at most the capacity, and the caller owns these bytes of the ring.
    #[inline]
    pub(super) unsafe fn zero(self, offset: usize, len: usize) {
        // SAFETY: in bounds and owned by the caller.
        unsafe { self.at(offset, len).write_bytes(0, len) }
    }

    /// True when these bytes are all zero, for tests that no one else is using the ring during.
    #[cfg(test)]
    pub(super) fn is_zero(self, offset: usize, len: usize) -> bool {
        // SAFETY: in bounds by the slice taken, and single-threaded by this method's word.
        unsafe { self.lend(offset, len, |bytes| bytes.iter().all(|byte| *byte == 0)) }
    }
}
