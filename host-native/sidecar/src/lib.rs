//! The local relay: a program beside yours that takes Sentry and OTLP telemetry in at once, and delivers it when it can.
//!
//! ```text
//!  SDK -HTTP-> server: read, unpack, check -> relay: destination, limits, room -> [ delivery: intake, engine ]
//!   ^            |                                                                   |            |
//!   '-- answer --'                                              upstream <-HTTP-- exporter --> store (SQLite)
//! ```
//!
//! The library is the program `surgetank` and has no other use; [`main`] is all of it. What it decides itself is what a
//! server has to: who may come in, what is well-formed, how large it may be. Everything about delivery (order, batches,
//! retries, rate limits, losses) is decided by the engine of `surgetank-core`, which the client library `surgetank` runs.
//!
//! | module | is about |
//! |---|---|
//! | `cli`, `run`, `shutdown` | the program: options, start, end |
//! | `server`, `body`, `answers` | HTTP: connections, requests in, answers out |
//! | `sentry` | envelopes and their older kin: keys, sizes, ids |
//! | `relay`, `exporter` | to the delivery, and out of it |
//! | `store`, `view` | what is kept when there is no upstream, and how it is shown |
//! | `replay` | scripted scenarios on the engine, in simulated time |
//! | `serial` | the gateway of devices that have a serial line and no network |

mod answers;
mod body;
mod cli;
mod clock;
mod exporter;
mod relay;
mod replay;
mod run;
mod sentry;
mod serial;
mod server;
mod shutdown;
mod stderr;
mod store;
mod view;

use clap::Parser;
use cli::{Cli, Command};
use run::StartError;
use std::process::ExitCode;
use view::ViewError;

/// Exit code for options that are wrong, as the parser of the command line has it.
const USAGE: u8 = 2;

/// Reads the command line and does what it says. Exit codes: 0 done, 1 failed, 2 the command line is wrong, 3 stopped
/// with accepted telemetry left undelivered.
pub fn main() -> ExitCode {
    match Cli::parse().command() {
        Command::Run(args) => ran(run::run(&args)),
        Command::Serial(args) => ran(serial::run(&args)),
        Command::Tail(args) => viewed(view::tail(&args, &mut std::io::stdout().lock())),
        Command::Show(args) => viewed(view::show(&args, &mut std::io::stdout().lock())),
        Command::Replay(args) => viewed(replay::replay(&args.file, &mut std::io::stdout().lock())),
    }
}

fn ran(outcome: Result<ExitCode, StartError>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(StartError::Usage(error)) => {
            stderr::say(format_args!("{error}"));
            ExitCode::from(USAGE)
        }
        Err(StartError::Failed(error)) => {
            stderr::say(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn viewed(outcome: Result<(), ViewError>) -> ExitCode {
    match outcome {
        Ok(()) | Err(ViewError::OutputClosed) => ExitCode::SUCCESS,
        Err(ViewError::Failed(error)) => {
            stderr::say(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}
