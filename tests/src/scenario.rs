//! The committed scripts with their traces, and the recorded traffic with its sums. What reads and plays them is `surgetank-replay`.

use std::fs;
use std::path::{Path, PathBuf};

use surgetank_replay::body::hash;
pub use surgetank_replay::{
    Fault, call, difference, native, parse, play, read, recording, run, run_script, script,
};

/// A committed script.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// File name without its ending.
    pub name: String,
    /// Text of the script.
    pub script: String,
    /// Where its trace is.
    pub trace_path: PathBuf,
}

/// Every committed script, by name.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn scenarios() -> std::io::Result<Vec<Scenario>> {
    let scenario = |path: PathBuf| {
        Ok(Scenario {
            name: name_of(&path),
            script: fs::read_to_string(&path)?,
            trace_path: path.with_extension("trace"),
        })
    };
    ending("script")?.into_iter().map(scenario).collect()
}

/// Committed traffic that was recorded from real clients (`tests/tests/e2e/hour.rs`).
#[derive(Clone, Debug)]
pub struct Recording {
    /// File name without its ending.
    pub name: String,
    /// The file.
    pub contents: Vec<u8>,
    /// Where the sums of its trace are ([`sums`]), which is too long to be committed.
    pub sums_path: PathBuf,
}

/// Every committed recording, by name.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn recordings() -> std::io::Result<Vec<Recording>> {
    let recording = |path: PathBuf| {
        Ok(Recording {
            name: name_of(&path),
            contents: fs::read(&path)?,
            sums_path: path.with_extension("sums"),
        })
    };
    ending("recording")?.into_iter().map(recording).collect()
}

/// What tells a long trace from any other: how many lines it has, its hash, and how it ends.
#[must_use]
pub fn sums(trace: &str) -> String {
    let end = trace
        .find("end at ")
        .map_or("", |at| trace.get(at..).unwrap_or_default());
    let hash = hash(trace.as_bytes());
    format!("{} lines, hash {hash:016x}\n{end}", trace.lines().count())
}

/// The folder of scenarios.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Files there with this ending, in order.
fn ending(wanted: &str) -> std::io::Result<Vec<PathBuf>> {
    let entries: std::io::Result<Vec<_>> = fs::read_dir(folder())?.collect();
    let paths = entries?.into_iter().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == wanted))
        .collect();
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

impl Scenario {
    /// Holds `found` against the committed trace.
    ///
    /// # Errors
    /// Where they part, for people to read.
    pub fn compare(&self, found: &str) -> Result<(), String> {
        let expected = fs::read_to_string(&self.trace_path).unwrap_or_default();
        match difference(&expected, found) {
            None => Ok(()),
            Some(difference) => Err(format!("{}: {difference}", self.name)),
        }
    }
}
