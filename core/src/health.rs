//! Is telemetry getting through, and if not, why: a level, the causes by name, and changes worth a line in a log.
//!
//! | cause | level | why |
//! |---|---|---|
//! | `queue_early`, `memory_early` | healthy | nothing is refused yet; told so that somebody can act in time |
//! | `queue_high`, `memory_high` | degraded | bulk gives way, what matters still gets through |
//! | `limited` | degraded | the server refuses something; obeying is correct work, and no fault of ours |
//! | `breaker_open` | degraded | nothing gets through, but it is kept; when it cannot be kept, `queue_full` says so |
//! | `downsampling` | degraded | fewer traces are kept than was configured |
//! | `queue_full`, `memory_critical` | unhealthy | records are lost |
//! | `worker_stalled` | unhealthy | requests outlive their deadlines: the sending side does not work any more |
//! | `slot_stuck` | unhealthy | a producer holds a reserved place open, and everything behind it waits |
//!
//! An outage upstream does not make this side unhealthy: whoever watches it (a readiness probe, say) would otherwise
//! take the queue away from the programs just when they need it.
//!
//! Two things keep it from flapping, which the health checks of Relay do on every change: thresholds are entered and
//! left at different values ([`crate::pressure`]), and a cause, once shown, stays until it has been absent for a while (the
//! *dwell*). Worse news is never delayed.

use crate::config_error::ConfigError;
use crate::pressure::{Gauge, Marks, Pressure};
use crate::time::{Duration, Instant};
use serde::{Serialize, Serializer};

/// Settings of a [`HealthTracker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthConfig {
    /// Thresholds for the fill of the queue. Default [`Marks::QUEUE`].
    pub queue: Marks,
    /// Thresholds for the memory of the host. Default [`Marks::MEMORY`].
    pub memory: Marks,
    /// How long a producer may hold a reserved place of the intake open. 1 ms..=1 h, default 1 s: encoding takes
    /// microseconds, a stopped thread (debugger, suspended container) takes longer.
    pub slot_stuck_after: Duration,
    /// How long a cause must be absent before it is taken back. At most 1 h, default 5 s.
    pub dwell: Duration,
}

impl HealthConfig {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        queue: Marks::QUEUE,
        memory: Marks::MEMORY,
        slot_stuck_after: Duration::from_secs(1),
        dwell: Duration::from_secs(5),
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let hour = Duration::from_secs(3_600);
        self.queue
            .validate()
            .map_err(|error| ConfigError::new("health.queue", error.allowed()))?;
        self.memory
            .validate()
            .map_err(|error| ConfigError::new("health.memory", error.allowed()))?;
        ConfigError::unless(
            self.slot_stuck_after >= Duration::from_millis(1) && self.slot_stuck_after <= hour,
            "health.slot_stuck_after",
            "1 ms to 1 hour",
        )?;
        ConfigError::unless(self.dwell <= hour, "health.dwell", "at most 1 hour")
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How well it works, best first. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is refused or held back.
    #[default]
    Healthy,
    /// Something gives way, as it should under the circumstances.
    Degraded,
    /// Records are lost, or the sending side does not work.
    Unhealthy,
}

/// Why the level is what it is, least grave first. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
    /// The queue is filling up.
    QueueEarly = 0,
    /// The memory of the host is filling up.
    MemoryEarly = 1,
    /// Fewer traces are kept than was configured.
    Downsampling = 2,
    /// The server limits at least one category.
    Limited = 3,
    /// The queue is so full that bulk gives way.
    QueueHigh = 4,
    /// The memory of the host is so full that bulk gives way.
    MemoryHigh = 5,
    /// A circuit breaker does not let records through.
    BreakerOpen = 6,
    /// A reserved place of the intake has been open for too long.
    SlotStuck = 7,
    /// The queue is full.
    QueueFull = 8,
    /// The memory of the host is full.
    MemoryCritical = 9,
    /// A request outlived its deadline.
    WorkerStalled = 10,
}

impl Cause {
    /// Number of causes.
    pub const COUNT: usize = 11;

