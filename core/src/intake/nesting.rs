//! The nesting test: whole operations at every step of another operation.
//!
//! An interrupt, a signal handler or a finalizer is nesting, not parallelism: the interrupted code stands still until
//! the nested code has finished. So the whole space can be walked: for each pair of operations, run the outer one and
//! let the inner one happen at its step 0, then at step 1, and so on, until the outer one ends before the step is
//! reached; and for some, let a third happen inside or after the second. Every place is marked by `step!()`.

use super::*;
use crate::item::{Category, DestinationId, Form, Outcome};
use core::cell::{Cell, RefCell};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::rc::Rc;
use std::string::String;
use std::thread_local;
use std::vec::Vec;

type Action = Box<dyn FnOnce()>;

thread_local! {
    /// Steps until the next action; `None` when nothing is planned.
    static COUNTDOWN: Cell<Option<usize>> = const { Cell::new(None) };
    /// What is to be nested, the next one last, each with its steps counted from when the one before it begins.
    static PLAN: RefCell<Vec<(usize, Action)>> = const { RefCell::new(Vec::new()) };
}

/// What `step!()` calls.
pub(super) fn step() {
    match COUNTDOWN.get() {
        None => {}
        Some(0) => {
            let (_, action) = PLAN.with_borrow_mut(Vec::pop).expect("an armed plan");
            COUNTDOWN.set(PLAN.with_borrow(|plan| plan.last().map(|(steps, _)| *steps)));
            action();
        }
        Some(steps) => COUNTDOWN.set(Some(steps - 1)),
    }
}

/// Runs `outer` with the planned actions nested into it; false when one of them found no step left.
fn nested(mut plan: Vec<(usize, Action)>, outer: impl FnOnce()) -> bool {
    plan.reverse();
    COUNTDOWN.set(plan.last().map(|(steps, _)| *steps));
    PLAN.set(plan);
    outer();
    COUNTDOWN.set(None);
    PLAN.take().is_empty()
}

/// Runs `outer` with one action at one of its steps; `None` when it has fewer.
pub(super) fn once<R>(steps: usize, action: impl FnOnce() + 'static, outer: impl FnOnce() -> R) -> Option<R> {
    let mut result = None;
    nested([(steps, Box::new(action) as Action)].into(), || {
        result = Some(outer())
    })
    .then_some(result)?
}

const CAPACITY: usize = 512;

/// A ring, and everything that is known to have happened to it.
struct World {
    intake: Intake<Box<[Word]>>,
    next_id: Cell<u32>,
    /// Accepted and not yet read.
    waiting: RefCell<Vec<u32>>,
    read: RefCell<Vec<u32>>,
    dropped: Cell<u64>,
    reported: Cell<u64>,
    wakes: Cell<usize>,
}

fn header(id: u32) -> Header {
    Header::new(DestinationId::new(0, id), Form::Item, Category::Error, 1)
}

fn payload(id: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (id as usize * 31 + at) as u8 | 1).collect()
}

impl World {
    fn new(origin: usize) -> Rc<Self> {
        let storage = storage::allocate(CAPACITY / ALIGN).unwrap();
        Rc::new(Self {
            intake: Intake::starting_at(storage, origin).unwrap(),
            next_id: Cell::new(1),
            waiting: RefCell::default(),
            read: RefCell::default(),
            dropped: Cell::new(0),
            reported: Cell::new(0),
            wakes: Cell::new(0),
        })
    }

