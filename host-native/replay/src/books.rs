//! An engine's books in plain values: the sums per category, the reasons, and what the tables really hold.
//!
//! Taken out of the engine so that the conservation check reads numbers, from wherever they came: an engine in this
//! process, or one behind an interface that carries numbers only.

use surgetank_core::engine::Engine;
use surgetank_core::item::Category;
use surgetank_core::ledger::{CategoryTotals, ReasonTotal};
use surgetank_core::storage::Storage;

/// The books at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Books {
    /// Categories in which anything was recorded or is held, in numeric order: their sums, and the quantity that was
    /// found by going through the tables.
    pub rows: Vec<(Category, CategoryTotals, u64)>,
    /// Dropped quantities, in order of first occurrence.
    pub reasons: Vec<ReasonTotal>,
    /// Dropped, but not in `reasons` for want of room.
    pub unlisted: u64,
    /// Lost, but not to be told upstream.
    pub unreported: u64,
}

impl Books {
    /// The books of `engine`. Work is proportional to the records it holds.
    #[must_use]
    pub fn of<S: Storage>(engine: &Engine<S>) -> Self {
        let totals = engine.totals();
        let rows = engine
            .held()
            .map(|(category, held)| (category, totals.of(category), held));
        Self {
            rows: rows
                .filter(|(_, sums, held)| *sums != CategoryTotals::default() || *held > 0)
                .collect(),
            reasons: totals.reasons().to_vec(),
            unlisted: totals.unlisted(),
            unreported: totals.unreported(),
        }
    }

    /// The sums of `category`; zeros where nothing is listed.
    #[must_use]
    pub fn sums(&self, category: Category) -> CategoryTotals {
        let row = self.rows.iter().find(|(listed, ..)| *listed == category);
        row.map_or(CategoryTotals::default(), |(_, sums, _)| *sums)
    }

    /// The conservation check: recorded = delivered + dropped (by reason) + held.
    ///
    /// # Errors
    /// The first category that does not add up.
    pub fn balance(&self) -> Result<(), String> {
        for (category, sums, held) in &self.rows {
            if sums.recorded != sums.delivered + sums.dropped + held {
                return Err(format!("{}: {sums:?} but {held} held", category.as_str()));
            }
            let reasons = self.reasons.iter().filter(|entry| entry.category == *category);
            let listed: u64 = reasons.map(|entry| entry.quantity).sum();
            if self.unlisted == 0 && listed != sums.dropped {
                return Err(format!(
                    "{}: {listed} dropped by reason, {sums:?}",
                    category.as_str()
                ));
            }
        }
        Ok(())
    }
}
