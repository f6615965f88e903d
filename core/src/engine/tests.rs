mod bodies;
mod handover;
mod learned;
mod order;
mod otlp;
mod status;
mod watch;

use super::*;
use crate::breaker::BreakerState;
use crate::config::WhenFull;
use crate::item::{Form, Header, Priority, TraceKey};
use crate::notice::{DeadlineReason, Settlement};
use crate::storage::FixedStorage;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

type Small = FixedStorage<65, 3, 8, 32>;

struct Rig {
    engine: Engine<Small>,
    now: Instant,
    to: DestinationId,
}

impl Rig {
    fn new(config: Config, destination: DestinationConfig) -> Self {
        let mut engine = Engine::new(config, Small::new(), 7, Instant::ORIGIN).unwrap();
        let to = engine.open_destination(Instant::ORIGIN, destination).unwrap();
        Self {
            engine,
            now: Instant::ORIGIN,
            to,
        }
    }

    fn sentry() -> Self {
        Self::new(Config::DEFAULT, DestinationConfig::SENTRY)
    }

    fn otlp() -> Self {
        Self::new(Config::DEFAULT, DestinationConfig::OTLP)
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
    }

    fn record(&mut self, header: Header, payload: &[u8]) -> Outcome {
        self.engine.record(self.now, &Item { header, payload })
    }

    fn error(&mut self) -> Outcome {
        self.record(Header::new(self.to, Form::Envelope, Category::Error, 1), b"{}\n")
    }

    fn log(&mut self) -> Outcome {
        let header = Header::new(self.to, Form::Element, Category::LogItem, 1).also(Category::LogByte, 10);
        self.record(header, b"{\"body\":\"hello\"}")
    }

    fn span(&mut self, trace: u64) -> Outcome {
        let header = Header::new(self.to, Form::Element, Category::Span, 1).in_trace(TraceKey(trace));
        self.record(header, &[b'x'; 150])
    }

    /// Polls until idle; every request that is sent, notices left out.
    fn sends(&mut self) -> Vec<(RequestId, crate::request::RequestKind, u32)> {
        let mut sent = Vec::new();
        loop {
            match self.engine.poll(self.now) {
                Action::Send(request) => sent.push((request.id(), request.kind(), request.records())),
                Action::Notice(_) => {}
                Action::Idle(_) | Action::Closed => return sent,
            }
            assert!(sent.len() < 10_000, "the engine never goes quiet");
        }
    }

    fn deadline(&mut self) -> Option<Deadline> {
        loop {
            match self.engine.poll(self.now) {
                Action::Notice(_) => {}
                Action::Idle(deadline) => return deadline,
                other => panic!("not idle: {other:?}"),
            }
        }
    }

    fn answer(&mut self, id: RequestId, status: u16) -> Ack {
        self.engine.on_response(
            self.now,
            id,
            &Response {
                status,
                ..Response::default()
            },
        )
    }

    fn limit(&mut self, id: RequestId, status: u16, header: &[u8]) -> Ack {
        self.engine.on_response(
            self.now,
            id,
            &Response {
                status,
                rate_limits: &[header],
                ..Response::default()
            },
        )
    }

    fn dropped(&self, category: Category, reason: DropReason) -> u64 {
        self.engine.totals().dropped(category, reason)
    }

    /// recorded = delivered + dropped + what the tables really hold.
    #[track_caller]
    fn conserve(&self) {
        let mut held: BTreeMap<Category, u64> = BTreeMap::new();
        for (category, quantity) in self.engine.held() {
            *held.entry(category).or_default() += quantity;
        }
        for category in Category::ALL {
            let totals = self.engine.totals().of(category);
            assert_eq!(
                totals.queued(),
                held.get(&category).copied().unwrap_or(0),
                "{category:?} {totals:?}"
            );
        }
    }
}

#[test]
fn an_error_goes_at_once_and_is_delivered_once() {
    let mut rig = Rig::sentry();
    assert_eq!(rig.error(), Outcome::Queued);
    let sent = rig.sends();
    assert_eq!(sent.len(), 1);
    assert_eq!(rig.answer(sent[0].0, 200), Ack::Settled(Settlement::Delivered));
    assert_eq!(rig.answer(sent[0].0, 200), Ack::Stale);
    assert_eq!(rig.engine.counters().stale_answers, 1);
    assert_eq!(rig.engine.totals().of(Category::Error).delivered, 1);
    assert_eq!(rig.engine.fill().used_blocks, 0);
    rig.conserve();
}

