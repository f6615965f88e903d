//! The engine: one state machine that takes records and outcomes in, and gives requests out.
//!
//! # Calling contract
//!
//! Inputs ([`record`](Engine::record), [`on_response`](Engine::on_response), [`on_failure`](Engine::on_failure),
//! [`on_losses`](Engine::on_losses), [`on_probe`](Engine::on_probe), [`flush`](Engine::flush),
//! [`close`](Engine::close)) are legal in any order at any moment. After any of them, and at the
//! [`next_deadline`](Engine::next_deadline), call [`poll`](Engine::poll) until it says `Idle` or `Closed`:
//!
//! 1. hand in what happened since the last round;
//! 2. `poll`;
//! 3. `Send`: write the body, start the attempt, remember the id, go to 2;
//! 4. `Notice`: tell whoever wants to know, go to 2;
//! 5. `Idle(deadline)`: publish [`gate`](Engine::gate), wait for an input or the deadline, go to 1;
//! 6. `Closed`: stop.
//!
//! Polling early is a no-op. Polling late is only late. A host that never settles a request is covered by the
//! request's own deadline. Every call takes the current time; a time before the last one counts as the last one.
//!
//! # Work
//!
//! `record` copies its payload once and looks at one entry of each table; when memory is short it may also drop one
//! record per block it needs (and one trace, [`limits::MAX_TRACE_EVICTIONS`](crate::limits::MAX_TRACE_EVICTIONS)
//! spans). `on_response` and `on_failure` touch the records of one request. `poll` walks the destinations and requests
//! once and gathers at most one request.

mod abandon;
mod admit;
mod count;
mod flush;
mod gather;
mod handover;
mod leave;
mod open;
mod schedule;
mod settle;
mod watch;

use crate::config::{Config, DestinationConfig};
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::downsample::Monitor;
use crate::gate::GateState;
use crate::health::{Health, HealthTracker};
use crate::item::{Category, CategorySet, DestinationId, DropReason, Item, Outcome};
use crate::ledger::{Loss, Totals};
use crate::limits::{MAX_DESTINATIONS, MAX_NOTICES};
use crate::notice::{Ack, Action, Deadline, Notice};
use crate::queue::{self, Block, Queue};
use crate::ratelimit::RateLimits;
use crate::request::{Request, RequestId, RequestSlot, SlotState};
use crate::response::{Failure, Response};
use crate::rng::Rng;
use crate::status::{Counters, QueueFill, Status};
use crate::storage::{Parts, Storage};
use crate::time::{Duration, Instant};
use crate::wire::rate_limits::Scope;
use heapless::Deque;

pub use flush::FlushId;
pub use handover::{Piece, TakeOverError, Walk};
pub use open::{NoDestination, OpenError};
pub use watch::{DestinationStatus, HostProbe};

/// Everything that is not in the tables.
#[derive(Debug)]
struct State {
    config: Config,
    now: Instant,
    rng: Rng,
    queue: Queue,
    totals: Totals,
    monitor: Monitor,
    health: HealthTracker,
    watch: watch::Watch,
    counters: Counters,
    notices: Deque<Notice, MAX_NOTICES>,
    /// Number of the next record.
    sequence: u64,
    flushes: flush::Flushes,
    /// Owed reports are sent without delay until then.
    flush_reports: Instant,
    /// Set by `close`: its deadline.
    closing: Option<Instant>,
    doomed_until: Option<Instant>,
    doom_round: u32,
    /// Destination whose turn is next.
    cursor: usize,
    /// No request is overdue before this moment.
    none_overdue_before: Instant,
    /// Requests the host has.
    on_wire: usize,
    /// Blocks kept free for the high lanes.
    reserve_blocks: u32,
}

/// The state and the tables in one borrow: all logic is on this type, whatever the storage.
struct Core<'a> {
    state: &'a mut State,
    blocks: &'a mut [Block],
    destinations: &'a mut [Destination],
    requests: &'a mut [RequestSlot],
    losses: &'a mut [Loss],
}

/// The delivery engine. See the [module documentation](self) for the calling contract.
#[derive(Debug)]
pub struct Engine<S: Storage> {
    state: State,
    storage: S,
}

