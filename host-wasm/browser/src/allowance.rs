//! How much of a page's time recording may take.
//!
//! A page has one thread, and a task over 50 ms is felt by its user. One recording call is microseconds, but an
//! application that throws in a loop makes thousands of them in one task. So the time that recording takes is paid from
//! a small account: [`FULL`] at once, refilled by a tenth of the time that passes. Only what recording itself took
//! is taken from it; once it is empty, records are refused (and counted as `buffer_overflow`), which costs next to
//! nothing, until it fills again. No stretch of 50 ms can so hold more than 15 ms of recording.
//!
//! Errors may use all of it; what is less important leaves them [`KEPT_FOR_ERRORS`].

use surgetank_core::item::Priority;
use surgetank_core::time::{Duration, Instant};

/// Most time that recording may take without a pause.
pub const FULL: Duration = Duration::from_millis(10);

/// What only records of the most important lane may use.
pub const KEPT_FOR_ERRORS: Duration = Duration::from_millis(4);

/// The account refills by this fraction of the time that passes.
const REFILL: u64 = 10;

/// The account. Its owner says what time it is and what recording took.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    left: Duration,
    at: Instant,
}

impl Allowance {
    /// A full one.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { left: FULL, at: now }
    }

    /// True when a record of this priority may be encoded now. Constant time.
    pub fn permits(&mut self, now: Instant, priority: Priority) -> bool {
        let refill = now.since(self.at).div(REFILL);
        if !refill.is_zero() {
            self.left = self.left.saturating_add(refill).min(FULL);
            self.at = now;
        }
        match priority {
            Priority::Critical => !self.left.is_zero(),
            _ => self.left > KEPT_FOR_ERRORS,
        }
    }

    /// Takes what recording took.
    pub fn take(&mut self, spent: Duration) {
        self.left = self.left.saturating_sub(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_micros(1000 * millis)
    }

    #[test]
    fn a_loop_of_errors_gets_ten_milliseconds_and_then_a_tenth_of_what_passes() {
        let mut allowance = Allowance::new(at(0));
        let mut taken = 0;
        for _ in 0..1000 {
            if allowance.permits(at(0), Priority::Critical) {
                allowance.take(Duration::from_millis(1));
                taken += 1;
            }
        }
        assert_eq!(taken, 10);
        assert!(!allowance.permits(at(0), Priority::Critical));
        assert!(allowance.permits(at(10), Priority::Critical));
        allowance.take(Duration::from_millis(1));
        assert!(!allowance.permits(at(10), Priority::Critical));
    }

    #[test]
    fn bulk_leaves_something_for_errors() {
        let mut allowance = Allowance::new(at(0));
        allowance.take(FULL.saturating_sub(KEPT_FOR_ERRORS));
        assert!(!allowance.permits(at(0), Priority::Low));
        assert!(!allowance.permits(at(0), Priority::Medium));
        assert!(allowance.permits(at(0), Priority::Critical));
    }

    #[test]
    fn a_pause_fills_it_and_no_more() {
        let mut allowance = Allowance::new(at(0));
        allowance.take(Duration::from_secs(1));
        assert!(allowance.permits(at(1_000_000), Priority::Low));
        allowance.take(FULL);
        assert!(!allowance.permits(at(1_000_000), Priority::Critical));
    }

    #[test]
    fn often_asked_it_still_refills() {
        let mut allowance = Allowance::new(at(0));
        allowance.take(FULL);
        let permitted =
            (0..1_000).any(|micros| allowance.permits(Instant::from_micros(micros), Priority::Critical));
        assert!(permitted, "ten microseconds and more are refilled in steps");
    }
}
