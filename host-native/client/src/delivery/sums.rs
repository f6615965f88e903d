//! Sums over the life of a delivery, which may be longer than that of an engine.

use core::fmt;

use serde::Serialize;
use serde::ser::{SerializeSeq as _, SerializeStruct as _, Serializer};
use surgetank_core::item::{Category, DropReason};
use surgetank_core::ledger::{CategoryTotals, ReasonTotal, Totals};

/// What was recorded, delivered and dropped, per category and reason, since the delivery was made.
///
/// For every category, recorded = delivered + dropped + queued. Serializes with the protocol's names, without
/// categories in which nothing was recorded.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sums {
    categories: Vec<CategoryTotals>,
    reasons: Vec<ReasonTotal>,
    unlisted: u64,
    unreported: u64,
}

impl Sums {
    /// The sums of one category.
    #[must_use]
    pub fn of(&self, category: Category) -> CategoryTotals {
        self.categories.get(category.index()).copied().unwrap_or_default()
    }

    /// Dropped quantities by category and reason, in the order in which they first came up.
    #[must_use]
    pub fn reasons(&self) -> &[ReasonTotal] {
        &self.reasons
    }

    /// Quantity dropped in `category` for `reason`.
    #[must_use]
    pub fn dropped(&self, category: Category, reason: DropReason) -> u64 {
        self.reasons
            .iter()
            .filter(|total| total.category == category && total.reason == reason)
            .fold(0, |sum, total| sum.saturating_add(total.quantity))
    }

    /// Dropped quantity that found no room in the breakdown by reason.
    #[must_use]
    pub const fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Quantity whose loss could not be told upstream.
    #[must_use]
    pub const fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Every category in which something was recorded.
    pub fn categories(&self) -> impl Iterator<Item = (Category, CategoryTotals)> {
        Category::ALL
            .into_iter()
            .map(|category| (category, self.of(category)))
            .filter(|(_, totals)| *totals != CategoryTotals::default())
    }

    /// `base` and `totals` together, in place of what was here.
    pub(crate) fn set(&mut self, base: &Self, totals: &Totals) {
        self.categories.clear();
        self.categories.extend(Category::ALL.map(|category| {
            let (before, now) = (base.of(category), totals.of(category));
            CategoryTotals {
                recorded: before.recorded.saturating_add(now.recorded),
                delivered: before.delivered.saturating_add(now.delivered),
                dropped: before.dropped.saturating_add(now.dropped),
            }
        }));
        self.reasons.clear();
        self.reasons.extend_from_slice(&base.reasons);
        for total in totals.reasons() {
            self.add_reason(*total);
        }
        self.unlisted = base.unlisted.saturating_add(totals.unlisted());
        self.unreported = base.unreported.saturating_add(totals.unreported());
    }

    /// Forgets what is queued: its engine is gone, and its successor counts those records as recorded and dropped.
    pub(crate) fn forget_queued(&mut self) {
        for totals in &mut self.categories {
            totals.recorded = totals.delivered.saturating_add(totals.dropped);
        }
    }

    /// Counts something that was recorded and dropped at once.
    pub(crate) fn lose(&mut self, category: Category, reason: DropReason, quantity: u64) {
        self.categories.resize(Category::COUNT, CategoryTotals::default());
        if let Some(totals) = self.categories.get_mut(category.index()) {
            totals.recorded = totals.recorded.saturating_add(quantity);
            totals.dropped = totals.dropped.saturating_add(quantity);
        }
        self.add_reason(ReasonTotal {
            category,
            reason,
            quantity,
        });
    }

    fn add_reason(&mut self, total: ReasonTotal) {
        let known = self
            .reasons
            .iter_mut()
            .find(|known| known.category == total.category && known.reason == total.reason);
        match known {
            Some(known) => known.quantity = known.quantity.saturating_add(total.quantity),
            None => self.reasons.push(total),
        }
    }
}

impl fmt::Debug for Sums {
    /// Only categories in which something was recorded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sums")
            .field("categories", &self.categories().collect::<Vec<_>>())
            .field("reasons", &self.reasons)
            .field("unlisted", &self.unlisted)
            .field("unreported", &self.unreported)
            .finish()
    }
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sums = serializer.serialize_struct("Sums", 4)?;
        sums.serialize_field("categories", &Categories(self))?;
        sums.serialize_field("dropped", &Reasons(&self.reasons))?;
        sums.serialize_field("unlisted", &self.unlisted)?;
        sums.serialize_field("unreported", &self.unreported)?;
        sums.end()
    }
}

#[derive(Serialize)]
struct CategoryLine {
    category: &'static str,
    recorded: u64,
    delivered: u64,
    dropped: u64,
    queued: u64,
}

struct Categories<'a>(&'a Sums);

impl Serialize for Categories<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.categories().map(|(category, totals)| CategoryLine {
            category: category.as_str(),
            recorded: totals.recorded,
            delivered: totals.delivered,
            dropped: totals.dropped,
            queued: totals.queued(),
        }))
    }
}

#[derive(Serialize)]
struct ReasonLine {
    category: &'static str,
    reason: &'static str,
    quantity: u64,
}

struct Reasons<'a>(&'a [ReasonTotal]);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lines = serializer.serialize_seq(Some(self.0.len()))?;
        for total in self.0 {
            lines.serialize_element(&ReasonLine {
                category: total.category.as_str(),
                reason: total.reason.as_str(),
                quantity: total.quantity,
            })?;
        }
        lines.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_shows_by_category_and_reason() {
        let mut sums = Sums::default();
        sums.lose(Category::Error, DropReason::Closed, 2);
        sums.lose(Category::Error, DropReason::Closed, 1);
        sums.lose(Category::LogItem, DropReason::Reentrant, 1);
        assert_eq!(sums.of(Category::Error).recorded, 3);
        assert_eq!(sums.of(Category::Error).queued(), 0);
        assert_eq!(sums.dropped(Category::Error, DropReason::Closed), 3);
        let json = serde_json::to_value(&sums).unwrap();
        assert_eq!(
            json["categories"][0],
            serde_json::json!({"category": "error", "recorded": 3, "delivered": 0, "dropped": 3, "queued": 0})
        );
        assert_eq!(
            json["dropped"][1],
            serde_json::json!({"category": "log_item", "reason": "reentrant", "quantity": 1})
        );
    }

    #[test]
    fn a_lost_queue_leaves_the_sums_consistent() {
        let mut base = Sums::default();
        base.lose(Category::Error, DropReason::Closed, 1);
        base.categories[Category::Error.index()].recorded = 5;
        assert_eq!(base.of(Category::Error).queued(), 4);
        base.forget_queued();
        base.lose(Category::Error, DropReason::InternalSdkError, 4);
        let totals = base.of(Category::Error);
        assert_eq!((totals.recorded, totals.dropped, totals.queued()), (5, 5, 0));
    }
}
