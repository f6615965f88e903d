//! Whatever a server does, recording never waits for it, and flush and close return in time.
//!
//! Each server is met at each fill level of the queue, by two threads that flush and two that close at the same moment; each
//! other place where records may lie (in flight, in the intake, before a thread that is stuck or dead, waiting for their
//! root) at each of its fill levels, by them, in a callback, and in `Drop`. `at_exit.rs` does the same at the exit.
//! "In time" is 100 ms after the deadline and what the machine itself withheld (see `punctual`).

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/held.rs"]
mod held;
#[cfg(feature = "opentelemetry")]
#[path = "../support/sdk_span.rs"]
mod sdk_span;
#[path = "../support/switches.rs"]
mod switches;
mod unfriendly;
mod upstream;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use surgetank::sentry::Level;
use surgetank::{Category, Client, DropReason, FlushReport, Outcome, Status};
use surgetank_core::health::Cause;

use held::{Fill, Held, Place, record};
use support::punctual::{on_time, within};
use support::{Reply, Server};
use switches::Waits;
use upstream::Upstream;

/// What flush and close are given.
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// For a call that has nothing to wait for.
const AT_ONCE: Duration = Duration::ZERO;

const PATIENT: Duration = Duration::from_secs(60);

fn is_reached(level: Fill, status: &Status) -> bool {
    match level {
        Fill::Empty | Fill::OneRecord => true,
        Fill::Half => status.queue.used_bytes * 2 >= status.queue.capacity_bytes,
        Fill::Full => status.totals.dropped(Category::Error, DropReason::QueueOverflow) > 0,
    }
}

/// Records from an empty queue up to the level, and a while at it; no call may wait.
fn fill(client: &Client, level: Fill, upstream: &str) {
    match level {
        Fill::Empty => return,
        Fill::OneRecord => return record(client),
        Fill::Half | Fill::Full => {}
    }
    let mut waits = Waits::default();
    let clock = support::now();
    while !is_reached(level, &client.status()) {
        waits.count(|| record(client));
        assert!(clock.elapsed() < PATIENT, "{upstream}: {:?}", client.status());
    }
    if level == Fill::Full {
        for _ in 0..500 {
            waits.count(|| record(client));
        }
        assert!(waits.calls > 1000, "{upstream}: {waits:?}");
    }
    assert_eq!(waits.waits, 0, "{upstream}, {level:?}: {waits:?}");
}

