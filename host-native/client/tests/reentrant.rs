//! The whole process feeds the client: every line and every span that anything logs, the HTTP stacks of the delivery thread
//! and TLS included, and every allocation that anybody makes. No deadlock, no loop, no growth: what the delivery thread makes
//! is refused and counted, and ten times as many records leave no more memory in use.
//!
//! The servers are a process of their own, this program started again: what they log and keep is not the client's.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own that waits for another and says what it saw"
)]

mod support;
#[path = "support/tls_server.rs"]
mod tls_server;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use log::LevelFilter;
use serde_json::{Value, json};
use surgetank::otlp::Span;
use surgetank::{Category, Client, DropReason, TlsFiles};
use tracing::level_filters::LevelFilter as TracingLevel;
use tracing::span::{Attributes, Id, Record as Values};

use support::{Reply, Server};
use tls_server::{Authority, TlsServer};

/// Tells this program to be the servers.
const SERVES: &str = "SURGETANK_TEST_SERVES";

const PATIENT: Duration = Duration::from_secs(60);

/// Lines of the first part; the second has ten times as many.
const LINES_AT_FIRST: u64 = 1_000;

/// What may be in use more after the second part than after the first: buffers that connections grew.
const MORE_BYTES: i64 = 512 * 1024;

/// Nothing may be recorded for so long, to say that it came to rest.
const REST: Duration = Duration::from_millis(200);

static CLIENT: OnceLock<Client> = OnceLock::new();
/// Lines and spans that were logged.
static LINES: AtomicU64 = AtomicU64::new(0);
/// Of those, what crates with `tracing` logged.
static TRACED: AtomicU64 = AtomicU64::new(0);
/// Allocations that were recorded.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// True while everything is to be recorded.
static ARMED: AtomicBool = AtomicBool::new(false);
/// Bytes that are allocated.
static LIVE: AtomicI64 = AtomicI64::new(0);

fn record(body: &str, counter: &AtomicU64) {
    if !ARMED.load(Ordering::SeqCst) {
        return;
    }
    let Some(client) = CLIENT.get() else { return };
    counter.fetch_add(1, Ordering::SeqCst);
    let _ = client.log(&surgetank::sentry::Log {
        body,
        ..surgetank::sentry::Log::default()
    });
}

/// Feeds every line back, of those who log with `log` and of those who log with `tracing`.
struct Feedback;

impl log::Log for Feedback {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, line: &log::Record<'_>) {
        record(line.target(), &LINES);
    }

    fn flush(&self) {}
}

impl tracing::Subscriber for Feedback {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<TracingLevel> {
        Some(TracingLevel::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        record(span.metadata().name(), &TRACED);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Values<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        record(event.metadata().target(), &TRACED);
    }

    fn enter(&self, _: &Id) {
        record("enter", &TRACED);
    }

