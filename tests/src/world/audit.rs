//! The conservation check, three ways: the engine's sums, a walk through its tables, and the servers' own counts.

use std::collections::BTreeMap;

use surgetank_core::engine::Engine;
use surgetank_core::item::Category;
use surgetank_core::storage::Storage;

use super::World;

/// recorded = delivered + dropped (by reason) + queued, where queued is what the tables really hold.
///
/// # Errors
/// The first category that does not add up.
pub fn balance<S: Storage>(engine: &Engine<S>) -> Result<(), String> {
    let held: BTreeMap<Category, u64> = engine.held().collect();
    for category in Category::ALL {
        let totals = engine.totals().of(category);
        let held = held.get(&category).copied().unwrap_or(0);
        if totals.recorded != totals.delivered + totals.dropped + held {
            return Err(format!("{}: {totals:?} but {held} held", category.as_str()));
        }
        let reasons = engine.totals().reasons().iter();
        let listed: u64 = reasons
            .filter(|entry| entry.category == category)
            .map(|entry| entry.quantity)
            .sum();
        if engine.totals().unlisted() == 0 && listed != totals.dropped {
            return Err(format!(
                "{}: {listed} dropped by reason, {totals:?}",
                category.as_str()
            ));
        }
    }
    Ok(())
}

impl World {
    /// Everything that must hold after a run.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<(), String> {
        balance(&self.engine)?;
        if self.engine.fill().used_blocks != 0 || self.engine.in_flight() != 0 {
            return Err(format!(
                "closed with {:?} and {} in flight",
                self.engine.fill(),
                self.engine.in_flight()
            ));
        }
        let primary = [
            Category::Error,
            Category::Transaction,
            Category::LogItem,
            Category::Session,
        ];
        let mut delivered: u64 = primary
            .iter()
            .map(|category| self.engine.totals().of(*category).delivered)
            .sum();
        // Spans of their own; those inside transactions are second counts.
        let transactions = self.engine.totals().of(Category::Transaction).delivered;
        delivered += self.engine.totals().of(Category::Span).delivered - transactions * 5;
        let acknowledged: u64 = self.servers.iter().map(|server| server.acknowledged).sum();
        let limited: u64 = self.servers.iter().map(|server| server.limited).sum();
        if delivered < acknowledged || delivered > acknowledged + limited {
            return Err(format!(
                "{delivered} delivered, but servers acknowledged {acknowledged}"
            ));
        }
        let taken: u64 = self.servers.iter().map(|server| server.taken).sum();
        if acknowledged > taken {
            return Err(format!("{acknowledged} acknowledged, but servers took {taken}"));
        }
        Ok(())
    }
}
