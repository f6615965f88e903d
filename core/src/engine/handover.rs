//! One engine's state taken out in pieces and put into another: how a host exchanges the program that holds the
//! engine (a module, a process) without losing what is queued.
//!
//! ```text
//!  old: next_piece(&walk) .. None          new: Engine::new, take_over(piece) .., complete
//!       nothing is taken out: until the host lets go of it, the old one can go on
//! ```
//!
//! What goes over is what cannot be learned anew: destinations under their ids, what their servers forbade and until
//! when, every record with its age, the sums, and losses that are still to be reported. Requests the host has are
//! taken back: their records go over as waiting ones, ahead of the others, and their ids are stale in the new engine.
//! So a host that wants nothing sent twice settles its requests first.
//!
//! Not part of it: settings of the engine (the host gives them to the new one), flushes, a deadline of `close`, and
//! what follows from a few minutes of experience: breakers, back-off, concurrency, downsampling, health.
//!
//! A piece may come from anywhere. Whatever it says, the new engine stays sound, and
//! [`complete`](Engine::complete) makes its books balance: what the sums call queued and did not arrive is dropped as
//! `internal_sdk_error`.

use super::Core;
use super::Engine;
use super::admit::form_fits;
use super::count::{each_count, lose_many};
use crate::config::DestinationConfig;
use crate::config_error::ConfigError;
use crate::item::{Category, CategorySet, DestinationId, DropReason, Header, Item};
use crate::ledger::{self, CategoryTotals, ReasonTotal};
use crate::limits::MAX_DESTINATIONS;
use crate::queue::{self, Chunks, List, RecordRef};
use crate::request::{RequestSlot, SlotState};
use crate::status::Counters;
use crate::storage::{Storage, View};
use crate::time::Instant;
use crate::wire::rate_limits::Scope;

/// A part of an engine's state. `P` is the payload: in blocks when it comes out, in one piece when it goes in.
/// Exhaustive.
#[derive(Clone, Copy, Debug)]
pub enum Piece<P> {
    /// What belongs to no category: the first piece.
    Whole {
        /// Sums of what should not happen.
        counters: Counters,
        /// Dropped quantity that is in no [`Piece::Dropped`].
        unlisted: u64,
        /// Losses that nobody is told of.
        unreported: u64,
        /// Ids of requests with a generation up to this one were given out.
        request_generation: u32,
    },
    /// The sums of a category.
    Sums {
        /// Of what.
        category: Category,
        /// How much.
        totals: CategoryTotals,
    },
    /// Of the dropped quantity, what was dropped for one reason.
    Dropped(ReasonTotal),
    /// An open destination. Comes before everything that names it.
    Destination {
        /// Its id, which stays valid.
        id: DestinationId,
        /// Its settings.
        config: DestinationConfig,
        /// Nothing is sent before then.
        paused_until: Instant,
    },
    /// A rate limit.
    Limit {
        /// Whose.
        destination: DestinationId,
        /// On what; `None`: on everything.
        category: Option<Category>,
        /// Until when.
        until: Instant,
        /// Whom the server limits.
        scope: Scope,
    },
    /// A loss that a destination is still to be told of.
    Loss {
        /// Whom.
        destination: DestinationId,
        /// What was lost.
        category: Category,
        /// Why.
        reason: DropReason,
        /// How much.
        quantity: u64,
    },
    /// A record that waits or is in flight.
    Record {
        /// Its header.
        header: Header,
        /// When it was recorded: its age goes on.
        recorded_at: Instant,
        /// Categories whose items were dropped from it already.
        removed: CategorySet,
        /// What is delivered.
        payload: P,
    },
}

/// Why a piece was not taken over. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeOverError {
    /// The record is dropped, counted for this reason.
    Dropped(DropReason),
    /// The destination's place is taken, or is beyond the table.
    NoPlace,
    /// A setting of the destination is out of range.
    Config(ConfigError),
    /// The piece names a destination that is not open.
    UnknownDestination,
}

