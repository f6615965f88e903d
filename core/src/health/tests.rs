use super::*;
use proptest::prelude::*;
use std::string::String;
use std::vec;
use std::vec::Vec;

const CONFIG: HealthConfig = HealthConfig::DEFAULT;
const FINE: Signals = Signals {
    fill_permille: 0,
    memory_permille: None,
    limited: false,
    breaker_open: false,
    stalled: false,
    open_slot: Duration::ZERO,
    downsampling: false,
};

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn with(cause: Cause) -> Signals {
    match cause {
        Cause::QueueEarly => Signals {
            fill_permille: 500,
            ..FINE
        },
        Cause::QueueHigh => Signals {
            fill_permille: 800,
            ..FINE
        },
        Cause::QueueFull => Signals {
            fill_permille: 980,
            ..FINE
        },
        Cause::MemoryEarly => Signals {
            memory_permille: Some(750),
            ..FINE
        },
        Cause::MemoryHigh => Signals {
            memory_permille: Some(850),
            ..FINE
        },
        Cause::MemoryCritical => Signals {
            memory_permille: Some(950),
            ..FINE
        },
        Cause::Limited => Signals {
            limited: true,
            ..FINE
        },
        Cause::BreakerOpen => Signals {
            breaker_open: true,
            ..FINE
        },
        Cause::WorkerStalled => Signals {
            stalled: true,
            ..FINE
        },
        Cause::SlotStuck => Signals {
            open_slot: CONFIG.slot_stuck_after,
            ..FINE
        },
        Cause::Downsampling => Signals {
            downsampling: true,
            ..FINE
        },
    }
}

fn causes(health: Health) -> Vec<Cause> {
    health.causes.iter().collect()
}

#[test]
fn each_signal_is_told_at_once_with_its_cause_and_level() {
    for cause in Cause::ALL {
        let mut tracker = HealthTracker::new(CONFIG);
        let change = tracker.update(at(1), &with(cause)).unwrap();
        assert_eq!(change.cause, cause);
        assert_eq!(change.from, Health::default());
        assert_eq!(causes(change.to), [cause]);
        assert_eq!(change.to.level, cause.level());
        assert_eq!(tracker.health(), change.to);
    }
}

#[test]
fn nothing_new_is_no_change() {
    let mut tracker = HealthTracker::new(CONFIG);
    assert_eq!(tracker.update(at(0), &FINE), None);
    tracker.update(at(1), &with(Cause::Limited));
    assert_eq!(tracker.update(at(2), &with(Cause::Limited)), None);
}

#[test]
fn the_level_is_that_of_the_worst_cause() {
    let mut tracker = HealthTracker::new(CONFIG);
    let both = Signals {
        limited: true,
        ..with(Cause::WorkerStalled)
    };
    let change = tracker.update(at(1), &both).unwrap();
    assert_eq!(change.cause, Cause::WorkerStalled);
    assert_eq!(causes(change.to), [Cause::WorkerStalled, Cause::Limited]);
    assert_eq!(change.to.level, Level::Unhealthy);
}

#[test]
fn an_early_warning_leaves_it_healthy() {
    let mut tracker = HealthTracker::new(CONFIG);
    let change = tracker.update(at(1), &with(Cause::QueueEarly)).unwrap();
    assert_eq!(change.to.level, Level::Healthy);
    assert!(!change.to.causes.is_empty());
}

#[test]
fn of_one_gauge_only_the_greatest_step_is_named() {
    let mut tracker = HealthTracker::new(CONFIG);
    let mut signals = FINE;
    let mut named = vec![];
    for permille in [600, 850, 990] {
        signals.fill_permille = permille;
        signals.memory_permille = Some(permille);
        named.push(causes(tracker.update(at(1), &signals).unwrap().to));
    }
    assert_eq!(
        named,
        [
            [Cause::QueueEarly].as_slice(),
            &[Cause::MemoryHigh, Cause::QueueHigh],
            &[Cause::MemoryCritical, Cause::QueueFull],
        ]
    );
}

#[test]
fn a_cause_is_taken_back_when_it_has_been_absent_for_the_dwell() {
    let mut tracker = HealthTracker::new(CONFIG);
    tracker.update(at(10), &with(Cause::WorkerStalled));
    assert_eq!(tracker.next_update(), None);
    assert_eq!(tracker.update(at(11), &FINE), None);
    assert_eq!(tracker.next_update(), Some(at(15)));
    let change = tracker.update(at(15), &FINE).unwrap();
    assert_eq!(change.cause, Cause::WorkerStalled);
    assert_eq!(change.to, Health::default());
    assert_eq!(tracker.next_update(), None);
}

#[test]
fn a_signal_that_flaps_is_told_once() {
    let mut tracker = HealthTracker::new(CONFIG);
    let changes = (0..100).filter(|second| {
        let signals = if second % 4 == 0 {
            with(Cause::BreakerOpen)
        } else {
            FINE
        };
        tracker.update(at(*second), &signals).is_some()
    });
    assert_eq!(changes.count(), 1);
}

