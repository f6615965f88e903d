//! One behaviour each.

mod sleeping;

use super::*;
use crate::gate::GateState;
use crate::item::{Category, CategorySet, DestinationId, Form, Priority, TraceKey};
use crate::limits::{INTAKE_SHARE_PERCENT, MIN_INTAKE_BYTES};
use core::fmt::Write as _;
use core::panic::AssertUnwindSafe;
use embedded_io::Write as _;
use protocol::{OVERHEAD_BYTES, RECORD};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

type HeapIntake = Intake<Box<[Word]>>;

fn heap(bytes: usize) -> HeapIntake {
    Intake::allocate(bytes).unwrap()
}

fn header(category: Category) -> Header {
    Header::new(DestinationId::new(0, 3), Form::Item, category, 1)
}

fn error() -> Header {
    header(Category::Error)
}

fn queued(pushed: Pushed) -> bool {
    pushed.outcome == Outcome::Queued
}

fn dropped(reason: DropReason) -> Outcome {
    Outcome::Dropped(reason)
}

fn drain_payloads<S: SharedStorage>(intake: &Intake<S>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut consumer = intake.consumer().unwrap();
    consumer.drain(Budget::ALL, |item| all.push(item.payload.to_vec()));
    all
}

type LossTable = BTreeMap<(usize, Category, DropReason), u64>;

fn losses<S: SharedStorage>(intake: &Intake<S>) -> LossTable {
    let mut all = BTreeMap::new();
    let mut consumer = intake.consumer().unwrap();
    consumer.take_losses(|gate, category, reason, quantity| {
        assert!(all.insert((gate, category, reason), quantity).is_none());
    });
    all
}

/// The invariant that the consumer relies on. No slot is open and nothing is committed.
pub(super) fn assert_free_memory_is_zero<S: SharedStorage>(intake: &Intake<S>) {
    let ring = intake.ring();
    for at in (0..intake.capacity()).step_by(ALIGN) {
        assert!(ring.memory.is_zero(at, ALIGN), "dirty word at {at}");
    }
}

#[test]
fn touching_its_memory_changes_nothing() {
    let mut intake = heap(1 << 14);
    intake.touch(usize::MAX);
    assert_free_memory_is_zero(&intake);
    let payload = [7; 5000];
    assert!(queued(intake.push(&error(), &payload)));
    intake.touch(usize::MAX);
    assert_eq!(drain_payloads(&intake), [payload.to_vec()]);
    assert_free_memory_is_zero(&intake);
}

#[test]
fn capacities_that_cannot_work_are_refused_by_name() {
    let refused = |bytes| HeapIntake::allocate(bytes).unwrap_err();
    assert_eq!(refused(0), CapacityError::TooSmall);
    assert_eq!(refused(64), CapacityError::TooSmall);
    assert_eq!(refused(1000), CapacityError::NotAPowerOfTwo);
    assert_eq!(refused(1001), CapacityError::NotAPowerOfTwo);
    assert_eq!(refused(2 << 30), CapacityError::TooLarge);
    assert!(CapacityError::NotAPowerOfTwo.to_string().contains("power of two"));
    assert_eq!(heap(MIN_INTAKE_BYTES).capacity(), MIN_INTAKE_BYTES);
}

#[test]
fn every_kind_of_memory_works() {
    static FIXED: Intake<[Word; 32]> = Intake::fixed();
    // What a static holds is no leak.
    static SLICE: OnceLock<Intake<&'static mut [Word]>> = OnceLock::new();
    let slice = SLICE.get_or_init(|| Intake::new(Box::leak(storage::allocate(32).unwrap())).unwrap());
    assert!(queued(FIXED.push(&error(), b"static")));
    assert!(queued(slice.push(&error(), b"slice")));
    assert_eq!(drain_payloads(&FIXED), [b"static"]);
    assert_eq!(drain_payloads(slice), [b"slice"]);
}

#[test]
fn producers_and_the_consumer_may_live_on_different_threads() {
    fn sync<T: Sync + Send>() {}
    fn send<T: Send>() {}
    fn unwind_safe<T: core::panic::RefUnwindSafe>() {}
    sync::<HeapIntake>();
    sync::<Intake<[Word; 32]>>();
    sync::<Intake<&'static mut [Word]>>();
    send::<Consumer<'static>>();
    send::<Slot<'static>>();
    unwind_safe::<Intake<[Word; 32]>>();
}

