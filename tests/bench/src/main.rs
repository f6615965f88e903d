//! Figures: what surgetank costs, beside other software. `cargo xtask bench` runs it; see CONTRIBUTING.
//!
//! Instructions are the figures that count: they are the same on a busy machine. Wall times are not; they stand beside
//! them with the number of runs, and where nothing else can (rates, the sidecar under load).
#![allow(clippy::print_stdout, reason = "this program talks to a terminal")]

mod callgrind;
mod cases;
mod charts;
mod engine;
mod queues;
mod report;
mod runs;
mod sidecar;
mod upstream;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result};
use cases::{CASES, Part};
use clap::Parser;
use glass::Glass;
use queues::{QUEUES, Records, Task};
use subjects::{Compressed, Entry, SUBJECTS, Setting};
use surgetank::Compression;
use surgetank_bench::{glass, load, subjects, times};

/// Measures, and writes a report.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Measure and write the report.
    Report {
        /// Only these parts (all when none is given); a report of parts is shown, not written.
        #[arg(long)]
        only: Vec<Part>,
        /// Short runs, one of each: to see that it works. Nothing is written.
        #[arg(long)]
        quick: bool,
        /// The folder for the report and its charts.
        #[arg(long)]
        to: PathBuf,
        /// Where passing files go.
        #[arg(long)]
        scratch: PathBuf,
        /// The sidecar's program.
        #[arg(long)]
        sidecar: PathBuf,
        /// This program, built without the peers.
        #[arg(long)]
        alone: PathBuf,
    },
    /// The server: prints its address, and its counts for every line on its input.
    Upstream { mode: upstream::Mode },
    /// A case of the core, for callgrind.
    Case { name: String, rounds: u32 },
    /// A queue on one thread, for callgrind.
    Count {
        queue: String,
        records: Records,
        rounds: u32,
    },
    /// A queue with threads, against the clock.
    Time {
        queue: String,
        records: Records,
        producers: usize,
        calls: usize,
    },
    /// A subject's recording call, for callgrind.
    Call {
        subject: String,
        upstream: String,
        rounds: u32,
        /// What of it is looked at.
        part: Look,
    },
    /// A subject as a whole process.
    Load {
        subject: String,
        upstream: String,
        /// surgetank's: `none`, `gzip` or `zstd`.
        compression: Compressed,
        #[command(subcommand)]
        job: load::Job,
    },
}

/// What is looked at of a recording call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Look {
    /// Calls that record.
    Taken,
    /// Calls that the server's limits refuse.
    Refused,
    /// What of a call is the program's own: making the item, and being looked at.
    Made,
}

impl Look {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Made => "made",
        }
    }
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        What::Report {
            only,
            quick,
            to,
            scratch,
            sidecar,
            alone,
        } => report::write(&report::Order {
            only,
            quick,
            to,
            scratch,
            sidecar,
            alone,
        }),
        What::Upstream { mode } => upstream::serve(mode),
        What::Case { name, rounds } => {
            let case = CASES.iter().find(|case| case.name == name);
            let case = case.with_context(|| format!("no case {name}"))?;
            // Once to warm up.
            (case.run)(Glass { counting: false }, 2);
            (case.run)(Glass { counting: true }, rounds);
            Ok(())
        }
        What::Count {
            queue,
            records,
            rounds,
        } => {
            for (counting, rounds) in [(false, 2), (true, rounds)] {
                let glass = Glass { counting };
                play(&queue, records, &mut Task::Count { glass, rounds })?;
            }
            Ok(())
        }
        What::Time {
            queue,
            records,
            producers,
            calls,
        } => {
            let mut task = Task::Time {
                producers,
                calls: calls / producers,
                times: times::Times::default(),
            };
            play(&queue, records, &mut task)?;
            if let Task::Time { times, .. } = task {
                println!("{}", times.line());
            }
            Ok(())
        }
        What::Call {
            subject,
            upstream,
            rounds,
            part,
        } => {
            let entry = entry(&subject)?;
            let setting = Setting {
                upstream,
                compression: Compression::None,
            };
            let glass = Glass { counting: true };
            match part {
                Look::Taken => (entry.count)(&setting, glass, rounds, entry.burst),
                Look::Refused => entry.refuse.context("nothing refuses it")?(&setting, glass, rounds),
                Look::Made => (entry.made)(&setting, glass, rounds),
            }
            Ok(())
        }
        What::Load {
            subject,
            upstream,
            compression,
            job,
        } => {
            let setting = Setting {
                upstream,
                compression: compression.setting(),
            };
            (entry(&subject)?.load)(&setting, &job);
            Ok(())
        }
    }
}

fn entry(name: &str) -> Result<&'static Entry> {
    let entry = SUBJECTS.iter().find(|entry| entry.name == name);
    entry.with_context(|| format!("no subject {name}"))
}

fn play(name: &str, records: Records, task: &mut Task) -> Result<()> {
    let queue = QUEUES.iter().find(|queue| queue.name == name);
    let queue = queue.with_context(|| format!("no queue {name}"))?;
    let play = queue.of(records).context("it cannot hold such records")?;
    play(task);
    Ok(())
}
