//! The intake under real threads: several producers of every kind against one consumer that sleeps and is woken.
//!
//! Bounded by count, not by time. Run as it is, and under ThreadSanitizer (the command is in `intake`'s module
//! documentation). Miri runs it too, with smaller numbers.
#![cfg(all(feature = "alloc", not(surgetank_loom)))]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use surgetank_core::intake::{Budget, Consumer, Intake, Pushed, Sleep, Word};
use surgetank_core::item::{Category, DestinationId, DropReason, Form, Header, Item, Outcome, Priority};
use surgetank_core::rng::Rng;

type Shared = Arc<Intake<Box<[Word]>>>;

const PRODUCERS: u64 = 4;
const RECORDS: u64 = if cfg!(miri) { 40 } else { 10_000 };

/// What the consumer sleeps on. A wait ends by itself, so that a lost wake-up fails the test instead of hanging it.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// False when nobody rang for so long.
    fn wait(&self, longest: Duration) -> bool {
        let rung = self.rung.lock().unwrap();
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, longest, |rung| !*rung)
            .unwrap();
        core::mem::take(&mut *rung)
    }
}

fn header(producer: u64, number: u64) -> Header {
    let mut header = Header::new(
        DestinationId::new(producer as u8, number as u32),
        Form::Item,
        Category::Error,
        1,
    );
    header.priority = Priority::ALL[(number % 5) as usize];
    header
}

/// A payload that tells a torn, stale or foreign record apart.
fn fill(bytes: &mut Vec<u8>, producer: u64, number: u64, len: usize) {
    let mut rng = Rng::new(producer << 32 | number);
    bytes.clear();
    bytes.resize_with(len, || rng.next_u64() as u8);
}

#[derive(Default)]
struct Sent {
    accepted: Vec<u64>,
    refused: u64,
}

fn producer(intake: &Shared, bell: &Bell, producer: u64, wakes: &AtomicU64) -> Sent {
    let mut sent = Sent::default();
    let mut rng = Rng::new(producer);
    let mut bytes = Vec::new();
    for number in 0..RECORDS {
        // Mostly small, at times too large for any ring here.
        let len = match rng.below(100) {
            0 => 40_000,
            1..=9 => rng.below(2_000) as usize,
            _ => rng.below(120) as usize,
        };
        fill(&mut bytes, producer, number, len);
        let header = header(producer, number);
        let pushed = match rng.below(8) {
            0 | 1 => through_slot(intake, &header, &bytes, &mut rng),
            _ => Some(intake.push(&header, &bytes)),
        };
        match pushed {
            Some(Pushed { outcome, wake: due }) => {
                if due {
                    wakes.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                }
                match outcome {
                    Outcome::Queued => sent.accepted.push(number),
                    Outcome::Dropped(_) => sent.refused += 1,
                }
            }
            None => sent.refused += 1,
        }
        if number % 64 == 0 {
            thread::yield_now();
        }
    }
    sent
}

/// The same record piece by piece into more room than it needs, and sometimes given up in the middle.
fn through_slot(intake: &Shared, header: &Header, bytes: &[u8], rng: &mut Rng) -> Option<Pushed> {
    let mut slot = intake
        .reserve(header, bytes.len() + rng.below(100) as usize)
        .ok()?;
    for piece in bytes.chunks(50) {
        slot.append(piece).unwrap();
        if rng.below(16) == 0 {
            thread::yield_now();
        }
    }
    match rng.below(8) {
        0 => Some(slot.discard(DropReason::BeforeSend)),
        1 => {
            drop(slot);
            None
        }
        _ => Some(slot.commit()),
    }
}

#[derive(Default)]
struct Received {
    /// Record numbers of each producer, in order of arrival.
    numbers: BTreeMap<u64, Vec<u64>>,
    lost: u64,
    sleeps: u64,
}

impl Received {
    fn item(&mut self, expected: &mut Vec<u8>, item: Item<'_>) {
        let producer = item.header.destination.index() as u64;
        let number = u64::from(item.header.destination.generation());
        assert_eq!(item.header, header(producer, number));
        fill(expected, producer, number, item.payload.len());
        assert_eq!(item.payload, expected, "record {number} of producer {producer}");
        self.numbers.entry(producer).or_default().push(number);
    }

    fn losses(&mut self, consumer: &mut Consumer<'_>) {
        consumer.take_losses(|_, category, _, quantity| {
            assert_eq!(category, Category::Error);
            self.lost += quantity;
        });
    }
}