#[test]
fn a_record_comes_out_as_it_went_in() {
    let intake = heap(1024);
    let full = Header::new(
        DestinationId::new(3, 77),
        Form::Envelope,
        Category::Transaction,
        5,
    )
    .also(Category::Span, 40)
    .in_trace(TraceKey(0xDEAD_BEEF_0123_4567));
    assert!(queued(intake.push(&full, b"payload")));
    assert!(queued(intake.push(&error(), b"")));
    let mut consumer = intake.consumer().unwrap();
    let mut seen = Vec::new();
    let drained = consumer.drain(Budget::ALL, |item| {
        seen.push((item.header, item.payload.to_vec()))
    });
    assert_eq!(seen, [(full, b"payload".to_vec()), (error(), Vec::new())]);
    assert_eq!(
        drained,
        Drained {
            records: 2,
            bytes: 7,
            more: false
        }
    );
}

#[test]
fn records_of_every_length_come_out_as_they_went_in() {
    let intake = heap(2048);
    let lengths = (0..=140).chain([255, 256, 257, 500]);
    for len in lengths.step_by(if cfg!(miri) { 7 } else { 1 }) {
        let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8 | 1).collect();
        assert!(queued(intake.push(&error(), &payload)));
        // Copied to its own room and no further.
        let ring = intake.ring();
        let (start, taken) = (
            intake.state.head.0.position.load(Ordering::Relaxed),
            OVERHEAD_BYTES + len,
        );
        let (at, rest) = (ring.offset(start), taken.next_multiple_of(ALIGN) - taken);
        if at + taken + rest <= intake.capacity() {
            assert!(ring.memory.is_zero(at + taken, rest), "{len}");
        }
        assert_eq!(drain_payloads(&intake), [payload], "{len}");
    }
    assert_free_memory_is_zero(&intake);
}

#[test]
fn memory_is_used_again_lap_after_lap() {
    let intake = heap(256);
    let rounds = if cfg!(miri) { 20 } else { 500 };
    for round in 0u32..rounds {
        let payload = std::vec![round as u8 | 1; (round % 81) as usize];
        assert!(queued(intake.push(&error(), &payload)), "round {round}");
        assert_eq!(drain_payloads(&intake), [payload]);
    }
    assert_free_memory_is_zero(&intake);
}

#[test]
fn positions_may_wrap_with_the_word() {
    let storage = storage::allocate(32).unwrap();
    let intake = Intake::starting_at(storage, usize::MAX - 119).unwrap();
    for round in 0u8..20 {
        assert!(queued(intake.push(&error(), &[round; 30])));
        assert_eq!(drain_payloads(&intake), [[round; 30]]);
    }
}

#[test]
fn the_budget_ends_a_drain_and_the_rest_stays() {
    let intake = heap(1024);
    for at in 0u8..5 {
        assert!(queued(intake.push(&error(), &[at; 10])));
    }
    let mut consumer = intake.consumer().unwrap();
    let mut take = |records, bytes| {
        let mut firsts = Vec::new();
        let drained = consumer.drain(Budget { records, bytes }, |item| firsts.push(item.payload[0]));
        (firsts, drained.more)
    };
    assert_eq!(take(0, 100), (std::vec![], true));
    assert_eq!(take(2, 100), (std::vec![0, 1], true));
    assert_eq!(take(100, 11), (std::vec![2, 3], true));
    assert_eq!(take(100, 100), (std::vec![4], false));
    assert_eq!(take(100, 100), (std::vec![], false));
}

#[test]
fn discarded_slots_count_against_the_budget() {
    let intake = heap(1024);
    let slots: Vec<_> = (0..4).map(|_| intake.reserve(&error(), 8).unwrap()).collect();
    assert!(queued(intake.push(&error(), b"last")));
    for slot in slots {
        let _ = slot.discard(DropReason::BeforeSend);
    }
    let mut consumer = intake.consumer().unwrap();
    let some = Budget {
        records: 3,
        bytes: 100,
    };
    assert_eq!(
        consumer.drain(some, |_| unreachable!()),
        Drained {
            records: 0,
            bytes: 0,
            more: true
        }
    );
    assert_eq!(
        consumer
            .drain(some, |item| assert_eq!(item.payload, b"last"))
            .records,
        1
    );
}

