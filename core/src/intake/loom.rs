//! Model checks: every interleaving, and every value that each load may return, of small programs.
//!
//! The ring is the smallest one, so that a program of a few records meets the end of memory, a full ring and the reuse
//! of released bytes. Where no bound is named, a program is explored completely; the largest bound the number of
//! preemptions instead. All of them together take about a minute.

use super::*;
use crate::item::{Category, DestinationId, Form, Outcome};
use crate::limits::MIN_INTAKE_BYTES;
use ::loom::model::Builder;
use ::loom::thread::{self, JoinHandle, Thread};
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

type Small = Arc<Intake<Box<[Word]>>>;

/// An intake of 128 bytes whose first record starts at `origin`.
fn small(origin: usize) -> Small {
    let storage = storage::allocate(MIN_INTAKE_BYTES / ALIGN).unwrap();
    Arc::new(Intake::starting_at(storage, origin).unwrap())
}

fn check(preemptions: Option<usize>, program: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(program);
}

fn header(id: u8) -> Header {
    Header::new(
        DestinationId::new(0, u32::from(id)),
        Form::Item,
        Category::Error,
        1,
    )
}

/// Every byte tells whose it is.
fn push(intake: &Small, id: u8, len: usize) -> Pushed {
    intake.push(&header(id), &std::vec![id; len])
}

fn accepted(pushed: Pushed) -> bool {
    pushed.outcome == Outcome::Queued
}

fn drain(consumer: &mut Consumer<'_>, seen: &mut Vec<u8>) {
    consumer.drain(Budget::ALL, |item| {
        let id = item.header.destination.generation() as u8;
        assert_eq!(item.header, header(id));
        assert!(item.payload.iter().all(|byte| *byte == id), "a spoilt record");
        seen.push(id);
    });
}

fn lost(consumer: &mut Consumer<'_>) -> u64 {
    let mut all = 0;
    consumer.take_losses(|_, _, _, quantity| all += quantity);
    all
}

/// Reads what is left; everything accepted was seen once, everything else was counted.
fn settle(intake: &Small, mut seen: Vec<u8>, mut lost_before: u64, accepted: &[u8], refused: u64) {
    let mut consumer = intake.consumer().expect("no consumer is left over");
    drain(&mut consumer, &mut seen);
    lost_before += lost(&mut consumer);
    seen.sort_unstable();
    assert_eq!(seen, accepted, "accepted and seen");
    assert_eq!(lost_before, refused, "refused and counted");
    assert!(consumer.is_empty());
}

#[test]
fn two_producers() {
    check(None, || {
        let intake = small(0);
        let other = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || assert!(accepted(push(&intake, 1, 3))))
        };
        assert!(accepted(push(&intake, 2, 0)));
        other.join().unwrap();
        settle(&intake, Vec::new(), 0, &[1, 2], 0);
    });
}

fn beside_the_consumer(origin: usize) {
    let intake = small(origin);
    let producer = {
        let intake = Arc::clone(&intake);
        thread::spawn(move || {
            assert!(accepted(push(&intake, 1, 0)));
            assert!(accepted(push(&intake, 2, 8)));
        })
    };
    let mut seen = Vec::new();
    drain(&mut intake.consumer().unwrap(), &mut seen);
    producer.join().unwrap();
    settle(&intake, seen, 0, &[1, 2], 0);
}

#[test]
fn a_producer_and_the_consumer_with_padding_before_the_first_record() {
    check(None, || beside_the_consumer(96));
}

#[test]
fn a_producer_and_the_consumer_with_padding_between_the_records() {
    check(None, || beside_the_consumer(72));
}

#[test]
fn a_producer_and_the_consumer_at_the_very_end_of_memory() {
    check(None, || beside_the_consumer(88));
}

