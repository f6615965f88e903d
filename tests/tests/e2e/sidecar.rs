//! The sidecar as a user runs it: the built program, its ready line, its commands, its end.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use surgetank_tests::upstream::{PATIENCE, now};
use tempfile::TempDir;

use surgetank_tests::built::sidecar;
use surgetank_tests::process::{Process, clear_environment};

/// A running sidecar.
pub(crate) struct Sidecar {
    process: Process,
    /// Where Sentry's SDKs send to.
    pub(crate) address: SocketAddr,
    /// Where OpenTelemetry's SDKs send to.
    pub(crate) otlp_address: SocketAddr,
    directory: TempDir,
}

/// How a sidecar ended.
pub(crate) struct Stopped {
    pub(crate) code: Option<i32>,
    /// The last line on standard output.
    pub(crate) farewell: Value,
    pub(crate) took: Duration,
}

impl Sidecar {
    /// Starts it on free ports with a directory of its own.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the store");
        let mut command = Command::new(sidecar());
        command
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--otlp-listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(directory.path())
            .args(arguments);
        let mut process = Process::start("surgetank", command);
        let line = process.line();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the ready line: {line}"));
        assert_eq!(ready["event"], "ready");
        let address = |name: &str| {
            let text = ready[name].as_str();
            text.and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("{name} in {line}"))
        };
        Self {
            address: address("listen"),
            otlp_address: address("otlp_listen"),
            process,
            directory,
        }
    }

    /// Runs `tail` or `show` on its store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = self.command_line(arguments);
        clear_environment(&mut command);
        command.output().expect("the program runs")
    }

    /// `tail --json` that goes on, from the first item of a store that has fewer than a thousand: when it is ready to look
    /// is not known.
    pub(crate) fn follow(&self) -> Process {
        Process::start(
            "surgetank tail",
            self.command_line(&["tail", "--json", "-n", "1000"]),
        )
    }

    fn command_line(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(sidecar());
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.directory.path());
        command
    }

    /// Ends it with SIGTERM, as a service manager does.
    #[track_caller]
    pub(crate) fn stop(self) -> Stopped {
        let begun: Instant = now();
        self.process.signal(Signal::TERM);
        let ended = self.process.ended();
        let last = ended.lines.last().map_or("", String::as_str);
        let farewell = serde_json::from_str(last)
            .unwrap_or_else(|_| panic!("the last line: {last}; standard error:\n{}", ended.errors));
        Stopped {
            code: ended.status.code(),
            farewell,
            took: begun.elapsed(),
        }
    }
}

impl Stopped {
    /// That all was delivered, and nothing dropped.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.farewell["left"], serde_json::json!({}), "{}", self.farewell);
        assert_eq!(
            self.farewell["dropped"],
            serde_json::json!([]),
            "{}",
            self.farewell
        );
        assert_eq!(
            (self.code, &self.farewell["complete"]),
            (Some(0), &Value::Bool(true))
        );
        assert!(self.took < PATIENCE);
    }

    /// How much of a category was dropped for a reason.
    pub(crate) fn dropped(&self, category: &str, reason: &str) -> u64 {
        let losses = self.farewell["dropped"].as_array().into_iter().flatten();
        losses
            .filter(|loss| loss["category"] == category && loss["reason"] == reason)
            .filter_map(|loss| loss["quantity"].as_u64())
            .sum()
    }
}
