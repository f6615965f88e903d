//! The whole process feeds the client: every line that anything logs, the HTTP stack of the delivery thread included, and
//! every allocation that anybody makes. No deadlock, no loop, no growth: what the delivery thread makes is refused and
//! counted.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use surgetank::{Category, Client, DropReason};

use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(20);

static CLIENT: OnceLock<Client> = OnceLock::new();
/// Lines that were logged.
static LINES: AtomicU64 = AtomicU64::new(0);
/// Allocations that were recorded.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// True while allocations are to be recorded.
static ARMED: AtomicBool = AtomicBool::new(false);

fn record(body: &str, counter: &AtomicU64) {
    let Some(client) = CLIENT.get() else { return };
    counter.fetch_add(1, Ordering::Relaxed);
    let _ = client.log(&surgetank::sentry::Log {
        body,
        ..surgetank::sentry::Log::default()
    });
}

/// Feeds every line of every crate back.
struct Feedback;

impl Log for Feedback {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, line: &Record<'_>) {
        record(line.target(), &LINES);
    }

    fn flush(&self) {}
}

/// Records every allocation, from within the allocator.
struct Recording;

fn on_allocation() {
    if ARMED.load(Ordering::Relaxed) {
        record("allocated", &ALLOCATIONS);
    }
}

// SAFETY: everything is passed on to the system's allocator unchanged; recording does not allocate.
unsafe impl GlobalAlloc for Recording {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        on_allocation();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        on_allocation();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Recording = Recording;

/// An item that records when it is dropped.
struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        log::warn!("dropped");
    }
}

#[test]
fn a_process_that_feeds_its_own_telemetry_back_comes_to_rest() {
    let server = Server::start(|_, number| match number {
        1 => Reply::status(503),
        2 => Reply::Close,
        _ => Reply::ok(),
    });
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .on_diagnostic(|_| log::info!("a diagnostic"))
        .build()
        .unwrap();
    assert!(client.start());
    let client = CLIENT.get_or_init(|| client);
    log::set_logger(&Feedback).unwrap();
    log::set_max_level(LevelFilter::Trace);

    ARMED.store(true, Ordering::Relaxed);
    for number in 0..2_000 {
        log::error!("line {number}");
        drop(LastWords);
        drop(Box::new(number));
    }
    let flushed = client.flush(PATIENT);
    ARMED.store(false, Ordering::Relaxed);
    log::set_max_level(LevelFilter::Off);
    let closed = client.close(PATIENT);
    assert!(flushed.complete && closed.complete, "{flushed:?} {closed:?}");

    let totals = client.status().totals;
    let sums = totals.of(Category::LogItem);
    assert_eq!(sums.recorded, sums.delivered + sums.dropped);
    let fed = LINES.load(Ordering::Relaxed) + ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(sums.recorded, fed, "each is counted once");
    assert!(
        totals.dropped(Category::LogItem, DropReason::Reentrant) > 0,
        "the delivery thread allocates and logs"
    );
    assert!(sums.delivered >= 4_000 || totals.dropped(Category::LogItem, DropReason::QueueOverflow) > 0);
}