#[test]
fn a_full_ring_refuses_and_counts_both_counts() {
    let intake = heap(256);
    let log = Header::new(DestinationId::new(1, 0), Form::Element, Category::LogItem, 1)
        .also(Category::LogByte, 60);
    let mut refused = 0;
    for _ in 0..10 {
        match intake.push(&log, &[7; 60]).outcome {
            Outcome::Queued => assert_eq!(refused, 0),
            Outcome::Dropped(reason) => {
                assert_eq!(reason, DropReason::QueueOverflow);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    assert_eq!(
        losses(&intake),
        LossTable::from([
            ((1, Category::LogItem, DropReason::QueueOverflow), refused),
            ((1, Category::LogByte, DropReason::QueueOverflow), 60 * refused),
        ])
    );
    assert_eq!(losses(&intake), LossTable::new(), "taking resets");
}

#[test]
fn each_lane_may_fill_its_share_and_no_more() {
    for priority in Priority::ALL {
        let intake = heap(4096);
        let mut header = error();
        header.priority = priority;
        while queued(intake.push(&header, &[1; 56])) {}
        let share = 4096 * usize::from(INTAKE_SHARE_PERCENT[priority.index()]) / 100;
        assert!(intake.fill_bytes() <= share);
        assert!(
            intake.fill_bytes() + 96 > share,
            "{priority:?}: {}",
            intake.fill_bytes()
        );
    }
}

#[test]
fn a_flood_of_logs_leaves_room_for_errors() {
    let intake = heap(4096);
    while queued(intake.push(&header(Category::Replay), &[1; 16])) {}
    while queued(intake.push(&header(Category::LogItem), &[1; 16])) {}
    let errors = (0..100)
        .filter(|_| queued(intake.push(&error(), &[1; 16])))
        .count();
    assert!(errors * 64 >= 4096 * 2 / 5, "{errors}");
}

#[test]
fn the_largest_record_enters_an_empty_ring_at_any_offset_from_any_lane() {
    for origin in (0..256).step_by(if cfg!(miri) { 5 * ALIGN } else { ALIGN }) {
        for category in [Category::Error, Category::Replay] {
            let storage = storage::allocate(32).unwrap();
            let intake = Intake::starting_at(storage, origin).unwrap();
            let largest = std::vec![9; intake.max_payload()];
            assert!(queued(intake.push(&header(category), &largest)));
            assert_eq!(drain_payloads(&intake), [largest]);
        }
    }
}

#[test]
fn what_can_never_fit_is_too_large() {
    let intake = heap(256);
    let over = std::vec![1; intake.max_payload() + 1];
    assert_eq!(
        intake.push(&error(), &over).outcome,
        dropped(DropReason::TooLarge)
    );
    assert_eq!(
        intake.reserve(&error(), usize::MAX).unwrap_err(),
        DropReason::TooLarge
    );
    assert_eq!(
        losses(&intake),
        LossTable::from([((0, Category::Error, DropReason::TooLarge), 2)])
    );
}

#[test]
fn a_slot_is_written_through_both_traits_and_patched() {
    let intake = heap(512);
    let mut slot = intake.reserve(&error(), 64).unwrap();
    slot.append(&[0, 0]).unwrap();
    fmt::Write::write_fmt(&mut slot, format_args!("{}-{}", 1, "two")).unwrap();
    slot.write_all(b"!").unwrap();
    slot.flush().unwrap();
    assert_eq!((slot.len(), slot.remaining(), slot.is_empty()), (8, 56, false));
    let len = slot.len() as u8 - 2;
    slot.written_mut()[..2].copy_from_slice(&[0, len]);
    slot.set_header(&header(Category::LogItem).also(Category::LogByte, 8));
    assert!(queued(slot.commit()));
    let mut consumer = intake.consumer().unwrap();
    consumer.drain(Budget::ALL, |item| {
        assert_eq!(item.payload, b"\0\x061-two!");
        assert_eq!(item.header, header(Category::LogItem).also(Category::LogByte, 8));
    });
}

#[test]
fn a_slot_is_filled_at_once_and_what_was_touched_beyond_the_record_is_zero_again() {
    let intake = heap(512);
    let mut slot = intake.reserve(&error(), 64).unwrap();
    slot.append(b"replaced").unwrap();
    let filled = slot.fill(|room| {
        assert_eq!(room.len(), 64);
        room.fill(7);
        Some(16)
    });
    assert_eq!((filled, slot.len()), (Ok(()), 16));
    assert!(queued(slot.commit()));
    assert_eq!(drain_payloads(&intake), [[7; 16]]);
    assert_free_memory_is_zero(&intake);

    let mut slot = intake.reserve(&error(), 64).unwrap();
    let filled = slot.fill(|room| {
        room.fill(7);
        None
    });
    assert_eq!((filled, slot.is_overflowed()), (Err(SlotFull), true));
    assert_eq!(slot.fill(|_| unreachable!("it is given up")), Err(SlotFull));
    assert_eq!(slot.commit().outcome, dropped(DropReason::TooLarge));
    assert_free_memory_is_zero(&intake);

    let mut slot = intake.reserve(&error(), 64).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        slot.fill(|room| {
            room.fill(7);
            panic!("in the middle")
        })
    }));
    assert!(panicked.is_err());
    drop(slot);
    assert_free_memory_is_zero(&intake);
    assert_eq!(losses(&intake).values().sum::<u64>(), 2);

    // Nothing is counted of what is withdrawn.
    let mut slot = intake.reserve(&error(), 64).unwrap();
    slot.append(b"too little").unwrap();
    assert!(!slot.withdraw());
    assert_eq!(intake.fill_bytes(), 0);
    assert_free_memory_is_zero(&intake);
    assert!(losses(&intake).is_empty());

    // More than there is room for is the encoder's mistake.
    let mut slot = intake.reserve(&error(), 64).unwrap();
    assert_eq!(slot.fill(|room| Some(room.len() + 1)), Err(SlotFull));
}