#[test]
fn released_memory_is_written_again() {
    check(None, || {
        let intake = small(0);
        // Full: two records of 64 bytes each.
        assert!(accepted(push(&intake, 1, 24)));
        assert!(accepted(push(&intake, 2, 24)));
        let producer = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || (accepted(push(&intake, 3, 24)), accepted(push(&intake, 4, 20))))
        };
        let mut seen = Vec::new();
        let mut consumer = intake.consumer().unwrap();
        drain(&mut consumer, &mut seen);
        let counted = lost(&mut consumer);
        drop(consumer);
        let (third, fourth) = producer.join().unwrap();
        let mut expected = std::vec![1, 2];
        expected.extend(third.then_some(3));
        expected.extend(fourth.then_some(4));
        let refused = u64::from(!third) + u64::from(!fourth);
        settle(&intake, seen, counted, &expected, refused);
    });
}

#[test]
fn two_producers_for_the_last_room() {
    check(None, || {
        let intake = small(0);
        assert!(accepted(push(&intake, 1, 24)));
        let other = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || accepted(push(&intake, 2, 24)))
        };
        let third = accepted(push(&intake, 3, 24));
        let second = other.join().unwrap();
        assert!(second != third, "room for exactly one");
        settle(&intake, Vec::new(), 0, &[1, if second { 2 } else { 3 }], 1);
    });
}

#[test]
fn room_given_back_goes_to_another_producer() {
    check(None, || {
        let intake = small(0);
        let other = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || {
                let mut slot = intake.reserve(&header(1), 24).ok()?;
                slot.append(&[1, 1]).unwrap();
                accepted(slot.commit()).then_some(())
            })
        };
        let mine = accepted(push(&intake, 2, 16));
        let others = other.join().unwrap().is_some();
        let mut expected = Vec::new();
        expected.extend(others.then_some(1));
        expected.extend(mine.then_some(2));
        settle(&intake, Vec::new(), 0, &expected, 2 - expected.len() as u64);
    });
}

#[test]
fn a_dropped_slot_beside_a_push_and_the_consumer() {
    check(None, || {
        let intake = small(0);
        let other = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || {
                let mut slot = intake.reserve(&header(1), 16).unwrap();
                slot.append(&[1; 9]).unwrap();
                drop(slot);
            })
        };
        assert!(accepted(push(&intake, 2, 4)));
        let mut seen = Vec::new();
        let mut consumer = intake.consumer().unwrap();
        drain(&mut consumer, &mut seen);
        let counted = lost(&mut consumer);
        drop(consumer);
        other.join().unwrap();
        settle(&intake, seen, counted, &[2], 1);
    });
}

/// The consumer, on a thread of its own, reads and sleeps until it has seen that many records; what it saw, and how often it
/// slept without an end of its own. If a wake-up could be lost, this would end in a deadlock, which loom reports.
///
/// A nap ends at any time. Here the first one ends where loom likes, and all orders of one more look are walked; at the second one
/// the consumer goes away, and [`settle`] looks when all producers have ended: a consumer that looks again and again has
/// orders without end. Nothing is missed by that, for a look that finds nothing leaves nothing behind but the length of the
/// next nap, so the third one is the second one again.
fn sleeper(intake: &Small, expected: usize) -> JoinHandle<(Vec<u8>, usize)> {
    let intake = Arc::clone(intake);
    thread::spawn(move || {
        let (mut seen, mut sleeps, mut naps) = (Vec::new(), 0, 0);
        let mut consumer = intake.consumer().unwrap();
        loop {
            drain(&mut consumer, &mut seen);
            if seen.len() >= expected {
                break;
            }
            match consumer.sleep() {
                Sleep::UntilWoken => {
                    sleeps += 1;
                    thread::park();
                }
                Sleep::Nap(_) if naps == 0 => {
                    naps += 1;
                    thread::yield_now();
                }
                Sleep::Nap(_) => break,
                Sleep::No => {}
            }
        }
        (seen, sleeps)
    })
}

fn push_and_wake(intake: &Small, consumer: &Thread, id: u8, len: usize) -> usize {
    let pushed = push(intake, id, len);
    assert!(accepted(pushed));
    if pushed.wake {
        consumer.unpark();
    }
    usize::from(pushed.wake)
}

