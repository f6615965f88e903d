//! What an answer, or the lack of one, means for a request and its destination.
//!
//! Sentry: any 2xx is delivered; 429 is final and never resent (what the new limits cover was counted by the server,
//! the rest was accepted); 502, 503 and 504 are retried, as is no answer at all; every other status is final. Limits in
//! the headers are obeyed on every status. OTLP: as its specification says
//! ([`answer`]). A retry waits at least as long as the server asked, and as the back-off
//! says.

use super::Core;
use crate::breaker::BreakerState;
use crate::concurrency::AnswerKind as Speed;
use crate::config::Protocol;
use crate::item::{Category, CategorySet, DropReason, Header};
use crate::ledger;
use crate::notice::{Ack, Notice, Settlement};
use crate::queue::{self, List};
use crate::request::{RequestId, RequestSlot, SlotState};
use crate::response::{Failure, Response};
use crate::time::{Duration, Instant};
use crate::wire::otlp::answer::{self, AnswerPolicy, Delay, Verdict};
use crate::wire::rate_limits::{self, Target};
use crate::wire::retry_after;

/// What is done with the records.
#[derive(Clone, Copy)]
enum Fate {
    Delivered,
    /// Delivered, but for what limits cover (429).
    Split(CategorySet),
    /// Delivered, but for this quantity.
    Partial(u64),
    Dropped(DropReason),
    Retry(DropReason, Option<Duration>),
}

/// What the attempt says about the server's condition.
#[derive(Clone, Copy)]
struct Condition {
    /// It answered in a way that shows it works.
    works: bool,
    speed: Speed,
}

fn judge_otlp(verdict: Verdict<'_>) -> (Fate, Condition) {
    let works = |speed| Condition { works: true, speed };
    match verdict {
        Verdict::Success { .. } => (Fate::Delivered, works(Speed::Ok)),
        Verdict::Partial { rejected, .. } => (Fate::Partial(rejected), works(Speed::Ok)),
        Verdict::Retry { delay, throttled, .. } => {
            let delay = match delay {
                Delay::Backoff => None,
                Delay::After(delay) => Some(delay),
            };
            let speed = if throttled {
                Speed::Throttled
            } else {
                Speed::Failed
            };
            (
                Fate::Retry(DropReason::SendError, delay),
                Condition {
                    works: throttled,
                    speed,
                },
            )
        }
        Verdict::Drop { refusal, .. } => (
            Fate::Dropped(refusal.drop_reason()),
            Condition {
                works: !refusal.is_server_fault(),
                speed: Speed::Ok,
            },
        ),
    }
}

