//! How much of a page's time recording may take.
//!
//! A page has one thread, and a task over 50 ms is felt by its user. One recording call is microseconds, but an
//! application that throws in a loop makes thousands of them in one task. So the time that recording takes is paid from
//! a small account: [`FULL`] at once, refilled by a tenth of the time that passes. Only what recording itself took
//! is taken from it; once it is empty, records are refused (and counted as `buffer_overflow`), which costs next to
//! nothing, until it fills again. So 50 ms hold about 15 ms of recording, and less than 20 ms where a coarse clock favours
//! recording.
//!
//! Errors may use all of it; what is less important leaves them [`KEPT_FOR_ERRORS`].
//!
//! The clock does not know whether recording was at work or another program had the processor, and a first call costs what
//! the browser compiles for it. So time alone would drop what an ordinary page records on a busy machine or a slow phone, all
//! spans of its load at once among them. Beside it stands an account of [`SPARE`] records, refilled by one every
//! [`SPARE_REFILL`]: they are taken when the time is used up. Some milliseconds of work, on a slow phone up to 20. Of these,
//! too, the last [`SPARE_FOR_ERRORS`] are for errors.

use surgetank_core::item::Priority;
use surgetank_core::time::{Duration, Instant};

/// Most time that recording may take without a pause.
pub const FULL: Duration = Duration::from_millis(10);

/// What only records of the most important lane may use.
pub const KEPT_FOR_ERRORS: Duration = Duration::from_millis(4);

/// Most records that are taken in one go though the time is used up: as many as Sentry's own transport holds.
pub const SPARE: u32 = 64;

/// Of these, what only records of the most important lane may use.
pub const SPARE_FOR_ERRORS: u32 = 16;

/// How long it takes until there is one more.
pub const SPARE_REFILL: Duration = Duration::from_micros(62_500);

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
    /// Of [`SPARE`], as of `spare_at`.
    spare: u32,
    spare_at: Instant,
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
            spare: SPARE,
            spare_at: now,
        }
    }

    /// True when a record of this priority may be encoded now, which takes one of the spare ones when there is no time left.
    /// Constant time.
    pub fn permits(&mut self, now: Instant, priority: Priority) -> bool {
        let refill = now.since(self.at).div(REFILL).min(FULL.saturating_add(MOST_OWED));
        if !refill.is_zero() {
            self.left = self.left.saturating_add(micros(refill)).min(micros(FULL));
            self.at = now;
        }
        let (kept, spare_kept) = match priority {
            Priority::Critical => (0, 0),
            _ => (micros(KEPT_FOR_ERRORS), SPARE_FOR_ERRORS),
        };
        if self.left > kept {
            return true;
        }
        self.refill_spare(now);
        let permitted = self.spare > spare_kept;
        self.spare = self.spare.saturating_sub(u32::from(permitted));
        permitted
    }

    fn refill_spare(&mut self, now: Instant) {
        let more = now.since(self.spare_at).as_micros() / SPARE_REFILL.as_micros();
        let missing = u64::from(SPARE.saturating_sub(self.spare));
        if more >= missing {
            self.spare = SPARE;
            self.spare_at = now;
        } else {
            self.spare = self.spare.saturating_add(more as u32);
            // What has passed of the next one counts for it.
            let used = Duration::from_micros(more.saturating_mul(SPARE_REFILL.as_micros()));
            self.spare_at = self.spare_at.saturating_add(used);
        }
    }

    /// Takes what recording a record took.
    pub fn take(&mut self, spent: Duration) {
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

    /// One without spare records, and none that come back.
    fn begun(now: Instant) -> Allowance {
        Allowance {
            spare: 0,
            spare_at: at(u64::MAX / 1000),
            ..Allowance::new(now)
        }
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
        assert!(used <= 20_000, "{used} us in the time of a long task");
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
    fn a_machine_that_makes_records_wait_costs_an_ordinary_page_none() {
        // Each seems to take a second: a page's load on a machine that does something else.
        let mut allowance = Allowance::new(at(0));
        let taken = (0..1000).filter(|_| {
            let permitted = allowance.permits(at(0), Priority::Medium);
            if permitted {
                allowance.take(Duration::from_secs(1));
            }
            permitted
        });
        // The first one has time.
        assert_eq!(taken.count() as u32, 1 + SPARE - SPARE_FOR_ERRORS);
        for _ in 0..SPARE_FOR_ERRORS {
            assert!(
                allowance.permits(at(0), Priority::Critical),
                "some are left for errors"
            );
        }
        assert!(!allowance.permits(at(0), Priority::Critical), "and no more");
    }

    #[test]
    fn spare_records_come_back_one_by_one_and_never_more_than_there_may_be() {
        let overdrawn = |allowance: &mut Allowance| allowance.take(Duration::from_secs(1));
        let mut allowance = Allowance {
            spare: 0,
            ..Allowance::new(at(0))
        };
        overdrawn(&mut allowance);
        assert!(!allowance.permits(at(62), Priority::Critical));
        assert!(allowance.permits(at(63), Priority::Critical));
        assert!(!allowance.permits(at(64), Priority::Critical));
        assert!(
            !allowance.permits(at(124), Priority::Medium),
            "the last ones are for errors"
        );
        let hour = at(3_600_000);
        overdrawn(&mut allowance);
        // The first one has time again.
        let most = (0..1000).filter(|_| {
            let permitted = allowance.permits(hour, Priority::Critical);
            overdrawn(&mut allowance);
            permitted
        });
        assert_eq!(most.count() as u32, 1 + SPARE);
    }

    #[test]
    fn while_there_is_time_the_spare_records_are_untouched() {
        let mut allowance = Allowance::new(at(0));
        for _ in 0..1000 {
            assert!(allowance.permits(at(0), Priority::Lowest));
            allowance.take(Duration::from_micros(1));
        }
        assert_eq!(allowance.spare, SPARE);
    }
}
