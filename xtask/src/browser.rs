//! The npm package for browsers: built of the crate `host-wasm/browser`, tested in a real browser.
//!
//! The compiler makes the module, `host-wasm/browser/bindgen` the JavaScript side of its functions, and
//! `host-wasm/browser/build.mjs` optimises, bundles, minifies and reports sizes. The package so made lies among the
//! packages that its tests bring it together with, in `target/browser/node_modules/surgetank`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::command::{root, run};
use crate::tools::{Tool, ensure as ensure_tools};

/// What building and testing it needs.
pub(crate) const TOOLS: &[Tool] = &[
    Tool::Target("wasm32-unknown-unknown"),
    Tool::BrowserPackages,
    Tool::System {
        program: "chromium",
        package: "chromium",
    },
];

/// Builds the package.
pub(crate) const BUILD: &[&str] = &[
    "cargo build --package surgetank-browser --target wasm32-unknown-unknown --profile wasm",
    "cargo run --quiet --locked --manifest-path host-wasm/browser/bindgen/Cargo.toml --target-dir target/bindgen -- \
     target/wasm32-unknown-unknown/wasm/surgetank_browser.wasm target/browser/engine",
    "node host-wasm/browser/build.mjs target/browser/engine target/browser/node_modules/surgetank \
     target/browser/node_modules",
];

const TESTS: &str = "tests/browser";

/// Installs what is missing and builds the package; then serves the example's page, if `serve`.
///
/// # Errors
/// The first line that fails.
pub(crate) fn build(serve: bool) -> Result<()> {
    ensure_tools(TOOLS)?;
    let example = serve.then_some("node examples/browser-page/serve.mjs");
    BUILD.iter().copied().chain(example).try_for_each(run)
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
