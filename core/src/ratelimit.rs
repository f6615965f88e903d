//! What one destination's server has asked not to be sent, and until when.
//!
//! One expiry per category and one for all categories (`*`). A record waits or is dropped while its category's own
//! entry *or* `*` is live; an own entry that has run out never hides a live `*`. The longer limit wins, always: a
//! later answer with a shorter limit changes nothing (rate-limiting specification, "Stage 2"; Relay does the same, the
//! SDKs overwrite).
//!
//! The check on the record path is one comparison with the next expiry and one mask. Which categories are live changes
//! only when a limit arrives or one runs out, so the answer is kept until then.
//!
//! Parsing the headers is the business of [`rate_limits`](crate::wire::rate_limits); this file knows no text.

use crate::item::{Category, CategorySet};
use crate::time::Instant;
use crate::wire::rate_limits::Scope;

/// Position of the entry for all categories, in the table and in the masks.
const ALL: usize = Category::COUNT;

/// One bit per category, and one for `*`.
type Mask = u64;

const fn bit(index: usize) -> Mask {
    1 << (index as u32 % Mask::BITS)
}

const _: () = assert!(ALL < Mask::BITS as usize, "the masks hold every category and `*`");
const _: () = assert!(
    size_of::<RateLimits>() <= 400,
    "a sidecar has one per destination"
);

/// The limits one destination is under. 376 bytes.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Expiry per category, then of `*`. Means something only where `known` has the bit.
    until: [Instant; ALL + 1],
    /// Entries that were live when last looked at.
    known: Mask,
    /// Entries with [`Scope::Organization`].
    organization: Mask,
    /// Entries with [`Scope::Project`].
    project: Mask,
    /// What `known` means for categories; right until `settled_until`.
    live: CategorySet,
    /// The earliest expiry of `known`.
    settled_until: Option<Instant>,
}

