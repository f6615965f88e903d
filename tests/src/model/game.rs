//! The model's state beside the engine, and what holds after every operation whatever it was.

use std::collections::{BTreeMap, BTreeSet};

use surgetank_core::breaker::BreakerState;
use surgetank_core::config::{Config, DestinationConfig, Protocol};
use surgetank_core::engine::{Engine, FlushId};
use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason};
use surgetank_core::request::RequestId;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::Instant;

use super::record::{CODED, Made, Part, Taken};
use crate::books::Books;

/// What an operation that the engine must not have done, or must have done, is told as.
pub(super) type Fault = String;

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}
pub(super) use ensure;

/// What became of a part. Parts that wait have none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Delivered,
    Dropped(DropReason),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Waiting,
    /// In the request with this id.
    OnWire(RequestId),
    /// In a failed request with this id. The engine may have taken it apart since.
    Failed(RequestId),
}

/// A record that the engine holds.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) made: Made,
    /// Which of its parts are still there.
    pub(super) there: Vec<bool>,
    pub(super) at: u64,
    pub(super) was_sent: bool,
    pub(super) place: Place,
    pub(super) blocks: u64,
}

impl Live {
    pub(super) fn destination(&self) -> DestinationId {
        self.made.header.destination
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        let parts = self.made.parts.iter().zip(&self.there);
        parts.filter(|(_, there)| **there).map(|(part, _)| part)
    }

    /// Which parts go when `limited` categories must not be sent.
    pub(super) fn covered(&self, limited: CategorySet) -> Vec<bool> {
        let parts = self.made.parts.iter();
        let event_goes = parts
            .clone()
            .any(|part| part.is_event && part.limited_by.intersects(limited));
        parts
            .zip(&self.there)
            .map(|(part, there)| {
                *there && (part.limited_by.intersects(limited) || (event_goes && part.needs_event))
            })
            .collect()
    }

    /// True for single spans of a trace, which are kept or dropped together.
    pub(super) fn is_of_trace(&self) -> bool {
        let header = &self.made.header;
        header.trace.is_some() && header.count.category == Category::Span && self.is_gathered()
    }

    pub(super) fn is_gathered(&self) -> bool {
        use surgetank_core::item::Form;
        matches!(self.made.header.form, Form::Element | Form::OtlpRecord)
    }
}

/// A request that the host has.
#[derive(Clone, Debug)]
pub(super) struct OnWire {
    pub(super) destination: DestinationId,
    pub(super) records: Vec<u64>,
    pub(super) attempt: u32,
    pub(super) at: u64,
    pub(super) deadline: u64,
    pub(super) epoch: u32,
    pub(super) report: Option<Owed>,
}

#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) records: Vec<u64>,
    pub(super) attempt: u32,
}

pub(super) type Owed = BTreeMap<(Category, DropReason), u64>;

/// A destination as the model sees it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) id: DestinationId,
    pub(super) config: DestinationConfig,
    pub(super) last_used: u64,
    /// When the limit on each category, and the one on everything, ends.
    pub(super) limits: BTreeMap<Option<Category>, u64>,
    pub(super) last_failure: DropReason,
    /// Nothing may be sent before.
    pub(super) not_before: u64,
    /// No pause may last longer.
    pub(super) pause_at_most: u64,
    pub(super) failed_at: Option<u64>,
    pub(super) owed: Owed,
    pub(super) owed_since: Option<u64>,
    pub(super) breaker: BreakerState,
    /// Counts changes of the breaker.
    pub(super) epoch: u32,
    /// Outcomes since it closed, true for a failure.
    pub(super) outcomes: Vec<bool>,
}

impl Server {
    pub(super) fn new(id: DestinationId, config: DestinationConfig, now: u64) -> Self {
        Self {
            id,
            config,
            last_used: now,
            limits: BTreeMap::new(),
            last_failure: DropReason::NetworkError,
            not_before: 0,
            pause_at_most: 0,
            failed_at: None,
            owed: Owed::new(),
            owed_since: None,
            breaker: BreakerState::Closed,
            epoch: 0,
            outcomes: Vec::new(),
        }
    }

    pub(super) fn limited(&self, now: u64) -> CategorySet {
        let live = self.limits.iter().filter(|(_, until)| **until > now);
        live.fold(CategorySet::EMPTY, |set, (category, _)| match category {
            Some(category) => set.with(*category),
            None => CategorySet::ALL,
        })
    }

    /// Notes a loss for the next client report.
    pub(super) fn owe(&mut self, category: Category, reason: DropReason, quantity: u64, now: u64) {
        let reports = self.config.protocol == Protocol::Sentry && self.config.client_reports;
        let word = reason
            .client_report_name()
            .and_then(|name| DropReason::from_client_report_name(name.as_bytes()));
        if let Some(word) = word
            && reports
            && category != Category::Internal
            && quantity > 0
        {
            *self.owed.entry((category, word)).or_default() += quantity;
            self.owed_since.get_or_insert(now);
        }
    }
}

