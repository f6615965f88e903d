//! A small seeded generator for jitter. Not for secrets.
//!
//! Every random decision of the engine comes from here, so the same seed and the same inputs give the same actions
//! on every target. SplitMix64: 64 bits of state, one multiply chain per number, no floats.

use crate::time::Duration;

/// SplitMix64 generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 for a bound of 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `base` spread evenly over ±`percent` %. Saturates; `percent` over 100 counts as 100.
    pub fn jitter(&mut self, base: Duration, percent: u8) -> Duration {
        let reach = base.div(100).saturating_mul(u64::from(percent.min(100)));
        let width = reach.saturating_mul(2).as_micros().saturating_add(1);
        base.saturating_sub(reach)
            .saturating_add(Duration::from_micros(self.below(width)))
    }
}

/// Scrambles 64 bits: the finalizer of SplitMix64, a bijection.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
