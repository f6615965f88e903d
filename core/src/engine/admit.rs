//! The way in: refuse what must not be kept, make room for what may, store it in its lane.

use super::leave::owe_again;
use super::{Core, each_count, lose};
use crate::config::{Protocol, WhenFull};
use crate::destination::is_gathered;
use crate::item::{Category, CategorySet, DropReason, Form, Header, Item, Outcome, Priority};
use crate::limits::{DOOM_DURATION, MAX_TRACE_EVICTIONS};
use crate::queue::{self, RecordRef};
use crate::request::SlotState;

/// A record that can give way.
enum Victim {
    /// Waits in a lane of this destination.
    Waiting { destination: usize, gathered: bool },
    /// First record of this parked request.
    Parked { slot: usize },
}

impl Core<'_> {
    pub(super) fn record(&mut self, item: &Item<'_>) -> Outcome {
        let header = &item.header;
        let totals = &mut self.state.totals;
        each_count(
            header,
            core::iter::once(item.payload),
            CategorySet::EMPTY,
            |count| totals.record(count),
        );
        match self.admit(header, item.payload) {
            Ok(()) => Outcome::Queued,
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// Stores the record, or counts it as dropped.
    fn admit(&mut self, header: &Header, payload: &[u8]) -> Result<(), DropReason> {
        let now = self.state.now;
        let index = header.destination.index();
        let Some(destination) = self.destinations.get_mut(index) else {
            return Err(self.refuse(None, header, payload, DropReason::QueueOverflow));
        };
        if !destination.in_use || destination.generation != header.destination.generation() {
            return Err(self.refuse(None, header, payload, DropReason::QueueOverflow));
        }
        if self.state.closing.is_some() {
            return Err(self.refuse(Some(index), header, payload, DropReason::Closed));
        }
        if !form_fits(destination.config.protocol, header) {
            return Err(self.refuse(Some(index), header, payload, DropReason::Invalid));
        }
        destination.last_used = now;
        let limited = destination.limits.limited(now);
        let mut removed = CategorySet::EMPTY;
        if limited.intersects(header.categories) {
            if !header.is_mixed() {
                return Err(self.refuse(Some(index), header, payload, DropReason::RatelimitBackoff));
            }
            removed = limited.intersection(header.categories);
            if !self.keeps_something(header, core::iter::once(payload), removed) {
                return Err(self.refuse(Some(index), header, payload, DropReason::RatelimitBackoff));
            }
            self.lose_removed(
                index,
                header,
                core::iter::once(payload),
                CategorySet::EMPTY,
                removed,
            );
        }
        if self.state.watch.refuses(header.priority) {
            return Err(self.refuse_rest(Some(index), header, payload, removed, DropReason::QueueOverflow));
        }
        let by_trace = evicts_by_trace(header);
        if by_trace && self.is_doomed(header) {
            return Err(self.refuse_rest(Some(index), header, payload, removed, DropReason::QueueOverflow));
        }
        let needed = queue::blocks_for(payload.len());
        if !self.make_room(index, header.priority, needed) {
            let reason = if needed > self.share_blocks(index) {
                DropReason::TooLarge
            } else {
                DropReason::QueueOverflow
            };
            return Err(self.refuse_rest(Some(index), header, payload, removed, reason));
        }
        let sequence = self.state.sequence;
        let Some(record) = self
            .state
            .queue
            .store(self.blocks, header, payload, now, sequence)
        else {
            return Err(self.refuse_rest(Some(index), header, payload, removed, DropReason::TooLarge));
        };
        self.state.sequence = sequence.wrapping_add(1);
        if !removed.is_empty() {
            queue::set_removed(self.blocks, record, removed);
        }
        if let Some(destination) = self.destinations.get_mut(index) {
            destination.used_blocks = destination.used_blocks.saturating_add(needed);
            if let Some(lane) = destination.lane_mut(header.priority) {
                queue::push_back(self.blocks, lane.list_mut(header.form), record);
            }
        }
        if by_trace {
            self.state.queue.join_trace(self.blocks, record, header.trace);
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        destination: Option<usize>,
        header: &Header,
        payload: &[u8],
        reason: DropReason,
    ) -> DropReason {
        self.refuse_rest(destination, header, payload, CategorySet::EMPTY, reason)
    }

    /// Counts what is left of a payload without the items of `removed`, and keeps what the client reports in it say.
    fn refuse_rest(
        &mut self,
        destination: Option<usize>,
        header: &Header,
        payload: &[u8],
        removed: CategorySet,
        reason: DropReason,
    ) -> DropReason {
        each_count(header, core::iter::once(payload), removed, |count| {
            lose(
                self.state,
                self.destinations,
                self.losses,
                destination,
                reason,
                count,
            );
        });
        if let Some(index) = destination
            && header.categories.contains(Category::Internal)
        {
            let payload = core::iter::once(payload);
            owe_again(self.state, self.destinations, self.losses, index, payload);
        }
        reason
    }

    // ---- room ------------------------------------------------------------------------------------------------------

    /// Most blocks that `index` may fill.
    fn share_blocks(&self, index: usize) -> u32 {
        self.destinations
            .get(index)
            .map_or(0, |destination| destination.share_blocks)
    }

    /// Blocks that must stay free of records of `priority`.
    const fn reserve(&self, priority: Priority) -> u32 {
        match priority {
            Priority::Critical | Priority::High => 0,
            Priority::Medium | Priority::Low | Priority::Lowest => self.state.reserve_blocks,
        }
    }

    /// Frees blocks until `needed` fit, oldest of the lowest lane first, up to `priority` itself. False when that
    /// cannot succeed; nothing was evicted then.
    #[inline]
    fn make_room(&mut self, index: usize, priority: Priority, needed: u32) -> bool {
        let Some(destination) = self.destinations.get(index) else {
            return false;
        };
        let (used, share) = (destination.used_blocks, destination.share_blocks);
        let wanted = needed.saturating_add(self.reserve(priority));
        (self.state.queue.free() >= wanted && used.saturating_add(needed) <= share)
            || self.evict_for(index, priority, needed, wanted, used, share)
    }

    fn evict_for(
        &mut self,
        index: usize,
        priority: Priority,
        needed: u32,
        wanted: u32,
        used: u32,
        share: u32,
    ) -> bool {
        if self.state.config.when_full == WhenFull::RefuseNewest || needed > share {
            return false;
        }
        let own = self.evictable(Some(index), priority);
        let free = self.state.queue.free();
        if used.saturating_sub(own).saturating_add(needed) > share
            || free.saturating_add(self.evictable(None, priority)) < wanted
        {
            return false;
        }
        // Over its own share a destination makes room from its own records; else the whole queue does.
        while self
            .destinations
            .get(index)
            .is_some_and(|d| d.used_blocks.saturating_add(needed) > share)
        {
            if !self.evict_oldest(Some(index), priority) {
                return false;
            }
        }
        while self.state.queue.free() < wanted {
            if !self.evict_oldest(None, priority) {
                return false;
            }
        }
        true
    }

    /// Blocks of records that may give way to one of `priority`: waiting or parked, of the same lane or a lower one.
    fn evictable(&self, only: Option<usize>, priority: Priority) -> u32 {
        let mut blocks = 0u32;
        for (index, destination) in self.destinations.iter().enumerate() {
            if only.is_none_or(|only| only == index) {
                for lane in destination.lanes.iter().skip(priority.index()) {
                    blocks = blocks.saturating_add(lane.blocks());
                }
            }
        }
        for slot in self.requests.iter() {
            let concerned = only.is_none_or(|only| only == usize::from(slot.destination));
            if slot.state == SlotState::Parked && slot.priority >= priority && concerned {
                blocks = blocks.saturating_add(slot.records.blocks());
            }
        }
        blocks
    }

    /// Drops the oldest record of the lowest lane, with the rest of its trace if it is a span. A parked request that
    /// holds it is taken apart first, its records back into their lane. False when there is nothing to drop.
    ///
    /// Bound: one walk over destinations and requests; at most [`MAX_TRACE_EVICTIONS`] records.
    fn evict_oldest(&mut self, only: Option<usize>, priority: Priority) -> bool {
        for lowest in Priority::ALL
            .into_iter()
            .rev()
            .take_while(|lowest| *lowest >= priority)
        {
            match self.oldest(only, lowest) {
                Some(Victim::Parked { slot }) => {
                    self.put_back(slot);
                    return true;
                }
                Some(Victim::Waiting {
                    destination,
                    gathered,
                }) => {
                    return self.evict_head(destination, lowest, gathered);
                }
                None => {}
            }
        }
        false
    }

    fn oldest(&self, only: Option<usize>, priority: Priority) -> Option<Victim> {
        let mut best: Option<(u64, Victim)> = None;
        let mut offer = |head: Option<RecordRef>, victim: Victim| {
            if let Some(record) = head {
                let sequence = queue::sequence(self.blocks, record);
                if best.as_ref().is_none_or(|(oldest, _)| sequence < *oldest) {
                    best = Some((sequence, victim));
                }
            }
        };
        for (index, destination) in self.destinations.iter().enumerate() {
            if only.is_none_or(|only| only == index)
                && let Some(lane) = destination.lanes.get(priority.index())
            {
                offer(
                    lane.whole.head(),
                    Victim::Waiting {
                        destination: index,
                        gathered: false,
                    },
                );
                offer(
                    lane.gathered.head(),
                    Victim::Waiting {
                        destination: index,
                        gathered: true,
                    },
                );
            }
        }
        for (slot, request) in self.requests.iter().enumerate() {
            let concerned = only.is_none_or(|only| only == usize::from(request.destination));
            if request.state == SlotState::Parked && request.priority == priority && concerned {
                offer(request.records.head(), Victim::Parked { slot });
            }
        }
        best.map(|(_, victim)| victim)
    }

    /// Evicts the first record of a lane's list and, for a span, what else waits of its trace.
    fn evict_head(&mut self, index: usize, priority: Priority, gathered: bool) -> bool {
        let head = self
            .destinations
            .get(index)
            .and_then(|destination| destination.lanes.get(priority.index()));
        let head = head.and_then(|lane| {
            if gathered {
                lane.gathered.head()
            } else {
                lane.whole.head()
            }
        });
        let Some((record, header)) =
            head.and_then(|record| Some((record, queue::header(self.blocks, record)?)))
        else {
            return false;
        };
        self.evict(index, record, &header);
        if evicts_by_trace(&header) {
            self.doom(&header);
            let mut member = self.state.queue.trace_member(self.blocks, header.trace, None);
            for _ in 0..MAX_TRACE_EVICTIONS {
                let Some(record) = member else { break };
                member = self
                    .state
                    .queue
                    .trace_member(self.blocks, header.trace, Some(record));
                if let Some(other) = queue::header(self.blocks, record)
                    && other.destination == header.destination
                {
                    self.evict(index, record, &other);
                }
            }
        }
        true
    }

    /// Drops a record that waits in a lane.
    pub(super) fn evict(&mut self, index: usize, record: RecordRef, header: &Header) {
        if let Some(lane) = self
            .destinations
            .get_mut(index)
            .and_then(|d| d.lane_mut(header.priority))
        {
            queue::remove(self.blocks, lane.list_mut(header.form), record);
        }
        self.discard(index, record, header, DropReason::QueueOverflow);
    }

    // ---- traces that lost a span -----------------------------------------------------------------------------------

    fn doom(&mut self, header: &Header) {
        if self.state.doomed_until.is_none_or(|until| until < self.state.now) {
            // A new round: what was doomed in earlier ones is forgotten by no longer matching.
            self.state.doom_round = self.state.doom_round.wrapping_add(1);
        }
        self.state.doomed_until = Some(self.state.now.saturating_add(DOOM_DURATION));
        self.state
            .queue
            .doom(self.blocks, header.trace, self.state.doom_round);
    }

    /// True while evictions of spans are remembered.
    pub(super) fn dooms(&self) -> bool {
        self.state
            .doomed_until
            .is_some_and(|until| until >= self.state.now)
    }

    pub(super) fn is_doomed(&self, header: &Header) -> bool {
        self.dooms()
            && self
                .state
                .queue
                .is_doomed(self.blocks, header.trace, self.state.doom_round)
    }

    pub(super) fn is_doomed_record(&self, record: RecordRef) -> bool {
        queue::header(self.blocks, record)
            .is_some_and(|header| evicts_by_trace(&header) && self.is_doomed(&header))
    }
}

/// `share` permille of `whole`.
pub(super) fn permille(whole: u32, share: u16) -> u32 {
    ((u64::from(whole) * u64::from(share)) / 1000) as u32
}

/// True for single spans: they are kept or dropped by whole trace.
pub(super) const fn evicts_by_trace(header: &Header) -> bool {
    header.trace.is_some() && is_gathered(header.form) && matches!(header.count.category, Category::Span)
}

/// True when a destination of that protocol can send records of that form.
fn form_fits(protocol: Protocol, header: &Header) -> bool {
    match (protocol, header.form) {
        // Only an envelope can say what is in it.
        (_, Form::Item | Form::Element | Form::OtlpRecord | Form::OtlpRequest | Form::OtlpJson)
            if header.is_mixed() =>
        {
            false
        }
        (Protocol::Sentry, Form::Envelope | Form::Item) => true,
        (Protocol::Sentry, Form::Element) => {
            matches!(
                header.count.category,
                Category::LogItem | Category::Span | Category::TraceMetric
            )
        }
        (Protocol::Otlp, Form::OtlpRecord | Form::OtlpRequest | Form::OtlpJson) => true,
        _ => false,
    }
}
