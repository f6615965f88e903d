//! Which destination and which lane may send next.
//!
//! Destinations take turns. Within one, lanes take turns by weight 5:4:3:2:1 (a lane with nothing to send gives its
//! turns away). A destination sends when its breaker lets it, its pause is over, and fewer requests are in flight than
//! its adaptive limit; requests that wait for another attempt go before new ones.

use super::Core;
use super::gather::{Place, shape_of};
use super::watch::earlier;
use crate::breaker::Permit;
use crate::destination::{Destination, Lane};
use crate::item::{Category, Priority};
use crate::ledger;
use crate::notice::{Deadline, DeadlineReason};
use crate::queue;
use crate::request::{RequestKind, RequestSlot, SlotState};
use crate::time::Instant;

/// Which of a lane's two lists may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    Whole,
    Gathered,
}

impl Core<'_> {
    /// Starts the next request that may go now; returns its place in the table. Bound: one walk over the
    /// destinations, and [`MAX_GATHER_SCAN`](crate::limits::MAX_GATHER_SCAN) records per lane looked into.
    pub(super) fn next_request(&mut self) -> Option<usize> {
        let count = self.destinations.len();
        for step in 0..count {
            let index = self.state.cursor.saturating_add(step);
            let index = if index >= count {
                index.saturating_sub(count)
            } else {
                index
            };
            if let Some(slot) = self.next_of(index) {
                let next = index.saturating_add(1);
                self.state.cursor = if next >= count { 0 } else { next };
                return Some(slot);
            }
        }
        None
    }

    fn next_of(&mut self, index: usize) -> Option<usize> {
        let now = self.state.now;
        let destination = self.destinations.get(index)?;
        if !destination.in_use
            || (destination.parked == 0 && destination.owes_since.is_none() && !destination.has_waiting())
            || now < destination.paused_until
            || destination.on_wire >= u32::from(destination.concurrency.limit())
        {
            return None;
        }
        let parked = self.parked_of(index);
        if parked.is_none() && !self.has_ready(index) && !self.report_is_due(index) {
            return None;
        }
        let free = if parked.is_some() { None } else { self.free_place() };
        if parked.is_none() && free.is_none() {
            return None;
        }
        let permit = self.destinations.get_mut(index)?.breaker.allow(now);
        if !permit.is_granted() {
            return None;
        }
        let sent = parked
            .and_then(|slot| self.resend(index, slot, permit))
            .or_else(|| free.and_then(|slot| self.send_new(index, slot, permit)));
        if sent.is_none()
            && let Some(destination) = self.destinations.get_mut(index)
        {
            // All that was ready had to be dropped: the probe, if it was one, is still to be made.
            destination.breaker.give_back(permit);
        }
        sent
    }

    /// A free place in the table of requests. When none is left, a parked request gives up its own: those that wait must
    /// not keep those that could go from being served.
    fn free_place(&mut self) -> Option<usize> {
        let place = |state| self.requests.iter().position(|slot| slot.state == state);
        if let Some(free) = place(SlotState::Free) {
            return Some(free);
        }
        let parked = place(SlotState::Parked)?;
        self.put_back(parked);
        Some(parked)
    }

    fn parked_of(&self, index: usize) -> Option<usize> {
        if self.destinations.get(index)?.parked == 0 {
            return None;
        }
        let mut best: Option<(Priority, Instant, usize)> = None;
        for (at, slot) in self.requests.iter().enumerate() {
            if slot.state == SlotState::Parked && usize::from(slot.destination) == index {
                let key = (slot.priority, slot.sent_at, at);
                if best.is_none_or(|best| key < best) {
                    best = Some(key);
                }
            }
        }
        best.map(|(_, _, at)| at)
    }

    /// Sends a parked request again, less what must not go any more. `None` when nothing of it is left.
    fn resend(&mut self, index: usize, slot: usize, permit: Permit) -> Option<usize> {
        self.prune(index, slot);
        if self.requests.get(slot)?.records.is_empty() {
            self.free_slot(slot);
            return None;
        }
        let destination = self.destinations.get_mut(index)?;
        destination.parked = destination.parked.saturating_sub(1);
        self.start(index, slot, permit);
        Some(slot)
    }

    fn send_new(&mut self, index: usize, slot: usize, permit: Permit) -> Option<usize> {
        let mut empty = 0u32;
        while let Some((priority, ready)) = self.pick_lane(index) {
            let place = Place {
                index,
                priority,
                gathered: ready == Ready::Gathered,
            };
            let Some((kind, records)) = self.gather(place) else {
                // Everything ready in it was dropped, or the scan bound was met; look again, but not for ever.
                empty = empty.saturating_add(1);
                if empty > Priority::COUNT as u32 {
                    return None;
                }
                continue;
            };
            let request = self.requests.get_mut(slot)?;
            *request = RequestSlot {
                generation: request.generation,
                destination: index as u8,
                kind,
                priority,
                records,
                ..RequestSlot::EMPTY
            };
            self.start(index, slot, permit);
            return Some(slot);
        }
        if self.report_is_due(index) {
            let request = self.requests.get_mut(slot)?;
            *request = RequestSlot {
                generation: request.generation,
                destination: index as u8,
                kind: RequestKind::Report,
                ..RequestSlot::EMPTY
            };
            self.start(index, slot, permit);
            return Some(slot);
        }
        None
    }

    fn start(&mut self, index: usize, slot: usize, permit: Permit) {
        let now = self.state.now;
        let (Some(request), Some(destination)) =
            (self.requests.get_mut(slot), self.destinations.get_mut(index))
        else {
            return;
        };
        request.state = SlotState::OnWire;
        request.generation = request.generation.wrapping_add(1);
        request.attempt = request.attempt.saturating_add(1);
        request.sent_at = now;
        request.deadline = now
            .saturating_add(destination.config.timeout)
            .saturating_add(self.state.config.stall_grace);
        request.permit = permit;
        self.state.none_overdue_before = if self.state.on_wire == 0 {
            request.deadline
        } else {
            self.state.none_overdue_before.min(request.deadline)
        };
        self.state.on_wire = self.state.on_wire.saturating_add(1);
        destination.on_wire = destination.on_wire.saturating_add(1);
        destination.wire_blocks = destination.wire_blocks.saturating_add(request.records.blocks());
        destination.last_used = now;
        destination.concurrency.on_sent(destination.on_wire);
        let sentry = request.kind.signal().is_none();
        if sentry
            && destination.owes_since.is_some()
            && !destination.report_out
            && destination.config.client_reports
        {
            request.report = ledger::take(self.losses, request.destination) > 0;
            destination.report_out = request.report;
            let left = ledger::owes(self.losses, request.destination);
            destination.owes_since = if left { Some(now) } else { None };
        }
    }

    /// The lane whose turn it is among those that have something ready.
    fn pick_lane(&mut self, index: usize) -> Option<(Priority, Ready)> {
        let mut fallback = None;
        for priority in Priority::ALL {
            let Some(ready) = self.ready(index, priority) else {
                continue;
            };
            let lane = self.destinations.get_mut(index)?.lane_mut(priority)?;
            if lane.turns > 0 {
                lane.turns = lane.turns.saturating_sub(1);
                return Some((priority, ready));
            }
            if fallback.is_none() {
                fallback = Some((priority, ready));
            }
        }
        let (priority, ready) = fallback?;
        for (lane, refilled) in self
            .destinations
            .get_mut(index)?
            .lanes
            .iter_mut()
            .zip(Priority::ALL)
        {
            lane.turns = refilled.weight();
        }
        let lane = self.destinations.get_mut(index)?.lane_mut(priority)?;
        lane.turns = lane.turns.saturating_sub(1);
        Some((priority, ready))
    }

    fn has_ready(&self, index: usize) -> bool {
        Priority::ALL
            .into_iter()
            .any(|priority| self.ready(index, priority).is_some())
    }

    fn ready(&self, index: usize, priority: Priority) -> Option<Ready> {
        let (due, ready) = self.lane_due(index, priority)?;
        (due <= self.state.now).then_some(ready)
    }

    /// When a lane has something to send, and from which of its lists. `None`: nothing is in it, or its turn comes only
    /// after an answer.
    #[inline]
    fn lane_due(&self, index: usize, priority: Priority) -> Option<(Instant, Ready)> {
        let destination = self.destinations.get(index)?;
        let lane = destination.lanes.get(priority.index())?;
        // Most lanes are empty at most times, so that is told without a call.
        if lane.is_empty() {
            return None;
        }
        self.filled_lane_due(destination, lane, priority)
    }

    #[inline(never)]
    fn filled_lane_due(
        &self,
        destination: &Destination,
        lane: &Lane,
        priority: Priority,
    ) -> Option<(Instant, Ready)> {
        if priority > Priority::High && destination.wire_blocks > destination.share_blocks / 2 {
            // What is in flight cannot give way, so bulk may have half the memory there and no more: the rest stays
            // where errors can push it out.
            return None;
        }
        if !lane.whole.is_empty() {
            return Some((Instant::ORIGIN, Ready::Whole));
        }
        Some((self.gathered_due(destination, lane)?, Ready::Gathered))
    }

    /// When the records of a lane that wait for company go at the latest; at once when enough are there.
    fn gathered_due(&self, destination: &Destination, lane: &Lane) -> Option<Instant> {
        let list = lane.gathered;
        let head = list.head()?;
        let batch = destination.config.batch;
        let enough = match queue::header(self.blocks, head) {
            Some(header) => shape_of(&destination.config, &header).max_records,
            None => 1,
        };
        let at_once = list.records() >= enough
            || list.bytes() >= batch.max_bytes
            || self.state.flushes.covers(queue::sequence(self.blocks, head))
            || self.state.closing.is_some()
            || self.is_crowded();
        if at_once {
            return Some(Instant::ORIGIN);
        }
        Some(queue::recorded_at(self.blocks, head).saturating_add(batch.max_delay))
    }

    /// True when half the memory is in use, so that nothing should wait for company: a small queue would otherwise look
    /// overloaded (and downsample) for no other reason than that its records wait for each other.
    fn is_crowded(&self) -> bool {
        self.state.queue.used() > self.state.queue.capacity() / 2
    }

    /// When the destination's report goes alone, if it owes one and none is out.
    pub(super) fn report_due_at(&self, index: usize) -> Option<Instant> {
        let destination = self.destinations.get(index)?;
        if destination.report_out || !destination.config.client_reports {
            return None;
        }
        let since = destination.owes_since?;
        let due = if self.state.closing.is_some() || self.state.flush_reports > self.state.now {
            Instant::ORIGIN
        } else {
            since.saturating_add(self.state.config.report_delay)
        };
        // Of all limits only one on everything covers reports.
        let limited = destination.limits.until(Category::Internal);
        Some(limited.map_or(due, |(until, _)| due.max(until)))
    }

    fn report_is_due(&self, index: usize) -> bool {
        self.report_due_at(index).is_some_and(|due| due <= self.state.now)
    }

    /// When something will be there to do, if no input comes before. Bound: one walk over destinations and requests.
    pub(super) fn next_deadline(&self) -> Option<Deadline> {
        let all_on_wire = self.state.on_wire >= self.requests.len();
        let mut next: Option<Deadline> = None;
        let mut offer = |at: Option<Instant>, reason: DeadlineReason| {
            if let Some(at) = at
                && next.is_none_or(|next| at < next.at)
            {
                next = Some(Deadline { at, reason });
            }
        };
        if self.state.on_wire > 0 {
            let on_wire = |slot: &&RequestSlot| slot.state == SlotState::OnWire;
            for slot in self.requests.iter().filter(on_wire) {
                offer(Some(slot.deadline), DeadlineReason::RequestOverdue);
            }
        }
        for (index, destination) in self.destinations.iter().enumerate() {
            if !destination.in_use {
                continue;
            }
            offer(
                destination.limits.next_expiry(self.state.now),
                DeadlineReason::LimitEnds,
            );
            if all_on_wire || destination.on_wire >= u32::from(destination.concurrency.limit()) {
                continue;
            }
            let mut due = if destination.parked > 0 {
                Some(Instant::ORIGIN)
            } else {
                None
            };
            for priority in Priority::ALL {
                due = earlier(due, self.lane_due(index, priority).map(|(at, _)| at));
            }
            let due_reason = DeadlineReason::BatchDue;
            let report = self.report_due_at(index);
            if let Some(at) = earlier(due, report) {
                let reason = if due.is_some() {
                    due_reason
                } else {
                    DeadlineReason::ReportDue
                };
                let open_until = destination.breaker.open_until();
                if open_until.is_some_and(|until| until > at && until >= destination.paused_until) {
                    offer(open_until, DeadlineReason::BreakerProbe);
                } else if destination.paused_until > at {
                    offer(Some(destination.paused_until), DeadlineReason::BackoffEnds);
                } else if !destination.breaker.awaits_probe() {
                    offer(Some(at), reason);
                }
            }
        }
        offer(self.state.closing, DeadlineReason::CloseEnds);
        offer(self.next_tick(), DeadlineReason::Tick);
        next
    }
}
