//! Polling: what may be sent, what must be, and when it is over.

use std::collections::{BTreeMap, BTreeSet};

use surgetank_core::breaker::BreakerState;
use surgetank_core::config::Protocol;
use surgetank_core::item::{Category, DestinationId, DropReason, Form, Priority, Signal};
use surgetank_core::limits::MAX_REPORT_ENTRIES;
use surgetank_core::notice::{Action, Notice};
use surgetank_core::request::{RequestId, RequestKind};
use surgetank_core::wire::{client_report, envelope};

use super::game::{Fate, Fault, Game, Live, OnWire, Owed, Place, Sums, ensure};
use crate::body;

/// Polls at one moment after which an engine is taken for one that never goes quiet.
const MAX_POLLS: usize = 2_000;

/// What a poll said.
#[derive(Debug)]
pub(super) enum Said {
    Sent,
    Told,
    Idle(Option<u64>),
    Closed,
}

/// A request, with all that is borrowed read.
struct Sent {
    id: RequestId,
    destination: DestinationId,
    kind: RequestKind,
    attempt: u32,
    payloads: Vec<Vec<u8>>,
    body: Vec<u8>,
    carries_report: bool,
}

impl Game {
    pub(super) fn poll_until_idle(&mut self) -> Result<Said, Fault> {
        for _ in 0..MAX_POLLS {
            match self.poll()? {
                Said::Sent | Said::Told => {}
                // A moment in the past means: poll now.
                Said::Idle(Some(at)) if at <= self.now => {}
                said => return Ok(said),
            }
            if self.is_blind() {
                return Ok(Said::Idle(None));
            }
        }
        Err("the engine never goes quiet".to_owned())
    }

    pub(super) fn poll(&mut self) -> Result<Said, Fault> {
        let now = self.instant();
        // Until a call, what the engine says of itself is as of the last one's time.
        let _ = self.engine.next_deadline(now);
        let overdue = self.overdue();
        let due = self.due();
        let paused: BTreeMap<usize, bool> = self
            .servers
            .iter()
            .map(|(index, server)| {
                let status = self.engine.destination(server.id);
                (*index, status.is_some_and(|status| status.paused_for.is_some()))
            })
            .collect();
        let breakers: BTreeMap<usize, BreakerState> = self
            .servers
            .iter()
            .map(|(index, server)| (*index, server.breaker))
            .collect();
        let mut left = None;
        let mut sent = None;
        let said = match self.engine.poll(now) {
            Action::Send(request) => {
                let body =
                    body::of(&request).map_err(|error| format!("the body cannot be written: {error:?}"))?;
                sent = Some(Sent {
                    id: request.id(),
                    destination: request.destination(),
                    kind: request.kind(),
                    attempt: request.attempt(),
                    payloads: request
                        .payloads()
                        .map(|chunks| chunks.flatten().copied().collect())
                        .collect(),
                    carries_report: request.carries_report(),
                    body,
                });
                Said::Sent
            }
            Action::Notice(notice) => {
                if let Notice::Left { records } = notice {
                    left = Some(records as usize);
                }
                Said::Told
            }
            Action::Idle(deadline) => Said::Idle(deadline.map(|deadline| deadline.at.as_micros())),
            Action::Closed => Said::Closed,
        };
        let difference = self.difference();
        if self.is_blind() {
            return Ok(said);
        }
        if let Some(id) = overdue {
            self.gave_up(id)?;
        }
        self.drops_while_polled(&difference, left)?;
        self.watch_breakers()?;
        match (&said, sent) {
            (_, Some(sent)) => {
                let index = sent.destination.index();
                ensure!(!paused[&index], "a request to a destination that is paused");
                self.check_request(sent, breakers[&index], &due)?;
            }
            (Said::Idle(deadline), None) => self.check_idle(*deadline)?,
            (Said::Closed, None) => {
                ensure!(self.closing.is_some(), "closed, but nobody asked for it");
                ensure!(self.live.is_empty(), "closed with {} records", self.live.len());
                let over = self.closing.is_some_and(|until| self.now >= until);
                ensure!(
                    over || self.on_wire.is_empty(),
                    "closed with {} requests out",
                    self.on_wire.len()
                );
                // Reports may be out when time is up; nobody waits for them.
                self.on_wire.clear();
                self.owed_unknown |= over;
            }
            _ => {}
        }
        Ok(said)
    }

