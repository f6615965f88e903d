//! Signal handlers may record, whatever they interrupt.
#![cfg(unix)]

mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use surgetank::sentry::Log;
use surgetank::{Category, Client, Outcome};

use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(60);

static CLIENT: OnceLock<Client> = OnceLock::new();
static FROM_HANDLER: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

fn record(body: &str) {
    let Some(client) = CLIENT.get() else { return };
    let log = Log {
        body,
        ..Log::default()
    };
    if client.log(&log) != Outcome::Queued {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn on_alarm(_: libc::c_int) {
    record("from the handler");
    FROM_HANDLER.fetch_add(1, Ordering::Relaxed);
}

/// Has the timer's signal come every `micros` microseconds; 0 stops it.
fn every(micros: libc::suseconds_t) {
    let span = libc::timeval {
        tv_sec: 0,
        tv_usec: micros,
    };
    let timer = libc::itimerval {
        it_interval: span,
        it_value: span,
    };
    // SAFETY: `timer` is valid to read, and no old value is asked for.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

#[test]
fn a_handler_records_in_the_middle_of_recording() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .build()
        .unwrap();
    assert!(client.start(), "the thread does not start in a handler");
    let client = CLIENT.get_or_init(|| client);
    // SAFETY: the action is zeroed but for its handler and flags, which is a valid action; the handler only records.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(
            libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    every(150);
    let until = support::now() + Duration::from_secs(2);
    let mut recorded = 0u64;
    while support::now() < until || FROM_HANDLER.load(Ordering::Relaxed) <= 100 {
        record("from the program");
        recorded += 1;
    }
    every(0);
    let report = client.close(PATIENT);
    let from_handler = FROM_HANDLER.load(Ordering::Relaxed);
    assert!(from_handler > 100, "{from_handler} signals");
    let sums = client.status().totals.of(Category::LogItem);
    assert_eq!(sums.recorded, recorded + from_handler);
    assert_eq!(sums.recorded, sums.delivered + sums.dropped);
    assert!(sums.dropped >= DROPPED.load(Ordering::Relaxed));
    assert_eq!(report.intake_bytes, 0);
    assert_eq!(
        client
            .status()
            .totals
            .dropped(Category::LogItem, surgetank::DropReason::Reentrant),
        0,
        "no handler ran on the delivery thread"
    );
}