#[test]
fn logs_wait_for_company_and_go_together() {
    let mut rig = Rig::sentry();
    for _ in 0..3 {
        assert_eq!(rig.log(), Outcome::Queued);
    }
    assert!(rig.sends().is_empty());
    let deadline = rig.deadline().unwrap();
    rig.now = deadline.at;
    let sent = rig.sends();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].2, 3);
    rig.conserve();
}

#[test]
fn a_flush_sends_what_waits_and_says_when_it_is_done() {
    let mut rig = Rig::sentry();
    let _ = rig.log();
    let id = rig.engine.flush(rig.now);
    assert!(!rig.engine.is_flushed(id));
    let sent = rig.sends();
    assert_eq!(sent.len(), 1);
    assert!(!rig.engine.is_flushed(id));
    rig.answer(sent[0].0, 200);
    assert!(rig.engine.is_flushed(id));
}

#[test]
fn under_pressure_errors_outlive_logs_and_the_oldest_log_goes_first() {
    let mut rig = Rig::sentry();
    let mut accepted = 0;
    while rig.dropped(Category::LogItem, DropReason::QueueOverflow) == 0 {
        assert_eq!(rig.log(), Outcome::Queued);
        accepted += 1;
    }
    for _ in 0..30 {
        assert_eq!(rig.error(), Outcome::Queued);
    }
    assert_eq!(rig.engine.totals().of(Category::Error).dropped, 0);
    assert!(
        rig.dropped(Category::LogItem, DropReason::QueueOverflow) > 20,
        "{accepted}"
    );
    rig.conserve();
}

#[test]
fn a_lower_lane_never_pushes_out_a_higher_one() {
    let mut rig = Rig::sentry();
    while rig.engine.fill().used_blocks < rig.engine.fill().capacity_blocks {
        assert_eq!(rig.error(), Outcome::Queued);
    }
    assert_eq!(rig.log(), Outcome::Dropped(DropReason::QueueOverflow));
    assert_eq!(rig.engine.totals().of(Category::Error).dropped, 0);
    rig.conserve();
}

#[test]
fn nobody_goes_for_a_record_that_does_not_fit_even_then() {
    let mut rig = Rig::sentry();
    assert_eq!(rig.log(), Outcome::Queued);
    while rig.engine.fill().used_blocks < rig.engine.fill().capacity_blocks {
        assert_eq!(rig.error(), Outcome::Queued);
    }
    // The first log's block would do, but for what is reserved for errors.
    assert_eq!(rig.log(), Outcome::Dropped(DropReason::QueueOverflow));
    assert_eq!(rig.dropped(Category::LogItem, DropReason::QueueOverflow), 1);
    rig.conserve();
}

#[test]
fn a_refused_envelope_leaves_behind_what_the_client_report_in_it_said() {
    let report = br#"{"discarded_events":[{"reason":"before_send","category":"error","quantity":7}]}"#;
    let mut envelope = b"{}\n{\"type\":\"client_report\"}\n".to_vec();
    envelope.extend_from_slice(report);
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    rig.limit(id, 429, b"60::key");
    let header = Header::new(rig.to, Form::Envelope, Category::Internal, 1);
    assert_eq!(
        rig.record(header, &envelope),
        Outcome::Dropped(DropReason::RatelimitBackoff)
    );
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.sends()[0].1, crate::request::RequestKind::Report);
    rig.conserve();
}

#[test]
fn a_relay_refuses_the_newest_and_evicts_nothing() {
    let config = Config {
        when_full: WhenFull::RefuseNewest,
        ..Config::DEFAULT
    };
    let mut rig = Rig::new(config, DestinationConfig::SENTRY);
    let mut queued = 0u64;
    while rig.log() == Outcome::Queued {
        queued += 1;
    }
    assert_eq!(rig.engine.totals().of(Category::LogItem).queued(), queued);
    assert_eq!(rig.error(), Outcome::Queued, "the reserve is for errors");
    rig.conserve();
}

