use super::*;
use crate::item::TraceKey;
use crate::item::{Category, DestinationId, Form};
use std::vec;
use std::vec::Vec;

fn span_header(trace: u64) -> Header {
    Header::new(DestinationId::default(), Form::Element, Category::Span, 1).in_trace(TraceKey(trace))
}

fn bytes_of(blocks: &[Block], record: RecordRef) -> Vec<u8> {
    payload(blocks, record).flatten().copied().collect()
}

fn store(
    queue: &mut Queue,
    blocks: &mut [Block],
    header: &Header,
    payload: &[u8],
    now: Instant,
    sequence: u64,
) -> Option<RecordRef> {
    queue.store(blocks, header, payload, blocks_for(payload.len()), now, sequence)
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed * 7) as u8).collect()
}

#[test]
fn payloads_of_every_length_around_the_block_edges_come_back_whole() {
    let mut blocks = vec![Block::EMPTY; 16];
    let mut queue = Queue::new(&mut blocks, 1);
    for length in (0..=FIRST_BYTES + 2 * NEXT_BYTES + 1).chain([3000]) {
        let data = pattern(length, length);
        let record = store(
            &mut queue,
            &mut blocks,
            &span_header(9),
            &data,
            Instant::from_micros(5),
            77,
        )
        .unwrap();
        assert_eq!(bytes_of(&blocks, record), data);
        assert_eq!(queue.used(), blocks_for(length));
        assert_eq!(sequence(&blocks, record), 77);
        assert_eq!(recorded_at(&blocks, record), Instant::from_micros(5));
        assert_eq!(header(&blocks, record), Some(span_header(9)));
        queue.release(&mut blocks, record);
        assert_eq!(queue.used(), 0);
    }
}

#[test]
fn blocks_are_touched_only_when_records_need_them() {
    let untouched = Block([0x5A; BLOCK_BYTES]);
    let mut blocks = vec![untouched; 640];
    let mut queue = Queue::new(&mut blocks, 1);
    let touched = |blocks: &[Block]| {
        blocks
            .iter()
            .filter(|block| block.0 != [0x5A; BLOCK_BYTES])
            .count()
    };
    assert_eq!((touched(&blocks), queue.free()), (10, 630), "the index alone");
    for round in 0..1000u64 {
        let record = store(
            &mut queue,
            &mut blocks,
            &span_header(round),
            &pattern(1000, 1),
            Instant::ORIGIN,
            round,
        )
        .unwrap();
        queue.release(&mut blocks, record);
    }
    assert_eq!(
        touched(&blocks),
        10 + FRESH_BLOCKS as usize,
        "what was used is used again"
    );
    let large = pattern(FIRST_BYTES + 628 * NEXT_BYTES, 2);
    let record = store(
        &mut queue,
        &mut blocks,
        &span_header(1),
        &large,
        Instant::ORIGIN,
        0,
    );
    assert!(record.is_some() && queue.free() == 1);
}

#[test]
fn a_record_fits_exactly_when_enough_blocks_are_free() {
    let mut blocks = vec![Block::EMPTY; 9];
    let mut queue = Queue::new(&mut blocks, 1);
    assert_eq!(queue.capacity(), 8);
    let most = FIRST_BYTES + 7 * NEXT_BYTES;
    assert!(
        store(
            &mut queue,
            &mut blocks,
            &span_header(1),
            &pattern(most + 1, 0),
            Instant::ORIGIN,
            0
        )
        .is_none()
    );
    let all = store(
        &mut queue,
        &mut blocks,
        &span_header(1),
        &pattern(most, 0),
        Instant::ORIGIN,
        0,
    )
    .unwrap();
    assert_eq!(queue.free(), 0);
    assert!(store(&mut queue, &mut blocks, &span_header(1), &[], Instant::ORIGIN, 0).is_none());
    queue.release(&mut blocks, all);
    assert_eq!(queue.free(), 8);
}

#[test]
fn memory_for_no_block_at_all_is_a_full_queue_not_a_fault() {
    for count in 0..3 {
        let mut blocks = vec![Block::EMPTY; count];
        let mut queue = Queue::new(&mut blocks, 1);
        let stored = store(&mut queue, &mut blocks, &span_header(1), b"x", Instant::ORIGIN, 0);
        assert_eq!(stored.is_some(), queue.capacity() > 0);
        queue.doom(&mut blocks, TraceKey(4), 1);
        assert_eq!(
            queue.is_doomed(&blocks, TraceKey(4), 1),
            queue.capacity() > 0 && count > 1
        );
    }
}

