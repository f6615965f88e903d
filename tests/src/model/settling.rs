//! Outcomes of requests: what becomes of the records, and of the destination.

use std::collections::BTreeSet;

use surgetank_core::breaker::BreakerState;
use surgetank_core::config::Protocol;
use surgetank_core::item::{Category, CategorySet, DropReason};
use surgetank_core::notice::{Ack, Settlement};
use surgetank_core::request::RequestId;
use surgetank_core::response::{Failure, Response};
use surgetank_core::time::{Duration, UnixTime};

use super::game::{Failed, Fate, Fault, Game, OnWire, Place, Sums, ensure};
use super::op::Answer;

/// What the protocols say about an outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Delivered,
    /// 429 from Sentry: what is limited now was refused, the rest taken.
    Split,
    Partial(u64),
    Dropped(DropReason),
    Retry(DropReason, Option<Duration>),
}

impl Game {
    pub(super) fn answer(&mut self, request: u8, answer: &Answer) -> Result<(), Fault> {
        let Some(id) = self.pick(request) else {
            return Ok(());
        };
        let destination = self.on_wire[&id].destination;
        let protocol = self.server(destination).ok_or("no destination")?.config.protocol;
        let groups: Vec<String> = answer
            .limits
            .iter()
            .map(|(seconds, categories)| {
                let names: Vec<&str> = categories
                    .map(|set| set.iter().map(Category::as_str).collect())
                    .unwrap_or_default();
                format!("{seconds}:{}:key", names.join(";"))
            })
            .collect();
        let header = groups.join(", ");
        let lines = [header.as_bytes()];
        let retry_after = answer.retry_after.map(|seconds| seconds.to_string());
        let body = partial_success(answer.rejected);
        let response = Response {
            status: answer.status,
            retry_after: retry_after.as_ref().map(|value| value.as_bytes()),
            rate_limits: if header.is_empty() { &[] } else { &lines },
            content_type: Some(b"application/x-protobuf"),
            body: &body,
            grpc: None,
            wall: UnixTime::from_secs(1_700_000_000),
        };
        let (verdict, works) = match protocol {
            Protocol::Sentry => {
                self.learn(destination, answer);
                of_sentry(answer)
            }
            Protocol::Otlp => of_otlp(answer),
        };
        let ack = self.engine.on_response(self.instant(), id, &response);
        self.settled(id, verdict, works, Some(ack))
    }

    pub(super) fn fail(&mut self, request: u8, failure: Failure) -> Result<(), Fault> {
        let Some(id) = self.pick(request) else {
            return Ok(());
        };
        let destination = self.on_wire[&id].destination;
        let protocol = self.server(destination).ok_or("no destination")?.config.protocol;
        let (verdict, works) = of_failure(protocol, failure);
        let ack = self.engine.on_failure(self.instant(), id, failure);
        self.settled(id, verdict, works, Some(ack))
    }

    pub(super) fn answer_stale(&mut self, request: u8) -> Result<(), Fault> {
        let id = match self.settled.get(usize::from(request) % 8) {
            Some(id) => *id,
            None => RequestId::from_bits(u64::from(request) << 40 | 3),
        };
        if self.on_wire.contains_key(&id) {
            return Ok(());
        }
        let response = Response {
            status: 200,
            ..Response::default()
        };
        let ack = self.engine.on_response(self.instant(), id, &response);
        ensure!(ack == Ack::Stale, "{id:?} was settled, yet {ack:?}");
        let difference = self.difference();
        self.settle_up(&difference, &[], Sums::ZERO)
    }

    fn pick(&self, request: u8) -> Option<RequestId> {
        let count = self.on_wire.len();
        let at = usize::from(request).checked_rem(count)?;
        self.on_wire.keys().nth(at).copied()
    }

