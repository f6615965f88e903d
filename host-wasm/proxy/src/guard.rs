//! In front of an ingestion service: what it refuses anyway is refused here, without troubling it.
//!
//! What the service says in its answers is remembered: rate limits for each project and key (`X-Sentry-Rate-Limits` on
//! any status, `Retry-After` on 429), and its overload: 502, 503 and 504 count against a circuit breaker, and a `Retry-After`
//! with them is a pause. What is remembered decides about the next request. All rules (which limit follows from
//! which header, which limit wins, when the breaker opens and probes) are the core's, as for our own deliveries.

use heapless::Vec;
use surgetank_core::breaker::{Breaker, BreakerConfig, BreakerState, Permit};
use surgetank_core::item::CategorySet;
use surgetank_core::ratelimit::RateLimits;
use surgetank_core::response::Response;
use surgetank_core::rng::Rng;
use surgetank_core::time::{Duration, Instant};
use surgetank_core::wire::rate_limits::{self, Limit, Scope, Target};
use surgetank_core::wire::retry_after;

use crate::board::{Line, What};
use crate::route::Arrival;

/// Projects and keys whose limits are known at once; the least recently limited one makes room.
const SUBJECTS: usize = 64;

/// Things that one answer can teach.
pub const MOST_LESSONS: usize = 8;

/// The longest pause that is obeyed: a service that is away for longer may say so again.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Limits of one project and key.
#[derive(Clone, Copy, Debug)]
struct Subject {
    /// 0 for a free place.
    id: u64,
    limited_at: Instant,
    limits: RateLimits,
}

/// What becomes of a request. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// Limits cover all that it may hold; the longest ends after this.
    Limited(Duration),
    /// The service is overloaded or away; come again after this.
    Overloaded(Duration),
}

/// What one worker knows of the service behind it.
#[derive(Debug)]
pub struct Guard {
    subjects: [Subject; SUBJECTS],
    breaker: Breaker,
    paused_until: Instant,
    /// The request that finds out whether the service is back, by its context.
    probe: Option<(u32, Permit)>,
}

impl Guard {
    /// Knows of nothing.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self {
            subjects: [Subject {
                id: 0,
                limited_at: Instant::ORIGIN,
                limits: RateLimits::new(),
            }; SUBJECTS],
            breaker: Breaker::new(BreakerConfig::DEFAULT),
            paused_until: Instant::ORIGIN,
            probe: None,
        }
    }

    /// Decides about a request. One look at each known subject.
    pub fn judge(&mut self, now: Instant, context: u32, arrival: &Arrival) -> Verdict {
        if let Some(limits) = self.limits(arrival.subject) {
            let limited = limits.limited_at(now);
            if arrival.categories.without(limited).is_empty() {
                let ends = arrival
                    .categories
                    .iter()
                    .filter_map(|category| limits.until(category));
                let left = ends.map(|(until, _)| until.since(now)).max();
                return Verdict::Limited(left.unwrap_or(Duration::ZERO));
            }
        }
        if self.paused_until > now {
            return Verdict::Overloaded(self.paused_until.since(now));
        }
        if self.breaker.state() != BreakerState::Closed {
            let permit = self.breaker.allow(now);
            if !permit.is_granted() {
                let left = self.breaker.open_until().map(|until| until.since(now));
                // While another request is the probe, its answer decides within a moment.
                return Verdict::Overloaded(left.unwrap_or(Duration::from_secs(1)));
            }
            self.probe = Some((context, permit));
        }
        Verdict::Pass
    }

    /// The service, or the proxy in its place, answered a request. What others should know is returned.
    pub fn answered(
        &mut self,
        now: Instant,
        context: u32,
        subject: u64,
        overload: u64,
        response: &Response<'_>,
        random: &mut Rng,
    ) -> Vec<Line, MOST_LESSONS> {
        let mut lessons = Vec::new();
        let is_overload = matches!(response.status, 502..=504);
        let mut learn = |guard: &mut Self, limit: Limit<'_>| {
            let what = match limit.target {
                Target::All => What::All,
                Target::Categories(set) => What::Categories(set),
            };
            let until = now.saturating_add(limit.duration);
            guard.limit(now, subject, what.categories(), until, limit.scope);
            // More than there is room for are learned by the others from their own answers.
            let _ = lessons.push(Line {
                subject,
                until,
                what,
                scope: limit.scope,
            });
        };
        if is_overload {
            // `Retry-After` is about the service then, not about this sender.
            rate_limits::groups(response.rate_limits)
                .filter(Limit::is_effective)
                .for_each(|limit| learn(self, limit));
        } else {
            rate_limits::limits(response).for_each(|limit| learn(self, limit));
        }
        let permit = match self.probe.take_if(|(probe, _)| *probe == context) {
            Some((_, permit)) => permit,
            // While it is closed a permit says nothing but that; otherwise this request went before it opened.
            None if self.breaker.state() == BreakerState::Closed => self.breaker.allow(now),
            None => return lessons,
        };
        if !is_overload {
            self.breaker.on_success(permit);
            return lessons;
        }
        let asked = response
            .retry_after
            .and_then(|value| retry_after::parse(value, response.wall))
            .map(|delay| delay.min(LONGEST_PAUSE));
        self.breaker.on_failure(now, permit, random, asked);
        if let Some(delay) = asked {
            self.pause(now.saturating_add(delay));
        }
        let until = self.breaker.open_until().unwrap_or(Instant::ORIGIN);
        let until = until.max(self.paused_until);
        if until > now {
            let _ = lessons.push(Line {
                subject: overload,
                until,
                what: What::Pause,
                scope: Scope::Key,
            });
        }
        lessons
    }

    /// A request ended without an answer: its sender went away.
    pub fn unanswered(&mut self, context: u32) {
        if let Some((_, permit)) = self.probe.take_if(|(probe, _)| *probe == context) {
            self.breaker.give_back(permit);
        }
    }

    /// Another worker learned this. `overload` is the subject of the service itself.
    pub fn learn(&mut self, now: Instant, overload: u64, line: &Line) {
        match line.what {
            What::Pause if line.subject == overload => self.pause(line.until),
            What::Pause => {}
            what => self.limit(now, line.subject, what.categories(), line.until, line.scope),
        }
    }

    /// The limits of a subject, if it has any.
    #[must_use]
    pub fn limits(&self, subject: u64) -> Option<&RateLimits> {
        let found = self.subjects.iter().find(|known| known.id == subject)?;
        Some(&found.limits)
    }

    fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(until);
    }

    fn limit(
        &mut self,
        now: Instant,
        subject: u64,
        categories: Option<CategorySet>,
        until: Instant,
        scope: Scope,
    ) {
        let known = self.subjects.iter().position(|known| known.id == subject);
        let oldest = || {
            let ages = self.subjects.iter().enumerate();
            ages.min_by_key(|(_, known)| (known.id != 0, known.limited_at))
                .map(|(place, _)| place)
        };
        let Some(entry) = known
            .or_else(oldest)
            .and_then(|place| self.subjects.get_mut(place))
        else {
            return;
        };
        if entry.id != subject {
            entry.id = subject;
            entry.limits.clear();
        }
        entry.limited_at = now;
        entry.limits.limit(categories, until, scope);
    }
}

#[cfg(test)]
mod tests;
