//! A world in which the engine runs without threads, sockets or waiting: clock, servers, network and producers are
//! numbers, all drawn from one seed. A day passes in milliseconds, and a failing seed fails again.
//!
//! [`World`] is the host: it calls the engine by its contract, carries requests to [`server::Server`]s and answers
//! back after a latency, and jumps the clock to whatever comes next. [`traffic`] says what is recorded when, and
//! [`audit`] checks at the end that nothing was lost silently: by the engine's own sums, by a walk through its tables,
//! and by what the servers say they took.

pub mod audit;
pub mod curve;
pub mod server;
pub mod traffic;

use std::collections::{BTreeMap, BinaryHeap};

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::{Engine, HostProbe};
use surgetank_core::item::{Category, DestinationId, DropReason, Item, Outcome};
use surgetank_core::notice::{Action, Notice};
use surgetank_core::request::{Request, RequestId};
use surgetank_core::response::Failure;
use surgetank_core::rng::Rng;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};

use server::{Answer, Server};
use traffic::Traffic;

/// Wall clock at the host's origin: 14 Nov 2023 22:13:20 UTC.
pub use surgetank_replay::EPOCH;

/// Polls in a row without the clock moving that are taken for an engine that never goes quiet.
const MAX_POLLS_AT_ONE_MOMENT: u32 = 200_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Engine settings.
    pub config: Config,
    /// Queue memory in bytes.
    pub memory: usize,
    /// Places for requests.
    pub requests: usize,
    /// One destination per entry, with its server.
    pub destinations: Vec<(DestinationConfig, Server)>,
    /// What is recorded, and when.
    pub traffic: Traffic,
    /// Memory of the host, in permille, from that moment on.
    pub memory_probes: Vec<(Instant, u16)>,
    /// The host's clock jumps by that many microseconds at that moment.
    pub clock_jumps: Vec<(Instant, i64)>,
    /// `close` is called then, with this much time to drain.
    pub close_at: Instant,
    /// Time given to `close`.
    pub close_within: Duration,
}

/// An answer on its way back.
#[derive(PartialEq, Eq)]
struct Arrival {
    at: Instant,
    order: u64,
    id: RequestId,
    destination: usize,
    answer: Answer,
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A running world.
pub struct World {
    /// The engine under test.
    pub engine: Engine<HeapStorage>,
    /// Its destinations, in the plan's order.
    pub destinations: Vec<DestinationId>,
    /// Their servers.
    pub servers: Vec<Server>,
    /// What the host was told, counted by its kind.
    pub notices: BTreeMap<&'static str, u64>,
    /// Everything that was recorded, in that order: when, where to (an index of `destinations`), what, and its number.
    pub recorded: Vec<(Instant, usize, Category, u64)>,
    /// Samples over time.
    pub curve: curve::Curve,
    rng: Rng,
    traffic: Traffic,
    arrivals: BinaryHeap<Arrival>,
    order: u64,
    /// True time; the engine sees it plus `skew_us`.
    now: Instant,
    skew_us: i64,
    plan_probes: Vec<(Instant, u16)>,
    plan_jumps: Vec<(Instant, i64)>,
    close_at: Instant,
    close_within: Duration,
    closing: bool,
}

impl core::fmt::Debug for World {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("notices", &self.notices)
            .finish_non_exhaustive()
    }
}