#[test]
fn a_full_queue_that_empties_goes_back_through_high_and_early() {
    let mut tracker = HealthTracker::new(CONFIG);
    tracker.update(at(0), &with(Cause::QueueFull));
    let mut named = vec![];
    for second in 1..30 {
        // 2 % per second.
        let fill_permille = 980 - second * 20;
        if let Some(change) = tracker.update(
            at(u64::from(second)),
            &Signals {
                fill_permille,
                ..FINE
            },
        ) {
            named.push((second, change.cause, causes(change.to)));
        }
    }
    // Left under 900 and 700, each told 5 s after its last reading.
    assert_eq!(
        named,
        [
            (9, Cause::QueueHigh, vec![Cause::QueueHigh]),
            (19, Cause::QueueEarly, vec![Cause::QueueEarly]),
        ]
    );
}

#[test]
fn pressure_has_no_dwell() {
    let mut tracker = HealthTracker::new(CONFIG);
    tracker.update(at(0), &with(Cause::MemoryCritical));
    assert_eq!(tracker.memory_pressure(), Pressure::Critical);
    tracker.update(at(1), &with(Cause::QueueFull));
    assert_eq!(tracker.memory_pressure(), Pressure::Normal);
    assert_eq!(tracker.queue_pressure(), Pressure::Critical);
    assert!(tracker.health().causes.contains(Cause::MemoryCritical));
}

#[test]
fn a_clock_that_goes_back_keeps_a_cause_for_its_dwell_at_most_once_more() {
    let mut tracker = HealthTracker::new(CONFIG);
    tracker.update(at(1_000), &with(Cause::Limited));
    tracker.update(at(0), &FINE);
    assert_eq!(tracker.next_update(), Some(at(5)));
    assert!(tracker.update(at(5), &FINE).is_some());
}

#[test]
fn health_serializes_with_the_names_of_its_causes() {
    let mut tracker = HealthTracker::new(CONFIG);
    let both = Signals {
        limited: true,
        ..with(Cause::QueueFull)
    };
    tracker.update(at(0), &both);
    let text: heapless::String<100> = serde_json_core::to_string(&tracker.health()).unwrap();
    assert_eq!(text, r#"{"level":"unhealthy","causes":["queue_full","limited"]}"#);
}

#[test]
fn every_cause_serializes_as_its_name() {
    for (number, cause) in Cause::ALL.into_iter().enumerate() {
        assert_eq!(number, cause as usize);
        let text: heapless::String<40> = serde_json_core::to_string(&cause).unwrap();
        let expected: String = std::format!("\"{}\"", cause.as_str());
        assert_eq!(text.as_str(), expected);
    }
}

#[test]
fn settings_out_of_range_are_named() {
    assert_eq!(CONFIG.validate(), Ok(()));
    let field = |config: HealthConfig| config.validate().unwrap_err().field();
    let mut marks = Marks::QUEUE;
    marks.high.leave = 801;
    assert_eq!(
        field(HealthConfig {
            queue: marks,
            ..CONFIG
        }),
        "health.queue"
    );
    assert_eq!(
        field(HealthConfig {
            memory: marks,
            ..CONFIG
        }),
        "health.memory"
    );
    let slot_stuck_after = Duration::ZERO;
    assert_eq!(
        field(HealthConfig {
            slot_stuck_after,
            ..CONFIG
        }),
        "health.slot_stuck_after"
    );
    let dwell = Duration::from_secs(3_601);
    assert_eq!(field(HealthConfig { dwell, ..CONFIG }), "health.dwell");
}

fn any_signals() -> impl Strategy<Value = Signals> {
    (
        0u16..1100,
        proptest::option::of(0u16..1100),
        any::<[bool; 4]>(),
        (0u64..2_000).prop_map(Duration::from_millis),
    )
        .prop_map(
            |(fill_permille, memory_permille, [limited, breaker_open, stalled, downsampling], open_slot)| {
                Signals {
                    fill_permille,
                    memory_permille,
                    limited,
                    breaker_open,
                    stalled,
                    open_slot,
                    downsampling,
                }
            },
        )
}

proptest! {
    #[test]
    fn worse_is_told_at_once_and_better_no_sooner_than_the_dwell(
        steps in proptest::collection::vec((0u64..4, any_signals()), 1..100),
    ) {
        let mut tracker = HealthTracker::new(CONFIG);
        let mut now = 0;
        let mut last_worst = [None; 3];
        for (wait, signals) in steps {
            now += wait;
            let before = tracker.health();
            let change = tracker.update(at(now), &signals);
            let after = tracker.health();
            match change {
                None => prop_assert_eq!(before, after),
                Some(change) => {
                    prop_assert_eq!((change.from, change.to), (before, after));
                    prop_assert!(before != after);
                    prop_assert!(before.causes.contains(change.cause) != after.causes.contains(change.cause));
                }
            }
            let worst_now = if signals.stalled || signals.open_slot >= CONFIG.slot_stuck_after {
                Level::Unhealthy
            } else if signals.limited || signals.breaker_open || signals.downsampling {
                Level::Degraded
            } else {
                Level::Healthy
            };
            prop_assert!(after.level >= worst_now);
            for level in [Level::Degraded, Level::Unhealthy] {
                if worst_now >= level {
                    last_worst[level as usize] = Some(now);
                }
                if last_worst[level as usize].is_some_and(|last| now - last < 5) {
                    prop_assert!(after.level >= level);
                }
            }
            prop_assert!(tracker.next_update().is_none_or(|next| next > at(now)));
        }
    }
}
