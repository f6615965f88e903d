//! Looking for new fuzzer inputs. What is found stays in `tests/fuzz/corpus/`, which every test run replays.

use anyhow::Result;

use crate::command;
use crate::tools::{self, CARGO_FUZZ, Tool};

/// Runs the fuzzer for one target, then keeps of its inputs the fewest that reach as far.
///
/// # Errors
/// An input that breaks the target (libFuzzer prints it and where it is kept), or a tool that could not be had.
pub(crate) fn run(target: &str, seconds: u32) -> Result<()> {
    tools::ensure(&[Tool::Nightly, CARGO_FUZZ])?;
    let fuzz = "cargo +nightly fuzz";
    let path = format!(
        "PATH=target/tools/bin:{}",
        std::env::var("PATH").unwrap_or_default()
    );
    command::run(&format!(
        "{path} {fuzz} run --fuzz-dir tests/fuzz {target} -- -max_total_time={seconds} -max_len=4096"
    ))?;
    command::run(&format!(
        "{path} {fuzz} cmin --fuzz-dir tests/fuzz {target} -- -max_len=4096"
    ))
}
