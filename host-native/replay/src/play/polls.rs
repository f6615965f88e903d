//! The host's part of the engine's contract: poll until there is nothing to do, then publish the gates.

use surgetank_core::request::RequestId;

use super::{Due, Player, Quiet, Request};
use crate::Fault;
use crate::call::{Call, Reply};
use crate::trace;

/// Polls without time passing after which an engine is taken for one that never goes quiet.
const MAX_POLLS: u32 = 10_000;

impl Player<'_, '_> {
    pub(super) fn poll_until_quiet(&mut self) -> Result<(), Fault> {
        for _ in 0..MAX_POLLS {
            if !self.polls {
                return Ok(());
            }
            self.poll()?;
            let clock = self.clock();
            match self.quiet {
                None => {}
                // A deadline that is over means: poll now.
                Some(Quiet::Idle(Some(deadline))) if deadline.at <= clock => {}
                Some(_) => return Ok(()),
            }
        }
        self.fault("the engine never goes quiet", "this is a bug of the engine")
    }

    /// One poll. What it says is in `quiet` afterwards, if it has nothing to do; that is told only when it is new.
    pub(super) fn poll(&mut self) -> Result<(), Fault> {
        let before = self.quiet;
        match self.call(&Call::Poll)? {
            Reply::Send(sent) => {
                self.quiet = None;
                self.sent.push(Request {
                    id: sent.id,
                    is_open: true,
                });
                let number = self.sent.len();
                self.happened(&trace::sent(&self.script.destinations, number, &sent))?;
                if let Some((answer, after)) = self.servers[sent.destination.index()].behaviour {
                    self.later(*after, Due::Answer(number, answer));
                }
                Ok(())
            }
            Reply::Notice(notice) => {
                self.quiet = None;
                let numbers = |id: RequestId| self.sent.iter().position(|sent| sent.id == id);
                let number_of = |id| numbers(id).map(|at| at + 1);
                let text = trace::notice(&self.script.destinations, &number_of, &notice);
                self.happened(&text)
            }
            Reply::Idle(deadline) => self.rest(before, Quiet::Idle(deadline), &trace::idle(deadline)),
            Reply::Closed => self.rest(before, Quiet::Closed, "closed"),
            other => self.misfit(&other),
        }
    }

    fn rest(&mut self, before: Option<Quiet>, quiet: Quiet, text: &str) -> Result<(), Fault> {
        self.quiet = Some(quiet);
        let is_new = before != self.quiet;
        if is_new || self.books_changed()? {
            self.happened(text)?;
        }
        self.publish()
    }

    /// Publishes the gates, as a host does when it goes to sleep.
    fn publish(&mut self) -> Result<(), Fault> {
        for at in 0..self.servers.len() {
            let gate = match self.call(&Call::Gate(self.servers[at].id))? {
                Reply::Gate(gate) => gate,
                other => return self.misfit(&other),
            };
            if self.servers[at].gate.replace(gate) != Some(gate) {
                let text = trace::gate(&self.script.destinations[at].name, gate);
                self.tell(&text)?;
            }
        }
        Ok(())
    }
}