impl core::fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Dropped(reason) => write!(f, "the record is dropped as {}", reason.as_str()),
            Self::NoPlace => f.write_str("the destination's place in the table is taken or does not exist"),
            Self::Config(error) => error.fmt(f),
            Self::UnknownDestination => f.write_str("the destination is not open"),
        }
    }
}

impl core::error::Error for TakeOverError {}

/// How far [`Engine::next_piece`] has come. Means something for one engine, as long as that engine does not change.
#[derive(Clone, Copy, Default, Debug)]
pub struct Walk {
    stage: Stage,
    /// Position in the table of the stage; for lists, the number of the list.
    at: usize,
    /// Position within an entry of that table.
    within: usize,
    /// The record that comes next, once the walk is inside a list.
    record: Option<RecordRef>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Stage {
    #[default]
    Whole,
    Sums,
    Dropped,
    Destinations,
    Limits,
    Losses,
    Records,
    Done,
}

impl Walk {
    fn enter(&mut self, stage: Stage) {
        *self = Self {
            stage,
            ..Self::default()
        };
    }
}

impl<S: Storage> Engine<S> {
    /// The next piece of the engine's state; `None` at the end. Records that are in flight come before those that wait.
    ///
    /// Work: constant for most pieces; between two lists of records, one step for each that is empty.
    #[must_use]
    pub fn next_piece<'a>(&'a self, walk: &mut Walk) -> Option<Piece<Chunks<'a>>> {
        let view = self.storage.view();
        loop {
            let (piece, next) = match walk.stage {
                Stage::Whole => {
                    walk.enter(Stage::Sums);
                    return Some(self.whole(view));
                }
                Stage::Sums => (self.next_sums(walk), Stage::Dropped),
                Stage::Dropped => (self.next_dropped(walk), Stage::Destinations),
                Stage::Destinations => (next_destination(view, walk), Stage::Limits),
                Stage::Limits => (next_limit(view, walk), Stage::Losses),
                Stage::Losses => (next_loss(view, walk), Stage::Records),
                Stage::Records => (next_record(view, walk), Stage::Done),
                Stage::Done => return None,
            };
            if piece.is_some() {
                return piece;
            }
            walk.enter(next);
        }
    }

    /// The next record of a walk that is for records alone, as [`next_piece`](Self::next_piece) gives them: for a host that
    /// keeps a copy of what is held. A walk is for one of the two.
    ///
    /// Work: as there.
    #[must_use]
    pub fn next_record<'a>(&'a self, walk: &mut Walk) -> Option<(Header, Chunks<'a>)> {
        match next_record(self.storage.view(), walk)? {
            Piece::Record { header, payload, .. } => Some((header, payload)),
            _ => None,
        }
    }

    fn whole<P>(&self, view: View<'_>) -> Piece<P> {
        let totals = &self.state.totals;
        let generations = view.requests.iter().map(|request| request.generation);
        Piece::Whole {
            counters: self.state.counters,
            unlisted: totals.unlisted(),
            unreported: totals.unreported(),
            request_generation: generations.max().unwrap_or_default(),
        }
    }

    fn next_sums<P>(&self, walk: &mut Walk) -> Option<Piece<P>> {
        loop {
            let category = Category::from_number(walk.at as u8)?;
            walk.at = walk.at.wrapping_add(1);
            let totals = self.state.totals.of(category);
            if totals != CategoryTotals::default() {
                return Some(Piece::Sums { category, totals });
            }
        }
    }

    fn next_dropped<P>(&self, walk: &mut Walk) -> Option<Piece<P>> {
        let reason = self.state.totals.reasons().get(walk.at)?;
        walk.at = walk.at.wrapping_add(1);
        Some(Piece::Dropped(*reason))
    }

    /// Takes over a piece of another engine's state. For a new engine, before anything else is done with it; in the
    /// order in which [`next_piece`](Self::next_piece) gave them. `now` is on the same clock as the other engine's.
    ///
    /// # Errors
    /// The piece does not fit this engine; nothing changed then but the sums, if it was a record.
    pub fn take_over(&mut self, now: Instant, piece: &Piece<&[u8]>) -> Result<(), TakeOverError> {
        self.core(now).take_over(piece)
    }

    /// Ends taking over: what the sums call queued and is not here is dropped as `internal_sdk_error`, what is here and
    /// not in the sums is counted as recorded. Returns the quantity that did not arrive. Work is proportional to the
    /// records held.
    pub fn complete(&mut self, now: Instant) -> u64 {
        let mut held = [0u64; Category::COUNT];
        for (sum, (_, quantity)) in held.iter_mut().zip(self.held()) {
            *sum = quantity;
        }
        let mut missing = 0u64;
        for (category, held) in Category::ALL.iter().copied().zip(held) {
            let core = self.core(now);
            core.state.totals.cover(category, held);
            let lost = core.state.totals.of(category).queued().saturating_sub(held);
            let reason = DropReason::InternalSdkError;
            lose_many(
                core.state,
                core.destinations,
                core.losses,
                None,
                reason,
                category,
                lost,
            );
            missing = missing.saturating_add(lost);
        }
        missing
    }
}

