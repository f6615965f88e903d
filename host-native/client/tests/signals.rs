//! Signal handlers may record, whatever they interrupt: here, mostly a thread that is recording.
#![cfg(target_os = "linux")]

mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use surgetank::sentry::Log;
use surgetank::{Category, Client, Outcome};

use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(60);

static CLIENT: OnceLock<Client> = OnceLock::new();
static FROM_HANDLER: AtomicU64 = AtomicU64::new(0);
/// Of those, how many came in the middle of a record of the interrupted thread.
static IN_THE_MIDDLE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// True while the program, and not the handler, is in a recording call.
static RECORDING: AtomicBool = AtomicBool::new(false);

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
    if RECORDING.load(Ordering::Relaxed) {
        IN_THE_MIDDLE.fetch_add(1, Ordering::Relaxed);
    }
    record("from the handler");
    FROM_HANDLER.fetch_add(1, Ordering::Relaxed);
}

/// Has a signal come to the calling thread, and to no other, every so often, until it is dropped.
struct Timer(libc::timer_t);

impl Timer {
    fn every(nanos: libc::c_long) -> Self {
        let span = libc::timespec {
            tv_sec: 0,
            tv_nsec: nanos,
        };
        let spec = libc::itimerspec {
            it_interval: span,
            it_value: span,
        };
        let mut timer = std::ptr::null_mut();
        // SAFETY: all zeros are a valid event, whose fields are then set; `timer` is valid to write to; `spec` is valid to
        // read, and no old value is asked for.
        unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGALRM;
            event.sigev_notify_thread_id = libc::gettid();
            assert_eq!(
                libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer),
                0
            );
            assert_eq!(
                libc::timer_settime(timer, 0, &raw const spec, std::ptr::null_mut()),
                0
            );
        }
        Self(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it was made by `timer_create` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
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
    let timer = Timer::every(100_000);
    let began = support::now();
    let mut recorded = 0u64;
    while IN_THE_MIDDLE.load(Ordering::Relaxed) < 5_000 && began.elapsed() < PATIENT {
        RECORDING.store(true, Ordering::Relaxed);
        record("from the program");
        RECORDING.store(false, Ordering::Relaxed);
        recorded += 1;
    }
    drop(timer);
    let report = client.close(PATIENT);
    let from_handler = FROM_HANDLER.load(Ordering::Relaxed);
    let in_the_middle = IN_THE_MIDDLE.load(Ordering::Relaxed);
    assert!(
        in_the_middle >= 1_000,
        "{in_the_middle} of {from_handler} signals interrupted a record"
    );
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
