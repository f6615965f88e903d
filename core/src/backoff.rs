//! How long to wait before the next attempt: exponential, capped, jittered, never less than the server asked for.
//!
//! Every interval is twice the one before, up to a cap. The wait is the interval ± its jitter. The OpenTelemetry
//! protocol specification demands jitter and leaves its size open ("OTLP/HTTP Throttling", "OTLP/gRPC Throttling");
//! this takes ±50 %, as the Go SDK and the Collector do, not the ±20 % of the Python, JavaScript and Java SDKs. An
//! outage makes a whole fleet fail in the same instant. With a factor of two and ±20 %, the second attempts lie between
//! 2.4 and 3.6 intervals, the third between 5.6 and 8.4: separate waves, with silence between them. From ±33 % on the waves
//! overlap, and at ±50 % the fleet is spread out after two attempts.
//!
//! A delay that the server gave (`Retry-After`, `RetryInfo`) is a minimum: the wait is at least that long, and the
//! intervals go on growing from it. It is jittered upwards only, by as much as this attempt's own interval would have been:
//! clients told the same date must not come back in one instant, but nothing is held much longer than the server
//! wanted.
//!
//! Where several requests are in flight at once, one failing server makes all of them fail. That is one failure, not
//! many: [`Backoff::on_failure`] lets the interval grow only for requests sent after the last growth, and
//! [`Backoff::on_success`] lets only such requests end it.
//!
//! It counts attempts, it does not limit them: age and memory do (see the engine).

use crate::config_error::ConfigError;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// Settings of a [`Backoff`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackoffConfig {
    /// The first interval. 1 ms..=1 h, default 1 s (as in the Python, JavaScript and Java SDKs).
    pub initial: Duration,
    /// The longest interval, before jitter. `initial`..=24 h, default 30 s (as in the Go SDK and the Collector): the
    /// end of an outage is noticed within 45 s.
    pub max: Duration,
    /// Jitter, in percent of the interval, each way. 10..=90, default 50. Less than 10 would break the specification in
    /// spirit, more than 90 would make waits that are no waits.
    pub jitter_percent: u8,
}

impl BackoffConfig {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(30),
        jitter_percent: 50,
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let hour = Duration::from_secs(3_600);
        ConfigError::unless(
            self.initial >= Duration::from_millis(1) && self.initial <= hour,
            "backoff.initial",
            "1 ms to 1 hour",
        )?;
        ConfigError::unless(
            self.max >= self.initial && self.max <= hour.saturating_mul(24),
            "backoff.max",
            "at least backoff.initial and at most 24 hours",
        )?;
        ConfigError::unless(
            matches!(self.jitter_percent, 10..=90),
            "backoff.jitter_percent",
            "10 to 90",
        )
    }
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The waits between attempts that fail one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    /// The next interval, before jitter.
    interval: Duration,
    attempts: u32,
    /// When [`Backoff::on_failure`] last let the interval grow.
    failed_at: Option<Instant>,
}

