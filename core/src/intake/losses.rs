//! What producers dropped before the engine saw it, counted per destination, reason and category.
//!
//! A dense table of counters: a refusal costs one atomic addition, and no count is ever approximate for want of room. Each
//! row (destination, reason) has a flag that says "something was counted here", so that a look costs one load for each row
//! that was never used.
//!
//! Why no count is left behind: a flag is raised by the first count of its row and never lowered. Whoever counts adds, and
//! then sees the flag up or raises it; who looks later, with that call before its own, sees the flag up, too, because
//! nothing takes it down, and so finds the addition. All of it is Relaxed: each access concerns one variable alone.
//! (A flag that is lowered by each look needs a second read-modify-write in each count, or a count may find it up just
//! before the look lowers it, and be missed by that look and by every later one.)

use super::sync::{AtomicBool, AtomicUsize, Ordering, filled, step};
use crate::item::{Category, Count, DestinationId, DropReason, Header};
use crate::limits::INTAKE_GATES;

/// The model checker follows every atomic, so there the table shrinks and what is apart otherwise shares a counter.
const SIZE: (usize, usize, usize) = if cfg!(surgetank_loom) {
    (1, 2, 1)
} else {
    (INTAKE_GATES, DropReason::COUNT, Category::COUNT)
};

struct Row {
    used: AtomicBool,
    quantities: [AtomicUsize; SIZE.2],
}

pub(super) struct Losses([[Row; SIZE.1]; SIZE.0]);

impl Losses {
    super::sync::const_fn! {
        pub(super) fn new() -> Self {
            Self(filled!(filled!(Row {
                used: AtomicBool::new(false),
                quantities: filled!(AtomicUsize::new(0)),
            })))
        }
    }

    /// Counts both counts of `header` under `reason`.
    #[inline]
    pub(super) fn count_record(&self, header: &Header, reason: DropReason) {
        self.count_both(header.destination, header.count, header.also, reason);
    }

    /// The same for both counts by themselves.
    #[inline]
    pub(super) fn count_both(
        &self,
        destination: DestinationId,
        count: Count,
        also: Option<Count>,
        reason: DropReason,
    ) {
        let gate = gate_index(destination.index());
        self.count(gate, count, reason);
        if let Some(also) = also {
            self.count_also(gate, also, reason);
        }
    }

    /// Apart: most records have one count.
    #[cold]
    #[inline(never)]
    fn count_also(&self, gate: usize, also: Count, reason: DropReason) {
        self.count(gate, also, reason);
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
        if !row.used.load(Ordering::Relaxed) {
            step!();
            row.used.store(true, Ordering::Relaxed);
        }
    }

    /// Moves every quantity counted so far out of the table. Up to `INTAKE_GATES * DropReason::COUNT` flags are read,
    /// and the 40 counters of each row whose flag is up.
    pub(super) fn take(&self, mut each: impl FnMut(usize, Category, DropReason, u64)) {
        for (gate, rows) in self.0.iter().enumerate() {
            for (row, reason) in rows.iter().zip(DropReason::ALL) {
                if !row.used.load(Ordering::Relaxed) {
                    continue;
                }
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
