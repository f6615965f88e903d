//! What the engine tells its host beside requests: answers to settled requests, notices, the next deadline.

use crate::breaker::BreakerState;
use crate::downsample::FactorChange;
use crate::health::Transition;
use crate::item::{CategorySet, DestinationId, DropReason};
use crate::request::{Request, RequestId};
use crate::time::{Duration, Instant};

/// What the host does next. Exhaustive.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub enum Action<'a> {
    /// Make this attempt, then report its outcome with `on_response` or `on_failure`.
    Send(Request<'a>),
    /// Something an operator may want to know.
    Notice(Notice),
    /// Nothing to do before that moment or the next input. `None`: only an input can change anything.
    Idle(Option<Deadline>),
    /// Closed: nothing is queued or in flight any more, nothing is accepted.
    Closed,
}

/// The next moment at which the engine has something to do by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// Poll then. Earlier is a no-op, later is only late. A moment in the past means: poll now.
    pub at: Instant,
    /// What is due then.
    pub reason: DeadlineReason,
}

/// Why a deadline exists. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadlineReason {
    /// Records were gathered long enough, or are complete.
    BatchDue,
    /// A client report is due on its own.
    ReportDue,
    /// A pause after a failure ends.
    BackoffEnds,
    /// An open breaker may try a probe.
    BreakerProbe,
    /// A rate limit ends, so the gate opens.
    LimitEnds,
    /// A request should have been settled by the host.
    RequestOverdue,
    /// Downsampling or health looks at the evidence again.
    Tick,
    /// The deadline of `close`.
    CloseEnds,
}

/// Answer to `on_response` and `on_failure`. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// The request is settled so.
    Settled(Settlement),
    /// Unknown, or settled already: counted, otherwise without effect.
    Stale,
}

/// What became of a request's records. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// All delivered.
    Delivered,
    /// The server took the request but rejected this quantity in it (OTLP partial success).
    Partial {
        /// Items rejected.
        rejected: u64,
    },
    /// Answered with 429: what these limits cover is lost (the server counted it), the rest delivered.
    RateLimited {
        /// Categories that live limits cover.
        covered: CategorySet,
    },
    /// Given up and counted.
    Dropped {
        /// Why.
        reason: DropReason,
    },
    /// Kept for another attempt, not before `pause` from now.
    Retry {
        /// What the records are dropped as if they get too old.
        reason: DropReason,
        /// Time until the next attempt, at least.
        pause: Duration,
    },
}

/// Something worth a line in a log. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Health changed.
    Health(Transition),
    /// The downsample factor changed.
    Factor(FactorChange),
    /// A circuit breaker changed its state.
    Breaker {
        /// Whose.
        destination: DestinationId,
        /// The new state.
        state: BreakerState,
    },
    /// The host did not settle a request in its time; it was taken as timed out.
    Stalled {
        /// Which.
        request: RequestId,
    },
    /// A request was not simply delivered.
    Settled {
        /// To whom it was sent.
        destination: DestinationId,
        /// HTTP status, if there was an answer.
        status: Option<u16>,
        /// Records in it.
        records: u32,
        /// What became of them.
        settlement: Settlement,
    },
    /// The deadline of `close` passed with this many records left; they were dropped as `closed`.
    Left {
        /// Records dropped.
        records: u32,
    },
}