#[test]
fn an_overflow_is_remembered_and_drops_the_record_as_too_large() {
    let intake = heap(512);
    let mut slot = intake.reserve(&error(), 4).unwrap();
    assert_eq!(slot.append(b"12345"), Err(SlotFull));
    assert!(slot.is_overflowed());
    assert_eq!(slot.append(b"1"), Err(SlotFull), "a gap would be a lie");
    assert!(slot.write_str("x").is_err());
    assert_eq!(slot.commit().outcome, dropped(DropReason::TooLarge));
    assert_eq!(drain_payloads(&intake), [[0u8; 0]; 0]);
    assert_eq!(
        losses(&intake),
        LossTable::from([((0, Category::Error, DropReason::TooLarge), 1)])
    );
    assert_eq!(intake.fill_bytes(), 0);
}

#[test]
fn room_that_was_not_used_goes_back_if_nobody_is_behind() {
    let intake = heap(1024);
    let mut slot = intake.reserve(&error(), 400).unwrap();
    slot.append(b"short").unwrap();
    assert!(queued(slot.commit()));
    assert_eq!(intake.fill_bytes(), OVERHEAD_BYTES + 8);

    let mut first = intake.reserve(&error(), 100).unwrap();
    assert!(queued(intake.push(&error(), b"behind")));
    let before = intake.fill_bytes();
    first.append(b"first").unwrap();
    assert!(queued(first.commit()));
    assert_eq!(intake.fill_bytes(), before, "the room stays with the record");
    assert_eq!(drain_payloads(&intake), [&b"short"[..], b"first", b"behind"]);
    assert_free_memory_is_zero(&intake);
}

#[test]
fn a_dropped_slot_is_given_back_or_skipped_and_counted() {
    let intake = heap(512);
    let mut alone = intake.reserve(&error(), 50).unwrap();
    alone.append(b"never sent").unwrap();
    drop(alone);
    assert_eq!(intake.fill_bytes(), 0);
    assert_free_memory_is_zero(&intake);

    let mut ahead = intake.reserve(&error(), 50).unwrap();
    ahead.append(b"never sent either").unwrap();
    assert!(queued(intake.push(&error(), b"behind")));
    let _ = ahead.discard(DropReason::BeforeSend);
    assert_eq!(drain_payloads(&intake), [b"behind"]);
    assert_free_memory_is_zero(&intake);
    assert_eq!(
        losses(&intake),
        LossTable::from([
            ((0, Category::Error, DropReason::InternalSdkError), 1),
            ((0, Category::Error, DropReason::BeforeSend), 1),
        ])
    );
}