    /// The request that must be given up now: the one that should have been settled first.
    fn overdue(&self) -> Option<RequestId> {
        let late = self
            .on_wire
            .iter()
            .filter(|(_, request)| request.deadline <= self.now);
        // Of several with one deadline the one in the lowest place of the table.
        late.min_by_key(|(id, request)| (request.deadline, id.bits() as u32))
            .map(|(id, _)| *id)
    }

    /// Records leave without an answer only for a reason that the model sees, too.
    fn drops_while_polled(&mut self, difference: &Sums, left: Option<usize>) -> Result<(), Fault> {
        let fates = self.fates(difference);
        let over = self.closing.is_some_and(|until| self.now >= until);
        for (number, at, fate) in &fates {
            let record = &self.live[number];
            let server = self.server(record.destination()).ok_or("no destination")?;
            let limited = server.limited(self.now);
            let allowed = match fate {
                Fate::Delivered => false,
                Fate::Dropped(DropReason::Closed) => over,
                Fate::Dropped(DropReason::RatelimitBackoff) => record.covered(limited)[*at],
                Fate::Dropped(DropReason::QueueOverflow) => self.is_doomed(record),
                Fate::Dropped(reason) => self.is_too_old(record) && *reason == server.last_failure,
            };
            ensure!(
                allowed,
                "part {at} of record {number} left as {fate:?} while polled"
            );
            let sent = matches!(record.place, Place::OnWire(_));
            ensure!(
                !sent || *fate == Fate::Dropped(DropReason::Closed),
                "record {number} left as {fate:?} while the host had it"
            );
            // Limits take out all they cover at once.
            if *fate == Fate::Dropped(DropReason::RatelimitBackoff) {
                let covered = record.covered(limited);
                let all = covered
                    .iter()
                    .enumerate()
                    .filter(|(_, covered)| **covered)
                    .all(|(part, _)| fates.contains(&(*number, part, *fate)));
                ensure!(all, "only some limited parts of record {number} went");
            }
        }
        let closed = fates
            .iter()
            .filter(|(.., fate)| *fate == Fate::Dropped(DropReason::Closed));
        let closed: BTreeSet<u64> = closed.map(|(number, ..)| *number).collect();
        ensure!(
            left.unwrap_or(0) == closed.len(),
            "told that {left:?} were left, {} were",
            closed.len()
        );
        if left.is_some() {
            ensure!(closed.len() == self.live.len(), "some records outlive the end");
            self.on_wire.clear();
            for server in self.servers.values_mut() {
                server.owed_since = None;
            }
            self.owed_unknown = true;
        }
        self.settle_up(difference, &fates, Sums::ZERO)
    }

    // ---- requests --------------------------------------------------------------------------------------------------

    fn check_request(
        &mut self,
        sent: Sent,
        breaker: BreakerState,
        due: &BTreeSet<(usize, Priority)>,
    ) -> Result<(), Fault> {
        ensure!(
            !self.on_wire.contains_key(&sent.id),
            "{:?} is given twice",
            sent.id
        );
        ensure!(!self.settled.contains(&sent.id), "{:?} is given again", sent.id);
        let id = sent.destination;
        let server = self.server(id).ok_or("a request to no destination")?.clone();
        ensure!(
            self.now >= server.not_before,
            "sent {} us too early",
            server.not_before - self.now
        );
        let out = self.on_wire.values().filter(|request| request.destination == id);
        let status = self.engine.destination(id).ok_or("no destination")?;
        ensure!(
            out.clone().count() < usize::from(status.concurrency),
            "more requests than {} at once",
            status.concurrency
        );
        let probes = out.filter(|request| request.epoch == server.epoch).count();
        ensure!(
            server.breaker == BreakerState::Closed || (breaker != BreakerState::Closed && probes == 0),
            "sent while the breaker is {:?} and {probes} probes are out",
            server.breaker
        );
        let numbers = self.records_of(&sent)?;
        self.check_batch(&sent, &server.config, &numbers, due)?;
        let report = self.check_body(&sent, &numbers)?;
        for number in &numbers {
            if let Some(record) = self.live.get_mut(number) {
                record.place = Place::OnWire(sent.id);
                record.was_sent = true;
            }
        }
        let now = self.now;
        let deadline = now + server.config.timeout.as_micros() + self.config.stall_grace.as_micros();
        if let Some(server) = self.server_mut(id) {
            server.last_used = now;
        }
        let epoch = server.epoch;
        self.on_wire.insert(
            sent.id,
            OnWire {
                destination: id,
                records: numbers,
                attempt: sent.attempt,
                at: now,
                deadline,
                epoch,
                report,
            },
        );
        Ok(())
    }

