//! What a record counts for, and how a loss is counted: in the sums, and for the next client report.
//!
//! Free functions beside the methods: their callers hold a payload, which borrows the blocks.

use super::{Core, State};
use crate::config::Protocol;
use crate::destination::Destination;
use crate::item::{Category, CategorySet, Count, DropReason, Header};
use crate::ledger::{self, Loss};
use crate::queue::Chunks;
use crate::wire::envelope;

impl Core<'_> {
    pub(super) fn lose(
        &mut self,
        index: Option<usize>,
        reason: DropReason,
        category: Category,
        quantity: u64,
    ) {
        lose_many(
            self.state,
            self.destinations,
            self.losses,
            index,
            reason,
            category,
            quantity,
        );
    }

    /// True when counts are left of a mixed payload once `removed` is.
    pub(super) fn keeps_something(&self, header: &Header, chunks: Chunks<'_>, removed: CategorySet) -> bool {
        let mut kept = false;
        each_count(header, chunks, removed, &mut |count| kept |= count.quantity > 0);
        kept
    }

    pub(super) fn lose_removed(
        &mut self,
        index: usize,
        header: &Header,
        chunks: Chunks<'_>,
        removed: CategorySet,
        more: CategorySet,
    ) {
        each_difference(header, chunks, removed, more, &mut |count| {
            lose(
                self.state,
                self.destinations,
                self.losses,
                Some(index),
                DropReason::RatelimitBackoff,
                count,
            );
        });
    }
}

/// Calls `found` with every count of a payload, without the items that `removed` took out. A mixed payload's item
/// headers are read for it; others cost nothing.
#[inline(never)]
pub(super) fn each_count(
    header: &Header,
    chunks: Chunks<'_>,
    removed: CategorySet,
    found: &mut dyn FnMut(Count),
) {
    // A payload that is no envelope, whatever its header says, counts by that header.
    if header.is_mixed() && envelope::counts_of(chunks, removed, &mut *found).is_ok() {
        return;
    }
    found(header.count);
    if let Some(also) = header.also {
        found(also);
    }
}

/// Calls `found` with what a mixed payload loses when `more` is removed instead of `removed`.
pub(super) fn each_difference(
    header: &Header,
    chunks: Chunks<'_>,
    removed: CategorySet,
    more: CategorySet,
    found: &mut dyn FnMut(Count),
) {
    let mut difference = [0u32; Category::COUNT];
    each_count(header, chunks.clone(), removed, &mut |count| {
        if let Some(sum) = difference.get_mut(count.category.index()) {
            *sum = sum.wrapping_add(count.quantity);
        }
    });
    each_count(header, chunks, more, &mut |count| {
        if let Some(sum) = difference.get_mut(count.category.index()) {
            *sum = sum.wrapping_sub(count.quantity);
        }
    });
    for (category, quantity) in Category::ALL.iter().copied().zip(difference) {
        if quantity > 0 {
            found(Count { category, quantity });
        }
    }
}

/// Counts a loss and notes it for the next client report.
pub(super) fn lose(
    state: &mut State,
    destinations: &mut [Destination],
    losses: &mut [Loss],
    index: Option<usize>,
    reason: DropReason,
    count: Count,
) {
    lose_many(
        state,
        destinations,
        losses,
        index,
        reason,
        count.category,
        u64::from(count.quantity),
    );
}

pub(super) fn lose_many(
    state: &mut State,
    destinations: &mut [Destination],
    losses: &mut [Loss],
    index: Option<usize>,
    reason: DropReason,
    category: Category,
    quantity: u64,
) {
    if quantity == 0 {
        return;
    }
    state.totals.drop_many(category, reason, quantity);
    let Some(index) = index else { return };
    let Some(destination) = destinations.get_mut(index) else {
        return;
    };
    if destination.config.protocol == Protocol::Sentry && destination.config.client_reports {
        ledger::owe(losses, &mut state.totals, index as u8, category, reason, quantity);
        if destination.owes_since.is_none() && ledger::owes(losses, index as u8) {
            destination.owes_since = Some(state.now);
        }
    }
}
