//! `cargo xtask wasm`: the WebAssembly modules that are shipped: built, checked, made small, laid into `dist/`.
//!
//! What is checked of each: it imports nothing but what its host is known to have (so that it needs no system, and no
//! panic can be reached), it has no allocator (in a browser: none but its own), and it is no larger than it says here. A table of sizes is printed.
//!
//! The module for browsers comes with the JavaScript that `wasm-bindgen` writes for it; the npm package is made of both
//! (`browser.rs`).

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::areas;
use crate::browser;
use crate::command::{root, run, target};
use crate::panic_free::Module;
use crate::tools::{self, Tool, WASM_OPT, WASM32};

/// What the builds need.
pub(crate) const TOOLS: &[Tool] = &[WASM32, WASM_OPT];

/// A module that is shipped.
struct Shipped {
    /// Name of its file in `dist/`, without the ending.
    name: &'static str,
    /// Its package.
    package: &'static str,
    /// The profile it is built in.
    profile: &'static str,
    /// What takes the linked module apart into the one that is shipped and its JavaScript, and where that module is then.
    bindings: Option<(&'static str, &'static str)>,
    /// Names of functions that it must not have.
    without: &'static [&'static str],
    /// Modules that its host has imports in.
    hosts: &'static [&'static str],
    /// Bytes it may have, as it is and compressed by gzip.
    most: (usize, usize),
    /// What is made of it.
    then: Option<fn() -> Result<()>>,
}

const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "surgetank",
        package: "surgetank-module",
        profile: "module",
        bindings: None,
        without: ANY_ALLOCATOR,
        hosts: &[],
        most: (126 * 1024, 61 * 1024),
        then: None,
    },
    Shipped {
        name: "surgetank-envoy",
        package: "surgetank-proxy",
        profile: "proxy",
        bindings: None,
        without: ANY_ALLOCATOR,
        hosts: &["env", "wasi_snapshot_preview1"],
        most: (202 * 1024, 90 * 1024),
        then: None,
    },
    Shipped {
        name: browser::MODULE,
        package: "surgetank-browser",
        profile: "wasm",
        bindings: Some((browser::BINDGEN, browser::BOUND)),
        without: GENERAL_ALLOCATOR,
        // One function that prepares a table.
        hosts: &["./engine_bg.js"],
        most: (112 * 1024, 53 * 1024),
        then: Some(browser::package),
    },
];

/// Names of what is shipped, for the command line.
pub(crate) const NAMES: [&str; 3] = ["surgetank", "surgetank-envoy", browser::MODULE];

/// Names of functions that only a linked allocator brings in.
const ANY_ALLOCATOR: &[&str] = &["__rust_alloc", "__rustc::__rust_alloc", "dlmalloc", "__rg_alloc"];

/// Names of functions that only the standard library's allocator brings in.
const GENERAL_ALLOCATOR: &[&str] = &["dlmalloc"];

/// Makes the modules of these names, or every one when none is named, and what is made of them.
///
/// # Errors
/// What failed, or which check did not hold.
pub(crate) fn make(only: &[String]) -> Result<()> {
    let selected = || {
        SHIPPED
            .iter()
            .filter(|shipped| only.is_empty() || only.iter().any(|name| name == shipped.name))
    };
    tools::ensure(TOOLS)?;
    let folder = root().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let made: Result<Vec<(String, Vec<String>)>> = selected()
        .map(|shipped| shipped.make(&folder.join(shipped.name).with_extension("wasm")))
        .collect();
    println!(
        "\n{:<17} {:>8} {:>9} {:>8} {:>8} functions",
        "module", "linked", "optimised", "gzip", "data"
    );
    let made = made?;
    made.iter().for_each(|(row, _)| println!("{row}"));
    println!("\ncode by area, as linked, before it is optimised:");
    for (shipped, (_, areas)) in selected().zip(&made) {
        println!("{}", shipped.name);
        areas.iter().for_each(|line| println!("{line}"));
    }
    println!();
    selected()
        .filter_map(|shipped| shipped.then)
        .try_for_each(|then| then())
}

impl Shipped {
    /// Its row in the table of sizes, and where its code comes from.
    fn make(&self, to: &PathBuf) -> Result<(String, Vec<String>)> {
        run(&format!(
            "cargo build --package {} --lib --target wasm32-unknown-unknown --profile {}",
            self.package, self.profile
        ))?;
        let mut linked = target()
            .join("wasm32-unknown-unknown")
            .join(self.profile)
            .join(self.package.replace('-', "_"))
            .with_extension("wasm");
        if let Some((line, bound)) = self.bindings {
            run(line)?;
            linked = root().join(bound);
        }
        let bytes = fs::read(&linked).with_context(|| format!("could not read {}", linked.display()))?;
        let linked_bytes = bytes.len();
        let module = Module::read(&bytes)?;
        self.check(&module)?;
        let areas = areas::table(&module);
        // Without `--all-features`: with it, binaryen writes an import section that not every engine reads. Where only calls
        // are saved, text that gzip finds again costs less than a function of its own. The lowest addresses are the end of
        // the stack.
        run(&format!(
            "{} -Oz --low-memory-unused --one-caller-inline-max-function-size=30 --converge \
             --strip-debug --strip-producers --strip-target-features {} -o {}",
            WASM_OPT.program_path(),
            linked.display(),
            to.display()
        ))?;
        let bytes = fs::read(to).with_context(|| format!("could not read {}", to.display()))?;
        let module = Module::read(&bytes)?;
        self.check_imports(&module)?;
        let gzip = gzip_bytes(&bytes)?;
        let (most, most_gzip) = self.most;
        ensure!(
            bytes.len() <= most && gzip <= most_gzip,
            "{} has {} bytes ({gzip} by gzip), and may have {most} ({most_gzip})",
            self.name,
            bytes.len()
        );
        let row = format!(
            "{:<17} {linked_bytes:>8} {:>9} {gzip:>8} {:>8} {}",
            self.name,
            bytes.len(),
            module.data_bytes,
            module.exports
        );
        Ok((row, areas))
    }

    fn check(&self, module: &Module<'_>) -> Result<()> {
        self.check_imports(module)?;
        let allocator = module
            .function_names()
            .find(|name| self.without.iter().any(|part| name.contains(part)));
        match allocator {
            Some(name) => bail!("{} has an allocator: {name}", self.name),
            None => Ok(()),
        }
    }

    fn check_imports(&self, module: &Module<'_>) -> Result<()> {
        ensure!(module.exports > 0, "{} exports no function", self.name);
        module.check_imports(self.hosts)
    }
}

fn gzip_bytes(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_can_be_named() {
        let names: Vec<&str> = SHIPPED.iter().map(|shipped| shipped.name).collect();
        assert_eq!(names, NAMES);
    }
}