    fn exit(&self, _: &Id) {
        record("exit", &TRACED);
    }
}

/// Records every allocation, from within the allocator.
struct Recording;

fn on_allocation(bytes: usize) {
    LIVE.fetch_add(bytes as i64, Ordering::Relaxed);
    record("allocated", &ALLOCATIONS);
}

fn on_release(bytes: usize) {
    LIVE.fetch_sub(bytes as i64, Ordering::Relaxed);
}

// SAFETY: everything is passed on to the system's allocator unchanged; recording does not allocate.
unsafe impl GlobalAlloc for Recording {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        on_allocation(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        on_release(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        on_allocation(size);
        on_release(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Recording = Recording;

fn main() -> ExitCode {
    if std::env::var_os(SERVES).is_some() {
        serve();
    } else {
        println!("\nrunning 1 test");
        feed_back();
        println!("test a_process_that_feeds_its_own_telemetry_back_comes_to_rest ... ok\n");
    }
    ExitCode::SUCCESS
}

/// Says where the servers are and what they show, and serves until nobody holds the other end of the input.
fn serve() {
    let authority = Authority::new();
    let sentry = TlsServer::start(authority.server_config(false));
    let collector = Server::start(|_, number| match number {
        1 => Reply::status(503),
        2 => Reply::Close,
        _ => Reply::ok(),
    });
    println!(
        "{}",
        json!({"sentry": sentry.dsn(), "root": authority.root, "otlp": collector.url("")})
    );
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The servers; they end with this value.
struct Servers(Child);

impl Servers {
    fn start() -> (Self, Value) {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(SERVES, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let mut says = BufReader::new(child.stdout.take().expect("its output"));
        says.read_line(&mut line).expect("a line");
        (Self(child), serde_json::from_str(&line).expect("JSON"))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An item that records when it is dropped.
struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        log::warn!("dropped");
    }
}

/// Records, and delivers it all while everything that this takes is recorded, too; bytes that are in use then.
fn feed(client: &Client, lines: u64) -> i64 {
    for number in 0..lines {
        log::error!("line {number}");
        tracing::error!(number, "event");
        drop(LastWords);
        drop(Box::new(number));
        let _ = client.otlp_span(&Span::new(client.new_trace_id(), client.new_span_id(), "work"));
    }
    let flushed = client.flush(PATIENT);
    assert!(flushed.complete, "{flushed:?}");
    come_to_rest();
    LIVE.load(Ordering::Relaxed)
}

/// Waits until nothing is recorded any more, although everything would be.
fn come_to_rest() {
    let made = || [&LINES, &TRACED, &ALLOCATIONS].map(|count| count.load(Ordering::SeqCst));
    let begun = support::now();
    let mut before = made();
    loop {
        std::thread::sleep(REST);
        let now = made();
        if now == before {
            return;
        }
        assert!(begun.elapsed() < PATIENT, "{before:?}, and then {now:?}");
        before = now;
    }
}

fn feed_back() {
    let (_servers, told) = Servers::start();
    let text = |name: &str| told[name].as_str().expect("text");
    let client = Client::builder()
        .sentry_dsn(text("sentry"))
        .otlp_endpoint(text("otlp"))
        .tls(TlsFiles::from_pem(Some(text("root").as_bytes()), None, None).expect("a certificate"))
        .environment_proxies(false)
        .on_diagnostic(|_| log::info!("a diagnostic"))
        .build()
        .expect("valid settings");
    assert!(client.start());
    let client = CLIENT.get_or_init(|| client);
    log::set_logger(&Feedback).expect("the first logger");
    log::set_max_level(LevelFilter::Trace);
    tracing::subscriber::set_global_default(Feedback).expect("the first subscriber");

    ARMED.store(true, Ordering::SeqCst);
    let first = feed(client, LINES_AT_FIRST);
    let second = feed(client, 10 * LINES_AT_FIRST);
    ARMED.store(false, Ordering::SeqCst);
    let closed = client.close(PATIENT);
    assert!(closed.complete, "{closed:?}");
    println!("{first} bytes in use after the first part, {second} after the second");
    assert!(
        second <= first + MORE_BYTES,
        "{first} bytes in use, and then {second}"
    );

    let totals = client.status().totals;
    let sums = totals.of(Category::LogItem);
    assert_eq!(sums.recorded, sums.delivered + sums.dropped);
    let [lines, traced, allocated] =
        [&LINES, &TRACED, &ALLOCATIONS].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(sums.recorded, lines + traced + allocated, "each is counted once");
    assert!(
        traced > 11 * LINES_AT_FIRST,
        "the stack of HTTP/2 logs with `tracing`"
    );
    assert!(
        totals.dropped(Category::LogItem, DropReason::Reentrant) > 0,
        "the delivery thread allocates and logs"
    );
    assert!(
        sums.delivered >= LINES_AT_FIRST || totals.dropped(Category::LogItem, DropReason::QueueOverflow) > 0
    );
}