impl<S: Storage> Engine<S> {
    /// An engine in `storage`, which is cleared. `seed` decides every jitter; `now` is the host's current time.
    ///
    /// # Errors
    /// A setting is out of range, or the storage has no room for a single record, destination or request.
    pub fn new(config: Config, mut storage: S, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        let parts = storage.parts();
        if parts.destinations.is_empty() || parts.destinations.len() > MAX_DESTINATIONS {
            return Err(ConfigError::new("storage.destinations", "1 to 255"));
        }
        if parts.requests.is_empty() {
            return Err(ConfigError::new("storage.requests", "at least 1"));
        }
        parts.destinations.fill(Destination::EMPTY);
        parts.requests.fill(RequestSlot::EMPTY);
        parts.losses.fill(Loss::EMPTY);
        let queue = Queue::new(parts.blocks, seed);
        if queue.capacity() == 0 {
            return Err(ConfigError::new("storage.blocks", "at least 2"));
        }
        let reserve_blocks = admit::permille(queue.capacity(), config.reserve_permille);
        let state = State {
            config,
            now,
            rng: Rng::new(seed),
            queue,
            totals: Totals::new(),
            monitor: Monitor::new(config.monitor, now),
            health: HealthTracker::new(config.health),
            watch: watch::Watch::new(now),
            counters: Counters::default(),
            notices: Deque::new(),
            sequence: 1,
            flushes: flush::Flushes::new(),
            flush_reports: Instant::ORIGIN,
            closing: None,
            doomed_until: None,
            doom_round: 0,
            cursor: 0,
            none_overdue_before: Instant::ORIGIN,
            on_wire: 0,
            reserve_blocks,
        };
        Ok(Self { state, storage })
    }

    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    fn core(&mut self, now: Instant) -> Core<'_> {
        if now < self.state.now {
            self.state.counters.clock_steps_back = self.state.counters.clock_steps_back.saturating_add(1);
        } else {
            self.state.now = now;
        }
        let Parts {
            blocks,
            destinations,
            requests,
            losses,
        } = self.storage.parts();
        Core {
            state: &mut self.state,
            blocks,
            destinations,
            requests,
            losses,
        }
    }

    // ---- inputs ----------------------------------------------------------------------------------------------------

    /// Opens a destination: takes a free entry, or the idle one that was used least recently (one without live limits
    /// if there is such a one). The host remembers which server the id stands for; an id is never valid again once its
    /// entry went to another server.
    ///
    /// # Errors
    /// [`OpenError::Config`] when a setting is out of range, [`OpenError::NoDestination`] when no entry is idle.
    pub fn open_destination(
        &mut self,
        now: Instant,
        config: DestinationConfig,
    ) -> Result<DestinationId, OpenError> {
        config.validate().map_err(OpenError::Config)?;
        self.core(now).open_destination(config)
    }

    /// Offers a record. Never blocks; a drop is counted before this returns.
    pub fn record(&mut self, now: Instant, item: &Item<'_>) -> Outcome {
        self.core(now).record(item)
    }

    /// Counts what producers recorded and dropped before the engine saw it: at an intake's door, by sampling, by a
    /// callback. `destination` is to be told of it, if any.
    pub fn on_losses(
        &mut self,
        now: Instant,
        destination: Option<DestinationId>,
        category: Category,
        reason: DropReason,
        quantity: u64,
    ) {
        self.core(now).on_losses(destination, category, reason, quantity);
    }

    /// An answer to the attempt `id`.
    pub fn on_response(&mut self, now: Instant, id: RequestId, response: &Response<'_>) -> Ack {
        self.core(now).on_response(id, response)
    }

    /// The attempt `id` got no answer.
    pub fn on_failure(&mut self, now: Instant, id: RequestId, failure: Failure) -> Ack {
        self.core(now).on_failure(id, failure)
    }

    /// A limit that another engine learned of the same server, until just before `until` on this engine's clock: `None` for
    /// everything. The longer of two limits stays. For hosts with an engine on each of several threads.
    pub fn on_limit(
        &mut self,
        now: Instant,
        destination: DestinationId,
        categories: Option<CategorySet>,
        until: Instant,
        scope: Scope,
    ) {
        let core = self.core(now);
        if let Some(entry) = core
            .index_of(destination)
            .and_then(|index| core.destinations.get_mut(index))
        {
            entry.limits.limit(categories, until, scope);
        }
    }

    /// A pause that the same server asked another engine for: nothing is sent before `until`, or before the end of a longer
    /// pause.
    pub fn on_pause(&mut self, now: Instant, destination: DestinationId, until: Instant) {
        let core = self.core(now);
        if let Some(entry) = core
            .index_of(destination)
            .and_then(|index| core.destinations.get_mut(index))
        {
            entry.paused_until = entry.paused_until.max(until);
        }
    }

    /// How the host is doing; as often as the host likes, once a second is plenty.
    pub fn on_probe(&mut self, now: Instant, probe: HostProbe) {
        self.core(now).on_probe(probe);
    }

    /// Asks that everything recorded before now is sent without waiting for company. Limits, pauses and the breaker
    /// still hold. See [`is_flushed`](Self::is_flushed).
    pub fn flush(&mut self, now: Instant) -> FlushId {
        let core = self.core(now);
        core.state.flush_reports = now.saturating_add(Duration::from_secs(1));
        core.state
            .flushes
            .start(core.state.sequence, core.state.queue.records())
    }

    /// Accepts nothing more, sends what is queued until `until`, then drops the rest as `closed`. A second call can only
    /// bring the end forward.
    pub fn close(&mut self, now: Instant, until: Instant) {
        let core = self.core(now);
        core.state.closing = Some(core.state.closing.map_or(until, |earlier| earlier.min(until)));
    }

    // ---- outputs ---------------------------------------------------------------------------------------------------

    /// The next thing for the host to do.
    pub fn poll(&mut self, now: Instant) -> Action<'_> {
        match self.core(now).poll() {
            Step::Notice(notice) => Action::Notice(notice),
            Step::Idle(deadline) => Action::Idle(deadline),
            Step::Closed => Action::Closed,
            Step::Send(slot) => match self.request(slot) {
                Some(request) => Action::Send(request),
                None => Action::Idle(None),
            },
        }
    }

    /// The request of that id as long as the host has it, for hosts that take its body in several turns. `None` once it
    /// is settled.
    #[must_use]
    pub fn on_wire(&self, id: RequestId) -> Option<Request<'_>> {
        let slot = self.storage.view().requests.get(id.index())?;
        let has = slot.state == SlotState::OnWire && slot.generation == id.generation();
        has.then(|| self.request(id.index())).flatten()
    }

    fn request(&self, slot: usize) -> Option<Request<'_>> {
        let view = self.storage.view();
        let request = view.requests.get(slot)?;
        let destination = view.destinations.get(usize::from(request.destination))?;
        Some(Request {
            blocks: view.blocks,
            losses: view.losses,
            id: RequestId::new(slot, request.generation),
            slot: request,
            destination: destination.id(usize::from(request.destination)),
            timeout: destination.config.timeout,
        })
    }

    /// When to poll next if nothing happens before: what the last `Idle` carried.
    pub fn next_deadline(&mut self, now: Instant) -> Option<Deadline> {
        self.core(now).next_deadline()
    }

    /// True when nothing recorded before that flush is queued or in flight any more. Constant time.
    #[must_use]
    pub const fn is_flushed(&self, id: FlushId) -> bool {
        self.state.flushes.is_done(id)
    }

    /// What producers for `destination` may know. Publish it after each round of polls.
    pub fn gate(&mut self, now: Instant, destination: DestinationId) -> GateState {
        self.core(now).gate(destination)
    }

    /// Health and its causes, as of the last tick.
    #[must_use]
    pub fn health(&self) -> Health {
        self.state.health.health()
    }

    /// Sums per category.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.state.totals
    }

    /// Sums of what should not happen.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.state.counters
    }

    /// The downsample factor: a root is kept with probability 1 in 2^factor. 0..=10.
    #[must_use]
    pub fn factor(&self) -> u8 {
        self.state.monitor.factor()
    }

    /// How full the queue is.
    #[must_use]
    pub fn fill(&self) -> QueueFill {
        QueueFill {
            used_blocks: self.state.queue.used(),
            capacity_blocks: self.state.queue.capacity(),
        }
    }

    /// Requests the host has not settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.storage
            .view()
            .requests
            .iter()
            .filter(|slot| slot.state == SlotState::OnWire)
            .count()
    }

    /// The rate limits of one destination, live ones and those that ran out, for hosts that pass them on. `None` for an
    /// id that is no longer valid.
    #[must_use]
    pub fn limits(&self, id: DestinationId) -> Option<&RateLimits> {
        let destination = self.storage.view().destinations.get(id.index())?;
        (destination.in_use && destination.generation == id.generation()).then_some(&destination.limits)
    }

    /// All of it at a glance, for status displays.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        let (counters, totals) = (self.state.counters, &self.state.totals);
        Status::new(
            self.health(),
            self.fill(),
            self.factor(),
            self.in_flight(),
            counters,
            totals,
        )
    }

    /// The state of one destination, for status displays. `None` for an id that is no longer valid.
    #[must_use]
    pub fn destination(&self, id: DestinationId) -> Option<DestinationStatus> {
        watch::status_of(self.storage.view(), self.state.now, id)
    }

    /// What the tables hold, category by category, counted one by one: for tests of the conservation rule against
    /// [`CategoryTotals::queued`](crate::ledger::CategoryTotals::queued). Work is proportional to the records held.
    pub fn held(&self) -> impl Iterator<Item = (Category, u64)> {
        let view = self.storage.view();
        let mut held = [0u64; Category::COUNT];
        let mut number = 0_usize;
        while let Some(list) = handover::list_at(view, number) {
            number = number.saturating_add(1);
            let mut at = list.head();
            while let Some(record) = at {
                at = queue::next(view.blocks, record);
                let Some(header) = queue::header(view.blocks, record) else {
                    continue;
                };
                let removed = queue::removed(view.blocks, record);
                count::each_count(
                    &header,
                    queue::payload(view.blocks, record),
                    removed,
                    &mut |count| {
                        if let Some(sum) = held.get_mut(count.category.index()) {
                            *sum = sum.saturating_add(u64::from(count.quantity));
                        }
                    },
                );
            }
        }
        Category::ALL.iter().copied().zip(held)
    }

    /// The storage, its content being of no more use.
    #[must_use]
    pub fn into_storage(self) -> S {
        self.storage
    }
}