    /// Takes up what the answer's headers limit.
    fn learn(&mut self, destination: surgetank_core::item::DestinationId, answer: &Answer) {
        let now = self.now;
        let busy = matches!(answer.status, 502..=504);
        let mut limits = answer.limits.clone();
        if limits.is_empty() && !busy {
            match (answer.retry_after, answer.status) {
                (Some(seconds), _) => limits.push((seconds, None)),
                (None, 429) => limits.push((60, None)),
                (None, _) => {}
            }
        }
        let Some(server) = self.server_mut(destination) else {
            return;
        };
        for (seconds, categories) in limits {
            let until = now + seconds * 1_000_000;
            let keys: Vec<Option<Category>> =
                categories.map_or_else(|| vec![None], |set| set.iter().map(Some).collect());
            for key in keys {
                let entry = server.limits.entry(key).or_insert(0);
                *entry = (*entry).max(until);
            }
        }
    }

    /// Checks what the engine made of the outcome of `id` against `verdict`. Without an `ack` the engine found out by
    /// itself, while it was polled; what else it did then is for the caller to check.
    fn settled(
        &mut self,
        id: RequestId,
        verdict: Verdict,
        works: bool,
        ack: Option<Ack>,
    ) -> Result<(), Fault> {
        let request = self.on_wire.remove(&id).ok_or("settled twice")?;
        self.settled.insert(0, id);
        self.settled.truncate(8);
        let difference = self.difference();
        if self.is_blind() {
            return Ok(());
        }
        let destination = request.destination;
        let limited = self
            .server(destination)
            .ok_or("no destination")?
            .limited(self.now);
        self.settle_report(&request, verdict, limited);
        self.expect_breaker(&request, works)?;
        self.pause(&request, verdict, works, ack)?;
        if let Some(Ack::Settled(settlement)) = ack {
            let agrees = match (verdict, settlement) {
                (Verdict::Delivered, Settlement::Delivered) => true,
                (Verdict::Partial(wanted), Settlement::Partial { rejected }) => wanted == rejected,
                (Verdict::Split, Settlement::RateLimited { covered }) => covered == limited,
                (Verdict::Dropped(wanted), Settlement::Dropped { reason })
                | (Verdict::Retry(wanted, _), Settlement::Retry { reason, .. }) => wanted == reason,
                _ => false,
            };
            ensure!(agrees, "{settlement:?} instead of {verdict:?}");
        } else {
            ensure!(ack.is_none(), "{ack:?} for a request that is out");
        }
        if let Verdict::Partial(rejected) = verdict {
            return self.settle_partial(&request, rejected, &difference);
        }
        let fates = self.fates(&difference);
        for (number, record) in &self.live {
            let concerned = request.records.contains(number);
            let covered = record.covered(limited);
            for (at, there) in record.there.iter().enumerate() {
                let fate = fates
                    .iter()
                    .find(|(other, part, _)| other == number && *part == at);
                let fate = fate.map(|(_, _, fate)| *fate);
                let dropped = |reason| Some(Fate::Dropped(reason));
                let wanted = match verdict {
                    _ if !there || !concerned => None,
                    Verdict::Delivered | Verdict::Partial(_) => Some(Fate::Delivered),
                    Verdict::Dropped(reason) => dropped(reason),
                    Verdict::Split if covered[at] => dropped(DropReason::ServerRateLimited),
                    Verdict::Split => Some(Fate::Delivered),
                    Verdict::Retry(reason, _) if self.is_too_old(record) => dropped(reason),
                    Verdict::Retry(..) if covered[at] => dropped(DropReason::RatelimitBackoff),
                    // It may be noticed now, or when it would be sent.
                    Verdict::Retry(..) if self.is_doomed(record) && fate.is_some() => {
                        dropped(DropReason::QueueOverflow)
                    }
                    Verdict::Retry(..) => None,
                };
                ensure!(
                    fate == wanted,
                    "{verdict:?}: part {at} of record {number} became {fate:?}, not {wanted:?}"
                );
            }
        }
        self.settle_up(&difference, &fates, Sums::ZERO)?;
        if let Verdict::Retry(..) = verdict {
            self.park(id, &request);
        }
        Ok(())
    }

