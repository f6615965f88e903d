//! Input windows as a host writes them: fields, settings, answers. Written from `ABI.md`, not with the module's code.

use surgetank_core::backoff::BackoffConfig;
use surgetank_core::config::{Config, DestinationConfig, Protocol, WhenFull};
use surgetank_core::downsample::Policy;
use surgetank_core::pressure::Marks;
use surgetank_core::response::Response;

/// A row of fields.
#[derive(Default)]
pub(crate) struct Row(pub(crate) Vec<u8>);

impl Row {
    pub(crate) fn bytes(&mut self, tag: u32, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// A number, in as few bytes as it needs.
    pub(crate) fn number(&mut self, tag: u32, value: impl Into<u64>) -> &mut Self {
        let value = value.into();
        let bytes = (8 - value.leading_zeros() as usize / 8).max(1);
        self.bytes(tag, &value.to_le_bytes()[..bytes])
    }
}

/// Settings of an engine.
pub(crate) fn engine(config: &Config, row: &mut Row) {
    let when_full = match config.when_full {
        WhenFull::DropOldest => 0u64,
        WhenFull::RefuseNewest => 1,
    };
    let policy = match config.monitor.policy {
        Policy::Off => 0u64,
        Policy::SentryCompatible => 1,
        Policy::Adaptive => 2,
    };
    row.number(16, config.max_age.as_micros())
        .number(17, when_full)
        .number(18, config.reserve_permille)
        .number(19, config.report_delay.as_micros())
        .number(20, config.stall_grace.as_micros())
        .number(24, policy)
        .number(25, config.monitor.tick.as_micros())
        .number(26, config.monitor.quiet.as_micros())
        .number(27, config.monitor.high_permille)
        .number(28, config.monitor.low_permille)
        .number(48, config.health.slot_stuck_after.as_micros())
        .number(49, config.health.dwell.as_micros());
    marks(32, config.health.queue, row);
    marks(40, config.health.memory, row);
}

fn marks(first: u32, marks: Marks, row: &mut Row) {
    for (tag, mark) in (first..)
        .step_by(2)
        .zip([marks.early, marks.high, marks.critical])
    {
        row.number(tag, mark.enter).number(tag + 1, mark.leave);
    }
}

/// Settings of a destination.
pub(crate) fn destination(config: &DestinationConfig) -> Vec<u8> {
    let mut row = Row::default();
    let protocol = match config.protocol {
        Protocol::Sentry => 0u64,
        Protocol::Otlp => 1,
    };
    row.number(64, protocol)
        .number(65, config.share_permille)
        .number(66, config.timeout.as_micros())
        .number(67, config.client_reports)
        .number(68, config.batch.max_delay.as_micros())
        .number(69, config.batch.max_records)
        .number(70, config.batch.max_bytes)
        .number(71, config.concurrency.initial)
        .number(72, config.concurrency.max)
        .number(73, config.concurrency.slack.as_micros())
        .number(77, config.breaker.consecutive_failures)
        .number(78, config.breaker.failure_percent)
        .number(79, config.breaker.window)
        .number(83, config.retry_resource_exhausted);
    backoff(74, config.backoff, &mut row);
    backoff(80, config.breaker.pause, &mut row);
    row.0
}

fn backoff(first: u32, config: BackoffConfig, row: &mut Row) {
    row.number(first, config.initial.as_micros())
        .number(first + 1, config.max.as_micros())
        .number(first + 2, config.jitter_percent);
}

/// A server's answer.
pub(crate) fn response(response: &Response<'_>) -> Vec<u8> {
    let mut row = Row::default();
    row.number(1, response.status)
        .number(2, response.wall.as_micros())
        .bytes(6, response.body);
    if let Some(value) = response.retry_after {
        row.bytes(3, value);
    }
    for line in response.rate_limits {
        row.bytes(4, line);
    }
    if let Some(value) = response.content_type {
        row.bytes(5, value);
    }
    if let Some(grpc) = response.grpc {
        row.bytes(7, &[]);
        if let Some(code) = grpc.code {
            row.number(8, code);
        }
        if let Some(message) = grpc.message {
            row.bytes(9, message);
        }
        if let Some(details) = grpc.details {
            row.bytes(10, details);
        }
    }
    row.0
}