/// Drains until the intake is closed and empty, and sleeps whenever it may.
fn consume(intake: &Shared, received: &mut Received, bell: &Bell) {
    let mut expected = Vec::new();
    let mut consumer = intake.consumer().expect("one consumer at a time");
    loop {
        let drained = consumer.drain(
            Budget {
                records: 50,
                bytes: 10_000,
            },
            |item| received.item(&mut expected, item),
        );
        received.losses(&mut consumer);
        if intake.is_closed() && consumer.is_empty() {
            return;
        }
        if drained.more {
            continue;
        }
        match consumer.sleep() {
            Sleep::UntilWoken => {
                received.sleeps += 1;
                assert!(bell.wait(Duration::from_secs(60)), "a wake-up was lost");
            }
            Sleep::Nap(nap) => {
                bell.wait(nap.into());
            }
            Sleep::No => {}
        }
    }
}

fn stress(capacity: usize) {
    let intake: Shared = Arc::new(Intake::allocate(capacity).unwrap());
    let wakes = AtomicU64::new(0);
    let bell = Bell::default();
    let mut received = Received::default();
    let sent: Vec<Sent> = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(&intake, &mut received, &bell));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let (intake, bell, wakes) = (&intake, &bell, &wakes);
                scope.spawn(move || producer(intake, bell, number, wakes))
            })
            .collect();
        let sent = producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .collect();
        intake.close();
        bell.ring();
        consumer.join().unwrap();
        sent
    });
    received.losses(&mut intake.consumer().unwrap());

    assert!(
        wakes.into_inner() <= received.sleeps,
        "at most one wake-up for each sleep"
    );
    let refused: u64 = sent.iter().map(|sent| sent.refused).sum();
    assert_eq!(received.lost, refused, "every refusal is counted");
    for (producer, sent) in (0..).zip(&sent) {
        assert_eq!(
            received.numbers.remove(&producer).unwrap_or_default(),
            sent.accepted,
            "what producer {producer} had accepted, once and in its order"
        );
    }
    assert_eq!(intake.fill_bytes(), 0);
}

#[test]
fn a_small_ring_that_is_mostly_full() {
    stress(4 * 1024);
}

#[test]
fn a_large_ring_that_is_mostly_empty() {
    stress(64 * 1024);
}

#[test]
fn consumers_hand_over_while_producers_go_on() {
    let intake: Shared = Arc::new(Intake::allocate(8 * 1024).unwrap());
    let mut received = Received::default();
    let mut expected = Vec::new();
    let total: u64 = RECORDS.min(5_000);
    let sent: u64 = thread::scope(|scope| {
        let producers: Vec<_> = (0..2u64)
            .map(|producer| {
                let intake = &intake;
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    let mut accepted = 0;
                    for number in 0..total {
                        fill(&mut bytes, producer, number, 64);
                        accepted += u64::from(
                            intake.push(&header(producer, number), &bytes).outcome == Outcome::Queued,
                        );
                    }
                    accepted
                })
            })
            .collect();
        while producers.iter().any(|producer| !producer.is_finished()) {
            // Another thread each time, as after a worker that died.
            thread::scope(|inner| {
                inner.spawn(|| {
                    let mut consumer = intake.consumer().expect("the last one is gone");
                    assert!(intake.consumer().is_none());
                    consumer.drain(
                        Budget {
                            records: 20,
                            bytes: usize::MAX,
                        },
                        |item| received.item(&mut expected, item),
                    );
                });
            });
        }
        producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .sum()
    });
    let mut consumer = intake.consumer().unwrap();
    consumer.drain(Budget::ALL, |item| received.item(&mut expected, item));
    received.losses(&mut consumer);
    let seen: u64 = received
        .numbers
        .values()
        .map(|numbers| numbers.len() as u64)
        .sum();
    assert_eq!(seen, sent);
    assert_eq!(received.lost, 2 * total - sent);
    for numbers in received.numbers.values() {
        assert!(numbers.is_sorted());
    }
}

#[test]
fn a_gate_is_read_by_all_while_it_changes() {
    use surgetank_core::gate::GateState;
    let intake: Shared = Arc::new(Intake::allocate(4 * 1024).unwrap());
    let rounds = RECORDS.min(5_000);
    let refused: u64 = thread::scope(|scope| {
        let readers: Vec<_> = (0..3u64)
            .map(|producer| {
                let intake = &intake;
                scope.spawn(move || {
                    (0..rounds)
                        .filter(|number| intake.admit(&header(producer, *number)).is_err())
                        .count() as u64
                })
            })
            .collect();
        for round in 0..rounds {
            let state = GateState::OPEN
                .with_closed(round % 3 == 0)
                .with_factor((round % 11) as u8);
            intake.gate((round % 4) as usize).publish(state);
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    let mut lost = 0;
    intake.consumer().unwrap().take_losses(|_, _, reason, quantity| {
        assert_eq!(reason, DropReason::Closed);
        lost += quantity;
    });
    assert_eq!(lost, refused);
}
