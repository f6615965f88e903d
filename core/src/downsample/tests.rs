use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const ADAPTIVE: MonitorConfig = MonitorConfig::DEFAULT;
const SENTRY: MonitorConfig = MonitorConfig {
    policy: Policy::SentryCompatible,
    ..MonitorConfig::DEFAULT
};
const QUIET: Evidence = Evidence {
    queue_full: false,
    fill_permille: 0,
    sampled_overflows: 0,
    any_limited: false,
    sampled_limited_until: None,
    breaker_open: false,
    stalled: false,
};
const HIGH: Evidence = Evidence {
    fill_permille: 900,
    ..QUIET
};

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// A monitor and its clock; time passes in ticks of the policy.
struct Rig {
    monitor: Monitor,
    now: Instant,
    step: Duration,
}

impl Rig {
    fn new(config: MonitorConfig) -> Self {
        Self {
            monitor: Monitor::new(config, at(0)),
            now: at(0),
            step: interval(&config),
        }
    }

    fn tick(&mut self, evidence: &Evidence) -> Option<FactorChange> {
        self.now = self.now.saturating_add(self.step);
        self.monitor.tick(self.now, evidence)
    }

    /// Ticks with this evidence until the factor is `factor`; returns how long it took, in seconds.
    fn until(&mut self, factor: u8, evidence: &Evidence) -> u64 {
        self.until_with(factor, |_| *evidence)
    }

    /// Ticks while traces are being lost until the factor is `factor`; returns how long it took, in seconds.
    fn overloaded_until(&mut self, factor: u8) -> u64 {
        self.until_with(factor, |monitor| Evidence {
            sampled_overflows: monitor.overflows + 1,
            ..HIGH
        })
    }

    fn until_with(&mut self, factor: u8, evidence: impl Fn(&Monitor) -> Evidence) -> u64 {
        let began = self.now;
        while self.monitor.factor() != factor {
            assert!(self.now.since(began) < Duration::from_secs(1_000), "never");
            self.tick(&evidence(&self.monitor));
        }
        self.now.since(began).as_secs()
    }

    /// As before, but without another loss to be told of.
    fn quiet(&self) -> Evidence {
        Evidence {
            sampled_overflows: self.monitor.overflows,
            ..QUIET
        }
    }
}

fn up(from: u8, cause: FactorCause) -> Option<FactorChange> {
    Some(FactorChange {
        from,
        to: from + 1,
        cause,
    })
}

mod sentry_compatible {
    use super::*;

    #[test]
    fn a_full_queue_raises_it_every_ten_seconds_up_to_ten() {
        let mut rig = Rig::new(SENTRY);
        let full = Evidence {
            queue_full: true,
            ..QUIET
        };
        assert_eq!(rig.monitor.tick(at(9), &full), None);
        for factor in 0..10 {
            assert_eq!(rig.tick(&full), up(factor, FactorCause::QueueFull));
        }
        assert_eq!(rig.now, at(100));
        assert_eq!(rig.tick(&full), None);
        assert_eq!(rig.monitor.factor(), 10);
    }

    #[test]
    fn a_limit_on_any_category_raises_it() {
        let mut rig = Rig::new(SENTRY);
        let limited = Evidence {
            any_limited: true,
            ..QUIET
        };
        assert_eq!(rig.tick(&limited), up(0, FactorCause::Limited));
        assert_eq!(rig.tick(&limited), up(1, FactorCause::Limited));
    }

    #[test]
    fn one_healthy_tick_takes_it_to_zero() {
        let mut rig = Rig::new(SENTRY);
        let full = Evidence {
            queue_full: true,
            ..QUIET
        };
        rig.until(7, &full);
        let change = FactorChange {
            from: 7,
            to: 0,
            cause: FactorCause::Quiet,
        };
        assert_eq!(rig.tick(&QUIET), Some(change));
    }

    #[test]
    fn a_high_fill_or_an_open_breaker_is_nothing_to_it() {
        let mut rig = Rig::new(SENTRY);
        let evidence = Evidence {
            fill_permille: 999,
            breaker_open: true,
            sampled_overflows: 5,
            ..QUIET
        };
        assert_eq!(rig.tick(&evidence), None);
    }
}

