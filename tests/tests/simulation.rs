//! The simulated world: many seeds of each kind of trouble, the conservation check at the end of each, and for one seed
//! a drawing of what happened, kept as a snapshot.
//!
//! `SURGETANK_SEEDS` sets the number of seeds per scenario (default 80: well over a thousand worlds in all).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use surgetank_core::config::{Config, DestinationConfig, WhenFull};
use surgetank_core::item::{Category, DropReason, Priority};
use surgetank_core::time::{Duration, Instant};
use surgetank_tests::world::server::{Behaviour, Heard, Server};
use surgetank_tests::world::traffic::{Kind, Stream, Traffic};
use surgetank_tests::world::{Plan, World};

const fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A service with errors, transactions, logs and sessions for Sentry, spans and logs for a collector.
fn usual_traffic() -> Vec<Stream> {
    vec![
        Stream::steady(Kind::Error, 0, ms(900)),
        Stream::steady(Kind::Transaction, 0, ms(400)),
        Stream::steady(Kind::Log, 0, ms(60)),
        Stream::steady(Kind::Span, 0, ms(150)),
        Stream::steady(Kind::Session, 0, ms(1500)),
        Stream::steady(Kind::OtlpSpan, 1, ms(80)),
        Stream::steady(Kind::OtlpLog, 1, ms(120)),
    ]
}

fn plan(
    seconds: u64,
    traffic: Vec<Stream>,
    sentry: Vec<(Instant, Behaviour)>,
    otlp: Vec<(Instant, Behaviour)>,
) -> Plan {
    Plan {
        config: Config::DEFAULT,
        memory: 128 * 1024,
        requests: 16,
        destinations: vec![
            (
                DestinationConfig {
                    share_permille: 600,
                    ..DestinationConfig::SENTRY
                },
                Server::new(ms(40), sentry),
            ),
            (
                DestinationConfig {
                    share_permille: 400,
                    ..DestinationConfig::OTLP
                },
                Server::new(ms(25), otlp),
            ),
        ],
        traffic: Traffic::new(traffic),
        memory_probes: Vec::new(),
        clock_jumps: Vec::new(),
        close_at: at(seconds),
        close_within: ms(2_000),
    }
}

fn seeds() -> u64 {
    std::env::var("SURGETANK_SEEDS").map_or(80, |text| text.parse().expect("SURGETANK_SEEDS is a number"))
}

/// Runs the plan for many seeds, audits each, and calls `check` with each finished world. Returns the first world's
/// report.
fn sweep(plan: &Plan, check: impl Fn(&World, u64)) -> String {
    sweep_some(seeds(), plan, check)
}

/// The same for another number of seeds: some worlds are large.
fn sweep_some(seeds: u64, plan: &Plan, check: impl Fn(&World, u64)) -> String {
    let mut report = None;
    for seed in 0..seeds.max(1) {
        let mut world = World::new(plan.clone(), seed);
        world.run();
        world
            .audit()
            .unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{}", world.curve.report(&world.engine)));
        check(&world, seed);
        report.get_or_insert_with(|| world.curve.report(&world.engine));
    }
    report.unwrap_or_default()
}

/// Dropped for any reason but that the program records on while it closes.
fn dropped(world: &World, category: Category) -> u64 {
    let totals = world.engine.totals();
    totals.of(category).dropped - totals.dropped(category, DropReason::Closed)
}

/// What the server at that destination took.
fn taken(world: &World, destination: usize) -> BTreeSet<(Category, u64)> {
    let requests = world.servers[destination].heard.iter();
    requests
        .filter(|request| request.taken)
        .flat_map(|request| request.records.iter().copied())
        .collect()
}

fn dropped_as(world: &World, category: Category, reason: DropReason) -> u64 {
    world.engine.totals().dropped(category, reason)
}

#[test]
fn steady_load_is_delivered_whole() {
    let plan = plan(300, usual_traffic(), vec![], vec![]);
    let report = sweep(&plan, |world, seed| {
        for category in Category::ALL {
            assert_eq!(dropped(world, category), 0, "seed {seed}: {}", category.as_str());
        }
    });
    insta::assert_snapshot!("steady_load", report);
}

