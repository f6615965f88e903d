//! The cell in which a [`GateState`] goes from the worker to the producers.

use crate::gate::GateState;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::AtomicU64;
#[cfg(not(target_has_atomic = "64"))]
use portable_atomic::AtomicU32;
use portable_atomic::Ordering;

/// One destination's [`GateState`], published by the worker and read by every producer.
///
/// Nothing is ordered by it, so all accesses are Relaxed. Where the target has no 64-bit atomics the halves of the word
/// are stored one after the other; a reader between the two stores sees a mix of old and new facts, each of which is
/// true for one of the two moments (see the layout of [`GateState`]).
#[derive(Debug)]
pub struct Gate {
    #[cfg(target_has_atomic = "64")]
    bits: AtomicU64,
    #[cfg(not(target_has_atomic = "64"))]
    halves: [AtomicU32; 2],
}

impl Gate {
    /// An open gate.
    pub(super) const fn new() -> Self {
        Self {
            #[cfg(target_has_atomic = "64")]
            bits: AtomicU64::new(0),
            #[cfg(not(target_has_atomic = "64"))]
            halves: [AtomicU32::new(0), AtomicU32::new(0)],
        }
    }

    /// What was published last. One load.
    #[must_use]
    #[inline]
    pub fn load(&self) -> GateState {
        #[cfg(target_has_atomic = "64")]
        let bits = self.bits.load(Ordering::Relaxed);
        #[cfg(not(target_has_atomic = "64"))]
        let bits = {
            let [low, high] = &self.halves;
            u64::from(low.load(Ordering::Relaxed)) | u64::from(high.load(Ordering::Relaxed)) << 32
        };
        GateState::from_valid_bits(bits)
    }

    /// Publishes `state`. One store.
    #[inline]
    pub fn publish(&self, state: GateState) {
        #[cfg(target_has_atomic = "64")]
        self.bits.store(state.bits(), Ordering::Relaxed);
        #[cfg(not(target_has_atomic = "64"))]
        {
            let [low, high] = &self.halves;
            low.store(state.bits() as u32, Ordering::Relaxed);
            high.store((state.bits() >> 32) as u32, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Category, CategorySet, Priority};

    #[test]
    fn what_is_published_is_read_back_whole() {
        let gate = Gate::new();
        assert_eq!(gate.load(), GateState::OPEN);
        let state = GateState::OPEN
            .with_limited(CategorySet::of(Category::Internal).with(Category::Default))
            .with_factor(9)
            .with_pressure(Some(Priority::Low))
            .with_closed(true);
        gate.publish(state);
        assert_eq!(gate.load(), state);
    }
}
