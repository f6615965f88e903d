//! When to keep fewer traces: evidence of overload in, a downsample factor out.
//!
//! A factor of *n* keeps one trace in 2^*n*, decided at the root ([`crate::sampling`]). Two policies:
//!
//! **[`Policy::SentryCompatible`]** is the monitor of Sentry's Python client (develop docs, "Backpressure
//! Management"): every 10 s one step up if the queue is full at that instant or any stored limit of any category is
//! live, else straight back to 0. One instant decides in both directions, and a limit on replays halves the traces. It is
//! here for those who compare.
//!
//! **[`Policy::Adaptive`]** (the default) asks whether keeping fewer traces would help:
//!
//! - *Room*: sampled records (transactions, spans) were dropped for want of room since the last tick, or the queue is
//!   over its high-water mark and fuller than it has been since it passed that mark. While the circuit breaker is open,
//!   the low-water mark takes its place: more comes in and nothing leaves. An outage that the queue has room for costs
//!   no trace, and a queue that stands still, because the factor is right or because it is full of logs that make room
//!   for traces anyway, raises nothing.
//! - *Limits* on the sampled categories only, and once per limit, when it begins. While it lasts nothing of the kind is
//!   sent, so time tells nothing new; raising the factor with every tick would throw away 1023 of 1024 traces after 20 s
//!   of a limit that a factor of one might have avoided. A limit that is set again once it was over counts
//!   again.
//!
//! A tick is 2 s: long enough for the last halving to show in the queue (some round trips), short enough to catch a
//! hundredfold burst (seven halvings) in 14 s; the 10 s of the Python client would take 70 s, and 4 MiB are full long
//! before. Up is one step per tick, down one step after a quiet window of 10 s (no evidence, fill under the low-water mark): each
//! step down doubles what comes in, so it is a trial. When a trial fails, that is, evidence is back within the
//! window, the next window is twice as long, up to eight times; a trial that holds halves it again. A steady
//! overload is thus left at its right factor most of the time.
//!
//! **A stall is not overload.** While requests outlive their deadlines the queue fills whatever is sampled, and halving
//! would hide the cause. The factor is held as it is; health reports the stall and the engine heals it.
//!
//! Ticks happen when [`Monitor::tick`] is called at or after [`Monitor::next_tick`]; a late one counts once.

use crate::config_error::ConfigError;
use crate::limits::MAX_DOWNSAMPLE_FACTOR;
use crate::time::{Duration, Instant};
use serde::Serialize;

/// Interval of the Python client's monitor.
const SENTRY_TICK: Duration = Duration::from_secs(10);

/// Longest quiet window, as a multiple of the configured one.
const MAX_STRETCH: u8 = 8;

/// How the factor follows the evidence. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Follows evidence that sampling can act on; see the [module documentation](self).
    Adaptive,
    /// Does what Sentry's Python client does.
    SentryCompatible,
    /// The factor is always 0.
    Off,
}

/// Settings of a [`Monitor`]. All but `policy` concern [`Policy::Adaptive`] only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MonitorConfig {
    /// Default [`Policy::Adaptive`].
    pub policy: Policy,
    /// Time between looks at the evidence. 100 ms..=60 s, default 2 s.
    pub tick: Duration,
    /// Time without evidence before a step down. `tick`..=1 h, default 10 s.
    pub quiet: Duration,
    /// Fill of the queue that is evidence, in permille. 1..=1000, default 800.
    pub high_permille: u16,
    /// Fill of the queue under which it counts as quiet, in permille. Under `high_permille`, default 600.
    pub low_permille: u16,
}