fn woken_once(origin: usize, ids: &[u8]) {
    let intake = small(origin);
    let consumer = sleeper(&intake, ids.len());
    let wakes = ids
        .iter()
        .map(|id| push_and_wake(&intake, consumer.thread(), *id, 0));
    let wakes: usize = wakes.sum();
    let (seen, sleeps) = consumer.join().unwrap();
    assert_eq!(wakes, sleeps, "one wake-up for each sleep");
    settle(&intake, seen, 0, ids, 0);
}

#[test]
fn a_sleeping_consumer_is_woken_once() {
    check(None, || woken_once(0, &[1, 2]));
}

/// One record: with a second behind it, the orders take ten times as long, and it goes no other way than above.
#[test]
fn a_sleeping_consumer_is_woken_once_past_the_end_of_memory() {
    check(None, || woken_once(96, &[1]));
}

/// As if the first sleep had ended for another reason.
#[test]
fn a_consumer_that_sleeps_again_before_it_is_woken() {
    check(None, || {
        let intake = small(96);
        assert_eq!(intake.consumer().unwrap().sleep(), Sleep::UntilWoken);
        let consumer = sleeper(&intake, 1);
        let wakes = push_and_wake(&intake, consumer.thread(), 1, 0);
        let (seen, sleeps) = consumer.join().unwrap();
        assert!(sleeps <= wakes && wakes <= 1);
        settle(&intake, seen, 0, &[1], 0);
    });
}

/// Bounded, because unbounded it takes minutes. Three preemptions are one for each of the three threads.
#[test]
fn a_sleeping_consumer_and_two_producers() {
    check(Some(3), || {
        let intake = small(0);
        let consumer = sleeper(&intake, 2);
        let other = {
            let (intake, consumer) = (Arc::clone(&intake), consumer.thread().clone());
            thread::spawn(move || push_and_wake(&intake, &consumer, 1, 0))
        };
        let mine = push_and_wake(&intake, consumer.thread(), 2, 0);
        let wakes = mine + other.join().unwrap();
        let (seen, sleeps) = consumer.join().unwrap();
        assert_eq!(wakes, sleeps, "one wake-up for each sleep");
        settle(&intake, seen, 0, &[1, 2], 0);
    });
}

/// Reserved before the consumer wants to sleep and published at any time after that, with a record behind it.
#[test]
fn a_consumer_that_finds_a_slot_open_before_it_sleeps() {
    check(None, || {
        let intake = small(0);
        let slot = intake.reserve(&header(1), 0).unwrap();
        let consumer = sleeper(&intake, 2);
        let first = slot.commit();
        assert!(accepted(first) && !first.wake, "reserved before any sleep");
        let wakes = push_and_wake(&intake, consumer.thread(), 2, 0);
        let (seen, sleeps) = consumer.join().unwrap();
        assert_eq!(wakes, sleeps, "one wake-up for each sleep");
        settle(&intake, seen, 0, &[1, 2], 0);
    });
}

/// The same with the record behind it from another thread, before or after it.
#[test]
fn a_consumer_that_finds_a_slot_open_beside_another_producer() {
    check(Some(3), || {
        let intake = small(0);
        let slot = intake.reserve(&header(1), 0).unwrap();
        let consumer = sleeper(&intake, 2);
        let other = {
            let (intake, consumer) = (Arc::clone(&intake), consumer.thread().clone());
            thread::spawn(move || push_and_wake(&intake, &consumer, 2, 0))
        };
        assert!(!slot.commit().wake, "reserved before any sleep");
        let wakes = other.join().unwrap();
        let (seen, sleeps) = consumer.join().unwrap();
        assert_eq!(wakes, sleeps, "one wake-up for each sleep");
        settle(&intake, seen, 0, &[1, 2], 0);
    });
}

