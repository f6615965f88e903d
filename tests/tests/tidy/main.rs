//! The project's rules, as tests: what a lint of the compiler or of clippy cannot say.
//!
//! Each rule is a function from text to complaints, so that it can be shown to complain; the tests run it over the
//! files that are, or would be, committed.

mod arrows;
mod documents;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

/// One file of the repository.
struct File {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the root")
        .to_owned()
}

/// Every text file that git knows or would add, in path order.
fn files() -> Vec<File> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut paths: Vec<String> = String::from_utf8(output.stdout)
        .expect("paths are UTF-8")
        .lines()
        .map(str::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    let files: Vec<File> = paths
        .into_iter()
        .filter_map(|path| {
            std::fs::read_to_string(root().join(&path))
                .ok()
                .map(|text| File { path, text })
        })
        .collect();
    assert!(
        files.iter().any(|file| file.path == "core/src/lib.rs"),
        "the list of files is not this repository's"
    );
    files
}

/// Files with this ending.
fn files_ending(ending: &str) -> Vec<File> {
    files()
        .into_iter()
        .filter(|file| file.path.ends_with(ending))
        .collect()
}

/// The text of one file that must exist.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with all complaints, one a line.
#[track_caller]
fn assert_none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