#[test]
fn a_burst_of_a_hundredfold_costs_bulk_not_errors() {
    let burst = |kind, every: u64| {
        Stream::new(
            kind,
            0,
            vec![
                (at(0), Some(ms(every))),
                (at(100), Some(Duration::from_micros(every * 10))),
                (at(110), Some(ms(every))),
            ],
        )
    };
    let traffic = vec![
        burst(Kind::Error, 900),
        burst(Kind::Log, 60),
        burst(Kind::Transaction, 400),
    ];
    let plan = plan(200, traffic, vec![], vec![]);
    let report = sweep(&plan, |world, seed| {
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
    });
    insta::assert_snapshot!("burst", report);
}

#[test]
fn an_hour_without_upstream_keeps_the_newest_errors_and_drains_when_it_returns() {
    let away = || vec![(at(60), Behaviour::Away), (at(3660), Behaviour::Works)];
    let mut plan = plan(4000, usual_traffic(), away(), away());
    plan.config.max_age = Duration::from_secs(7200);
    let report = sweep(&plan, |world, seed| {
        assert!(
            world.notices.get("breaker").copied().unwrap_or(0) > 0,
            "seed {seed}"
        );
        let requests: u64 = world.servers.iter().map(|server| server.requests).sum();
        // No storm: the breaker sends probes only while nobody is there.
        assert!(requests < 25_000, "seed {seed}: {requests}");
        let errors = world.engine.totals().of(Category::Error);
        let logs = world.engine.totals().of(Category::LogItem);
        assert!(
            errors.delivered * logs.recorded > logs.delivered * errors.recorded,
            "seed {seed}: errors outlive logs: {errors:?} {logs:?}"
        );
    });
    insta::assert_snapshot!("hour_away", report);
}

#[test]
fn an_hour_without_upstream_keeps_every_error_there_is_room_for_and_drops_the_oldest_bulk() {
    let away = || vec![(at(60), Behaviour::Away), (at(3660), Behaviour::Works)];
    // Two blocks for most errors: some two megabytes of them in an hour, and ten times as much of logs.
    let traffic = vec![
        Stream::steady(Kind::Error, 0, ms(900)),
        Stream::steady(Kind::Log, 0, ms(60)),
    ];
    let mut plan = plan(4000, traffic, away(), away());
    plan.memory = 8 * 1024 * 1024;
    plan.config.max_age = Duration::from_secs(7200);
    sweep_some(seeds() / 8, &plan, |world, seed| {
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
        assert!(
            dropped_as(world, Category::LogItem, DropReason::QueueOverflow) > 0,
            "seed {seed}"
        );
        let taken = taken(world, 0);
        let count = |category| taken.iter().filter(|(known, _)| *known == category).count() as u64;
        for category in [Category::Error, Category::LogItem] {
            let delivered = world.engine.totals().of(category).delivered;
            assert_eq!(
                count(category),
                delivered,
                "seed {seed}: the server counts the same"
            );
        }
        // What is left of the hour's logs is its end. Only what was with the host while its neighbours went is older.
        let logs: Vec<u64> = world
            .recorded
            .iter()
            .filter(|(at_, to, category, _)| {
                (*to, *category) == (0, Category::LogItem) && (at(60)..at(3660)).contains(at_)
            })
            .map(|(.., number)| *number)
            .collect();
        let is_kept = |number: &u64| taken.contains(&(Category::LogItem, *number));
        let newest_lost = logs
            .iter()
            .rposition(|number| !is_kept(number))
            .expect("some were dropped");
        let older = logs[..newest_lost]
            .iter()
            .filter(|number| is_kept(number))
            .count();
        let newer = logs.len() - 1 - newest_lost;
        assert!(
            newer > 1000 && older <= 400,
            "seed {seed}: {older} older, {newer} newer"
        );
    });
}

