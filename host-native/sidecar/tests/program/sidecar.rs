//! Runs the program: start, requests, commands, signals, end.

use crate::{KEY, SOON, eventually, now};
use reqwest::blocking::{Client, RequestBuilder, Response};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_surgetank");

/// A process that is killed when this goes, also while a test panics.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running sidecar; killed when it goes.
pub(crate) struct Sidecar {
    child: Running,
    lines: Receiver<String>,
    pub(crate) ready: Value,
    pub(crate) client: Client,
    directory: Arc<TempDir>,
}

/// How a sidecar ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The last line it printed.
    pub(crate) farewell: Value,
    pub(crate) stderr: String,
}

/// The program with `arguments`, in an environment without settings.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    for name in settings() {
        command.env_remove(name);
    }
    command
}

/// Variables of this process that a sidecar would take as settings.
fn settings() -> impl Iterator<Item = String> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("SURGETANK_") || name.to_ascii_lowercase().ends_with("_proxy"))
}

/// Starts a program; it, and the lines that it prints.
pub(crate) fn run(command: &mut Command) -> (Running, Receiver<String>) {
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    (running, lines)
}

impl Sidecar {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), arguments)
    }

    pub(crate) fn start_in(directory: Arc<TempDir>, arguments: &[&str]) -> Self {
        Self::start_as(program(&[]), directory, arguments)
    }

    /// Starts one whose files end at so many bytes: as on a full disk, writing more is an error.
    pub(crate) fn start_with_files_of(bytes: u64) -> Self {
        let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", bytes / 512);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", PROGRAM]);
        for name in settings() {
            command.env_remove(name);
        }
        Self::start_as(command, Arc::new(tempfile::tempdir().unwrap()), &[])
    }

    fn start_as(mut command: Command, directory: Arc<TempDir>, arguments: &[&str]) -> Self {
        command
            .args(["run", "--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(directory.path())
            .args(arguments)
            .stderr(Stdio::piped());
        let (child, lines) = run(&mut command);
        let ready = lines.recv_timeout(SOON).expect("a ready line");
        // The client of the program brings a TLS stack without a provider into the build.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(SOON).no_proxy().build().unwrap();
        let ready = serde_json::from_str(&ready).unwrap();
        Self {
            child,
            lines,
            ready,
            client,
            directory,
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.ready["listen"].as_str().unwrap()
    }

    pub(crate) fn otlp_address(&self) -> &str {
        self.ready["otlp_listen"].as_str().unwrap()
    }

    pub(crate) fn directory(&self) -> Arc<TempDir> {
        Arc::clone(&self.directory)
    }

    /// A request to a path of the Sentry port, without a key.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address()))
    }

    /// The same for the OTLP port.
    pub(crate) fn otlp(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.otlp_address()))
    }

    /// Sends an envelope for project 42 under the usual key.
    pub(crate) fn send(&self, envelope: impl Into<reqwest::blocking::Body>) -> Response {
        self.post("/api/42/envelope/")
            .header("x-sentry-auth", auth(KEY))
            .body(envelope)
            .send()
            .unwrap()
    }

    /// Runs another command of the program on the same directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        program(arguments)
            .arg("--data-dir")
            .arg(self.directory.path())
            .output()
            .unwrap()
    }

    /// What `tail` prints as JSON, once there are at least `count` items.
    pub(crate) fn stored(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} stored items"), || {
            let output = self.command(&["tail", "--no-follow", "--json", "-n", "1000"]);
            let lines = String::from_utf8(output.stdout).unwrap();
            let items: Vec<Value> = lines
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            (items.len() >= count).then_some(items)
        })
    }

    /// The exact bytes of a stored item's payload.
    pub(crate) fn raw(&self, id: &Value) -> Vec<u8> {
        self.command(&["show", "--raw", &id.to_string()]).stdout
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// Lets its files grow again.
    pub(crate) fn free_its_disk(&self) {
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        prlimit(Some(Pid::from_child(&self.child.0)), Resource::Fsize, unlimited).unwrap();
    }

    /// Waits for the end after a signal.
    pub(crate) fn ended(mut self) -> Ended {
        let status = eventually("the end of the process", || self.child.0.try_wait().unwrap());
        let mut stderr = String::new();
        self.child
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        // Up to the end of its output, which another thread reads.
        let farewell = self.lines.iter().last();
        let farewell = farewell.map_or(Value::Null, |line| serde_json::from_str(&line).unwrap());
        Ended {
            status,
            farewell,
            stderr,
        }
    }

    /// Ends it with SIGTERM.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Kilobytes of memory in use.
    pub(crate) fn resident_kb(&self) -> u64 {
        let status = PathBuf::from(format!("/proc/{}/status", self.child.0.id()));
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Value of `X-Sentry-Auth` for a key.
pub(crate) fn auth(key: &str) -> String {
    format!("Sentry sentry_key={key}, sentry_version=7, sentry_client=test/1.0")
}

/// Status, headers as text, and body.
#[track_caller]
pub(crate) fn parts(response: Response) -> (u16, reqwest::header::HeaderMap, String) {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    (status, headers, response.text().unwrap())
}

/// What came of `act`, which must not wait for an upstream: an attempt at one that stalls ends after 10 s at the earliest.
pub(crate) fn at_once<T>(act: impl FnOnce() -> T) -> T {
    let started = now();
    let outcome = act();
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(8), "took {took:?}");
    outcome
}
