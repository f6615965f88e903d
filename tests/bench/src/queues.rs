//! Into a queue, out of it, and refused when it is full: the intake, and queues of fixed slots beside it.

use std::hint::black_box;

use surgetank_core::intake::{Budget, Intake};
use surgetank_core::item::{Category, DestinationId, Form, Header, Outcome};

use crate::glass::{Glass, Phase};

/// Records of a round: put in, then taken out.
const ROUND: usize = 100;

/// Copies in, lends out: a consumer reads in place.
pub(crate) fn intake<const BYTES: usize>(glass: Glass, rounds: u32) {
    let intake = Intake::allocate(1 << 18).expect("a power of two");
    let mut consumer = intake.consumer().expect("the only one");
    let header = Header::new(DestinationId::default(), Form::Envelope, Category::Error, 1);
    let payload = [7u8; BYTES];
    for _ in 0..rounds {
        glass.look(Phase::Record, || {
            for _ in 0..ROUND {
                let _ = black_box(intake.push(black_box(&header), black_box(&payload)));
            }
        });
        glass.look(Phase::Pop, || {
            consumer.drain(Budget::ALL, |item| {
                black_box((&item.header, item.payload));
            });
        });
    }
    while intake.push(&header, &payload).outcome == Outcome::Queued {}
    for _ in 0..rounds {
        glass.look(Phase::Refuse, || {
            for _ in 0..ROUND {
                let _ = black_box(intake.push(black_box(&header), black_box(&payload)));
            }
        });
    }
}

#[cfg(feature = "peers")]
pub(crate) mod peers {
    //! Each copies its slot in and out: that is what a queue of values does.

    use super::*;

    /// Slots, a power of two and more than a round.
    const SLOTS: usize = 128;

    fn rounds_of<const BYTES: usize>(
        glass: Glass,
        rounds: u32,
        mut push: impl FnMut(&[u8; BYTES]) -> bool,
        mut pop: impl FnMut(),
    ) {
        let record = [7u8; BYTES];
        for _ in 0..rounds {
            glass.look(Phase::Record, || {
                for _ in 0..ROUND {
                    black_box(push(black_box(&record)));
                }
            });
            glass.look(Phase::Pop, || {
                for _ in 0..ROUND {
                    pop();
                }
            });
        }
        while push(&record) {}
        for _ in 0..rounds {
            glass.look(Phase::Refuse, || {
                for _ in 0..ROUND {
                    black_box(push(black_box(&record)));
                }
            });
        }
    }

    pub(crate) fn array_queue<const BYTES: usize>(glass: Glass, rounds: u32) {
        let queue = crossbeam_queue::ArrayQueue::<[u8; BYTES]>::new(SLOTS);
        let pop = || {
            black_box(&queue.pop());
        };
        rounds_of::<BYTES>(glass, rounds, |record| queue.push(*record).is_ok(), pop);
    }

    #[expect(deprecated, reason = "it is the mark to compare with")]
    pub(crate) fn heapless_mpmc<const BYTES: usize>(glass: Glass, rounds: u32) {
        let queue = Box::new(heapless::mpmc::Queue::<[u8; BYTES], SLOTS>::new());
        let pop = || {
            black_box(&queue.dequeue());
        };
        rounds_of::<BYTES>(glass, rounds, |record| queue.enqueue(*record).is_ok(), pop);
    }

    pub(crate) fn rtrb<const BYTES: usize>(glass: Glass, rounds: u32) {
        let (mut producer, mut consumer) = ::rtrb::RingBuffer::<[u8; BYTES]>::new(SLOTS);
        let pop = || {
            black_box(&consumer.pop());
        };
        rounds_of::<BYTES>(glass, rounds, |record| producer.push(*record).is_ok(), pop);
    }

    /// Copies in, lends out, like the intake.
    pub(crate) fn bbqueue<const BYTES: usize>(glass: Glass, rounds: u32) {
        let queue = Box::new(::bbqueue::nicknames::Churrasco::<{ 1 << 18 }>::new());
        let (producer, consumer) = (queue.framed_producer(), queue.framed_consumer());
        let record = [7u8; BYTES];
        let push = || match producer.grant(BYTES as u16) {
            Ok(mut grant) => {
                grant[..BYTES].copy_from_slice(black_box(&record));
                grant.commit(BYTES as u16);
                true
            }
            Err(_) => false,
        };
        for _ in 0..rounds {
            glass.look(Phase::Record, || {
                for _ in 0..ROUND {
                    black_box(push());
                }
            });
            glass.look(Phase::Pop, || {
                for _ in 0..ROUND {
                    if let Ok(grant) = consumer.read() {
                        black_box(&grant[..]);
                        grant.release();
                    }
                }
            });
        }
        while push() {}
        for _ in 0..rounds {
            glass.look(Phase::Refuse, || {
                for _ in 0..ROUND {
                    black_box(push());
                }
            });
        }
    }
}