    /// Every cause, least grave first.
    pub const ALL: [Self; Self::COUNT] = [
        Self::QueueEarly,
        Self::MemoryEarly,
        Self::Downsampling,
        Self::Limited,
        Self::QueueHigh,
        Self::MemoryHigh,
        Self::BreakerOpen,
        Self::SlotStuck,
        Self::QueueFull,
        Self::MemoryCritical,
        Self::WorkerStalled,
    ];

    /// The level that it alone amounts to.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::QueueEarly | Self::MemoryEarly => Level::Healthy,
            Self::Downsampling | Self::Limited | Self::QueueHigh | Self::MemoryHigh | Self::BreakerOpen => {
                Level::Degraded
            }
            Self::SlotStuck | Self::QueueFull | Self::MemoryCritical | Self::WorkerStalled => {
                Level::Unhealthy
            }
        }
    }

    /// Name for status displays and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueEarly => "queue_early",
            Self::MemoryEarly => "memory_early",
            Self::Downsampling => "downsampling",
            Self::Limited => "limited",
            Self::QueueHigh => "queue_high",
            Self::MemoryHigh => "memory_high",
            Self::BreakerOpen => "breaker_open",
            Self::SlotStuck => "slot_stuck",
            Self::QueueFull => "queue_full",
            Self::MemoryCritical => "memory_critical",
            Self::WorkerStalled => "worker_stalled",
        }
    }
}

/// A set of causes. Serializes as a list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CauseSet(u16);

impl CauseSet {
    /// No cause.
    pub const EMPTY: Self = Self(0);

    /// The set of exactly `cause`.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        Self(1 << (cause as u8 % 16))
    }

    /// Bit *n* stands for the cause with number *n*.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with these bits; bits beyond the known causes are cleared.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & ((1 << Cause::COUNT) - 1))
    }

    /// This set, and `cause` if `wanted`.
    #[must_use]
    const fn with_if(self, wanted: bool, cause: Cause) -> Self {
        if wanted { self.union(Self::of(cause)) } else { self }
    }

    /// Causes in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Causes in `self` but not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True when `cause` is in the set.
    #[must_use]
    pub const fn contains(self, cause: Cause) -> bool {
        self.0 & Self::of(cause).0 != 0
    }

    /// True when nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The causes, gravest first.
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL
            .into_iter()
            .rev()
            .filter(move |cause| self.contains(*cause))
    }

    /// The gravest cause.
    #[must_use]
    pub fn gravest(self) -> Option<Cause> {
        self.iter().next()
    }

    /// Without the lesser steps of a gauge whose greater step is in the set.
    const fn reduced(self) -> Self {
        let mut set = self;
        if set.contains(Cause::QueueFull) {
            set = set.without(Self::of(Cause::QueueHigh));
        }
        if set.contains(Cause::QueueFull) || set.contains(Cause::QueueHigh) {
            set = set.without(Self::of(Cause::QueueEarly));
        }
        if set.contains(Cause::MemoryCritical) {
            set = set.without(Self::of(Cause::MemoryHigh));
        }
        if set.contains(Cause::MemoryCritical) || set.contains(Cause::MemoryHigh) {
            set = set.without(Self::of(Cause::MemoryEarly));
        }
        set
    }
}

impl core::fmt::Debug for CauseSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for CauseSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// How well it works, and why not better.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize)]
pub struct Health {
    /// The worst that any cause amounts to.
    pub level: Level,
    /// Why. With [`Level::Healthy`] there may be early warnings here.
    pub causes: CauseSet,
}

impl Health {
    fn of(causes: CauseSet) -> Self {
        let causes = causes.reduced();
        let level = causes.iter().map(Cause::level).max().unwrap_or(Level::Healthy);
        Self { level, causes }
    }
}

/// A change of health.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Transition {
    /// Health before.
    pub from: Health,
    /// Health from now on.
    pub to: Health,
    /// The gravest cause that appeared or, when none did, that went away.
    pub cause: Cause,
}

/// What the engine sees. The default is a healthy, empty engine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Signals {
    /// Fill of the queue, in permille; 1000 when a record was just refused for want of room.
    pub fill_permille: u16,
    /// Memory of the host in use, in permille; `None` when the host does not say.
    pub memory_permille: Option<u16>,
    /// A limit of any category is live.
    pub limited: bool,
    /// A circuit breaker is open or half open.
    pub breaker_open: bool,
    /// A request has outlived its deadline and the host has settled none since.
    pub stalled: bool,
    /// Age of the oldest reserved place of the intake that is still open; zero when none is.
    pub open_slot: Duration,
    /// The downsample factor is not 0.
    pub downsampling: bool,
}

