//! Random operations against a naive model: a list of segments in the order of reservation.

use super::*;
use crate::item::{Category, DestinationId, Form, Priority};
use crate::limits::INTAKE_SHARE_PERCENT;
use crate::rng::Rng;
#[cfg(not(miri))]
use proptest::prelude::*;
use protocol::OVERHEAD_BYTES;
use std::boxed::Box;
use std::collections::VecDeque;
use std::vec::Vec;

const CAPACITY: usize = 512;

#[derive(Clone, Debug)]
enum Operation {
    Push { priority: usize, len: usize },
    Reserve { priority: usize, max: usize },
    Append { slot: usize, len: usize },
    Commit { slot: usize },
    Discard { slot: usize },
    DropSlot { slot: usize },
    Drain { records: usize, bytes: usize },
    Sleep,
    TakeLosses,
    Close,
}

#[cfg(not(miri))]
fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        6 => (0..Priority::COUNT, 0usize..230).prop_map(|(priority, len)| Push { priority, len }),
        4 => (0..Priority::COUNT, 0usize..150).prop_map(|(priority, max)| Reserve { priority, max }),
        4 => (0usize..4, 0usize..40).prop_map(|(slot, len)| Append { slot, len }),
        3 => (0usize..4).prop_map(|slot| Commit { slot }),
        1 => (0usize..4).prop_map(|slot| Discard { slot }),
        1 => (0usize..4).prop_map(|slot| DropSlot { slot }),
        4 => (0usize..4, 0usize..200).prop_map(|(records, bytes)| Drain { records, bytes }),
        2 => Just(Sleep),
        1 => Just(TakeLosses),
    ]
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Open,
    Committed,
    Discarded,
    Padding,
}

#[derive(Clone, Debug)]
struct Segment {
    id: u32,
    total: usize,
    payload: Vec<u8>,
    state: State,
    /// Who ends it wakes the consumer.
    wakes: bool,
}

/// What the ring should be like.
#[derive(Default)]
struct Model {
    segments: VecDeque<Segment>,
    /// Place in memory of the next reservation.
    next: usize,
    /// The next reservation takes on to wake the consumer.
    marked: bool,
    /// The consumer's last sleep may still be announced.
    announced: bool,
    closed: bool,
    lost: u64,
}

impl Model {
    fn used(&self) -> usize {
        self.segments.iter().map(|segment| segment.total).sum()
    }

    fn reserve(&mut self, id: u32, priority: usize, payload: usize) -> Result<(), DropReason> {
        let total = (OVERHEAD_BYTES + payload).div_ceil(8) * 8;
        let result = if total > CAPACITY / 2 {
            Err(DropReason::TooLarge)
        } else if self.closed {
            Err(DropReason::Closed)
        } else {
            let padding = if self.next + total > CAPACITY {
                CAPACITY - self.next
            } else {
                0
            };
            let share = CAPACITY * usize::from(INTAKE_SHARE_PERCENT[priority]) / 100;
            if self.used() + total > share || self.used() + padding + total > CAPACITY {
                Err(DropReason::QueueOverflow)
            } else {
                if padding > 0 {
                    self.segments.push_back(Segment {
                        id: 0,
                        total: padding,
                        payload: Vec::new(),
                        state: State::Padding,
                        wakes: false,
                    });
                }
                self.segments.push_back(Segment {
                    id,
                    total,
                    payload: Vec::new(),
                    state: State::Open,
                    wakes: core::mem::take(&mut self.marked),
                });
                self.next = (self.next + padding + total) % CAPACITY;
                Ok(())
            }
        };
        self.lost += u64::from(result.is_err());
        result
    }

    fn at(&mut self, id: u32) -> usize {
        let mut segments = self.segments.iter();
        segments
            .position(|segment| segment.id == id && segment.state == State::Open)
            .unwrap()
    }