#[test]
fn spans_are_evicted_by_whole_trace_and_late_ones_follow() {
    let mut rig = Rig::sentry();
    for trace in 1..=4 {
        for _ in 0..5 {
            assert_eq!(rig.span(trace), Outcome::Queued);
        }
    }
    while rig.dropped(Category::Span, DropReason::QueueOverflow) == 0 {
        let _ = rig.span(9);
    }
    assert_eq!(
        rig.dropped(Category::Span, DropReason::QueueOverflow),
        5,
        "all of trace 1, nothing else"
    );
    assert_eq!(rig.span(1), Outcome::Dropped(DropReason::QueueOverflow));
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.span(1), Outcome::Queued, "an old eviction is forgotten");
    rig.conserve();
}

#[test]
fn spans_of_one_envelope_are_of_one_trace() {
    let mut rig = Rig::sentry();
    for at in 0..10 {
        let _ = rig.span(1 + at % 3);
    }
    rig.engine.flush(rig.now);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for (id, _, records) in rig.sends() {
            sizes.push(records);
            rig.answer(id, 200);
        }
    }
    sizes.sort_unstable();
    assert_eq!(sizes, vec![3, 3, 4]);
    rig.conserve();
}

#[test]
fn a_limited_category_is_refused_and_what_waits_of_it_is_dropped_alone() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    let _ = rig.log();
    rig.limit(id, 200, b"60:log_item:key");
    assert_eq!(rig.log(), Outcome::Dropped(DropReason::RatelimitBackoff));
    assert_eq!(rig.error(), Outcome::Queued);
    rig.engine.flush(rig.now);
    assert_eq!(rig.sends().len(), 1);
    assert_eq!(rig.dropped(Category::LogItem, DropReason::RatelimitBackoff), 2);
    assert_eq!(rig.dropped(Category::LogByte, DropReason::RatelimitBackoff), 20);
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.log(), Outcome::Queued);
    rig.conserve();
}

#[test]
fn a_429_is_final_and_not_reported_upstream() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    assert!(matches!(
        rig.answer(id, 429),
        Ack::Settled(Settlement::RateLimited { .. })
    ));
    assert_eq!(rig.dropped(Category::Error, DropReason::ServerRateLimited), 1);
    rig.pass(Duration::from_secs(3600));
    assert!(rig.sends().is_empty(), "no report is owed");
    rig.conserve();
}

#[test]
fn a_503_is_retried_with_growing_pauses_and_never_before_retry_after() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let mut id = rig.sends()[0].0;
    let response = Response {
        status: 503,
        retry_after: Some(b"17"),
        ..Response::default()
    };
    rig.engine.on_response(rig.now, id, &response);
    rig.pass(Duration::from_millis(16_900));
    assert!(rig.sends().is_empty());
    for _ in 0..3 {
        rig.now = rig.deadline().unwrap().at;
        let sent = rig.sends();
        assert_eq!(sent.len(), 1);
        id = sent[0].0;
        rig.answer(id, 503);
    }
    rig.now = rig.deadline().unwrap().at;
    id = rig.sends()[0].0;
    assert_eq!(rig.answer(id, 200), Ack::Settled(Settlement::Delivered));
    rig.conserve();
}

#[test]
fn requests_that_fail_together_pause_the_destination_once() {
    let mut rig = Rig::sentry();
    for _ in 0..4 {
        let _ = rig.error();
    }
    let sent = rig.sends();
    assert_eq!(sent.len(), 4);
    rig.pass(Duration::from_millis(100));
    for (id, ..) in sent {
        rig.engine.on_failure(rig.now, id, Failure::Disconnected);
    }
    let pause = rig.deadline().unwrap().at.since(rig.now);
    assert!(pause <= Duration::from_millis(1_500), "{pause:?}");
    rig.conserve();
}

#[test]
fn there_is_a_deadline_after_more_requests_than_the_table_has_places() {
    let mut rig = Rig::sentry();
    for _ in 0..20 {
        let _ = rig.error();
        let id = rig.sends()[0].0;
        rig.answer(id, 200);
    }
    let _ = rig.log();
    assert_eq!(
        rig.deadline().map(|deadline| deadline.reason),
        Some(DeadlineReason::BatchDue)
    );
}