    /// The same for a request that was not settled in time.
    pub(super) fn gave_up(&mut self, id: RequestId) -> Result<(), Fault> {
        let request = self.on_wire.remove(&id).ok_or("gave up what is not out")?;
        self.settled.insert(0, id);
        self.settled.truncate(8);
        self.stalls += 1;
        let verdict = Verdict::Retry(DropReason::NetworkError, None);
        self.settle_report(&request, verdict, CategorySet::EMPTY);
        self.expect_breaker(&request, false)?;
        self.pause(&request, verdict, false, None)?;
        self.park(id, &request);
        Ok(())
    }

    fn park(&mut self, id: RequestId, request: &OnWire) {
        let mut records = request.records.clone();
        records.retain(|number| self.live.contains_key(number));
        for number in &records {
            if let Some(record) = self.live.get_mut(number) {
                record.place = Place::Failed(id);
            }
        }
        if !records.is_empty() {
            let attempt = request.attempt;
            self.failed.insert(id, Failed { records, attempt });
        }
    }

    /// The engine gave the records of that failed request back to their lane.
    pub(super) fn take_apart(&mut self, id: RequestId) {
        self.failed.remove(&id);
        for record in self.live.values_mut() {
            if record.place == Place::Failed(id) {
                record.place = Place::Waiting;
            }
        }
    }

    pub(super) fn is_too_old(&self, record: &super::game::Live) -> bool {
        self.now - record.at > self.config.max_age.as_micros()
    }

    /// Which of the records were rejected the protocol does not say, so only sums can be compared.
    fn settle_partial(&mut self, request: &OnWire, rejected: u64, difference: &Sums) -> Result<(), Fault> {
        let numbers: BTreeSet<u64> = request.records.iter().copied().collect();
        let mut expected = Sums::ZERO;
        let mut own = 0;
        let mut category = Category::Span;
        for record in numbers.iter().filter_map(|number| self.live.get(number)) {
            (category, _) = record.made.parts[0].counts[0];
            own += record.made.parts[0].counts[0].1;
        }
        let rejected = rejected.min(own);
        expected.dropped[DropReason::Rejected.index()][category.index()] = rejected;
        expected.delivered[category.index()] = own - rejected;
        for number in numbers {
            self.live.remove(&number);
        }
        self.settle_up(difference, &[], expected)
    }

    fn settle_report(&mut self, request: &OnWire, verdict: Verdict, limited: CategorySet) {
        let now = self.now;
        let Some(report) = &request.report else {
            return;
        };
        let told = match verdict {
            Verdict::Delivered | Verdict::Partial(_) => true,
            Verdict::Split => !limited.contains(Category::Internal),
            Verdict::Dropped(_) | Verdict::Retry(..) => false,
        };
        let Some(server) = self.server_mut(request.destination) else {
            return;
        };
        if !told {
            for (key, quantity) in report {
                *server.owed.entry(*key).or_default() += quantity;
            }
            server.owed_since.get_or_insert(now);
        }
    }

    /// What the breaker must do with this outcome, and that it did.
    fn expect_breaker(&mut self, request: &OnWire, works: bool) -> Result<(), Fault> {
        let server = self.server_mut(request.destination).ok_or("no destination")?;
        let config = server.config.breaker;
        let before = server.breaker;
        let mut expected = before;
        if request.epoch == server.epoch {
            match before {
                BreakerState::Closed => {
                    server.outcomes.push(!works);
                    let last = |count: u8| server.outcomes.iter().rev().take(usize::from(count));
                    let in_a_row = last(config.consecutive_failures)
                        .filter(|failed| **failed)
                        .count();
                    let failures = last(config.window).filter(|failed| **failed).count();
                    let known = server.outcomes.len() >= usize::from(config.window);
                    let too_many =
                        failures * 100 >= usize::from(config.window) * usize::from(config.failure_percent);
                    if !works && (in_a_row >= usize::from(config.consecutive_failures) || (known && too_many))
                    {
                        expected = BreakerState::Open;
                    }
                }
                BreakerState::HalfOpen if works => expected = BreakerState::Closed,
                BreakerState::HalfOpen => expected = BreakerState::Open,
                BreakerState::Open => {}
            }
        }
        let id = server.id;
        self.watch_breakers()?;
        let server = self.server(id).ok_or("no destination")?;
        // A poll may go on to probe in the same call.
        let probed = expected == BreakerState::Open && server.breaker == BreakerState::HalfOpen;
        ensure!(
            server.breaker == expected || probed,
            "the breaker is {:?}, not {expected:?}, after {before:?} and works = {works}",
            server.breaker
        );
        Ok(())
    }

