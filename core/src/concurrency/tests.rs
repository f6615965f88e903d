use super::*;
use crate::rng::Rng;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

const MS: u64 = 1_000;

/// How a simulated server takes its time.
#[derive(Clone, Copy)]
enum Server {
    /// `workers` at a time, first come first served, each taking `service_us`; the rest waits.
    Queueing { workers: usize, service_us: u64 },
    /// Everything at once, each the slower the more there are: `service_us` up to `room`, then in proportion.
    Sharing { room: u64, service_us: u64 },
}

/// A client that always has something to send, one server, and a clock. `noise_percent` makes each request that much
/// longer at most.
struct World {
    concurrency: Concurrency,
    server: Server,
    rng: Rng,
    noise_percent: u64,
    now_us: u64,
    /// When each worker is free again.
    workers: Vec<u64>,
    /// Requests under way: when they end, number, when they were sent.
    under_way: BTreeSet<(u64, u64, u64)>,
    sent: u64,
    answered: u64,
    /// Requests are answered with this.
    kind: AnswerKind,
}

impl World {
    fn new(config: ConcurrencyConfig, server: Server) -> Self {
        Self {
            concurrency: Concurrency::new(config),
            server,
            rng: Rng::new(7),
            noise_percent: 0,
            now_us: 1_000_000,
            workers: vec![0; 64],
            under_way: BTreeSet::new(),
            sent: 0,
            answered: 0,
            kind: AnswerKind::Ok,
        }
    }

    fn send(&mut self) {
        let now = self.now_us;
        let in_flight = self.under_way.len() as u64 + 1;
        let noise = |service: u64, rng: &mut Rng| service + rng.below(service * self.noise_percent / 100 + 1);
        let end = match self.server {
            Server::Queueing { workers, service_us } => {
                let service = noise(service_us, &mut self.rng);
                let worker = self.workers[..workers].iter_mut().min().unwrap();
                *worker = (*worker).max(now) + service;
                *worker
            }
            Server::Sharing { room, service_us } => {
                now + noise(service_us * in_flight.max(room) / room, &mut self.rng)
            }
        };
        self.sent += 1;
        self.under_way.insert((end, self.sent, now));
        self.concurrency.on_sent(self.under_way.len() as u32);
    }

    /// Runs for `duration_us`; returns the lowest and highest limit and the answers per second.
    fn run(&mut self, duration_us: u64) -> (u8, u8, u64) {
        let end = self.now_us + duration_us;
        let answered = self.answered;
        let (mut low, mut high) = (u8::MAX, 0);
        loop {
            while self.under_way.len() < usize::from(self.concurrency.limit()) {
                self.send();
            }
            let (at, _, sent_at) = *self.under_way.first().unwrap();
            if at > end {
                break;
            }
            self.under_way.pop_first();
            self.now_us = at;
            self.answered += 1;
            let (now, sent_at) = (Instant::from_micros(at), Instant::from_micros(sent_at));
            self.concurrency.on_answer(now, sent_at, self.kind);
            low = low.min(self.concurrency.limit());
            high = high.max(self.concurrency.limit());
        }
        self.now_us = end;
        (low, high, (self.answered - answered) * 1_000_000 / duration_us)
    }
}

const SECOND: u64 = 1_000_000;

fn queueing(workers: usize) -> Server {
    Server::Queueing {
        workers,
        service_us: 50 * MS,
    }
}

fn at(us: u64) -> Instant {
    Instant::from_micros(us)
}

#[test]
fn a_server_far_away_with_room_gets_the_maximum() {
    for noise_percent in [0, 20, 100] {
        let mut world = World::new(ConcurrencyConfig::SENTRY, queueing(64));
        world.noise_percent = noise_percent;
        world.run(2 * SECOND);
        let (low, high, _) = world.run(20 * SECOND);
        assert_eq!((low, high), (32, 32), "noise {noise_percent} %");
    }
}

