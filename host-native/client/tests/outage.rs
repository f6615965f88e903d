//! A real outage: memory stays flat, errors are kept, bulk goes oldest first, and at its end the books agree with the
//! server's own.
//!
//! Beside it a server limits a category for half as long, under load.
//!
//! The program that records is a process of its own, this one started again, so that its memory is its own. It is two
//! minutes long in `cargo xtask test`, beside other checks, and a few seconds in `cargo test`: `SURGETANK_OUTAGE_SECONDS`.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "programs that record at a pace, look at memory at a pace, and talk to each other"
)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use surgetank::delivery::Sums;
use surgetank::sentry::{Level, Log};
use surgetank::{Category, Client, DropReason};

use support::{Received, Reply, Server, envelope};

const SECONDS: &str = "SURGETANK_OUTAGE_SECONDS";
const SERVER: &str = "SURGETANK_OUTAGE_SERVER";

/// How long the outage lasts unless it is said.
const SHORT: u64 = 6;

/// Memory may go up or down by this much once it is in use.
const FLAT_KIB: u64 = 1024;

/// Every so often the program records ten logs.
const PACE: Duration = Duration::from_millis(10);
const LOGS: u64 = 10;
/// And an error every so many times.
const PACES_PER_ERROR: u64 = 10;

/// Lines in one envelope, at most.
const LOGS_PER_REQUEST: u64 = 100;

const PATIENT: Duration = Duration::from_secs(120);

fn seconds() -> u64 {
    std::env::var(SECONDS).map_or(SHORT, |text| text.parse().expect("a number of seconds"))
}

fn main() {
    match std::env::var(SERVER) {
        Ok(dsn) => record(&dsn),
        Err(_) => {
            println!("\nrunning 2 tests ({} s of outage)", seconds());
            std::thread::scope(|scope| {
                let limited = scope.spawn(obey_a_limit);
                oversee();
                println!("test an_outage_costs_bulk_and_no_memory ... ok");
                limited.join().expect("the limit is obeyed");
                println!("test nothing_limited_is_sent_until_the_limit_ends ... ok\n");
            });
        }
    }
}

// ---- the program that records --------------------------------------------------------------------------------------

/// What was recorded so far.
#[derive(Default)]
struct Recorded {
    logs: u64,
    errors: u64,
}

impl Recorded {
    fn pace(&mut self, client: &Client, logs: u64) {
        for _ in 0..logs {
            let body = format!("{} is the number of this line, and this is the line", self.logs);
            let _ = client.log(&Log {
                body: &body,
                ..Log::default()
            });
            self.logs += 1;
        }
        std::thread::sleep(PACE);
    }

    fn error(&mut self, client: &Client) {
        let _ = client.message(Level::Error, &self.errors.to_string());
        self.errors += 1;
    }
}

fn record(dsn: &str) {
    let client = Client::builder()
        .sentry_dsn(dsn)
        .environment_proxies(false)
        .sentry_timeout(Duration::from_secs(2))
        .build()
        .expect("valid settings");
    let mut lines = std::io::stdin().lines();
    let mut wait = || lines.next().expect("the overseer is there").expect("a line");
    let mut recorded = Recorded::default();
    recorded.error(&client);
    recorded.pace(&client, LOGS);
    assert!(client.flush(PATIENT).complete);
    println!("up");
    wait();
    // Fills the queue, in portions that the intake has room for.
    let overflows = || {
        client
            .status()
            .totals
            .dropped(Category::LogItem, DropReason::QueueOverflow)
            > 0
    };
    while !overflows() {
        recorded.pace(&client, 20 * LOGS);
    }
    println!("full");
    let begun = support::now();
    let mut paces = 0;
    while begun.elapsed() < Duration::from_secs(seconds()) {
        recorded.pace(&client, LOGS);
        paces += 1;
        if paces % PACES_PER_ERROR == 0 {
            recorded.error(&client);
        }
    }
    println!("over");
    wait();
    let closed = client.close(PATIENT);
    let sums = |sums: &Sums, category| {
        let totals = sums.of(category);
        json!([totals.recorded, totals.delivered, totals.dropped])
    };
    let overflow = closed.sums.dropped(Category::LogItem, DropReason::QueueOverflow);
    println!(
        "{}",
        json!({
            "complete": closed.complete,
            "errors": sums(&closed.sums, Category::Error),
            "logs": sums(&closed.sums, Category::LogItem),
            "log_overflow": overflow,
            "recorded_errors": recorded.errors,
            "recorded_logs": recorded.logs,
        })
    );
}

// ---- a limit under load ----------------------------------------------------------------------------------------------

