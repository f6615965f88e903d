//! Other queues. Those of values copy a slot in and out, which is what they do; nexus-logbuf and bbqueue copy in and lend
//! out, as the intake does; thingbuf is written in place.

use std::hint::black_box;
use std::sync::Arc;

use super::Task;
use super::play::{mixed_records, ring_for};

/// Slots, a power of two.
const SLOTS: usize = 1024;
/// Bytes of a ring that does not know the size of its records.
const RING: usize = 1 << 20;
/// The same for records of mixed sizes, and boxes in a queue of them: as many as fill it on the average.
const LARGE_RING: usize = 1 << 22;
const BOXES: usize = 428;

/// A queue whose producers and consumers are clones of one handle.
fn shared<const BYTES: usize, Q: Clone + Send>(
    task: &mut Task,
    queue: &Q,
    push: impl Fn(&Q, &[u8; BYTES]) -> bool + Copy + Send,
    pop: impl Fn(&Q) -> bool + Send,
) {
    let producers = (0..task.producers())
        .map(|_| {
            let queue = queue.clone();
            move |record: &[u8; BYTES]| push(&queue, record)
        })
        .collect();
    let queue = queue.clone();
    task.play(&[&[7; BYTES]], producers, move || {
        let mut taken = 0;
        while pop(&queue) {
            taken += 1;
        }
        taken
    });
}

pub(super) fn array_queue<const BYTES: usize>(task: &mut Task) {
    let queue = Arc::new(crossbeam_queue::ArrayQueue::<[u8; BYTES]>::new(SLOTS));
    shared(
        task,
        &queue,
        |queue, record: &[u8; BYTES]| queue.push(*record).is_ok(),
        |queue| black_box(&queue.pop()).is_some(),
    );
}

/// Boxed payloads: what a queue of values does with records of any size.
pub(super) fn array_queue_mixed(task: &mut Task) {
    let queue = Arc::new(crossbeam_queue::ArrayQueue::<Box<[u8]>>::new(BOXES));
    let producers = (0..task.producers())
        .map(|_| {
            let queue = Arc::clone(&queue);
            move |record: &[u8]| queue.push(Box::from(record)).is_ok()
        })
        .collect();
    let records = mixed_records();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    task.play(&records, producers, move || {
        let mut taken = 0;
        while black_box(queue.pop()).is_some() {
            taken += 1;
        }
        taken
    });
}

#[expect(deprecated, reason = "it is the mark to compare with")]
pub(super) fn heapless_mpmc<const BYTES: usize>(task: &mut Task) {
    let queue = Arc::new(heapless::mpmc::Queue::<[u8; BYTES], SLOTS>::new());
    shared(
        task,
        &queue,
        |queue, record: &[u8; BYTES]| queue.enqueue(*record).is_ok(),
        |queue| black_box(&queue.dequeue()).is_some(),
    );
}

#[derive(Clone)]
struct Slot<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Default for Slot<BYTES> {
    fn default() -> Self {
        Self([0; BYTES])
    }
}

pub(super) fn thingbuf<const BYTES: usize>(task: &mut Task) {
    let queue = Arc::new(::thingbuf::ThingBuf::<Slot<BYTES>>::new(SLOTS));
    shared(
        task,
        &queue,
        |queue, record: &[u8; BYTES]| match queue.push_ref() {
            Ok(mut slot) => {
                slot.0.copy_from_slice(record);
                true
            }
            Err(_) => false,
        },
        |queue| queue.pop_ref().is_some_and(|slot| !black_box(&slot.0).is_empty()),
    );
}

pub(super) fn kanal<const BYTES: usize>(task: &mut Task) {
    let queue = ::kanal::bounded::<[u8; BYTES]>(SLOTS);
    shared(
        task,
        &queue,
        |(sender, _), record: &[u8; BYTES]| sender.try_send(*record) == Ok(true),
        |(_, receiver)| {
            black_box(&receiver.try_recv())
                .as_ref()
                .is_ok_and(Option::is_some)
        },
    );
}

pub(super) fn flume<const BYTES: usize>(task: &mut Task) {
    let queue = ::flume::bounded::<[u8; BYTES]>(SLOTS);
    shared(
        task,
        &queue,
        |(sender, _), record: &[u8; BYTES]| sender.try_send(*record).is_ok(),
        |(_, receiver)| black_box(&receiver.try_recv()).is_ok(),
    );
}

pub(super) fn sync_channel<const BYTES: usize>(task: &mut Task) {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<[u8; BYTES]>(SLOTS);
    let producers = (0..task.producers())
        .map(|_| {
            let sender = sender.clone();
            move |record: &[u8; BYTES]| sender.try_send(*record).is_ok()
        })
        .collect();
    task.play(&[&[7; BYTES]], producers, move || {
        let mut taken = 0;
        while black_box(&receiver.try_recv()).is_ok() {
            taken += 1;
        }
        taken
    });
}

pub(super) fn nexus<const BYTES: usize>(task: &mut Task) {
    nexus_of::<[u8; BYTES]>(task, ring_for(BYTES), &[&[7; BYTES]]);
}

pub(super) fn nexus_mixed(task: &mut Task) {
    let records = mixed_records();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    nexus_of::<[u8]>(task, LARGE_RING, &records);
}

fn nexus_of<T: AsRef<[u8]> + ?Sized + Sync>(task: &mut Task, bytes: usize, records: &[&T]) {
    let (producer, mut consumer) = nexus_logbuf::queue::mpsc::new(bytes);
    let producers = (0..task.producers())
        .map(|_| {
            let mut producer = producer.clone();
            move |record: &T| match producer.try_claim(record.as_ref().len()) {
                Ok(mut claim) => {
                    claim.copy_from_slice(record.as_ref());
                    claim.commit();
                    true
                }
                Err(_) => false,
            }
        })
        .collect();
    task.play(records, producers, move || {
        let mut taken = 0;
        while let Some(claim) = consumer.try_claim() {
            black_box(&claim[..]);
            taken += 1;
        }
        taken
    });
}

pub(super) fn rtrb<const BYTES: usize>(task: &mut Task) {
    let (mut producer, mut consumer) = ::rtrb::RingBuffer::<[u8; BYTES]>::new(SLOTS);
    let producers = vec![move |record: &[u8; BYTES]| producer.push(*record).is_ok()];
    task.play(&[&[7; BYTES]], producers, move || {
        let mut taken = 0;
        while black_box(&consumer.pop()).is_ok() {
            taken += 1;
        }
        taken
    });
}

pub(super) fn bbqueue<const BYTES: usize>(task: &mut Task) {
    let queue: &'static _ = Box::leak(Box::new(::bbqueue::nicknames::Churrasco::<RING>::new()));
    let (producer, consumer) = (queue.framed_producer(), queue.framed_consumer());
    let push = move |record: &[u8; BYTES]| match producer.grant(BYTES as u16) {
        Ok(mut grant) => {
            grant[..BYTES].copy_from_slice(record);
            grant.commit(BYTES as u16);
            true
        }
        Err(_) => false,
    };
    task.play(&[&[7; BYTES]], vec![push], move || {
        let mut taken = 0;
        while let Ok(grant) = consumer.read() {
            black_box(&grant[..]);
            grant.release();
            taken += 1;
        }
        taken
    });
}
