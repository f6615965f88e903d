//! Who sleeps, who wakes, and who naps.

use super::*;
use crate::limits::{INTAKE_LONGEST_NAP, INTAKE_NAP};
use crate::time::Duration;

#[test]
fn one_producer_per_sleep_is_told_to_wake_the_consumer() {
    let intake = heap(1024);
    let wake = |len: usize| intake.push(&error(), &std::vec![1; len]).wake;
    assert!(!wake(1), "nobody sleeps");
    let mut consumer = intake.consumer().unwrap();
    assert_eq!(consumer.sleep(), Sleep::No, "a record is ready");
    consumer.drain(Budget::ALL, |_| ());
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    assert!(wake(1));
    assert!(!wake(1));
    consumer.drain(Budget::ALL, |_| ());
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    assert_eq!(consumer.sleep(), Sleep::UntilWoken, "announced twice is once");
    assert!(wake(1));
    assert!(!wake(1));
}

#[test]
fn waking_up_for_another_reason_takes_the_announcement_back() {
    let intake = heap(512);
    let mut consumer = intake.consumer().unwrap();
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    consumer.drain(Budget::ALL, |_| ());
    assert!(!intake.push(&error(), b"x").wake);
}

#[test]
fn a_record_behind_an_open_slot_wakes_nobody_but_its_commit_does() {
    let intake = heap(512);
    let mut consumer = intake.consumer().unwrap();
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    let slot = intake.reserve(&error(), 10).unwrap();
    assert!(!intake.push(&error(), b"behind").wake);
    assert!(slot.commit().wake);
}

#[test]
fn a_slot_that_was_open_before_the_consumer_wanted_to_sleep_is_looked_for_less_and_less_often() {
    let intake = heap(512);
    let mut consumer = intake.consumer().unwrap();
    let slot = intake.reserve(&error(), 10).unwrap();
    let naps: Vec<_> = (0..40).map(|_| consumer.sleep()).collect();
    let expected = [1, 2, 4, 8, 16, 32, 64, 100, 100].map(|ms| Sleep::Nap(Duration::from_millis(ms)));
    assert_eq!(naps[..9], expected);
    assert_eq!(
        (naps[0], naps[39]),
        (Sleep::Nap(INTAKE_NAP), Sleep::Nap(INTAKE_LONGEST_NAP))
    );
    assert!(!slot.commit().wake, "who naps looks for itself");
    assert_eq!(consumer.sleep(), Sleep::No);
    consumer.drain(Budget::ALL, |_| ());
    let _next = intake.reserve(&error(), 10).unwrap();
    assert_eq!(consumer.sleep(), Sleep::Nap(INTAKE_NAP), "another slot");
}

#[test]
fn a_consumer_sleeps_when_the_slot_it_napped_for_is_given_back_and_after_the_end() {
    let intake = heap(512);
    let mut consumer = intake.consumer().unwrap();
    let slot = intake.reserve(&error(), 10).unwrap();
    assert!(matches!(consumer.sleep(), Sleep::Nap(_)));
    drop(slot);
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    intake.close();
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    assert_eq!(intake.push(&error(), b"x").outcome, dropped(DropReason::Closed));
}

#[test]
fn the_wake_up_survives_a_slot_that_is_given_back_or_dropped() {
    let intake = heap(512);
    let mut consumer = intake.consumer().unwrap();
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    assert!(
        !intake
            .reserve(&error(), 10)
            .unwrap()
            .discard(DropReason::BeforeSend)
            .wake
    );
    assert!(
        intake.push(&error(), b"next").wake,
        "inherited by the next record there"
    );

    consumer.drain(Budget::ALL, |_| ());
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    let slot = intake.reserve(&error(), 10).unwrap();
    assert!(!intake.push(&error(), b"behind").wake);
    drop(slot);
    assert!(intake.push(&error(), b"next").wake, "owed by the dropped slot");
    assert!(!intake.push(&error(), b"next").wake);
}

#[test]
fn padding_hands_the_wake_up_on_to_the_record_behind_it() {
    let storage = storage::allocate(32).unwrap();
    let intake = Intake::starting_at(storage, 200).unwrap();
    let mut consumer = intake.consumer().unwrap();
    assert_eq!(consumer.sleep(), Sleep::UntilWoken);
    let slot = intake.reserve(&error(), 80).unwrap();
    assert!(slot.commit().wake);
    consumer.drain(Budget::ALL, |_| ());
}