#[test]
fn off_is_off() {
    let mut rig = Rig::new(MonitorConfig {
        policy: Policy::Off,
        ..ADAPTIVE
    });
    let worst = Evidence {
        queue_full: true,
        fill_permille: 1000,
        sampled_overflows: 9,
        any_limited: true,
        ..QUIET
    };
    assert_eq!(rig.tick(&worst), None);
    assert_eq!(rig.monitor.next_tick(), None);
}

#[test]
fn each_kind_of_evidence_is_named() {
    let later = Some(at(60));
    for (evidence, cause) in [
        (
            Evidence {
                sampled_overflows: 1,
                ..QUIET
            },
            FactorCause::QueueOverflow,
        ),
        (
            Evidence {
                queue_full: true,
                ..HIGH
            },
            FactorCause::QueueFull,
        ),
        (HIGH, FactorCause::QueueHigh),
        (
            Evidence {
                breaker_open: true,
                fill_permille: 600,
                ..QUIET
            },
            FactorCause::BreakerOpen,
        ),
        (
            Evidence {
                sampled_limited_until: later,
                ..QUIET
            },
            FactorCause::Limited,
        ),
    ] {
        assert_eq!(Rig::new(ADAPTIVE).tick(&evidence), up(0, cause), "{evidence:?}");
    }
}

#[test]
fn what_sampling_cannot_help_is_no_evidence() {
    let mut rig = Rig::new(ADAPTIVE);
    for evidence in [
        Evidence {
            any_limited: true,
            ..QUIET
        },
        Evidence {
            breaker_open: true,
            fill_permille: 599,
            ..QUIET
        },
        Evidence {
            fill_permille: 799,
            ..QUIET
        },
        Evidence {
            sampled_limited_until: Some(at(1)),
            ..QUIET
        },
    ] {
        assert_eq!(rig.tick(&evidence), None, "{evidence:?}");
    }
}

#[test]
fn a_burst_of_a_hundred_is_caught_in_fourteen_seconds() {
    assert_eq!(Rig::new(ADAPTIVE).overloaded_until(7), 14);
}

#[test]
fn losses_count_once_in_the_tick_after_they_happened() {
    let mut rig = Rig::new(ADAPTIVE);
    let lost = Evidence {
        sampled_overflows: 40,
        ..QUIET
    };
    assert_eq!(rig.tick(&lost), up(0, FactorCause::QueueOverflow));
    assert_eq!(rig.tick(&lost), None);
    assert_eq!(rig.monitor.factor(), 1);
}

#[test]
fn it_comes_down_one_step_per_quiet_window() {
    let mut rig = Rig::new(ADAPTIVE);
    rig.overloaded_until(4);
    rig.tick(&rig.quiet());
    for factor in (0..4).rev() {
        assert_eq!(rig.until(factor, &rig.quiet()), 10);
    }
    assert_eq!(rig.monitor.next_tick(), None);
}

#[test]
fn a_queue_that_stands_still_raises_nothing() {
    for breaker_open in [false, true] {
        let standing = Evidence {
            breaker_open,
            queue_full: true,
            fill_permille: 1_000,
            ..QUIET
        };
        let mut rig = Rig::new(ADAPTIVE);
        assert_eq!(rig.tick(&standing), up(0, FactorCause::QueueFull));
        for _ in 0..100 {
            assert_eq!(rig.tick(&standing), None);
        }
        assert_eq!(rig.monitor.factor(), 1);
    }
}

#[test]
fn a_queue_that_grows_raises_it_with_every_tick() {
    let mut rig = Rig::new(ADAPTIVE);
    let open = |fill_permille| Evidence {
        breaker_open: true,
        fill_permille,
        ..QUIET
    };
    assert_eq!(rig.tick(&open(650)), up(0, FactorCause::BreakerOpen));
    assert_eq!(rig.tick(&open(640)), None, "what was seen before is not growth");
    assert_eq!(rig.tick(&open(700)), up(1, FactorCause::BreakerOpen));
    assert_eq!(rig.tick(&open(850)), up(2, FactorCause::QueueHigh));
    assert_eq!(rig.tick(&QUIET), None);
    assert_eq!(rig.tick(&open(650)), up(3, FactorCause::BreakerOpen));
}

