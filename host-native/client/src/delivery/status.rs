//! How a delivery is doing, at a glance.

use serde::Serialize;
use surgetank_core::breaker::BreakerState;
use surgetank_core::config::Protocol;
use surgetank_core::health::Health;
use surgetank_core::item::{Category, DestinationId, Priority};
use surgetank_core::time::Instant;

use super::sums::Sums;
use crate::diagnostics::DiagnosticCounts;

/// A snapshot of a delivery. Holds no secrets: destinations go by their index.
#[derive(Clone, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// How well it works, and why not better.
    pub health: Health,
    /// The delivery thread.
    pub worker: WorkerStatus,
    /// The queue of the engine.
    pub queue: Fill,
    /// The ring in front of it.
    pub intake: Fill,
    /// Spans that ended and wait for the root of their transaction, beside the queue. Its memory is reserved with the
    /// first of them. Always empty without feature `opentelemetry`.
    pub assembly: Fill,
    /// What requests carry that no answer has come to.
    pub in_flight: InFlight,
    /// The downsample factor: one root in 2^factor is kept. 0 to 10.
    pub downsample_factor: u8,
    /// Each destination that is open.
    pub destinations: Vec<DestinationReport>,
    /// What became of everything recorded; what still lies in the intake is not in it. Up to date unless the thread is
    /// stuck, at most [`PUBLISH_INTERVAL`](super::PUBLISH_INTERVAL) old when it is only busy.
    pub totals: Sums,
    /// Answers to requests that were settled already.
    pub stale_answers: u32,
    /// Requests that were not settled in their time.
    pub stalls: u32,
    /// Notices that were lost because too many came at once.
    pub notices_lost: u32,
    /// Diagnostics.
    pub diagnostics: DiagnosticCounts,
}

/// The delivery thread.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// What it does.
    pub state: WorkerState,
    /// Times a producer woke it.
    pub wake_ups: u64,
    /// Panics it caught and went on after.
    pub restarts: u32,
    /// Times the operating system gave no thread or no runtime.
    pub failed_starts: u32,
}

/// What the delivery thread does. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Nothing was recorded yet, or the thread could not be started and is tried again with the next record.
    #[default]
    NotStarted,
    /// It runs.
    Running,
    /// It ended after `close`.
    Ended,
}

/// Memory in use.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct Fill {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes there are.
    pub capacity_bytes: u64,
}

/// What requests carry that no answer has come to. It is queued as well: a record stays until it is settled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct InFlight {
    /// Spans, those of transactions included.
    pub spans: u64,
    /// Log records.
    pub logs: u64,
}

impl InFlight {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            spans: self.spans.saturating_add(other.spans),
            logs: self.logs.saturating_add(other.logs),
        }
    }
}

/// One destination.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DestinationReport {
    /// Its index.
    pub index: u8,
    /// `sentry` or `otlp`.
    pub protocol: &'static str,
    /// Circuit breaker.
    pub breaker: BreakerState,
    /// Categories under a live rate limit.
    pub limited: Vec<&'static str>,
    /// Milliseconds for which nothing is sent because of back-off, the server's word, or the breaker.
    pub paused_ms: Option<u64>,
    /// Records that wait, most important lane first.
    pub waiting: [u32; Priority::COUNT],
    /// Requests in flight.
    pub in_flight: u32,
    /// Requests that wait for another attempt.
    pub parked: u32,
    /// How many requests may be in flight now.
    pub concurrency: u8,
}

/// What the delivery thread publishes.
#[derive(Clone, Default, Debug)]
pub(crate) struct Snapshot {
    pub(crate) taken: Instant,
    pub(crate) health: Health,
    pub(crate) queue: Fill,
    pub(crate) assembly: Fill,
    pub(crate) in_flight: InFlight,
    pub(crate) factor: u8,
    pub(crate) stale_answers: u32,
    pub(crate) stalls: u32,
    pub(crate) notices_lost: u32,
    pub(crate) destinations: Vec<DestinationReport>,
    pub(crate) sums: Sums,
    pub(crate) diagnostics: DiagnosticCounts,
}

pub(crate) fn report(
    id: DestinationId,
    protocol: Protocol,
    status: &surgetank_core::engine::DestinationStatus,
) -> DestinationReport {
    DestinationReport {
        index: id.index() as u8,
        protocol: match protocol {
            Protocol::Sentry => "sentry",
            Protocol::Otlp => "otlp",
        },
        breaker: status.breaker,
        limited: status.limited.iter().map(Category::as_str).collect(),
        paused_ms: status.paused_for.map(|pause| pause.as_millis()),
        waiting: status.waiting,
        in_flight: status.on_wire,
        parked: status.parked,
        concurrency: status.concurrency,
    }
}