    fn id(&self) -> u32 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Offers record `id`, which counts as waiting from before the call, so that a drain nested into it may read it.
    fn offer(&self, id: u32, offer: impl FnOnce() -> Pushed) {
        self.waiting.borrow_mut().push(id);
        let pushed = offer();
        self.wakes.set(self.wakes.get() + usize::from(pushed.wake));
        if let Outcome::Dropped(_) = pushed.outcome {
            self.waiting.borrow_mut().retain(|known| *known != id);
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    fn push(&self, len: usize) {
        let id = self.id();
        self.offer(id, || self.intake.push(&header(id), &payload(id, len)));
    }

    /// Reserves `max`, writes `len`, and ends as told.
    fn slot(&self, max: usize, len: usize, end: End) {
        let id = self.id();
        let Ok(mut slot) = self.intake.reserve(&header(id), max) else {
            self.dropped.set(self.dropped.get() + 1);
            return;
        };
        let bytes = payload(id, len);
        let (front, back) = bytes.split_at(len / 2);
        let _ = slot.append(front);
        let _ = slot.append(back);
        match end {
            End::Commit => self.offer(id, || slot.commit()),
            End::Discard => self.offer(id, || slot.discard(DropReason::BeforeSend)),
            End::Drop => {
                drop(slot);
                self.dropped.set(self.dropped.get() + 1);
            }
        }
    }

    fn drain(&self, budget: Budget) {
        let Some(mut consumer) = self.intake.consumer() else {
            return; // nested into another drain
        };
        consumer.drain(budget, |item| self.item(item));
    }

    fn item(&self, item: crate::item::Item<'_>) {
        let id = item.header.destination.generation();
        assert_eq!(item.header, header(id));
        assert_eq!(item.payload, payload(id, item.payload.len()), "record {id}");
        let mut waiting = self.waiting.borrow_mut();
        let at = waiting.iter().position(|known| *known == id);
        waiting.remove(at.unwrap_or_else(|| panic!("record {id} was read twice or never accepted")));
        self.read.borrow_mut().push(id);
    }

    fn take_losses(&self) {
        let Some(mut consumer) = self.intake.consumer() else {
            return;
        };
        consumer.take_losses(|_, _, _, quantity| self.reported.set(self.reported.get() + quantity));
    }

    fn sleep(&self) -> bool {
        self.intake
            .consumer()
            .is_some_and(|mut consumer| consumer.sleep() == Sleep::UntilWoken)
    }

    /// Reads what is left and checks that nothing was lost, doubled or spoilt.
    fn check(&self) {
        self.drain(Budget::ALL);
        self.take_losses();
        assert!(self.waiting.borrow().is_empty(), "accepted and never read");
        assert_eq!(
            self.dropped.get(),
            self.reported.get(),
            "drops and counted losses"
        );
        assert_eq!(
            u64::from(self.next_id.get() - 1),
            self.read.borrow().len() as u64 + self.dropped.get()
        );
        let consumer = self.intake.consumer().expect("no consumer is left over");
        assert!(consumer.is_empty() && consumer.stuck_position().is_none());
        drop(consumer);
        assert_eq!(self.intake.fill_bytes(), 0);
        tests::assert_free_memory_is_zero(&self.intake);
    }
}

#[derive(Clone, Copy)]
enum End {
    Commit,
    Discard,
    Drop,
}

type Operation = (&'static str, fn(&World));

const PRODUCE: &[Operation] = &[
    ("push 24", |world| world.push(24)),
    ("push 0", |world| world.push(0)),
    ("push 200", |world| world.push(200)),
    ("push too large", |world| world.push(CAPACITY / 2)),
    ("commit all", |world| world.slot(40, 40, End::Commit)),
    ("commit less", |world| world.slot(100, 9, End::Commit)),
    ("commit more", |world| world.slot(8, 9, End::Commit)),
    ("discard", |world| world.slot(64, 33, End::Discard)),
    ("drop", |world| world.slot(64, 33, End::Drop)),
];

const CONSUME: &[Operation] = &[
    ("drain all", |world| world.drain(Budget::ALL)),
    ("drain one", |world| {
        world.drain(Budget {
            records: 1,
            bytes: usize::MAX,
        });
    }),
    ("sleep", |world| {
        let _ = world.sleep();
    }),
    ("take losses", World::take_losses),
];

/// How the ring looks before: some records in it, some read, so that offsets, padding and fullness vary.
const BEFORE: &[Operation] = &[
    ("empty", |_| {}),
    ("two records", |world| {
        world.push(30);
        world.push(1);
    }),
    ("near the end", |world| {
        world.push(200);
        world.push(160);
        world.drain(Budget::ALL);
    }),
    ("a refusal and a discarded slot in the middle", |world| {
        let id = world.id();
        let open = world.intake.reserve(&header(id), 50).unwrap();
        world.push(10);
        world.offer(id, || open.discard(DropReason::BeforeSend));
        world.push(CAPACITY);
    }),
    ("nearly full", |world| {
        world.push(200);
        world.drain(Budget::ALL);
        while world.intake.fill_bytes() < CAPACITY - 140 {
            world.push(20);
        }
    }),
    ("asleep", |world| assert!(world.sleep())),
    ("asleep near the end", |world| {
        world.push(200);
        world.push(160);
        world.drain(Budget::ALL);
        assert!(world.sleep());
    }),
];

/// An empty ring's first position: at the start of memory, and where positions wrap.
const ORIGINS: [usize; 2] = [0, usize::MAX - 63];

fn run(origin: usize, before: Operation, plan: &[(usize, Operation)], outer: Operation) -> bool {
    let world = World::new(origin);
    before.1(&world);
    let plan = plan
        .iter()
        .map(|&(steps, (_, operation))| {
            let world = Rc::clone(&world);
            (steps, Box::new(move || operation(&world)) as Action)
        })
        .collect();
    let complete = nested(plan, || outer.1(&world));
    world.check();
    complete
}

/// Nests `inner` at every step of `outer`; says how many steps there were.
fn at_every_step(origin: usize, before: Operation, inner: Operation, outer: Operation) -> usize {
    let mut steps = 0;
    while run(origin, before, &[(steps, inner)], outer) {
        steps += 1;
        assert!(steps < 10_000, "{} never ends", outer.0);
    }
    steps
}

/// All of them; under Miri, which takes a thousand times longer, the first alone: what Miri adds is a check of each memory
/// access, not of more orders.
fn some(operations: &[Operation]) -> impl Iterator<Item = &Operation> {
    let step = if cfg!(miri) { 16 } else { 1 };
    operations.iter().step_by(step)
}

fn every_pair(outers: &[Operation], inners: &[Operation]) -> BTreeMap<String, usize> {
    let mut steps = BTreeMap::new();
    let origins = if cfg!(miri) { &ORIGINS[1..] } else { &ORIGINS[..] };
    for origin in origins {
        for before in some(BEFORE) {
            for outer in some(outers) {
                for inner in inners {
                    let count = at_every_step(*origin, *before, *inner, *outer);
                    steps.insert(format!("{} into {} ({})", inner.0, outer.0, before.0), count);
                }
            }
        }
    }
    steps
}

#[test]
fn a_push_at_every_step_of_a_push() {
    let inners = if cfg!(miri) { &PRODUCE[..1] } else { PRODUCE };
    let steps = every_pair(PRODUCE, inners);
    // The hook is real: a plain push passes at least its reservation, its bytes and its publication.
    assert!(steps["push 24 into push 24 (empty)"] >= 8);
}

#[test]
fn a_push_at_every_step_of_a_pop() {
    let inners = if cfg!(miri) { &PRODUCE[..1] } else { PRODUCE };
    let steps = every_pair(CONSUME, inners);
    assert!(steps["push 24 into drain all (empty)"] >= 3);
}

#[test]
fn a_pop_at_every_step_of_a_push() {
    let inners = if cfg!(miri) { &CONSUME[..1] } else { CONSUME };
    every_pair(PRODUCE, inners);
}

#[test]
#[cfg_attr(miri, ignore = "the same code as the pairs, a thousand times over")]
fn a_third_operation_inside_or_after_a_second() {
    let short = [PRODUCE[0], PRODUCE[5], PRODUCE[8]];
    for before in BEFORE {
        for outer in [PRODUCE[0], PRODUCE[5], PRODUCE[8], CONSUME[0], CONSUME[2]] {
            for second in short {
                for third in [PRODUCE[0], PRODUCE[8], CONSUME[0]] {
                    for first_steps in 0.. {
                        let mut any = false;
                        for second_steps in 0.. {
                            let plan = [(first_steps, second), (second_steps, third)];
                            if !run(0, *before, &plan, outer) {
                                break;
                            }
                            any = true;
                        }
                        if !any {
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// A push nested into the consumer's way to sleep, at every step: the consumer never sleeps on a readable record.
#[test]
fn no_wake_up_is_lost_and_none_is_doubled() {
    for origin in ORIGINS {
        for producer in some(PRODUCE) {
            for steps in 0.. {
                let world = World::new(origin);
                let asleep = Rc::new(Cell::new(false));
                let action = {
                    let world = Rc::clone(&world);
                    Box::new(move || producer.1(&world)) as Action
                };
                let complete = nested([(steps, action)].into(), || asleep.set(world.sleep()));
                let readable = !world.waiting.borrow().is_empty();
                let wakes = world.wakes.get();
                assert!(wakes <= 1);
                assert!(
                    !(asleep.get() && readable) || wakes == 1,
                    "{} at step {steps}: asleep with a record to read",
                    producer.0
                );
                world.check();
                if !complete {
                    break;
                }
            }
        }
    }
}

/// The consumer sleeps; then a producer runs with another nested at every step. Exactly one is told to wake it as soon
/// as something is readable.
#[test]
fn one_of_two_nested_producers_wakes_the_sleeper() {
    for before in [BEFORE[5], BEFORE[6]] {
        for outer in some(PRODUCE) {
            for inner in some(PRODUCE) {
                for steps in 0.. {
                    let world = World::new(0);
                    before.1(&world);
                    let action = {
                        let world = Rc::clone(&world);
                        Box::new(move || inner.1(&world)) as Action
                    };
                    let complete = nested([(steps, action)].into(), || outer.1(&world));
                    let mut wakes = world.wakes.get();
                    if !world.waiting.borrow().is_empty() && wakes == 0 {
                        // Only a dropped slot may keep the wake-up to itself, and the next commit brings it.
                        assert!(
                            [outer.0, inner.0].contains(&"drop"),
                            "{} into {}",
                            inner.0,
                            outer.0
                        );
                        world.push(0);
                        wakes = world.wakes.get();
                        assert_eq!(wakes, 1, "{} into {} at {steps}", inner.0, outer.0);
                    }
                    assert!(wakes <= 1);
                    world.check();
                    if !complete {
                        break;
                    }
                }
            }
        }
    }
}