fn next_destination<P>(view: View<'_>, walk: &mut Walk) -> Option<Piece<P>> {
    loop {
        let entry = view.destinations.get(walk.at)?;
        let id = entry.id(walk.at);
        walk.at = walk.at.wrapping_add(1);
        if entry.in_use {
            return Some(Piece::Destination {
                id,
                config: entry.config,
                paused_until: entry.paused_until,
            });
        }
    }
}

fn next_limit<P>(view: View<'_>, walk: &mut Walk) -> Option<Piece<P>> {
    loop {
        let entry = view.destinations.get(walk.at)?;
        let category = Category::from_number(walk.within as u8);
        let limit = match category {
            Some(category) => entry.limits.own_until(category),
            None => entry.limits.all_until(),
        };
        let destination = entry.id(walk.at);
        if category.is_some() {
            walk.within = walk.within.wrapping_add(1);
        } else {
            walk.at = walk.at.wrapping_add(1);
            walk.within = 0;
        }
        if let Some((until, scope)) = limit.filter(|_| entry.in_use) {
            return Some(Piece::Limit {
                destination,
                category,
                until,
                scope,
            });
        }
    }
}

fn next_loss<P>(view: View<'_>, walk: &mut Walk) -> Option<Piece<P>> {
    loop {
        let loss = view.losses.get(walk.at)?;
        walk.at = walk.at.wrapping_add(1);
        let index = usize::from(loss.destination());
        if let Some(entry) = view.destinations.get(index)
            && loss.owed() > 0
        {
            return Some(Piece::Loss {
                destination: entry.id(index),
                category: loss.category(),
                reason: loss.reason(),
                quantity: loss.owed(),
            });
        }
    }
}

fn next_record<'a>(view: View<'a>, walk: &mut Walk) -> Option<Piece<Chunks<'a>>> {
    loop {
        let record = match walk.record {
            Some(record) => record,
            None => loop {
                let list = list_at(view, walk.at)?;
                match list.head() {
                    Some(head) => break head,
                    None => walk.at = walk.at.wrapping_add(1),
                }
            },
        };
        walk.record = queue::next(view.blocks, record);
        if walk.record.is_none() {
            walk.at = walk.at.wrapping_add(1);
        }
        if let Some(header) = queue::header(view.blocks, record) {
            return Some(Piece::Record {
                header,
                recorded_at: queue::recorded_at(view.blocks, record),
                removed: queue::removed(view.blocks, record),
                payload: queue::payload(view.blocks, record),
            });
        }
    }
}

