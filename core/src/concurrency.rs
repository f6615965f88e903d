//! How many requests may be in flight to one destination: as many as make it faster, no more.
//!
//! A fixed number is wrong for somebody: too few starve a fast server far away, too many pile up inside a slow one
//! and turn its latency into time-outs. So the limit follows the server, between 1 and a configured maximum:
//!
//! - **Up** by doubling at first (slow start: one more for each good answer), later by one per round trip, and only
//!   while the limit is really reached: a limit nobody uses would grow without meaning anything.
//! - **Down** when answers get slower, on a time-out, or when the server throttles; at most once per round trip,
//!   because the answers that follow in the same round trip tell of the same congestion.
//!
//! A *round* ends with the first good answer, from the eighth on (`ROUND_ANSWERS`), to a request sent after the round
//! began. The round's latency is that of its *fastest* good answer: a large payload or one slow answer decides nothing,
//! while a queue inside the server delays every answer, the fastest included. It is held against a baseline, the latency
//! without such a queue. Up to 1¼ of the baseline plus half the slack counts as steady, above twice the baseline plus
//! the slack as congested; in between the limit stays.
//!
//! - A faster answer lowers the baseline at once.
//! - With a limit of one, a slow answer cannot be our doing; the baseline moves a quarter of the way towards it
//!   (an exponentially weighted average).
//! - Otherwise slow rounds do not raise it, or a queue of our own making would be taken for the new normal, step by
//!   step. Instead, when no round was steady for 128 rounds (`REMEASURE_ROUNDS`), the limit is halved and what the next
//!   round measures is the new baseline (the way of BBR's round-trip probe).
//!
//! Everything is in whole microseconds; nothing is random.
//!
//! A plain failure (refused, reset, a 500) tells nothing about speed and leaves the limit alone; the breaker and the
//! back-off answer it.

use crate::config_error::ConfigError;
use crate::time::{Duration, Instant};

/// Good answers that a round has at least. The fastest of eight is close to the fastest there is even where latencies
/// differ fivefold; a small limit, which can do little harm, is judged less often for it.
const ROUND_ANSWERS: u8 = 8;

/// Rounds in a row that were not steady after which the baseline is measured anew.
const REMEASURE_ROUNDS: u8 = 128;

/// Settings of a [`Concurrency`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConcurrencyConfig {
    /// The limit at the start. 1..=`max`, default 4 for Sentry and 2 for OTLP: a few errors at once should not wait for
    /// one another's round trip, and no server minds so few.
    pub initial: u8,
    /// The limit never exceeds it. 1..=255.
    pub max: u8,
    /// A rise of latency up to this is nobody's concern. At most 10 s, default 10 ms: schedulers and garbage
    /// collectors cause as much, and a server next door answers in far less.
    pub slack: Duration,
}

impl ConcurrencyConfig {
    /// Defaults for Sentry, where a request carries one event: at most 32.
    pub const SENTRY: Self = Self {
        initial: 4,
        max: 32,
        slack: Duration::from_millis(10),
    };

    /// Defaults for OTLP, where a request carries many records: at most 4.
    pub const OTLP: Self = Self {
        initial: 2,
        max: 4,
        ..Self::SENTRY
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.max >= 1, "concurrency.max", "1 to 255")?;
        ConfigError::unless(
            self.initial >= 1 && self.initial <= self.max,
            "concurrency.initial",
            "at least 1 and at most concurrency.max",
        )?;
        ConfigError::unless(
            self.slack <= Duration::from_secs(10),
            "concurrency.slack",
            "at most 10 s",
        )
    }
}

/// How a request ended, as far as its speed is concerned. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerKind {
    /// Answered by a working server, whatever the answer. A Sentry 429 is one of these: it limits categories, which
    /// are not sent any more, and says nothing about speed.
    Ok,
    /// The server asked for less: 503, or an OTLP answer that throttles (429, `RESOURCE_EXHAUSTED`).
    Throttled,
    /// No answer in time.
    TimedOut,
    /// It failed in another way: refused, reset, an internal error, given up by us.
    Failed,
}

/// The adaptive limit of requests in flight to one destination. Every call is a few comparisons.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    config: ConcurrencyConfig,
    limit: u8,
    /// Doubling per round trip; until the first sign of a queue.
    slow_start: bool,
    /// The last round was steady.
    steady: bool,
    /// Good answers towards the next step up.
    credit: u8,
    /// Latency without a queue; `None` before the first good answer.
    baseline: Option<Duration>,
    round_began: Instant,
    /// The fastest good answer of this round.
    fastest: Duration,
    /// Good answers in this round, as far as they matter.
    answers: u8,
    /// The limit was reached in this round.
    used: bool,
    /// When the limit was last lowered; requests sent until then tell nothing new.
    lowered_at: Option<Instant>,
    /// Rounds since one was steady.
    unsteady_rounds: u8,
    /// The limit was halved to measure the baseline; the next round gives it.
    measuring: bool,
}

