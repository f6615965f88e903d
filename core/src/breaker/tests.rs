use super::*;
use crate::rng::Rng;
use proptest::prelude::*;
use std::vec::Vec;

const CONFIG: BreakerConfig = BreakerConfig::DEFAULT;

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// A breaker with the generator it needs.
struct Rig {
    breaker: Breaker,
    rng: Rng,
}

impl Rig {
    fn new() -> Self {
        Self {
            breaker: Breaker::new(CONFIG),
            rng: Rng::new(3),
        }
    }

    fn fail(&mut self, now: Instant, permit: Permit) -> Option<BreakerState> {
        self.breaker.on_failure(now, permit, &mut self.rng, None)
    }

    /// Sends and fails until it is open.
    fn open(&mut self, now: Instant) {
        for _ in 0..CONFIG.consecutive_failures {
            let permit = self.breaker.allow(now);
            self.fail(now, permit);
        }
        assert_eq!(self.breaker.state(), BreakerState::Open);
    }

    /// The probe that may go when the pause is over, and when that is.
    fn probe(&mut self) -> (Instant, Permit) {
        let until = self.breaker.open_until().unwrap();
        let permit = self.breaker.allow(until);
        assert!(permit.is_probe());
        (until, permit)
    }
}

#[test]
fn it_opens_after_so_many_failures_in_a_row() {
    let mut rig = Rig::new();
    for _ in 1..CONFIG.consecutive_failures {
        let permit = rig.breaker.allow(at(0));
        assert_eq!(rig.fail(at(0), permit), None);
    }
    let permit = rig.breaker.allow(at(0));
    assert_eq!(permit.kind(), PermitKind::Closed);
    assert_eq!(rig.fail(at(0), permit), Some(BreakerState::Open));
    assert!(!rig.breaker.allow(at(0)).is_granted());
}

#[test]
fn a_success_in_between_breaks_the_row() {
    let mut rig = Rig::new();
    for _ in 0..8 {
        for _ in 1..CONFIG.consecutive_failures {
            let permit = rig.breaker.allow(at(0));
            rig.fail(at(0), permit);
            let permit = rig.breaker.allow(at(0));
            rig.breaker.on_success(permit);
            let permit = rig.breaker.allow(at(0));
            rig.breaker.on_success(permit);
        }
    }
    assert_eq!(rig.breaker.state(), BreakerState::Closed);
}

#[test]
fn it_opens_when_half_of_the_last_outcomes_are_failures() {
    let mut rig = Rig::new();
    for number in 1..=CONFIG.window {
        assert_eq!(
            rig.breaker.state(),
            BreakerState::Closed,
            "before outcome {number}"
        );
        let permit = rig.breaker.allow(at(0));
        if number % 2 == 0 {
            rig.fail(at(0), permit);
        } else {
            rig.breaker.on_success(permit);
        }
    }
    assert_eq!(rig.breaker.state(), BreakerState::Open);
}

#[test]
fn one_probe_goes_when_the_pause_is_over() {
    let mut rig = Rig::new();
    rig.open(at(100));
    let until = rig.breaker.open_until().unwrap();
    assert!(until > at(100) && until <= at(102), "{until:?}");
    let before = Instant::from_micros(until.as_micros() - 1);
    assert!(!rig.breaker.allow(before).is_granted());
    assert!(rig.breaker.allow(until).is_probe());
    assert!(rig.breaker.awaits_probe());
    assert_eq!(rig.breaker.open_until(), None);
    assert!(!rig.breaker.allow(at(1_000)).is_granted(), "a second probe");
}

#[test]
fn a_probe_that_succeeds_closes_it() {
    let mut rig = Rig::new();
    rig.open(at(0));
    let (_, probe) = rig.probe();
    assert_eq!(rig.breaker.on_success(probe), Some(BreakerState::Closed));
    assert_eq!(rig.breaker.allow(at(5)).kind(), PermitKind::Closed);
}

#[test]
fn probes_that_fail_make_the_pause_longer_up_to_the_cap() {
    let mut rig = Rig::new();
    rig.open(at(0));
    for interval in [2u64, 4, 8, 16, 32, 60, 60] {
        let (now, probe) = rig.probe();
        assert_eq!(rig.fail(now, probe), Some(BreakerState::Open));
        let pause = rig.breaker.open_until().unwrap().since(now);
        let interval = Duration::from_secs(interval);
        assert!(
            pause >= interval.div(2) && pause <= interval.saturating_mul(3).div(2),
            "{pause:?}"
        );
    }
}