#[test]
fn between_the_marks_it_stays() {
    let mut rig = Rig::new(ADAPTIVE);
    rig.overloaded_until(3);
    let between = Evidence {
        fill_permille: 700,
        ..rig.quiet()
    };
    for _ in 0..100 {
        assert_eq!(rig.tick(&between), None);
    }
    assert_eq!(rig.monitor.factor(), 3);
}

#[test]
fn a_limit_counts_once_however_long_it_lasts() {
    let mut rig = Rig::new(ADAPTIVE);
    let limited = Evidence {
        sampled_limited_until: Some(at(60)),
        ..QUIET
    };
    assert_eq!(rig.tick(&limited), up(0, FactorCause::Limited));
    while rig.now < at(58) {
        assert_eq!(rig.tick(&limited), None);
    }
    assert_eq!(rig.monitor.factor(), 1);
}

#[test]
fn a_limit_that_grows_while_it_lasts_is_the_same_limit_and_one_after_it_is_another() {
    let mut rig = Rig::new(ADAPTIVE);
    let until = |seconds| Evidence {
        sampled_limited_until: Some(at(seconds)),
        ..QUIET
    };
    assert_eq!(rig.tick(&until(60)), up(0, FactorCause::Limited));
    assert_eq!(rig.tick(&until(61)), None);
    while rig.now < at(60) {
        rig.tick(&until(61));
    }
    // Told again at once when the first limit was over: no tick saw it free.
    assert_eq!(rig.tick(&until(120)), up(1, FactorCause::Limited));
}

#[test]
fn a_stall_neither_raises_nor_lowers_it() {
    let mut rig = Rig::new(ADAPTIVE);
    rig.overloaded_until(2);
    let stalled = |evidence| Evidence {
        stalled: true,
        ..evidence
    };
    for _ in 0..50 {
        assert_eq!(rig.tick(&stalled(HIGH)), None);
        assert_eq!(rig.tick(&stalled(rig.quiet())), None);
    }
    assert_eq!(rig.monitor.factor(), 2);
    assert_eq!(
        rig.until(1, &rig.quiet()),
        12,
        "the quiet window begins after the stall"
    );
}

#[test]
fn what_was_lost_in_a_stall_is_not_held_against_the_traces_afterwards() {
    let mut rig = Rig::new(ADAPTIVE);
    let lost = Evidence {
        sampled_overflows: 9_000,
        ..QUIET
    };
    rig.tick(&Evidence {
        stalled: true,
        ..lost
    });
    assert_eq!(rig.tick(&lost), None);
}

/// A steady overload that one halving answers: evidence whenever the factor is 0.
#[test]
fn a_steady_overload_is_tried_less_and_less_often() {
    let mut rig = Rig::new(ADAPTIVE);
    let mut windows = Vec::new();
    for _ in 0..6 {
        rig.overloaded_until(1);
        windows.push(rig.until(0, &rig.quiet()));
    }
    // The first tick of a window begins it.
    assert_eq!(windows, [12, 22, 42, 82, 82, 82]);
}

#[test]
fn once_it_is_over_the_windows_are_short_again() {
    let mut rig = Rig::new(ADAPTIVE);
    for _ in 0..6 {
        rig.overloaded_until(1);
        rig.until(0, &rig.quiet());
    }
    for _ in 0..200 {
        rig.tick(&rig.quiet());
    }
    rig.overloaded_until(2);
    assert_eq!(rig.until(0, &rig.quiet()), 22);
}

#[test]
fn a_late_tick_counts_once() {
    let mut monitor = Monitor::new(ADAPTIVE, at(0));
    assert_eq!(monitor.tick(at(1_000), &HIGH), up(0, FactorCause::QueueHigh));
    assert_eq!(monitor.tick(at(1_001), &HIGH), None);
    assert_eq!(monitor.next_tick(), Some(at(1_002)));
}