#[test]
fn a_slow_upstream_is_followed_with_more_requests_in_flight() {
    let plan = plan(
        300,
        usual_traffic(),
        vec![(at(50), Behaviour::Slow(20))],
        vec![(at(50), Behaviour::Slow(20))],
    );
    let report = sweep(&plan, |world, seed| {
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
    });
    insta::assert_snapshot!("slow", report);
}

#[test]
fn limits_of_each_category_stop_that_category_alone() {
    for (limit, category, others) in [
        (
            &[b"30:error:key" as &[u8]] as &'static [&'static [u8]],
            Category::Error,
            [Category::Transaction, Category::LogItem],
        ),
        (
            &[b"30:transaction;span:organization"],
            Category::Transaction,
            [Category::Error, Category::LogItem],
        ),
        (
            &[b"30:log_item:project:quota"],
            Category::LogItem,
            [Category::Error, Category::Session],
        ),
        (
            &[b"30:log_byte:project"],
            Category::LogItem,
            [Category::Error, Category::Session],
        ),
        (
            &[b"30:session:key"],
            Category::Session,
            [Category::Error, Category::LogItem],
        ),
    ] {
        let script = vec![(at(30), Behaviour::Limits(limit)), (at(90), Behaviour::Works)];
        let plan = plan(200, usual_traffic(), script, vec![]);
        sweep(&plan, |world, seed| {
            assert!(
                dropped_as(world, category, DropReason::RatelimitBackoff) > 0,
                "seed {seed}"
            );
            for other in others {
                let spared = dropped_as(world, other, DropReason::RatelimitBackoff);
                assert_eq!(spared, 0, "seed {seed}: {}", other.as_str());
            }
        });
    }
}

#[test]
fn in_the_minute_of_a_429_not_one_limited_record_is_sent_under_full_load() {
    let traffic = vec![
        Stream::steady(Kind::Error, 0, ms(2)),
        Stream::steady(Kind::Log, 0, ms(20)),
    ];
    let script = vec![
        (at(30), Behaviour::Limits(&[b"60:error:key"])),
        (at(31), Behaviour::Works),
    ];
    sweep_some(seeds() / 8, &plan(110, traffic, script, vec![]), |world, seed| {
        // The audit has seen that none came that the engine knew to be limited. Whatever was on its way when the answer
        // came has arrived a second later.
        let heard = |from, to, category| {
            let requests = world.servers[0].heard.iter();
            let of_time = requests.filter(|request| (at(from)..at(to)).contains(&request.at));
            of_time
                .flat_map(|request| &request.records)
                .filter(|(known, _)| *known == category)
                .count()
        };
        assert_eq!(heard(31, 90, Category::Error), 0, "seed {seed}");
        assert!(
            heard(31, 90, Category::LogItem) > 2_500,
            "seed {seed}: others go on"
        );
        assert!(
            heard(90, 100, Category::Error) > 1_000,
            "seed {seed}: it ends in time"
        );
        let refused = dropped_as(world, Category::Error, DropReason::RatelimitBackoff);
        assert!((29_000..31_000).contains(&refused), "seed {seed}: {refused}");
    });
}

#[test]
fn a_limit_for_everything_stops_everything_until_it_ends() {
    let script = vec![
        (at(30), Behaviour::Limits(&[b"60::organization"])),
        (at(31), Behaviour::Works),
    ];
    let plan = plan(200, usual_traffic(), script, vec![]);
    let report = sweep(&plan, |world, seed| {
        assert!(
            dropped_as(world, Category::Error, DropReason::RatelimitBackoff) > 0,
            "seed {seed}"
        );
        assert!(
            world.engine.totals().of(Category::Error).delivered > 100,
            "seed {seed}: it ends"
        );
    });
    insta::assert_snapshot!("limited", report);
}

#[test]
fn limits_that_come_with_success_are_obeyed() {
    let script = vec![(
        at(30),
        Behaviour::WorksAndLimits(&[b"20:transaction:key, 40:span:key"]),
    )];
    sweep(&plan(120, usual_traffic(), script, vec![]), |world, seed| {
        assert!(
            dropped_as(world, Category::Transaction, DropReason::RatelimitBackoff) > 0,
            "seed {seed}"
        );
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
    });
}