enum Step {
    Send(usize),
    Notice(Notice),
    Idle(Option<Deadline>),
    Closed,
}

impl Core<'_> {
    fn poll(&mut self) -> Step {
        // More than one overdue request at once is rare; each leaves a notice, so the host comes back for the next.
        self.expire();
        self.tick();
        if let Some(notice) = self.state.notices.pop_front() {
            return Step::Notice(notice);
        }
        if let Some(until) = self.state.closing {
            if self.state.now >= until {
                return self.abandon();
            }
            if self.is_drained() {
                return Step::Closed;
            }
        }
        match self.next_request() {
            Some(slot) => Step::Send(slot),
            None if self.state.closing.is_some() && self.is_drained() => Step::Closed,
            None => Step::Idle(self.next_deadline()),
        }
    }

    fn is_drained(&self) -> bool {
        self.requests.iter().all(|slot| slot.state == SlotState::Free)
            && !self.destinations.iter().any(Destination::has_waiting)
            && !(0..self.destinations.len()).any(|index| self.may_report_before_the_end(index))
    }

    /// True when `close` waits for a report: one is owed, and nothing keeps it back until the deadline.
    fn may_report_before_the_end(&self, index: usize) -> bool {
        let in_time = self
            .report_due_at(index)
            .is_some_and(|due| self.state.closing.is_none_or(|until| due < until));
        let unbroken = |d: &Destination| d.in_use && d.breaker.open_until().is_none();
        in_time && self.destinations.get(index).is_some_and(unbroken)
    }

    fn id_of(&self, index: usize) -> DestinationId {
        self.destinations
            .get(index)
            .map_or(DestinationId::default(), |destination| destination.id(index))
    }

    fn index_of(&self, id: DestinationId) -> Option<usize> {
        let destination = self.destinations.get(id.index())?;
        (destination.in_use && destination.generation == id.generation()).then(|| id.index())
    }

    fn on_losses(
        &mut self,
        destination: Option<DestinationId>,
        category: Category,
        reason: DropReason,
        quantity: u64,
    ) {
        let index = destination.and_then(|id| self.index_of(id));
        self.state.totals.record_many(category, quantity);
        self.lose(index, reason, category, quantity);
    }

    fn notify(&mut self, notice: Notice) {
        if self.state.notices.is_full() {
            self.state.notices.pop_front();
            self.state.counters.notices_lost = self.state.counters.notices_lost.saturating_add(1);
        }
        let pushed = self.state.notices.push_back(notice);
        crate::check::always!(pushed.is_ok(), "room for a notice was made");
    }
}

#[cfg(test)]
mod tests;
