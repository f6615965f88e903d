//! The numbers of the interface: what the core names, in the order in which it is numbered here. A number is never given
//! to something else; new ones are added at the end.

use surgetank_core::breaker::BreakerState;
use surgetank_core::config::{Protocol, WhenFull};
use surgetank_core::downsample::{FactorCause, Policy};
use surgetank_core::health::Level;
use surgetank_core::item::Signal;
use surgetank_core::notice::DeadlineReason;
use surgetank_core::request::RequestKind;
use surgetank_core::response::Failure;
use surgetank_core::wire::envelope::ContainerKind;
use surgetank_core::wire::rate_limits::Scope;

/// Version of the interface; `surgetank_abi` returns it.
pub const ABI: i32 = 1;

/// Version of the state that `surgetank_export` writes.
pub const STATE: u32 = 1;

/// Bytes that each window has beyond the largest payload: room for what stands before it.
pub const WINDOW_EXTRA: u32 = 64;

/// Answers of `surgetank_poll`.
pub mod poll {
    /// Nothing to do before the deadline in the output window, if there is one.
    pub const IDLE: i32 = 0;
    /// A request is to be sent.
    pub const SEND: i32 = 1;
    /// Something worth telling.
    pub const NOTICE: i32 = 2;
    /// Everything is sent or dropped, and nothing is accepted.
    pub const CLOSED: i32 = 3;
}

/// What became of a request: answers of `surgetank_response` and `surgetank_failure`.
pub mod settlement {
    /// Delivered.
    pub const DELIVERED: i32 = 0;
    /// Delivered, but for a quantity.
    pub const PARTIAL: i32 = 1;
    /// Answered with 429.
    pub const RATE_LIMITED: i32 = 2;
    /// Given up.
    pub const DROPPED: i32 = 3;
    /// Kept for another attempt.
    pub const RETRY: i32 = 4;
}

/// First word of a notice.
pub mod notice {
    /// Health changed.
    pub const HEALTH: u32 = 0;
    /// The downsample factor changed.
    pub const FACTOR: u32 = 1;
    /// A circuit breaker changed.
    pub const BREAKER: u32 = 2;
    /// A request was given up.
    pub const STALLED: u32 = 3;
    /// A request was not simply delivered.
    pub const SETTLED: u32 = 4;
    /// Records were left at the end.
    pub const LEFT: u32 = 5;
}

/// Kinds of failures, numbered by their place.
pub const FAILURES: [Failure; 10] = [
    Failure::Dns,
    Failure::Connect,
    Failure::Tls,
    Failure::Timeout,
    Failure::Disconnected,
    Failure::MalformedResponse,
    Failure::InvalidRequest,
    Failure::RequestTooLarge,
    Failure::ResponseTooLarge,
    Failure::Internal,
];

/// Reasons of deadlines, numbered by their place.
pub const DEADLINES: [DeadlineReason; 8] = [
    DeadlineReason::BatchDue,
    DeadlineReason::ReportDue,
    DeadlineReason::BackoffEnds,
    DeadlineReason::BreakerProbe,
    DeadlineReason::LimitEnds,
    DeadlineReason::RequestOverdue,
    DeadlineReason::Tick,
    DeadlineReason::CloseEnds,
];

/// Kinds of requests, numbered by their place.
pub const KINDS: [RequestKind; 15] = [
    RequestKind::Envelope,
    RequestKind::Items,
    RequestKind::Container(ContainerKind::Log),
    RequestKind::Container(ContainerKind::TraceMetric),
    RequestKind::Container(ContainerKind::Span),
    RequestKind::Report,
    RequestKind::Records(Signal::Traces),
    RequestKind::Records(Signal::Logs),
    RequestKind::Records(Signal::Metrics),
    RequestKind::Requests(Signal::Traces),
    RequestKind::Requests(Signal::Logs),
    RequestKind::Requests(Signal::Metrics),
    RequestKind::Json(Signal::Traces),
    RequestKind::Json(Signal::Logs),
    RequestKind::Json(Signal::Metrics),
];

/// States of a breaker, numbered by their place.
pub const BREAKERS: [BreakerState; 3] = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

/// Levels of health, numbered by their place.
pub const LEVELS: [Level; 3] = [Level::Healthy, Level::Degraded, Level::Unhealthy];

/// Causes of a changed factor, numbered by their place.
pub const FACTOR_CAUSES: [FactorCause; 6] = [
    FactorCause::QueueOverflow,
    FactorCause::QueueFull,
    FactorCause::QueueHigh,
    FactorCause::BreakerOpen,
    FactorCause::Limited,
    FactorCause::Quiet,
];

/// Whom a server limits, numbered by their place.
pub const SCOPES: [Scope; 3] = [Scope::Organization, Scope::Project, Scope::Key];

/// Protocols, numbered by their place.
pub const PROTOCOLS: [Protocol; 2] = [Protocol::Sentry, Protocol::Otlp];

/// What happens when the queue is full, numbered by their place.
pub const WHEN_FULL: [WhenFull; 2] = [WhenFull::DropOldest, WhenFull::RefuseNewest];

/// Policies of downsampling, numbered by their place.
pub const POLICIES: [Policy; 3] = [Policy::Off, Policy::SentryCompatible, Policy::Adaptive];

/// Signals, numbered by their place.
pub const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

/// The number of `value`; that of nothing, 255, when the list lacks it.
pub fn number<T: PartialEq>(list: &[T], value: &T) -> u8 {
    let place = list.iter().position(|listed| listed == value);
    place.map_or(u8::MAX, |place| place as u8)
}

/// What has that number.
pub fn named<T: Copy>(list: &[T], number: u64) -> Option<T> {
    list.get(usize::try_from(number).ok()?).copied()
}