/// The lists of all records, numbered: first those of the requests, then both of each lane of each destination.
pub(super) fn list_at(view: View<'_>, number: usize) -> Option<List> {
    let Some(number) = number.checked_sub(view.requests.len()) else {
        let request = view.requests.get(number)?;
        let used = request.state != SlotState::Free;
        return Some(if used { request.records } else { List::EMPTY });
    };
    let (lane, gathered) = (number / 2, number % 2 == 1);
    let lanes = crate::item::Priority::COUNT;
    let lane = view.destinations.get(lane / lanes)?.lanes.get(lane % lanes)?;
    Some(if gathered { lane.gathered } else { lane.whole })
}

impl Core<'_> {
    fn take_over(&mut self, piece: &Piece<&[u8]>) -> Result<(), TakeOverError> {
        match *piece {
            Piece::Whole {
                counters,
                unlisted,
                unreported,
                request_generation,
            } => {
                self.state.counters = counters;
                self.state.totals.add_unlisted(unlisted, unreported);
                let free = |slot: &&mut RequestSlot| slot.state == SlotState::Free;
                for slot in self.requests.iter_mut().filter(free) {
                    slot.generation = request_generation;
                }
            }
            Piece::Sums { category, totals } => self.state.totals.set(category, totals),
            Piece::Dropped(total) => self.state.totals.set_reason(total),
            Piece::Destination {
                id,
                config,
                paused_until,
            } => {
                config.validate().map_err(TakeOverError::Config)?;
                let taken = self.destinations.get(id.index()).is_none_or(|entry| entry.in_use);
                if taken || id.index() >= MAX_DESTINATIONS {
                    return Err(TakeOverError::NoPlace);
                }
                self.occupy(id.index(), id.generation(), config);
                if let Some(entry) = self.destinations.get_mut(id.index()) {
                    entry.paused_until = paused_until;
                }
            }
            Piece::Limit {
                destination,
                category,
                until,
                scope,
            } => {
                let index = self
                    .index_of(destination)
                    .ok_or(TakeOverError::UnknownDestination)?;
                if let Some(entry) = self.destinations.get_mut(index) {
                    entry.limits.limit(category.map(CategorySet::of), until, scope);
                }
            }
            Piece::Loss {
                destination,
                category,
                reason,
                quantity,
            } => {
                let index = self
                    .index_of(destination)
                    .ok_or(TakeOverError::UnknownDestination)?;
                ledger::owe(
                    self.losses,
                    &mut self.state.totals,
                    index as u8,
                    category,
                    reason,
                    quantity,
                );
                if let Some(entry) = self.destinations.get_mut(index) {
                    entry.owes_since.get_or_insert(self.state.now);
                }
            }
            Piece::Record {
                ref header,
                recorded_at,
                removed,
                payload,
            } => {
                let item = Item {
                    header: *header,
                    payload,
                };
                let removed = if header.is_mixed() {
                    removed.intersection(header.categories)
                } else {
                    CategorySet::EMPTY
                };
                self.take_over_record(&item, recorded_at.min(self.state.now), removed)
                    .map_err(TakeOverError::Dropped)?;
            }
        }
        Ok(())
    }

    /// Like recording, except that it was recorded before: nothing is counted but a drop, and limits do not turn it away
    /// (they apply when it is sent).
    fn take_over_record(
        &mut self,
        item: &Item<'_>,
        recorded_at: Instant,
        removed: CategorySet,
    ) -> Result<(), DropReason> {
        let (header, payload) = (&item.header, item.payload);
        each_count(header, Chunks::of(payload), removed, &mut |count| {
            self.state.totals.cover(count.category, u64::from(count.quantity));
        });
        let Some(index) = self.index_of(header.destination) else {
            return self.refuse(header, payload, removed, DropReason::InternalSdkError);
        };
        let protocol = self.destinations.get(index).map(|entry| entry.config.protocol);
        if !protocol.is_some_and(|protocol| form_fits(protocol, header)) {
            return self.refuse(header, payload, removed, DropReason::Invalid);
        }
        let needed = queue::blocks_for(payload.len());
        if !self.make_room(index, header.priority, needed) {
            return self.refuse_for_room(header, payload, removed, needed);
        }
        self.keep(header, payload, removed, needed, recorded_at)
    }
}
