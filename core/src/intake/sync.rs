//! Atomics of this module: `portable-atomic` in every build, loom's under its model checker.
//!
//! `step!()` marks every point between two accesses to shared memory. In unit tests an armed hook runs there, which is
//! how a whole push is nested at each of them (see `nesting.rs`); in every other build it is nothing.

#[cfg(surgetank_loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
#[cfg(not(surgetank_loom))]
pub(super) use portable_atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// A function that is `const` except under the model checker, whose atomics are made at run time.
macro_rules! const_fn {
    ($(#[$meta:meta])* $visibility:vis fn $($rest:tt)*) => {
        #[cfg(not(surgetank_loom))]
        $(#[$meta])* $visibility const fn $($rest)*
        #[cfg(surgetank_loom)]
        $(#[$meta])* $visibility fn $($rest)*
    };
}
pub(super) use const_fn;

/// An array of values that are not `Copy`, each made by the same constant expression.
macro_rules! filled {
    ($value:expr) => {{
        #[cfg(not(surgetank_loom))]
        let array = [const { $value }; _];
        #[cfg(surgetank_loom)]
        let array = core::array::from_fn(|_| $value);
        array
    }};
}
pub(super) use filled;

/// A point between two accesses to shared memory.
macro_rules! step {
    () => {
        #[cfg(all(test, not(surgetank_loom)))]
        crate::intake::nesting::step();
    };
}
pub(super) use step;

/// Keeps what different cores write on different cache lines (two of them: lines are fetched in pairs). Targets with
/// 32-bit pointers are mostly single core and short of memory, so they get none.
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
pub(super) struct Line<T>(pub(super) T);
