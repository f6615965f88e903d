//! Recording: who is let in, and who has to make room.

use std::collections::BTreeSet;

use surgetank_core::config::{Protocol, WhenFull};
use surgetank_core::item::{Category, CategorySet, DropReason, Form, Item, Outcome, Priority};
use surgetank_core::limits::DOOM_DURATION;

use super::game::{Fate, Fault, Game, Live, Place, Sums, ensure};
use super::op::Kind;
use super::record::{self, Made, blocks_of};

/// What `record` must say.
enum Expected {
    /// Refused, nothing else changes.
    Refused(DropReason),
    /// Accepted, and nothing had to go.
    Queued,
    /// Accepted once others went.
    QueuedAfterEviction,
}

impl Game {
    pub(super) fn record(
        &mut self,
        destination: u8,
        kind: Kind,
        bytes: usize,
        trace: u64,
        priority: Option<Priority>,
    ) -> Result<(), Fault> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let id = self.ids[usize::from(destination) % self.ids.len()];
        let number = self.number + 1;
        let Some(made) = record::make(number, id, kind, bytes, trace, priority, self.taken()) else {
            return Ok(());
        };
        self.number = number;
        let blocks = blocks_of(made.payload.len());
        let new = Live {
            there: vec![true; made.parts.len()],
            at: self.now,
            was_sent: false,
            place: Place::Waiting,
            blocks,
            made,
        };
        let limited = self
            .server(id)
            .filter(|_| self.closing.is_none())
            .map_or(CategorySet::EMPTY, |server| server.limited(self.now));
        let covered = new.covered(limited);
        let maybe_doomed = self.is_doomed(&new);
        let expected = self.expected(&new, &covered);
        let touches = !matches!(
            expected,
            Expected::Refused(DropReason::Closed | DropReason::Invalid)
        ) && self.server(id).is_some();
        let now = self.now;
        if let Some(server) = self.server_mut(id).filter(|_| touches) {
            server.last_used = now;
        }

