//! What the engine observes of itself: evidence for downsampling, signals for health, the gate, status snapshots.

use super::Core;
use crate::breaker::BreakerState;
use crate::config::WhenFull;
use crate::destination::Destination;
use crate::downsample::Evidence;
use crate::gate::GateState;
use crate::health::Signals;
use crate::item::{Category, CategorySet, DestinationId, DropReason, Priority};
use crate::limits::HEALTH_INTERVAL;
use crate::notice::Notice;
use crate::pressure::Pressure;
use crate::status::QueueFill;
use crate::storage::View;
use crate::time::{Duration, Instant};

/// How the host is doing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HostProbe {
    /// Memory in use, in permille of what the process or machine may use; `None` when unknown.
    pub memory_permille: Option<u16>,
    /// How long the oldest slot in the intake has been open; zero when none is.
    pub oldest_open_slot: Duration,
}

/// One destination at a glance.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DestinationStatus {
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
    /// Nothing is sent before then; `None` when nothing holds it back.
    pub paused_for: Option<Duration>,
    /// Categories under a live limit.
    pub limited: CategorySet,
    /// Blocks of the queue it uses.
    pub used_blocks: u32,
}

/// What the engine remembers between two looks at itself.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    probe: HostProbe,
    next_look: Instant,
    /// The most important lane that is refused at present.
    refused_from: Option<Priority>,
    /// How many lanes are not: what `refused_from` means, for the record path.
    accepted_lanes: usize,
    /// A request was given up, and no answer came since.
    stalled: bool,
}

impl Watch {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            probe: HostProbe {
                memory_permille: None,
                oldest_open_slot: Duration::ZERO,
            },
            next_look: now,
            refused_from: None,
            accepted_lanes: Priority::COUNT,
            stalled: false,
        }
    }

    /// True when records of that lane are refused at present, whatever room there is.
    #[inline]
    pub(super) const fn refuses(&self, priority: Priority) -> bool {
        priority.index() >= self.accepted_lanes
    }

    pub(super) const fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
    }
}

