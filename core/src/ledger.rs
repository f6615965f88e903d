//! Counts per category and reason, and the losses that are still to be told upstream.
//!
//! One rule holds at every step, per category: recorded = delivered + dropped + queued (requests in flight count as
//! queued). `recorded`, `delivered` and `dropped` are exact 64-bit sums. The breakdown of `dropped` by reason is a
//! bounded table of [`limits::MAX_REASON_TOTALS`](crate::limits::MAX_REASON_TOTALS) pairs; what does not fit in it is
//! in `dropped` all the same, and in [`Totals::unlisted`].
//!
//! Losses to be reported (Sentry client reports) are kept apart, per destination, in memory that the host sizes. A
//! report takes its counts out; they are put back when the report is lost and forgotten when it was delivered
//! (client-report specification: counters are read and reset atomically, never lost with their envelope).

use crate::check::always;
use crate::item::{Category, Count, DropReason};
use crate::limits::{MAX_REASON_TOTALS, MAX_REPORT_ENTRIES};
use heapless::Vec;

/// The three sums of one category.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CategoryTotals {
    /// Everything ever offered, refused or not.
    pub recorded: u64,
    /// Accepted by the server.
    pub delivered: u64,
    /// Given up, for whatever reason.
    pub dropped: u64,
}

impl CategoryTotals {
    /// What must be waiting or in flight: recorded less delivered and dropped.
    #[must_use]
    pub const fn queued(&self) -> u64 {
        self.recorded
            .wrapping_sub(self.delivered)
            .wrapping_sub(self.dropped)
    }
}

/// Quantity dropped in one category for one reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReasonTotal {
    /// What was dropped.
    pub category: Category,
    /// Why.
    pub reason: DropReason,
    /// How much, in the category's unit.
    pub quantity: u64,
}

/// Largest sum that is taken over from elsewhere: there is room above it for all that is counted later.
const MAX_TAKEN_OVER: u64 = 1 << 60;

/// All sums since the engine was made.
#[derive(Clone, Debug)]
pub struct Totals {
    categories: [CategoryTotals; Category::COUNT],
    reasons: Vec<ReasonTotal, MAX_REASON_TOTALS>,
    unlisted: u64,
    unreported: u64,
}

impl Totals {
    pub(crate) const fn new() -> Self {
        Self {
            categories: [CategoryTotals {
                recorded: 0,
                delivered: 0,
                dropped: 0,
            }; Category::COUNT],
            reasons: Vec::new(),
            unlisted: 0,
            unreported: 0,
        }
    }

    /// The sums of one category.
    #[must_use]
    pub fn of(&self, category: Category) -> CategoryTotals {
        self.categories.get(category.index()).copied().unwrap_or_default()
    }

    /// Dropped quantity by category and reason, in order of first occurrence.
    #[must_use]
    pub fn reasons(&self) -> &[ReasonTotal] {
        &self.reasons
    }

    /// Quantity dropped in `category` for `reason`.
    #[must_use]
    pub fn dropped(&self, category: Category, reason: DropReason) -> u64 {
        self.reasons
            .iter()
            .find(|entry| entry.category == category && entry.reason == reason)
            .map_or(0, |entry| entry.quantity)
    }

    /// Quantity that is in `dropped` but found no room in the breakdown by reason.
    #[must_use]
    pub const fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Quantity whose loss could not be told upstream: no room in the table of losses, or its destination was given
    /// to another server.
    #[must_use]
    pub const fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Takes over the sums that another engine had of `category`; what no engine can have counted is cut down.
    pub(crate) fn set(&mut self, category: Category, sums: CategoryTotals) {
        if let Some(row) = self.categories.get_mut(category.index()) {
            *row = CategoryTotals {
                recorded: sums.recorded.min(MAX_TAKEN_OVER),
                delivered: sums.delivered.min(MAX_TAKEN_OVER),
                dropped: sums.dropped.min(MAX_TAKEN_OVER),
            };
        }
    }

    /// Sees to it that the sums have recorded `quantity` beside all that is delivered and dropped, whatever was taken over.
    pub(crate) fn cover(&mut self, category: Category, quantity: u64) {
        if let Some(row) = self.categories.get_mut(category.index()) {
            let settled = row.delivered.saturating_add(row.dropped);
            row.recorded = row.recorded.max(settled.saturating_add(quantity));
        }
    }

    /// Takes over what another engine dropped in one category for one reason; it is in its sums already.
    pub(crate) fn set_reason(&mut self, total: ReasonTotal) {
        let same =
            |entry: &&mut ReasonTotal| entry.category == total.category && entry.reason == total.reason;
        if let Some(entry) = self.reasons.iter_mut().find(same) {
            *entry = total;
        } else if self.reasons.push(total).is_err() {
            self.unlisted = self.unlisted.wrapping_add(total.quantity);
        }
    }