    /// The records of a request, found by their payloads.
    fn records_of(&mut self, sent: &Sent) -> Result<Vec<u64>, Fault> {
        let mut numbers = Vec::new();
        for payload in &sent.payloads {
            let found = self.live.iter().find(|(number, record)| {
                record.made.payload == *payload
                    && record.destination() == sent.destination
                    && !numbers.contains(*number)
            });
            let (number, record) = found.ok_or("a payload that nobody recorded, or not for there")?;
            ensure!(
                !matches!(record.place, Place::OnWire(_)),
                "record {number} is in two requests"
            );
            numbers.push(*number);
        }
        if sent.attempt > 1 {
            let again = self
                .failed
                .iter()
                .find(|(_, failed)| failed.records == numbers && failed.attempt + 1 == sent.attempt);
            let (id, _) = again.ok_or("attempt {attempt} of no request that failed")?;
            let id = *id;
            self.failed.remove(&id);
        } else {
            for number in &numbers {
                if let Place::Failed(id) = self.live[number].place {
                    self.take_apart(id);
                }
            }
        }
        Ok(numbers)
    }

    /// The records may be together, they were due, and nobody was passed over.
    fn check_batch(
        &self,
        sent: &Sent,
        config: &surgetank_core::config::DestinationConfig,
        numbers: &[u64],
        due: &BTreeSet<(usize, Priority)>,
    ) -> Result<(), Fault> {
        let records: Vec<&Live> = numbers.iter().map(|number| &self.live[number]).collect();
        let Some(first) = records.first() else {
            ensure!(sent.kind == RequestKind::Report, "an empty {:?}", sent.kind);
            return self.check_report_due(sent.destination);
        };
        let header = &first.made.header;
        let kind = |record: &Live| {
            let header = &record.made.header;
            let also = header.also.map(|also| also.category);
            (header.form, header.count.category, also, header.priority)
        };
        ensure!(
            records.iter().all(|record| kind(record) == kind(first)),
            "records of different kinds in one request"
        );
        let wanted = match header.form {
            Form::Envelope => RequestKind::Envelope,
            Form::Item => RequestKind::Items,
            Form::Element => RequestKind::Container(
                envelope::ContainerKind::of(header.count.category).ok_or("no container")?,
            ),
            Form::OtlpRecord => RequestKind::Records(Signal::of(header.count.category)),
            Form::OtlpRequest => RequestKind::Requests(Signal::of(header.count.category)),
            Form::OtlpJson => RequestKind::Json(Signal::of(header.count.category)),
        };
        ensure!(sent.kind == wanted, "{:?} instead of {wanted:?}", sent.kind);
        let most = match header.form {
            Form::Envelope | Form::OtlpJson => 1,
            Form::Item if header.count.category == Category::Session => 100,
            Form::Item => 1,
            Form::Element if header.count.category == Category::Span => 1000,
            Form::Element => 100,
            Form::OtlpRecord | Form::OtlpRequest => config.batch.max_records as usize,
        };
        let bytes: usize = records.iter().map(|record| record.made.payload.len()).sum();
        ensure!(records.len() <= most, "{} records, at most {most}", records.len());
        ensure!(
            records.len() == 1 || bytes <= config.batch.max_bytes as usize,
            "{bytes} bytes in one request"
        );
        let server = self.server(sent.destination).ok_or("no destination")?;
        let limited = server.limited(self.now);
        for (number, record) in numbers.iter().zip(&records) {
            ensure!(
                !record.covered(limited).contains(&true),
                "record {number} is sent although limited"
            );
            ensure!(
                !self.is_too_old(record),
                "record {number} is sent although too old"
            );
        }
        if sent.attempt > 1 {
            return Ok(());
        }
        ensure!(
            header.priority <= Priority::High || self.takes_bulk(server),
            "bulk goes although requests take half the memory"
        );
        let lane = (sent.destination.index(), header.priority);
        ensure!(
            !first.is_gathered() || due.contains(&lane),
            "gathered records go before they are due"
        );
        let fresh: Vec<u64> = numbers
            .iter()
            .zip(&records)
            .filter(|(_, record)| !record.was_sent)
            .map(|(number, _)| *number)
            .collect();
        ensure!(fresh.is_sorted(), "records out of order: {fresh:?}");
        let one_trace = first.is_of_trace() && server.config.protocol == Protocol::Sentry;
        if one_trace {
            ensure!(
                records
                    .iter()
                    .all(|record| record.made.header.trace == header.trace),
                "spans of several traces in one envelope"
            );
        }
        // First come, first served, among records of one kind. Of a trace the first one decides, the others follow it,
        // also when it was sent before and waits at the head of its lane again.
        let last = if one_trace {
            fresh.first().filter(|number| numbers.first() == Some(number))
        } else {
            fresh.last()
        };
        if let Some(last) = last {
            let passed_over = self.live.iter().find(|(number, record)| {
                *number < last
                    && !numbers.contains(number)
                    && record.place == Place::Waiting
                    && !record.was_sent
                    && record.destination() == sent.destination
                    && kind(record) == kind(first)
                    && !self.is_doomed(record)
            });
            ensure!(
                passed_over.is_none(),
                "{fresh:?} go before {:?}",
                passed_over.map(|(number, _)| number)
            );
        }
        Ok(())
    }