/// Records far more than may be sent while a limit of half the outage's length holds, which is a minute of two; nothing of the
/// limited category may come before it has ended, and everything else does.
fn obey_a_limit() {
    let limit = Duration::from_secs(seconds() / 2);
    let events = Arc::new(Mutex::new(Vec::new()));
    let arrivals = Arc::clone(&events);
    let words = format!("{}:error:key", limit.as_secs());
    let server = Server::start(move |request, _| {
        let items = envelope::parse(&request.body).items;
        if !items.iter().any(|item| item.kind() == "event") {
            return Reply::ok();
        }
        let mut arrivals = arrivals.lock().expect("not poisoned");
        arrivals.push(support::now());
        match arrivals.len() {
            1 => Reply::status(429).with("X-Sentry-Rate-Limits", &words),
            _ => Reply::ok(),
        }
    });
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .build()
        .expect("valid settings");
    let _ = client.message(Level::Error, "limited");
    assert!(client.flush(PATIENT).complete);
    let begun = support::now();
    let again = || events.lock().expect("not poisoned").len() > 1;
    while !again() {
        assert!(begun.elapsed() < limit + PATIENT, "nothing comes after the limit");
        for _ in 0..100 {
            let _ = client.message(Level::Error, "load");
        }
        let _ = client.log(&Log {
            body: "load",
            ..Log::default()
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = client.close(Duration::from_secs(1));
    let events = events.lock().expect("not poisoned");
    // Every one behind the first, which was answered before the client heard of the limit.
    let second = events[1].duration_since(events[0]);
    assert!(second >= limit, "{second:?} after a limit of {limit:?}");
    let totals = client.status().totals;
    let refused = totals.dropped(Category::Error, DropReason::RatelimitBackoff);
    assert!(refused > 100 * limit.as_secs(), "{refused}");
    assert!(totals.of(Category::LogItem).delivered > 0, "others pass");
}

// ---- the one that oversees it --------------------------------------------------------------------------------------

/// The recording process; ended with this value, also on a panic.
struct Program {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Program {
    fn start(dsn: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(SERVER, dsn)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let says = BufReader::new(child.stdout.take().expect("its output"));
        let hears = child.stdin.take().expect("its input");
        Self { child, says, hears }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        let length = self.says.read_line(&mut line).expect("a line");
        assert!(length > 0, "the program ended: {:?}", self.child.try_wait());
        line.trim().to_owned()
    }

    fn tell(&mut self) {
        self.hears.write_all(b"go on\n").expect("it listens");
    }

    fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a size")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Moods of the server.
const WORKS: u8 = 0;
const FAILS: u8 = 1;
const BREAKS_OFF: u8 = 2;
const STALLS: u8 = 3;

fn oversee() {
    let mood = Arc::new(AtomicU8::new(WORKS));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (of_server, sink) = (Arc::clone(&mood), Arc::clone(&taken));
    let server = Server::start(move |request, _| match of_server.load(Ordering::SeqCst) {
        WORKS => {
            sink.lock().expect("not poisoned").push(request.clone());
            Reply::ok()
        }
        FAILS => Reply::status(503),
        BREAKS_OFF => Reply::Close,
        _ => Reply::Stall,
    });
    let mut program = Program::start(&server.dsn());
    assert_eq!(program.hear(), "up");
    mood.store(FAILS, Ordering::SeqCst);
    program.tell();
    assert_eq!(program.hear(), "full");

    // Everything that ever is in use was in use by the first third, which is the warm-up.
    let third = Duration::from_secs(seconds()) / 3;
    std::thread::sleep(third);
    let mut resident = vec![program.resident_kib()];
    for worse in [BREAKS_OFF, STALLS] {
        mood.store(worse, Ordering::SeqCst);
        for _ in 0..20 {
            std::thread::sleep(third / 20);
            resident.push(program.resident_kib());
        }
    }
    assert_eq!(program.hear(), "over");
    mood.store(WORKS, Ordering::SeqCst);
    program.tell();
    let told: Value = serde_json::from_str(&program.hear()).expect("JSON");
    let first = resident[0];
    let worst = resident.iter().map(|kib| kib.abs_diff(first)).max();
    println!("{told}; {first} KiB resident, {worst:?} more or less");
    assert!(worst <= Some(FLAT_KIB), "{resident:?}");
    assert_books(&told, &taken.lock().expect("not poisoned"));
}

fn assert_books(told: &Value, taken: &[Received]) {
    let numbers = |name: &str| -> Vec<u64> { serde_json::from_value(told[name].clone()).expect("numbers") };
    let (errors, logs) = (numbers("errors"), numbers("logs"));
    assert_eq!(told["complete"], true, "{told}");
    // Recorded = delivered + dropped, and it is what the program counted itself.
    assert_eq!(told["recorded_errors"], errors[0]);
    assert_eq!(told["recorded_logs"], logs[0]);
    assert_eq!(logs[0], logs[1] + logs[2]);
    // Errors are kept.
    assert_eq!((errors[1], errors[2]), (errors[0], 0));
    // Bulk made room for them, for no other reason.
    assert!(logs[2] > 0);
    assert_eq!(told["log_overflow"], logs[2]);

    // The server counts the same, and nothing twice.
    let items = || {
        taken
            .iter()
            .flat_map(|request| envelope::parse(&request.body).items)
    };
    let of_kind = |kind: &'static str| items().filter(move |item| item.kind() == kind);
    let number = |text: &Value| -> u64 {
        let text = text.as_str().expect("text");
        text.split(' ').next().expect("a word").parse().expect("a number")
    };
    let taken_errors: BTreeSet<u64> = of_kind("event")
        .map(|item| number(&item.json()["logentry"]["formatted"]))
        .collect();
    assert_eq!(taken_errors, (0..errors[0]).collect());
    assert_eq!(of_kind("event").count() as u64, errors[1]);
    let lines: Vec<u64> = of_kind("log")
        .flat_map(|item| item.json()["items"].as_array().expect("logs").clone())
        .map(|line| number(&line["body"]))
        .collect();
    let taken_lines: BTreeSet<u64> = lines.iter().copied().collect();
    assert_eq!((lines.len() as u64, taken_lines.len() as u64), (logs[1], logs[1]));

    // The oldest went first: what is kept of the outage is its end, without a gap. Only a request that is with the
    // server when its neighbours go may be older.
    let newest_lost = (0..logs[0]).rev().find(|line| !taken_lines.contains(line));
    let newest_lost = newest_lost.expect("some were dropped");
    let older = taken_lines.range(LOGS..newest_lost).count() as u64;
    let newer = logs[0] - 1 - newest_lost;
    assert!(
        older <= 8 * LOGS_PER_REQUEST && newer > older,
        "{older} older, {newer} newer"
    );
}
