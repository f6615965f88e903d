//! The committed scripts with their traces, and how a trace is held against the one that is expected.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines shown before the one that matters.
const CONTEXT: usize = 6;

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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "script") {
            scenarios.push(Scenario {
                name: path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                script: fs::read_to_string(&path)?,
                trace_path: path.with_extension("trace"),
            });
        }
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scenarios)
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

/// Where two traces part: the lines before it, and what each has there. `None` when they are equal byte for byte.
#[must_use]
pub fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut one, mut other) = (expected.lines(), found.lines());
    let mut before: Vec<&str> = Vec::new();
    for number in 1.. {
        let (one, other) = (one.next(), other.next());
        if one != other || one.is_none() {
            let mut text = format!("the trace differs from line {number} on\n");
            text.push_str(&indented(&before));
            let end = "(the end)";
            text.push_str(&format!("expected: {}\n", one.unwrap_or(end)));
            text.push_str(&format!("found:    {}\n", other.unwrap_or(end)));
            return Some(text);
        }
        before.extend(one);
    }
    None
}

/// The end of a trace that goes no further.
#[must_use]
pub(super) fn last_lines(trace: &str) -> String {
    indented(&trace.lines().collect::<Vec<_>>())
}

/// The last few of `lines`, below one another.
fn indented(lines: &[&str]) -> String {
    let from = lines.len().saturating_sub(CONTEXT);
    lines[from..]
        .iter()
        .map(|line| format!("          {line}\n"))
        .collect()
}