    fn check_report_due(&self, id: DestinationId) -> Result<(), Fault> {
        let server = self.server(id).ok_or("no destination")?;
        ensure!(
            self.owed_unknown || self.report_is_due(server),
            "a report of its own before it is due"
        );
        Ok(())
    }

    fn report_is_due(&self, server: &super::game::Server) -> bool {
        let waited = |since: u64| self.now >= since + self.config.report_delay.as_micros();
        server
            .owed_since
            .is_some_and(|since| self.closing.is_some() || self.flush_reports > self.now || waited(since))
            && !server.limited(self.now).contains(Category::Internal)
    }

    /// The body holds what is left of the records, and tells what is owed. Gives what it tells.
    fn check_body(&mut self, sent: &Sent, numbers: &[u64]) -> Result<Option<Owed>, Fault> {
        let server = self.server(sent.destination).ok_or("no destination")?;
        if server.config.protocol == Protocol::Otlp {
            ensure!(!sent.carries_report, "a client report for an OTLP receiver");
            return Ok(None);
        }
        let summary = envelope::describe(&sent.body);
        ensure!(summary.is_ok(), "the body is no envelope: {summary:?}");
        let mut told = Owed::new();
        client_report::each_in_envelope(std::iter::once(&sent.body[..]), |entry| {
            *told.entry((entry.category, entry.reason)).or_default() += entry.quantity;
        });
        // What ready-made envelopes bring along is not ours.
        for (category, reason, quantity) in numbers
            .iter()
            .flat_map(|number| self.live[number].parts())
            .flat_map(|part| &part.report)
        {
            let entry = told.entry((*category, *reason)).or_default();
            *entry = entry
                .checked_sub(*quantity)
                .ok_or("a report inside went missing")?;
        }
        told.retain(|_, quantity| *quantity > 0);
        let is_mixed = numbers
            .first()
            .is_some_and(|number| self.live[number].made.header.is_mixed());
        if let (Ok(summary), true) = (summary, is_mixed) {
            let parts = self.live[&numbers[0]].parts();
            for (category, quantity) in parts.flat_map(|part| &part.counts) {
                ensure!(
                    *category == Category::Internal || u64::from(summary.total(*category)) == *quantity,
                    "{category:?}: {} in the body, {quantity} left",
                    summary.total(*category)
                );
            }
            let categories = self.live[&numbers[0]].parts().flat_map(|part| &part.counts);
            let left = categories.fold(surgetank_core::item::CategorySet::EMPTY, |set, (category, _)| {
                set.with(*category)
            });
            let extra = summary.categories().without(left.with(Category::Internal));
            ensure!(extra.is_empty(), "{extra:?} in the body, but nothing of it left");
        }
        ensure!(
            sent.carries_report || told.is_empty(),
            "{told:?} told without being announced"
        );
        let others = self.on_wire.values();
        let out = others
            .filter(|request| request.destination == sent.destination)
            .any(|request| request.report.is_some());
        ensure!(!(out && sent.carries_report), "two client reports at once");
        let unknown = self.owed_unknown;
        let now = self.now;
        let server = self.server_mut(sent.destination).ok_or("no destination")?;
        if unknown {
            return Ok(sent.carries_report.then_some(told));
        }
        let must = !out && server.owed_since.is_some();
        ensure!(
            sent.carries_report == (must && !server.owed.is_empty()),
            "carries a report: {}, although {:?} are owed",
            sent.carries_report,
            server.owed
        );
        if !sent.carries_report {
            return Ok(None);
        }
        ensure!(
            told.len() == server.owed.len().min(MAX_REPORT_ENTRIES),
            "{} entries told, {} owed",
            told.len(),
            server.owed.len()
        );
        for (key, quantity) in &told {
            let owed = server.owed.remove(key);
            ensure!(owed == Some(*quantity), "{key:?}: told {quantity}, owed {owed:?}");
        }
        server.owed_since = (!server.owed.is_empty()).then_some(now);
        Ok(Some(told))
    }

