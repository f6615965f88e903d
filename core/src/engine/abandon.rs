//! The end: what is left at the deadline of `close` is dropped and counted, never silently.

use super::{Core, Step};
use crate::item::{DropReason, Priority};
use crate::ledger;
use crate::notice::Notice;
use crate::queue::{self, List};
use crate::request::SlotState;

impl Core<'_> {
    /// Drops every record that is queued or in flight. Answers that still come are stale. Work is proportional to
    /// what is left.
    pub(super) fn abandon(&mut self) -> Step {
        let mut left = 0u32;
        for slot in 0..self.requests.len() {
            left = left.saturating_add(self.give_up(slot));
        }
        for index in 0..self.destinations.len() {
            for priority in Priority::ALL {
                left = left.saturating_add(self.empty_lane(index, priority, false));
                left = left.saturating_add(self.empty_lane(index, priority, true));
            }
            if let Some(destination) = self.destinations.get_mut(index) {
                destination.owes_since = None;
            }
        }
        if left > 0 {
            Step::Notice(Notice::Left { records: left })
        } else {
            Step::Closed
        }
    }

    /// Drops the records of a request and frees its place.
    fn give_up(&mut self, slot: usize) -> u32 {
        let Some(request) = self.requests.get_mut(slot) else {
            return 0;
        };
        if request.state == SlotState::Free {
            return 0;
        }
        let index = usize::from(request.destination);
        let (on_wire, report) = (request.state == SlotState::OnWire, request.report);
        let records = core::mem::replace(&mut request.records, List::EMPTY);
        if let Some(destination) = self.destinations.get_mut(index)
            && on_wire
        {
            self.state.on_wire = self.state.on_wire.saturating_sub(1);
            destination.on_wire = destination.on_wire.saturating_sub(1);
            destination.wire_blocks = destination.wire_blocks.saturating_sub(records.blocks());
            destination.report_out &= !report;
        }
        if report {
            ledger::settle(self.losses, index as u8, false);
        }
        self.free_slot(slot);
        self.discard_all(index, records)
    }

    fn empty_lane(&mut self, index: usize, priority: Priority, gathered: bool) -> u32 {
        let lane = self
            .destinations
            .get_mut(index)
            .and_then(|destination| destination.lane_mut(priority));
        let Some(lane) = lane else { return 0 };
        let list = if gathered {
            &mut lane.gathered
        } else {
            &mut lane.whole
        };
        let records = core::mem::replace(list, List::EMPTY);
        self.discard_all(index, records)
    }

    fn discard_all(&mut self, index: usize, records: List) -> u32 {
        let mut at = records.head();
        for _ in 0..records.records() {
            let Some(record) = at else { break };
            at = queue::next(self.blocks, record);
            let Some(header) = queue::header(self.blocks, record) else {
                break;
            };
            self.discard(index, record, &header, DropReason::Closed);
        }
        records.records()
    }
}