/// Random stores, moves between lists, and releases against plain vectors.
#[test]
fn lists_and_traces_agree_with_a_naive_model() {
    let mut rng = crate::rng::Rng::new(42);
    let mut blocks = vec![Block::EMPTY; 200];
    let mut queue = Queue::new(&mut blocks, 3);
    let mut lists = [List::EMPTY; 3];
    let mut model: [Vec<(u32, u64, Vec<u8>)>; 3] = Default::default();
    for step in 0..20_000u64 {
        let which = rng.below(3) as usize;
        match rng.below(5) {
            0 | 1 => {
                let (trace, data) = (1 + rng.below(20), pattern(rng.below(900) as usize, step as usize));
                let stored = store(
                    &mut queue,
                    &mut blocks,
                    &span_header(trace),
                    &data,
                    Instant::ORIGIN,
                    step,
                );
                if let Some(record) = stored {
                    push_back(&mut blocks, &mut lists[which], record);
                    queue.join_trace(&mut blocks, record, TraceKey(trace));
                    model[which].push((record.0, trace, data));
                } else {
                    let used: u32 = model
                        .iter()
                        .flatten()
                        .map(|entry| blocks_for(entry.2.len()))
                        .sum();
                    assert!(used + blocks_for(data.len()) > queue.capacity());
                }
            }
            2 if !model[which].is_empty() => {
                let at = rng.below(model[which].len() as u64) as usize;
                let (record, _, data) = model[which].remove(at);
                assert_eq!(bytes_of(&blocks, RecordRef(record)), data);
                remove(&mut blocks, &mut lists[which], RecordRef(record));
                queue.release(&mut blocks, RecordRef(record));
            }
            3 => {
                let other = (which + 1) % 3;
                let front = core::mem::replace(&mut lists[which], List::EMPTY);
                prepend(&mut blocks, &mut lists[other], front);
                let moved = core::mem::take(&mut model[which]);
                model[other].splice(0..0, moved);
            }
            _ => {
                let trace = 1 + rng.below(20);
                let mut found = Vec::new();
                let mut member = queue.trace_member(&blocks, TraceKey(trace), None);
                while let Some(record) = member {
                    found.push(record.0);
                    member = queue.trace_member(&blocks, TraceKey(trace), Some(record));
                }
                found.sort_unstable();
                let mut expected: Vec<u32> = model
                    .iter()
                    .flatten()
                    .filter(|entry| entry.1 == trace)
                    .map(|entry| entry.0)
                    .collect();
                expected.sort_unstable();
                assert_eq!(found, expected);
            }
        }
        for (list, model) in lists.iter().zip(&model) {
            let mut walked = Vec::new();
            let mut at = list.head();
            while let Some(record) = at {
                walked.push(record.0);
                at = next(&blocks, record);
            }
            assert_eq!(walked, model.iter().map(|entry| entry.0).collect::<Vec<_>>());
            assert_eq!(list.records() as usize, model.len());
            assert_eq!(
                list.bytes() as usize,
                model.iter().map(|entry| entry.2.len()).sum::<usize>()
            );
            assert_eq!(
                list.blocks(),
                model.iter().map(|entry| blocks_for(entry.2.len())).sum::<u32>()
            );
        }
    }
}

#[test]
fn a_doomed_trace_is_remembered_for_its_round() {
    let mut blocks = vec![Block::EMPTY; 64];
    let queue = Queue::new(&mut blocks, 3);
    assert!(!queue.is_doomed(&blocks, TraceKey(5), 1));
    queue.doom(&mut blocks, TraceKey(5), 1);
    assert!(queue.is_doomed(&blocks, TraceKey(5), 1));
    assert!(!queue.is_doomed(&blocks, TraceKey(6), 1));
    assert!(
        !queue.is_doomed(&blocks, TraceKey(5), 2),
        "an earlier round's mark still holds"
    );
}

#[test]
fn a_run_at_the_front_is_split_off_and_released_at_once() {
    let mut blocks = vec![Block::EMPTY; 40];
    let mut queue = Queue::new(&mut blocks, 3);
    let mut list = List::EMPTY;
    let mut records = Vec::new();
    for at in 0..6usize {
        let header = Header::new(DestinationId::default(), Form::Element, Category::LogItem, 2)
            .also(Category::LogByte, 7);
        let record = store(
            &mut queue,
            &mut blocks,
            &header,
            &pattern(at * 100, at),
            Instant::ORIGIN,
            at as u64,
        )
        .unwrap();
        push_back(&mut blocks, &mut list, record);
        records.push(record);
    }
    let used = queue.used();
    let run_of = |blocks: &[Block], records: &[RecordRef]| {
        records.iter().fold(Run::default(), |run, record| {
            run.with(&Ahead::of(blocks, *record).unwrap())
        })
    };
    let run = run_of(&blocks, &records[..4]);
    assert_eq!((run.records, run.bytes), (4, 600));
    let front = split_front(&mut blocks, &mut list, records[3], run);
    assert_eq!(
        (front.records(), list.records(), list.head()),
        (4, 2, Some(records[4]))
    );
    let mut seen = Vec::new();
    assert_eq!(
        queue.release_all(&mut blocks, front, |sequence| seen.push(sequence)),
        (8, 28)
    );
    assert_eq!(seen, [0, 1, 2, 3]);
    assert_eq!(queue.used(), used - run.blocks);
    let run = run_of(&blocks, &records[4..]);
    let all = split_front(&mut blocks, &mut list, records[5], run);
    assert!(list.is_empty() && list.records() == 0 && list.bytes() == 0);
    queue.release_all(&mut blocks, all, |_| {});
    assert_eq!((queue.used(), queue.records()), (0, 0));
    // Every block is usable again.
    assert!(
        store(
            &mut queue,
            &mut blocks,
            &span_header(1),
            &pattern(FIRST_BYTES + 38 * NEXT_BYTES, 0),
            Instant::ORIGIN,
            0
        )
        .is_some()
    );
}
