mod panics;

use core::future::Future;
use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use surgetank_core::breaker::BreakerConfig;
use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::item::{Category, DestinationId, DropReason, Form, Header, Outcome};
use surgetank_core::response::Failure;

use super::*;
use crate::diagnostics::DiagnosticEvent;

/// What the exporter of these tests does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Accept,
    /// Never answers.
    Stall,
    /// Panics when the attempt is made.
    PanicAtOnce,
    /// Panics while the attempt is under way.
    PanicLater,
    /// As [`Behaviour::PanicAtOnce`], with a value that panics again when it is dropped.
    BombAtOnce,
    /// As [`Behaviour::PanicLater`], with such a value.
    BombLater,
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("asked to panic again");
    }
}

#[derive(Clone)]
pub(super) struct TestExporter {
    behaviour: Arc<Mutex<Behaviour>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl TestExporter {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour: Arc::new(Mutex::new(behaviour)),
            sent: Arc::default(),
        }
    }

    /// The bodies that were sent.
    pub(super) fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap().clone()
    }

    fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }
}

impl Exporter for TestExporter {
    type Target = ();

    fn export(
        &self,
        outgoing: Outgoing<()>,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let behaviour = *self.behaviour.lock().unwrap();
        match behaviour {
            Behaviour::PanicAtOnce => panic!("asked to panic"),
            Behaviour::BombAtOnce => std::panic::panic_any(Bomb),
            _ => {}
        }
        let sent = Arc::clone(&self.sent);
        async move {
            match behaviour {
                Behaviour::Stall => core::future::pending().await,
                Behaviour::PanicLater => panic!("asked to panic"),
                Behaviour::BombLater => std::panic::panic_any(Bomb),
                _ => {
                    sent.lock().unwrap().push(outgoing.body);
                    Ok(Answer::accepted())
                }
            }
        }
    }
}

pub(super) fn config() -> DeliveryConfig {
    DeliveryConfig {
        intake_bytes: 64 * 1024,
        queue_bytes: 256 * 1024,
        max_destinations: 4,
        max_requests: 8,
        engine: Config::DEFAULT,
        seed: 1,
        thread_name: "surgetank-test",
        diagnostics: None,
    }
}

pub(super) fn spec() -> DestinationSpec<()> {
    DestinationSpec {
        config: DestinationConfig {
            breaker: BreakerConfig {
                consecutive_failures: 64,
                ..BreakerConfig::DEFAULT
            },
            ..DestinationConfig::OTLP
        },
        sdk_name: "test".to_owned(),
        sdk_version: "0".to_owned(),
        public_key: String::new(),
        release: None,
        environment: None,
        resource: Vec::new(),
        scope: Vec::new(),
        origins: Arc::default(),
        log_attributes: Vec::new(),
        target: (),
    }
}

fn delivery(config: DeliveryConfig, exporter: TestExporter) -> (Delivery<TestExporter>, DestinationId) {
    let (delivery, ids) = Delivery::new(config, exporter, vec![spec()]).unwrap();
    (delivery, ids[0])
}

pub(super) fn span(id: DestinationId) -> Header {
    Header::new(id, Form::OtlpRecord, Category::Span, 1)
}

const PATIENT: Duration = Duration::from_secs(60);
/// For calls that cannot complete. The delivery thread of a busy machine may not have run by then.
const SHORT: Duration = Duration::from_millis(200);

/// Waits until the status is as it should become.
#[track_caller]
fn wait_until(delivery: &Delivery<TestExporter>, done: impl Fn(&Status) -> bool) {
    let clock = clock::Clock::start();
    loop {
        let status = delivery.status();
        if done(&status) {
            return;
        }
        let waited = Duration::from(clock.now().since(surgetank_core::time::Instant::ORIGIN));
        assert!(waited < PATIENT, "{status:?}");
    }
}

fn totals(delivery: &Delivery<TestExporter>) -> surgetank_core::ledger::CategoryTotals {
    delivery.status().totals.of(Category::Span)
}

