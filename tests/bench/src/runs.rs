//! Runs of subjects and queues in processes of their own, and what they said.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Compressed;
use crate::subjects::Entry;
use crate::upstream::{Mode, Received, Upstream};

/// A run that says nothing for so long has failed; the longest one takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends the process with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program and waits for the one line that it says.
fn start(program: &Path, arguments: &[&str]) -> Result<(Running, String)> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // What the machine is set up to do with requests must not come between.
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        command.env_remove(name);
    }
    let mut running = Running(
        command
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?,
    );
    let out = running.0.stdout.take().context("its output is a pipe")?;
    let (said, hears) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(out).read_line(&mut line);
        let _ = said.send(read.map(|_| line));
    });
    let line = hears
        .recv_timeout(PATIENCE)
        .with_context(|| format!("{arguments:?} did not end in {} s", PATIENCE.as_secs()))??;
    anyhow::ensure!(!line.is_empty(), "{arguments:?} failed");
    Ok((running, line))
}

/// What a subject said after that job, and what the server had got by then.
pub(crate) fn load(
    subject: &Entry,
    compression: Compressed,
    mode: Mode,
    job: &[&str],
) -> Result<(String, Received)> {
    load_in(&std::env::current_exe()?, subject, compression, mode, job)
}

/// The same of a subject of that program, another build of this one.
pub(crate) fn load_in(
    program: &Path,
    subject: &Entry,
    compression: Compressed,
    mode: Mode,
    job: &[&str],
) -> Result<(String, Received)> {
    let mut server = Upstream::start(mode)?;
    let mut arguments = vec!["load", subject.name, &server.address, compression.name()];
    arguments.extend(job);
    eprintln!("{} ...", arguments.join(" "));
    let (running, line) = start(program, &arguments)?;
    let received = server.received()?;
    drop(running);
    Ok((line, received))
}

/// What a queue's run said.
pub(crate) fn queue(name: &str, records: &str, producers: usize, calls: usize) -> Result<String> {
    let arguments = ["time", name, records, &producers.to_string(), &calls.to_string()];
    eprintln!("{} ...", arguments.join(" "));
    Ok(start(&std::env::current_exe()?, &arguments)?.1)
}
