//! The conservation check, three ways: the engine's sums, a walk through its tables ([`Books`]), and the servers' own
//! counts. And the other thing that holds in every world: what is limited is not sent.

use surgetank_core::item::Category;

use super::World;
use crate::books::Books;

impl World {
    /// Everything that must hold after a run.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<(), String> {
        Books::of(&self.engine).balance()?;
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
        let forbidden = self.servers.iter().find_map(|server| server.forbidden);
        if let Some((records, first)) = forbidden {
            return Err(format!(
                "{records} limited records were sent, the first at {first:?}"
            ));
        }
        let taken: u64 = self.servers.iter().map(|server| server.taken).sum();
        if acknowledged > taken {
            return Err(format!("{acknowledged} acknowledged, but servers took {taken}"));
        }
        Ok(())
    }
}