#[test]
fn what_is_recorded_is_delivered_and_counted() {
    let exporter = TestExporter::new(Behaviour::Accept);
    let (delivery, id) = delivery(config(), exporter.clone());
    assert_eq!(delivery.status().worker.state, WorkerState::NotStarted);
    for _ in 0..100 {
        assert_eq!(delivery.record(&span(id), b"a record"), Outcome::Queued);
    }
    let report = delivery.flush(PATIENT);
    assert!(report.complete, "{report:?}");
    assert_eq!(report.left().count(), 0);
    assert_eq!(report.delivered().collect::<Vec<_>>(), [(Category::Span, 100)]);
    let bytes: usize = exporter.sent.lock().unwrap().iter().map(Vec::len).sum();
    assert!(bytes >= 100 * b"a record".len());
    let report = delivery.close(PATIENT);
    assert!(report.complete);
    assert_eq!(delivery.status().worker.state, WorkerState::Ended);
}

#[test]
fn after_close_records_are_refused_and_counted() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Accept));
    let _ = delivery.record(&span(id), b"1");
    assert!(delivery.close(PATIENT).complete);
    assert_eq!(
        delivery.record(&span(id), b"2"),
        Outcome::Dropped(DropReason::Closed)
    );
    let _ = delivery.record(&span(id), b"3");
    let status = delivery.status();
    let sums = status.totals.of(Category::Span);
    assert_eq!((sums.recorded, sums.delivered, sums.dropped), (3, 1, 2));
    assert_eq!(status.totals.dropped(Category::Span, DropReason::Closed), 2);
}

#[test]
fn a_delivery_that_was_never_used_closes_without_a_thread() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Stall));
    assert!(delivery.flush(PATIENT).complete);
    assert!(delivery.close(PATIENT).complete);
    assert_eq!(delivery.status().worker.state, WorkerState::Ended);
    assert_eq!(
        delivery.record(&span(id), b"late"),
        Outcome::Dropped(DropReason::Closed)
    );
    assert!(!delivery.start());
    assert!(delivery.flush(PATIENT).complete);
}

#[test]
fn flush_and_close_keep_their_deadlines_when_nothing_answers() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Stall));
    for _ in 0..10 {
        let _ = delivery.record(&span(id), b"x");
    }
    let clock = clock::Clock::start();
    assert!(!delivery.flush(SHORT).complete);
    wait_until(&delivery, |status| {
        status.totals.of(Category::Span).queued() == 10
    });
    let again = delivery.flush(SHORT);
    assert!(!again.complete);
    assert_eq!(again.left().collect::<Vec<_>>(), [(Category::Span, 10)]);
    assert!(!delivery.close(SHORT).complete);
    // The end that the first one set comes soon, however long the second would wait.
    let closed = delivery.close(PATIENT);
    assert_eq!(closed.sums.dropped(Category::Span, DropReason::Closed), 10);
    assert_eq!(closed.left().count(), 0);
    let spent = Duration::from(clock.now().since(surgetank_core::time::Instant::ORIGIN));
    assert!(spent < PATIENT / 2, "{spent:?}");
}

#[test]
fn a_full_queue_does_not_hold_up_flush() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Stall));
    let payload = [0; 1000];
    let mut dropped = 0u64;
    for _ in 0..2000 {
        dropped += u64::from(delivery.record(&span(id), &payload) != Outcome::Queued);
    }
    assert!(!delivery.flush(SHORT).complete);
    wait_until(&delivery, |status| {
        status.totals.of(Category::Span).recorded == 2000
    });
    let status = delivery.status();
    let sums = status.totals.of(Category::Span);
    assert_eq!(sums.queued() + sums.dropped, 2000);
    assert!(sums.dropped >= dropped && status.totals.dropped(Category::Span, DropReason::QueueOverflow) > 0);
    assert!(!delivery.close(SHORT).complete);
}

#[test]
fn two_threads_may_flush_at_once() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Accept));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _ = delivery.record(&span(id), b"x");
                    assert!(delivery.flush(PATIENT).complete);
                }
            });
        }
    });
    assert_eq!(totals(&delivery).delivered, 200);
    assert!(delivery.close(PATIENT).complete);
}