#[test]
fn an_encoder_that_panics_leaves_a_discarded_slot() {
    let intake = heap(512);
    let result = catch_unwind(|| {
        let mut slot = intake.reserve(&error(), 50).unwrap();
        slot.append(b"half").unwrap();
        assert!(queued(intake.push(&error(), b"behind")));
        panic!("encoder");
    });
    assert!(result.is_err());
    assert_eq!(drain_payloads(&intake), [b"behind"]);
    assert_eq!(
        losses(&intake),
        LossTable::from([((0, Category::Error, DropReason::InternalSdkError), 1)])
    );
}

#[test]
fn an_open_slot_holds_up_what_is_behind_it_and_shows() {
    let intake = heap(512);
    let slot = intake.reserve(&error(), 10).unwrap();
    assert!(queued(intake.push(&error(), b"behind")));
    let mut consumer = intake.consumer().unwrap();
    assert_eq!(consumer.drain(Budget::ALL, |_| unreachable!()).records, 0);
    let stuck = consumer.stuck_position();
    assert!(stuck.is_some());
    assert!(!consumer.is_empty());
    assert_eq!(
        consumer.stuck_position(),
        stuck,
        "the same slot, the same position"
    );
    assert!(intake.fill_bytes() > 0);
    assert!(queued(slot.commit()));
    assert_eq!(consumer.stuck_position(), None);
    assert_eq!(consumer.drain(Budget::ALL, |_| ()).records, 2);
    assert!(consumer.is_empty());
    assert_eq!(consumer.stuck_position(), None);
}

#[test]
fn only_one_consumer_exists_at_a_time() {
    let intake = heap(512);
    let first = intake.consumer().unwrap();
    assert!(intake.consumer().is_none());
    drop(first);
    assert!(intake.consumer().is_some());
}

#[test]
fn a_reader_that_panics_gets_its_record_again() {
    let intake = heap(1024);
    for text in ["one", "two", "three"] {
        assert!(queued(intake.push(&error(), text.as_bytes())));
    }
    let mut seen = Vec::new();
    let mut consumer = intake.consumer().unwrap();
    let result = catch_unwind(AssertUnwindSafe(move || {
        consumer.drain(Budget::ALL, |item| {
            assert!(item.payload != b"two", "reader");
        });
    }));
    assert!(result.is_err());
    let mut consumer = intake.consumer().expect("given back by the panic");
    assert!(consumer.is_interrupted());
    consumer.drain(Budget::ALL, |item| {
        seen.push(String::from_utf8(item.payload.to_vec()).unwrap());
    });
    assert_eq!(seen, ["two", "three"]);
    assert!(!consumer.is_interrupted());
}

#[test]
fn a_record_that_panics_its_reader_can_be_skipped_and_is_counted() {
    let intake = heap(1024);
    for text in ["poison", "fine"] {
        assert!(queued(intake.push(&error(), text.as_bytes())));
    }
    let mut consumer = intake.consumer().unwrap();
    assert!(!consumer.skip_interrupted(), "nothing to skip");
    let result = catch_unwind(AssertUnwindSafe(|| {
        consumer.drain(Budget::ALL, |_| panic!("reader"));
    }));
    assert!(result.is_err());
    assert!(consumer.skip_interrupted());
    assert!(!consumer.skip_interrupted());
    drop(consumer);
    assert_eq!(drain_payloads(&intake), [b"fine"]);
    assert_eq!(
        losses(&intake),
        LossTable::from([((0, Category::Error, DropReason::InternalSdkError), 1)])
    );
}

#[test]
fn closing_refuses_what_comes_after_and_lets_open_slots_end() {
    let intake = heap(512);
    let mut consumer = intake.consumer().unwrap();
    let mut open = intake.reserve(&error(), 100).unwrap();
    intake.close();
    assert!(intake.is_closed());
    assert_eq!(
        intake.push(&error(), b"late").outcome,
        dropped(DropReason::Closed)
    );
    consumer.drain(Budget::ALL, |_| unreachable!());
    assert!(!consumer.is_empty());
    open.append(b"in time").unwrap();
    assert!(queued(open.commit()));
    consumer.drain(Budget::ALL, |item| assert_eq!(item.payload, b"in time"));
    assert!(consumer.is_empty());
    drop(consumer);
    assert_eq!(
        losses(&intake),
        LossTable::from([((0, Category::Error, DropReason::Closed), 1)])
    );
    assert_eq!(intake.fill_bytes(), 0);
}