#[test]
fn a_server_that_answers_one_probe_and_fails_again_is_asked_less_and_less() {
    let mut rig = Rig::new();
    let mut now = at(0);
    for _ in 0..8 {
        rig.open(now);
        let (until, probe) = rig.probe();
        rig.breaker.on_success(probe);
        now = until;
    }
    rig.open(now);
    let pause = rig.breaker.open_until().unwrap().since(now);
    assert!(pause >= Duration::from_secs(30), "{pause:?}");
}

#[test]
fn enough_successes_in_a_row_make_the_pause_short_again() {
    let mut rig = Rig::new();
    rig.open(at(0));
    for _ in 0..5 {
        let (now, probe) = rig.probe();
        rig.fail(now, probe);
    }
    let (now, probe) = rig.probe();
    rig.breaker.on_success(probe);
    for _ in 1..CONFIG.consecutive_failures {
        let permit = rig.breaker.allow(now);
        rig.breaker.on_success(permit);
    }
    rig.open(now);
    let pause = rig.breaker.open_until().unwrap().since(now);
    assert!(pause <= Duration::from_millis(1_500), "{pause:?}");
}

#[test]
fn the_server_decides_how_long_at_least() {
    let mut rig = Rig::new();
    let delay = Some(Duration::from_secs(90));
    for _ in 0..CONFIG.consecutive_failures {
        let permit = rig.breaker.allow(at(0));
        rig.breaker.on_failure(at(0), permit, &mut rig.rng, delay);
    }
    assert!(rig.breaker.open_until().unwrap() >= at(90));
}

#[test]
fn outcomes_of_requests_sent_before_it_opened_change_nothing() {
    let mut rig = Rig::new();
    let old: Vec<Permit> = (0..8).map(|_| rig.breaker.allow(at(0))).collect();
    rig.open(at(1));
    let until = rig.breaker.open_until();
    for permit in &old[..4] {
        assert_eq!(rig.fail(at(2), *permit), None);
        assert_eq!(rig.breaker.on_success(*permit), None);
    }
    assert_eq!(rig.breaker.open_until(), until);
    let (now, probe) = rig.probe();
    for permit in &old[4..6] {
        assert_eq!(rig.breaker.on_success(*permit), None, "only the probe closes it");
        assert_eq!(rig.fail(now, *permit), None, "only the probe opens it");
    }
    assert!(rig.breaker.awaits_probe());
    rig.breaker.on_success(probe);
    for _ in 0..CONFIG.consecutive_failures {
        assert_eq!(rig.fail(now, old[6]), None);
        assert_eq!(rig.fail(now, probe), None, "the probe is settled");
    }
    assert_eq!(rig.breaker.state(), BreakerState::Closed);
}

#[test]
fn a_delay_that_the_server_asks_for_holds_whoever_was_told() {
    let mut rig = Rig::new();
    let old = rig.breaker.allow(at(0));
    rig.open(at(1));
    let delay = Some(Duration::from_secs(90));
    assert_eq!(rig.breaker.on_failure(at(2), old, &mut rig.rng, delay), None);
    assert_eq!(rig.breaker.open_until(), Some(at(92)));
}

#[test]
fn after_a_probe_that_vanished_another_may_go() {
    let mut rig = Rig::new();
    rig.open(at(0));
    let (now, first) = rig.probe();
    rig.breaker.give_back(first);
    assert_eq!(rig.breaker.state(), BreakerState::HalfOpen);
    assert!(!rig.breaker.awaits_probe());
    let second = rig.breaker.allow(now);
    assert!(second.is_probe());
    rig.breaker.give_back(first);
    assert!(rig.breaker.awaits_probe(), "a probe is given back once");
    assert_eq!(
        rig.breaker.on_success(first),
        None,
        "what vanished decides nothing"
    );
    assert_eq!(rig.breaker.on_success(second), Some(BreakerState::Closed));
}

#[test]
fn giving_back_an_ordinary_permit_changes_nothing() {
    let mut rig = Rig::new();
    let permit = rig.breaker.allow(at(0));
    rig.breaker.give_back(permit);
    rig.breaker.give_back(Permit::NONE);
    assert_eq!(rig.breaker.state(), BreakerState::Closed);
}