#[test]
fn a_clock_that_goes_back_delays_the_next_tick_by_one_interval_at_most() {
    let mut rig = Rig::new(ADAPTIVE);
    rig.overloaded_until(3);
    rig.tick(&rig.quiet());
    assert_eq!(rig.monitor.tick(at(0), &QUIET), None);
    assert_eq!(rig.monitor.next_tick(), Some(at(2)));
    rig.now = at(0);
    assert_eq!(rig.until(2, &rig.quiet()), 10);
}

#[test]
fn an_idle_program_is_not_woken() {
    let mut rig = Rig::new(ADAPTIVE);
    assert_eq!(rig.monitor.next_tick(), None);
    rig.tick(&HIGH);
    assert_eq!(rig.monitor.next_tick(), Some(at(4)));
}

#[test]
fn settings_out_of_range_are_named() {
    assert_eq!(ADAPTIVE.validate(), Ok(()));
    let field = |config: MonitorConfig| config.validate().unwrap_err().field();
    let millis = Duration::from_millis;
    assert_eq!(
        field(MonitorConfig {
            tick: millis(99),
            ..ADAPTIVE
        }),
        "monitor.tick"
    );
    assert_eq!(
        field(MonitorConfig {
            tick: millis(60_001),
            ..ADAPTIVE
        }),
        "monitor.tick"
    );
    assert_eq!(
        field(MonitorConfig {
            quiet: millis(1_999),
            ..ADAPTIVE
        }),
        "monitor.quiet"
    );
    assert_eq!(
        field(MonitorConfig {
            high_permille: 0,
            ..ADAPTIVE
        }),
        "monitor.high_permille"
    );
    assert_eq!(
        field(MonitorConfig {
            high_permille: 1001,
            ..ADAPTIVE
        }),
        "monitor.high_permille"
    );
    assert_eq!(
        field(MonitorConfig {
            low_permille: 800,
            ..ADAPTIVE
        }),
        "monitor.low_permille"
    );
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    (
        any::<bool>(),
        0u16..1100,
        0u64..3,
        any::<bool>(),
        proptest::option::of((0u64..2_000).prop_map(at)),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(full, fill, overflows, any, until, open, stalled)| Evidence {
            queue_full: full,
            fill_permille: fill,
            sampled_overflows: overflows,
            any_limited: any,
            sampled_limited_until: until,
            breaker_open: open,
            stalled,
        })
}

proptest! {
    #[test]
    fn the_factor_stays_in_range_and_steps_are_as_promised(
        policy in prop_oneof![Just(Policy::Adaptive), Just(Policy::SentryCompatible), Just(Policy::Off)],
        steps in proptest::collection::vec((0u64..2_000, any_evidence()), 1..200),
    ) {
        let config = MonitorConfig { policy, ..ADAPTIVE };
        let mut monitor = Monitor::new(config, at(0));
        let mut last_change: Option<Instant> = None;
        for (now, evidence) in steps {
            let before = monitor.factor();
            let change = monitor.tick(at(now), &evidence);
            let factor = monitor.factor();
            prop_assert!(factor <= MAX_DOWNSAMPLE_FACTOR);
            prop_assert_eq!(change.map(|change| (change.from, change.to)), (before != factor).then_some((before, factor)));
            if let Some(change) = change {
                let down = change.cause == FactorCause::Quiet;
                prop_assert_eq!(factor < before, down);
                prop_assert!(policy != Policy::Off);
                if policy == Policy::Adaptive {
                    prop_assert!(!evidence.stalled);
                    prop_assert_eq!(factor.abs_diff(before), 1);
                } else {
                    prop_assert!(factor == before + 1 || factor == 0);
                }
                // Time may jump, but forwards there is never more than one change within an interval.
                if let Some(last) = last_change.filter(|last| *last <= at(now)) {
                    prop_assert!(at(now).since(last) >= interval(&config));
                }
                last_change = Some(at(now));
            } else if last_change.is_some_and(|last| last > at(now)) {
                last_change = None;
            }
            if let Some(next) = monitor.next_tick() {
                prop_assert!(next.since(at(now)) <= interval(&config));
            }
        }
    }
}
