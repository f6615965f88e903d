//! Recording cannot block, because it asks the system for nothing that could: a thread to which every system call but
//! the wake-up is forbidden records for as long as it likes, whatever the server does.
//!
//! A lock that is contended, memory that is asked for, a thread that is started, a file that is read: each would be a
//! system call, and the kernel ends the process at the first one. So each test is a process of its own, this program
//! started again.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own that waits for another and says what it saw"
)]

#[path = "support/sdk_span.rs"]
mod sdk_span;
mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use surgetank::otlp::{AnyValue, KeyValue, LogRecord, Span};
use surgetank::sentry::{Event, Exception, Level, Log};
use surgetank::{Client, DropReason, Outcome};

use support::{Reply, Server};

/// Names the mood of the server to the process that records.
const MOOD: &str = "SURGETANK_TEST_MOOD";

/// Records of each kind: many times what the queue holds.
const ROUNDS: usize = 50_000;

/// What to record beside, and the signal that is to end the process.
const TESTS: [(&str, &str, Option<i32>); 6] = [
    ("answers", "recording_needs_none_while_the_server_answers", None),
    ("stalls", "recording_needs_none_while_the_server_stalls", None),
    ("refuses", "recording_needs_none_while_the_server_refuses", None),
    (
        "throttles",
        "recording_needs_none_while_the_server_throttles",
        None,
    ),
    ("fails", "recording_needs_none_while_the_server_fails", None),
    (
        "waits",
        "a_thread_that_waits_for_another_is_caught",
        Some(libc::SIGSYS),
    ),
];

fn main() -> ExitCode {
    if let Ok(mood) = std::env::var(MOOD) {
        record_in_jail(&mood);
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", TESTS.len());
    let mut failed = 0;
    for (mood, name, expected) in TESTS {
        let ended = ended_by(mood);
        let verdict = if ended == Ok(expected) { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict}");
        if ended != Ok(expected) {
            failed += 1;
            println!(
                "ended by {ended:?}, not {expected:?}; {} is a system call",
                libc::SIGSYS
            );
        }
    }
    println!(
        "\ntest result: {} passed; {failed} failed\n",
        TESTS.len() - failed
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the recording process; the signal that ended it, or `None` when it ended well.
fn ended_by(mood: &str) -> Result<Option<i32>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .env(MOOD, mood)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match (output.status.signal(), output.status.success()) {
        (Some(signal), _) => Ok(Some(signal)),
        (None, true) => Ok(None),
        (None, false) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn record_in_jail(mood: &str) {
    let reply = match mood {
        "stalls" => Reply::Stall,
        "refuses" => Reply::Close,
        "throttles" => Reply::status(429).with("retry-after", "60"),
        "fails" => Reply::status(503),
        _ => Reply::ok(),
    };
    let server = Server::start(move |_, _| reply.clone());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .otlp_endpoint(&server.url(""))
        .memory(256 * 1024)
        .environment_proxies(false)
        .build()
        .expect("valid settings");
    assert!(client.start(), "the first record would start the thread");
    record_all(&client);
    let done = Arc::new(AtomicBool::new(false));
    let (producer, said) = (client.clone(), Arc::clone(&done));
    let waits = mood == "waits";
    let mut end_span = sdk_span::ends(&client);
    let _detached = std::thread::spawn(move || {
        // What the runtime prepares at a thread's first use of it is no part of recording.
        record_all(&producer);
        end_span();
        seccompiler::apply_filter(&jail()).expect("the kernel takes the filter");
        for _ in 0..ROUNDS {
            record_all(&producer);
            end_span();
        }
        if waits {
            std::thread::park();
        }
        said.store(true, Ordering::Release);
        loop {
            // Ending a thread takes system calls: the process ends instead.
            std::hint::spin_loop();
        }
    });
    while !done.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let totals = client.status().totals;
    for (category, sums) in totals.categories() {
        assert_eq!(
            sums.recorded,
            sums.delivered + sums.dropped + sums.queued(),
            "{category:?}"
        );
    }
}

/// Only the wake-up of the delivery thread: one byte, to a socket that does not block.
fn jail() -> BpfProgram {
    let one_byte = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 1)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .expect("a valid rule");
    let allowed = [(libc::SYS_write, vec![one_byte])].into_iter().collect();
    let architecture = std::env::consts::ARCH.try_into().expect("a known architecture");
    SeccompFilter::new(
        allowed,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        architecture,
    )
    .and_then(BpfProgram::try_from)
    .expect("a valid filter")
}

fn record_all(client: &Client) {
    let attributes = [KeyValue::new("order", AnyValue::Int(17))];
    let exceptions = [Exception {
        kind: "CardError",
        value: "declined",
        ..Exception::default()
    }];
    let event = client.event(&Event {
        level: Level::Error,
        exceptions: &exceptions,
        ..Event::default()
    });
    let log = client.log(&Log {
        body: "charged",
        attributes: &attributes,
        ..Log::default()
    });
    let (trace_id, span_id) = (client.new_trace_id(), client.new_span_id());
    let span = client.otlp_span(&Span::new(trace_id, span_id, "charge"));
    let line = client.otlp_log(&LogRecord::default());
    for outcome in [event.outcome, log, span, line] {
        assert!(
            !matches!(
                outcome,
                Outcome::Dropped(DropReason::InternalSdkError | DropReason::Invalid)
            ),
            "{outcome:?}"
        );
    }
}
