//! `cargo xtask`: everything a person or CI runs on this repository.
//!
//! - `setup` installs what the checks need and says what it did; it is quick when nothing is missing.
//! - `browser` builds the npm package.
//! - `fuzz` looks for new inputs that break a fuzz target.
//! - `bench` measures and writes `tests/bench/REPORT.md` with its charts.
//! - `wasm` builds the WebAssembly modules into `dist/`.
//! - `test` runs every check of [`steps::STEPS`], all of them even when one fails, and sums up.
//!
//! A tool that cannot be had is an error that names the command that mends it; no check is ever skipped.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to a terminal"
)]

mod areas;
mod bench;
mod browser;
mod clients;
mod command;
mod fuzz;
mod panic_free;
mod runner;
mod steps;
mod tools;
mod wasm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set-up and checks of surgetank"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install every tool that the checks need.
    Setup,
    /// Build the npm package for browsers into `dist/npm`, with a table of sizes.
    Browser {
        /// Then serve the page of `examples/browser-page` until interrupted.
        #[arg(long)]
        serve: bool,
    },
    /// Look for inputs that break a fuzz target; new ones that reach further are added to its corpus.
    Fuzz {
        /// The target, one of those in `tests/src/fuzz/`.
        target: String,
        /// How long to look.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Measure, and write `tests/bench/REPORT.md` with its charts.
    Bench {
        /// Measure only this part and show it (may be given several times); the report in the tree stays as it is.
        #[arg(long, value_name = "PART", value_parser = bench::PARTS)]
        only: Vec<String>,
        /// Short runs, a tenth of everything that is timed: to see that it works.
        #[arg(long)]
        quick: bool,
    },
    /// Build, check and optimise the WebAssembly modules into `dist/`, and make the npm package of the one for browsers.
    Wasm {
        /// Only this one (may be given several times).
        #[arg(long, value_name = "NAME", value_parser = wasm::NAMES)]
        only: Vec<String>,
    },
    /// Install what is missing, then run every check.
    Test {
        /// Run only this check (may be given several times).
        #[arg(long, value_name = "NAME", value_parser = steps::names())]
        only: Vec<String>,
        /// Name the checks and what each one shows, and run nothing.
        #[arg(long)]
        list: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => tools::ensure(&steps::tools_of(steps::STEPS)).map(|()| true),
        Task::Browser { serve } => browser::build(serve).map(|()| true),
        Task::Fuzz { target, seconds } => fuzz::run(&target, seconds).map(|()| true),
        Task::Bench { only, quick } => bench::bench(&only, quick).map(|()| true),
        Task::Wasm { only } => wasm::make(&only).map(|()| true),
        Task::Test { list: true, .. } => {
            steps::STEPS
                .iter()
                .for_each(|step| println!("{:<14} {}", step.name, step.shows));
            Ok(true)
        }
        Task::Test { only, list: false } => Ok(runner::run(&steps::selected(&only))),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
