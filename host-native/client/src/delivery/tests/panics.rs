//! Panics on the delivery thread: in the exporter, in a callback, in the engine, and in what a panic carries.

use super::*;

#[test]
fn a_panic_in_an_attempt_is_a_failed_attempt() {
    let exporter = TestExporter::new(Behaviour::PanicLater);
    let (delivery, id) = delivery(config(), exporter.clone());
    let _ = delivery.record(&span(id), b"x");
    let _ = delivery.flush(SHORT);
    exporter.becomes(Behaviour::Accept);
    let _ = delivery.close(PATIENT);
    let sums = totals(&delivery);
    assert_eq!(sums.delivered + sums.dropped, 1);
    assert_eq!(delivery.status().worker.restarts, 0);
}

#[test]
fn a_panic_on_the_thread_is_survived_with_the_queue() {
    let exporter = TestExporter::new(Behaviour::PanicAtOnce);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let config = DeliveryConfig {
        diagnostics: Some(Arc::new(move |diagnostic| {
            sink.lock().unwrap().push(diagnostic.event);
        })),
        ..config()
    };
    let (delivery, id) = delivery(config, exporter.clone());
    let _ = delivery.record(&span(id), b"x");
    let _ = delivery.flush(SHORT);
    wait_until(&delivery, |status| status.worker.restarts > 0);
    exporter.becomes(Behaviour::Accept);
    for _ in 0..10 {
        let _ = delivery.record(&span(id), b"y");
    }
    assert!(delivery.close(PATIENT).complete);
    let sums = totals(&delivery);
    assert_eq!((sums.recorded, sums.delivered + sums.dropped), (11, 11));
    assert!(sums.delivered >= 10);
    assert!(
        told.lock()
            .unwrap()
            .contains(&DiagnosticEvent::WorkerPanicked { queue_lost: false })
    );
}

#[test]
fn a_panic_inside_the_engine_costs_the_queue_and_nothing_else() {
    let clock = clock::Clock::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let exporter = TestExporter::new(Behaviour::Stall);
    let (mut kernel, ids) = Kernel::new(config(), exporter, vec![spec(), spec()], clock.now()).unwrap();
    let intake = surgetank_core::intake::Intake::allocate(4096).unwrap();
    let mut consumer = intake.consumer().unwrap();
    let _runtime = runtime.enter();
    let mut attempts = kernel::Attempts::new();
    let feed = |kernel: &mut Kernel<TestExporter>, consumer: &mut surgetank_core::intake::Consumer<'_>| {
        for id in &ids {
            let _ = intake.push(&span(*id), b"x");
        }
        kernel.drain(clock.now(), consumer, surgetank_core::intake::Budget::ALL);
    };
    feed(&mut kernel, &mut consumer);
    let _ = kernel.flush(clock.now());
    kernel.act(clock.now(), &mut attempts);
    assert_eq!(attempts.len(), 2);
    kernel.break_engine();
    assert!(kernel.recover(clock.now(), &mut attempts));
    assert_eq!(attempts.len(), 0);
    assert_eq!(kernel.ids().collect::<Vec<_>>(), ids);
    feed(&mut kernel, &mut consumer);
    let mut snapshot = status::Snapshot::default();
    kernel.snapshot(clock.now(), &mut snapshot);
    let sums = snapshot.sums.of(Category::Span);
    assert_eq!((sums.recorded, sums.dropped, sums.queued()), (4, 2, 2));
    assert_eq!(
        snapshot
            .sums
            .dropped(Category::Span, DropReason::InternalSdkError),
        2
    );
    assert!(!kernel.recover(clock.now(), &mut attempts), "the mark is gone");
}

