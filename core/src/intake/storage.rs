//! Where an intake's memory comes from: a static, an array, or the heap once.

use super::memory::Word;
use crate::limits::{MAX_INTAKE_BYTES, MIN_INTAKE_BYTES};
use crate::ring::ALIGN;
use core::fmt;

mod sealed {
    #[expect(unnameable_types, reason = "that is how it seals")]
    pub trait Sealed {}
}

/// Memory that an [`Intake`](super::Intake) can own: `[Word; N]`, `&'static mut [Word]` and, with the feature `alloc`,
/// `Box<[Word]>`. Sealed: the intake's safety rests on nobody else reaching the words.
///
/// Every word is zero when it is handed over, because nothing but an intake can change one and an intake never gives
/// its memory back; that is why a borrowed slice has to be `'static`.
pub trait SharedStorage: sealed::Sealed {
    #[doc(hidden)]
    fn words(&self) -> &[Word];
}

impl<const N: usize> sealed::Sealed for [Word; N] {}
impl<const N: usize> SharedStorage for [Word; N] {
    #[inline]
    fn words(&self) -> &[Word] {
        self
    }
}

impl sealed::Sealed for &'static mut [Word] {}
impl SharedStorage for &'static mut [Word] {
    #[inline]
    fn words(&self) -> &[Word] {
        self
    }
}

#[cfg(any(feature = "alloc", test))]
impl sealed::Sealed for alloc::boxed::Box<[Word]> {}
#[cfg(any(feature = "alloc", test))]
impl SharedStorage for alloc::boxed::Box<[Word]> {
    #[inline]
    fn words(&self) -> &[Word] {
        self
    }
}

/// Why an intake of this capacity cannot be made.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CapacityError {
    /// Under [`MIN_INTAKE_BYTES`].
    TooSmall,
    /// Over [`MAX_INTAKE_BYTES`].
    TooLarge,
    /// Not a power of two.
    NotAPowerOfTwo,
    /// The allocator has no such block.
    OutOfMemory,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => write!(
                f,
                "intake memory is too small; give at least {MIN_INTAKE_BYTES} bytes"
            ),
            Self::TooLarge => write!(
                f,
                "intake memory is too large; give at most {MAX_INTAKE_BYTES} bytes"
            ),
            Self::NotAPowerOfTwo => {
                f.write_str("intake memory must be a power of two in bytes, such as 1048576")
            }
            Self::OutOfMemory => {
                f.write_str("the allocator could not give the intake its memory; ask for less")
            }
        }
    }
}

impl core::error::Error for CapacityError {}

/// Checks the capacity of this many words.
pub(super) const fn check(words: usize) -> Result<(), CapacityError> {
    if words < MIN_INTAKE_BYTES / ALIGN {
        Err(CapacityError::TooSmall)
    } else if words > MAX_INTAKE_BYTES / ALIGN {
        Err(CapacityError::TooLarge)
    } else if !words.is_power_of_two() {
        Err(CapacityError::NotAPowerOfTwo)
    } else {
        Ok(())
    }
}

/// `words` zeroed words from the allocator, whose pages the system may map only when they are first used.
#[cfg(all(any(feature = "alloc", test), not(surgetank_loom)))]
pub(super) fn allocate(words: usize) -> Result<alloc::boxed::Box<[Word]>, CapacityError> {
    use alloc::alloc::alloc_zeroed;
    use alloc::boxed::Box;
    use core::alloc::Layout;

    check(words)?;
    let layout = Layout::array::<Word>(words).map_err(|_| CapacityError::TooLarge)?;
    // SAFETY: the layout is not empty, by the check.
    let base = unsafe { alloc_zeroed(layout) };
    if base.is_null() {
        return Err(CapacityError::OutOfMemory);
    }
    // SAFETY: the block was just allocated with the layout of this slice, nobody else knows it, and zero bytes are
    // zeroed words.
    Ok(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(base.cast::<Word>(), words)) })
}

#[cfg(all(any(feature = "alloc", test), surgetank_loom))]
pub(super) fn allocate(words: usize) -> Result<alloc::boxed::Box<[Word]>, CapacityError> {
    check(words)?;
    Ok((0..words).map(|_| Word::zeroed()).collect())
}
