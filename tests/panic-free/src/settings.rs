//! Settings of any values; the engine refuses what its documentation rules out, and must live with the rest.

use surgetank_core::backoff::BackoffConfig;
use surgetank_core::breaker::BreakerConfig;
use surgetank_core::concurrency::ConcurrencyConfig;
use surgetank_core::config::{BatchConfig, Config, DestinationConfig, Protocol, WhenFull};
use surgetank_core::downsample::{MonitorConfig, Policy};
use surgetank_core::health::HealthConfig;
use surgetank_core::pressure::{Mark, Marks};
use surgetank_core::time::Duration;

use crate::input::Tape;

/// A span of time.
pub(crate) fn span(tape: &mut Tape) -> Duration {
    Duration::from_micros(tape.long())
}

fn permille(tape: &mut Tape) -> u16 {
    u16::from_le_bytes(tape.array())
}

/// Settings of an engine.
pub(crate) fn engine(tape: &mut Tape) -> Config {
    Config {
        max_age: span(tape),
        when_full: if tape.flag() {
            WhenFull::DropOldest
        } else {
            WhenFull::RefuseNewest
        },
        reserve_permille: permille(tape),
        report_delay: span(tape),
        stall_grace: span(tape),
        monitor: MonitorConfig {
            policy: match tape.byte() {
                0 => Policy::Off,
                1 => Policy::SentryCompatible,
                _ => Policy::Adaptive,
            },
            tick: span(tape),
            quiet: span(tape),
            high_permille: permille(tape),
            low_permille: permille(tape),
        },
        health: HealthConfig {
            queue: marks(tape),
            memory: marks(tape),
            slot_stuck_after: span(tape),
            dwell: span(tape),
        },
    }
}

fn marks(tape: &mut Tape) -> Marks {
    let mut mark = || Mark {
        enter: permille(tape),
        leave: permille(tape),
    };
    Marks {
        early: mark(),
        high: mark(),
        critical: mark(),
    }
}

/// Settings of a destination.
pub(crate) fn destination(tape: &mut Tape) -> DestinationConfig {
    DestinationConfig {
        protocol: if tape.flag() {
            Protocol::Sentry
        } else {
            Protocol::Otlp
        },
        share_permille: permille(tape),
        timeout: span(tape),
        client_reports: tape.flag(),
        batch: BatchConfig {
            max_delay: span(tape),
            max_records: tape.word(),
            max_bytes: tape.word(),
        },
        concurrency: ConcurrencyConfig {
            initial: tape.byte(),
            max: tape.byte(),
            slack: span(tape),
        },
        backoff: backoff(tape),
        breaker: BreakerConfig {
            consecutive_failures: tape.byte(),
            failure_percent: tape.byte(),
            window: tape.byte(),
            pause: backoff(tape),
        },
        retry_resource_exhausted: tape.flag(),
    }
}

fn backoff(tape: &mut Tape) -> BackoffConfig {
    BackoffConfig {
        initial: span(tape),
        max: span(tape),
        jitter_percent: tape.byte(),
    }
}
