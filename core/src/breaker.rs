//! The circuit breaker of one destination: after enough failures nothing is sent but one probe at a time.
//!
//! ```text
//!            failures in a row, or too many of the last outcomes
//!   Closed ------------------------------------------------------> Open(until)
//!     ^                                                               | the pause is over, allow() is asked
//!     | the probe succeeded                                           v
//!     +---------------------------------------------------------- HalfOpen (one probe in flight)
//!                 Open, with a longer pause <--- the probe failed ----+
//! ```
//!
//! - The pause is an exponential back-off of its own. It does not start anew with each opening: only after as many
//!   successes in a row as failures are needed to open does it fall back to the first pause. A server that answers one
//!   probe and fails again is so asked less and less often.
//! - Every opening, closing and probe begins a new *epoch*, and a [`Permit`] names its epoch. Requests sent before the
//!   breaker opened may still fail or succeed afterwards; their outcome says nothing about the server now and is
//!   ignored, except that a delay the server asks for is always kept.
//! - Only [`Breaker::allow`] begins a probe, so there is never more than one, and a probe that vanishes is given back
//!   with [`Breaker::give_back`].
//!
//! What counts as failure is the caller's judgement. Meant is: no answer, or an answer that says the server cannot work
//! (502, 503, 504). A 429 or a 4xx is an answer of a server that works: a success here.

use crate::backoff::{Backoff, BackoffConfig};
use crate::config_error::ConfigError;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use serde::Serialize;

/// Settings of a [`Breaker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerConfig {
    /// Failures in a row that open it. 1..=64, default 5.
    pub consecutive_failures: u8,
    /// Failures among the last `window` outcomes that open it, in percent. 1..=100, default 50. Judged only when there
    /// have been `window` outcomes since it closed.
    pub failure_percent: u8,
    /// Outcomes that are remembered. 8..=64, default 32.
    pub window: u8,
    /// How long it stays open: first and longest pause, jitter. Default 1 s, doubling up to 60 s (as long as Relay
    /// waits between its probes at most), ±50 %.
    pub pause: BackoffConfig,
}

impl BreakerConfig {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        consecutive_failures: 5,
        failure_percent: 50,
        window: 32,
        pause: BackoffConfig {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            jitter_percent: 50,
        },
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless(
            matches!(self.consecutive_failures, 1..=64),
            "breaker.consecutive_failures",
            "1 to 64",
        )?;
        ConfigError::unless(
            matches!(self.failure_percent, 1..=100),
            "breaker.failure_percent",
            "1 to 100",
        )?;
        ConfigError::unless(matches!(self.window, 8..=64), "breaker.window", "8 to 64")?;
        self.pause
            .validate()
            .map_err(|error| ConfigError::new("breaker.pause", error.allowed()))
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a breaker does. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Everything may be sent.
    Closed,
    /// Nothing may be sent; after [`Breaker::open_until`] one probe may.
    Open,
    /// One probe may be sent, or is in flight.
    HalfOpen,
}

/// The breaker's answer to "may this request go?". Goes with the request and comes back with its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a granted permit must come back with an outcome or be given back"]
pub struct Permit {
    epoch: u32,
    kind: PermitKind,
}

/// What a [`Permit`] permits. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PermitKind {
    /// The breaker is closed: send it.
    Closed,
    /// Send it; it is the one request that decides whether the breaker closes.
    Probe,
    /// Do not send.
    No,
}

impl Permit {
    /// Permits nothing; of no epoch.
    pub const NONE: Self = Self {
        epoch: 0,
        kind: PermitKind::No,
    };

    /// What it permits.
    #[must_use]
    pub const fn kind(self) -> PermitKind {
        self.kind
    }

    /// True when the request may be sent.
    #[must_use]
    pub const fn is_granted(self) -> bool {
        !matches!(self.kind, PermitKind::No)
    }

    /// True when the request is a probe.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        matches!(self.kind, PermitKind::Probe)
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// `probing`: the probe of this epoch is in flight.
    HalfOpen {
        probing: bool,
    },
}