#[test]
fn a_request_that_cannot_be_sent_again_yet_gives_its_place_to_another_destination() {
    let storage = FixedStorage::<65, 2, 2, 32>::new();
    let mut engine = Engine::new(Config::DEFAULT, storage, 7, Instant::ORIGIN).unwrap();
    let mut config = DestinationConfig::SENTRY;
    config.concurrency.initial = 2;
    let [slow, other] = [(); 2].map(|()| engine.open_destination(Instant::ORIGIN, config).unwrap());
    let send = |engine: &mut Engine<_>, now, to| {
        let header = Header::new(to, Form::Envelope, Category::Error, 1);
        let item = Item {
            header,
            payload: b"{}\n",
        };
        assert_eq!(engine.record(now, &item), Outcome::Queued);
        match engine.poll(now) {
            Action::Send(request) => Some((request.id(), request.destination())),
            _ => None,
        }
    };
    let ids = [(); 2].map(|()| send(&mut engine, Instant::ORIGIN, slow).unwrap().0);
    engine.on_failure(Instant::from_micros(1), ids[0], Failure::Timeout);
    assert_eq!(engine.destination(slow).unwrap().concurrency, 1);
    // The pause is over, but the other request is still out.
    let now = Instant::from_micros(5_000_000);
    while let Action::Notice(_) = engine.poll(now) {}
    assert_eq!(send(&mut engine, now, other).map(|(_, to)| to), Some(other));
}

#[test]
fn an_open_breaker_begins_again_with_one_request_at_a_time() {
    let mut rig = Rig::sentry();
    for _ in 0..8 {
        let _ = rig.error();
    }
    let status = |rig: &Rig| rig.engine.destination(rig.to).unwrap();
    assert_eq!(status(&rig).concurrency, 4);
    while status(&rig).breaker == BreakerState::Closed {
        let sent = rig.sends();
        rig.pass(Duration::from_millis(1));
        for (id, ..) in sent {
            rig.engine.on_failure(rig.now, id, Failure::Connect);
        }
        rig.now = rig.deadline().unwrap().at;
    }
    assert_eq!(status(&rig).concurrency, 1);
    rig.conserve();
}

#[test]
fn records_that_cannot_be_delivered_in_time_are_dropped_by_their_last_failure() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    rig.engine.on_failure(rig.now, id, Failure::Connect);
    rig.pass(Duration::from_secs(601));
    let _ = rig.sends();
    assert_eq!(rig.dropped(Category::Error, DropReason::NetworkError), 1);
    rig.conserve();
}

#[test]
fn losses_ride_with_the_next_envelope_or_go_alone_after_a_minute() {
    let mut rig = Rig::sentry();
    rig.engine.on_losses(
        rig.now,
        Some(rig.to),
        Category::Error,
        DropReason::QueueOverflow,
        4,
    );
    assert!(rig.sends().is_empty());
    let deadline = rig.deadline().unwrap();
    assert_eq!(deadline.reason, crate::notice::DeadlineReason::ReportDue);
    rig.now = deadline.at;
    let sent = rig.sends();
    assert_eq!(sent[0].1, crate::request::RequestKind::Report);
    rig.engine.on_failure(rig.now, sent[0].0, Failure::Connect);
    rig.pass(Duration::from_secs(120));
    let again = rig.sends();
    assert_eq!(again.len(), 1, "a lost report is told again");
    rig.answer(again[0].0, 200);
    rig.pass(Duration::from_secs(120));
    assert!(rig.sends().is_empty());
    rig.conserve();
}

#[test]
fn a_report_alone_waits_while_everything_is_limited() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    rig.limit(id, 429, b"300::organization");
    let _ = rig.error();
    rig.pass(Duration::from_secs(299));
    assert!(rig.sends().is_empty(), "a limit for everything covers reports");
    rig.engine.flush(rig.now);
    assert!(rig.sends().is_empty());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.sends()[0].1, crate::request::RequestKind::Report);
    rig.conserve();
}

#[test]
fn close_does_not_wait_for_a_report_that_is_limited_beyond_its_deadline() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    rig.limit(id, 429, b"10::organization");
    let _ = rig.error();
    rig.engine
        .close(rig.now, rig.now.saturating_add(Duration::from_secs(10)));
    assert!(matches!(rig.engine.poll(rig.now), Action::Notice(_)));
    assert!(matches!(rig.engine.poll(rig.now), Action::Closed));
    rig.conserve();
}

#[test]
fn a_request_that_the_host_never_settles_is_given_up_and_tried_again() {
    let mut rig = Rig::sentry();
    let _ = rig.error();
    let id = rig.sends()[0].0;
    rig.pass(Duration::from_secs(36));
    assert!(matches!(
        rig.engine.poll(rig.now),
        Action::Notice(Notice::Stalled { .. })
    ));
    assert_eq!(rig.engine.counters().stalls, 1);
    let _ = rig.sends();
    assert_eq!(rig.answer(id, 200), Ack::Stale);
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.sends().len(), 1);
    rig.conserve();
}

