//! Runs this program under callgrind and reads what it wrote.
//!
//! Counting is switched on by the functions of [`glass`](crate::glass), on the thread that calls them. Calls of the
//! allocator are counted in the same run, by name.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::glass::Phase;
use crate::times::now;

/// Names under which the C library takes memory from its heap.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// A run that takes longer has failed; the longest takes a few seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one run counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    instructions: HashMap<String, u64>,
    /// Calls of the allocator, all phases together.
    pub(crate) allocations: u64,
}

impl Counted {
    /// Instructions under the glass of `phase`, what it called included.
    pub(crate) fn instructions(&self, phase: Phase) -> u64 {
        self.instructions.get(phase.function()).copied().unwrap_or(0)
    }
}

/// The version of valgrind; an error that names the mend when there is none.
pub(crate) fn version() -> Result<String> {
    let output = Command::new("valgrind")
        .arg("--version")
        .output()
        .context("valgrind is needed: `apt-get install valgrind`")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs this program with those arguments and counts what is under the glass.
pub(crate) fn run(arguments: &[&str], folder: &Path) -> Result<Counted> {
    let toggle = "--toggle-collect=surgetank_bench::glass::*";
    let text = written(&["--collect-atstart=no", toggle], arguments, folder)?;
    Ok(read(&text))
}

/// Runs this program with those arguments and counts all of it, every thread, from its start to its end.
pub(crate) fn whole(arguments: &[&str], folder: &Path) -> Result<u64> {
    let text = written(&[], arguments, folder)?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = totals.and_then(|total| total.trim().parse().ok());
    total.context("callgrind wrote no sum")
}

#[expect(
    clippy::disallowed_methods,
    reason = "std has no wait with a deadline for a process"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// What callgrind writes about a run.
fn written(options: &[&str], arguments: &[&str], folder: &Path) -> Result<String> {
    let file = folder.join("callgrind");
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .args(options)
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("valgrind is needed: `apt-get install valgrind`")?;
    let begun = now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!(
                "{arguments:?} did not end under callgrind in {} s",
                PATIENCE.as_secs()
            );
        }
        pause();
    };
    ensure!(
        status.success(),
        "{arguments:?} failed under callgrind ({status})"
    );
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    Ok(text)
}

/// Reads callgrind's format: `fn=` opens a function, then a line per place with its cost; a `calls=` line is followed by
/// one with the inclusive cost of the call. A name is written once, later only its number.
fn read(text: &str) -> Counted {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut counted = Counted::default();
    let (mut function, mut callee) = ("", "");
    for line in text.lines() {
        if let Some((kind, name)) = ["fn=", "cfn="]
            .iter()
            .find_map(|kind| Some((*kind, line.strip_prefix(kind)?)))
        {
            let (number, written) = name.split_once(' ').unwrap_or((name, ""));
            let name = if written.is_empty() {
                names.get(number).copied().unwrap_or_default()
            } else {
                names.insert(number, written);
                written
            };
            if kind == "fn=" {
                function = name;
            } else {
                callee = name;
            }
        } else if let Some(calls) = line.strip_prefix("calls=") {
            // The dynamic linker's own name for it may carry a suffix.
            let bare = callee.split(['@', '\'']).next().unwrap_or_default();
            if ALLOCATORS.contains(&bare) {
                let number = calls.split(' ').next().and_then(|number| number.parse().ok());
                counted.allocations += number.unwrap_or(0);
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
            && let Some(cost) = line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok())
        {
            *counted.instructions.entry(function.to_owned()).or_default() += cost;
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_called_costs_are_added_and_names_are_remembered() {
        let text = "events: Ir\n\nfn=(1) surgetank_bench::glass::record\n16 50\n+1 7\ncfn=(2) malloc\ncalls=3 40\n+2 90\n\n\
                    fn=(3) other\n1 1000\ncfn=(1)\ncalls=2 1\n* 147\nfn=(2)\n4 90\n";
        let counted = read(text);
        assert_eq!(counted.instructions(Phase::Record), 147);
        assert_eq!(counted.instructions(Phase::Settle), 0);
        assert_eq!(counted.allocations, 3);
    }
}