#[test]
fn the_gate_refuses_before_encoding_and_counts() {
    let intake = heap(512);
    let transaction = header(Category::Transaction).also(Category::Span, 4);
    assert_eq!(intake.admit(&transaction), Ok(()));
    let state = GateState::OPEN.with_limited(CategorySet::of(Category::Transaction));
    intake.gate(0).publish(state);
    assert_eq!(intake.admit(&transaction), Err(DropReason::RatelimitBackoff));
    assert_eq!(intake.admit(&error()), Ok(()));
    intake.refuse(&error(), DropReason::Reentrant);
    let attachments = Count {
        category: Category::Attachment,
        quantity: 1000,
    };
    intake.refuse_count(0, attachments, DropReason::TooLarge);
    assert_eq!(
        losses(&intake),
        LossTable::from([
            ((0, Category::Transaction, DropReason::RatelimitBackoff), 1),
            ((0, Category::Span, DropReason::RatelimitBackoff), 4),
            ((0, Category::Error, DropReason::Reentrant), 1),
            ((0, Category::Attachment, DropReason::TooLarge), 1000),
        ])
    );
}

#[test]
fn destinations_beyond_the_gates_share_the_last_one() {
    let intake = heap(512);
    let last = INTAKE_GATES - 1;
    intake.gate(200).publish(GateState::OPEN.with_closed(true));
    assert!(intake.gate(last).load().is_closed());
    assert!(!intake.gate(0).load().is_closed());
    let far = Header::new(DestinationId::new(200, 0), Form::Item, Category::Error, 2);
    assert_eq!(intake.admit(&far), Err(DropReason::Closed));
    assert_eq!(
        losses(&intake),
        LossTable::from([((last, Category::Error, DropReason::Closed), 2)])
    );
}

#[test]
fn a_counter_of_losses_never_starts_again_from_zero() {
    let intake = heap(512);
    let bytes = Header::new(
        DestinationId::default(),
        Form::Item,
        Category::Attachment,
        u32::MAX,
    );
    for _ in 0..3 {
        intake.refuse(&bytes, DropReason::TooLarge);
    }
    let total = if usize::BITS >= 64 {
        3 * u64::from(u32::MAX)
    } else {
        u64::from(u32::MAX)
    };
    assert_eq!(
        losses(&intake),
        LossTable::from([((0, Category::Attachment, DropReason::TooLarge), total)])
    );
}

/// On 32-bit targets the tail may come back to an old value during a push. Here the head is moved back in between, so
/// that the ring is full at the moment of the exchange although the tail has not changed.
#[test]
fn a_reservation_on_a_repeated_position_is_found_and_writes_nothing() {
    let intake = Rc::new(heap(256));
    let full_lap = 256;
    let base = intake.state.tail.0.position.load(Ordering::Relaxed);
    for steps in 0..32 {
        let head = &intake.state.head.0.position;
        let held = Rc::clone(&intake);
        let overtaken = nesting::once(
            steps,
            move || {
                let head = &held.state.head.0.position;
                head.store(base.wrapping_sub(full_lap), Ordering::Relaxed);
            },
            || intake.push(&error(), &[0xEE; 40]),
        );
        head.store(base, Ordering::Relaxed);
        match overtaken {
            Some(pushed) if !queued(pushed) => {
                assert!(matches!(
                    pushed.outcome,
                    Outcome::Dropped(DropReason::InternalSdkError | DropReason::QueueOverflow)
                ));
                assert_eq!(intake.fill_bytes(), 0);
                assert_free_memory_is_zero(&intake);
            }
            Some(_) => {
                // The claim was past its last look at the head; it is an ordinary record.
                assert_eq!(drain_payloads(&intake).len(), 1);
                return;
            }
            None => break,
        }
    }
    panic!("no step found after the check");
}

#[test]
fn the_layout_in_memory_is_the_documented_one() {
    let intake = heap(256);
    assert!(queued(intake.push(&error(), b"abc")));
    let ring = intake.ring();
    // SAFETY: nobody else uses the ring.
    unsafe {
        assert_eq!(
            ring.memory.commit_word(0).load(Ordering::Relaxed),
            (OVERHEAD_BYTES as u32 + 8) | RECORD
        );
        assert_eq!(ring.memory.read::<4>(4), 3u32.to_ne_bytes());
        assert_eq!(ring.memory.read_header(8), error());
        assert_eq!(ring.memory.read::<8>(OVERHEAD_BYTES), *b"abc\0\0\0\0\0");
    }
}