/// The engine's sums at one moment.
#[derive(Clone)]
pub(super) struct Sums {
    pub(super) recorded: [u64; Category::COUNT],
    pub(super) delivered: [u64; Category::COUNT],
    pub(super) dropped: [[u64; Category::COUNT]; DropReason::COUNT],
}

impl Sums {
    pub(super) const ZERO: Self = Self {
        recorded: [0; Category::COUNT],
        delivered: [0; Category::COUNT],
        dropped: [[0; Category::COUNT]; DropReason::COUNT],
    };

    fn of(engine: &Engine<HeapStorage>) -> Self {
        let mut sums = Self::ZERO;
        for category in Category::ALL {
            let totals = engine.totals().of(category);
            sums.recorded[category.index()] = totals.recorded;
            sums.delivered[category.index()] = totals.delivered;
        }
        for entry in engine.totals().reasons() {
            sums.dropped[entry.reason.index()][entry.category.index()] = entry.quantity;
        }
        sums
    }

    fn since(mut self, before: &Self) -> Self {
        let rows = std::iter::once((&mut self.recorded, &before.recorded))
            .chain(std::iter::once((&mut self.delivered, &before.delivered)))
            .chain(self.dropped.iter_mut().zip(&before.dropped));
        for (row, before) in rows {
            row.iter_mut()
                .zip(before)
                .for_each(|(now, before)| *now -= before);
        }
        self
    }
}

/// The engine and its model.
pub(super) struct Game {
    pub(super) engine: Engine<HeapStorage>,
    pub(super) config: Config,
    pub(super) now: u64,
    pub(super) number: u64,
    pub(super) live: BTreeMap<u64, Live>,
    pub(super) servers: BTreeMap<usize, Server>,
    /// Ids ever given, stale ones included.
    pub(super) ids: Vec<DestinationId>,
    pub(super) on_wire: BTreeMap<RequestId, OnWire>,
    pub(super) failed: BTreeMap<RequestId, Failed>,
    /// Ids of requests that are settled.
    pub(super) settled: Vec<RequestId>,
    pub(super) doomed: BTreeSet<u64>,
    pub(super) doomed_until: u64,
    pub(super) closing: Option<u64>,
    /// Each flush, and the records that it waits for.
    pub(super) flushes: Vec<(FlushId, BTreeSet<u64>)>,
    /// Owed reports go without delay until then.
    pub(super) flush_reports: u64,
    /// The sums before the operation.
    before: Sums,
    pub(super) stalls: u32,
    /// The table of losses was full once: what is owed is not known any more.
    pub(super) owed_unknown: bool,
    /// Highest fill since the gate refused no lane.
    pub(super) highest_fill: u16,
}

impl Game {
    pub(super) fn new(config: Config, engine: Engine<HeapStorage>) -> Self {
        let before = Sums::of(&engine);
        Self {
            engine,
            config,
            now: 0,
            number: 0,
            live: BTreeMap::new(),
            servers: BTreeMap::new(),
            ids: Vec::new(),
            on_wire: BTreeMap::new(),
            failed: BTreeMap::new(),
            settled: Vec::new(),
            doomed: BTreeSet::new(),
            doomed_until: 0,
            closing: None,
            flushes: Vec::new(),
            flush_reports: 0,
            before,
            stalls: 0,
            owed_unknown: false,
            highest_fill: 0,
        }
    }

    pub(super) fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// The destination with exactly this id, if it is still that one.
    pub(super) fn server(&self, id: DestinationId) -> Option<&Server> {
        self.servers.get(&id.index()).filter(|server| server.id == id)
    }

    pub(super) fn server_mut(&mut self, id: DestinationId) -> Option<&mut Server> {
        self.servers.get_mut(&id.index()).filter(|server| server.id == id)
    }

    pub(super) fn used_blocks(&self, of: Option<DestinationId>) -> u64 {
        let records = self.live.values();
        records
            .filter(|record| of.is_none_or(|id| record.destination() == id))
            .map(|record| record.blocks)
            .sum()
    }

    /// The bits that living parts have.
    pub(super) fn taken(&self) -> Taken {
        let mut taken = [0; Category::COUNT];
        for part in self.live.values().flat_map(Live::parts) {
            for (category, quantity) in part
                .counts
                .iter()
                .filter(|(category, _)| CODED.contains(category))
            {
                taken[category.index()] |= quantity;
            }
        }
        taken
    }