    // ---- going quiet -----------------------------------------------------------------------------------------------

    /// Lanes whose gathered records need not wait for company any longer.
    fn due(&self) -> BTreeSet<(usize, Priority)> {
        let mut due = BTreeSet::new();
        let crowded = self.used_blocks(None) > self.capacity() / 2;
        for (index, server) in &self.servers {
            let batch = server.config.batch;
            for priority in Priority::ALL {
                // Records of failed requests may be back in their lane by now.
                let waiting: Vec<(&u64, &Live)> = self
                    .live
                    .iter()
                    .filter(|(_, record)| {
                        record.destination() == server.id
                            && record.made.header.priority == priority
                            && record.is_gathered()
                            && !matches!(record.place, Place::OnWire(_))
                    })
                    .collect();
                let bytes: usize = waiting.iter().map(|(_, record)| record.made.payload.len()).sum();
                let enough = match server.config.protocol {
                    Protocol::Otlp => batch.max_records as usize,
                    Protocol::Sentry => 100,
                };
                let waited = |record: &Live| self.now >= record.at + batch.max_delay.as_micros();
                let flushed = |number: &u64| {
                    self.flushes
                        .iter()
                        .any(|(_, waits_for)| waits_for.contains(number))
                };
                if waiting.len() >= enough
                    || bytes >= batch.max_bytes as usize
                    || crowded
                    || self.closing.is_some()
                    || waiting
                        .iter()
                        .any(|(number, record)| waited(record) || flushed(number))
                {
                    due.insert((*index, priority));
                }
            }
        }
        due
    }

    /// False when requests of bulk take half the memory of a destination: no more of it is sent before an answer.
    fn takes_bulk(&self, server: &super::game::Server) -> bool {
        let records = self.live.values();
        let sent = records
            .filter(|record| record.destination() == server.id && matches!(record.place, Place::OnWire(_)));
        sent.map(|record| record.blocks).sum::<u64>() <= self.share(server.config.share_permille) / 2
    }

    /// Nothing that may go is held back, and the engine asks to be polled before something could.
    fn check_idle(&mut self, deadline: Option<u64>) -> Result<(), Fault> {
        let now = self.instant();
        let again = self.engine.next_deadline(now);
        ensure!(
            again.map(|again| again.at.as_micros()) == deadline,
            "Idle says {deadline:?}, next_deadline {again:?}"
        );
        if deadline.is_some_and(|at| at <= self.now) {
            return Ok(());
        }
        ensure!(self.overdue().is_none(), "idle with an overdue request");
        let due = self.due();
        let parked: u32 = self
            .servers
            .values()
            .filter_map(|server| self.engine.destination(server.id))
            .map(|status| status.parked)
            .sum();
        let places_left = super::REQUESTS > self.on_wire.len() + parked as usize;
        for (index, server) in &self.servers {
            let status = self.engine.destination(server.id).ok_or("no destination")?;
            let may_send = status.breaker == BreakerState::Closed
                && status.paused_for.is_none()
                && status.on_wire < u32::from(status.concurrency);
            if !may_send {
                continue;
            }
            ensure!(
                status.parked == 0,
                "idle with {} requests to send again",
                status.parked
            );
            if !places_left {
                continue;
            }
            let held = self.live.iter().find(|(_, record)| {
                record.destination() == server.id
                    && !matches!(record.place, Place::OnWire(_))
                    && (record.made.header.priority <= Priority::High || self.takes_bulk(server))
                    && (!record.is_gathered() || due.contains(&(*index, record.made.header.priority)))
            });
            ensure!(held.is_none(), "idle although record {held:?} may go");
            let report_out = self
                .on_wire
                .values()
                .any(|request| request.destination == server.id && request.report.is_some());
            ensure!(
                self.owed_unknown || report_out || server.owed.is_empty() || !self.report_is_due(server),
                "idle although a report is due"
            );
        }
        let waits = !self.live.is_empty() || !self.on_wire.is_empty();
        ensure!(!waits || deadline.is_some(), "idle for ever with records held");
        ensure!(
            self.closing.is_none() || waits || self.servers.values().any(|server| !server.owed.is_empty()),
            "not closed although nothing is left"
        );
        Ok(())
    }
}