#[test]
fn a_slot_that_is_given_up_leaves_the_wake_up_to_the_next_record() {
    check(None, || {
        let intake = small(0);
        let consumer = sleeper(&intake, 1);
        let mut slot = intake.reserve(&header(1), 8).unwrap();
        slot.append(&[1; 3]).unwrap();
        let discarded = slot.discard(DropReason::BeforeSend);
        assert!(!discarded.wake, "given back, for nobody is behind it");
        let wakes = push_and_wake(&intake, consumer.thread(), 2, 0);
        let (seen, sleeps) = consumer.join().unwrap();
        assert_eq!(wakes, sleeps, "one wake-up for each sleep");
        settle(&intake, seen, 0, &[2], 1);
    });
}

#[test]
fn an_announcement_that_is_taken_back_wakes_at_most_once() {
    check(None, || {
        let intake = small(0);
        let producer = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || {
                usize::from(push(&intake, 1, 0).wake) + usize::from(push(&intake, 2, 0).wake)
            })
        };
        let mut seen = Vec::new();
        let mut consumer = intake.consumer().unwrap();
        let slept = consumer.sleep() == Sleep::UntilWoken;
        drain(&mut consumer, &mut seen);
        drop(consumer);
        assert!(producer.join().unwrap() <= usize::from(slept));
        settle(&intake, seen, 0, &[1, 2], 0);
    });
}

#[test]
fn one_consumer_hands_over_to_the_next() {
    check(None, || {
        let intake = small(0);
        assert!(accepted(push(&intake, 1, 0)));
        let other = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || {
                let mut seen = Vec::new();
                if let Some(mut consumer) = intake.consumer() {
                    drain(&mut consumer, &mut seen);
                }
                // What was just released may be written again.
                (seen, accepted(push(&intake, 2, 24)))
            })
        };
        let mut seen = Vec::new();
        if let Some(mut consumer) = intake.consumer() {
            consumer.drain(
                Budget {
                    records: 1,
                    bytes: 100,
                },
                |item| seen.push(item.header.destination.generation() as u8),
            );
        }
        let (others, second) = other.join().unwrap();
        assert!(second);
        seen.extend(others);
        settle(&intake, seen, 0, &[1, 2], 0);
    });
}

#[test]
fn closing_is_exact() {
    check(None, || {
        let intake = small(0);
        let producer = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || (accepted(push(&intake, 1, 0)), accepted(push(&intake, 2, 0))))
        };
        intake.close();
        let mut seen = Vec::new();
        let mut consumer = intake.consumer().unwrap();
        drain(&mut consumer, &mut seen);
        let final_count = consumer.is_empty().then_some(seen.len());
        drop(consumer);
        let (first, second) = producer.join().unwrap();
        assert!(first || !second);
        let count = usize::from(first) + usize::from(second);
        if let Some(final_count) = final_count {
            assert_eq!(final_count, count, "something came after the end");
        }
        let expected: Vec<u8> = (1..=count as u8).collect();
        settle(&intake, seen, 0, &expected, 2 - count as u64);
    });
}

#[test]
fn no_loss_is_left_in_the_table() {
    check(None, || {
        let intake = small(0);
        let producers = [1u8, 2].map(|id| {
            let intake = Arc::clone(&intake);
            thread::spawn(move || intake.refuse(&header(id), DropReason::QueueOverflow))
        });
        let counted = lost(&mut intake.consumer().unwrap());
        for producer in producers {
            producer.join().unwrap();
        }
        settle(&intake, Vec::new(), counted, &[], 2);
    });
}

#[test]
fn two_producers_and_the_consumer() {
    check(None, || {
        let intake = small(88);
        let producers = [(1, 0), (2, 4)].map(|(id, len)| {
            let intake = Arc::clone(&intake);
            thread::spawn(move || accepted(push(&intake, id, len)))
        });
        let mut seen = Vec::new();
        let mut consumer = intake.consumer().unwrap();
        drain(&mut consumer, &mut seen);
        let counted = lost(&mut consumer);
        drop(consumer);
        let accepted = producers.map(|producer| producer.join().unwrap());
        let expected: Vec<u8> = [1, 2]
            .into_iter()
            .zip(accepted)
            .filter_map(|(id, is)| is.then_some(id))
            .collect();
        settle(&intake, seen, counted, &expected, 2 - expected.len() as u64);
    });
}

