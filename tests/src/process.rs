//! A program that is run and talked to line by line, and ended by its id whatever happens.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::upstream::{PATIENCE, now};
use rustix::process::{Pid, Signal, kill_process};

/// How often a process that should end is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A running program; killed when it goes.
pub struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// How a program ended.
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed since the last line that was read.
    pub lines: Vec<String>,
    /// All of its standard error.
    pub errors: String,
}

impl Process {
    /// Starts `command` in an environment without proxies and without settings of what is tested.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Self {
        clear_environment(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}; {command:?}"));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut errors = child.stderr.take().expect("it is piped");
        let errors = std::thread::spawn(move || {
            let mut all = Vec::new();
            // What came before an error is all there is to show.
            let _ = errors.read_to_end(&mut all);
            String::from_utf8_lossy(&all).into_owned()
        });
        Self {
            name: name.to_owned(),
            input: child.stdin.take(),
            child,
            lines,
            errors: Some(errors),
        }
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When it does not read.
    #[track_caller]
    pub fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        if let Err(error) = writeln!(input, "{line}").and_then(|()| input.flush()) {
            self.fail(&format!("does not read: {error}"));
        }
    }

    /// The next line of its standard output.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => self.fail("says nothing"),
            Err(RecvTimeoutError::Disconnected) => self.fail("ended"),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is still there");
    }

    /// Closes its standard input and waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        self.input = None;
        let until = now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if now() > until {
                self.fail("does not end");
            }
            pause();
        };
        let errors = self.errors.take().and_then(|errors| errors.join().ok());
        let lines = self.lines.iter().collect();
        Ended {
            status,
            lines,
            errors: errors.unwrap_or_default(),
        }
    }

    /// Ends it and fails the test with all that it said on standard error.
    #[track_caller]
    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let errors = self.errors.take().and_then(|errors| errors.join().ok());
        panic!(
            "{} {what}; its standard error:\n{}",
            self.name,
            errors.unwrap_or_default()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes out what would lead a client elsewhere than told.
pub fn clear_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_setting = ["SURGETANK_", "SENTRY_", "OTEL_"]
            .iter()
            .any(|start| name.starts_with(start));
        let is_given = command.get_envs().any(|(given, _)| given == &*name);
        if (is_setting || name.to_ascii_lowercase().ends_with("_proxy")) && !is_given {
            command.env_remove(&*name);
        }
    }
}

/// A moment of rest between two looks at what another process does.
#[expect(
    clippy::disallowed_methods,
    reason = "what another process does is no event here"
)]
pub fn pause() {
    std::thread::sleep(LOOK);
}
