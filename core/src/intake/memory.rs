//! The ring's bytes and the few unsafe operations on them.
//!
//! Whoever calls one of the unsafe methods owns the bytes it names: a producer owns what it has reserved until it
//! commits, the consumer owns what is committed until it releases it, and nobody reads or writes free space except for
//! the commit word in which the next record will be published, which is only ever touched atomically.

use super::sync::AtomicU32;
use crate::item::Header;
use crate::ring::ALIGN;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::{ptr, slice};

/// Bytes of a record's header: it stands in the ring as it stands elsewhere in memory, so that writing and reading it is a
/// copy, and no byte of it has to be doubted.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// Bytes that [`Memory::write_short`] copies itself.
const SHORT: usize = 128;

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

/// All the words of one intake, as one pointer: how many they are is known from elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    /// Of the whole slice, for writing, too: the bytes are in cells.
    base: *mut u8,
    #[cfg(debug_assertions)]
    capacity: usize,
    words: PhantomData<&'a [Word]>,
}

// SAFETY: it stands for a shared reference to the words, which are `Sync`.
unsafe impl Send for Memory<'_> {}
// SAFETY: the same.
unsafe impl Sync for Memory<'_> {}
impl UnwindSafe for Memory<'_> {}
impl RefUnwindSafe for Memory<'_> {}

impl<'a> Memory<'a> {
    #[inline]
    pub(super) fn new(words: &'a [Word]) -> Self {
        Self {
            base: words.as_ptr().cast_mut().cast(),
            #[cfg(debug_assertions)]
            capacity: words.len().wrapping_mul(ALIGN),
            words: PhantomData,
        }
    }

    #[inline]
    fn at(self, offset: usize, bytes: usize) -> *mut u8 {
        #[cfg(debug_assertions)]
        assert!(offset.saturating_add(bytes) <= self.capacity);
        #[cfg(not(debug_assertions))]
        let _ = bytes;
        self.base.wrapping_add(offset)
    }

    /// Writes what it holds to a byte of every page of the first `bytes` bytes.
    ///
    /// # Safety
    /// `bytes` is at most the capacity, and nobody else uses the intake.
    pub(super) unsafe fn touch(self, bytes: usize) {
        /// The smallest pages that there are.
        const PAGE: usize = 4096;
        for offset in (0..bytes).step_by(PAGE) {
            let place = self.at(offset, 1);
            // SAFETY: in bounds and nobody else's by the caller's word.
            unsafe { place.write_volatile(place.read_volatile()) };
        }
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

    /// Copies `bytes` to `offset`, where they are mostly few: up to [`SHORT`] without a call.
    ///
    /// # Safety
    /// As for [`Memory::write`].
    #[inline(always)]
    pub(super) unsafe fn write_short(self, offset: usize, bytes: &[u8]) {
        let (from, len) = (bytes.as_ptr(), bytes.len());
        let to = self.at(offset, len);
        // A piece at the front and one that ends where the bytes end; between them they may overlap.
        // SAFETY: each piece lies within `bytes` by the length just asked for, and so within what the caller owns; the two
        // do not overlap, for the source is memory of the caller's caller.
        unsafe {
            let piece = |at: usize| {
                to.wrapping_add(at)
                    .cast::<[u8; 16]>()
                    .write(from.add(at).cast::<[u8; 16]>().read())
            };
            let short = |at: usize| {
                to.wrapping_add(at)
                    .cast::<[u8; 8]>()
                    .write(from.add(at).cast::<[u8; 8]>().read())
            };
            if len > SHORT {
                ptr::copy_nonoverlapping(from, to, len);
            } else if len > 64 {
                for at in [0, 16, 32, 48] {
                    piece(at);
                }
                for back in [64, 48, 32, 16] {
                    piece(len.wrapping_sub(back));
                }
            } else if len > 32 {
                for at in [0, 16, len.wrapping_sub(32), len.wrapping_sub(16)] {
                    piece(at);
                }
            } else if len >= 16 {
                piece(0);
                piece(len.wrapping_sub(16));
            } else if len >= 8 {
                short(0);
                short(len.wrapping_sub(8));
            } else {
                for at in 0..len {
                    to.wrapping_add(at).write(*from.add(at));
                }
            }
        }
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