    pub(super) fn is_doomed(&self, record: &Live) -> bool {
        record.is_of_trace()
            && self.now <= self.doomed_until
            && self.doomed.contains(&record.made.header.trace.0)
    }

    /// What changed in the engine's sums since the last call of this.
    pub(super) fn difference(&mut self) -> Sums {
        let now = Sums::of(&self.engine);
        let difference = now.clone().since(&self.before);
        self.before = now;
        self.owed_unknown |= self.engine.totals().unreported() > 0;
        difference
    }

    /// Which parts left, and how, by their bits in the differences of the sums.
    pub(super) fn fates(&self, difference: &Sums) -> Vec<(u64, usize, Fate)> {
        let mut fates = Vec::new();
        for (number, record) in &self.live {
            for (at, part) in record.made.parts.iter().enumerate() {
                let (category, bit) = part.counts[0];
                let has = |sum: &[u64; Category::COUNT]| sum[category.index()] & bit != 0;
                if !record.there[at] {
                    continue;
                }
                if has(&difference.delivered) {
                    fates.push((*number, at, Fate::Delivered));
                }
                for reason in DropReason::ALL {
                    if has(&difference.dropped[reason.index()]) {
                        fates.push((*number, at, Fate::Dropped(reason)));
                    }
                }
            }
        }
        fates
    }

    /// Takes the parts with a fate out, and shows that `difference` is exactly what they (and `more`) amount to.
    pub(super) fn settle_up(
        &mut self,
        difference: &Sums,
        fates: &[(u64, usize, Fate)],
        mut more: Sums,
    ) -> Result<(), Fault> {
        let now = self.now;
        for (number, at, fate) in fates {
            let record = self.live.get_mut(number).ok_or("a part left twice")?;
            ensure!(record.there[*at], "part {at} of record {number} left twice");
            record.there[*at] = false;
            let part = record.made.parts[*at].clone();
            let id = record.destination();
            for (category, quantity) in &part.counts {
                match fate {
                    Fate::Delivered => more.delivered[category.index()] += quantity,
                    Fate::Dropped(reason) => more.dropped[reason.index()][category.index()] += quantity,
                }
            }
            if let (Fate::Dropped(reason), Some(server)) = (fate, self.server_mut(id)) {
                for (category, quantity) in &part.counts {
                    server.owe(*category, *reason, *quantity, now);
                }
                for (category, reason, quantity) in &part.report {
                    server.owe(*category, *reason, *quantity, now);
                }
            }
        }
        for category in Category::ALL {
            let at = category.index();
            ensure!(
                difference.recorded[at] == more.recorded[at],
                "{category:?}: {} recorded, the model says {}",
                difference.recorded[at],
                more.recorded[at]
            );
            ensure!(
                difference.delivered[at] == more.delivered[at],
                "{category:?}: {:#x} delivered, the model says {:#x}",
                difference.delivered[at],
                more.delivered[at]
            );
            for reason in DropReason::ALL {
                let (engine, model) = (
                    difference.dropped[reason.index()][at],
                    more.dropped[reason.index()][at],
                );
                ensure!(
                    engine == model,
                    "{category:?}: {engine:#x} dropped as {reason:?}, the model says {model:#x}"
                );
            }
        }
        self.live.retain(|_, record| record.there.contains(&true));
        let live = &self.live;
        for (_, waits_for) in &mut self.flushes {
            waits_for.retain(|number| live.contains_key(number));
        }
        for failed in self.failed.values_mut() {
            failed.records.retain(|number| live.contains_key(number));
        }
        self.failed.retain(|_, failed| !failed.records.is_empty());
        Ok(())
    }

    /// True when the engine's breakdown by reason is full, and with it the means of telling parts apart.
    pub(super) fn is_blind(&self) -> bool {
        self.engine.totals().unlisted() > 0
    }

    /// Takes note of breakers that changed.
    pub(super) fn watch_breakers(&mut self) -> Result<(), Fault> {
        let now = self.now;
        for server in self.servers.values_mut() {
            let status = self
                .engine
                .destination(server.id)
                .ok_or("a destination vanished")?;
            if status.breaker == server.breaker {
                continue;
            }
            ensure!(
                !matches!(
                    (server.breaker, status.breaker),
                    (BreakerState::Closed, BreakerState::HalfOpen)
                        | (BreakerState::Open, BreakerState::Closed)
                ),
                "a breaker went from {:?} to {:?}",
                server.breaker,
                status.breaker
            );
            server.breaker = status.breaker;
            server.epoch += 1;
            server.outcomes.clear();
            let pause = server.config.breaker.pause;
            let most = |interval: u64| interval + interval / 100 * u64::from(pause.jitter_percent);
            if status.breaker == BreakerState::Open {
                let initial = pause.initial.as_micros();
                let least = initial - initial / 100 * u64::from(pause.jitter_percent);
                server.not_before = server.not_before.max(now + least);
                server.pause_at_most = server.pause_at_most.max(now + most(pause.max.as_micros()));
            }
            if status.breaker == BreakerState::Closed {
                server.outcomes.push(false);
            }
        }
        Ok(())
    }