/// The circuit breaker of one destination. No call does more than a few steps.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    pause: Backoff,
    state: State,
    /// Counts openings, closings and probes; wraps. A request would have to outlive four thousand million of them to
    /// be mistaken for a later one.
    epoch: u32,
    /// The last outcomes since it closed, the newest in bit 0, 1 for a failure.
    outcomes: u64,
    /// How many of them there are.
    known: u8,
    failures_in_a_row: u8,
    successes_in_a_row: u8,
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub const fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            pause: Backoff::new(config.pause),
            state: State::Closed,
            epoch: 0,
            outcomes: 0,
            known: 0,
            failures_in_a_row: 0,
            successes_in_a_row: 0,
        }
    }

    /// May a request go at `now`? A [`PermitKind::Probe`] takes the only probe: ask only when there is something to
    /// send, and give it back when nothing was sent after all.
    pub fn allow(&mut self, now: Instant) -> Permit {
        let kind = match self.state {
            State::Closed => PermitKind::Closed,
            State::Open { until } if now >= until => PermitKind::Probe,
            State::HalfOpen { probing: false } => PermitKind::Probe,
            State::Open { .. } | State::HalfOpen { probing: true } => PermitKind::No,
        };
        if kind == PermitKind::Probe {
            self.epoch = self.epoch.wrapping_add(1);
            self.state = State::HalfOpen { probing: true };
        }
        Permit {
            epoch: self.epoch,
            kind,
        }
    }

    /// The request was answered by a server that works. Returns the new state when it changed.
    pub fn on_success(&mut self, permit: Permit) -> Option<BreakerState> {
        if !self.is_current(permit) {
            return None;
        }
        match self.state {
            State::Closed => {
                self.note(false);
                None
            }
            State::HalfOpen { probing: true } => {
                self.epoch = self.epoch.wrapping_add(1);
                self.state = State::Closed;
                self.outcomes = 0;
                self.known = 0;
                self.failures_in_a_row = 0;
                self.successes_in_a_row = 0;
                self.note(false);
                Some(BreakerState::Closed)
            }
            State::HalfOpen { probing: false } | State::Open { .. } => None,
        }
    }

    /// The request failed. `server_delay` is what the server asked to wait, if it did. Returns the new state when it
    /// changed.
    pub fn on_failure(
        &mut self,
        now: Instant,
        permit: Permit,
        rng: &mut Rng,
        server_delay: Option<Duration>,
    ) -> Option<BreakerState> {
        if !self.is_current(permit) {
            // Too old to be judged; but what the server asked for holds whoever was told.
            if let (State::Open { until }, Some(delay)) = (&mut self.state, server_delay) {
                *until = (*until).max(now.saturating_add(delay));
            }
            return None;
        }
        match self.state {
            State::Closed => {
                self.note(true);
                if !self.is_too_much() {
                    return None;
                }
                self.open(now, rng, server_delay);
                Some(BreakerState::Open)
            }
            State::HalfOpen { probing: true } => {
                self.open(now, rng, server_delay);
                Some(BreakerState::Open)
            }
            State::HalfOpen { probing: false } | State::Open { .. } => None,
        }
    }

    /// The request that `permit` was for ended without an outcome: it was never sent, or it was dropped while in
    /// flight. If it was the probe, another may go at once. Anything else, and anything stale, changes nothing.
    pub fn give_back(&mut self, permit: Permit) {
        if permit.is_probe()
            && permit.epoch == self.epoch
            && let State::HalfOpen { probing } = &mut self.state
        {
            *probing = false;
        }
    }

    /// What it does now. It stays [`BreakerState::Open`] after its pause until a probe is asked for.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// When a probe may go, while open; `None` in the other states.
    #[must_use]
    pub const fn open_until(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    /// True while a probe is in flight: nothing may go, and time alone will not change that.
    #[must_use]
    pub const fn awaits_probe(&self) -> bool {
        matches!(self.state, State::HalfOpen { probing: true })
    }

    /// True when the permit was given in the present epoch, for what the present state permits.
    fn is_current(&self, permit: Permit) -> bool {
        permit.epoch == self.epoch
            && match permit.kind {
                PermitKind::Closed => matches!(self.state, State::Closed),
                PermitKind::Probe => matches!(self.state, State::HalfOpen { probing: true }),
                PermitKind::No => false,
            }
    }

    fn note(&mut self, failed: bool) {
        self.outcomes = (self.outcomes << 1) | u64::from(failed);
        self.known = self.known.saturating_add(1).min(self.config.window);
        if failed {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.successes_in_a_row = 0;
        } else {
            self.failures_in_a_row = 0;
            self.successes_in_a_row = self.successes_in_a_row.saturating_add(1);
            if self.successes_in_a_row >= self.config.consecutive_failures {
                self.pause.reset();
            }
        }
    }

    fn is_too_much(&self) -> bool {
        if self.failures_in_a_row >= self.config.consecutive_failures {
            return true;
        }
        let window = u32::from(self.config.window);
        let mask = u64::MAX
            .checked_shr(u64::BITS.saturating_sub(window))
            .unwrap_or(0);
        let failures = (self.outcomes & mask).count_ones();
        self.known >= self.config.window
            && failures.saturating_mul(100) >= window.saturating_mul(u32::from(self.config.failure_percent))
    }

    fn open(&mut self, now: Instant, rng: &mut Rng, server_delay: Option<Duration>) {
        let pause = self.pause.next(rng, server_delay);
        self.epoch = self.epoch.wrapping_add(1);
        self.state = State::Open {
            until: now.saturating_add(pause),
        };
    }
}

#[cfg(test)]
mod tests;
