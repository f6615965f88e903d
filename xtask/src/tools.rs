//! Tools that the checks need: told apart, found, installed.
//!
//! Versions that decide whether a check passes are pinned here; a newer one is a change of this file.

use anyhow::{Context, Result, ensure};

use crate::clients;
use crate::command::{ask, run};

/// Something a check needs besides the pinned compiler of `rust-toolchain.toml`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tool {
    /// A part of the pinned toolchain, as rustup names it.
    Component(&'static str),
    /// The standard library (or `core`) for a compilation target.
    Target(&'static str),
    /// The nightly toolchain with Miri, and with the sources of the standard library for sanitizers.
    Nightly,
    /// A cargo subcommand in `target/tools`.
    Cargo {
        /// Name of the package and of its program.
        name: &'static str,
        /// The version to have.
        version: &'static str,
        /// Further arguments of `cargo install`.
        options: &'static str,
    },
    /// A program of the system, with the Debian package that has it.
    System {
        /// Name of the program.
        program: &'static str,
        /// Name of the package.
        package: &'static str,
    },
    /// A program of an npm package that needs no other, in `target/npm`.
    Npm {
        /// Name of the package.
        package: &'static str,
        /// The version to have.
        version: &'static str,
        /// Name of the program.
        program: &'static str,
    },
    /// The PyPI packages of the end-to-end tests, in `target/venv`.
    PythonClients,
    /// The npm packages of the end-to-end tests, in `target/node`.
    NodeClients,
    /// The npm packages that build and test the package for browsers, in `target/browser`.
    BrowserPackages,
}

/// Licences, sources and doubled crates.
pub(crate) const CARGO_DENY: Tool = Tool::Cargo {
    name: "cargo-deny",
    version: "0.20.2",
    options: "--no-default-features",
};

/// Runs cargo once for every combination of features.
pub(crate) const CARGO_HACK: Tool = Tool::Cargo {
    name: "cargo-hack",
    version: "0.6.46",
    options: "",
};

/// Builds and runs fuzzers.
pub(crate) const CARGO_FUZZ: Tool = Tool::Cargo {
    name: "cargo-fuzz",
    version: "0.13.2",
    options: "",
};

/// Counts instructions.
pub(crate) const VALGRIND: Tool = Tool::System {
    program: "valgrind",
    package: "valgrind",
};

/// Makes HTTP load.
pub(crate) const WRK: Tool = Tool::System {
    program: "wrk",
    package: "wrk",
};

/// The browser.
pub(crate) const CHROMIUM: Tool = Tool::System {
    program: "chromium",
    package: "chromium",
};

/// Emulates microcontrollers.
pub(crate) const QEMU_ARM: Tool = Tool::System {
    program: "qemu-system-arm",
    package: "qemu-system-arm",
};

/// Makes WebAssembly small.
pub(crate) const WASM_OPT: Tool = Tool::Npm {
    package: "binaryen",
    version: "132.0.0",
    program: "wasm-opt",
};

/// The standard library's `core` for WebAssembly.
pub(crate) const WASM32: Tool = Tool::Target("wasm32-unknown-unknown");

/// A tool that runs for a second need not be built for speed; its own profile takes twice as long.
const QUICK_BUILD: &str =
    "CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16";

/// Installs each missing tool.
///
/// # Errors
/// The first tool that could not be had, with the command to try by hand.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    for tool in tools {
        if !tool.is_there() {
            println!("installing: {}", tool.describe());
            tool.install()?;
            ensure!(
                tool.is_there(),
                "the installation ran, but {} is still not there",
                tool.describe()
            );
        }
    }
    Ok(())
}

impl Tool {
    fn describe(self) -> String {
        match self {
            Self::Component(name) => format!("toolchain component {name}"),
            Self::Target(name) => format!("compilation target {name}"),
            Self::Nightly => "nightly toolchain with miri and rust-src".to_owned(),
            Self::Cargo { name, version, .. } => format!("{name} {version}"),
            Self::System { program, package } => format!("program {program} (Debian package {package})"),
            Self::Npm {
                package,
                version,
                program,
            } => format!("program {program} (npm package {package} {version})"),
            Self::PythonClients => "the Sentry and OpenTelemetry clients for Python".to_owned(),
            Self::NodeClients => "the Sentry and OpenTelemetry clients for Node.js".to_owned(),
            Self::BrowserPackages => "bundlers, a browser's driver and SDKs from npm".to_owned(),
        }
    }

    /// Where the program of an npm package is, seen from the root; nowhere for other tools.
    pub(crate) fn program_path(self) -> String {
        match self {
            Self::Npm {
                package,
                version,
                program,
            } => format!("target/npm/{package}-{version}/node_modules/.bin/{program}"),
            _ => String::new(),
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::Component(name) => {
                has_line("rustup component list --installed", |line| line.starts_with(name))
            }
            Self::Target(name) => has_line("rustup target list --installed", |line| line == name),
            Self::Nightly => ["miri", "rust-src"].iter().all(|part| {
                has_line("rustup component list --toolchain nightly --installed", |line| {
                    line.starts_with(part)
                })
            }),
            // Cargo's own book: not every subcommand tells its version in the same way.
            Self::Cargo { name, version, .. } => {
                has_line("cargo install --list --root target/tools", |line| {
                    line == format!("{name} v{version}:")
                })
            }
            Self::System { program, .. } => is_on_path(program),
            Self::Npm { .. } => ask(&format!("{} --version", self.program_path())).is_some(),
            Self::PythonClients => clients::PYTHON.are_there(),
            Self::NodeClients => clients::NODE.are_there(),
            Self::BrowserPackages => clients::BROWSER.are_there(),
        }
    }

    fn install(self) -> Result<()> {
        let line = match self {
            Self::Component(name) => format!("rustup component add {name}"),
            Self::Target(name) => format!("rustup target add {name}"),
            Self::Nightly => "rustup toolchain install nightly --profile minimal --no-self-update \
                              --component miri --component rust-src"
                .to_owned(),
            Self::Cargo {
                name,
                version,
                options,
            } => format!(
                "{QUICK_BUILD} cargo install --locked --root target/tools --version {version} {options} {name}"
            ),
            Self::System { package, .. } => {
                // The lists of a fresh machine may be missing or name versions that are gone. Where they cannot be had
                // anew, those that are there may still do.
                if let Err(error) = run("apt-get update --quiet --quiet") {
                    eprintln!("{error:#}");
                }
                format!("apt-get install --yes --no-install-recommends {package}")
            }
            Self::Npm { package, version, .. } => format!(
                "npm install --prefix target/npm/{package}-{version} --ignore-scripts --no-audit --no-fund \
                 {package}@{version}"
            ),
            Self::PythonClients => return clients::PYTHON.install(),
            Self::NodeClients => return clients::NODE.install(),
            Self::BrowserPackages => return clients::BROWSER.install(),
        };
        run(&line).with_context(|| format!("needed: {}; try `{line}` by hand", self.describe()))
    }
}

/// True when a folder of `PATH` has that program; running it to find out would not do, for `wrk` fails without arguments.
fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// True when `question` runs and prints a line that `matches`.
fn has_line(question: &str, matches: impl Fn(&str) -> bool) -> bool {
    ask(question).is_some_and(|answer| answer.lines().any(matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_a_missing_one_is_not() {
        assert!(is_on_path("sh") || is_on_path("cmd.exe"));
        assert!(!is_on_path("no-such-program-of-ours"));
    }
}