/// Set from the callback, looked at by the test.
#[derive(Default)]
struct Flag {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Flag {
    fn set(&self) {
        *self.set.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let set = self.set.lock().unwrap();
        let (_set, timeout) = self
            .changed
            .wait_timeout_while(set, PATIENT, |set| !*set)
            .unwrap();
        assert!(!timeout.timed_out());
    }
}

#[test]
fn callbacks_may_record_flush_and_close_without_a_deadlock() {
    let exporter = TestExporter::new(Behaviour::PanicAtOnce);
    let handle = Arc::new(Mutex::new(None::<(Delivery<TestExporter>, DestinationId)>));
    let called = Arc::new(Flag::default());
    let calls = Arc::new(AtomicUsize::new(0));
    let (of_callback, flag, count) = (Arc::clone(&handle), Arc::clone(&called), Arc::clone(&calls));
    let config = DeliveryConfig {
        diagnostics: Some(Arc::new(move |_| {
            let handle = of_callback.lock().unwrap().clone();
            if let Some((delivery, id)) = handle {
                assert_eq!(
                    delivery.record(&span(id), b"from inside"),
                    Outcome::Dropped(DropReason::Reentrant)
                );
                assert!(!delivery.flush(PATIENT).complete);
                let _ = delivery.status();
                let _ = delivery.close(SHORT);
                count.fetch_add(1, Ordering::SeqCst);
                flag.set();
            }
        })),
        ..config()
    };
    let (delivery, id) = delivery(config, exporter.clone());
    *handle.lock().unwrap() = Some((delivery.clone(), id));
    let _ = delivery.record(&span(id), b"x");
    let _ = delivery.flush(Duration::from_millis(1));
    called.wait();
    let _ = delivery.close(PATIENT);
    let status = delivery.status();
    assert_eq!(status.worker.state, WorkerState::Ended);
    assert_eq!(
        status.totals.dropped(Category::Span, DropReason::Reentrant),
        calls.load(Ordering::SeqCst) as u64
    );
    assert_eq!(status.diagnostics.callback_panics, 0);
    handle.lock().unwrap().take();
}

/// Records wherever it is called: in the call, in the attempt, and when the attempt is dropped.
#[derive(Clone, Default)]
struct Feedback {
    handle: Arc<OnceLock<(Delivery<Feedback>, DestinationId)>>,
    refused: Arc<AtomicUsize>,
}

impl Feedback {
    fn record(&self) {
        if let Some((delivery, id)) = self.handle.get()
            && delivery.record(&span(*id), b"from inside") == Outcome::Dropped(DropReason::Reentrant)
        {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Records when it is dropped.
struct LastWords(Feedback);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.record();
    }
}

impl Exporter for Feedback {
    type Target = ();

    fn export(&self, _: Outgoing<()>) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        self.record();
        let last_words = LastWords(self.clone());
        async move {
            last_words.0.record();
            Ok(Answer::accepted())
        }
    }
}

#[test]
fn an_exporter_that_records_is_refused_and_comes_to_rest() {
    let exporter = Feedback::default();
    let (delivery, ids) = Delivery::new(config(), exporter.clone(), vec![spec()]).unwrap();
    let _ = exporter.handle.set((delivery.clone(), ids[0]));
    for _ in 0..3 {
        let _ = delivery.record(&span(ids[0]), b"x");
        assert!(delivery.flush(PATIENT).complete);
    }
    assert!(delivery.close(PATIENT).complete);
    // Three requests, each of which was recorded about three times.
    assert_eq!(exporter.refused.load(Ordering::SeqCst), 9);
    let totals = delivery.status().totals;
    let sums = totals.of(Category::Span);
    assert_eq!((sums.recorded, sums.delivered), (12, 3));
    assert_eq!(totals.dropped(Category::Span, DropReason::Reentrant), 9);
}

#[test]
fn a_producer_in_the_middle_of_a_record_holds_up_flush_and_shows() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Accept));
    let _ = delivery.record(&span(id), b"before");
    let slot = delivery.shared.intake.reserve(&span(id), 100).unwrap();
    let _ = delivery.record(&span(id), b"behind it");
    let report = delivery.flush(SHORT);
    assert!(!report.complete && report.intake_bytes > 0, "{report:?}");
    // What was in front of it is delivered.
    wait_until(&delivery, |status| {
        status.totals.of(Category::Span).delivered == 1
    });
    let pushed = slot.commit();
    if pushed.wake {
        delivery.shared.ring.ring();
    }
    assert!(delivery.flush(PATIENT).complete);
    assert_eq!(totals(&delivery).delivered, 3);
    assert!(delivery.close(PATIENT).complete);
}

