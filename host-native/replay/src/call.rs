//! All that a scenario needs of whatever runs the engine: one call in, one reply out, plain values both.
//!
//! The calls are those of [`Engine`](surgetank_core::engine::Engine), and the time of each is an argument. A host
//! behind a binary interface carries the same values as bytes; headers, ids and gate words have their own
//! representation as numbers in the core.

use surgetank_core::breaker::BreakerState;
use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::{DestinationStatus, HostProbe};
use surgetank_core::gate::GateState;
use surgetank_core::health::Health;
use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason, Header, Outcome, Priority};
use surgetank_core::notice::{Ack, Deadline, Notice};
use surgetank_core::request::{RequestId, RequestKind};
use surgetank_core::response::{Failure, Response};
use surgetank_core::status::Counters;
use surgetank_core::time::{Duration, Instant};

use crate::books::Books;

/// What the engine is told or asked.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// Make the engine: the first call of all. Every storage has [`MAX_DESTINATIONS`](super::script::MAX_DESTINATIONS)
    /// destinations, [`MAX_REQUESTS`](super::script::MAX_REQUESTS) requests and 64 losses.
    Start {
        /// Its settings.
        config: &'a Config,
        /// Bytes of its queue.
        memory: usize,
        /// Its seed.
        seed: u64,
    },
    /// `open_destination`.
    Open(&'a DestinationConfig),
    /// `record`.
    Record {
        /// Header.
        header: Header,
        /// Payload.
        payload: &'a [u8],
    },
    /// `on_losses`.
    Losses {
        /// Whom to tell.
        destination: Option<DestinationId>,
        /// What.
        category: Category,
        /// Why.
        reason: DropReason,
        /// How much.
        quantity: u64,
    },
    /// `on_response`.
    Response {
        /// Which request.
        id: RequestId,
        /// The answer.
        response: Response<'a>,
    },
    /// `on_failure`.
    Failure {
        /// Which request.
        id: RequestId,
        /// What went wrong.
        failure: Failure,
    },
    /// `on_probe`.
    Probe(HostProbe),
    /// `flush`; flushes are numbered from 0.
    Flush,
    /// `is_flushed`.
    IsFlushed(usize),
    /// `close`.
    Close {
        /// Its deadline.
        until: Instant,
    },
    /// `poll`.
    Poll,
    /// `gate`.
    Gate(DestinationId),
    /// The ledger, with what is held.
    Books,
    /// Everything else that can be seen.
    Status,
}

/// What comes of a [`Call`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// Done; there is nothing to say.
    Done,
    /// The host cannot do that, and why.
    Fault(String),
    /// To [`Call::Open`].
    Opened(DestinationId),
    /// To [`Call::Record`].
    Recorded(Outcome),
    /// To [`Call::Response`] and [`Call::Failure`].
    Settled(Ack),
    /// To [`Call::IsFlushed`].
    Flushed(bool),
    /// To [`Call::Poll`]: `Action::Send`.
    Send(Sent),
    /// To [`Call::Poll`]: `Action::Notice`.
    Notice(Notice),
    /// To [`Call::Poll`]: `Action::Idle`.
    Idle(Option<Deadline>),
    /// To [`Call::Poll`]: `Action::Closed`.
    Closed,
    /// To [`Call::Gate`].
    Gate(GateState),
    /// To [`Call::Books`].
    Books(Books),
    /// To [`Call::Status`].
    Status(Snapshot),
}

/// A request as it is given to the host, with its body.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id.
    pub id: RequestId,
    /// For whom.
    pub destination: DestinationId,
    /// What its body is.
    pub kind: RequestKind,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// How long it may take.
    pub timeout: Duration,
    /// Records in it.
    pub records: u32,
    /// Payload bytes in it.
    pub payload_bytes: u32,
    /// A client report rides along.
    pub carries_report: bool,
    /// The body, written with [`body::CONTEXT`](crate::body::CONTEXT).
    pub body: Vec<u8>,
}

/// The state of everything at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Level and causes.
    pub health: Health,
    /// Blocks of the queue in use.
    pub used_blocks: u32,
    /// Blocks of the queue.
    pub capacity_blocks: u32,
    /// Downsample factor.
    pub factor: u8,
    /// Requests the host has.
    pub in_flight: usize,
    /// What should not happen.
    pub counters: Counters,
    /// Every destination, in order of opening.
    pub destinations: Vec<DestinationState>,
}

/// A [`DestinationStatus`] that any host can make.
#[derive(Clone, Copy, Debug)]
pub struct DestinationState {
    /// Records waiting in its lanes, most important lane first.
    pub waiting: [u32; Priority::COUNT],
    /// Requests the host has.
    pub on_wire: u32,
    /// Requests waiting for another attempt.
    pub parked: u32,
    /// How many requests may be in flight now.
    pub concurrency: u8,
    /// Circuit breaker.
    pub breaker: BreakerState,
    /// Nothing is sent before then.
    pub paused_for: Option<Duration>,
    /// Categories under a live limit.
    pub limited: CategorySet,
    /// Blocks of the queue it uses.
    pub used_blocks: u32,
}

impl From<DestinationStatus> for DestinationState {
    fn from(status: DestinationStatus) -> Self {
        Self {
            waiting: status.waiting,
            on_wire: status.on_wire,
            parked: status.parked,
            concurrency: status.concurrency,
            breaker: status.breaker,
            paused_for: status.paused_for,
            limited: status.limited,
            used_blocks: status.used_blocks,
        }
    }
}