#[test]
fn a_server_that_flaps_gets_everything_in_the_end_or_it_is_counted() {
    let flaky = || vec![(at(20), Behaviour::Flaky(40)), (at(200), Behaviour::Works)];
    let report = sweep(&plan(300, usual_traffic(), flaky(), flaky()), |world, seed| {
        assert!(
            world.engine.totals().of(Category::Error).delivered > 0,
            "seed {seed}"
        );
    });
    insta::assert_snapshot!("flapping", report);
}

#[test]
fn overload_with_retry_after_is_waited_out_and_costs_no_error() {
    let busy = || {
        vec![
            (at(20), Behaviour::Refuses(503, Some(30))),
            (at(120), Behaviour::Works),
        ]
    };
    let mut plan = plan(300, usual_traffic(), busy(), busy());
    // Room for every error of the outage, so that none has to go.
    plan.memory = 256 * 1024;
    let report = sweep(&plan, |world, seed| {
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
        let requests: u64 = world.servers.iter().map(|server| server.requests).sum();
        assert!(requests < 4_000, "seed {seed}: {requests}");
    });
    insta::assert_snapshot!("busy", report);
}

#[test]
fn a_fleet_asks_a_failing_server_rarely_and_not_in_step_and_drains_by_weight() {
    const FAILS: core::ops::Range<u64> = 20..140;
    let fails = vec![
        (at(FAILS.start), Behaviour::Refuses(503, None)),
        (at(FAILS.end), Behaviour::Works),
    ];
    let mut plan = plan(400, usual_traffic(), fails, vec![]);
    plan.memory = 8 * 1024 * 1024;
    let of_fleet = RefCell::new(BTreeMap::new());
    sweep(&plan, |world, seed| {
        for category in [Category::Error, Category::LogItem, Category::Session] {
            assert_eq!(dropped(world, category), 0, "seed {seed}: {}", category.as_str());
        }
        let heard = &world.servers[0].heard;
        let second = |request: &Heard| request.at.as_micros() / 1_000_000;
        let attempts: Vec<u64> = heard
            .iter()
            .map(second)
            .filter(|second| FAILS.contains(second))
            .collect();
        assert!(attempts.len() <= 20, "seed {seed}: {attempts:?}");
        for second in attempts {
            *of_fleet.borrow_mut().entry(second).or_insert(0) += 1;
        }
        // The other destination has a server that works, and is not held up.
        let slowest = world.servers[1]
            .heard
            .windows(2)
            .map(|pair| pair[1].at.since(pair[0].at));
        assert!(slowest.max() < Some(ms(10_000)), "seed {seed}");
        // After the probe and what was sent before, every lane with a backlog gets its turns: 5 : 3 : 2.
        let drained = heard.iter().filter(|request| second(request) >= FAILS.end);
        let mut turns = BTreeMap::new();
        for request in drained.skip(12).take(50) {
            *turns.entry(request.records[0].0.priority()).or_insert(0) += 1;
        }
        let turns = [Priority::Critical, Priority::Medium, Priority::Low].map(|lane| turns[&lane]);
        let [errors, traces, logs] = turns;
        assert!(
            (22..=28).contains(&errors) && (12..=18).contains(&traces) && (8..=12).contains(&logs),
            "seed {seed}: {turns:?}"
        );
    });
    // All of them met the failure in the same second. Half a minute later no second has more than a few of them.
    let most = of_fleet
        .borrow()
        .range(FAILS.start + 30..)
        .map(|(_, count)| *count)
        .max();
    assert!(most <= Some(seeds() / 5 + 2), "{most:?} of {} at once", seeds());
}

#[test]
fn requests_that_hang_end_by_time_out_and_are_tried_again() {
    let hang = || vec![(at(20), Behaviour::Hangs), (at(80), Behaviour::Works)];
    let mut plan = plan(400, usual_traffic(), hang(), hang());
    plan.memory = 256 * 1024;
    let report = sweep(&plan, |world, seed| {
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
    });
    insta::assert_snapshot!("hang", report);
}

