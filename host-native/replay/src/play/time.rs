//! Time in a scenario: it passes from one thing that happens to the next.

use surgetank_core::time::{Duration, Instant};

use super::{Due, Player, Quiet};
use crate::Fault;
use crate::script::MAX_TIME;
use crate::trace;

impl<'s> Player<'s, '_> {
    pub(super) fn later(&mut self, after: Duration, due: Due<'s>) {
        self.order += 1;
        self.agenda
            .insert((self.now.saturating_add(after), self.order), due);
    }

    /// The engine's deadline in true time, as far as it is kept.
    fn deadline(&self) -> Option<Instant> {
        match self.quiet {
            Some(Quiet::Idle(Some(deadline))) if self.polls => {
                let at = deadline.at.as_micros().saturating_add_signed(-self.skew);
                Some(Instant::from_micros(at).max(self.now))
            }
            _ => None,
        }
    }

    pub(super) fn pass_to(&mut self, to: Instant) -> Result<(), Fault> {
        if to.since(Instant::ORIGIN) > MAX_TIME {
            return self.fault(
                format!("{} is too late", trace::seconds(to.as_micros())),
                "a script has two days",
            );
        }
        loop {
            let due = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.deadline();
            let next = due.into_iter().chain(deadline).min();
            let Some(next) = next.filter(|next| *next <= to) else {
                break;
            };
            self.now = self.now.max(next);
            if due == Some(next)
                && let Some((_, due)) = self.agenda.pop_first()
            {
                self.come(&due)?;
            }
            self.poll_until_quiet()?;
        }
        self.now = to;
        Ok(())
    }

    fn come(&mut self, due: &Due<'s>) -> Result<(), Fault> {
        match *due {
            Due::Answer(number, answer) => self.answer(number, answer),
            Due::FlushEnds(number) if !self.flushes[number - 1] => {
                self.flushes[number - 1] = true;
                self.tell(&format!("flush {number} is given up"))
            }
            Due::FlushEnds(_) => Ok(()),
        }
    }
}