    /// Adds what another engine could not list, and could not report.
    pub(crate) fn add_unlisted(&mut self, unlisted: u64, unreported: u64) {
        self.unlisted = self.unlisted.wrapping_add(unlisted);
        self.unreported = self.unreported.wrapping_add(unreported);
    }

    #[inline]
    pub(crate) fn record(&mut self, count: Count) {
        self.record_many(count.category, u64::from(count.quantity));
    }

    #[inline]
    pub(crate) fn deliver(&mut self, count: Count) {
        self.deliver_many(count.category, u64::from(count.quantity));
    }

    #[inline]
    pub(crate) fn record_many(&mut self, category: Category, quantity: u64) {
        if let Some(row) = self.categories.get_mut(category.index()) {
            row.recorded = row.recorded.wrapping_add(quantity);
        }
    }

    #[inline]
    pub(crate) fn deliver_many(&mut self, category: Category, quantity: u64) {
        if let Some(row) = self.categories.get_mut(category.index()) {
            row.delivered = row.delivered.wrapping_add(quantity);
        }
    }

    pub(crate) fn drop_many(&mut self, category: Category, reason: DropReason, quantity: u64) {
        if quantity == 0 {
            return;
        }
        if let Some(row) = self.categories.get_mut(category.index()) {
            row.dropped = row.dropped.wrapping_add(quantity);
            always!(
                row.dropped.wrapping_add(row.delivered) <= row.recorded,
                "dropped more than was recorded"
            );
        }
        let entry = self
            .reasons
            .iter_mut()
            .find(|entry| entry.category == category && entry.reason == reason);
        match entry {
            Some(entry) => entry.quantity = entry.quantity.wrapping_add(quantity),
            None => {
                if self
                    .reasons
                    .push(ReasonTotal {
                        category,
                        reason,
                        quantity,
                    })
                    .is_err()
                {
                    self.unlisted = self.unlisted.wrapping_add(quantity);
                }
            }
        }
    }
}

/// One loss that is to be told upstream.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    destination: u8,
    category: Category,
    reason: DropReason,
    pending: u64,
    taken: u64,
}

impl Loss {
    /// A free entry.
    pub const EMPTY: Self = Self {
        destination: 0,
        category: Category::Default,
        reason: DropReason::QueueOverflow,
        pending: 0,
        taken: 0,
    };

    const fn is_free(&self) -> bool {
        self.pending == 0 && self.taken == 0
    }

    /// Category of the loss.
    pub(crate) const fn category(&self) -> Category {
        self.category
    }

    /// Reason of the loss.
    pub(crate) const fn reason(&self) -> DropReason {
        self.reason
    }

    /// Whom it is to be told.
    pub(crate) const fn destination(&self) -> u8 {
        self.destination
    }

    /// Quantity that is to be told, what the report in flight carries included.
    pub(crate) const fn owed(&self) -> u64 {
        self.pending.saturating_add(self.taken)
    }

    /// Quantity that the report in flight carries.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }
}

/// Adds a loss to be reported to `destination`. Bound: one walk over the table.
pub(crate) fn owe(
    losses: &mut [Loss],
    totals: &mut Totals,
    destination: u8,
    category: Category,
    reason: DropReason,
    quantity: u64,
) {
    // Reasons that share a word upstream share an entry.
    let Some(reason) = reason.reported_as() else {
        return;
    };
    if category == Category::Internal || quantity == 0 {
        return;
    }
    let mut free = None;
    for loss in losses.iter_mut() {
        if loss.is_free() {
            if free.is_none() {
                free = Some(loss);
            }
        } else if loss.destination == destination && loss.category == category && loss.reason == reason {
            loss.pending = loss.pending.saturating_add(quantity);
            return;
        }
    }
    match free {
        Some(loss) => {
            *loss = Loss {
                destination,
                category,
                reason,
                pending: quantity,
                taken: 0,
            }
        }
        None => totals.unreported = totals.unreported.wrapping_add(quantity),
    }
}

/// True when `destination` is owed a report.
pub(crate) fn owes(losses: &[Loss], destination: u8) -> bool {
    losses
        .iter()
        .any(|loss| loss.destination == destination && loss.pending > 0)
}

/// Moves what `destination` is owed into the report that is about to be sent: at most [`MAX_REPORT_ENTRIES`] entries.
/// Returns how many. Only one report is out per destination at a time.
pub(crate) fn take(losses: &mut [Loss], destination: u8) -> usize {
    let owed = losses
        .iter_mut()
        .filter(|loss| loss.destination == destination && loss.pending > 0);
    owed.take(MAX_REPORT_ENTRIES)
        .map(|loss| {
            loss.taken = loss.taken.saturating_add(loss.pending);
            loss.pending = 0;
        })
        .count()
}

