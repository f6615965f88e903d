//! `cargo xtask bench`: builds and runs `tests/bench`, which measures and writes `tests/bench/REPORT.md`.

use anyhow::Result;

use crate::command::run;
use crate::tools::{self, VALGRIND, WRK};

/// The parts that can be named.
pub(crate) const PARTS: [&str; 5] = ["engine", "queues", "wire", "client", "sidecar"];

/// Measures these parts, all of them when none is named; only then is the report written.
pub(crate) fn bench(only: &[String]) -> Result<()> {
    let named = |part: &str| only.is_empty() || only.iter().any(|one| one == part);
    let mut needed = vec![VALGRIND];
    if named("sidecar") {
        needed.push(WRK);
    }
    tools::ensure(&needed)?;
    if named("sidecar") {
        run("cargo build --release --package surgetank-sidecar")?;
    }
    let parts: String = only.iter().map(|part| format!(" --only {part}")).collect();
    run("cargo build --release --manifest-path tests/bench/Cargo.toml --target-dir target/bench")?;
    run(&format!(
        "target/bench/release/surgetank-bench report --to tests/bench/REPORT.md --scratch target/bench/scratch \
         --sidecar target/release/surgetank{parts}"
    ))
}