impl Backoff {
    /// Before any failure.
    #[must_use]
    pub const fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            interval: config.initial,
            attempts: 0,
            failed_at: None,
        }
    }

    /// How long to wait, from `now`, after the failure of a request that was sent at `sent_at`. Of requests that were in
    /// flight together only the first to fail makes the interval grow and waits for it; for the others the answer is
    /// what the server asked for, zero if nothing. The longest wait holds.
    pub fn on_failure(
        &mut self,
        now: Instant,
        sent_at: Instant,
        rng: &mut Rng,
        server_delay: Option<Duration>,
    ) -> Duration {
        if self.failed_at.is_some_and(|failed| sent_at <= failed) {
            return server_delay.unwrap_or(Duration::ZERO);
        }
        self.failed_at = Some(now);
        self.next(rng, server_delay)
    }

    /// A request that was sent at `sent_at` succeeded. Starts anew, unless another one failed since it was sent.
    pub fn on_success(&mut self, sent_at: Instant) {
        if self.failed_at.is_none_or(|failed| sent_at > failed) {
            self.reset();
        }
    }

    /// How long to wait after one more failure, whatever was in flight with it.
    ///
    /// At least `server_delay` where the server gave one. Otherwise within the jitter of the interval, which lies
    /// between `initial` and `max`. With both, whichever is longer.
    pub fn next(&mut self, rng: &mut Rng, server_delay: Option<Duration>) -> Duration {
        let own = rng.jitter(self.interval, self.config.jitter_percent);
        let wait = match server_delay {
            None => own,
            Some(least) => {
                let reach = self
                    .interval
                    .div(100)
                    .saturating_mul(u64::from(self.config.jitter_percent));
                let spread = Duration::from_micros(rng.below(reach.as_micros().saturating_add(1)));
                own.max(least.saturating_add(spread))
            }
        };
        let from = self.interval.max(server_delay.unwrap_or(Duration::ZERO));
        self.interval = from.saturating_mul(2).min(self.config.max);
        self.attempts = self.attempts.saturating_add(1);
        wait
    }

    /// An attempt succeeded: the next failure starts from the first interval.
    pub const fn reset(&mut self) {
        self.interval = self.config.initial;
        self.attempts = 0;
        self.failed_at = None;
    }

    /// Failures since the last success.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;
    use std::vec::Vec;

    const CONFIG: BackoffConfig = BackoffConfig::DEFAULT;

    fn is_within(wait: Duration, interval_secs: u64) -> bool {
        let interval = Duration::from_secs(interval_secs);
        wait >= interval.div(2) && wait <= interval.saturating_mul(3).div(2)
    }

    #[test]
    fn intervals_double_up_to_the_cap() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        for interval in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next(&mut rng, None);
            assert!(is_within(wait, interval), "{interval} s: {wait:?}");
        }
        assert_eq!(backoff.attempts(), 8);
    }

    #[test]
    fn a_success_starts_anew() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        for _ in 0..5 {
            backoff.next(&mut rng, None);
        }
        backoff.reset();
        assert_eq!(backoff.attempts(), 0);
        assert!(is_within(backoff.next(&mut rng, None), 1));
    }

    #[test]
    fn the_server_is_waited_for_and_then_the_interval_grows_from_its_delay() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        let asked = Duration::from_secs(5);
        let wait = backoff.next(&mut rng, Some(asked));
        assert!(wait >= asked && wait <= Duration::from_millis(5_500), "{wait:?}");
        assert!(is_within(backoff.next(&mut rng, None), 10));
        assert!(is_within(backoff.next(&mut rng, None), 20));
        assert!(is_within(backoff.next(&mut rng, None), 30));
    }

    #[test]
    fn a_server_delay_over_the_cap_is_kept() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        let asked = Duration::from_secs(600);
        assert!(backoff.next(&mut rng, Some(asked)) >= asked);
        assert!(is_within(backoff.next(&mut rng, None), 30));
    }

    #[test]
    fn a_server_delay_under_the_own_interval_does_not_shorten_it() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        for _ in 0..5 {
            backoff.next(&mut rng, None);
        }
        assert!(is_within(backoff.next(&mut rng, Some(Duration::ZERO)), 30));
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        let at = |millis: u64| Instant::from_micros(millis * 1_000);
        assert!(is_within(backoff.on_failure(at(100), at(50), &mut rng, None), 1));
        for sent in 51..=100 {
            assert_eq!(
                backoff.on_failure(at(150), at(sent), &mut rng, None),
                Duration::ZERO
            );
        }
        let asked = Some(Duration::from_secs(7));
        assert_eq!(
            backoff.on_failure(at(150), at(60), &mut rng, asked),
            Duration::from_secs(7)
        );
        assert_eq!(backoff.attempts(), 1);
        assert!(is_within(
            backoff.on_failure(at(1_500), at(1_400), &mut rng, None),
            2
        ));
        assert_eq!(backoff.attempts(), 2);
    }

    #[test]
    fn only_a_request_sent_after_the_failure_ends_it() {
        let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(1));
        let at = |millis: u64| Instant::from_micros(millis * 1_000);
        backoff.on_failure(at(100), at(50), &mut rng, None);
        backoff.on_success(at(60));
        assert_eq!(backoff.attempts(), 1);
        backoff.on_success(at(101));
        assert_eq!(backoff.attempts(), 0);
        assert!(is_within(backoff.on_failure(at(300), at(200), &mut rng, None), 1));
    }

    #[test]
    fn a_fleet_that_failed_at_once_is_spread_out_after_two_attempts() {
        let mut seconds = [0u32; 5];
        for seed in 0..4_000 {
            let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(seed));
            let first = backoff.next(&mut rng, None);
            let second = first.saturating_add(backoff.next(&mut rng, None));
            seconds[second.as_secs() as usize] += 1;
        }
        // From 1.5 to 4.5 s, none of them with more than half.
        assert!(
            seconds[1..].iter().all(|count| (1..2_000).contains(count)),
            "{seconds:?}"
        );
    }

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(CONFIG.validate(), Ok(()));
        let field = |config: BackoffConfig| config.validate().unwrap_err().field();
        let (none, long) = (Duration::ZERO, Duration::from_secs(90_000));
        assert_eq!(
            field(BackoffConfig {
                initial: none,
                ..CONFIG
            }),
            "backoff.initial"
        );
        assert_eq!(
            field(BackoffConfig {
                initial: long,
                ..CONFIG
            }),
            "backoff.initial"
        );
        assert_eq!(field(BackoffConfig { max: none, ..CONFIG }), "backoff.max");
        assert_eq!(field(BackoffConfig { max: long, ..CONFIG }), "backoff.max");
        for jitter_percent in [0, 9, 91, 255] {
            assert_eq!(
                field(BackoffConfig {
                    jitter_percent,
                    ..CONFIG
                }),
                "backoff.jitter_percent"
            );
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(
            initial_us in 1_000u64..3_600_000_000,
            more_us in 0u64..80_000_000_000,
            jitter_percent in 10u8..=90,
            seed: u64,
            delays in proptest::collection::vec(proptest::option::of(prop_oneof![0u64..100_000_000, any::<u64>()]), 1..60),
        ) {
            let config = BackoffConfig {
                initial: Duration::from_micros(initial_us),
                max: Duration::from_micros(initial_us + more_us),
                jitter_percent,
            };
            prop_assert_eq!(config.validate(), Ok(()));
            let (mut backoff, mut rng) = (Backoff::new(config), Rng::new(seed));
            let percent = u64::from(jitter_percent);
            let least = config.initial.saturating_mul(100 - percent).div(100);
            let most = config.max.saturating_mul(100 + percent).div(100);
            for delay in delays.into_iter().map(|delay| delay.map(Duration::from_micros)) {
                let wait = backoff.next(&mut rng, delay);
                prop_assert!(wait >= least);
                match delay {
                    None => prop_assert!(wait <= most),
                    Some(delay) => {
                        prop_assert!(wait >= delay);
                        prop_assert!(wait <= most.max(delay.saturating_add(config.max)));
                    }
                }
            }
        }

        #[test]
        fn the_same_seed_gives_the_same_waits(seed: u64) {
            let waits = || {
                let (mut backoff, mut rng) = (Backoff::new(CONFIG), Rng::new(seed));
                (0..20).map(|_| backoff.next(&mut rng, None)).collect::<Vec<_>>()
            };
            prop_assert_eq!(waits(), waits());
        }
    }
}
