//! How much of a page's time recording may take.
//!
//! A page has one thread, and a task over 50 ms is felt by its user. One recording call is microseconds, but an
//! application that throws in a loop makes thousands of them in one task. So the time that recording takes is paid from
//! a small account: [`FULL`] at once, refilled by a tenth of the time that passes. Only what recording itself took
//! is taken from it; once it is empty, records are refused (and counted as `buffer_overflow`), which costs next to
//! nothing, until it fills again. So 50 ms hold about 15 ms of recording, and less than 18 ms where a coarse clock favours
//! recording.
//!
//! Errors may use all of it; what is less important leaves them [`KEPT_FOR_ERRORS`].
//!
//! The clock does not know whether recording was at work or another program had the processor. So that one long wait, or a
//! first call that the browser still had to compile, costs nobody a record, the first [`ALWAYS`] records of each second
//! are taken whatever the account says.

use surgetank_core::item::Priority;
use surgetank_core::time::{Duration, Instant};

/// Most time that recording may take without a pause.
pub const FULL: Duration = Duration::from_millis(10);

/// What only records of the most important lane may use.
pub const KEPT_FOR_ERRORS: Duration = Duration::from_millis(4);

/// Records of each second that are taken in any case: a few hundred microseconds of work, on a slow phone some milliseconds.
pub const ALWAYS: u32 = 16;

/// The account refills by this fraction of the time that passes.
const REFILL: u64 = 10;

/// Most that the account can owe, so that a single record that took long holds up those after it for a tenth of a second.
const MOST_OWED: Duration = FULL;

/// The account. Its owner says what time it is and what recording took.
///
/// It can be overdrawn: browsers round their clocks to 100 us and more, so that most records seem to take nothing and a few
/// seem to take ten times what they did. Only the sum is right, and so nothing of it may be forgiven.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// In microseconds; negative when overdrawn.
    left: i64,
    at: Instant,
    /// Of [`ALWAYS`], since `second`.
    always: u32,
    second: Instant,
}

const fn micros(span: Duration) -> i64 {
    span.as_micros().cast_signed()
}

impl Allowance {
    /// A full one.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            left: micros(FULL),
            at: now,
            always: ALWAYS,
            second: now,
        }
    }

    /// True when a record of this priority may be encoded now. Constant time.
    pub fn permits(&mut self, now: Instant, priority: Priority) -> bool {
        let refill = now.since(self.at).div(REFILL).min(FULL.saturating_add(MOST_OWED));
        if !refill.is_zero() {
            self.left = self.left.saturating_add(micros(refill)).min(micros(FULL));
            self.at = now;
        }
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.always = ALWAYS;
        }
        if self.always > 0 {
            return true;
        }
        match priority {
            Priority::Critical => self.left > 0,
            _ => self.left > micros(KEPT_FOR_ERRORS),
        }
    }

    /// Takes what recording a record took.
    pub fn take(&mut self, spent: Duration) {
        self.always = self.always.saturating_sub(1);
        let spent = micros(spent.min(FULL.saturating_add(MOST_OWED)));
        self.left = self.left.saturating_sub(spent).max(-micros(MOST_OWED));
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_micros(1000 * millis)
    }

    /// One from which the records of this second were taken.
    fn begun(now: Instant) -> Allowance {
        let mut allowance = Allowance::new(now);
        for _ in 0..ALWAYS {
            allowance.take(Duration::ZERO);
        }
        allowance
    }

    /// Records for `millis` without a pause, 30 us each, by a clock that shows multiples of `tick` us; gives what was
    /// permitted, in microseconds.
    fn permitted_micros(millis: u64, tick: u64) -> u64 {
        let shown = |micros: u64| Instant::from_micros(micros / tick * tick);
        let (mut allowance, mut real, mut used) = (Allowance::new(at(0)), 0, 0);
        while real < 1000 * millis {
            let began = shown(real);
            if allowance.permits(began, Priority::Critical) {
                real += 30;
                used += 30;
                allowance.take(shown(real).since(began));
            } else {
                real += 1;
            }
        }
        used
    }

    #[test]
    fn a_loop_gets_ten_milliseconds_and_then_a_tenth_of_what_passes_whatever_the_clock() {
        for tick in [1, 5, 100, 1000] {
            let used = permitted_micros(1000, tick);
            assert!(
                (90_000..=140_000).contains(&used),
                "{used} us of a second at ticks of {tick} us"
            );
        }
        let used = permitted_micros(50, 100);
        assert!(used <= 18_000, "{used} us in the time of a long task");
    }

    #[test]
    fn bulk_leaves_something_for_errors() {
        let mut allowance = begun(at(0));
        allowance.take(FULL.saturating_sub(KEPT_FOR_ERRORS));
        assert!(!allowance.permits(at(0), Priority::Low));
        assert!(!allowance.permits(at(0), Priority::Medium));
        assert!(allowance.permits(at(0), Priority::Critical));
    }

    #[test]
    fn a_pause_fills_it_and_no_more() {
        let mut allowance = begun(at(0));
        allowance.take(Duration::from_secs(1));
        assert!(!allowance.permits(at(99), Priority::Critical), "overdrawn");
        assert!(allowance.permits(at(101), Priority::Critical));
        let mut allowance = begun(at(1_000_000));
        assert!(allowance.permits(at(1_000_500), Priority::Low));
        allowance.take(FULL);
        assert!(!allowance.permits(at(1_000_500), Priority::Critical));
    }

    #[test]
    fn often_asked_it_still_refills() {
        let mut allowance = begun(at(0));
        allowance.take(FULL);
        let permitted =
            (0..1_000).any(|micros| allowance.permits(Instant::from_micros(micros), Priority::Critical));
        assert!(permitted, "ten microseconds and more are refilled in steps");
    }

    #[test]
    fn one_that_took_long_costs_the_next_few_nothing_in_any_second() {
        let mut allowance = Allowance::new(at(0));
        for second in 0..3 {
            for _ in 0..ALWAYS {
                assert!(allowance.permits(at(1000 * second), Priority::Lowest));
                allowance.take(Duration::from_secs(1));
            }
            assert!(!allowance.permits(at(1000 * second), Priority::Critical));
        }
    }
}
