//! Opening a destination: whose place in the table a new server takes.

use super::Core;
use super::admit;
use crate::config::DestinationConfig;
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::item::DestinationId;
use crate::ledger;
use crate::limits::BLOCK_BYTES;
use crate::time::Instant;

/// No destination could be opened: every entry has records queued or in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoDestination;

impl core::fmt::Display for NoDestination {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("every destination has records queued or in flight; give the engine a larger table")
    }
}

impl core::error::Error for NoDestination {}

/// Why [`Engine::open_destination`](super::Engine::open_destination) failed. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// A setting is out of range.
    Config(ConfigError),
    /// No entry is idle.
    NoDestination(NoDestination),
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NoDestination(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}

impl Core<'_> {
    pub(super) fn open_destination(&mut self, config: DestinationConfig) -> Result<DestinationId, OpenError> {
        let now = self.state.now;
        let mut best: Option<(bool, Instant, usize)> = None;
        for (index, destination) in self.destinations.iter().enumerate() {
            if !destination.in_use {
                best = Some((false, Instant::ORIGIN, index));
                break;
            }
            if !destination.is_idle() {
                continue;
            }
            let key = (
                !destination.limits.limited_at(now).is_empty(),
                destination.last_used,
                index,
            );
            if best.is_none_or(|best| key < best) {
                best = Some(key);
            }
        }
        let (_, _, index) = best.ok_or(OpenError::NoDestination(NoDestination))?;
        let entry = self.destinations.get(index);
        let generation = entry.map_or(0, |entry| {
            entry.generation.wrapping_add(u32::from(entry.in_use)) & 0x00FF_FFFF
        });
        self.occupy(index, generation, config)
            .ok_or(OpenError::NoDestination(NoDestination))
    }

    /// Gives the entry at `index` to a server. `None` when the table is shorter.
    pub(super) fn occupy(
        &mut self,
        index: usize,
        generation: u32,
        config: DestinationConfig,
    ) -> Option<DestinationId> {
        let entry = self.destinations.get_mut(index)?;
        *entry = Destination::new(generation, true, config, self.state.now);
        entry.share_blocks = admit::permille(self.state.queue.capacity(), config.share_permille).max(1);
        // A request takes an eighth of the share at most, so that several fit and none holds everything.
        let eighth = entry.share_blocks.saturating_mul(BLOCK_BYTES as u32 / 8);
        entry.config.batch.max_bytes = entry.config.batch.max_bytes.min(eighth);
        ledger::forget(self.losses, &mut self.state.totals, index as u8);
        Some(self.id_of(index))
    }
}