#[test]
fn requests_that_the_host_forgets_are_noticed_and_healed() {
    let forget = || vec![(at(20), Behaviour::Forgets), (at(30), Behaviour::Works)];
    sweep(&plan(300, usual_traffic(), forget(), forget()), |world, seed| {
        assert!(world.engine.counters().stalls > 0, "seed {seed}");
        assert!(
            world.notices.get("stalled").copied().unwrap_or(0) > 0,
            "seed {seed}"
        );
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
    });
}

#[test]
fn a_clock_that_jumps_either_way_breaks_nothing() {
    let mut plan = plan(
        300,
        usual_traffic(),
        vec![
            (at(100), Behaviour::Refuses(503, Some(20))),
            (at(130), Behaviour::Works),
        ],
        vec![],
    );
    plan.clock_jumps = vec![
        (at(50), 3_600_000_000),
        (at(110), -1_800_000_000),
        (at(150), -1_000_000),
        (at(200), 5_000),
    ];
    sweep(&plan, |world, seed| {
        assert!(world.engine.counters().clock_steps_back > 0, "seed {seed}");
    });
}

#[test]
fn memory_pressure_refuses_bulk_first_and_lets_go_again() {
    let mut plan = plan(200, usual_traffic(), vec![], vec![]);
    plan.memory_probes = vec![(at(50), 870), (at(80), 990), (at(110), 500)];
    let report = sweep(&plan, |world, seed| {
        assert_eq!(dropped(world, Category::Error), 0, "seed {seed}");
        assert!(
            dropped_as(world, Category::LogItem, DropReason::QueueOverflow) > 0,
            "seed {seed}"
        );
        assert!(
            world.engine.totals().of(Category::LogItem).delivered > 0,
            "seed {seed}"
        );
    });
    insta::assert_snapshot!("memory", report);
}

#[test]
fn a_relay_that_refuses_the_newest_evicts_nothing() {
    let away = || vec![(at(20), Behaviour::Away), (at(100), Behaviour::Works)];
    let mut plan = plan(300, usual_traffic(), away(), away());
    plan.config.when_full = WhenFull::RefuseNewest;
    plan.memory = 32 * 1024;
    sweep(&plan, |world, seed| {
        let refused = world
            .engine
            .totals()
            .reasons()
            .iter()
            .filter(|entry| entry.reason == DropReason::QueueOverflow);
        let refused: u64 = refused.map(|entry| entry.quantity).sum();
        assert!(refused > 0, "seed {seed}");
    });
}

#[test]
fn shutdown_ends_in_time_in_every_state() {
    let states: [(&str, Behaviour); 8] = [
        ("working", Behaviour::Works),
        ("slow", Behaviour::Slow(40)),
        ("busy", Behaviour::Refuses(503, Some(60))),
        ("broken", Behaviour::Refuses(500, None)),
        ("limited", Behaviour::Limits(&[b"60::key"])),
        ("away", Behaviour::Away),
        ("hanging", Behaviour::Hangs),
        ("forgetting", Behaviour::Forgets),
    ];
    for (name, behaviour) in states {
        let script = || vec![(at(20), behaviour.clone())];
        // The world itself checks that the engine is closed when its deadline has passed: `run` ends.
        sweep(&plan(40, usual_traffic(), script(), script()), |world, seed| {
            let closed = [Category::Error, Category::Span]
                .iter()
                .any(|category| world.engine.totals().of(*category).queued() > 0);
            assert!(!closed, "{name}, seed {seed}: something is queued after the end");
        });
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let flaky = || vec![(at(5), Behaviour::Flaky(30))];
    let plan = plan(100, usual_traffic(), flaky(), flaky());
    let mut reports = (0..2).map(|_| {
        let mut world = World::new(plan.clone(), 11);
        world.run();
        (
            world.curve.report(&world.engine),
            world.servers.iter().map(|server| server.requests).sum::<u64>(),
        )
    });
    assert_eq!(reports.next(), reports.next());
}