#[test]
fn settings_out_of_range_are_named() {
    assert_eq!(CONFIG.validate(), Ok(()));
    let field = |config: BreakerConfig| config.validate().unwrap_err().field();
    for consecutive_failures in [0, 65] {
        let config = BreakerConfig {
            consecutive_failures,
            ..CONFIG
        };
        assert_eq!(field(config), "breaker.consecutive_failures");
    }
    for failure_percent in [0, 101] {
        assert_eq!(
            field(BreakerConfig {
                failure_percent,
                ..CONFIG
            }),
            "breaker.failure_percent"
        );
    }
    for window in [7, 65] {
        assert_eq!(field(BreakerConfig { window, ..CONFIG }), "breaker.window");
    }
    let pause = BackoffConfig {
        jitter_percent: 0,
        ..CONFIG.pause
    };
    assert_eq!(field(BreakerConfig { pause, ..CONFIG }), "breaker.pause");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Allow,
    Succeed(usize),
    Fail(usize, Option<u64>),
    GiveBack(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u64..200_000_000).prop_map(Step::Wait),
        4 => Just(Step::Allow),
        1 => any::<usize>().prop_map(Step::Succeed),
        3 => (any::<usize>(), proptest::option::of(0u64..100_000_000)).prop_map(|(at, delay)| Step::Fail(at, delay)),
        1 => any::<usize>().prop_map(Step::GiveBack),
    ]
}

proptest! {
    /// Outcomes come in any order, late, twice, for requests long given up.
    #[test]
    fn never_two_probes_and_nothing_while_open(
        seed: u64,
        steps in proptest::collection::vec(any_step(), 1..300),
    ) {
        let mut breaker = Breaker::new(CONFIG);
        let mut rng = Rng::new(seed);
        let mut now = Instant::ORIGIN;
        let mut permits: Vec<Permit> = Vec::new();
        let mut probe: Option<Permit> = None;
        for step in steps {
            let state = breaker.state();
            let open_until = breaker.open_until();
            match step {
                Step::Wait(micros) => now = now.saturating_add(Duration::from_micros(micros)),
                Step::Allow => {
                    let permit = breaker.allow(now);
                    match permit.kind() {
                        PermitKind::Closed => prop_assert_eq!(state, BreakerState::Closed),
                        PermitKind::Probe => {
                            prop_assert!(probe.is_none(), "a second probe");
                            prop_assert!(open_until.is_none_or(|until| now >= until));
                            probe = Some(permit);
                        }
                        PermitKind::No => prop_assert!(probe.is_some() || open_until.is_some_and(|until| now < until)),
                    }
                    if permit.is_granted() {
                        permits.push(permit);
                    }
                }
                Step::Succeed(pick) if !permits.is_empty() => {
                    let permit = permits[pick % permits.len()];
                    let closes = Some(permit) == probe;
                    let changed = breaker.on_success(permit);
                    prop_assert_eq!(changed, closes.then_some(BreakerState::Closed));
                    probe = probe.filter(|_| !closes);
                }
                Step::Fail(pick, delay) if !permits.is_empty() => {
                    let permit = permits[pick % permits.len()];
                    let delay = delay.map(Duration::from_micros);
                    let changed = breaker.on_failure(now, permit, &mut rng, delay);
                    if Some(permit) == probe {
                        prop_assert_eq!(changed, Some(BreakerState::Open));
                        probe = None;
                    } else if changed.is_some() {
                        prop_assert_eq!((state, changed), (BreakerState::Closed, Some(BreakerState::Open)));
                    }
                    if changed.is_some() {
                        let least = now.saturating_add(delay.unwrap_or(Duration::ZERO));
                        prop_assert!(breaker.open_until().unwrap() >= least);
                    }
                    prop_assert!(breaker.open_until() >= open_until, "a pause was cut short");
                }
                Step::GiveBack(pick) if !permits.is_empty() => {
                    let permit = permits[pick % permits.len()];
                    breaker.give_back(permit);
                    probe = probe.filter(|probe| *probe != permit);
                }
                Step::Succeed(_) | Step::Fail(..) | Step::GiveBack(_) => {}
            }
            prop_assert_eq!(breaker.awaits_probe(), probe.is_some());
        }
    }
}
