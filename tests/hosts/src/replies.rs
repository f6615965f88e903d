//! Output windows as a host reads them.

use surgetank_core::breaker::BreakerState;
use surgetank_core::downsample::FactorChange;
use surgetank_core::health::{Cause, CauseSet, Health, Transition};
use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason};
use surgetank_core::ledger::{CategoryTotals, ReasonTotal};
use surgetank_core::notice::{Deadline, Notice, Settlement};
use surgetank_core::request::RequestId;
use surgetank_core::status::Counters;
use surgetank_core::time::{Duration, Instant};
use surgetank_module::codes::{self, named, notice, settlement};
use surgetank_replay::books::Books;
use surgetank_replay::call::{DestinationState, Sent, Snapshot};

/// Reads numbers from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

type Read<T> = Result<T, String>;

impl Reader<'_> {
    pub(crate) fn word(&mut self) -> Read<u32> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or("the output is too short")?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn long(&mut self) -> Read<u64> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or("the output is too short")?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn code<T: Copy>(&mut self, list: &[T]) -> Read<T> {
        code(list, self.word()?)
    }

    fn destination(&mut self) -> Read<DestinationId> {
        self.word().map(DestinationId::from_bits)
    }
}

fn code<T: Copy>(list: &[T], number: u32) -> Read<T> {
    named(list, u64::from(number)).ok_or_else(|| format!("{number} names nothing"))
}

fn reason(number: u32) -> Read<DropReason> {
    code(&DropReason::ALL, number)
}

pub(crate) fn idle(mut from: Reader<'_>) -> Read<Option<Deadline>> {
    let is_there = from.word()? == 1;
    let (reason, at) = (from.word()?, Instant::from_micros(from.long()?));
    is_there
        .then(|| code(&codes::DEADLINES, reason).map(|reason| Deadline { at, reason }))
        .transpose()
}

/// A request without its body.
pub(crate) fn sent(mut from: Reader<'_>) -> Read<Sent> {
    Ok(Sent {
        id: RequestId::from_bits(from.long()?),
        destination: from.destination()?,
        kind: from.code(&codes::KINDS)?,
        attempt: from.word()?,
        records: from.word()?,
        payload_bytes: from.word()?,
        carries_report: from.word()? == 1,
        timeout: Duration::from_micros(from.long()?),
        body: Vec::new(),
    })
}

pub(crate) fn settled(kind: i32, number: u32, value: u64) -> Read<Settlement> {
    Ok(match kind {
        settlement::DELIVERED => Settlement::Delivered,
        settlement::PARTIAL => Settlement::Partial { rejected: value },
        settlement::RATE_LIMITED => Settlement::RateLimited {
            covered: CategorySet::from_bits(value),
        },
        settlement::DROPPED => Settlement::Dropped {
            reason: reason(number)?,
        },
        settlement::RETRY => Settlement::Retry {
            reason: reason(number)?,
            pause: Duration::from_micros(value),
        },
        other => return Err(format!("settlement {other}")),
    })
}

pub(crate) fn health(word: u32) -> Read<Health> {
    Ok(Health {
        level: code(&codes::LEVELS, word >> 16)?,
        causes: CauseSet::from_bits(word as u16),
    })
}

pub(crate) fn notice(mut from: Reader<'_>) -> Read<Notice> {
    let kind = from.word()?;
    let (a, b, c) = (from.word()?, from.word()?, from.word()?);
    let wide = from.long()?;
    Ok(match kind {
        notice::HEALTH => Notice::Health(Transition {
            from: health(a)?,
            to: health(b)?,
            cause: code(&Cause::ALL, c)?,
        }),
        notice::FACTOR => Notice::Factor(FactorChange {
            from: a as u8,
            to: b as u8,
            cause: code(&codes::FACTOR_CAUSES, c)?,
        }),
        notice::BREAKER => Notice::Breaker {
            destination: DestinationId::from_bits(a),
            state: code(&codes::BREAKERS, b)?,
        },
        notice::STALLED => Notice::Stalled {
            request: RequestId::from_bits(wide),
        },
        notice::SETTLED => {
            let status = (b >> 16) as u16;
            Notice::Settled {
                destination: DestinationId::from_bits(a),
                status: (status != 0).then_some(status),
                records: c,
                settlement: settled((b & 0xFF) as i32, b >> 8 & 0xFF, wide)?,
            }
        }
        notice::LEFT => Notice::Left { records: a },
        other => return Err(format!("notice {other}")),
    })
}

/// The books: sums, and what is held.
pub(crate) fn books(mut from: Reader<'_>, mut held: Reader<'_>) -> Read<Books> {
    let (rows, reasons) = (from.word()?, from.word()?);
    let mut books = Books {
        unlisted: from.long()?,
        unreported: from.long()?,
        ..Books::default()
    };
    let mut sums = vec![CategoryTotals::default(); Category::COUNT];
    for _ in 0..rows {
        let category = code(&Category::ALL, from.long()? as u32)?;
        sums[category.index()] = CategoryTotals {
            recorded: from.long()?,
            delivered: from.long()?,
            dropped: from.long()?,
        };
    }
    for _ in 0..reasons {
        books.reasons.push(ReasonTotal {
            category: code(&Category::ALL, from.word()?)?,
            reason: reason(from.word()?)?,
            quantity: from.long()?,
        });
    }
    for (category, sums) in Category::ALL.into_iter().zip(sums) {
        let held = held.long()?;
        if sums != CategoryTotals::default() || held > 0 {
            books.rows.push((category, sums, held));
        }
    }
    Ok(books)
}

/// The state of everything: fill, requests in flight, factor, counters, beside what was asked elsewhere.
pub(crate) fn snapshot(
    health: Health,
    mut from: Reader<'_>,
    destinations: Vec<DestinationState>,
) -> Read<Snapshot> {
    Ok(Snapshot {
        health,
        used_blocks: from.word()?,
        capacity_blocks: from.word()?,
        in_flight: from.word()? as usize,
        factor: from.word()? as u8,
        counters: Counters {
            stale_answers: from.word()?,
            stalls: from.word()?,
            clock_steps_back: from.word()?,
            notices_lost: from.word()?,
        },
        destinations,
    })
}

pub(crate) fn destination(mut from: Reader<'_>) -> Read<DestinationState> {
    let mut waiting = [0; 5];
    for waiting in &mut waiting {
        *waiting = from.word()?;
    }
    let (on_wire, parked, concurrency) = (from.word()?, from.word()?, from.word()? as u8);
    let breaker: BreakerState = from.code(&codes::BREAKERS)?;
    let used_blocks = from.word()?;
    let is_paused = from.word()? == 1;
    from.word()?;
    let pause = Duration::from_micros(from.long()?);
    Ok(DestinationState {
        waiting,
        on_wire,
        parked,
        concurrency,
        breaker,
        paused_for: is_paused.then_some(pause),
        limited: CategorySet::from_bits(from.long()?),
        used_blocks,
    })
}
