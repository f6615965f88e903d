//! What producers may know: everything that lets them refuse a record before they spend anything on encoding it.
//!
//! The engine boils its decisions down to one word per destination, the host publishes the word after each poll, and
//! producers read it with one load. The word may be stale by one drain; that is harmless because the engine decides
//! again when the record arrives, and the gate only ever refuses what the engine would have dropped at the time.
//!
//! | bits | |
//! |---|---|
//! | 0..40 | categories under a rate limit, bit *n* for category *n* |
//! | 40..44 | downsample factor, 0..=10 |
//! | 44..47 | how many lanes are refused, counted from the least important |
//! | 47 | closed |
//! | 48 | circuit breaker open |
//!
//! Each field lies within one half of the word, so a target that can only store 32 bits at a time may publish the
//! halves one after the other: readers then see some facts old and some new, never a broken one.

use crate::item::{Category, CategorySet, DropReason, Priority, TraceKey};
use crate::limits::MAX_DOWNSAMPLE_FACTOR;
use crate::sampling;

const FACTOR_SHIFT: u32 = Category::COUNT as u32;
const FACTOR_MASK: u64 = 0xF << FACTOR_SHIFT;
const LANES_SHIFT: u32 = 44;
const LANES_MASK: u64 = 0x7 << LANES_SHIFT;
const CLOSED: u64 = 1 << 47;
const BREAKER_OPEN: u64 = 1 << 48;
const _: () = assert!(
    CategorySet::ALL.bits() & (FACTOR_MASK | LANES_MASK | CLOSED | BREAKER_OPEN) == 0
        && FACTOR_MASK & LANES_MASK == 0
        && MAX_DOWNSAMPLE_FACTOR <= 0xF
);

/// One destination's state as producers see it. A plain value; the default lets everything pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct GateState(u64);

impl GateState {
    /// Everything passes.
    pub const OPEN: Self = Self(0);