    /// Ends the slot of `id`; true when its caller is told to wake the consumer.
    fn end(&mut self, id: u32, state: State, may_return_wake: bool) -> bool {
        let at = self.at(id);
        // Room goes back by an exchange of the tail as this reservation left it.
        let last = at + 1 == self.segments.len() && !self.closed && !self.marked;
        if state == State::Discarded {
            self.lost += 1;
            if last {
                let Segment { total, wakes, .. } = self.segments.pop_back().unwrap();
                self.next = (self.next + CAPACITY - total) % CAPACITY;
                self.marked = wakes;
                return false;
            }
        }
        let segment = &mut self.segments[at];
        if state == State::Committed && last {
            let used = (OVERHEAD_BYTES + segment.payload.len()).div_ceil(8) * 8;
            self.next = (self.next + CAPACITY - (segment.total - used)) % CAPACITY;
            segment.total = used;
        }
        segment.state = state;
        self.marked |= segment.wakes && !may_return_wake;
        segment.wakes && may_return_wake
    }

    fn drain(&mut self, budget: Budget) -> (Vec<(u32, Vec<u8>)>, bool) {
        if core::mem::take(&mut self.announced) {
            self.marked = false;
        }
        let mut items = Vec::new();
        let mut taken = 0;
        let mut bytes = 0;
        loop {
            match self.segments.front() {
                None
                | Some(Segment {
                    state: State::Open, ..
                }) => return (items, false),
                Some(_) if taken >= budget.records || bytes >= budget.bytes => return (items, true),
                Some(_) => {}
            }
            taken += 1;
            let segment = self.segments.pop_front().unwrap();
            if segment.state == State::Committed {
                bytes += segment.payload.len();
                items.push((segment.id, segment.payload));
            }
        }
    }
}

fn header(id: u32, priority: usize) -> Header {
    let mut header = Header::new(DestinationId::new(0, id), Form::Element, Category::Span, 1);
    header.priority = Priority::ALL[priority];
    header
}

fn bytes(id: u32, from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|at| (id as usize + 3 * at) as u8)
        .collect()
}

fn check_pushed(pushed: Pushed, outcome: Outcome, wake: bool) {
    assert_eq!(pushed, Pushed { outcome, wake });
}