/// Turns signals into [`Health`]. An update is a few dozen steps.
#[derive(Clone, Copy, Debug)]
pub struct HealthTracker {
    config: HealthConfig,
    queue: Gauge,
    memory: Gauge,
    /// Causes in the last signals.
    present: CauseSet,
    /// Those and the ones whose dwell is not over.
    shown: CauseSet,
    /// When each of `shown` was last present.
    last_present: [Instant; Cause::COUNT],
}

impl HealthTracker {
    /// Healthy.
    #[must_use]
    pub const fn new(config: HealthConfig) -> Self {
        Self {
            config,
            queue: Gauge::new(config.queue),
            memory: Gauge::new(config.memory),
            present: CauseSet::EMPTY,
            shown: CauseSet::EMPTY,
            last_present: [Instant::ORIGIN; Cause::COUNT],
        }
    }

    /// Takes the signals of this moment; returns the change they make, if any.
    pub fn update(&mut self, now: Instant, signals: &Signals) -> Option<Transition> {
        let before = self.shown.reduced();
        let from = Health::of(before);
        self.present = self.read(signals);
        for (cause, last) in Cause::ALL.iter().copied().zip(&mut self.last_present) {
            if self.present.contains(cause) {
                self.shown = self.shown.union(CauseSet::of(cause));
                *last = now;
            } else {
                *last = (*last).min(now);
                if now.since(*last) >= self.config.dwell {
                    self.shown = self.shown.without(CauseSet::of(cause));
                }
            }
        }
        let to = Health::of(self.shown);
        let appeared = to.causes.without(from.causes);
        let gone = from.causes.without(to.causes);
        let cause = appeared.gravest().or(gone.gravest())?;
        Some(Transition { from, to, cause })
    }

    /// The causes that `signals` amount to; moves the gauges.
    fn read(&mut self, signals: &Signals) -> CauseSet {
        let queue = self.queue.update(signals.fill_permille);
        let memory = self.memory.update(signals.memory_permille.unwrap_or(0));
        CauseSet::EMPTY
            .with_if(queue >= Pressure::Early, Cause::QueueEarly)
            .with_if(queue >= Pressure::High, Cause::QueueHigh)
            .with_if(queue >= Pressure::Critical, Cause::QueueFull)
            .with_if(memory >= Pressure::Early, Cause::MemoryEarly)
            .with_if(memory >= Pressure::High, Cause::MemoryHigh)
            .with_if(memory >= Pressure::Critical, Cause::MemoryCritical)
            .with_if(signals.limited, Cause::Limited)
            .with_if(signals.breaker_open, Cause::BreakerOpen)
            .with_if(signals.stalled, Cause::WorkerStalled)
            .with_if(
                signals.open_slot >= self.config.slot_stuck_after,
                Cause::SlotStuck,
            )
            .with_if(signals.downsampling, Cause::Downsampling)
    }

    /// True when an update with `signals` would see other causes than the last one saw.
    #[must_use]
    pub fn is_outdated(&self, signals: &Signals) -> bool {
        let mut copy = *self;
        copy.read(signals) != self.present
    }

    /// As of the last update.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of(self.shown)
    }

    /// When to update even if nothing happens: a cause may be taken back then.
    #[must_use]
    pub fn next_update(&self) -> Option<Instant> {
        let waiting = self.shown.without(self.present);
        if waiting.is_empty() {
            return None;
        }
        Cause::ALL
            .into_iter()
            .zip(self.last_present)
            .filter(|(cause, _)| waiting.contains(*cause))
            .map(|(_, last)| last.saturating_add(self.config.dwell))
            .min()
    }

    /// Fill of the queue as of the last update, with the hysteresis of its marks but without dwell.
    #[must_use]
    pub const fn queue_pressure(&self) -> Pressure {
        self.queue.pressure()
    }

    /// Memory of the host as of the last update, with the hysteresis of its marks but without dwell: what to refuse.
    #[must_use]
    pub const fn memory_pressure(&self) -> Pressure {
        self.memory.pressure()
    }
}

#[cfg(test)]
mod tests;