#[test]
fn a_server_with_few_workers_is_kept_busy_without_a_long_queue() {
    for workers in [1, 2, 4, 8, 16] {
        for noise_percent in [0, 20, 100, 400] {
            let mut world = World::new(ConcurrencyConfig::SENTRY, queueing(workers));
            world.noise_percent = noise_percent;
            world.run(10 * SECOND);
            let (_, high, per_second) = world.run(60 * SECOND);
            let mean_service_us = 50 * MS * (200 + noise_percent) / 200;
            let most = workers as u64 * SECOND / mean_service_us;
            let case = std::format!("{workers} workers, noise {noise_percent} %");
            assert!(per_second * 100 >= most * 95, "{case}: {per_second} of {most}");
            assert!(usize::from(high) <= 2 * workers + 4, "{case}: limit up to {high}");
        }
    }
}

#[test]
fn a_server_that_slows_down_under_load_is_not_loaded_further() {
    for room in [4, 10] {
        let server = Server::Sharing {
            room,
            service_us: 50 * MS,
        };
        let mut world = World::new(ConcurrencyConfig::SENTRY, server);
        world.noise_percent = 20;
        world.run(10 * SECOND);
        let (_, high, per_second) = world.run(60 * SECOND);
        let most = room * SECOND / (55 * MS);
        assert!(
            per_second * 100 >= most * 95,
            "room {room}: {per_second} of {most}"
        );
        assert!(u64::from(high) <= 2 * room, "room {room}: limit up to {high}");
    }
}

#[test]
fn after_an_outage_it_comes_back_within_seconds() {
    let mut world = World::new(ConcurrencyConfig::SENTRY, queueing(64));
    world.run(5 * SECOND);
    world.kind = AnswerKind::TimedOut;
    let (low, _, _) = world.run(5 * SECOND);
    assert_eq!(low, 1);
    world.kind = AnswerKind::Ok;
    world.run(5 * SECOND);
    let (low, _, per_second) = world.run(SECOND);
    assert_eq!(low, 32);
    assert!(per_second >= 600, "{per_second}");
}

#[test]
fn a_server_that_moved_farther_away_is_used_fully_again() {
    let mut world = World::new(ConcurrencyConfig::SENTRY, queueing(64));
    world.run(5 * SECOND);
    world.server = Server::Queueing {
        workers: 64,
        service_us: 200 * MS,
    };
    let (low, _, _) = world.run(10 * SECOND);
    assert!(low <= 2, "a fourfold latency goes down first, was {low}");
    world.run(20 * SECOND);
    let (low, _, _) = world.run(5 * SECOND);
    assert_eq!(low, 32);
}

#[test]
fn in_a_queue_of_our_own_the_baseline_does_not_creep_up() {
    let mut world = World::new(ConcurrencyConfig::SENTRY, queueing(4));
    for _ in 0..10 {
        world.run(60 * SECOND);
        let baseline = world.concurrency.baseline().unwrap();
        assert!(baseline <= Duration::from_millis(55), "{baseline:?}");
    }
}

#[test]
fn a_limit_that_is_not_reached_does_not_grow() {
    let mut concurrency = Concurrency::new(ConcurrencyConfig::SENTRY);
    for round in 0..100 {
        concurrency.on_sent(1);
        concurrency.on_answer(
            at(round * 100 * MS + 50 * MS),
            at(round * 100 * MS),
            AnswerKind::Ok,
        );
    }
    assert_eq!(concurrency.limit(), ConcurrencyConfig::SENTRY.initial);
}

#[test]
fn throttling_and_time_outs_halve_and_a_plain_failure_does_nothing() {
    let config = ConcurrencyConfig {
        initial: 32,
        ..ConcurrencyConfig::SENTRY
    };
    for kind in [AnswerKind::Throttled, AnswerKind::TimedOut] {
        let mut concurrency = Concurrency::new(config);
        concurrency.on_answer(at(20), at(10), kind);
        assert_eq!(concurrency.limit(), 16, "{kind:?}");
    }
    let mut concurrency = Concurrency::new(config);
    concurrency.on_answer(at(20), at(10), AnswerKind::Failed);
    assert_eq!(concurrency.limit(), 32);
}