impl Concurrency {
    /// At the start, knowing nothing. An `initial` outside `1..=max` counts as the nearest value inside.
    #[must_use]
    pub const fn new(config: ConcurrencyConfig) -> Self {
        let mut new = Self {
            config,
            limit: 1,
            slow_start: true,
            steady: true,
            credit: 0,
            baseline: None,
            round_began: Instant::ORIGIN,
            fastest: Duration::MAX,
            answers: 0,
            used: false,
            lowered_at: None,
            unsteady_rounds: 0,
            measuring: false,
        };
        new.set(config.initial);
        new
    }

    /// Requests that may be in flight at once: `1..=max`. More may be in flight right after it was lowered.
    #[must_use]
    pub const fn limit(&self) -> u8 {
        self.limit
    }

    /// Latency of an unhurried answer, as far as known.
    #[must_use]
    pub const fn baseline(&self) -> Option<Duration> {
        self.baseline
    }

    /// A request was sent; with it, `in_flight` are under way.
    pub const fn on_sent(&mut self, in_flight: u32) {
        if in_flight >= self.limit as u32 {
            self.used = true;
        }
    }

    /// A request that was sent at `sent_at` ended at `now`.
    pub fn on_answer(&mut self, now: Instant, sent_at: Instant, kind: AnswerKind) {
        match kind {
            AnswerKind::Ok => self.on_latency(now, sent_at),
            AnswerKind::Throttled | AnswerKind::TimedOut => self.lower(now, sent_at, self.limit / 2),
            AnswerKind::Failed => {}
        }
    }

    /// The server was away (its breaker opened): begin again with a limit of one, doubling, but remember the baseline.
    /// Answers to requests sent until now tell nothing any more.
    pub fn restart(&mut self, now: Instant) {
        *self = Self {
            limit: 1,
            baseline: self.baseline,
            round_began: now,
            lowered_at: Some(now),
            ..Self::new(self.config)
        };
    }

    fn on_latency(&mut self, now: Instant, sent_at: Instant) {
        // A request that was sent before the limit was lowered has met a queue that is being worked off.
        if self.tells_nothing(sent_at) {
            return;
        }
        let latency = now.since(sent_at);
        self.fastest = self.fastest.min(latency);
        self.answers = self.answers.saturating_add(1);
        let baseline = self.baseline.map_or(latency, |baseline| baseline.min(latency));
        self.baseline = Some(baseline);
        if latency > self.congested(baseline) {
            self.slow_start = false;
        }
        if self.answers >= ROUND_ANSWERS && sent_at > self.round_began {
            self.end_round(now, sent_at, baseline);
        } else if self.steady {
            self.raise();
        }
    }

    fn end_round(&mut self, now: Instant, sent_at: Instant, before: Duration) {
        let fastest = self.fastest;
        let baseline = if core::mem::replace(&mut self.measuring, false) {
            fastest
        } else if self.limit == 1 {
            before.saturating_add(fastest.saturating_sub(before).div(4))
        } else {
            before
        };
        self.baseline = Some(baseline);
        self.steady = fastest <= steady(baseline, self.config.slack);
        if self.steady {
            self.unsteady_rounds = 0;
            self.raise();
            self.begin_round(now);
            return;
        }
        self.slow_start = false;
        self.unsteady_rounds = self.unsteady_rounds.saturating_add(1);
        self.begin_round(now);
        if fastest > self.congested(baseline) {
            self.lower(now, sent_at, self.limit.saturating_sub((self.limit / 4).max(1)));
        } else if self.unsteady_rounds >= REMEASURE_ROUNDS {
            self.unsteady_rounds = 0;
            self.lower(now, sent_at, self.limit / 2);
            self.measuring = true;
        }
    }

    /// The latency above which the server counts as congested.
    const fn congested(&self, baseline: Duration) -> Duration {
        baseline.saturating_mul(2).saturating_add(self.config.slack)
    }

    fn tells_nothing(&self, sent_at: Instant) -> bool {
        self.lowered_at.is_some_and(|lowered| sent_at <= lowered)
    }

    fn raise(&mut self) {
        if !self.used {
            return;
        }
        self.credit = self.credit.saturating_add(1);
        if self.slow_start || self.credit >= self.limit {
            self.credit = 0;
            self.set(self.limit.saturating_add(1));
        }
    }

    fn lower(&mut self, now: Instant, sent_at: Instant, to: u8) {
        if self.tells_nothing(sent_at) {
            return;
        }
        self.set(to);
        self.slow_start = false;
        self.credit = 0;
        self.lowered_at = Some(now);
        self.begin_round(now);
    }

    const fn begin_round(&mut self, now: Instant) {
        self.round_began = now;
        self.fastest = Duration::MAX;
        self.answers = 0;
        self.used = false;
    }

    const fn set(&mut self, limit: u8) {
        let max = if self.config.max == 0 { 1 } else { self.config.max };
        self.limit = if limit == 0 {
            1
        } else if limit > max {
            max
        } else {
            limit
        };
    }
}

/// The highest latency that counts as steady.
const fn steady(baseline: Duration, slack: Duration) -> Duration {
    baseline
        .saturating_add(baseline.div(4))
        .saturating_add(slack.div(2))
}

#[cfg(test)]
mod tests;