fn run(origin: usize, operations: &[Operation]) {
    let storage = storage::allocate(CAPACITY / ALIGN).unwrap();
    let intake: Intake<Box<[Word]>> = Intake::starting_at(storage, origin).unwrap();
    let mut consumer = intake.consumer().unwrap();
    let mut slots: Vec<(u32, Slot<'_>)> = Vec::new();
    let mut model = Model {
        next: origin % CAPACITY,
        ..Model::default()
    };
    for (id, operation) in (1u32..).zip(operations) {
        match *operation {
            Operation::Push { priority, len } => {
                let pushed = intake.push(&header(id, priority), &bytes(id, 0, len));
                match model.reserve(id, priority, len) {
                    Ok(()) => {
                        let at = model.at(id);
                        model.segments[at].payload = bytes(id, 0, len);
                        let wake = model.end(id, State::Committed, true);
                        check_pushed(pushed, Outcome::Queued, wake);
                    }
                    Err(reason) => check_pushed(pushed, Outcome::Dropped(reason), false),
                }
            }
            Operation::Reserve { priority, max } => {
                if slots.len() == 4 {
                    continue;
                }
                let slot = intake.reserve(&header(id, priority), max);
                assert_eq!(
                    slot.as_ref().map(|_| ()).map_err(|reason| *reason),
                    model.reserve(id, priority, max)
                );
                slots.extend(slot.ok().map(|slot| (id, slot)));
            }
            Operation::Append { slot, len } => {
                if let Some((id, slot)) = slots.get_mut(slot) {
                    let more = bytes(*id, slot.len(), len);
                    let fits = len <= slot.remaining() && !slot.is_overflowed();
                    assert_eq!(slot.append(&more).is_ok(), fits);
                    if fits {
                        let at = model.at(*id);
                        model.segments[at].payload.extend(more);
                    }
                }
            }
            Operation::Commit { slot } if slot < slots.len() => {
                let (id, slot) = slots.swap_remove(slot);
                if slot.is_overflowed() {
                    let pushed = slot.commit();
                    let wake = model.end(id, State::Discarded, true);
                    check_pushed(pushed, Outcome::Dropped(DropReason::TooLarge), wake);
                } else {
                    let pushed = slot.commit();
                    let wake = model.end(id, State::Committed, true);
                    check_pushed(pushed, Outcome::Queued, wake);
                }
            }
            Operation::Discard { slot } if slot < slots.len() => {
                let (id, slot) = slots.swap_remove(slot);
                let pushed = slot.discard(DropReason::Ignored);
                let wake = model.end(id, State::Discarded, true);
                check_pushed(pushed, Outcome::Dropped(DropReason::Ignored), wake);
            }
            Operation::DropSlot { slot } if slot < slots.len() => {
                let (id, slot) = slots.swap_remove(slot);
                drop(slot);
                model.end(id, State::Discarded, false);
            }
            Operation::Commit { .. } | Operation::Discard { .. } | Operation::DropSlot { .. } => {}
            Operation::Drain { records, bytes } => {
                let budget = Budget { records, bytes };
                let mut items = Vec::new();
                let drained = consumer.drain(budget, |item| {
                    items.push((item.header.destination.generation(), item.payload.to_vec()));
                });
                let (expected, more) = model.drain(budget);
                assert_eq!(items, expected);
                assert_eq!(drained.more, more);
                assert_eq!(drained.records, items.len());
                assert_eq!(
                    drained.bytes,
                    items.iter().map(|(_, payload)| payload.len()).sum::<usize>()
                );
            }
            Operation::Sleep => {
                let sleep = consumer.sleep();
                match model.segments.front().map(|segment| &segment.state) {
                    None => {
                        assert_eq!(sleep, Sleep::UntilWoken);
                        model.announced = true;
                        model.marked |= !model.closed;
                    }
                    Some(State::Open) => assert!(matches!(sleep, Sleep::Nap(_))),
                    Some(_) => assert_eq!(sleep, Sleep::No),
                }
            }
            Operation::TakeLosses => {
                let mut lost = 0;
                consumer.take_losses(|_, _, _, quantity| lost += quantity);
                assert_eq!(lost, core::mem::take(&mut model.lost));
            }
            Operation::Close => {
                intake.close();
                model.closed = true;
            }
        }
        assert_eq!(intake.fill_bytes(), model.used());
        assert_eq!(consumer.is_empty(), model.segments.is_empty());
        let stuck = matches!(
            model.segments.front(),
            Some(Segment {
                state: State::Open,
                ..
            })
        );
        assert_eq!(consumer.stuck_position().is_some(), stuck);
    }
    drop(slots);
    let _ = consumer.drain(Budget::ALL, |_| ());
    assert!(consumer.is_empty());
    drop(consumer);
    tests::assert_free_memory_is_zero(&intake);
}

/// Bounds as in `operation`, from a plain generator: proptest itself takes minutes under Miri.
fn seeded(rng: &mut Rng) -> Operation {
    let below = |rng: &mut Rng, bound| rng.below(bound) as usize;
    let (slot, priority) = (below(rng, 4), below(rng, Priority::COUNT as u64));
    match below(rng, 26) {
        0..6 => Operation::Push {
            priority,
            len: below(rng, 230),
        },
        6..10 => Operation::Reserve {
            priority,
            max: below(rng, 150),
        },
        10..14 => Operation::Append {
            slot,
            len: below(rng, 40),
        },
        14..17 => Operation::Commit { slot },
        17 => Operation::Discard { slot },
        18 => Operation::DropSlot { slot },
        19..23 => Operation::Drain {
            records: below(rng, 4),
            bytes: below(rng, 200),
        },
        23..25 => Operation::Sleep,
        _ => Operation::TakeLosses,
    }
}

#[test]
fn seeded_operations_agree_with_the_model() {
    let (seeds, count) = if cfg!(miri) { (6, 60) } else { (200, 500) };
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let origin = if seed % 2 == 0 { 0 } else { usize::MAX - 1023 };
        let offset = rng.below(64) as usize * ALIGN;
        let mut operations: Vec<_> = (0..count).map(|_| seeded(&mut rng)).collect();
        operations.insert(count - count / 4, Operation::Close);
        run(origin + offset, &operations);
    }
}

#[cfg(not(miri))]
proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_operations_agree_with_the_model(
        lap in prop_oneof![Just(0usize), Just(usize::MAX - 1023)],
        offset in 0..CAPACITY / ALIGN,
        mut operations in prop::collection::vec(operation(), 1..120),
        close_at in prop::option::of(0usize..200),
    ) {
        if let Some(at) = close_at && at < operations.len() {
            operations.insert(at, Operation::Close);
        }
        run(lap + offset * ALIGN, &operations);
    }
}