#[test]
fn what_was_sent_before_the_limit_was_lowered_does_not_lower_it_again() {
    let config = ConcurrencyConfig {
        initial: 32,
        ..ConcurrencyConfig::SENTRY
    };
    let mut concurrency = Concurrency::new(config);
    for sent in 0..32 {
        concurrency.on_answer(at(100 + sent), at(sent), AnswerKind::TimedOut);
    }
    assert_eq!(concurrency.limit(), 16);
    concurrency.on_answer(at(300), at(101), AnswerKind::TimedOut);
    assert_eq!(concurrency.limit(), 8);
}

#[test]
fn restart_begins_with_one_and_ignores_what_was_under_way() {
    let mut world = World::new(ConcurrencyConfig::SENTRY, queueing(64));
    world.run(5 * SECOND);
    let now = world.now_us;
    world.concurrency.restart(at(now));
    assert_eq!(world.concurrency.limit(), 1);
    for _ in 0..32 {
        world
            .concurrency
            .on_answer(at(now + 10), at(now), AnswerKind::TimedOut);
        world.concurrency.on_answer(at(now + 10), at(now), AnswerKind::Ok);
    }
    assert_eq!(world.concurrency.limit(), 1);
    assert_eq!(world.concurrency.baseline(), Some(Duration::from_millis(50)));
    world.under_way.clear();
    world.workers.fill(0);
    world.run(SECOND);
    assert_eq!(world.concurrency.limit(), 32);
}

#[test]
fn settings_out_of_range_are_named() {
    let good = ConcurrencyConfig::SENTRY;
    assert_eq!(good.validate(), Ok(()));
    assert_eq!(ConcurrencyConfig::OTLP.validate(), Ok(()));
    let field = |config: ConcurrencyConfig| config.validate().unwrap_err().field();
    assert_eq!(field(ConcurrencyConfig { max: 0, ..good }), "concurrency.max");
    assert_eq!(
        field(ConcurrencyConfig { initial: 0, ..good }),
        "concurrency.initial"
    );
    assert_eq!(field(ConcurrencyConfig { max: 3, ..good }), "concurrency.initial");
    let slack = Duration::from_secs(11);
    assert_eq!(field(ConcurrencyConfig { slack, ..good }), "concurrency.slack");
}

fn any_kind() -> impl Strategy<Value = AnswerKind> {
    prop_oneof![
        4 => Just(AnswerKind::Ok),
        1 => Just(AnswerKind::Throttled),
        1 => Just(AnswerKind::TimedOut),
        1 => Just(AnswerKind::Failed),
    ]
}

proptest! {
    #[test]
    fn the_limit_stays_in_range_and_falls_once_per_round_trip(
        initial in 0u8..=255,
        max in 0u8..=255,
        steps in proptest::collection::vec((any_kind(), any::<u64>(), 0u64..2_000_000, any::<u32>()), 1..400),
    ) {
        let config = ConcurrencyConfig { initial, max, ..ConcurrencyConfig::SENTRY };
        let mut concurrency = Concurrency::new(config);
        let mut last_fall = None;
        for (kind, now, ago, in_flight) in steps {
            // Any `now`, also one before the last: time may go wrong, the limit may not.
            let (now, sent_at) = (at(now), at(now.saturating_sub(ago)));
            let before = concurrency.limit();
            concurrency.on_sent(in_flight);
            concurrency.on_answer(now, sent_at, kind);
            let limit = concurrency.limit();
            prop_assert!(limit >= 1 && limit <= max.max(1));
            prop_assert!(limit <= before.saturating_add(1));
            if limit < before {
                prop_assert!(last_fall.is_none_or(|fall| sent_at > fall));
                prop_assert!(kind != AnswerKind::Failed);
                last_fall = Some(now);
            }
        }
    }
}