impl Core<'_> {
    pub(super) fn on_response(&mut self, id: RequestId, response: &Response<'_>) -> Ack {
        let Some((slot, index)) = self.on_wire(id) else {
            return self.stale();
        };
        self.state.watch.set_stalled(false);
        let protocol = self
            .destinations
            .get(index)
            .map_or(Protocol::Sentry, |d| d.config.protocol);
        let (fate, condition) = match protocol {
            Protocol::Sentry => self.judge_sentry(index, response),
            Protocol::Otlp => {
                let stubborn = self
                    .destinations
                    .get(index)
                    .is_some_and(|d| d.config.retry_resource_exhausted);
                let policy = AnswerPolicy {
                    retry_resource_exhausted_without_retry_info: stubborn,
                };
                judge_otlp(answer::of_response_without_message(response, policy))
            }
        };
        self.settle(slot, index, fate, condition, Some(response.status))
    }

    pub(super) fn on_failure(&mut self, id: RequestId, failure: Failure) -> Ack {
        let Some((slot, index)) = self.on_wire(id) else {
            return self.stale();
        };
        self.state.watch.set_stalled(false);
        self.fail(slot, index, failure)
    }

    /// Gives up a request that the host should have settled by now. At most one per call.
    pub(super) fn expire(&mut self) {
        let now = self.state.now;
        if self.state.on_wire == 0 || now < self.state.none_overdue_before {
            return;
        }
        let mut earliest: Option<(Instant, usize)> = None;
        for (at, slot) in self.requests.iter().enumerate() {
            if slot.state == SlotState::OnWire
                && earliest.is_none_or(|(deadline, _)| slot.deadline < deadline)
            {
                earliest = Some((slot.deadline, at));
            }
        }
        let Some((deadline, at)) = earliest else {
            return;
        };
        self.state.none_overdue_before = deadline;
        if now < deadline {
            return;
        }
        let Some((generation, index)) = self
            .requests
            .get(at)
            .map(|slot| (slot.generation, usize::from(slot.destination)))
        else {
            return;
        };
        self.state.counters.stalls = self.state.counters.stalls.saturating_add(1);
        self.state.watch.set_stalled(true);
        self.notify(Notice::Stalled {
            request: RequestId::new(at, generation),
        });
        let _ = self.fail(at, index, Failure::Timeout);
    }

    fn fail(&mut self, slot: usize, index: usize, failure: Failure) -> Ack {
        let protocol = self
            .destinations
            .get(index)
            .map_or(Protocol::Sentry, |d| d.config.protocol);
        let speed = if failure == Failure::Timeout {
            Speed::TimedOut
        } else {
            Speed::Failed
        };
        let (fate, works) = match (protocol, failure) {
            (_, Failure::InvalidRequest) => (Fate::Dropped(DropReason::Invalid), true),
            (_, Failure::RequestTooLarge) => (Fate::Dropped(DropReason::TooLarge), true),
            (Protocol::Otlp, Failure::ResponseTooLarge) => (Fate::Dropped(DropReason::SendError), true),
            (_, Failure::Internal) => (Fate::Retry(DropReason::InternalSdkError, None), false),
            _ => (Fate::Retry(DropReason::NetworkError, None), false),
        };
        self.settle(slot, index, fate, Condition { works, speed }, None)
    }

    fn on_wire(&self, id: RequestId) -> Option<(usize, usize)> {
        let slot = self.requests.get(id.index())?;
        let current = slot.state == SlotState::OnWire && slot.generation == id.generation();
        current.then(|| (id.index(), usize::from(slot.destination)))
    }

    fn stale(&mut self) -> Ack {
        self.state.counters.stale_answers = self.state.counters.stale_answers.saturating_add(1);
        Ack::Stale
    }

    // ---- judging ---------------------------------------------------------------------------------------------------

    fn judge_sentry(&mut self, index: usize, response: &Response<'_>) -> (Fate, Condition) {
        let now = self.state.now;
        let busy = matches!(response.status, 502..=504);
        let Some(destination) = self.destinations.get_mut(index) else {
            return (
                Fate::Delivered,
                Condition {
                    works: true,
                    speed: Speed::Ok,
                },
            );
        };
        let mut learn = |limit: rate_limits::Limit<'_>| {
            let categories = match limit.target {
                Target::All => None,
                Target::Categories(categories) => Some(categories),
            };
            destination
                .limits
                .limit(categories, now.saturating_add(limit.duration), limit.scope);
        };
        if busy {
            // Such a server took nothing and the request is sent again, so its `Retry-After` is a pause, not a limit:
            // a limit would drop what can simply wait.
            rate_limits::groups(response.rate_limits)
                .filter(rate_limits::Limit::is_effective)
                .for_each(&mut learn);
        } else {
            rate_limits::limits(response).for_each(&mut learn);
        }
        let works = |speed| Condition { works: true, speed };
        let broken = |speed| Condition { works: false, speed };
        match response.status {
            200..=299 => (Fate::Delivered, works(Speed::Ok)),
            429 => (Fate::Split(destination.limits.limited(now)), works(Speed::Ok)),
            502..=504 => {
                let delay = response
                    .retry_after
                    .and_then(|value| retry_after::parse(value, response.wall));
                (
                    Fate::Retry(DropReason::SendError, delay),
                    broken(Speed::Throttled),
                )
            }
            500..=599 => (Fate::Dropped(DropReason::SendError), broken(Speed::Failed)),
            _ => (Fate::Dropped(DropReason::SendError), works(Speed::Ok)),
        }
    }

    // ---- settling --------------------------------------------------------------------------------------------------

    fn settle(
        &mut self,
        slot: usize,
        index: usize,
        fate: Fate,
        condition: Condition,
        status: Option<u16>,
    ) -> Ack {
        let now = self.state.now;
        let Some(request) = self.requests.get(slot).copied() else {
            return Ack::Stale;
        };
        let mut pause = Duration::ZERO;
        let mut transition = None;
        if let Some(destination) = self.destinations.get_mut(index) {
            self.state.on_wire = self.state.on_wire.saturating_sub(1);
            destination.on_wire = destination.on_wire.saturating_sub(1);
            destination.wire_blocks = destination.wire_blocks.saturating_sub(request.records.blocks());
            destination
                .concurrency
                .on_answer(now, request.sent_at, condition.speed);
            let server_delay = if let Fate::Retry(_, delay) = fate {
                delay
            } else {
                None
            };
            let (breaker, rng) = (&mut destination.breaker, &mut self.state.rng);
            transition = if condition.works {
                breaker.on_success(request.permit)
            } else {
                breaker.on_failure(now, request.permit, rng, server_delay)
            };
            if transition == Some(BreakerState::Open) {
                destination.concurrency.restart(now);
            }
            match fate {
                Fate::Retry(reason, delay) => {
                    destination.last_failure = reason;
                    let wait = destination.backoff.on_failure(now, request.sent_at, rng, delay);
                    destination.paused_until = destination.paused_until.max(now.saturating_add(wait));
                    pause = destination.paused_until.since(now);
                }
                _ if condition.works => destination.backoff.on_success(request.sent_at),
                _ => {}
            }
        }
        let destination = self.id_of(index);
        if let Some(state) = transition {
            self.notify(Notice::Breaker { destination, state });
        }
        self.settle_report(&request, index, fate);
        let settlement = match fate {
            Fate::Delivered => {
                self.conclude_all(slot, index, fate);
                Settlement::Delivered
            }
            Fate::Split(covered) => {
                self.conclude_all(slot, index, fate);
                Settlement::RateLimited { covered }
            }
            Fate::Partial(rejected) => {
                self.conclude_all(slot, index, fate);
                Settlement::Partial { rejected }
            }
            Fate::Dropped(reason) => {
                self.conclude_all(slot, index, fate);
                Settlement::Dropped { reason }
            }
            Fate::Retry(reason, _) => {
                self.park(slot, index);
                Settlement::Retry { reason, pause }
            }
        };
        if !matches!(settlement, Settlement::Delivered) {
            let records = request.records.records();
            self.notify(Notice::Settled {
                destination,
                status,
                records,
                settlement,
            });
        }
        Ack::Settled(settlement)
    }

    fn settle_report(&mut self, request: &RequestSlot, index: usize, fate: Fate) {
        if !request.report {
            return;
        }
        let delivered = match fate {
            Fate::Delivered | Fate::Partial(_) => true,
            // Reports are never limited but by a limit for everything.
            Fate::Split(covered) => !covered.contains(Category::Internal),
            Fate::Dropped(_) | Fate::Retry(..) => false,
        };
        ledger::settle(self.losses, request.destination, delivered);
        let now = self.state.now;
        if let Some(destination) = self.destinations.get_mut(index) {
            destination.report_out = false;
            if !delivered && destination.owes_since.is_none() {
                destination.owes_since = Some(now);
            }
        }
    }

    /// Keeps a failed request for its next attempt, or, when more wait than may be sent at once, gives its records back
    /// to their lane.
    fn park(&mut self, slot: usize, index: usize) {
        let closing = self.state.closing.is_some_and(|until| until <= self.state.now);
        let Some(request) = self.requests.get_mut(slot) else {
            return;
        };
        request.state = SlotState::Parked;
        request.report = false;
        let limit = self.destinations.get_mut(index).map_or(0, |destination| {
            destination.parked = destination.parked.saturating_add(1);
            u32::from(destination.concurrency.limit())
        });
        self.prune(index, slot);
        let parked = self
            .destinations
            .get(index)
            .map_or(0, |destination| destination.parked);
        let empty = self
            .requests
            .get(slot)
            .is_none_or(|request| request.records.is_empty());
        if empty || closing || parked > limit {
            self.put_back(slot);
        }
    }

    /// Drops what must not be sent any more from a parked request: limited since, or too old.
    pub(super) fn prune(&mut self, index: usize, slot: usize) {
        let Some(records) = self.requests.get(slot).map(|request| request.records) else {
            return;
        };
        let mut at = records.head();
        for _ in 0..records.records() {
            let Some(record) = at else { break };
            at = queue::next(self.blocks, record);
            let Some(header) = queue::header(self.blocks, record) else {
                break;
            };
            let Some(reason) = self.must_drop(index, record, &header) else {
                continue;
            };
            if reason == DropReason::RatelimitBackoff
                && header.is_mixed()
                && self.remove_limited(index, record, &header)
            {
                continue;
            }
            if let Some(request) = self.requests.get_mut(slot) {
                queue::remove(self.blocks, &mut request.records, record);
            }
            self.discard(index, record, &header, reason);
        }
    }

    /// Counts and releases every record of a request, and frees its place.
    fn conclude_all(&mut self, slot: usize, index: usize, fate: Fate) {
        let Some(request) = self.requests.get_mut(slot) else {
            return;
        };
        let records = core::mem::replace(&mut request.records, List::EMPTY);
        self.free_slot(slot);
        let Some(header) = records
            .head()
            .and_then(|record| queue::header(self.blocks, record))
        else {
            return;
        };
        if header.is_mixed() || header.categories.contains(Category::Internal) {
            self.conclude_each(index, records, fate);
        } else {
            self.conclude_alike(index, records, &header, fate);
        }
    }

    /// The usual case: records of one kind, whose counts can be summed up. `header` is any one's.
    fn conclude_alike(&mut self, index: usize, records: List, header: &Header, fate: Fate) {
        let flushes = &mut self.state.flushes;
        let queue = &mut self.state.queue;
        // Told apart here, so that in the usual case each record costs nothing for it.
        let (own, second) = if flushes.is_quiet() {
            queue.release_all(self.blocks, records, |_| ())
        } else {
            queue.release_all(self.blocks, records, |sequence| flushes.released(sequence))
        };
        if let Some(destination) = self.destinations.get_mut(index) {
            destination.used_blocks = destination.used_blocks.saturating_sub(records.blocks());
        }
        let lost = match fate {
            Fate::Dropped(reason) => Some((reason, own, second)),
            Fate::Split(covered) if covered.intersects(header.categories) => {
                Some((DropReason::ServerRateLimited, own, second))
            }
            // Which ones were rejected the protocol does not say: their second counts are taken as delivered.
            Fate::Partial(rejected) => Some((DropReason::Rejected, rejected.min(own), 0)),
            Fate::Delivered | Fate::Split(_) | Fate::Retry(..) => None,
        };
        let (reason, lost_own, lost_second) = lost.unwrap_or((DropReason::SendError, 0, 0));
        let category = header.count.category;
        self.state
            .totals
            .deliver_many(category, own.saturating_sub(lost_own));
        self.lose(Some(index), reason, category, lost_own);
        if let Some(also) = header.also {
            self.state
                .totals
                .deliver_many(also.category, second.saturating_sub(lost_second));
            self.lose(Some(index), reason, also.category, lost_second);
        }
    }

    /// Envelopes with counts of their own, or with client reports inside.
    fn conclude_each(&mut self, index: usize, records: List, fate: Fate) {
        let mut at = records.head();
        for _ in 0..records.records() {
            let Some(record) = at else { break };
            at = queue::next(self.blocks, record);
            let Some(header) = queue::header(self.blocks, record) else {
                break;
            };
            match fate {
                Fate::Dropped(reason) => self.discard(index, record, &header, reason),
                Fate::Split(covered) => self.deliver_split(index, record, &header, covered),
                Fate::Delivered | Fate::Partial(_) | Fate::Retry(..) => self.deliver(index, record, &header),
            }
        }
    }
}