impl Core<'_> {
    pub(super) fn on_probe(&mut self, probe: HostProbe) {
        self.state.watch.probe = probe;
        self.state.watch.next_look = self.state.now;
    }

    /// Lets downsampling and health look at the evidence when it is time.
    pub(super) fn tick(&mut self) {
        let now = self.state.now;
        if self.state.monitor.is_due(now) {
            let evidence = self.evidence();
            if let Some(change) = self.state.monitor.tick(now, &evidence) {
                self.notify(Notice::Factor(change));
            }
        }
        let update_due = self.state.health.next_update().is_some_and(|due| due <= now);
        if now >= self.state.watch.next_look || update_due {
            self.state.watch.next_look = now.saturating_add(HEALTH_INTERVAL);
            let signals = self.signals();
            if let Some(transition) = self.state.health.update(now, &signals) {
                self.notify(Notice::Health(transition));
            }
            let refused = self.refused_from();
            self.state.watch.refused_from = refused;
            self.state.watch.accepted_lanes = refused.map_or(Priority::COUNT, Priority::index);
        }
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        let next = earlier(self.state.monitor.next_tick(), self.state.health.next_update());
        // What changed since the last look must be seen also when nothing more comes in. A look leaves nothing of the
        // kind, so an idle program is woken for it once.
        let outdated = self.state.health.is_outdated(&self.signals());
        earlier(next, outdated.then_some(self.state.watch.next_look))
    }

    fn in_use(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().filter(|destination| destination.in_use)
    }

    fn evidence(&self) -> Evidence {
        let now = self.state.now;
        let sampled = [Category::Transaction, Category::Span];
        let overflows =
            sampled.map(|category| self.state.totals.dropped(category, DropReason::QueueOverflow));
        let limit_of = |destination: &Destination| {
            let ends = sampled.map(|category| destination.limits.until(category).map(|(until, _)| until));
            ends.into_iter().flatten().filter(|until| *until > now).max()
        };
        Evidence {
            queue_full: self.state.queue.free() == 0,
            fill_permille: self.fill().permille(),
            sampled_overflows: overflows.into_iter().fold(0, u64::saturating_add),
            any_limited: self.is_any_limited(),
            sampled_limited_until: self.in_use().filter_map(limit_of).max(),
            breaker_open: self.is_any_breaker_open(),
            stalled: self.state.watch.stalled,
        }
    }

    #[inline(never)]
    fn is_any_limited(&self) -> bool {
        let now = self.state.now;
        self.in_use()
            .any(|destination| !destination.limits.limited_at(now).is_empty())
    }

    #[inline(never)]
    fn is_any_breaker_open(&self) -> bool {
        self.in_use()
            .any(|destination| destination.breaker.state() != BreakerState::Closed)
    }

    #[inline(never)]
    fn signals(&self) -> Signals {
        Signals {
            fill_permille: self.fill().permille(),
            memory_permille: self.state.watch.probe.memory_permille,
            limited: self.is_any_limited(),
            breaker_open: self.is_any_breaker_open(),
            stalled: self.state.watch.stalled,
            open_slot: self.state.watch.probe.oldest_open_slot,
            downsampling: self.state.monitor.factor() > 0,
        }
    }

    fn fill(&self) -> QueueFill {
        QueueFill {
            used_blocks: self.state.queue.used(),
            capacity_blocks: self.state.queue.capacity(),
        }
    }

    /// Bulk is refused first: under high pressure the low lanes, under critical pressure all but errors and sessions.
    /// Memory of the host counts always; the queue's own only when it must not evict.
    fn refused_from(&self) -> Option<Priority> {
        let memory = self.state.health.memory_pressure();
        let pressure = match self.state.config.when_full {
            WhenFull::DropOldest => memory,
            WhenFull::RefuseNewest => memory.max(self.state.health.queue_pressure()),
        };
        match pressure {
            Pressure::Normal | Pressure::Early => None,
            Pressure::High => Some(Priority::Low),
            Pressure::Critical => Some(Priority::Medium),
        }
    }

    pub(super) fn gate(&mut self, id: DestinationId) -> GateState {
        let closed = GateState::OPEN.with_closed(true);
        let Some(index) = self.index_of(id) else {
            return closed;
        };
        let (now, factor) = (self.state.now, self.state.monitor.factor());
        let pressure = self.state.watch.refused_from;
        let closing = self.state.closing.is_some();
        let Some(destination) = self.destinations.get_mut(index) else {
            return closed;
        };
        GateState::OPEN
            .with_limited(with_dependents(destination.limits.limited(now)))
            .with_factor(factor)
            .with_pressure(pressure)
            .with_closed(closing)
            .with_breaker_open(destination.breaker.state() != BreakerState::Closed)
    }
}

/// The limited categories and those that a limit on them stops as well: an item is blocked by a limit on any category
/// it counts in, but the gate is asked for its own category only.
fn with_dependents(limited: CategorySet) -> CategorySet {
    let stops = [
        (Category::LogByte, Category::LogItem),
        (Category::TraceMetricByte, Category::TraceMetric),
        (Category::Span, Category::Transaction),
        (Category::AttachmentItem, Category::Attachment),
    ];
    stops.into_iter().fold(limited, |set, (limit, stopped)| {
        if limited.contains(limit) {
            set.with(stopped)
        } else {
            set
        }
    })
}

pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

pub(super) fn status_of(view: View<'_>, now: Instant, id: DestinationId) -> Option<DestinationStatus> {
    let destination = view.destinations.get(id.index())?;
    if !destination.in_use || destination.generation != id.generation() {
        return None;
    }
    let mut waiting = [0; Priority::COUNT];
    for (waiting, lane) in waiting.iter_mut().zip(&destination.lanes) {
        *waiting = lane.whole.records().saturating_add(lane.gathered.records());
    }
    let held = destination
        .breaker
        .open_until()
        .unwrap_or(Instant::ORIGIN)
        .max(destination.paused_until);
    Some(DestinationStatus {
        waiting,
        on_wire: destination.on_wire,
        parked: destination.parked,
        concurrency: destination.concurrency.limit(),
        breaker: destination.breaker.state(),
        paused_for: (held > now).then(|| held.since(now)),
        limited: destination.limits.limited_at(now),
        used_blocks: destination.used_blocks,
    })
}