#[test]
fn close_drains_then_drops_the_rest_and_accepts_nothing() {
    let mut rig = Rig::sentry();
    for _ in 0..3 {
        let _ = rig.error();
    }
    rig.engine
        .close(rig.now, rig.now.saturating_add(Duration::from_secs(2)));
    assert_eq!(rig.error(), Outcome::Dropped(DropReason::Closed));
    let sent = rig.sends();
    rig.answer(sent[0].0, 200);
    rig.pass(Duration::from_secs(2));
    assert!(matches!(rig.engine.poll(rig.now), Action::Notice(_)));
    let _ = rig.sends();
    assert!(matches!(rig.engine.poll(rig.now), Action::Closed));
    assert_eq!(rig.engine.totals().of(Category::Error).queued(), 0);
    assert_eq!(rig.engine.fill().used_blocks, 0);
    rig.conserve();
}

#[test]
fn an_idle_engine_closes_at_once() {
    let mut rig = Rig::otlp();
    rig.engine
        .close(rig.now, rig.now.saturating_add(Duration::from_secs(2)));
    assert!(matches!(rig.engine.poll(rig.now), Action::Closed));
}

#[test]
fn the_least_recently_used_idle_destination_makes_room_and_old_ids_are_refused() {
    let mut rig = Rig::sentry();
    let second = rig
        .engine
        .open_destination(rig.now, DestinationConfig::SENTRY)
        .unwrap();
    let third = rig
        .engine
        .open_destination(rig.now, DestinationConfig::SENTRY)
        .unwrap();
    rig.pass(Duration::from_secs(1));
    let _ = rig.error();
    let header = Header::new(third, Form::Envelope, Category::Error, 1);
    assert_eq!(rig.record(header, b"{}\n"), Outcome::Queued);
    let fourth = rig
        .engine
        .open_destination(rig.now, DestinationConfig::SENTRY)
        .unwrap();
    assert_eq!(fourth.index(), second.index());
    let stale = Header::new(second, Form::Envelope, Category::Error, 1);
    assert_eq!(
        rig.record(stale, b"{}\n"),
        Outcome::Dropped(DropReason::QueueOverflow)
    );
    let used = Header::new(fourth, Form::Envelope, Category::Error, 1);
    assert_eq!(rig.record(used, b"{}\n"), Outcome::Queued);
    assert!(matches!(
        rig.engine.open_destination(rig.now, DestinationConfig::SENTRY),
        Err(OpenError::NoDestination(_))
    ));
    rig.conserve();
}

#[test]
fn lanes_take_turns_by_weight() {
    let mut rig = Rig::sentry();
    let mut order = Vec::new();
    for _ in 0..12 {
        for (category, priority) in [
            (Category::Error, Priority::Critical),
            (Category::Transaction, Priority::Medium),
        ] {
            let mut header = Header::new(rig.to, Form::Envelope, category, 1);
            header.priority = priority;
            let _ = rig.record(header, b"{}\n");
        }
    }
    for _ in 0..16 {
        let sent = rig.sends();
        for (id, ..) in sent {
            let slot = rig.engine.storage.view().requests[id.index()];
            order.push(slot.priority);
            rig.answer(id, 200);
        }
    }
    let critical = order
        .iter()
        .take(16)
        .filter(|priority| **priority == Priority::Critical)
        .count();
    assert_eq!(critical, 10, "5 of 8 turns");
    rig.conserve();
}

#[test]
fn a_clock_that_steps_back_is_counted_and_harmless() {
    let mut rig = Rig::sentry();
    rig.pass(Duration::from_secs(10));
    let _ = rig.error();
    rig.now = Instant::ORIGIN;
    let sent = rig.sends();
    assert_eq!(sent.len(), 1);
    assert!(rig.engine.counters().clock_steps_back > 0);
    rig.conserve();
}

#[test]
fn polling_twice_at_one_moment_changes_nothing() {
    let mut rig = Rig::sentry();
    let _ = rig.log();
    let first = rig.deadline();
    assert_eq!(first, rig.deadline());
    assert_eq!(first, rig.engine.next_deadline(rig.now));
}