impl MonitorConfig {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        policy: Policy::Adaptive,
        tick: Duration::from_secs(2),
        quiet: Duration::from_secs(10),
        high_permille: 800,
        low_permille: 600,
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless(
            self.tick >= Duration::from_millis(100) && self.tick <= Duration::from_secs(60),
            "monitor.tick",
            "100 ms to 60 s",
        )?;
        ConfigError::unless(
            self.quiet >= self.tick && self.quiet <= Duration::from_secs(3_600),
            "monitor.quiet",
            "at least monitor.tick and at most 1 hour",
        )?;
        ConfigError::unless(
            matches!(self.high_permille, 1..=1000),
            "monitor.high_permille",
            "1 to 1000",
        )?;
        ConfigError::unless(
            self.low_permille < self.high_permille,
            "monitor.low_permille",
            "less than monitor.high_permille",
        )
    }
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a tick looks at. Of several destinations: the worst of those that sampled records go to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Evidence {
    /// The queue has no room now.
    pub queue_full: bool,
    /// Fill of the queue, in permille.
    pub fill_permille: u16,
    /// Transactions and spans dropped with reason `queue_overflow` *since the beginning*; the monitor takes the
    /// difference itself.
    pub sampled_overflows: u64,
    /// A limit of any category is live.
    pub any_limited: bool,
    /// When the limit on transactions or spans ends, if one is live.
    pub sampled_limited_until: Option<Instant>,
    /// The circuit breaker does not let records through.
    pub breaker_open: bool,
    /// A request has outlived its deadline without the host settling it.
    pub stalled: bool,
}

/// Why a factor changed. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorCause {
    /// Up: transactions or spans were dropped for want of room.
    QueueOverflow,
    /// Up: the queue has become full.
    QueueFull,
    /// Up: the queue is over its high-water mark and growing.
    QueueHigh,
    /// Up: the breaker is open, the queue over its low-water mark and growing.
    BreakerOpen,
    /// Up: the server limits transactions or spans (or anything, for [`Policy::SentryCompatible`]).
    Limited,
    /// Down: no evidence any more.
    Quiet,
}

/// A change of the factor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct FactorChange {
    /// Factor before.
    pub from: u8,
    /// Factor from now on.
    pub to: u8,
    /// Why.
    pub cause: FactorCause,
}

/// Turns evidence into the downsample factor. No call does more than a few comparisons.
#[derive(Clone, Copy, Debug)]
pub struct Monitor {
    config: MonitorConfig,
    /// 0..=`MAX_DOWNSAMPLE_FACTOR`.
    factor: u8,
    next: Instant,
    /// `sampled_overflows` at the last tick.
    overflows: u64,
    /// The limit that was counted last ends then.
    limited_until: Option<Instant>,
    /// Highest fill seen since it passed the mark that is evidence, in permille. 0 under it.
    peak_permille: u16,
    /// Since when there has been no evidence.
    quiet_since: Option<Instant>,
    /// The last step was one down, and its window has not passed yet.
    on_trial: bool,
    /// The quiet window is this many times the configured one. 1..=`MAX_STRETCH`.
    stretch: u8,
}

impl Monitor {
    /// Factor 0; the first tick is one interval after `now`.
    #[must_use]
    pub const fn new(config: MonitorConfig, now: Instant) -> Self {
        Self {
            config,
            factor: 0,
            next: now.saturating_add(interval(&config)),
            overflows: 0,
            limited_until: None,
            peak_permille: 0,
            quiet_since: None,
            on_trial: false,
            stretch: 1,
        }
    }

    /// 0..=[`MAX_DOWNSAMPLE_FACTOR`]: keep one trace in 2^factor.
    #[must_use]
    pub const fn factor(&self) -> u8 {
        self.factor
    }

