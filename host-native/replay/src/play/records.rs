//! The producers of a scenario.

use surgetank_core::gate::GateState;
use surgetank_core::item::{Category, CategorySet, DropReason, Outcome};
use surgetank_core::time::Duration;

use super::Player;
use crate::Fault;
use crate::call::{Call, Reply};
use crate::payload::{self, Made};
use crate::script::Recording;
use crate::trace;

impl Player<'_, '_> {
    pub(super) fn record(&mut self, recording: &Recording) -> Result<(), Fault> {
        let paced = recording.every > Duration::ZERO;
        for time in 0..recording.times {
            if paced && time > 0 {
                self.pass_to(self.now.saturating_add(recording.every))?;
            }
            self.records += 1;
            let protocol = self.script.destinations[recording.destination].config.protocol;
            let id = self.servers[recording.destination].id;
            let made = match payload::make(recording, &self.script.payloads, id, protocol, self.records) {
                Ok(made) => made,
                Err(wrong) => return self.fault(wrong, "record something else"),
            };
            self.offer(recording, &made)?;
            if paced {
                self.poll_until_quiet()?;
            }
        }
        Ok(())
    }

    fn offer(&mut self, recording: &Recording, made: &Made) -> Result<(), Fault> {
        let text = trace::record(&self.script.destinations, &made.header, made.payload.len());
        let gate = self.servers[recording.destination].gate.unwrap_or_default();
        if recording.gated
            && let Err(reason) = passes(gate, made)
        {
            for count in payload::counts(made) {
                let destination = Some(made.header.destination);
                self.lose(destination, count.category, reason, u64::from(count.quantity))?;
            }
            return self.happened(&format!("{text} = refused at the gate as {}", reason.as_str()));
        }
        let call = Call::Record {
            header: made.header,
            payload: &made.payload,
        };
        let outcome = match self.call(&call)? {
            Reply::Recorded(Outcome::Queued) => "queued".to_owned(),
            Reply::Recorded(Outcome::Dropped(reason)) => format!("dropped as {}", reason.as_str()),
            other => return self.misfit(&other),
        };
        self.happened(&format!("{text} = {outcome}"))
    }
}

/// What a producer does before it encodes anything: it asks the gate.
fn passes(gate: GateState, made: &Made) -> Result<(), DropReason> {
    let header = &made.header;
    let categories = if header.is_mixed() {
        header.categories
    } else {
        CategorySet::of(header.count.category)
    };
    gate.admits(categories, header.priority)?;
    // Roots of traces only; transactions are.
    if header.count.category == Category::Transaction && !gate.keeps_trace(header.trace) {
        return Err(DropReason::Backpressure);
    }
    Ok(())
}
