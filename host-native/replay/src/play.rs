//! Plays a script: simulated time, servers that do as the script says, and the host's part of the engine's contract.
//!
//! Between two statements time stands still; `at` and `wait` let it pass. Then answers arrive and deadlines come in
//! order of time; at the same moment answers come first, in the order in which their requests were sent. After every
//! input the engine is polled until it has nothing to do, and the gates are published, as the contract asks.

mod polls;
mod records;
mod time;

use std::collections::BTreeMap;

use surgetank_core::gate::GateState;
use surgetank_core::item::{Category, DestinationId, DropReason};
use surgetank_core::notice::Deadline;
use surgetank_core::request::RequestId;
use surgetank_core::time::{Duration, Instant, UnixTime};

use super::Fault;
use super::call::{Call, Reply, Snapshot};
use super::difference::last_lines;
use super::script::{Answer, Script, Statement, Step, Which};
use super::trace::{self, Lines};
use crate::EPOCH;
use crate::books::Books;

/// What carries out the calls.
pub type Host<'h> = dyn FnMut(Instant, &Call<'_>) -> Reply + 'h;

/// Plays `script` on `host`; returns the trace.
///
/// # Errors
/// The script asks for something that is not there, the host cannot do it, or the books do not balance.
pub fn play(script: &Script, host: &mut Host<'_>) -> Result<String, Fault> {
    let mut player = Player {
        script,
        host,
        lines: Lines::default(),
        line: 1,
        now: Instant::ORIGIN,
        skew: 0,
        servers: Vec::new(),
        sent: Vec::new(),
        agenda: BTreeMap::new(),
        order: 0,
        flushes: Vec::new(),
        quiet: None,
        polls: true,
        records: 0,
        books: Books::default(),
    };
    let played = player.run();
    let trace = player.lines.finish();
    match played {
        Ok(()) => Ok(trace),
        Err(fault) => Err(Fault {
            after: last_lines(&trace),
            ..fault
        }),
    }
}

/// One destination, and the server behind it.
struct Server<'s> {
    id: DestinationId,
    behaviour: Option<&'s (Answer, Duration)>,
    /// The last published gate.
    gate: Option<GateState>,
}

struct Request {
    id: RequestId,
    is_open: bool,
}

/// What the last poll said: nothing to do until then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Idle(Option<Deadline>),
    Closed,
}

/// What happens at a later time.
enum Due<'s> {
    Answer(usize, &'s Answer),
    FlushEnds(usize),
}

struct Player<'s, 'h> {
    script: &'s Script,
    host: &'h mut Host<'h>,
    lines: Lines,
    /// Line of the script that is played.
    line: usize,
    /// True time; the host's clock is off by `skew` microseconds.
    now: Instant,
    skew: i64,
    servers: Vec<Server<'s>>,
    /// Requests in order of sending: number 1 first.
    sent: Vec<Request>,
    agenda: BTreeMap<(Instant, u64), Due<'s>>,
    order: u64,
    /// Flushes, done or not.
    flushes: Vec<bool>,
    quiet: Option<Quiet>,
    polls: bool,
    records: u64,
    books: Books,
}