    /// The state of these bits. Unknown bits are cleared, a factor or a number of lanes out of range is brought into
    /// it, so any 64 bits are safe to hand in.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        let lanes = (bits & LANES_MASK) >> LANES_SHIFT;
        let lanes = if lanes > Priority::COUNT as u64 {
            Priority::COUNT as u64
        } else {
            lanes
        };
        let kept = bits & (CategorySet::ALL.bits() | CLOSED | BREAKER_OPEN);
        Self(kept | lanes << LANES_SHIFT).with_factor(((bits & FACTOR_MASK) >> FACTOR_SHIFT) as u8)
    }

    /// The state of bits that came from [`GateState::bits`], or from the halves of two of them.
    pub(crate) const fn from_valid_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The whole word, laid out as in the module's table.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The same with exactly these categories under a rate limit.
    ///
    /// A record is judged by its own category, so an engine that knows that a limit on one category stops another
    /// (a limit on log bytes stops logs) names both.
    #[must_use]
    pub const fn with_limited(self, categories: CategorySet) -> Self {
        Self((self.0 & !CategorySet::ALL.bits()) | categories.bits())
    }

    /// The same with this downsample factor; over [`MAX_DOWNSAMPLE_FACTOR`] counts as that.
    #[must_use]
    pub const fn with_factor(self, factor: u8) -> Self {
        let factor = if factor > MAX_DOWNSAMPLE_FACTOR {
            MAX_DOWNSAMPLE_FACTOR
        } else {
            factor
        };
        Self((self.0 & !FACTOR_MASK) | (factor as u64) << FACTOR_SHIFT)
    }

    /// The same with lane `from` and every less important one refused; `None` refuses none.
    #[must_use]
    pub const fn with_pressure(self, from: Option<Priority>) -> Self {
        let lanes = match from {
            Some(from) => (Priority::COUNT - from.index()) as u64,
            None => 0,
        };
        Self((self.0 & !LANES_MASK) | lanes << LANES_SHIFT)
    }

    /// The same, closed or not. A closed gate refuses everything.
    #[must_use]
    pub const fn with_closed(self, closed: bool) -> Self {
        self.with_flag(CLOSED, closed)
    }

    /// The same with the circuit breaker shown open or not. Information only: records still queue while it is open.
    #[must_use]
    pub const fn with_breaker_open(self, open: bool) -> Self {
        self.with_flag(BREAKER_OPEN, open)
    }

    const fn with_flag(self, flag: u64, set: bool) -> Self {
        Self(if set { self.0 | flag } else { self.0 & !flag })
    }

    /// Categories under a rate limit.
    #[must_use]
    pub const fn limited(self) -> CategorySet {
        CategorySet::from_bits(self.0)
    }

    /// The downsample factor, 0..=[`MAX_DOWNSAMPLE_FACTOR`]: *n* keeps one trace in 2^*n*.
    #[must_use]
    pub const fn factor(self) -> u8 {
        ((self.0 & FACTOR_MASK) >> FACTOR_SHIFT) as u8
    }

    /// The most important lane that is refused.
    #[must_use]
    pub fn pressure(self) -> Option<Priority> {
        Priority::from_index((Priority::COUNT as u8).saturating_sub(self.refused_lanes()))
    }

    /// True when everything is refused because the client was closed.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// True while the circuit breaker is open.
    #[must_use]
    pub const fn is_breaker_open(self) -> bool {
        self.0 & BREAKER_OPEN != 0
    }

    const fn refused_lanes(self) -> u8 {
        ((self.0 & LANES_MASK) >> LANES_SHIFT) as u8
    }

    /// Whether a record with these categories in this lane may enter, and if not, why.
    ///
    /// Refused under a rate limit only when *every* category is limited: of a mixed envelope the limited items are
    /// dropped alone, and the engine does that. For a record that is not mixed, pass its own category alone (not the
    /// one it also counts in). Three comparisons.
    ///
    /// # Errors
    /// [`DropReason::Closed`], [`DropReason::RatelimitBackoff`] or, under pressure, [`DropReason::QueueOverflow`].
    pub const fn admits(self, categories: CategorySet, priority: Priority) -> Result<(), DropReason> {
        if self.is_closed() {
            return Err(DropReason::Closed);
        }
        let limited = self.limited();
        if limited.intersects(categories) && categories.without(limited).is_empty() {
            return Err(DropReason::RatelimitBackoff);
        }
        if priority as u8 + self.refused_lanes() >= Priority::COUNT as u8 {
            return Err(DropReason::QueueOverflow);
        }
        Ok(())
    }

    /// The rejection threshold of roots at the present downsample factor, on top of a rate whose threshold is `rate`; see
    /// [`sampling::lowered`].
    #[must_use]
    pub const fn threshold(self, rate: u64) -> u64 {
        sampling::lowered(rate, self.factor())
    }

    /// True when a root of this trace is kept at the present downsample factor; see [`sampling::keeps`].
    #[must_use]
    pub const fn keeps_trace(self, trace: TraceKey) -> bool {
        sampling::keeps(trace, self.factor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn fields_do_not_touch_each_other() {
        let state = GateState::OPEN
            .with_limited(CategorySet::ALL)
            .with_factor(10)
            .with_pressure(Some(Priority::Critical))
            .with_closed(true)
            .with_breaker_open(true);
        assert_eq!(state.limited(), CategorySet::ALL);
        assert_eq!(state.factor(), 10);
        assert_eq!(state.pressure(), Some(Priority::Critical));
        assert!(state.is_closed() && state.is_breaker_open());

        let state = state.with_factor(3);
        assert_eq!(
            (state.limited(), state.factor(), state.pressure()),
            (CategorySet::ALL, 3, Some(Priority::Critical))
        );
        let state = state.with_limited(CategorySet::EMPTY).with_pressure(None);
        assert_eq!(
            (state.limited(), state.factor(), state.pressure()),
            (CategorySet::EMPTY, 3, None)
        );
        let state = state.with_closed(false).with_breaker_open(false).with_factor(0);
        assert_eq!(state, GateState::OPEN);
    }

    #[test]
    fn any_bits_give_a_valid_state_that_survives_the_round_trip() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            let state = GateState::from_bits(rng.next_u64());
            assert!(state.factor() <= MAX_DOWNSAMPLE_FACTOR);
            assert_eq!(GateState::from_bits(state.bits()), state);
        }
        assert_eq!(
            GateState::from_bits(u64::MAX),
            GateState::OPEN
                .with_limited(CategorySet::ALL)
                .with_factor(MAX_DOWNSAMPLE_FACTOR)
                .with_pressure(Some(Priority::Critical))
                .with_closed(true)
                .with_breaker_open(true)
        );
    }

    #[test]
    fn each_lane_at_or_below_the_pressure_is_refused() {
        for from in Priority::ALL {
            let state = GateState::OPEN.with_pressure(Some(from));
            assert_eq!(state.pressure(), Some(from));
            for priority in Priority::ALL {
                let expected = if priority >= from {
                    Err(DropReason::QueueOverflow)
                } else {
                    Ok(())
                };
                assert_eq!(state.admits(CategorySet::of(Category::Error), priority), expected);
            }
        }
    }

    #[test]
    fn a_limited_category_is_refused_and_others_pass() {
        let state = GateState::OPEN.with_limited(CategorySet::of(Category::LogItem));
        let admits = |category| state.admits(CategorySet::of(category), Priority::Medium);
        assert_eq!(admits(Category::LogItem), Err(DropReason::RatelimitBackoff));
        assert_eq!(admits(Category::Error), Ok(()));
    }

    #[test]
    fn a_mixed_envelope_is_refused_only_when_nothing_in_it_may_go() {
        let mixed = CategorySet::of(Category::Error).with(Category::Attachment);
        let admits = |limited| {
            GateState::OPEN
                .with_limited(limited)
                .admits(mixed, Priority::Critical)
        };
        assert_eq!(admits(CategorySet::of(Category::Attachment)), Ok(()));
        assert_eq!(admits(CategorySet::ALL), Err(DropReason::RatelimitBackoff));
    }

    #[test]
    fn a_record_without_categories_is_never_rate_limited() {
        let state = GateState::OPEN.with_limited(CategorySet::ALL);
        assert_eq!(state.admits(CategorySet::EMPTY, Priority::Low), Ok(()));
    }

    #[test]
    fn closed_is_the_reason_given_before_any_other() {
        let state = GateState::from_bits(u64::MAX);
        assert_eq!(
            state.admits(CategorySet::ALL, Priority::Lowest),
            Err(DropReason::Closed)
        );
    }

    #[test]
    fn an_open_breaker_refuses_nothing() {
        let state = GateState::OPEN.with_breaker_open(true);
        assert_eq!(state.admits(CategorySet::ALL, Priority::Lowest), Ok(()));
    }

    #[test]
    fn traces_are_kept_by_the_factor_in_the_word() {
        let key = TraceKey(sampling::threshold(5));
        assert!(GateState::OPEN.with_factor(5).keeps_trace(key));
        assert!(!GateState::OPEN.with_factor(6).keeps_trace(key));
    }
}
