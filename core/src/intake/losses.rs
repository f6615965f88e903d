//! What producers dropped before the engine saw it, counted per destination, reason and category.
//!
//! A dense table of counters: a refusal costs a handful of instructions and no count is ever approximate for want of
//! room. Each row (destination, reason) has a flag that says "something was counted since the last look", so that a
//! look at a quiet table costs one load per row.
//!
//! Why no count is left behind: a producer adds first (Relaxed) and then swaps the flag to true with Release. The taker
//! swaps it to false with Acquire. Swaps of one flag form one release sequence, so the taker's swap synchronises with
//! *every* producer whose swap came before it, not only with the last, and sees their additions; an addition whose swap
//! comes later raises the flag again. (With a plain store in place of the producers' swap only the last producer's
//! addition would be sure to be seen.)

use super::sync::{AtomicBool, AtomicUsize, Ordering, filled, step};
use crate::item::{Category, Count, DropReason, Header};
use crate::limits::INTAKE_GATES;

/// The model checker follows every atomic, so there the table shrinks and what is apart otherwise shares a counter.
const SIZE: (usize, usize, usize) = if cfg!(surgetank_loom) {
    (1, 2, 1)
} else {
    (INTAKE_GATES, DropReason::COUNT, Category::COUNT)
};

struct Row {
    changed: AtomicBool,
    quantities: [AtomicUsize; SIZE.2],
}

pub(super) struct Losses([[Row; SIZE.1]; SIZE.0]);

impl Losses {
    super::sync::const_fn! {
        pub(super) fn new() -> Self {
            Self(filled!(filled!(Row {
                changed: AtomicBool::new(false),
                quantities: filled!(AtomicUsize::new(0)),
            })))
        }
    }

    /// Counts both counts of `header` under `reason`.
    #[inline]
    pub(super) fn count_record(&self, header: &Header, reason: DropReason) {
        let gate = gate_index(header.destination.index());
        self.count(gate, header.count, reason);
        if let Some(also) = header.also {
            self.count(gate, also, reason);
        }
    }

    /// Counts `count` under `reason`. Nothing happens for a quantity of 0.
    #[inline]
    pub(super) fn count(&self, gate: usize, count: Count, reason: DropReason) {
        let rows = self.0.get(fold(gate, SIZE.0));
        let Some(row) = rows.and_then(|rows| rows.get(fold(reason.index(), SIZE.1))) else {
            return;
        };
        let Some(sum) = row.quantities.get(fold(count.category.index(), SIZE.2)) else {
            return;
        };
        let quantity = count.quantity as usize;
        let before = sum.fetch_add(quantity, Ordering::Relaxed);
        if usize::BITS < 64 && before.checked_add(quantity).is_none() {
            // A 32-bit counter stays at its end instead of starting again: 2^32 bytes lost between two looks.
            sum.store(usize::MAX, Ordering::Relaxed);
        }
        step!();
        // Release: pairs with the Acquire in `take`.
        row.changed.swap(true, Ordering::Release);
    }

    /// Moves every quantity counted so far out of the table. Up to `INTAKE_GATES * DropReason::COUNT` flags are read,
    /// and the 40 counters of each row whose flag is up.
    pub(super) fn take(&self, mut each: impl FnMut(usize, Category, DropReason, u64)) {
        for (gate, rows) in self.0.iter().enumerate() {
            for (row, reason) in rows.iter().zip(DropReason::ALL) {
                // Relaxed: only a hint; what matters is the swap.
                if !row.changed.load(Ordering::Relaxed) {
                    continue;
                }
                step!();
                // Acquire: pairs with the Release of every producer that raised the flag (module docs).
                row.changed.swap(false, Ordering::Acquire);
                for (sum, category) in row.quantities.iter().zip(Category::ALL) {
                    step!();
                    if sum.load(Ordering::Relaxed) == 0 {
                        continue;
                    }
                    let quantity = sum.swap(0, Ordering::Relaxed);
                    each(gate, category, reason, quantity as u64);
                }
            }
        }
    }
}

/// The index in a table of `size` entries: the same index, but under the model checker.
#[inline]
const fn fold(index: usize, size: usize) -> usize {
    if cfg!(surgetank_loom) { index % size } else { index }
}

/// The gate of destination `index`: its own for the first ones, the last one for all the others.
#[inline]
pub(super) const fn gate_index(index: usize) -> usize {
    if index < INTAKE_GATES - 1 {
        index
    } else {
        INTAKE_GATES - 1
    }
}
