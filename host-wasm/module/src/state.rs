//! The state of an engine as bytes, piece by piece: what one module writes and another, possibly of a later version,
//! reads. A piece is a word that names its kind, then what `ABI.md` lists.

use surgetank_core::engine::Piece;
use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason};
use surgetank_core::ledger::{CategoryTotals, ReasonTotal};
use surgetank_core::queue::Chunks;
use surgetank_core::record::{decode, encode};
use surgetank_core::status::Counters;
use surgetank_core::time::Instant;

use crate::codes::{SCOPES, STATE, named, number};
use crate::error::{Error, Said};
use crate::fields::Fields;
use crate::output::Out;
use crate::settings::{self, Unknown};

const WHOLE: u32 = 1;
const SUMS: u32 = 2;
const DROPPED: u32 = 3;
const DESTINATION: u32 = 4;
const LIMIT: u32 = 5;
const LOSS: u32 = 6;
const RECORD: u32 = 7;

/// Stands for all categories.
const EVERY_CATEGORY: u32 = 255;

/// Writes a piece.
pub(crate) fn write(piece: Piece<Chunks<'_>>, out: &mut Out<'_>) {
    match piece {
        Piece::Whole {
            counters,
            unlisted,
            unreported,
            request_generation,
        } => {
            out.word(WHOLE)
                .word(STATE)
                .word(counters.stale_answers)
                .word(counters.stalls)
                .word(counters.clock_steps_back)
                .word(counters.notices_lost)
                .long(unlisted)
                .long(unreported)
                .word(request_generation);
        }
        Piece::Sums { category, totals } => {
            out.word(SUMS)
                .word(category as u32)
                .long(totals.recorded)
                .long(totals.delivered)
                .long(totals.dropped);
        }
        Piece::Dropped(total) => {
            out.word(DROPPED)
                .word(total.category as u32)
                .word(total.reason as u32)
                .long(total.quantity);
        }
        Piece::Destination {
            id,
            config,
            paused_until,
        } => {
            out.word(DESTINATION)
                .word(id.bits())
                .long(paused_until.as_micros());
            settings::write_destination(&config, out);
        }
        Piece::Limit {
            destination,
            category,
            until,
            scope,
        } => {
            out.word(LIMIT)
                .word(destination.bits())
                .word(category.map_or(EVERY_CATEGORY, |category| category as u32))
                .word(u32::from(number(&SCOPES, &scope)))
                .long(until.as_micros());
        }
        Piece::Loss {
            destination,
            category,
            reason,
            quantity,
        } => {
            out.word(LOSS)
                .word(destination.bits())
                .word(category as u32)
                .word(reason as u32)
                .long(quantity);
        }
        Piece::Record {
            header,
            recorded_at,
            removed,
            payload,
        } => {
            out.word(RECORD)
                .bytes(&encode(&header))
                .long(recorded_at.as_micros())
                .long(removed.bits());
            for chunk in payload {
                out.bytes(chunk);
            }
        }
    }
}

/// Reads a piece.
pub(crate) fn read(bytes: &[u8]) -> Result<Piece<&[u8]>, Error> {
    let mut from = Fields::new(bytes);
    let piece = read_from(&mut from);
    from.check()?;
    if from.rest().is_empty() {
        piece
    } else {
        piece.and(Err(const {
            &Said::malformed("the piece is longer than its kind allows")
        }))
    }
}

fn read_from<'a>(from: &mut Fields<'a>) -> Result<Piece<&'a [u8]>, Error> {
    Ok(match from.word() {
        WHOLE => {
            if from.word() != STATE {
                return Err(const { &Said::malformed("the state is of another version") });
            }
            Piece::Whole {
                counters: Counters {
                    stale_answers: from.word(),
                    stalls: from.word(),
                    clock_steps_back: from.word(),
                    notices_lost: from.word(),
                },
                unlisted: from.long(),
                unreported: from.long(),
                request_generation: from.word(),
            }
        }
        SUMS => Piece::Sums {
            category: category(from.word())?,
            totals: CategoryTotals {
                recorded: from.long(),
                delivered: from.long(),
                dropped: from.long(),
            },
        },
        DROPPED => Piece::Dropped(ReasonTotal {
            category: category(from.word())?,
            reason: reason(from.word())?,
            quantity: from.long(),
        }),
        DESTINATION => Piece::Destination {
            id: DestinationId::from_bits(from.word()),
            paused_until: Instant::from_micros(from.long()),
            config: settings::destination(Fields::new(from.rest()), Unknown::PassOver)?,
        },
        LIMIT => Piece::Limit {
            destination: DestinationId::from_bits(from.word()),
            category: match from.word() {
                EVERY_CATEGORY => None,
                one => Some(category(one)?),
            },
            scope: named(&SCOPES, u64::from(from.word()))
                .ok_or(const { &Said::malformed("a number names no scope") })?,
            until: Instant::from_micros(from.long()),
        },
        LOSS => Piece::Loss {
            destination: DestinationId::from_bits(from.word()),
            category: category(from.word())?,
            reason: reason(from.word())?,
            quantity: from.long(),
        },
        RECORD => Piece::Record {
            header: decode(&from.array()).ok_or(BAD_HEADER)?,
            recorded_at: Instant::from_micros(from.long()),
            removed: CategorySet::from_bits(from.long()),
            payload: from.rest(),
        },
        _ => return Err(const { &Said::malformed("there is no piece of that kind") }),
    })
}

/// A header that no client writes.
pub(crate) const BAD_HEADER: Error = &Said::malformed("a number in the header names nothing");

/// The category with that number.
pub(crate) fn category(number: u32) -> Result<Category, Error> {
    let number = u8::try_from(number).ok();
    number
        .and_then(Category::from_number)
        .ok_or(const { &Said::malformed("a number names no category") })
}

/// The drop reason with that number.
pub(crate) fn reason(number: u32) -> Result<DropReason, Error> {
    let number = u8::try_from(number).ok();
    number
        .and_then(DropReason::from_number)
        .ok_or(const { &Said::malformed("a number names no reason") })
}
