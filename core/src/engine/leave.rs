//! Records that leave: counted as delivered or dropped, then their memory is given back. The one place where a record
//! ends, so that none ends uncounted.

use super::count::{each_count, each_difference, lose};
use super::{Core, State};
use crate::config::Protocol;
use crate::destination::Destination;
use crate::item::{Category, CategorySet, DropReason, Header};
use crate::ledger::{self, Loss};
use crate::queue::{self, Chunks, RecordRef};
use crate::request::{RequestSlot, SlotState};
use crate::wire::client_report;

impl Core<'_> {
    pub(super) fn deliver(&mut self, index: usize, record: RecordRef, header: &Header) {
        let removed = queue::removed(self.blocks, record);
        let totals = &mut self.state.totals;
        each_count(
            header,
            queue::payload(self.blocks, record),
            removed,
            &mut |count| totals.deliver(count),
        );
        self.release(index, record);
    }

    pub(super) fn deliver_split(
        &mut self,
        index: usize,
        record: RecordRef,
        header: &Header,
        covered: CategorySet,
    ) {
        if !covered.intersects(header.categories) {
            self.deliver(index, record, header);
        } else if !header.is_mixed() {
            self.discard(index, record, header, DropReason::ServerRateLimited);
        } else {
            self.take_out(index, record, header, covered, DropReason::ServerRateLimited);
            self.deliver(index, record, header);
        }
    }

    /// Counts a record (in no list any more) as dropped and releases it.
    pub(super) fn discard(&mut self, index: usize, record: RecordRef, header: &Header, reason: DropReason) {
        let removed = queue::removed(self.blocks, record);
        let blocks = &*self.blocks;
        each_count(header, queue::payload(blocks, record), removed, &mut |count| {
            lose(
                self.state,
                self.destinations,
                self.losses,
                Some(index),
                reason,
                count,
            );
        });
        if header.categories.without(removed).contains(Category::Internal) {
            self.owe_again(index, record);
        }
        self.release(index, record);
    }

    /// Counts the items of these categories in a mixed record as dropped and marks them as removed. Returns all that
    /// is removed by now.
    fn take_out(
        &mut self,
        index: usize,
        record: RecordRef,
        header: &Header,
        categories: CategorySet,
        reason: DropReason,
    ) -> CategorySet {
        let removed = queue::removed(self.blocks, record);
        let more = removed.union(categories.intersection(header.categories));
        let blocks = &*self.blocks;
        each_difference(
            header,
            queue::payload(blocks, record),
            removed,
            more,
            &mut |count| {
                lose(
                    self.state,
                    self.destinations,
                    self.losses,
                    Some(index),
                    reason,
                    count,
                );
            },
        );
        if more.without(removed).contains(Category::Internal) {
            self.owe_again(index, record);
        }
        queue::set_removed(self.blocks, record, more);
        more
    }

    fn owe_again(&mut self, index: usize, record: RecordRef) {
        let chunks = queue::payload(self.blocks, record);
        owe_again(self.state, self.destinations, self.losses, index, chunks);
    }

    /// Gives a record's memory back. It must be counted and in no list.
    pub(super) fn release(&mut self, index: usize, record: RecordRef) {
        let blocks = queue::blocks_of(self.blocks, record);
        self.state.flushes.released(queue::sequence(self.blocks, record));
        self.state.queue.release(self.blocks, record);
        if let Some(destination) = self.destinations.get_mut(index) {
            destination.used_blocks = destination.used_blocks.saturating_sub(blocks);
        }
    }

    /// Frees a place in the table of requests; its records must be elsewhere by now.
    pub(super) fn free_slot(&mut self, slot: usize) {
        let Some(request) = self.requests.get_mut(slot) else {
            return;
        };
        if request.state == SlotState::Parked
            && let Some(destination) = self.destinations.get_mut(usize::from(request.destination))
        {
            destination.parked = destination.parked.saturating_sub(1);
        }
        *request = RequestSlot {
            generation: request.generation,
            ..RequestSlot::EMPTY
        };
    }

    /// Drops the items of a mixed record that live limits cover. False when nothing is left of it (then it still has
    /// to be taken out and released; everything in it is counted already).
    pub(super) fn remove_limited(&mut self, index: usize, record: RecordRef, header: &Header) -> bool {
        let now = self.state.now;
        let limited = self
            .destinations
            .get_mut(index)
            .map_or(CategorySet::EMPTY, |d| d.limits.limited(now));
        let more = self.take_out(index, record, header, limited, DropReason::RatelimitBackoff);
        self.keeps_something(header, queue::payload(self.blocks, record), more)
    }
}

/// Puts back what the client reports inside a lost envelope said, so that the server is told of it by another one.
pub(super) fn owe_again(
    state: &mut State,
    destinations: &mut [Destination],
    losses: &mut [Loss],
    index: usize,
    chunks: Chunks<'_>,
) {
    let Some(destination) = destinations.get_mut(index) else {
        return;
    };
    if destination.config.protocol != Protocol::Sentry || !destination.config.client_reports {
        return;
    }
    client_report::each_in_envelope(chunks, |entry| {
        let (category, reason) = (entry.category, entry.reason);
        ledger::owe(
            losses,
            &mut state.totals,
            index as u8,
            category,
            reason,
            entry.quantity,
        );
    });
    if destination.owes_since.is_none() && ledger::owes(losses, index as u8) {
        destination.owes_since = Some(state.now);
    }
}
