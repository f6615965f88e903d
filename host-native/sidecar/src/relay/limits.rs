//! Rate limits of an upstream, as they are told to senders.

use surgetank::delivery::LiveLimits;
use surgetank_core::item::{Category, CategorySet};
use surgetank_core::time::Duration;
use surgetank_core::wire::rate_limits::Scope;

/// The limits of one destination, of which at least one is live.
pub(crate) struct Limits(pub(super) LiveLimits);

impl Limits {
    /// True when one of `categories` is limited.
    pub(crate) fn concern(&self, categories: CategorySet) -> bool {
        self.0.limited().intersects(categories)
    }

    /// Value for `Retry-After`: when the last of them ends, in whole seconds (Relay's choice).
    pub(crate) fn longest_seconds(&self) -> u64 {
        self.entries()
            .map(|(_, left, _)| left.as_secs_ceil())
            .max()
            .unwrap_or(1)
    }

    /// Value for `X-Sentry-Rate-Limits` (develop docs, "Rate Limiting"): one group for each time and scope.
    pub(crate) fn header(&self) -> String {
        groups(self.entries())
    }

    fn entries(&self) -> impl Iterator<Item = (Option<Category>, Duration, Scope)> {
        let all = self.0.all().map(|(left, scope)| (None, left, scope));
        let own = Category::ALL
            .into_iter()
            // Known to SDKs alone.
            .filter(|category| *category != Category::Internal)
            .filter_map(|category| {
                self.0
                    .of(category)
                    .map(|(left, scope)| (Some(category), left, scope))
            });
        all.into_iter().chain(own)
    }
}

fn groups(entries: impl Iterator<Item = (Option<Category>, Duration, Scope)>) -> String {
    let mut groups: Vec<(u64, Scope, Vec<&str>)> = Vec::new();
    for (category, left, scope) in entries {
        let seconds = left.as_secs_ceil();
        let Some(category) = category else {
            groups.push((seconds, scope, Vec::new()));
            continue;
        };
        let known = groups
            .iter_mut()
            .find(|(s, c, names)| (*s, *c) == (seconds, scope) && !names.is_empty());
        match known {
            Some((_, _, names)) => names.push(category.as_str()),
            None => groups.push((seconds, scope, vec![category.as_str()])),
        }
    }
    let texts: Vec<String> = groups
        .iter()
        .map(|(seconds, scope, names)| format!("{seconds}:{}:{}", names.join(";"), scope.as_str()))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_by_time_and_scope() {
        let left = Duration::from_millis;
        let entries = [
            (None, left(100), Scope::Organization),
            (Some(Category::Error), left(59_001), Scope::Key),
            (Some(Category::Transaction), left(60_000), Scope::Key),
            (Some(Category::Span), left(60_000), Scope::Project),
        ];
        assert_eq!(
            groups(entries.into_iter()),
            "1::organization, 60:error;transaction:key, 60:span:project"
        );
    }
}