/// The report of `destination` came back: delivered, or lost and to be told again.
pub(crate) fn settle(losses: &mut [Loss], destination: u8, delivered: bool) {
    for loss in losses
        .iter_mut()
        .filter(|loss| loss.destination == destination && loss.taken > 0)
    {
        if !delivered {
            loss.pending = loss.pending.saturating_add(loss.taken);
        }
        loss.taken = 0;
    }
}

/// What the report in flight to `destination` says.
pub(crate) fn taken(losses: &[Loss], destination: u8) -> impl Iterator<Item = &Loss> + Clone {
    losses
        .iter()
        .filter(move |loss| loss.destination == destination && loss.taken > 0)
}

/// Forgets what `destination` is owed: its entry goes to another server.
pub(crate) fn forget(losses: &mut [Loss], totals: &mut Totals, destination: u8) {
    for loss in losses.iter_mut().filter(|loss| loss.destination == destination) {
        totals.unreported = totals
            .unreported
            .wrapping_add(loss.pending)
            .wrapping_add(loss.taken);
        *loss = Loss::EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(losses: &[Loss], destination: u8) -> u64 {
        losses
            .iter()
            .filter(|loss| loss.destination == destination)
            .map(|loss| loss.pending)
            .sum()
    }

    #[test]
    fn a_report_takes_counts_out_and_a_lost_one_puts_them_back() {
        let (mut losses, mut totals) = ([Loss::EMPTY; 4], Totals::new());
        owe(
            &mut losses,
            &mut totals,
            1,
            Category::Error,
            DropReason::QueueOverflow,
            3,
        );
        owe(
            &mut losses,
            &mut totals,
            1,
            Category::Span,
            DropReason::NetworkError,
            5,
        );
        owe(
            &mut losses,
            &mut totals,
            2,
            Category::Error,
            DropReason::QueueOverflow,
            7,
        );
        assert_eq!(take(&mut losses, 1), 2);
        assert_eq!(taken(&losses, 1).map(Loss::taken).sum::<u64>(), 8);
        owe(
            &mut losses,
            &mut totals,
            1,
            Category::Error,
            DropReason::QueueOverflow,
            1,
        );
        settle(&mut losses, 1, false);
        assert_eq!((owed(&losses, 1), owed(&losses, 2)), (9, 7));
        take(&mut losses, 1);
        settle(&mut losses, 1, true);
        assert_eq!((owed(&losses, 1), owed(&losses, 2)), (0, 7));
    }

    #[test]
    fn a_loss_answered_with_429_is_never_owed() {
        let (mut losses, mut totals) = ([Loss::EMPTY; 1], Totals::new());
        owe(
            &mut losses,
            &mut totals,
            0,
            Category::Error,
            DropReason::ServerRateLimited,
            1,
        );
        assert!(!owes(&losses, 0));
    }

    #[test]
    fn reasons_without_an_upstream_word_share_the_entry_of_the_word_used() {
        let (mut losses, mut totals) = ([Loss::EMPTY; 1], Totals::new());
        owe(
            &mut losses,
            &mut totals,
            0,
            Category::Error,
            DropReason::TooLarge,
            1,
        );
        owe(
            &mut losses,
            &mut totals,
            0,
            Category::Error,
            DropReason::Invalid,
            1,
        );
        assert_eq!((owed(&losses, 0), totals.unreported()), (2, 0));
    }

    #[test]
    fn a_full_table_is_counted_not_hidden() {
        let (mut losses, mut totals) = ([Loss::EMPTY; 1], Totals::new());
        owe(
            &mut losses,
            &mut totals,
            0,
            Category::Error,
            DropReason::Invalid,
            1,
        );
        owe(
            &mut losses,
            &mut totals,
            0,
            Category::Span,
            DropReason::Invalid,
            2,
        );
        assert_eq!(totals.unreported(), 2);
        forget(&mut losses, &mut totals, 0);
        assert_eq!(totals.unreported(), 3);
    }

    #[test]
    fn the_breakdown_is_bounded_and_the_sum_stays_exact() {
        let mut totals = Totals::new();
        let mut sum = 0;
        for category in Category::ALL {
            for reason in DropReason::ALL {
                totals.record_many(category, 2);
                totals.drop_many(category, reason, 2);
                sum += 2;
            }
        }
        assert_eq!(totals.reasons().len(), MAX_REASON_TOTALS);
        let listed: u64 = totals.reasons().iter().map(|entry| entry.quantity).sum();
        assert_eq!(listed + totals.unlisted(), sum);
        assert!(
            Category::ALL
                .iter()
                .all(|category| totals.of(*category).queued() == 0)
        );
    }
}