    /// What holds at every moment.
    pub(super) fn check(&mut self) -> Result<(), Fault> {
        // What the engine says of itself is as of the last call's time.
        let now = self.instant();
        let _ = self.engine.next_deadline(now);
        Books::of(&self.engine).balance()?;
        let mut held = [0; Category::COUNT];
        for (category, quantity) in self
            .live
            .values()
            .flat_map(Live::parts)
            .flat_map(|part| &part.counts)
        {
            held[category.index()] += quantity;
        }
        for (category, engine) in self.engine.held() {
            let model = held[category.index()];
            ensure!(
                engine == model,
                "{category:?}: the engine holds {engine:#x}, the model {model:#x}"
            );
        }
        let fill = self.engine.fill();
        let used = self.used_blocks(None);
        ensure!(
            u64::from(fill.used_blocks) == used,
            "{} blocks used, the model says {used}",
            fill.used_blocks
        );
        self.highest_fill = self.highest_fill.max(fill.permille());
        ensure!(
            self.engine.in_flight() == self.on_wire.len(),
            "{} in flight, the model says {}",
            self.engine.in_flight(),
            self.on_wire.len()
        );
        ensure!(
            self.engine.counters().stalls == self.stalls,
            "{} stalls, the model says {}",
            self.engine.counters().stalls,
            self.stalls
        );
        self.check_destinations()?;
        self.check_flushes()
    }

    fn check_destinations(&mut self) -> Result<(), Fault> {
        let now = self.instant();
        for server in self.servers.values() {
            let status = self
                .engine
                .destination(server.id)
                .ok_or("a destination vanished")?;
            let of = |place: fn(&Place) -> bool| {
                let records = self.live.values();
                records
                    .filter(|record| record.destination() == server.id && place(&record.place))
                    .count()
            };
            let waiting = status.waiting.iter().sum::<u32>() as usize;
            let (certain, failed) = (
                of(|place| *place == Place::Waiting),
                of(|place| matches!(place, Place::Failed(_))),
            );
            ensure!(
                certain <= waiting && waiting <= certain + failed,
                "{waiting} wait, the model says {certain} to {}",
                certain + failed
            );
            let sent = self.on_wire.values();
            let sent = sent.filter(|request| request.destination == server.id).count();
            ensure!(
                status.on_wire as usize == sent,
                "{} on the wire, the model says {sent}",
                status.on_wire
            );
            ensure!(
                status.used_blocks as u64 == self.used_blocks(Some(server.id)),
                "{} blocks of a destination, the model says {}",
                status.used_blocks,
                self.used_blocks(Some(server.id))
            );
            let limit = status.concurrency;
            ensure!(
                limit >= 1 && limit <= server.config.concurrency.max,
                "a limit of {limit} requests"
            );
            let limited = server.limited(self.now);
            ensure!(
                status.limited == limited,
                "{:?} limited, the model says {limited:?}",
                status.limited
            );
            let gate = self.engine.gate(now, server.id);
            ensure!(
                limited.without(gate.limited()).is_empty(),
                "the gate lets a limited category in"
            );
            ensure!(
                gate.is_closed() == self.closing.is_some(),
                "the gate is wrong about being closed"
            );
            for category in gate.limited().without(limited).iter() {
                let cause = match category {
                    Category::LogItem => Category::LogByte,
                    Category::TraceMetric => Category::TraceMetricByte,
                    Category::Transaction => Category::Span,
                    Category::Attachment => Category::AttachmentItem,
                    other => return Err(format!("the gate refuses {other:?} without a limit")),
                };
                ensure!(
                    limited.contains(cause),
                    "the gate refuses {category:?} without a limit on {cause:?}"
                );
            }
        }
        Ok(())
    }

    fn check_flushes(&self) -> Result<(), Fault> {
        let open = self.flushes.iter().filter(|(_, waits_for)| !waits_for.is_empty());
        let open = open.count();
        for (id, waits_for) in &self.flushes {
            let done = self.engine.is_flushed(*id);
            ensure!(
                !done || waits_for.is_empty(),
                "a flush is done with {} records to go",
                waits_for.len()
            );
            // More flushes than have an end of their own share one, with others that are still open.
            ensure!(
                done || !waits_for.is_empty() || open > 0,
                "a flush is not done with no record to go"
            );
        }
        Ok(())
    }
}
