//! The server that everything is sent to: a process of its own on loopback, so that it is in nobody's figures, with the
//! ways in which servers behave.

mod recount;
mod server;

pub(crate) use server::serve;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Mode {
    /// At once: 200.
    Fast,
    /// 200 after 50 ms.
    Slow,
    /// Takes connections and requests, answers nothing.
    Stall,
    /// 429, everything limited for a minute.
    Limited,
    /// 503, without a time to wait.
    Unavailable,
    /// Nobody listens.
    Refuse,
}

impl Mode {
    pub(crate) const ALL: [Self; 6] = [
        Self::Fast,
        Self::Slow,
        Self::Stall,
        Self::Limited,
        Self::Unavailable,
        Self::Refuse,
    ];

    /// Its name on the command line, and in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Stall => "stall",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Refuse => "refuse",
        }
    }

    /// The same in words.
    pub(crate) const fn shows(self) -> &'static str {
        match self {
            Self::Fast => "answers at once",
            Self::Slow => "answers after 50 ms",
            Self::Stall => "never answers",
            Self::Limited => "429 for 60 s",
            Self::Unavailable => "503",
            Self::Refuse => "refuses connections",
        }
    }
}

/// What it got, by its own count.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Received {
    pub(crate) requests: u64,
    /// Events, transactions, logs and spans in bodies that were answered with 200.
    pub(crate) items: u64,
    /// Bytes of bodies, as they were sent.
    pub(crate) body_bytes: u64,
    /// The same with the heads of the requests.
    pub(crate) wire_bytes: u64,
}

/// The server's process. It ends when this is dropped, and when the process that started it ends.
pub(crate) struct Upstream {
    child: Child,
    /// A line asks for the count, the end ends the process.
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Upstream {
    pub(crate) fn start(mode: Mode) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["upstream", mode.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("this program starts itself")?;
        let questions = child.stdin.take().context("its input is a pipe")?;
        let answers = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut upstream = Self {
            child,
            questions,
            answers,
            address: String::new(),
        };
        upstream.address = upstream.line()?;
        Ok(upstream)
    }

    /// What it got until now.
    pub(crate) fn received(&mut self) -> Result<Received> {
        self.questions.write_all(b"?\n")?;
        let line = self.line()?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[requests, items, body_bytes, wire_bytes] = numbers.as_slice() else {
            anyhow::bail!("four numbers were to come, not `{line}`");
        };
        Ok(Received {
            requests,
            items,
            body_bytes,
            wire_bytes,
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the server has ended");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
