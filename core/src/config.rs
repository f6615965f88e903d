//! What a host decides once: policies, memory shares, time-outs, batch sizes. Checked before anything runs.

use crate::backoff::BackoffConfig;
use crate::breaker::BreakerConfig;
use crate::concurrency::ConcurrencyConfig;
use crate::config_error::ConfigError;
use crate::downsample::MonitorConfig;
use crate::health::HealthConfig;
use crate::time::Duration;

/// Protocol a destination speaks. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Sentry envelopes: per-category limits, client reports; a 429 is never resent.
    Sentry,
    /// OTLP over HTTP or gRPC: requests are retried as the OTLP specification says.
    Otlp,
}

/// What happens to a new record when the queue has no room for it. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    /// The oldest records of the lowest lane (up to the new record's own) make room. For a client inside a program.
    DropOldest,
    /// The new record is refused, bulk before errors, so that its sender can be told. For a relay that has not
    /// acknowledged it yet. What was accepted is never evicted.
    RefuseNewest,
}

/// Settings of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long after it was recorded a record may still be retried. Default 10 minutes.
    pub max_age: Duration,
    /// Who gives way when the queue is full. Default [`WhenFull::DropOldest`].
    pub when_full: WhenFull,
    /// Share of the queue, in permille, that only the critical and high lanes may fill. 0..=900, default 100.
    pub reserve_permille: u16,
    /// How long losses wait for an outgoing envelope before they are reported in one of their own. Default 60 s.
    pub report_delay: Duration,
    /// How long beyond its time-out a request may stay unanswered by the host before the engine gives it up and
    /// reports a stall. Default 5 s.
    pub stall_grace: Duration,
    /// Downsampling.
    pub monitor: MonitorConfig,
    /// Health thresholds.
    pub health: HealthConfig,
}

impl Config {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        max_age: Duration::from_secs(600),
        when_full: WhenFull::DropOldest,
        reserve_permille: 100,
        report_delay: Duration::from_secs(60),
        stall_grace: Duration::from_secs(5),
        monitor: MonitorConfig::DEFAULT,
        health: HealthConfig::DEFAULT,
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.reserve_permille > 900 {
            return Err(ConfigError::new("reserve_permille", "at most 900"));
        }
        if self.max_age.is_zero() {
            return Err(ConfigError::new("max_age", "longer than zero"));
        }
        if self.report_delay.is_zero() {
            return Err(ConfigError::new("report_delay", "longer than zero"));
        }
        self.monitor.validate()?;
        self.health.validate()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How records that come one by one are gathered into a request.
#[derive(Clone, Copy, Debug)]
pub struct BatchConfig {
    /// How long the oldest may wait for company. Default 5 s (OTLP batch processor, Sentry log batches).
    pub max_delay: Duration,
    /// Records in one request; Sentry containers have their own, smaller bounds. 1.., default 512.
    pub max_records: u32,
    /// Payload bytes in one request; a single larger record goes alone. 1.., default 1 MiB.
    pub max_bytes: u32,
}

impl BatchConfig {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        max_delay: Duration::from_secs(5),
        max_records: 512,
        max_bytes: 1024 * 1024,
    };
}

/// Settings of one destination.
#[derive(Clone, Copy, Debug)]
pub struct DestinationConfig {
    /// What it speaks.
    pub protocol: Protocol,
    /// Most of the queue it may fill, in permille. 1..=1000, default 1000.
    pub share_permille: u16,
    /// How long one attempt may take. Default 30 s for Sentry, 10 s for OTLP.
    pub timeout: Duration,
    /// Whether losses are reported to it (Sentry only). Default true.
    pub client_reports: bool,
    /// Batching.
    pub batch: BatchConfig,
    /// Requests in flight.
    pub concurrency: ConcurrencyConfig,
    /// Pauses between attempts.
    pub backoff: BackoffConfig,
    /// Circuit breaker.
    pub breaker: BreakerConfig,
    /// Retry `RESOURCE_EXHAUSTED` without `RetryInfo` although the OTLP specification says not to: collectors under
    /// memory pressure answer so. Default false.
    pub retry_resource_exhausted: bool,
}

impl DestinationConfig {
    /// Defaults for a Sentry server.
    pub const SENTRY: Self = Self {
        protocol: Protocol::Sentry,
        share_permille: 1000,
        timeout: Duration::from_secs(30),
        client_reports: true,
        batch: BatchConfig::DEFAULT,
        concurrency: ConcurrencyConfig::SENTRY,
        backoff: BackoffConfig::DEFAULT,
        breaker: BreakerConfig::DEFAULT,
        retry_resource_exhausted: false,
    };

    /// Defaults for an OTLP receiver.
    pub const OTLP: Self = Self {
        protocol: Protocol::Otlp,
        timeout: Duration::from_secs(10),
        client_reports: false,
        concurrency: ConcurrencyConfig::OTLP,
        ..Self::SENTRY
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.share_permille == 0 || self.share_permille > 1000 {
            return Err(ConfigError::new("share_permille", "1 to 1000"));
        }
        if self.timeout.is_zero() {
            return Err(ConfigError::new("timeout", "longer than zero"));
        }
        if self.batch.max_records == 0 {
            return Err(ConfigError::new("batch.max_records", "at least 1"));
        }
        if self.batch.max_bytes == 0 {
            return Err(ConfigError::new("batch.max_bytes", "at least 1"));
        }
        self.concurrency.validate()?;
        self.backoff.validate()?;
        self.breaker.validate()
    }
}