impl World {
    /// A world that follows from `plan` and `seed` alone.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let storage = HeapStorage::new(plan.memory, plan.destinations.len(), plan.requests);
        let start = Instant::ORIGIN;
        let mut engine =
            Engine::new(plan.config, storage, rng.next_u64(), start).expect("a valid configuration");
        let mut destinations = Vec::new();
        let mut servers = Vec::new();
        for (config, server) in plan.destinations {
            destinations.push(
                engine
                    .open_destination(start, config)
                    .expect("room for every destination"),
            );
            servers.push(server);
        }
        Self {
            engine,
            destinations,
            servers,
            notices: BTreeMap::new(),
            recorded: Vec::new(),
            curve: curve::Curve::new(plan.close_at.saturating_add(plan.close_within)),
            rng,
            traffic: plan.traffic,
            arrivals: BinaryHeap::new(),
            order: 0,
            now: start,
            skew_us: 0,
            plan_probes: plan.memory_probes,
            plan_jumps: plan.clock_jumps,
            close_at: plan.close_at,
            close_within: plan.close_within,
            closing: false,
        }
    }

    /// What the host's clock says.
    fn clock(&self) -> Instant {
        let micros = self.now.as_micros().saturating_add_signed(self.skew_us);
        Instant::from_micros(micros)
    }

    /// Runs until the engine says that it is closed.
    ///
    /// # Panics
    /// When the engine never goes quiet, or is not closed once the deadline of `close` has passed.
    pub fn run(&mut self) {
        loop {
            let deadline = self.poll_until_idle();
            let Some(deadline) = deadline else { return };
            self.curve.sample(self.now, &self.engine);
            let mut next = self.next_event();
            if let Some(at) = deadline {
                // The engine's clock is skewed; its deadlines are, too.
                let at = Instant::from_micros(at.as_micros().saturating_add_signed(-self.skew_us));
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            let next = next.expect("close is still to come, so something is");
            self.now = self.now.max(next);
            self.happen();
        }
    }

    /// `None` when closed; else the engine's next deadline, if it has one.
    fn poll_until_idle(&mut self) -> Option<Option<Instant>> {
        for _ in 0..MAX_POLLS_AT_ONE_MOMENT {
            let clock = self.clock();
            match self.engine.poll(clock) {
                Action::Send(request) => {
                    let destination = self
                        .destinations
                        .iter()
                        .position(|id| *id == request.destination());
                    let destination = destination.expect("requests go to destinations that were opened");
                    let sent = Sent::read(&request);
                    let server = &mut self.servers[destination];
                    server.check(clock, &sent);
                    let (delay, answer) = server.receive(self.now, &mut self.rng, sent);
                    self.order += 1;
                    let at = self.now.saturating_add(delay);
                    let order = self.order;
                    self.arrivals.push(Arrival {
                        at,
                        order,
                        id: request.id(),
                        destination,
                        answer,
                    });
                }
                Action::Notice(notice) => *self.notices.entry(name_of(&notice)).or_default() += 1,
                Action::Idle(deadline) => {
                    let again = self.engine.next_deadline(clock);
                    assert_eq!(deadline, again, "Idle carries what next_deadline says");
                    if deadline.is_some_and(|deadline| deadline.at <= clock) {
                        continue;
                    }
                    return Some(deadline.map(|deadline| deadline.at));
                }
                Action::Closed => return None,
            }
        }
        panic!(
            "the engine never goes quiet at {:?}: {:?}",
            self.now,
            self.engine.next_deadline(self.clock())
        );
    }

    fn next_event(&self) -> Option<Instant> {
        let mut next = self.arrivals.peek().map(|arrival| arrival.at);
        let mut offer = |at: Option<Instant>| {
            if let Some(at) = at {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        };
        offer(self.traffic.next_at(&self.rng));
        offer(self.plan_probes.first().map(|(at, _)| *at));
        offer(self.plan_jumps.first().map(|(at, _)| *at));
        if !self.closing {
            offer(Some(self.close_at));
        }
        next
    }

    /// Everything whose moment has come.
    fn happen(&mut self) {
        while let Some((_, jump)) = self.plan_jumps.first().copied().filter(|(at, _)| *at <= self.now) {
            self.plan_jumps.remove(0);
            self.skew_us += jump;
        }
        while let Some((_, permille)) = self
            .plan_probes
            .first()
            .copied()
            .filter(|(at, _)| *at <= self.now)
        {
            self.plan_probes.remove(0);
            let probe = HostProbe {
                memory_permille: Some(permille),
                ..HostProbe::default()
            };
            self.engine.on_probe(self.clock(), probe);
        }
        while self.arrivals.peek().is_some_and(|arrival| arrival.at <= self.now) {
            if let Some(arrival) = self.arrivals.pop() {
                self.settle(&arrival);
            }
        }
        let clock = self.clock();
        while let Some(record) = self.traffic.take(self.now, &mut self.rng, &self.destinations) {
            if record.is_sampled_out(self.engine.gate(clock, record.header.destination)) {
                for count in [Some(record.header.count), record.header.also]
                    .into_iter()
                    .flatten()
                {
                    let (to, quantity) = (Some(record.header.destination), u64::from(count.quantity));
                    self.engine
                        .on_losses(clock, to, count.category, DropReason::Backpressure, quantity);
                }
                continue;
            }
            let (category, number) = traffic::recognise(&record.payload);
            let to = self
                .destinations
                .iter()
                .position(|id| *id == record.header.destination);
            self.recorded
                .push((self.now, to.unwrap_or(usize::MAX), category, number));
            let item = Item {
                header: record.header,
                payload: &record.payload,
            };
            match self.engine.record(clock, &item) {
                Outcome::Queued => self.traffic.queued += 1,
                Outcome::Dropped(_) => self.traffic.dropped += 1,
            }
        }
        if !self.closing && self.now >= self.close_at {
            self.closing = true;
            self.engine.close(clock, clock.saturating_add(self.close_within));
        }
    }

    fn settle(&mut self, arrival: &Arrival) {
        let clock = self.clock();
        let wall = UnixTime::from_micros(EPOCH.as_micros() + self.now.as_micros());
        let ack = match &arrival.answer {
            Answer::Response(response) => {
                self.servers[arrival.destination].tell_limits(clock, response);
                self.engine.on_response(clock, arrival.id, &response.borrow(wall))
            }
            Answer::Failure(failure) => self.engine.on_failure(clock, arrival.id, *failure),
            Answer::Silence => return,
        };
        self.servers[arrival.destination].acknowledged(arrival.id, ack);
    }
}

/// What a server sees of a request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id.
    pub id: RequestId,
    /// Its records, in their order: what they are, and the number that the traffic gave them.
    pub records: Vec<(Category, u64)>,
    /// How long the host will wait.
    pub timeout: Duration,
    /// A client report rides along.
    pub report: bool,
}

impl Sent {
    fn read(request: &Request<'_>) -> Self {
        let payloads = request.payloads();
        Self {
            id: request.id(),
            records: payloads
                .map(|mut chunks| traffic::recognise(chunks.next().unwrap_or_default()))
                .collect(),
            timeout: request.timeout(),
            report: request.carries_report(),
        }
    }
}

fn name_of(notice: &Notice) -> &'static str {
    match notice {
        Notice::Health(_) => "health",
        Notice::Factor(_) => "factor",
        Notice::Breaker { .. } => "breaker",
        Notice::Stalled { .. } => "stalled",
        Notice::Settled { .. } => "settled",
        Notice::Left { .. } => "left",
    }
}

/// A host that waits `timeout` for an answer that never comes.
#[must_use]
pub fn timed_out(timeout: Duration) -> (Duration, Answer) {
    (timeout, Answer::Failure(Failure::Timeout))
}
