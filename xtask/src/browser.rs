//! The npm package for browsers: made of the crate `host-wasm/browser`, tested in a real browser.
//!
//! `cargo xtask wasm` makes the module as it makes the others, with `host-wasm/browser/bindgen` for the JavaScript side of
//! its functions; then `host-wasm/browser/build.mjs` bundles, minifies and reports sizes. The package lies in `dist/npm`,
//! and among the packages that its tests bring it together with, in `target/browser/node_modules/surgetank`.
//!
//! The Rust side is tested in the browser as well, by `wasm-bindgen-test` over the browser's own driver.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::command::{root, run};
use crate::tools::{self, CHROMIUM, Tool, WASM32};
use crate::wasm;

/// Name of the module in `dist/`.
pub(crate) const MODULE: &str = "surgetank-browser";

/// Makes the JavaScript side of the linked module.
pub(crate) const BINDGEN: &str = "cargo run --quiet --locked --manifest-path host-wasm/browser/bindgen/Cargo.toml \
     --target-dir target/bindgen -- target/wasm32-unknown-unknown/wasm/surgetank_browser.wasm target/browser/engine";

/// The module that goes with it.
pub(crate) const BOUND: &str = "target/browser/engine/engine_bg.wasm";

/// What testing it needs.
pub(crate) const TOOLS: &[Tool] = &[
    WASM32,
    Tool::BrowserPackages,
    CHROMIUM,
    Tool::System {
        program: "chromedriver",
        package: "chromium-driver",
    },
];

/// Builds the package; runs the tests of its Rust side.
pub(crate) const LINES: &[&str] = &[
    "cargo xtask wasm --only surgetank-browser",
    "cargo clippy --package surgetank-browser --lib --profile test --target wasm32-unknown-unknown -- -D warnings",
    "cargo build --quiet --locked --manifest-path host-wasm/browser/bindgen/Cargo.toml --target-dir target/bindgen \
     --features test-runner",
    // The runner's own deadlines are for a machine that does nothing else.
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=target/bindgen/debug/surgetank-browser-test-runner \
     WASM_BINDGEN_TEST_TIMEOUT=300 WASM_BINDGEN_TEST_DRIVER_TIMEOUT=120 NO_PROXY=127.0.0.1 \
     cargo test --package surgetank-browser --lib --target wasm32-unknown-unknown",
    // What the page sends to.
    "cargo build --package surgetank-tests --bin recorder",
];

const TESTS: &str = "tests/browser";

/// Makes the package of the module and its JavaScript.
///
/// # Errors
/// The line that fails.
pub(crate) fn package() -> Result<()> {
    tools::ensure(&[Tool::BrowserPackages])?;
    run("node host-wasm/browser/build.mjs")
}

/// Builds the package; then serves the example's page, if `serve`.
///
/// # Errors
/// The first line that fails.
pub(crate) fn build(serve: bool) -> Result<()> {
    wasm::make(&[MODULE.to_owned()])?;
    if serve {
        run("node examples/browser-page/serve.mjs")?;
    }
    Ok(())
}

/// Runs every file of tests, one after the other: each has a browser of its own.
///
/// # Errors
/// There is none, or one fails.
pub(crate) fn test() -> Result<()> {
    let files = test_files()?;
    ensure!(!files.is_empty(), "no tests in {TESTS}");
    run(&format!("node --test --test-concurrency=1 {}", files.join(" ")))
}

fn test_files() -> Result<Vec<String>> {
    let folder: PathBuf = root().join(TESTS);
    let entries = folder
        .read_dir()
        .with_context(|| format!("could not read {}", folder.display()))?;
    let mut files: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".test.mjs"))
        .map(|name| format!("{TESTS}/{name}"))
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_are_found() {
        let files = test_files().unwrap();
        assert!(files.contains(&format!("{TESTS}/delivery.test.mjs")), "{files:?}");
    }
}
