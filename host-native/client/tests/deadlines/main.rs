//! Whatever a server does, recording never waits for it, and flush and close return in time.
//!
//! Each server is met at each fill level of the queue, by two threads that flush and two that close at the same moment.
//! "In time" is 100 ms after the deadline and what the machine itself withheld (see `punctual`).

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod switches;
mod unfriendly;
mod upstream;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use surgetank::sentry::Level;
use surgetank::{Category, Client, DropReason, FlushReport, Outcome, Status};

use support::punctual::{on_time, within};
use support::{Reply, Server};
use switches::Waits;
use upstream::Upstream;

/// What flush and close are given.
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// For a call that has nothing to wait for.
const AT_ONCE: Duration = Duration::ZERO;

const PATIENT: Duration = Duration::from_secs(60);

/// How full the queue is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fill {
    Empty,
    OneRecord,
    Half,
    Full,
}

impl Fill {
    const ALL: [Self; 4] = [Self::Empty, Self::OneRecord, Self::Half, Self::Full];

    fn is_reached(self, status: &Status) -> bool {
        match self {
            Self::Empty | Self::OneRecord => true,
            Self::Half => status.queue.used_bytes * 2 >= status.queue.capacity_bytes,
            Self::Full => status.totals.dropped(Category::Error, DropReason::QueueOverflow) > 0,
        }
    }
}

fn record(client: &Client) {
    let text = [b'x'; 200];
    let _ = client.message(Level::Error, str::from_utf8(&text).unwrap());
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
    while !level.is_reached(&client.status()) {
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

/// Opened by the test, passed by a callback.
#[derive(Default)]
struct Barrier {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Barrier {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let open = self.open.lock().unwrap();
        let (_open, waited) = self
            .changed
            .wait_timeout_while(open, PATIENT, |open| !*open)
            .unwrap();
        assert!(!waited.timed_out());
    }
}

#[test]
fn a_full_intake_before_a_thread_that_is_stuck_holds_up_nobody() {
    on_time(meet_a_stuck_thread);
}

fn meet_a_stuck_thread() {
    let upstream = Upstream::http("refuses the request", Reply::status(400));
    let (stuck, go_on) = (Arc::new(Barrier::default()), Arc::new(Barrier::default()));
    let (tell, wait) = (Arc::clone(&stuck), Arc::clone(&go_on));
    let client = upstream
        .client()
        .on_diagnostic(move |_| {
            tell.open();
            wait.pass();
        })
        .build()
        .unwrap();
    record(&client);
    assert!(!client.flush(AT_ONCE).complete);
    stuck.pass();
    let mut waits = Waits::default();
    for _ in 0..1000 {
        waits.count(|| record(&client));
    }
    assert_eq!(waits.waits, 0, "{waits:?}");
    let intake = client.status().intake;
    assert!(intake.used_bytes * 2 > intake.capacity_bytes, "{intake:?}");
    assert_eq!(
        client.message(Level::Error, &"x".repeat(2000)).outcome,
        Outcome::Dropped(DropReason::QueueOverflow)
    );
    for report in twice("flush: stuck", || client.flush(TWO_SECONDS)) {
        assert!(!report.complete && report.intake_bytes > 0);
    }
    for report in twice("close: stuck", || client.close(TWO_SECONDS)) {
        assert!(!report.complete && report.intake_bytes > 0);
    }
    go_on.open();
    let _ = client.close(PATIENT);
    assert_settled(&client, "stuck");
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
