//! The committed scripts with their traces. What reads and plays them is `surgetank-replay`.

use std::fs;
use std::path::{Path, PathBuf};

pub use surgetank_replay::{Fault, call, difference, native, parse, play, run, script};

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
