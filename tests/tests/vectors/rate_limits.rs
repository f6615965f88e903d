//! `rate_limits.json`: answers, and the limits that are live once they have been applied.

use serde::Deserialize;
use serde_json::Value;
use surgetank_core::item::{Category, CategorySet};
use surgetank_core::ratelimit::RateLimits;
use surgetank_core::response::Response;
use surgetank_core::time::{Instant, UnixTime};
use surgetank_core::wire::rate_limits::{Limit, Scope, Target, limits};

use crate::{run, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: Option<Value>,
    #[serde(rename = "rules")]
    _rules: Option<Value>,
    #[serde(rename = "now_note")]
    _now_note: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    kind: Kind,
    status: u16,
    headers: Vec<(String, String)>,
    now: u64,
    #[serde(default)]
    prior: Vec<Entry>,
    expect: Vec<Entry>,
    #[serde(default)]
    unknown_ignored: Vec<String>,
}

/// Which headers a case has.
#[derive(Deserialize, PartialEq, Clone, Copy, Debug)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    XSentryRateLimits,
    RetryAfter,
    Both,
    None,
}

/// One live limit. One that the answer's header set has a scope, and what else the header said is then given in full.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Entry {
    category: String,
    until: u64,
    scope: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    namespaces: Vec<String>,
}

#[test]
fn rate_limits() {
    run("rate_limits.json", |_: &File, case: &Case| check(case));
}

fn check(case: &Case) -> Result<(), String> {
    let rate_limits = values(case, "x-sentry-rate-limits");
    let retry_after = values(case, "retry-after");
    let kind = match (rate_limits.is_empty(), retry_after.is_empty()) {
        (false, true) => Kind::XSentryRateLimits,
        (true, false) => Kind::RetryAfter,
        (false, false) => Kind::Both,
        (true, true) => Kind::None,
    };
    // Other headers say nothing about limits.
    same("kind", &case.kind, &kind)?;
    for name in &case.unknown_ignored {
        same("unknown category", &None, &Category::from_name(name.as_bytes()))?;
    }

    let response = Response {
        status: case.status,
        retry_after: retry_after.first().copied(),
        rate_limits: &rate_limits,
        wall: UnixTime::from_secs(case.now),
        ..Response::default()
    };
    let state = naive(case, limits(&response));
    let kept = kept(case, limits(&response))?;
    let until = |entries: &[Entry]| -> Vec<(String, u64)> {
        let mut pairs: Vec<_> = entries
            .iter()
            .map(|one| (one.category.clone(), one.until))
            .collect();
        pairs.sort();
        pairs
    };
    same("live limits", &until(&case.expect), &until(&state))?;
    same("kept limits", &until(&case.expect), &until(&kept))?;
    for expected in case.expect.iter().filter(|entry| entry.scope.is_some()) {
        let actual = state.iter().find(|entry| entry.category == expected.category);
        let said = |entry: &Entry| {
            (
                entry.scope.clone(),
                entry.reason.clone(),
                entry.namespaces.clone(),
            )
        };
        same(&expected.category, &Some(said(expected)), &actual.map(said))?;
        let scope = kept.iter().find(|entry| entry.category == expected.category);
        same(
            &expected.category,
            &expected.scope,
            &scope.and_then(|entry| entry.scope.clone()),
        )?;
    }
    Ok(())
}

fn values<'a>(case: &'a Case, name: &str) -> Vec<&'a [u8]> {
    case.headers
        .iter()
        .filter(|(one, _)| one.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_bytes())
        .collect()
}

/// The state after the answer, kept in the plainest way: the later expiry wins, and on a tie the first.
fn naive<'a>(case: &Case, limits: impl Iterator<Item = Limit<'a>>) -> Vec<Entry> {
    let from_answer = limits.flat_map(|limit| entries(&limit, case.now));
    let mut state: Vec<Entry> = Vec::new();
    for entry in case.prior.iter().cloned().chain(from_answer) {
        match state.iter_mut().find(|kept| kept.category == entry.category) {
            None => state.push(entry),
            Some(kept) if kept.until < entry.until => *kept = entry,
            Some(_) => {}
        }
    }
    state.retain(|entry| entry.until > case.now);
    state
}

/// The state after the answer as [`RateLimits`] keeps it, and whether it blocks accordingly.
fn kept<'a>(case: &Case, limits: impl Iterator<Item = Limit<'a>>) -> Result<Vec<Entry>, String> {
    let now = Instant::from_micros(UnixTime::from_secs(case.now).as_micros());
    let mut state = RateLimits::new();
    for prior in &case.prior {
        let categories = match prior.category.as_str() {
            "*" => None,
            name => {
                let category = Category::from_name(name.as_bytes());
                Some(CategorySet::of(
                    category.ok_or(format!("prior: {name} is no category"))?,
                ))
            }
        };
        let until = Instant::from_micros(UnixTime::from_secs(prior.until).as_micros());
        let scopes = [Scope::Organization, Scope::Project, Scope::Key];
        let scope = match &prior.scope {
            None => Scope::default(),
            Some(name) => *scopes
                .iter()
                .find(|scope| scope.as_str() == name)
                .ok_or(format!("prior: {name} is no scope"))?,
        };
        state.limit(categories, until, scope);
    }
    for limit in limits {
        let categories = match limit.target {
            Target::All => None,
            Target::Categories(categories) => Some(categories),
        };
        state.limit(categories, now.saturating_add(limit.duration), limit.scope);
    }

    let own = |category: Category| (category.as_str(), state.own_until(category));
    let all = Category::ALL
        .map(own)
        .into_iter()
        .chain([("*", state.all_until())]);
    let live: Vec<Entry> = all
        .filter_map(|(name, entry)| {
            let (until, scope) = entry.filter(|(until, _)| *until > now)?;
            Some(Entry {
                category: name.to_owned(),
                until: UnixTime::from_micros(until.as_micros()).as_secs(),
                scope: Some(scope.as_str().to_owned()),
                reason: None,
                namespaces: Vec::new(),
            })
        })
        .collect();
    for category in Category::ALL {
        let expected = live
            .iter()
            .any(|entry| entry.category == "*" || entry.category == category.as_str());
        let actual = state.is_limited(now, CategorySet::of(category));
        same(&format!("{} is limited", category.as_str()), &expected, &actual)?;
    }
    Ok(live)
}

fn entries(limit: &Limit<'_>, now: u64) -> Vec<Entry> {
    let categories: Vec<&str> = match limit.target {
        Target::All => vec!["*"],
        Target::Categories(categories) => categories.iter().map(Category::as_str).collect(),
    };
    let entry = |category: &str| Entry {
        category: category.to_owned(),
        until: now + limit.duration.as_secs_ceil(),
        scope: Some(limit.scope.as_str().to_owned()),
        reason: limit.reason.map(str::to_owned),
        namespaces: limit
            .namespaces
            .iter()
            .filter(|_| category == Category::MetricBucket.as_str())
            .map(|namespace| String::from_utf8_lossy(namespace).into_owned())
            .collect(),
    };
    categories.into_iter().map(entry).collect()
}