impl RateLimits {
    /// No limits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            until: [Instant::ORIGIN; ALL + 1],
            known: 0,
            organization: 0,
            project: 0,
            live: CategorySet::EMPTY,
            settled_until: None,
        }
    }

    /// Takes up a limit on `categories` (`None`: on all of them, `*`) until just before `until`. Entries that last
    /// longer stay as they are, their scope too. An empty set changes nothing. Bound: one walk over the categories.
    pub fn limit(&mut self, categories: Option<CategorySet>, until: Instant, scope: Scope) {
        match categories {
            None => self.limit_entry(ALL, until, scope),
            Some(set) => {
                for category in set.iter() {
                    self.limit_entry(category.index(), until, scope);
                }
            }
        }
        self.settle();
    }

    fn limit_entry(&mut self, index: usize, until: Instant, scope: Scope) {
        let bit = bit(index);
        let Some(entry) = self.until.get_mut(index) else {
            return;
        };
        if self.known & bit != 0 && *entry >= until {
            return;
        }
        *entry = until;
        self.known |= bit;
        self.organization &= !bit;
        self.project &= !bit;
        match scope {
            Scope::Organization => self.organization |= bit,
            Scope::Project => self.project |= bit,
            Scope::Key => {}
        }
    }

    /// The categories that must not be sent at `now`; one comparison while nothing has run out since the last call.
    pub fn limited(&mut self, now: Instant) -> CategorySet {
        if self.settled_until.is_some_and(|until| now >= until) {
            for (index, until) in self.until.iter().enumerate() {
                if *until <= now {
                    self.known &= !bit(index);
                }
            }
            self.settle();
        }
        self.live
    }

    /// The same without forgetting what has run out: at most one look at each entry.
    #[must_use]
    pub fn limited_at(&self, now: Instant) -> CategorySet {
        match self.settled_until {
            Some(until) if now >= until => self.live_at(now),
            _ => self.live,
        }
    }

    /// True when any of `categories` must not be sent at `now`.
    #[must_use]
    pub fn is_limited(&self, now: Instant, categories: CategorySet) -> bool {
        self.limited_at(now).intersects(categories)
    }

    /// How long `category` must not be sent and who says so: the later one of its own entry and `*`, which may have
    /// run out already. `None` when neither is known.
    #[must_use]
    pub fn until(&self, category: Category) -> Option<(Instant, Scope)> {
        match (self.own_until(category), self.all_until()) {
            (Some(own), Some(all)) => Some(if own.0 >= all.0 { own } else { all }),
            (own, all) => own.or(all),
        }
    }

    /// The entry of `category` alone, without regard to `*`.
    #[must_use]
    pub fn own_until(&self, category: Category) -> Option<(Instant, Scope)> {
        self.entry(category.index())
    }

    /// The entry for all categories.
    #[must_use]
    pub fn all_until(&self) -> Option<(Instant, Scope)> {
        self.entry(ALL)
    }

    /// When, after `now`, the next entry runs out; `None` when none is live.
    #[must_use]
    pub fn next_expiry(&self, now: Instant) -> Option<Instant> {
        match self.settled_until {
            Some(until) if until > now => Some(until),
            Some(_) => self.earliest(now),
            None => None,
        }
    }

    /// Forgets every limit.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn entry(&self, index: usize) -> Option<(Instant, Scope)> {
        let bit = bit(index);
        if self.known & bit == 0 {
            return None;
        }
        let scope = if self.organization & bit != 0 {
            Scope::Organization
        } else if self.project & bit != 0 {
            Scope::Project
        } else {
            Scope::Key
        };
        Some((*self.until.get(index)?, scope))
    }

    /// Works out `live` and `settled_until` from `known`.
    fn settle(&mut self) {
        self.live = live(self.known);
        self.settled_until = self.earliest_of(|_| true);
    }

    fn live_at(&self, now: Instant) -> CategorySet {
        let mut mask = 0;
        for (index, until) in self.until.iter().enumerate() {
            if *until > now {
                mask |= bit(index);
            }
        }
        live(mask & self.known)
    }

    fn earliest(&self, now: Instant) -> Option<Instant> {
        self.earliest_of(|until| until > now)
    }

    fn earliest_of(&self, wanted: impl Fn(Instant) -> bool) -> Option<Instant> {
        self.until
            .iter()
            .enumerate()
            .filter(|(index, until)| self.known & bit(*index) != 0 && wanted(**until))
            .map(|(_, until)| *until)
            .min()
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// The categories that the entries in `mask` cover.
const fn live(mask: Mask) -> CategorySet {
    if mask & bit(ALL) != 0 {
        CategorySet::ALL
    } else {
        CategorySet::from_bits(mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn limited(category: Category, until: u64) -> RateLimits {
        let mut limits = RateLimits::new();
        limits.limit(Some(CategorySet::of(category)), at(until), Scope::Key);
        limits
    }

    #[test]
    fn a_category_is_limited_until_just_before_its_expiry() {
        let mut limits = limited(Category::Error, 60);
        let before = Instant::from_micros(at(60).as_micros() - 1);
        assert_eq!(limits.limited(before), CategorySet::of(Category::Error));
        assert_eq!(limits.limited(at(60)), CategorySet::EMPTY);
        assert_eq!(limits.until(Category::Error), None);
    }

    #[test]
    fn other_categories_are_not_concerned() {
        let limits = limited(Category::Error, 60);
        assert!(limits.is_limited(at(0), CategorySet::of(Category::Error).with(Category::Span)));
        assert!(!limits.is_limited(at(0), CategorySet::of(Category::Span)));
    }

    #[test]
    fn all_covers_every_category() {
        let mut limits = RateLimits::new();
        limits.limit(None, at(60), Scope::Organization);
        assert_eq!(limits.limited(at(59)), CategorySet::ALL);
        assert_eq!(
            limits.until(Category::Internal),
            Some((at(60), Scope::Organization))
        );
        assert_eq!(limits.own_until(Category::Internal), None);
    }

    #[test]
    fn a_shorter_limit_changes_nothing_not_even_the_scope() {
        let mut limits = RateLimits::new();
        let error = Some(CategorySet::of(Category::Error));
        limits.limit(error, at(300), Scope::Project);
        limits.limit(error, at(60), Scope::Organization);
        limits.limit(error, at(300), Scope::Organization);
        assert_eq!(limits.until(Category::Error), Some((at(300), Scope::Project)));
        limits.limit(error, at(301), Scope::Organization);
        assert_eq!(
            limits.until(Category::Error),
            Some((at(301), Scope::Organization))
        );
        limits.limit(error, at(302), Scope::Key);
        assert_eq!(limits.until(Category::Error), Some((at(302), Scope::Key)));
    }

    #[test]
    fn an_expired_own_entry_does_not_hide_all() {
        let mut limits = limited(Category::Error, 5);
        limits.limit(None, at(60), Scope::Key);
        assert!(limits.limited(at(10)).contains(Category::Error));
        assert!(limits.limited_at(at(10)).contains(Category::Error));
    }

    #[test]
    fn an_own_entry_outlasts_all() {
        let mut limits = limited(Category::Error, 60);
        limits.limit(None, at(5), Scope::Organization);
        assert_eq!(limits.limited(at(4)), CategorySet::ALL);
        assert_eq!(limits.limited(at(5)), CategorySet::of(Category::Error));
        assert_eq!(limits.until(Category::Error), Some((at(60), Scope::Key)));
    }

    #[test]
    fn no_category_is_no_limit() {
        let mut limits = RateLimits::new();
        limits.limit(Some(CategorySet::EMPTY), at(60), Scope::Key);
        assert_eq!(limits.limited(at(0)), CategorySet::EMPTY);
        assert_eq!(limits.next_expiry(at(0)), None);
    }

    #[test]
    fn a_limit_that_is_over_on_arrival_limits_nothing() {
        let mut limits = limited(Category::Error, 5);
        assert_eq!(limits.limited_at(at(5)), CategorySet::EMPTY);
        assert_eq!(limits.next_expiry(at(5)), None);
        assert_eq!(limits.limited(at(5)), CategorySet::EMPTY);
    }

    #[test]
    fn clear_forgets_everything() {
        let mut limits = limited(Category::Error, 60);
        limits.limit(None, at(60), Scope::Key);
        limits.clear();
        assert_eq!(limits.limited(at(0)), CategorySet::EMPTY);
        assert_eq!(limits.all_until(), None);
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        prop_oneof![Just(Scope::Organization), Just(Scope::Project), Just(Scope::Key)]
    }

    /// Advance the clock, then limit (`None`: `*`) for so many seconds.
    type Step = (u64, Option<u64>, u64, Scope);

    fn any_step() -> impl Strategy<Value = Step> {
        let few = prop_oneof![
            Just(None),
            Just(Some(0)),
            (0u32..40).prop_map(|bit| Some(1 << bit)),
            any::<u64>().prop_map(Some),
        ];
        (0u64..20, few, 0u64..60, any_scope())
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_all_limits(steps in proptest::collection::vec(any_step(), 1..80), seen: u64) {
            let mut limits = RateLimits::new();
            let mut all: Vec<(CategorySet, bool, Instant, Scope)> = Vec::new();
            let mut now = 0;
            for (number, (advance, bits, seconds, scope)) in steps.into_iter().enumerate() {
                now += advance;
                let set = bits.map(CategorySet::from_bits);
                limits.limit(set, at(now + seconds), scope);
                all.push((set.unwrap_or(CategorySet::ALL), set.is_none(), at(now + seconds), scope));
                // The first of the longest, among the own entries or among those for all.
                let longest = |category: Category, star: bool| {
                    all.iter()
                        .filter(|limit| limit.1 == star && limit.0.contains(category))
                        .map(|limit| (limit.2, limit.3))
                        .reduce(|a, b| if b.0 > a.0 { b } else { a })
                        .filter(|limit| limit.0 > at(now))
                };
                let mut expected = CategorySet::EMPTY;
                let mut next = None;
                for category in Category::ALL {
                    let (own, star) = (longest(category, false), longest(category, true));
                    for until in [own, star].into_iter().flatten() {
                        next = Some(next.map_or(until.0, |next: Instant| next.min(until.0)));
                    }
                    let until = match (own, star) {
                        (Some(own), Some(star)) if star.0 > own.0 => Some(star),
                        (own, star) => own.or(star),
                    };
                    if until.is_some() {
                        expected = expected.with(category);
                    }
                    let live = limits.until(category).filter(|limit| limit.0 > at(now));
                    prop_assert_eq!(live, until);
                }
                prop_assert_eq!(limits.limited_at(at(now)), expected);
                prop_assert_eq!(limits.next_expiry(at(now)), next);
                if seen >> (number % 64) & 1 == 1 {
                    prop_assert_eq!(limits.limited(at(now)), expected);
                }
                if let Some(next) = limits.next_expiry(at(now)) {
                    prop_assert!(next > at(now));
                    let before = Instant::from_micros(next.as_micros() - 1);
                    prop_assert_eq!(limits.limited_at(before), expected);
                } else {
                    prop_assert_eq!(expected, CategorySet::EMPTY);
                }
            }
        }

        #[test]
        fn a_limit_never_shortens_what_is_limited(steps in proptest::collection::vec(any_step(), 1..80)) {
            let mut limits = RateLimits::new();
            for (_, bits, seconds, scope) in steps {
                let before = limits;
                limits.limit(bits.map(CategorySet::from_bits), at(seconds), scope);
                for category in Category::ALL {
                    prop_assert!(limits.until(category) .map(|limit| limit.0) >= before.until(category).map(|limit| limit.0));
                }
            }
        }
    }
}
