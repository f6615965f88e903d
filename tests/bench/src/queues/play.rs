//! What is done with a queue: counted under the glass, or timed with threads.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::glass::{Glass, Phase};
use crate::times::{Times, now};

/// Records of a round: put in, then taken out.
const ROUND: usize = 100;

/// What a program does between two records when they are timed: without it a queue is full at once, and what is timed is
/// how fast it refuses.
const BETWEEN: Duration = Duration::from_micros(5);

/// What to do, and what came of it.
pub(crate) enum Task {
    /// In, out and refused, that many rounds of a hundred.
    Count { glass: Glass, rounds: u32 },
    /// Each producer puts in that many, one consumer takes out; then the times of what was taken.
    Time {
        producers: usize,
        calls: usize,
        times: Times,
    },
}

impl Task {
    /// Handles that [`Task::play`] wants.
    pub(super) fn producers(&self) -> usize {
        match self {
            Self::Count { .. } => 1,
            Self::Time { producers, .. } => *producers,
        }
    }

    /// Plays with a queue: `producers` put a record in and say whether it was taken, `consumer` takes all there is out
    /// and says how many.
    pub(super) fn play<T, P, C>(&mut self, records: &[&T], producers: Vec<P>, mut consumer: C)
    where
        T: ?Sized + Sync,
        P: FnMut(&T) -> bool + Send,
        C: FnMut() -> usize + Send,
    {
        match self {
            Self::Count { glass, rounds } => {
                let mut producers = producers;
                let producer = producers.first_mut().expect("there is one");
                count(*glass, *rounds, records, producer, consumer);
            }
            Self::Time { calls, times, .. } => {
                let over = AtomicBool::new(false);
                let calls = *calls;
                std::thread::scope(|scope| {
                    let over = &over;
                    scope.spawn(move || {
                        while !over.load(Ordering::Relaxed) {
                            if consumer() == 0 {
                                std::thread::yield_now();
                            }
                        }
                    });
                    let threads: Vec<_> = producers
                        .into_iter()
                        .map(|producer| scope.spawn(move || timed(calls, records, producer)))
                        .collect();
                    for thread in threads {
                        times.add(thread.join().expect("a producer does not panic"));
                    }
                    over.store(true, Ordering::Relaxed);
                });
            }
        }
    }
}

fn count<T: ?Sized>(
    glass: Glass,
    rounds: u32,
    records: &[&T],
    producer: &mut impl FnMut(&T) -> bool,
    mut consumer: impl FnMut() -> usize,
) {
    let record = *records.first().expect("there is one");
    for _ in 0..rounds {
        glass.look(Phase::Idle, || put(record, &mut |_| true));
        glass.look(Phase::Record, || put(record, producer));
        let taken = glass.look(Phase::Pop, &mut consumer);
        assert_eq!(taken, ROUND, "what was put in comes out");
    }
    while producer(record) {}
    for _ in 0..rounds {
        glass.look(Phase::Refuse, || put(record, producer));
    }
}

/// Puts in a round of records.
#[inline(always)]
fn put<T: ?Sized>(record: &T, producer: &mut impl FnMut(&T) -> bool) {
    for _ in 0..ROUND {
        black_box(producer(black_box(record)));
    }
}

fn timed<T: ?Sized>(calls: usize, records: &[&T], mut producer: impl FnMut(&T) -> bool) -> Times {
    let mut times = Times::with_capacity(calls);
    let mut refused = 0;
    for record in records.iter().cycle().take(calls) {
        let begun = now();
        let taken = producer(black_box(record));
        let took = begun.elapsed();
        if taken {
            times.push(took, false);
        } else {
            refused += 1;
        }
        while begun.elapsed() < took + BETWEEN {
            spin_loop();
        }
    }
    times.refused = refused;
    times
}

/// Bytes of a ring that holds about a thousand records of that size.
pub(super) const fn ring_for(bytes: usize) -> usize {
    (1024 * bytes).next_power_of_two() * if bytes < 256 { 2 } else { 1 }
}

/// Sizes from 64 B to 64 KiB, each power of two as often as the next, in an order without a pattern.
pub(super) fn mixed_records() -> Vec<Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..256)
        .map(|_| {
            let power = 64u64 << (next() % 10);
            vec![7; (power + next() % power) as usize]
        })
        .collect()
}