    /// True when [`tick`](Self::tick) would look at the evidence, so that it need not be gathered otherwise.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        !matches!(self.config.policy, Policy::Off)
            && (now >= self.next || self.next.since(now) > interval(&self.config))
    }

    /// When to tick even if nothing else happens. `None` while the factor is 0: overload comes with calls of its own,
    /// and an idle program is not woken for nothing.
    #[must_use]
    pub const fn next_tick(&self) -> Option<Instant> {
        if self.factor == 0 { None } else { Some(self.next) }
    }

    /// Looks at the evidence if a tick is due. However late, it is one tick. A clock that went back only moves the next
    /// tick.
    pub fn tick(&mut self, now: Instant, evidence: &Evidence) -> Option<FactorChange> {
        if !self.is_due(now) {
            return None;
        }
        let is_back = now < self.next;
        self.next = now.saturating_add(interval(&self.config));
        if is_back {
            self.quiet_since = self.quiet_since.map(|since| since.min(now));
            return None;
        }
        let from = self.factor;
        let (to, cause) = match self.config.policy {
            Policy::Adaptive => self.adapt(now, evidence)?,
            Policy::SentryCompatible => self.imitate(evidence),
            Policy::Off => return None,
        };
        let to = to.min(MAX_DOWNSAMPLE_FACTOR);
        self.factor = to;
        (from != to).then_some(FactorChange { from, to, cause })
    }

    fn imitate(&self, evidence: &Evidence) -> (u8, FactorCause) {
        let up = self.factor.saturating_add(1);
        if evidence.queue_full {
            (up, FactorCause::QueueFull)
        } else if evidence.any_limited {
            (up, FactorCause::Limited)
        } else {
            (0, FactorCause::Quiet)
        }
    }

    fn adapt(&mut self, now: Instant, evidence: &Evidence) -> Option<(u8, FactorCause)> {
        let overflowed = evidence.sampled_overflows != self.overflows;
        self.overflows = evidence.sampled_overflows;
        let limited = self.is_newly_limited(now, evidence.sampled_limited_until);
        let grown = self.has_grown(evidence);
        if evidence.stalled {
            self.quiet_since = None;
            return None;
        }
        let low = evidence.fill_permille < self.config.low_permille;
        let cause = if overflowed {
            FactorCause::QueueOverflow
        } else if let Some(cause) = grown {
            cause
        } else if limited {
            FactorCause::Limited
        } else if low && evidence.sampled_limited_until.is_none_or(|until| until <= now) {
            return self.quiet(now);
        } else {
            // Not overloaded, not quiet: stay.
            self.quiet_since = None;
            return None;
        };
        self.quiet_since = None;
        if core::mem::replace(&mut self.on_trial, false) {
            self.stretch = self.stretch.saturating_mul(2).min(MAX_STRETCH);
        }
        Some((self.factor.saturating_add(1), cause))
    }

    /// Whether the queue is fuller than it has been since it passed the mark in force, and what to call it.
    fn has_grown(&mut self, evidence: &Evidence) -> Option<FactorCause> {
        let fill = evidence.fill_permille;
        let (mark, cause) = if evidence.breaker_open {
            (self.config.low_permille, FactorCause::BreakerOpen)
        } else {
            (self.config.high_permille, FactorCause::QueueHigh)
        };
        if fill < mark {
            self.peak_permille = 0;
            return None;
        }
        let has_grown = fill > self.peak_permille;
        self.peak_permille = fill.max(self.peak_permille);
        let cause = match evidence {
            Evidence { queue_full: true, .. } => FactorCause::QueueFull,
            _ if fill >= self.config.high_permille => FactorCause::QueueHigh,
            _ => cause,
        };
        has_grown.then_some(cause)
    }

    /// True once for each limit: when it begins. What makes it longer while it lasts is the same limit, told by answers
    /// to requests that were under way or carried something else.
    fn is_newly_limited(&mut self, now: Instant, until: Option<Instant>) -> bool {
        let goes_on = self.limited_until.is_some_and(|known| now < known);
        if let Some(until) = until.filter(|until| *until > now) {
            self.limited_until = Some(until);
            !goes_on
        } else {
            self.limited_until = None;
            false
        }
    }

    fn quiet(&mut self, now: Instant) -> Option<(u8, FactorCause)> {
        let since = *self.quiet_since.get_or_insert(now);
        let window = self.config.quiet.saturating_mul(u64::from(self.stretch));
        if now.since(since) < window {
            return None;
        }
        if core::mem::replace(&mut self.on_trial, true) {
            self.stretch = (self.stretch / 2).max(1);
        }
        self.quiet_since = Some(now);
        if self.factor == 0 {
            self.on_trial = false;
            self.stretch = 1;
        }
        Some((self.factor.saturating_sub(1), FactorCause::Quiet))
    }
}

const fn interval(config: &MonitorConfig) -> Duration {
    match config.policy {
        Policy::SentryCompatible => SENTRY_TICK,
        Policy::Adaptive | Policy::Off => config.tick,
    }
}

#[cfg(test)]
mod tests;