/// The same call by two threads at once, each of which must return by the deadline.
fn twice(what: &str, call: impl Fn() -> FlushReport + Sync) -> [FlushReport; 2] {
    let timed = || within(TWO_SECONDS, what, &call);
    std::thread::scope(|scope| {
        let calls = [scope.spawn(timed), scope.spawn(timed)];
        calls.map(|call| call.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Everything that was recorded was delivered or dropped.
fn assert_settled(client: &Client, what: &str) {
    let totals = client.status().totals;
    for (category, sums) in totals.categories() {
        assert_eq!(
            sums.recorded,
            sums.delivered + sums.dropped,
            "{what}, {category:?}: {:?}",
            totals.reasons()
        );
    }
}

fn meet(upstream: &Upstream, level: Fill) {
    let what = format!("{}, {level:?}", upstream.name);
    let client = upstream.client().build().unwrap();
    assert!(client.start());
    fill(&client, level, upstream.name);
    for report in twice(&format!("flush: {what}"), || client.flush(TWO_SECONDS)) {
        let left = report.left().count() > 0 || report.intake_bytes > 0;
        // The other way round need not hold: what the worker took a moment ago may not be in the published sums yet.
        assert!(!(report.complete && left), "{what}: {report:?}");
    }
    let _ = twice(&format!("close: {what}"), || client.close(TWO_SECONDS));
    let ended = client.close(PATIENT);
    assert_eq!(ended.left().count(), 0, "{what}: dropped and counted");
    within(AT_ONCE, "flush once closed", || client.flush(PATIENT));
    within(AT_ONCE, "close once closed", || client.close(PATIENT));
    assert_settled(&client, &what);
    if level != Fill::Empty {
        assert!(upstream.was_met(), "{what}");
    }
}

#[test]
fn no_server_holds_up_a_record_a_flush_or_a_close() {
    let upstreams = Upstream::all();
    std::thread::scope(|scope| {
        for upstream in &upstreams {
            for level in Fill::ALL {
                scope.spawn(move || on_time(|| meet(upstream, level)));
            }
        }
    });
}

#[test]
fn a_server_that_half_closes_after_each_answer_gets_everything_once() {
    let server = Server::start(|_, _| Reply::AnswerThenHalfClose);
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .build()
        .unwrap();
    for _ in 0..5 {
        let _ = client.message(Level::Error, "x");
        assert!(client.flush(PATIENT).complete);
    }
    assert!(client.close(PATIENT).complete);
    assert_eq!(client.status().totals.of(Category::Error).delivered, 5);
    assert_eq!(server.requests().len(), 5);
}

/// Plays the scene in every place at every level, all at once.
fn everywhere(scene: impl Fn(Place, Fill) + Sync) {
    let scene = &scene;
    std::thread::scope(|scope| {
        for (place, level) in Place::all() {
            scope.spawn(move || on_time(|| scene(place, level)));
        }
    });
}

#[test]
fn two_threads_that_flush_and_two_that_close_at_once_return_in_time() {
    everywhere(|place, level| {
        let held = Held::new(place, level);
        let client = &held.client;
        let what = format!("{place:?}, {level:?}");
        let flush = || {
            within(TWO_SECONDS, &format!("flush: {what}"), || {
                client.flush(TWO_SECONDS)
            })
        };
        let close = || {
            within(TWO_SECONDS, &format!("close: {what}"), || {
                client.close(TWO_SECONDS)
            })
        };
        let closed = std::thread::scope(|scope| {
            let flushes = [scope.spawn(flush), scope.spawn(flush)];
            let closes = [scope.spawn(close), scope.spawn(close)];
            let _ = flushes.map(|call| call.join().unwrap_or_else(|panic| resume_unwind(panic)));
            closes.map(|call| call.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let nobody_reads = matches!(place, Place::Intake | Place::IntakeOfTheDead);
        for report in closed {
            assert!(
                !(nobody_reads && report.complete),
                "{what}: nobody says that it is: {report:?}"
            );
            assert_eq!(
                report.intake_bytes > 0,
                nobody_reads && level != Fill::Empty,
                "{what}: {report:?}"
            );
        }
        if place == Place::IntakeOfTheDead {
            let causes = client.status().health.causes;
            assert!(causes.contains(Cause::WorkerStalled), "{what}: {causes:?}");
            return;
        }
        let client = client.clone();
        drop(held);
        let _ = client.close(PATIENT);
        assert_settled(&client, &what);
    });
}

#[test]
fn flush_and_close_in_a_callback_do_not_wait() {
    everywhere(|place, level| {
        if place == Place::IntakeOfTheDead {
            // It calls nobody.
            return;
        }
        let held = Held::new(place, level);
        let what = format!("in a callback: {place:?}, {level:?}");
        held.in_callback(move |client| {
            let flushed = within(AT_ONCE, &what, || client.flush(TWO_SECONDS));
            assert!(!flushed.complete, "{what}");
            within(AT_ONCE, &what, || client.close(TWO_SECONDS));
        });
    });
}

#[test]
fn dropping_the_client_takes_two_seconds_at_most_whatever_is_full() {
    everywhere(|place, level| {
        let (client, rest) = Held::new(place, level).apart();
        within(TWO_SECONDS, &format!("drop: {place:?}, {level:?}"), || {
            drop(client)
        });
        drop(rest);
    });
}

#[test]
fn a_callback_neither_waits_nor_records() {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    static CALLED: Mutex<u64> = Mutex::new(0);
    let server = Server::start(|_, number| {
        if number == 0 {
            Reply::status(400)
        } else {
            Reply::Stall
        }
    });
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .on_diagnostic(|_| {
            let Some(client) = CLIENT.get() else { return };
            let refused = client.message(Level::Error, "from inside").outcome;
            assert_eq!(refused, Outcome::Dropped(DropReason::Reentrant));
            within(TWO_SECONDS, "flush in a callback", || client.flush(PATIENT));
            within(TWO_SECONDS, "close in a callback", || client.close(PATIENT));
            within(TWO_SECONDS, "status in a callback", || client.status());
            *CALLED.lock().unwrap() += 1;
        })
        .build()
        .unwrap();
    let client = CLIENT.get_or_init(|| client);
    for _ in 0..50 {
        record(client);
    }
    server.wait_for(|requests| requests.len() > 1);
    // The callback began it; this brings the end forward.
    let _ = client.close(TWO_SECONDS);
    let closed = client.close(PATIENT);
    assert_eq!(closed.left().count(), 0);
    let status = client.status();
    let called = *CALLED.lock().unwrap();
    assert!(called > 0);
    assert_eq!(status.diagnostics.callback_panics, 0);
    assert_eq!(
        status.totals.dropped(Category::Error, DropReason::Reentrant),
        called
    );
    assert_settled(client, "callback");
}

/// Looks at the time while it drops the client.
struct OnTime(Option<Client>, Arc<Mutex<Option<std::thread::Result<()>>>>);

impl Drop for OnTime {
    fn drop(&mut self) {
        let client = self.0.take();
        let dropping = AssertUnwindSafe(|| within(TWO_SECONDS, "drop at a thread's end", || drop(client)));
        // A panic must not leave the destructor of a thread's own value.
        *self.1.lock().unwrap() = Some(catch_unwind(dropping));
    }
}

#[test]
fn dropping_takes_two_seconds_at_most_wherever_it_happens() {
    thread_local! {
        static OF_THREAD: RefCell<Option<OnTime>> = const { RefCell::new(None) };
    }
    let upstream = Upstream::http("stalls", Reply::Stall);
    let client = || {
        let client = upstream.client().build().unwrap();
        fill(&client, Fill::Half, "stalls");
        client
    };
    let plainly = || {
        let client = client();
        within(TWO_SECONDS, "drop", || drop(client));
    };
    let while_unwinding = || {
        let client = client();
        let unwound = AssertUnwindSafe(move || {
            let _dropped = client;
            resume_unwind(Box::new("on its way"));
        });
        within(TWO_SECONDS, "drop while unwinding", || {
            catch_unwind(unwound).is_err()
        });
    };
    let at_the_end_of_a_thread = || {
        let verdict = Arc::new(Mutex::new(None));
        let client = OnTime(Some(client()), Arc::clone(&verdict));
        let thread = std::thread::spawn(move || OF_THREAD.set(Some(client)));
        thread.join().unwrap();
        if let Err(late) = verdict.lock().unwrap().take().unwrap() {
            resume_unwind(late);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| on_time(plainly));
        scope.spawn(|| on_time(while_unwinding));
        scope.spawn(|| on_time(at_the_end_of_a_thread));
    });
}

#[test]
fn recording_is_given_no_page_of_the_intake() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .build()
        .unwrap();
    let text = "x".repeat(4000);
    let fill = |bytes: usize| {
        for _ in 0..bytes / text.len() {
            let _ = client.message(Level::Error, &text);
        }
    };
    // The thread's own memory and the pages of the program.
    fill(100 * 1024);
    let mut faults = 0;
    // Twice around.
    for _ in 0..8 {
        let _ = client.flush(PATIENT);
        faults += switches::faults(|| fill(256 * 1024));
    }
    let status = client.status();
    assert!(status.intake.capacity_bytes >= 1024 * 1024, "{status:?}");
    let sums = status.totals.of(Category::Error);
    assert!(sums.recorded - sums.dropped > 300, "{status:?}");
    // It is 256 pages, and now and then the system takes one away.
    assert!(faults < 64, "{faults}");
}
