//! `cargo xtask bench`: builds and runs `tests/bench`, which measures and writes `tests/bench/REPORT.md` and its charts.

use anyhow::{Context, Result};

use crate::command::run;
use crate::tools::{self, VALGRIND, WRK};

/// The parts that can be named.
pub(crate) const PARTS: [&str; 6] = ["engine", "queues", "wire", "calls", "delivery", "sidecar"];

/// A program with nothing but surgetank.
const ALONE: &str = "target/bench/alone";

/// Measures these parts, all of them when none is named; only then, and when it is not `quick`, the report in the tree is
/// written. Otherwise it goes to `target/bench/scratch`.
pub(crate) fn bench(only: &[String], quick: bool) -> Result<()> {
    let named = |part: &str| only.is_empty() || only.iter().any(|one| one == part);
    let mut needed = vec![VALGRIND];
    if named("sidecar") {
        needed.push(WRK);
    }
    tools::ensure(&needed)?;
    if named("sidecar") {
        run("cargo build --release --package surgetank-sidecar")?;
    }
    let mut asked: String = only.iter().map(|part| format!(" --only {part}")).collect();
    if quick {
        asked.push_str(" --quick");
    }
    // Without the drop-ins first, which are parts of surgetank that it needs only for the peers.
    run(
        "cargo build --release --no-default-features --bin surgetank-alone --manifest-path tests/bench/Cargo.toml \
         --target-dir target/bench",
    )?;
    std::fs::copy("target/bench/release/surgetank-alone", ALONE)
        .with_context(|| format!("could not write {ALONE}"))?;
    run(
        "cargo build --release --bin surgetank-bench --manifest-path tests/bench/Cargo.toml \
         --target-dir target/bench",
    )?;
    run(&format!(
        "target/bench/release/surgetank-bench report --to tests/bench --scratch target/bench/scratch \
         --sidecar target/release/surgetank --alone {ALONE}{asked}"
    ))
}
