//! Moments of the SDK as numbers.
//!
//! `SystemTime` has one way to a number, `duration_since`, a call that compares, subtracts and wraps. Where it is made of
//! seconds and nanoseconds since 1970, as on Unix, it hashes these two, and a hasher that keeps what it gets is compiled to
//! two loads. That it is made so is no promise, so it is asked once, of a moment that is known.

use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// [`watch`] found that moments hash their seconds and nanoseconds.
static IN_TWO: AtomicBool = AtomicBool::new(false);

/// Finds out how a moment is made. Without it [`nanos`] gives the same and takes longer.
pub(super) fn watch() {
    IN_TWO.store(are_in_two(), Ordering::Relaxed);
}

fn are_in_two() -> bool {
    let (seconds, nanos) = (1_234_567_890, 123_456_789);
    let known = UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
    known.and_then(|known| Parts::of(known).in_two()) == Some((seconds, nanos))
}

/// Nanoseconds since 1970; 0 before it.
#[inline(always)]
pub(super) fn nanos(time: SystemTime) -> u64 {
    match Parts::of(time).in_two() {
        Some((seconds, nanos)) if IN_TWO.load(Ordering::Relaxed) => {
            // 64 bits last until 2554.
            seconds
                .wrapping_mul(NANOS_PER_SECOND)
                .wrapping_add(u64::from(nanos))
        }
        _ => measured(time),
    }
}

#[cold]
#[inline(never)]
fn measured(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// A hasher that keeps what it gets.
#[derive(Default)]
struct Parts {
    seconds: Option<i64>,
    nanos: Option<u32>,
    others: bool,
}

impl Parts {
    #[inline(always)]
    fn of(time: SystemTime) -> Self {
        let mut parts = Self::default();
        time.hash(&mut parts);
        parts
    }

    /// Seconds from 1970 on and nanoseconds, if it got these and nothing else.
    #[inline(always)]
    fn in_two(&self) -> Option<(u64, u32)> {
        let seconds = u64::try_from(self.seconds?).ok()?;
        let nanos = self.nanos.filter(|_| !self.others)?;
        Some((seconds, nanos))
    }
}

impl Hasher for Parts {
    #[inline(always)]
    fn write_i64(&mut self, value: i64) {
        self.others |= self.seconds.replace(value).is_some();
    }

    #[inline(always)]
    fn write_u32(&mut self, value: u32) {
        self.others |= self.nanos.replace(value).is_some();
    }

    #[inline(always)]
    fn write(&mut self, _: &[u8]) {
        self.others = true;
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(time: SystemTime) -> u64 {
        let long = measured(time);
        IN_TWO.store(false, Ordering::Relaxed);
        assert_eq!(nanos(time), long, "before anybody asked");
        watch();
        assert_eq!(nanos(time), long);
        long
    }

    #[test]
    fn a_moment_is_the_same_number_by_either_way() {
        let after = |seconds, nanos| UNIX_EPOCH + Duration::new(seconds, nanos);
        assert_eq!(both_ways(UNIX_EPOCH), 0);
        assert_eq!(both_ways(after(0, 999_999_999)), 999_999_999);
        assert_eq!(both_ways(after(1_800_000_000, 1)), 1_800_000_000_000_000_001);
        // What 64 bits do not hold is cut off.
        assert_eq!(
            both_ways(after(20_000_000_000, 0)),
            (20_000_000_000_000_000_000_u128 % (1 << 64)) as u64
        );
        assert_eq!(both_ways(UNIX_EPOCH - Duration::from_nanos(1)), 0);
        assert_eq!(both_ways(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(both_ways(UNIX_EPOCH - Duration::from_millis(1500)), 0);
    }

    #[cfg(unix)]
    #[test]
    fn moments_are_made_of_two_numbers_here() {
        assert!(are_in_two());
    }
}
