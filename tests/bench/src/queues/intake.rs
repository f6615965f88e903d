//! The intake: copies in, lends out.

use std::hint::black_box;

use surgetank_core::intake::{Budget, Intake, Word};
use surgetank_core::item::{Category, DestinationId, Form, Header, Outcome};

use super::Task;
use super::play::{mixed_records, ring_for};

/// Memory for records of mixed sizes: a client's default.
const LARGE: usize = 1 << 22;

/// A record's header, as a client has it.
fn header() -> Header {
    Header::new(DestinationId::default(), Form::Envelope, Category::Error, 1)
}

/// For the life of the process, as a client's is.
fn intake(bytes: usize) -> &'static Intake<Box<[Word]>> {
    Box::leak(Box::new(Intake::allocate(bytes).expect("a power of two")))
}

pub(super) fn fixed<const BYTES: usize>(task: &mut Task) {
    play::<[u8; BYTES]>(task, ring_for(BYTES), &[&[7; BYTES]]);
}

pub(super) fn mixed(task: &mut Task) {
    let records = mixed_records();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    play::<[u8]>(task, LARGE, &records);
}

fn play<T: AsRef<[u8]> + ?Sized + Sync>(task: &mut Task, bytes: usize, records: &[&T]) {
    let intake = intake(bytes);
    let header = header();
    let mut consumer = intake.consumer().expect("the only one");
    let producers = (0..task.producers())
        .map(|_| {
            move |record: &T| intake.push(black_box(&header), record.as_ref()).outcome == Outcome::Queued
        })
        .collect();
    task.play(records, producers, move || {
        let drained = consumer.drain(Budget::ALL, |item| {
            black_box((&item.header, item.payload));
        });
        drained.records
    });
}