        let item = Item {
            header: new.made.header,
            payload: &new.made.payload,
        };
        let outcome = self.engine.record(self.instant(), &item);
        let difference = self.difference();
        if self.is_blind() {
            return Ok(());
        }
        let valid = form_fits(self.server(id).map(|server| server.config.protocol), &new.made);
        self.live.insert(number, new.clone());
        let mut recorded = Sums::ZERO;
        for (category, quantity) in new.made.parts.iter().flat_map(|part| &part.counts) {
            recorded.recorded[category.index()] += quantity;
        }
        let fates = self.fates(&difference);
        let victims: BTreeSet<u64> = fates
            .iter()
            .map(|(victim, ..)| *victim)
            .filter(|victim| *victim != number)
            .collect();
        for (victim, _, fate) in fates.iter().filter(|(victim, ..)| *victim != number) {
            ensure!(
                *fate == Fate::Dropped(DropReason::QueueOverflow),
                "record {victim} left as {fate:?} when another was recorded"
            );
        }
        // The new record's own parts: what limits cover goes alone, if the rest of it got as far as that.
        let reason = match outcome {
            Outcome::Queued => None,
            Outcome::Dropped(reason) => Some(reason),
        };
        let split = valid && self.closing.is_none() && reason != Some(DropReason::RatelimitBackoff);
        for (at, covered) in covered.iter().enumerate() {
            let own = fates
                .iter()
                .find(|(other, part, _)| *other == number && *part == at);
            let own = own.map(|(_, _, fate)| *fate);
            let wanted = if *covered && split {
                Some(Fate::Dropped(DropReason::RatelimitBackoff))
            } else {
                reason.map(Fate::Dropped)
            };
            ensure!(
                own == wanted,
                "{outcome:?}: part {at} became {own:?}, not {wanted:?}"
            );
        }
        match expected {
            // Whether the engine remembers that the trace lost a span is its own affair: the memory is small.
            _ if maybe_doomed && reason == Some(DropReason::QueueOverflow) && victims.is_empty() => {}
            Expected::Refused(wanted) => {
                ensure!(
                    reason == Some(wanted),
                    "{outcome:?} instead of a drop as {wanted:?}"
                );
                ensure!(
                    victims.is_empty(),
                    "{victims:?} went although the record was refused"
                );
            }
            Expected::Queued => {
                ensure!(reason.is_none(), "{outcome:?} although there is room");
                ensure!(victims.is_empty(), "{victims:?} went although there was room");
            }
            Expected::QueuedAfterEviction => {
                ensure!(reason.is_none(), "{outcome:?} although others could make room");
                self.check_victims(&new, &victims)?;
            }
        }
        self.doom(&victims);
        self.settle_up(&difference, &fates, recorded)
    }

    fn expected(&mut self, new: &Live, covered: &[bool]) -> Expected {
        let id = new.destination();
        let header = &new.made.header;
        let now = self.instant();
        let Some(server) = self.server(id) else {
            return Expected::Refused(DropReason::QueueOverflow);
        };
        let share = self.share(server.config.share_permille);
        let limited = server.limited(self.now);
        if self.closing.is_some() {
            return Expected::Refused(DropReason::Closed);
        }
        if !form_fits(Some(server.config.protocol), &new.made) {
            return Expected::Refused(DropReason::Invalid);
        }
        // Only of a mixed record a part can go alone.
        let all_covered = covered.iter().all(|covered| *covered);
        if all_covered || (!header.is_mixed() && limited.intersects(header.categories)) {
            return Expected::Refused(DropReason::RatelimitBackoff);
        }
        let refused_from = self.engine.gate(now, id).pressure();
        if refused_from.is_some_and(|from| header.priority >= from) {
            return Expected::Refused(DropReason::QueueOverflow);
        }
        let fits = |used: u64, own: u64| {
            self.free_after(used) >= new.blocks + self.reserve(header.priority) && own + new.blocks <= share
        };
        let (used, own) = (self.used_blocks(None), self.used_blocks(Some(id)));
        if fits(used, own) {
            return Expected::Queued;
        }
        if new.blocks > share {
            return Expected::Refused(DropReason::TooLarge);
        }
        let gives_way = |only: Option<_>| -> u64 {
            let records = self.live.values();
            records
                .filter(|record| only.is_none_or(|id| record.destination() == id))
                .filter(|record| may_go(record, header.priority))
                .map(|record| record.blocks)
                .sum()
        };
        if self.config.when_full == WhenFull::RefuseNewest
            || !fits(used - gives_way(None), own - gives_way(Some(id)))
        {
            return Expected::Refused(DropReason::QueueOverflow);
        }
        Expected::QueuedAfterEviction
    }

    pub(super) fn capacity(&self) -> u64 {
        u64::from(self.engine.fill().capacity_blocks)
    }

    fn free_after(&self, used: u64) -> u64 {
        self.capacity() - used
    }

    pub(super) fn share(&self, permille: u16) -> u64 {
        (self.capacity() * u64::from(permille) / 1000).max(1)
    }

    fn reserve(&self, priority: Priority) -> u64 {
        if priority <= Priority::High {
            0
        } else {
            self.capacity() * u64::from(self.config.reserve_permille) / 1000
        }
    }

    /// Those who went had to, and were the right ones.
    fn check_victims(&self, new: &Live, victims: &BTreeSet<u64>) -> Result<(), Fault> {
        let priority = new.made.header.priority;
        let id = new.destination();
        ensure!(!victims.is_empty(), "nobody went although there was no room");
        let rest = |only: bool| {
            let records = self.live.iter();
            records.filter(move |(number, record)| {
                !victims.contains(number)
                    && record.made.payload != new.made.payload
                    && may_go(record, priority)
                    && (!only || record.destination() == id)
            })
        };
        for number in victims {
            let victim = &self.live[number];
            ensure!(
                !matches!(victim.place, Place::OnWire(_)),
                "record {number} went from under the host's hands"
            );
            let lane = victim.made.header.priority;
            // Spans go with the first of their trace, wherever that one was.
            let older_mate = victims
                .range(..number)
                .any(|other| same_trace(&self.live[other], victim));
            let younger_mate = victims
                .range(number + 1..)
                .any(|other| same_trace(&self.live[other], victim));
            let drawn_along = older_mate || younger_mate;
            ensure!(
                drawn_along || lane >= priority,
                "record {number} is more important than the new one"
            );
            let own = victim.destination() == id;
            if !drawn_along {
                let lower = rest(own).find(|(_, record)| record.made.header.priority > lane);
                ensure!(
                    lower.is_none(),
                    "record {number} went before a less important one: {lower:?}"
                );
                let older = rest(own).find(|(other, record)| {
                    record.made.header.priority == lane
                        && *other < number
                        && !record.was_sent
                        && !victim.was_sent
                });
                ensure!(
                    older.is_none(),
                    "record {number} went before an older one: {older:?}"
                );
            }
            if victim.is_of_trace() {
                let mate = self.live.iter().find(|(other, record)| {
                    !victims.contains(other)
                        && record.place == Place::Waiting
                        && record.made.payload != new.made.payload
                        && same_trace(record, victim)
                });
                ensure!(
                    mate.is_none(),
                    "a trace is kept in part: {number} went, {mate:?} stayed"
                );
            }
        }
        // Not more than needed: somebody's going made the difference.
        let blocks_of = |which: &dyn Fn(&Live) -> bool| -> u64 {
            let victims = victims.iter().map(|number| &self.live[number]);
            victims
                .filter(|victim| which(victim))
                .map(|victim| victim.blocks)
                .sum()
        };
        let server = self.server(id).ok_or("no destination")?;
        let share = self.share(server.config.share_permille);
        // The new record is in the model already, the victims still are.
        let used = self.used_blocks(None) - blocks_of(&|_| true);
        let own = self.used_blocks(Some(id)) - blocks_of(&|victim| victim.destination() == id);
        let needed = victims.iter().any(|number| {
            let victim = &self.live[number];
            let with_it =
                |other: &Live| other.made.payload == victim.made.payload || same_trace(other, victim);
            let back = blocks_of(&with_it);
            let own_back = if victim.destination() == id { back } else { 0 };
            used + back + self.reserve(priority) > self.capacity() || own + own_back > share
        });
        ensure!(needed, "more records went than had to: {victims:?}");
        Ok(())
    }

    /// Notes the traces that lost spans, and that failed requests were taken apart for it.
    fn doom(&mut self, victims: &BTreeSet<u64>) {
        for number in victims {
            let victim = &self.live[number];
            let (place, trace) = (victim.place, victim.made.header.trace.0);
            if victim.is_of_trace() {
                if self.doomed_until < self.now {
                    self.doomed.clear();
                }
                self.doomed.insert(trace);
                self.doomed_until = self.now + DOOM_DURATION.as_micros();
            }
            if let Place::Failed(id) = place {
                self.take_apart(id);
            }
        }
    }
}

/// True when `record` may give way to one of `priority`.
fn may_go(record: &Live, priority: Priority) -> bool {
    record.made.header.priority >= priority && !matches!(record.place, Place::OnWire(_))
}

fn same_trace(a: &Live, b: &Live) -> bool {
    a.is_of_trace()
        && b.is_of_trace()
        && a.made.header.trace == b.made.header.trace
        && a.destination() == b.destination()
}

fn form_fits(protocol: Option<Protocol>, made: &Made) -> bool {
    let header = &made.header;
    match protocol {
        None => false,
        Some(Protocol::Sentry) => match header.form {
            Form::Envelope => true,
            Form::Item => !header.is_mixed(),
            Form::Element => matches!(
                header.count.category,
                Category::LogItem | Category::TraceMetric | Category::Span
            ),
            Form::OtlpRecord | Form::OtlpRequest | Form::OtlpJson => false,
        },
        Some(Protocol::Otlp) => matches!(header.form, Form::OtlpRecord | Form::OtlpRequest | Form::OtlpJson),
    }
}