#[test]
fn three_producers_reserve_side_by_side() {
    check(None, || {
        let intake = small(0);
        let others = [1, 2].map(|id| {
            let intake = Arc::clone(&intake);
            thread::spawn(move || {
                let slot = intake.reserve(&header(id), 8).ok();
                slot.map(|slot| accepted(slot.commit()))
            })
        });
        let mine = accepted(push(&intake, 3, 0));
        let mut expected: Vec<u8> = Vec::new();
        for (id, other) in [1, 2].into_iter().zip(others) {
            expected.extend((other.join().unwrap() == Some(true)).then_some(id));
        }
        expected.extend(mine.then_some(3));
        settle(&intake, Vec::new(), 0, &expected, 3 - expected.len() as u64);
    });
}

#[test]
fn two_producers_write_memory_that_is_just_being_released() {
    check(Some(3), || {
        let intake = small(24);
        // 24..88 and 88..128: full but for 24 bytes.
        assert!(accepted(push(&intake, 1, 24)));
        assert!(accepted(push(&intake, 2, 0)));
        let producers = [(3, 20), (4, 0)].map(|(id, len)| {
            let intake = Arc::clone(&intake);
            thread::spawn(move || accepted(push(&intake, id, len)))
        });
        let mut seen = Vec::new();
        let mut consumer = intake.consumer().unwrap();
        drain(&mut consumer, &mut seen);
        let counted = lost(&mut consumer);
        drop(consumer);
        let mut expected = std::vec![1, 2];
        for (id, producer) in [3, 4].into_iter().zip(producers) {
            expected.extend(producer.join().unwrap().then_some(id));
        }
        let refused = 4 - expected.len() as u64;
        settle(&intake, seen, counted, &expected, refused);
    });
}

/// The ring is full in between, and its end is passed. Two preemptions: each of the producers once, or one of them twice.
#[test]
fn two_producers_of_two_records_and_a_sleeping_consumer() {
    check(Some(2), || {
        let intake = small(48);
        // At least three records fit whatever the order.
        let consumer = sleeper(&intake, 3);
        let both = |intake: &Small, consumer: &Thread, first: u8| {
            let mut count = 0;
            for id in [first, first + 1] {
                let pushed = push(intake, id, 0);
                count += usize::from(accepted(pushed));
                if pushed.wake {
                    consumer.unpark();
                }
            }
            count
        };
        let other = {
            let (intake, consumer) = (Arc::clone(&intake), consumer.thread().clone());
            thread::spawn(move || both(&intake, &consumer, 1))
        };
        let count = both(&intake, consumer.thread(), 3) + other.join().unwrap();
        let (mut all, _) = consumer.join().unwrap();
        let mut consumer = intake.consumer().unwrap();
        drain(&mut consumer, &mut all);
        assert_eq!(all.len(), count);
        assert_eq!(lost(&mut consumer), 4 - count as u64);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a record was read twice");
    });
}

#[test]
fn the_wake_up_of_a_dropped_slot_is_found_by_a_later_commit() {
    check(None, || {
        let intake = small(0);
        let mut consumer = intake.consumer().unwrap();
        assert_eq!(consumer.sleep(), Sleep::UntilWoken);
        let slot = intake.reserve(&header(1), 0).unwrap();
        let other = {
            let intake = Arc::clone(&intake);
            thread::spawn(move || push(&intake, 2, 0))
        };
        drop(slot);
        let second = other.join().unwrap();
        assert!(accepted(second));
        // Given back before the push, or published as discarded, which leaves the wake-up to the push or to the next.
        let third = push(&intake, 3, 0);
        assert!(accepted(third));
        assert!(second.wake != third.wake, "exactly one wake-up");
        drop(consumer);
        settle(&intake, Vec::new(), 0, &[2, 3], 1);
    });
}
