//! Figures: what surgetank costs, beside other software. `cargo xtask bench` runs it; see CONTRIBUTING.
//!
//! Instructions are the figures that count: they are the same on a busy machine. Wall times are not, and stand only where
//! nothing else can (the sidecar under load).
#![allow(clippy::print_stdout, reason = "this program talks to a terminal")]

mod callgrind;
mod cases;
mod client;
mod engine;
mod glass;
mod queues;
mod report;
mod sidecar;
mod upstream;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result};
use cases::{CASES, Group};
use clap::Parser;

/// Measures, and writes a report.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Measure and write the report.
    Report {
        /// Only these parts (all when none is given); a report of parts is shown, not written.
        #[arg(long)]
        only: Vec<Group>,
        /// Where the report goes.
        #[arg(long)]
        to: PathBuf,
        /// Where passing files go.
        #[arg(long)]
        scratch: PathBuf,
        /// The sidecar's program.
        #[arg(long)]
        sidecar: PathBuf,
    },
    /// Run one case in this process: what callgrind is pointed at.
    Case {
        /// Its name.
        name: String,
        /// How often.
        rounds: u32,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Report {
            only,
            to,
            scratch,
            sidecar,
        } => {
            std::fs::create_dir_all(&scratch)?;
            let text = report::of(&only, &scratch, &sidecar)?;
            println!("{text}");
            if only.is_empty() {
                std::fs::write(&to, text).with_context(|| format!("could not write {}", to.display()))?;
            }
            Ok(())
        }
        Task::Case { name, rounds } => {
            let case = CASES
                .iter()
                .find(|case| case.name == name)
                .with_context(|| format!("no case {name}"))?;
            case.run(rounds);
            Ok(())
        }
    }
}