#[test]
fn what_finds_no_room_in_the_intake_is_refused_and_not_counted_where_the_host_promises_room() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Accept));
    let _ = delivery.record(&span(id), b"starts the thread");
    assert!(delivery.flush(PATIENT).complete);
    // Nothing behind it leaves the intake.
    let slot = delivery.shared.intake.reserve(&span(id), 8).unwrap();
    let taken = (0..)
        .take_while(|_| delivery.record_in_room(&span(id), &[0; 500]) == Outcome::Queued)
        .count() as u64;
    assert!(delivery.shared.intake.fill_bytes() > delivery.shared.intake.capacity() / 2);
    let _ = slot.commit();
    assert!(delivery.close(PATIENT).complete);
    let sums = totals(&delivery);
    assert_eq!((sums.delivered, sums.dropped), (taken + 2, 0));
}

#[test]
fn close_ends_although_a_producer_never_commits_and_says_what_it_leaves() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Accept));
    let slot = delivery.shared.intake.reserve(&span(id), 100).unwrap();
    let _ = delivery.record(&span(id), b"behind it");
    let report = delivery.close(SHORT);
    assert!(!report.complete && report.intake_bytes > 0, "{report:?}");
    wait_until(&delivery, |status| status.worker.state == WorkerState::Ended);
    drop(slot);
}

#[test]
fn a_thread_that_is_stuck_in_a_callback_shows_as_stalled() {
    let begun = Arc::new(Flag::default());
    let go_on = Arc::new(Flag::default());
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let config = DeliveryConfig {
        diagnostics: Some(Arc::new(move |_| {
            tell.set();
            wait.wait();
        })),
        ..config()
    };
    let (delivery, id) = delivery(config, TestExporter::new(Behaviour::PanicAtOnce));
    let _ = delivery.record(&span(id), b"x");
    assert!(!delivery.flush(SHORT).complete);
    begun.wait();
    let stalled = |status: &Status| {
        status
            .health
            .causes
            .contains(surgetank_core::health::Cause::WorkerStalled)
    };
    wait_until(&delivery, stalled);
    assert!(
        !delivery.close(SHORT).complete,
        "and nobody waits for it for ever"
    );
    go_on.set();
    let _ = delivery.close(PATIENT);
    assert_eq!(delivery.status().worker.state, WorkerState::Ended);
}

#[test]
fn destinations_can_be_opened_while_it_runs() {
    let exporter = TestExporter::new(Behaviour::Accept);
    let (delivery, first) = delivery(config(), exporter);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let second = runtime.block_on(delivery.open_destination(spec())).unwrap();
    assert_ne!(first, second);
    assert!(delivery.is_current(first) && delivery.is_current(second));
    assert!(!delivery.is_current(DestinationId::new(3, 0)));
    let _ = delivery.record(&span(second), b"x");
    assert!(delivery.flush(PATIENT).complete);
    for _ in 0..3 {
        // Four places: the idle one that was used least recently makes room.
        runtime.block_on(delivery.open_destination(spec())).unwrap();
    }
    assert!(!delivery.is_current(first) && delivery.is_current(second));
    assert!(delivery.close(PATIENT).complete);
    assert_eq!(
        runtime.block_on(delivery.open_destination(spec())),
        Err(OpenDestinationError::Stopped)
    );
}

#[test]
fn the_status_is_json_without_secrets() {
    let (delivery, id) = delivery(config(), TestExporter::new(Behaviour::Accept));
    let _ = delivery.record(&span(id), b"x");
    let _ = delivery.flush(PATIENT);
    let status = serde_json::to_value(delivery.status()).unwrap();
    assert_eq!(status["worker"]["state"], "running");
    assert_eq!(status["destinations"][0]["protocol"], "otlp");
    assert_eq!(status["totals"]["categories"][0]["category"], "span");
    assert_eq!(status["totals"]["categories"][0]["delivered"], 1);
    assert!(delivery.close(PATIENT).complete);
}