    /// How long the destination is to be left alone after this outcome.
    fn pause(
        &mut self,
        request: &OnWire,
        verdict: Verdict,
        works: bool,
        ack: Option<Ack>,
    ) -> Result<(), Fault> {
        let now = self.now;
        let server = self.server_mut(request.destination).ok_or("no destination")?;
        let Verdict::Retry(_, delay) = verdict else {
            if works && server.failed_at.is_none_or(|failed| request.at > failed) {
                server.failed_at = None;
            }
            return Ok(());
        };
        if let Verdict::Retry(reason, _) = verdict {
            server.last_failure = reason;
        }
        let config = server.config.backoff;
        let delay = delay.map_or(0, Duration::as_micros);
        let reach = |interval: u64| interval / 100 * u64::from(config.jitter_percent);
        let (initial, max) = (config.initial.as_micros(), config.max.as_micros());
        let together = server.failed_at.is_some_and(|failed| request.at <= failed);
        let least = if together {
            delay
        } else {
            server.failed_at = Some(now);
            delay.max(initial - reach(initial))
        };
        let most = (max + reach(max)).max(delay + reach(max));
        server.not_before = server.not_before.max(now + least);
        server.pause_at_most = server.pause_at_most.max(now + most);
        if let Some(Ack::Settled(Settlement::Retry { pause, .. })) = ack {
            ensure!(
                pause.as_micros() >= least && now + pause.as_micros() <= server.pause_at_most,
                "a pause of {pause:?}, not {least} to {most} us"
            );
        }
        Ok(())
    }
}

fn of_sentry(answer: &Answer) -> (Verdict, bool) {
    match answer.status {
        200..=299 => (Verdict::Delivered, true),
        429 => (Verdict::Split, true),
        502..=504 => {
            let delay = answer.retry_after.map(Duration::from_secs);
            (Verdict::Retry(DropReason::SendError, delay), false)
        }
        status => (Verdict::Dropped(DropReason::SendError), status < 500),
    }
}

fn of_otlp(answer: &Answer) -> (Verdict, bool) {
    match answer.status {
        200..=299 if answer.rejected > 0 => (Verdict::Partial(answer.rejected), true),
        200..=299 => (Verdict::Delivered, true),
        status @ (429 | 502..=504) => {
            let delay = answer.retry_after.filter(|seconds| *seconds > 0);
            let throttled = status == 429 || delay.is_some();
            let verdict = Verdict::Retry(DropReason::SendError, delay.map(Duration::from_secs));
            (verdict, throttled)
        }
        413 => (Verdict::Dropped(DropReason::TooLarge), true),
        status => (Verdict::Dropped(DropReason::SendError), status < 500),
    }
}

fn of_failure(protocol: Protocol, failure: Failure) -> (Verdict, bool) {
    match (protocol, failure) {
        (_, Failure::RequestTooLarge) => (Verdict::Dropped(DropReason::TooLarge), true),
        (_, Failure::InvalidRequest) => (Verdict::Dropped(DropReason::Invalid), true),
        (Protocol::Otlp, Failure::ResponseTooLarge) => (Verdict::Dropped(DropReason::SendError), true),
        (_, Failure::Internal) => (Verdict::Retry(DropReason::InternalSdkError, None), false),
        _ => (Verdict::Retry(DropReason::NetworkError, None), false),
    }
}

/// `Export*ServiceResponse` with that many rejected items; empty when there are none.
fn partial_success(rejected: u64) -> Vec<u8> {
    match rejected {
        0 => Vec::new(),
        1..=127 => vec![0x0a, 2, 0x08, rejected as u8],
        _ => vec![0x0a, 3, 0x08, rejected as u8 | 0x80, (rejected >> 7) as u8],
    }
}
