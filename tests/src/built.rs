//! Programs that tests run as users would: built before, by whoever runs the tests, and not older than their sources.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The sidecar, built by cargo beside a test's own program: `cargo test --workspace` has just built it.
///
/// # Panics
/// When it is not there, or old.
#[track_caller]
#[must_use]
pub fn sidecar() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let folder = own
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/*/deps");
    fresh(
        &folder.join("surgetank"),
        &[
            "core/src",
            "host-native/client/src",
            "host-native/serial/src",
            "host-native/sidecar/src",
        ],
        "build it with `cargo build --package surgetank-sidecar`",
    )
}

/// The file at `path`, below the root of the repository, which was made of what is in `sources`.
///
/// # Panics
/// When it is not there, or older than one of them; `how` says how to make it.
#[track_caller]
#[must_use]
pub fn fresh(path: &Path, sources: &[&str], how: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(path);
    let built = modified(&path).unwrap_or_else(|| panic!("{} is not there; {how}", path.display()));
    let newer = sources
        .iter()
        .find_map(|folder| newer_file(&root.join(folder), built));
    assert!(
        newer.is_none(),
        "{} is older than {}; {how}",
        path.display(),
        newer.unwrap_or_default().display()
    );
    path
}

/// A file in a folder that was changed after `time`.
fn newer_file(folder: &Path, time: SystemTime) -> Option<PathBuf> {
    let entries = folder.read_dir().expect("a folder of sources");
    entries.flatten().map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            newer_file(&path, time)
        } else {
            modified(&path)
                .is_none_or(|changed| changed > time)
                .then_some(path)
        }
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
