//! `cargo xtask wasm`: the WebAssembly modules that are shipped: built, checked, made small, laid into `dist/`.
//!
//! What is checked of each: it imports nothing but what its host is known to have (so that it needs no system, and no
//! panic can be reached), it has no allocator, and it is no larger than it says here. A table of sizes is printed.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

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
    /// Modules that its host has imports in.
    hosts: &'static [&'static str],
    /// Bytes it may have, as it is and compressed by gzip.
    most: (usize, usize),
}

const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "surgetank",
        package: "surgetank-module",
        profile: "module",
        hosts: &[],
        most: (176 * 1024, 80 * 1024),
    },
    Shipped {
        name: "surgetank-envoy",
        package: "surgetank-proxy",
        profile: "proxy",
        hosts: &["env", "wasi_snapshot_preview1"],
        most: (264 * 1024, 120 * 1024),
    },
];

/// Names of functions that only a linked allocator brings in.
const ALLOCATOR: &[&str] = &["__rust_alloc", "__rustc::__rust_alloc", "dlmalloc", "__rg_alloc"];

/// Makes every module.
///
/// # Errors
/// What failed, or which check did not hold.
pub(crate) fn make() -> Result<()> {
    tools::ensure(TOOLS)?;
    let folder = root().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    println!(
        "\n{:<12} {:>8} {:>9} {:>8} {:>8} functions",
        "module", "linked", "optimised", "gzip", "data"
    );
    for shipped in SHIPPED {
        let row = shipped.make(&folder.join(shipped.name).with_extension("wasm"))?;
        println!("{row}");
    }
    Ok(())
}

impl Shipped {
    fn make(&self, to: &PathBuf) -> Result<String> {
        run(&format!(
            "cargo build --package {} --lib --target wasm32-unknown-unknown --profile {}",
            self.package, self.profile
        ))?;
        let linked = target()
            .join("wasm32-unknown-unknown")
            .join(self.profile)
            .join(self.package.replace('-', "_"))
            .with_extension("wasm");
        let bytes = fs::read(&linked).with_context(|| format!("could not read {}", linked.display()))?;
        let linked_bytes = bytes.len();
        self.check(&Module::read(&bytes)?)?;
        // Without `--all-features`: with it, binaryen writes an import section that not every engine reads.
        run(&format!(
            "{} -Oz --strip-debug --strip-producers --strip-target-features {} -o {}",
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
        Ok(format!(
            "{:<12} {linked_bytes:>8} {:>9} {gzip:>8} {:>8} {}",
            self.name,
            bytes.len(),
            module.data_bytes,
            module.exports
        ))
    }

    fn check(&self, module: &Module<'_>) -> Result<()> {
        self.check_imports(module)?;
        let allocator = module
            .function_names()
            .find(|name| ALLOCATOR.iter().any(|part| name.contains(part)));
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