impl<'s> Player<'s, '_> {
    fn fault<T>(&self, wrong: impl Into<String>, right: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(self.line, wrong, right))
    }

    /// What the host's clock shows.
    fn clock(&self) -> Instant {
        Instant::from_micros(self.now.as_micros().saturating_add_signed(self.skew))
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Reply, Fault> {
        let clock = self.clock();
        match (self.host)(clock, call) {
            Reply::Fault(wrong) => self.fault(wrong, "ask for what the engine can do"),
            reply => Ok(reply),
        }
    }

    fn misfit<T>(&self, reply: &Reply) -> Result<T, Fault> {
        self.fault(
            format!("the host replied {reply:?}"),
            "every call has its own reply",
        )
    }

    // ---- the trace -------------------------------------------------------------------------------------------------

    fn push(&mut self, line: String) -> Result<(), Fault> {
        self.lines.push(line);
        let most = self.script.bounds.trace_lines;
        if self.lines.written() > most {
            return self.fault(format!("the trace has more than {most} lines"), "let less happen");
        }
        Ok(())
    }

    /// Writes a line with the time.
    fn tell(&mut self, text: &str) -> Result<(), Fault> {
        self.push(format!("{} {text}", trace::seconds(self.now.as_micros())))
    }

    /// Writes what a call came to and what it changed in the books, which must balance.
    fn happened(&mut self, text: &str) -> Result<(), Fault> {
        let change = self.audit()?;
        if change.is_empty() {
            self.tell(text)?;
        } else {
            self.tell(&format!("{text} | {change}"))?;
        }
        for number in 0..self.flushes.len() {
            if self.flushes[number] {
                continue;
            }
            match self.call(&Call::IsFlushed(number))? {
                Reply::Flushed(true) => {
                    self.flushes[number] = true;
                    self.tell(&format!("flush {} is done", number + 1))?;
                }
                Reply::Flushed(false) => {}
                other => return self.misfit(&other),
            }
        }
        Ok(())
    }

    fn read_books(&mut self) -> Result<Books, Fault> {
        match self.call(&Call::Books)? {
            Reply::Books(books) => Ok(books),
            other => self.misfit(&other),
        }
    }

    fn books_changed(&mut self) -> Result<bool, Fault> {
        Ok(self.read_books()? != self.books)
    }

    /// Reads the books; what changed since the last time.
    fn audit(&mut self) -> Result<String, Fault> {
        let books = self.read_books()?;
        if let Err(wrong) = books.balance() {
            return self.fault(
                format!("the books do not balance: {wrong}"),
                "this is a bug of the engine",
            );
        }
        let change = trace::change(&self.books, &books);
        self.books = books;
        Ok(change)
    }

    fn run(&mut self) -> Result<(), Fault> {
        self.start()?;
        for step in &self.script.steps {
            self.step(step)?;
        }
        self.end()
    }

    // ---- statements ------------------------------------------------------------------------------------------------

    fn start(&mut self) -> Result<(), Fault> {
        let settings = &self.script.settings;
        self.call(&Call::Start {
            config: &settings.config,
            memory: settings.memory,
            seed: settings.seed,
        })?;
        for destination in &self.script.destinations {
            self.line = destination.line;
            match self.call(&Call::Open(&destination.config))? {
                Reply::Opened(id) => {
                    self.servers.push(Server {
                        id,
                        behaviour: None,
                        gate: None,
                    });
                    let (at, generation) = (id.index(), id.generation());
                    self.tell(&format!("open {} = {at}.{generation}", destination.name))?;
                }
                other => return self.misfit(&other),
            }
        }
        self.poll_until_quiet()
    }

    fn step(&mut self, step: &'s Step) -> Result<(), Fault> {
        self.line = step.line;
        self.push(format!("> {}", step.text))?;
        match &step.statement {
            Statement::At(at) => {
                let at = Instant::ORIGIN.saturating_add(*at);
                if at < self.now {
                    let now = trace::seconds(self.now.as_micros());
                    return self.fault(format!("it is {now} already"), "write a later time");
                }
                self.pass_to(at)?;
            }
            Statement::Wait(span) => self.pass_to(self.now.saturating_add(*span))?,
            Statement::Clock(jump) => self.skew = self.skew.saturating_add(*jump),
            Statement::Record(recording) => self.record(recording)?,
            Statement::Lose {
                destination,
                category,
                reason,
                quantity,
            } => {
                let destination = destination.map(|at| self.servers[at].id);
                let category = *category;
                self.lose(destination, category, *reason, *quantity)?;
                self.happened("lost")?;
            }
            Statement::Serve {
                destination,
                behaviour,
            } => self.servers[*destination].behaviour = behaviour.as_ref(),
            Statement::Answer { which, answer } => {
                let number = self.number(*which)?;
                self.answer(number, answer)?;
            }
            Statement::Probe(probe) => {
                self.call(&Call::Probe(*probe))?;
                self.happened("probed")?;
            }
            Statement::Poll => {
                self.quiet = None;
                self.poll()?;
            }
            Statement::Polls(on) => self.polls = *on,
            Statement::Flush(within) => {
                self.call(&Call::Flush)?;
                self.flushes.push(false);
                let number = self.flushes.len();
                if let Some(within) = within {
                    self.later(*within, Due::FlushEnds(number));
                }
                self.happened(&format!("flush {number}"))?;
            }
            Statement::Close(within) => {
                let until = self.clock().saturating_add(*within);
                self.call(&Call::Close { until })?;
                self.happened(&format!("close until {}", trace::seconds(until.as_micros())))?;
            }
            Statement::Status => {
                let snapshot = self.snapshot()?;
                for line in trace::status(&self.script.destinations, &snapshot) {
                    self.push(line)?;
                }
            }
        }
        self.poll_until_quiet()
    }

    fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        match self.call(&Call::Status)? {
            Reply::Status(snapshot) => Ok(snapshot),
            other => self.misfit(&other),
        }
    }

    fn lose(
        &mut self,
        destination: Option<DestinationId>,
        category: Category,
        reason: DropReason,
        quantity: u64,
    ) -> Result<(), Fault> {
        self.call(&Call::Losses {
            destination,
            category,
            reason,
            quantity,
        })?;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let change = self.audit()?;
        if !change.is_empty() {
            return self.fault(
                format!("the books changed unseen: {change}"),
                "this is a bug of the player",
            );
        }
        self.push(format!("end at {}", trace::seconds(self.now.as_micros())))?;
        let snapshot = self.snapshot()?;
        let mut lines = trace::status(&self.script.destinations, &snapshot);
        lines.extend(trace::sums(&self.books));
        lines.push("  the books balance".to_owned());
        for line in lines {
            self.push(line)?;
        }
        Ok(())
    }

    // ---- answers ---------------------------------------------------------------------------------------------------

    fn number(&self, which: Which) -> Result<usize, Fault> {
        let open = |(_, request): &(usize, &Request)| request.is_open;
        let mut numbered = (1..).zip(&self.sent);
        let found = match which {
            Which::Numbered(number) => numbered.find(|(at, _)| *at == number),
            Which::Oldest => numbered.find(open),
            Which::Newest => numbered.filter(open).last(),
        };
        match found {
            Some((number, _)) => Ok(number),
            None => self.fault(
                "there is no such request",
                format!("{} were sent; see the trace for which are open", self.sent.len()),
            ),
        }
    }

    fn answer(&mut self, number: usize, answer: &Answer) -> Result<(), Fault> {
        let request = &mut self.sent[number - 1];
        request.is_open = false;
        let id = request.id;
        let reply = match answer {
            Answer::Failure(failure) => self.call(&Call::Failure {
                id,
                failure: *failure,
            })?,
            Answer::Response(response) => {
                let wall = UnixTime::from_micros(EPOCH.as_micros() + self.now.as_micros());
                response.lend(wall, |response| self.call(&Call::Response { id, response }))?
            }
        };
        match reply {
            Reply::Settled(ack) => self.happened(&trace::answer(number, answer, ack)),
            other => self.misfit(&other),
        }
    }
}
