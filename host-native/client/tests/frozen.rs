//! Nobody can keep a thread from recording: not the delivery thread and not another producer, wherever they are stopped.
//!
//! A lock that is free is taken without a trace, so that forbidding waits (`no_system_call.rs`) shows only that none was
//! met that was held. Here the others are stopped by a signal at any instruction, with whatever they hold at that moment
//! (locks of ours, of the allocator, of the C library), hundreds of times; each time, records must go through while they
//! stand. A lock that recording shares with them would be held at some of these moments, and this thread would wait for
//! one that cannot go on.

#![cfg(target_os = "linux")]

#[path = "support/sdk_span.rs"]
mod sdk_span;
mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use surgetank::otlp::Span;
use surgetank::sentry::{Level, Log};
use surgetank::{Category, Client, DropReason, Outcome};
use surgetank_core::rng::Rng;

use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(60);

/// A signal that the delivery thread does not block, because a thread can only bring it upon itself.
const FREEZE: libc::c_int = libc::SIGTRAP;

/// Times that a thread is stopped.
const FREEZES: u64 = 300;

static FROZEN: AtomicBool = AtomicBool::new(false);
static THAW: AtomicBool = AtomicBool::new(true);

/// One test at a time: there is one signal.
static TURN: Mutex<()> = Mutex::new(());

extern "C" fn freeze(_: libc::c_int) {
    FROZEN.store(true, Ordering::SeqCst);
    while !THAW.load(Ordering::SeqCst) {
        std::hint::spin_loop();
        // SAFETY: has no arguments, and may be called in a handler.
        unsafe { libc::sched_yield() };
    }
    FROZEN.store(false, Ordering::SeqCst);
}

fn wait_until(done: impl Fn() -> bool) {
    let begun = support::now();
    while !done() {
        assert!(begun.elapsed() < PATIENT);
        std::thread::yield_now();
    }
}

/// The thread that delivers, by what the kernel keeps of its name. That of a client before may still be ending.
fn delivery_thread(name: &str) -> libc::pid_t {
    let named = || -> Vec<libc::pid_t> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| {
                let comm = std::fs::read_to_string(task.path().join("comm"));
                comm.is_ok_and(|comm| comm.trim() == name)
            })
            .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
            .collect()
    };
    wait_until(|| named().len() == 1);
    named()[0]
}

/// Records in each way that there is; how many records that makes.
fn record(client: &Client, end_span: &mut dyn FnMut()) -> u64 {
    end_span();
    let log = Log {
        body: "while the others stand",
        ..Log::default()
    };
    let span = Span::new(client.new_trace_id(), client.new_span_id(), "x");
    let outcomes = [
        client.log(&log),
        client.message(Level::Error, "x").outcome,
        client.otlp_span(&span),
    ];
    for outcome in outcomes {
        let expected = matches!(
            outcome,
            Outcome::Queued | Outcome::Dropped(DropReason::QueueOverflow)
        );
        assert!(expected, "{outcome:?}");
    }
    outcomes.len() as u64 + sdk_span::ENDED
}

/// Records while `thread` is stopped, again and again; how many.
fn record_while_it_stands(client: &Client, thread: libc::pid_t) -> u64 {
    // SAFETY: the action is zeroed but for its handler and flags, which is a valid action; the handler only touches
    // atomics and yields. The alarm ends this process if the record path does wait for the thread that stands.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = freeze as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(
            libc::sigaction(FREEZE, &raw const action, std::ptr::null_mut()),
            0
        );
        libc::alarm(240);
    }
    let mut rng = Rng::new(1);
    let mut end_span = sdk_span::ends(client);
    // What is made at its first use is no part of it.
    let mut recorded = record(client, &mut end_span);
    for _ in 0..FREEZES {
        // The thread is somewhere else each time.
        for _ in 0..rng.below(3_000) {
            std::hint::spin_loop();
        }
        THAW.store(false, Ordering::SeqCst);
        // SAFETY: the thread lives as long as the client.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, FREEZE) };
        assert_eq!(sent, 0);
        wait_until(|| FROZEN.load(Ordering::SeqCst));
        for _ in 0..10 {
            recorded += record(client, &mut end_span);
        }
        THAW.store(true, Ordering::SeqCst);
        wait_until(|| !FROZEN.load(Ordering::SeqCst));
    }
    // SAFETY: has no preconditions.
    unsafe { libc::alarm(0) };
    recorded
}

fn client(server: &Server) -> Client {
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    assert!(client.start());
    assert!(client.flush(PATIENT).complete);
    client
}

/// Closes the client; everything that was recorded was delivered or dropped, and it is as much as was counted here.
fn assert_books(client: &Client, recorded: u64) {
    let closed = client.close(PATIENT);
    let sums: Vec<_> = [Category::LogItem, Category::Error, Category::Span]
        .map(|category| closed.sums.of(category))
        .into();
    assert!(
        sums.iter()
            .all(|sums| sums.recorded == sums.delivered + sums.dropped),
        "{sums:?}"
    );
    assert_eq!(sums.iter().map(|sums| sums.recorded).sum::<u64>(), recorded);
}

#[test]
fn records_go_through_wherever_the_delivery_thread_is_stopped() {
    let _turn = TURN.lock();
    let server = Server::start(|_, _| Reply::ok());
    let client = client(&server);
    let recorded = record_while_it_stands(&client, delivery_thread("surgetank-deliv"));
    assert_books(&client, recorded);
}

#[test]
fn records_go_through_wherever_another_producer_is_stopped() {
    let _turn = TURN.lock();
    let server = Server::start(|_, _| Reply::ok());
    let client = client(&server);
    let (tid, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let recorded = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            // SAFETY: has no preconditions.
            tid.store(unsafe { libc::gettid() } as u64, Ordering::SeqCst);
            let mut end_span = sdk_span::ends(&client);
            let mut recorded = 0;
            while !stop.load(Ordering::SeqCst) {
                recorded += record(&client, &mut end_span);
            }
            recorded
        });
        wait_until(|| tid.load(Ordering::SeqCst) != 0);
        let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            record_while_it_stands(&client, tid.load(Ordering::SeqCst) as libc::pid_t)
        }));
        stop.store(true, Ordering::SeqCst);
        THAW.store(true, Ordering::SeqCst);
        own.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) + other.join().unwrap()
    });
    assert_books(&client, recorded);
}
