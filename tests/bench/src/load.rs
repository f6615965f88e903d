//! What is done with a subject, in a process of its own: under callgrind, or against the clock.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::glass::{Glass, Phase};
use crate::subjects::{Setting, Subject};
use crate::times::{Times, now};

/// Long enough for everything that was recorded to be delivered, under callgrind too.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run against the clock, or of the whole process, does.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Job {
    /// Record that many items, a burst at a time, all delivered: what callgrind counts of the whole process.
    Deliver {
        /// Items.
        items: u32,
        /// Items between two flushes.
        burst: u32,
    },
    /// Record as fast as it goes.
    Flood {
        /// How long.
        milliseconds: u64,
        /// Threads.
        producers: usize,
    },
    /// Record as fast as it goes and time each call.
    Calls {
        /// Calls of all threads together.
        calls: usize,
        /// Threads.
        producers: usize,
    },
    /// Record that many items and look at the memory.
    Memory {
        /// Items.
        items: u32,
    },
}

/// A function of its own, as is what is subtracted from it.
#[inline(never)]
fn record<S: Subject>(subject: &S) {
    subject.record();
}

/// The same without the call.
#[inline(never)]
fn make<S: Subject>(subject: &S) {
    subject.make();
}

/// Calls under the glass: a burst to warm up, then `rounds` calls, none of them refused.
pub fn counted<S: Subject>(setting: &Setting, glass: Glass, rounds: u32, burst: u32) {
    let subject = S::start(setting);
    for round in 0..rounds + burst {
        if round % burst == 0 {
            subject.flush(PATIENCE);
        }
        if round < burst {
            subject.record();
        } else {
            glass.look(Phase::Record, || record(&subject));
        }
    }
    subject.flush(PATIENCE);
}

/// What is the program's own and not the call's, under the glass: the item's making, and the glass.
pub fn made<S: Subject>(setting: &Setting, glass: Glass, rounds: u32) {
    let subject = S::start(setting);
    for _ in 0..rounds {
        glass.look(Phase::Record, || make(&subject));
    }
}

/// Calls under the glass that the server's limit refuses.
pub fn refused<S: Subject>(setting: &Setting, glass: Glass, rounds: u32) {
    let subject = S::start(setting);
    // Logs are sent a hundred at a time by the SDK.
    for _ in 0..3 {
        for _ in 0..200 {
            subject.record();
        }
        subject.flush(Duration::from_secs(5));
    }
    let before = subject.lost();
    for _ in 0..rounds {
        glass.look(Phase::Record, || record(&subject));
    }
    subject.flush(Duration::from_secs(5));
    if let (Some(before), Some(after)) = (before, subject.lost()) {
        assert!(after - before >= u64::from(rounds), "each call is refused");
    }
}

/// Does the job and prints a line of `name=number`.
pub fn run<S: Subject>(setting: &Setting, job: &Job) {
    let before = memory_kib("VmHWM:");
    let subject = S::start(setting);
    match *job {
        Job::Deliver { items, burst } => {
            for item in 1..=items {
                subject.record();
                if item % burst == 0 {
                    subject.flush(PATIENCE);
                }
            }
            subject.flush(PATIENCE);
        }
        Job::Flood {
            milliseconds,
            producers,
        } => {
            let made = flood(&subject, Duration::from_millis(milliseconds), producers);
            println!("made={made}");
        }
        Job::Calls { calls, producers } => {
            println!("{}", calls_timed(&subject, calls / producers, producers).line());
        }
        Job::Memory { items } => {
            let mut anonymous = 0;
            for item in 0..items {
                subject.record();
                if item % (items / 100).max(1) == 0 {
                    anonymous = anonymous.max(memory_kib("RssAnon:"));
                }
            }
            let anonymous = anonymous.max(memory_kib("RssAnon:"));
            println!(
                "before={before} peak={} anonymous={anonymous}",
                memory_kib("VmHWM:")
            );
        }
    }
    // What is not delivered by now is not to be; the process that started this one ends it.
    let _ = std::io::stdin().read_line(&mut String::new());
    std::mem::forget(subject);
}

fn flood<S: Subject>(subject: &S, time: Duration, producers: usize) -> u64 {
    let made = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..producers {
            scope.spawn(|| {
                let mut mine = 0;
                while !over.load(Ordering::Relaxed) {
                    subject.record();
                    mine += 1;
                }
                made.fetch_add(mine, Ordering::Relaxed);
            });
        }
        wait(time);
        over.store(true, Ordering::Relaxed);
    });
    made.into_inner()
}

#[expect(clippy::disallowed_methods, reason = "a load lasts for a time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Times each call, and sees whether the thread gave the processor away in it.
fn calls_timed<S: Subject>(subject: &S, calls: usize, producers: usize) -> Times {
    let mut all = Times::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|_| scope.spawn(|| timed_thread(subject, calls)))
            .collect();
        for thread in threads {
            all.add(thread.join().expect("a producer does not panic"));
        }
    });
    all
}

fn timed_thread<S: Subject>(subject: &S, calls: usize) -> Times {
    let mut times = Times::with_capacity(calls);
    let mut switches = voluntary_switches();
    for _ in 0..calls {
        let begun = now();
        subject.record();
        let took = begun.elapsed();
        let after = voluntary_switches();
        times.push(took, after != switches);
        switches = after;
    }
    times
}

/// How often this thread gave the processor away of its own accord: it waited for something.
fn voluntary_switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD)
        .expect("Linux has it")
        .voluntary_context_switches()
}

/// A figure of this process's memory.
fn memory_kib(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What it costs to look at the clock twice.
pub fn clock_cost() -> Duration {
    let begun = now();
    let looks = 100_000;
    for _ in 0..looks {
        black_box(now().elapsed());
    }
    begun.elapsed() / looks
}
