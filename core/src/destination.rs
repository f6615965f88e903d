//! One server: its lanes of waiting records, and everything learned about it.
//!
//! Limits, breaker, back-off and the number of requests in flight are per destination, so a dead or angry server never
//! holds up another. The table is bounded; the least recently used idle entry makes room for a new server.

use crate::backoff::Backoff;
use crate::breaker::Breaker;
use crate::concurrency::Concurrency;
use crate::config::DestinationConfig;
use crate::item::{DestinationId, DropReason, Form, Priority};
use crate::queue::List;
use crate::ratelimit::RateLimits;
use crate::time::Instant;

/// Records of one priority that wait for one destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    /// Complete by themselves (envelopes, encoded requests): may go at once.
    pub(crate) whole: List,
    /// To be gathered with others (logs, spans, metrics): may go when enough are there or the oldest waited enough.
    pub(crate) gathered: List,
    /// What is left of the lane's turns in this round of the weighted round robin.
    pub(crate) turns: u32,
}

impl Lane {
    const EMPTY: Self = Self {
        whole: List::EMPTY,
        gathered: List::EMPTY,
        turns: 0,
    };

    /// The list that records of `form` wait in.
    pub(crate) fn list_mut(&mut self, form: Form) -> &mut List {
        if is_gathered(form) {
            &mut self.gathered
        } else {
            &mut self.whole
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.gathered.is_empty()
    }

    pub(crate) const fn blocks(&self) -> u32 {
        self.whole.blocks().saturating_add(self.gathered.blocks())
    }
}

/// True for records that are gathered with others into one request.
pub(crate) const fn is_gathered(form: Form) -> bool {
    matches!(form, Form::Element | Form::OtlpRecord)
}

/// An entry of the table of destinations. The storage supplies the table; only the engine looks inside.
#[derive(Clone, Debug)]
pub struct Destination {
    pub(crate) generation: u32,
    pub(crate) in_use: bool,
    pub(crate) config: DestinationConfig,
    pub(crate) lanes: [Lane; Priority::COUNT],
    pub(crate) limits: RateLimits,
    pub(crate) breaker: Breaker,
    pub(crate) backoff: Backoff,
    pub(crate) concurrency: Concurrency,
    /// Requests the host has.
    pub(crate) on_wire: u32,
    /// Blocks in requests that the host has.
    pub(crate) wire_blocks: u32,
    /// Requests that failed and wait for their next attempt.
    pub(crate) parked: u32,
    /// Nothing is sent before this moment (back-off or the server's word).
    pub(crate) paused_until: Instant,
    /// Why the last attempt failed: what its records are dropped as when they get too old.
    pub(crate) last_failure: DropReason,
    /// Most blocks that its records may take.
    pub(crate) share_blocks: u32,
    /// Blocks its records take, those in requests included.
    pub(crate) used_blocks: u32,
    pub(crate) last_used: Instant,
    /// When the oldest loss not yet reported was noted.
    pub(crate) owes_since: Option<Instant>,
    /// A client report is in flight.
    pub(crate) report_out: bool,
}

impl Destination {
    /// An entry given to no server.
    pub const EMPTY: Self = Self::new(0, false, DestinationConfig::SENTRY, Instant::ORIGIN);

    pub(crate) const fn new(generation: u32, in_use: bool, config: DestinationConfig, now: Instant) -> Self {
        Self {
            generation,
            in_use,
            config,
            lanes: [Lane::EMPTY; Priority::COUNT],
            limits: RateLimits::new(),
            breaker: Breaker::new(config.breaker),
            backoff: Backoff::new(config.backoff),
            concurrency: Concurrency::new(config.concurrency),
            on_wire: 0,
            wire_blocks: 0,
            parked: 0,
            paused_until: Instant::ORIGIN,
            last_failure: DropReason::NetworkError,
            share_blocks: 0,
            used_blocks: 0,
            last_used: now,
            owes_since: None,
            report_out: false,
        }
    }

    /// The id under which records and requests name this entry, `index` being its place in the table.
    pub(crate) const fn id(&self, index: usize) -> DestinationId {
        DestinationId::new(index as u8, self.generation)
    }

    /// True when nothing of it is queued or in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.on_wire == 0 && self.parked == 0 && self.lanes.iter().all(Lane::is_empty)
    }

    /// True when records wait in its lanes.
    pub(crate) fn has_waiting(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_empty())
    }

    pub(crate) fn lane_mut(&mut self, priority: Priority) -> Option<&mut Lane> {
        self.lanes.get_mut(priority.index())
    }
}
