//! The way in: refuse what must not be kept, make room for what may, store it in its lane.

use super::Core;
use super::count::{each_count, lose};
use super::gather::Place;
use super::leave::owe_again;
use crate::config::{Protocol, WhenFull};
use crate::destination::is_gathered;
use crate::item::{Category, CategorySet, DropReason, Form, Header, Item, Outcome, Priority};
use crate::limits::{DOOM_DURATION, MAX_TRACE_EVICTIONS};
use crate::queue::{self, Chunks, RecordRef};
use crate::request::SlotState;
use crate::time::Instant;

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
        if header.is_mixed() {
            self.count_mixed(header, item.payload);
        } else {
            let totals = &mut self.state.totals;
            totals.record(header.count);
            if let Some(also) = header.also {
                totals.record(also);
            }
        }
        match self.admit(header, item.payload) {
            Ok(()) => Outcome::Queued,
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    #[inline(never)]
    fn count_mixed(&mut self, header: &Header, payload: &[u8]) {
        let totals = &mut self.state.totals;
        each_count(header, Chunks::of(payload), CategorySet::EMPTY, &mut |count| {
            totals.record(count)
        });
    }

    /// Stores the record, or counts it as dropped. What is rare is done in calls that are not inlined, so that the usual
    /// way pays nothing for it.
    #[inline]
    fn admit(&mut self, header: &Header, payload: &[u8]) -> Result<(), DropReason> {
        let now = self.state.now;
        let index = header.destination.index();
        let Some(destination) = self
            .destinations
            .get_mut(index)
            .filter(|entry| entry.in_use && entry.generation == header.destination.generation())
        else {
            return self.refuse(header, payload, CategorySet::EMPTY, DropReason::QueueOverflow);
        };
        if self.state.closing.is_some() {
            return self.refuse(header, payload, CategorySet::EMPTY, DropReason::Closed);
        }
        if !form_fits(destination.config.protocol, header) {
            return self.refuse(header, payload, CategorySet::EMPTY, DropReason::Invalid);
        }
        destination.last_used = now;
        let limited = destination.limits.limited(now).intersection(header.categories);
        if !limited.is_empty() {
            self.remove_at_entry(header, payload, limited)?;
        }
        // From here on `limited` is what was removed of a mixed record; any other is dropped by now.
        if self.state.watch.refuses(header.priority) || self.is_doomed(header) {
            return self.refuse(header, payload, limited, DropReason::QueueOverflow);
        }
        let needed = queue::blocks_for(payload.len());
        if !self.make_room(index, header.priority, needed) {
            return self.refuse_for_room(header, payload, limited, needed);
        }
        self.keep(header, payload, limited, needed, now)
    }

    /// Stores a record for which there is room at the end of its lane, or counts what is left of it as dropped.
    #[inline]
    pub(super) fn keep(
        &mut self,
        header: &Header,
        payload: &[u8],
        removed: CategorySet,
        needed: u32,
        recorded_at: Instant,
    ) -> Result<(), DropReason> {
        let index = header.destination.index();
        let sequence = self.state.sequence;
        let queue = &mut self.state.queue;
        let Some(record) = queue.store(self.blocks, header, payload, needed, recorded_at, sequence) else {
            return self.refuse(header, payload, removed, DropReason::TooLarge);
        };
        self.state.sequence = sequence.wrapping_add(1);
        if !removed.is_empty() {
            queue::set_removed(self.blocks, record, removed);
        }
        if let Some(destination) = self.destinations.get_mut(index) {
            destination.used_blocks = destination.used_blocks.wrapping_add(needed);
            if let Some(lane) = destination.lane_mut(header.priority) {
                queue::push_back(self.blocks, lane.list_mut(header.form), record);
            }
        }
        if evicts_by_trace(header) {
            self.state.queue.join_trace(self.blocks, record, header.trace);
        }
        Ok(())
    }

    /// Counts the items of a mixed record that limits cover as dropped; a record of which nothing is left, or that is not
    /// mixed, as a whole.
    #[inline(never)]
    fn remove_at_entry(
        &mut self,
        header: &Header,
        payload: &[u8],
        limited: CategorySet,
    ) -> Result<(), DropReason> {
        let chunks = Chunks::of(payload);
        if !header.is_mixed() || !self.keeps_something(header, chunks.clone(), limited) {
            return self.refuse(header, payload, CategorySet::EMPTY, DropReason::RatelimitBackoff);
        }
        let index = header.destination.index();
        self.lose_removed(index, header, chunks, CategorySet::EMPTY, limited);
        Ok(())
    }

    #[cold]
    pub(super) fn refuse_for_room(
        &mut self,
        header: &Header,
        payload: &[u8],
        removed: CategorySet,
        needed: u32,
    ) -> Result<(), DropReason> {
        let reason = if needed > self.share_blocks(header.destination.index()) {
            DropReason::TooLarge
        } else {
            DropReason::QueueOverflow
        };
        self.refuse(header, payload, removed, reason)
    }

    /// Counts what is left of a payload without the items of `removed`, and keeps what the client reports in it say.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse(
        &mut self,
        header: &Header,
        payload: &[u8],
        removed: CategorySet,
        reason: DropReason,
    ) -> Result<(), DropReason> {
        let destination = self.index_of(header.destination);
        each_count(header, Chunks::of(payload), removed, &mut |count| {
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
            let payload = Chunks::of(payload);
            owe_again(self.state, self.destinations, self.losses, index, payload);
        }
        Err(reason)
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
    pub(super) fn make_room(&mut self, index: usize, priority: Priority, needed: u32) -> bool {
        let Some(destination) = self.destinations.get(index) else {
            return false;
        };
        let (used, share) = (destination.used_blocks, destination.share_blocks);
        let reserve = self.reserve(priority);
        (u64::from(self.state.queue.free()) >= u64::from(needed) + u64::from(reserve)
            && u64::from(used) + u64::from(needed) <= u64::from(share))
            || self.evict_for(index, priority, needed)
    }

    #[cold]
    #[inline(never)]
    fn evict_for(&mut self, index: usize, priority: Priority, needed: u32) -> bool {
        let Some(destination) = self.destinations.get(index) else {
            return false;
        };
        let (used, share) = (destination.used_blocks, destination.share_blocks);
        let wanted = needed.saturating_add(self.reserve(priority));
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
        let place = Place {
            index,
            priority,
            gathered,
        };
        let head = place.list(self.destinations).and_then(|list| list.head());
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

    /// True for a span of a trace that lost one.
    #[inline]
    pub(super) fn is_doomed(&self, header: &Header) -> bool {
        self.dooms()
            && evicts_by_trace(header)
            && self
                .state
                .queue
                .is_doomed(self.blocks, header.trace, self.state.doom_round)
    }

    pub(super) fn is_doomed_record(&self, record: RecordRef) -> bool {
        queue::header(self.blocks, record).is_some_and(|header| self.is_doomed(&header))
    }
}

/// `share` permille of `whole`.
pub(super) fn permille(whole: u32, share: u16) -> u32 {
    ((u64::from(whole) * u64::from(share)) / 1000) as u32
}

/// True for spans recorded one by one.
pub(super) const fn is_single_span(header: &Header) -> bool {
    is_gathered(header.form) && matches!(header.count.category, Category::Span)
}

/// True for single spans of a trace: they are kept or dropped with the whole of it.
pub(super) const fn evicts_by_trace(header: &Header) -> bool {
    header.trace.is_some() && is_single_span(header)
}

/// True when a destination of that protocol can send records of that form.
#[inline]
pub(super) fn form_fits(protocol: Protocol, header: &Header) -> bool {
    let category = CategorySet::of(header.count.category);
    match (protocol, header.form) {
        (Protocol::Sentry, Form::Envelope) => true,
        // Only an envelope can say what is in it.
        _ if header.is_mixed() => false,
        (Protocol::Sentry, Form::Element) => CONTAINED.intersects(category),
        (Protocol::Sentry, form) => form == Form::Item,
        (Protocol::Otlp, form) => matches!(form, Form::OtlpRecord | Form::OtlpRequest | Form::OtlpJson),
    }
}

/// What Sentry takes in containers.
const CONTAINED: CategorySet = CategorySet::of(Category::LogItem)
    .with(Category::Span)
    .with(Category::TraceMetric);