/// Records before and after the exporter fails as `behaviour` says: the thread goes on, and all is accounted for.
fn assert_survived(behaviour: Behaviour) {
    let exporter = TestExporter::new(behaviour);
    let (delivery, id) = delivery(config(), exporter.clone());
    let _ = delivery.record(&span(id), b"x");
    let _ = delivery.flush(SHORT);
    wait_until(&delivery, |status| {
        status.worker.restarts > 0
            || status.totals.of(Category::Span).dropped > 0
            || status.queue.used_bytes > 0
    });
    exporter.becomes(Behaviour::Accept);
    for _ in 0..10 {
        let _ = delivery.record(&span(id), b"y");
    }
    assert!(delivery.close(PATIENT).complete);
    let sums = totals(&delivery);
    assert_eq!((sums.recorded, sums.delivered + sums.dropped), (11, 11));
    assert!(sums.delivered >= 10);
    assert_eq!(delivery.status().worker.state, WorkerState::Ended);
}

#[test]
fn a_panic_that_carries_another_one_does_not_end_the_thread() {
    assert_survived(Behaviour::BombAtOnce);
    assert_survived(Behaviour::BombLater);
}

#[test]
fn a_callback_whose_panic_carries_another_one_is_counted() {
    let config = DeliveryConfig {
        diagnostics: Some(Arc::new(|_| std::panic::panic_any(Bomb))),
        ..config()
    };
    let (delivery, id) = delivery(config, TestExporter::new(Behaviour::BombAtOnce));
    let _ = delivery.record(&span(id), b"x");
    let _ = delivery.flush(SHORT);
    wait_until(&delivery, |status| status.diagnostics.callback_panics > 0);
    let _ = delivery.close(SHORT);
    let _ = delivery.close(PATIENT);
    assert_eq!(delivery.status().worker.state, WorkerState::Ended);
}

#[test]
fn an_exporter_that_always_panics_holds_up_neither_flush_nor_close() {
    for behaviour in [
        Behaviour::PanicAtOnce,
        Behaviour::PanicLater,
        Behaviour::BombAtOnce,
    ] {
        let (delivery, id) = delivery(config(), TestExporter::new(behaviour));
        for _ in 0..100 {
            let _ = delivery.record(&span(id), b"x");
        }
        let clock = clock::Clock::start();
        let _ = delivery.flush(SHORT);
        let _ = delivery.close(SHORT);
        // What the first one set is soon over.
        let closed = delivery.close(PATIENT);
        let spent = Duration::from(clock.now().since(surgetank_core::time::Instant::ORIGIN));
        assert!(spent < PATIENT / 2, "{spent:?}");
        assert_eq!(closed.left().count(), 0);
        let sums = totals(&delivery);
        assert_eq!((sums.recorded, sums.dropped), (100, 100));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn flush_and_close_keep_their_deadlines_while_the_thread_panics_again_and_again() {
    use crate::client::tests::support::punctual::{on_time, within};

    const TWO_SECONDS: Duration = Duration::from_secs(2);
    // None, one, some, and more than there is room for.
    const RECORDS: [usize; 4] = [0, 1, 100, 2000];
    let panicking = |behaviour, records| {
        let (delivery, id) = delivery(config(), TestExporter::new(behaviour));
        for _ in 0..records {
            let _ = delivery.record(&span(id), &[0; 1000]);
        }
        let flush = || within(TWO_SECONDS, "flush", || delivery.flush(TWO_SECONDS));
        let close = || within(TWO_SECONDS, "close", || delivery.close(TWO_SECONDS));
        std::thread::scope(|scope| {
            let calls = [scope.spawn(flush), scope.spawn(flush), scope.spawn(close)];
            for call in calls {
                let _ = call.join().unwrap_or_else(|late| std::panic::resume_unwind(late));
            }
        });
        let _ = close();
        let _ = delivery.close(PATIENT);
        let sums = totals(&delivery);
        assert_eq!((sums.recorded, sums.dropped), (records as u64, records as u64));
    };
    std::thread::scope(|scope| {
        for behaviour in [Behaviour::PanicAtOnce, Behaviour::BombAtOnce] {
            for records in RECORDS {
                scope.spawn(move || on_time(|| panicking(behaviour, records)));
            }
        }
    });
}
