//! Packages from PyPI and npm under `target/`: the real Sentry and OpenTelemetry clients that the end-to-end tests run,
//! and what the package for browsers is built and tested with.
//!
//! Every version is pinned, those of indirect dependencies too. What is installed is told by a copy of the list it was
//! installed from, laid beside it when the installation is done; a changed list so leads to a new installation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{ask, root, run, target};

/// Packages from PyPI, in a virtual environment.
pub(crate) const PYTHON: Clients = Clients {
    folder: "venv",
    lists: "tests/e2e",
    list: "requirements.txt",
    interpreter: "target/venv/bin/python --version",
    lines: &[
        "python3 -m venv --clear target/venv",
        "target/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
         --requirement tests/e2e/requirements.txt",
        "target/venv/bin/python -m pip check",
    ],
    copied: &[],
    mend: "Python 3.11 or newer with its module venv (Debian 12 or newer: `apt-get install python3 python3-venv`)",
};

/// Packages from npm.
pub(crate) const NODE: Clients = Clients {
    folder: "node",
    lists: "tests/e2e",
    list: "package-lock.json",
    interpreter: "node --version",
    lines: &["npm ci --prefix target/node --engine-strict --ignore-scripts --no-audit --no-fund"],
    copied: &["package.json", "package-lock.json"],
    mend: "Node.js 20.19 or newer with npm (Debian 13 or newer: `apt-get install nodejs npm`)",
};

/// Packages from npm that build and test the package for browsers.
pub(crate) const BROWSER: Clients = Clients {
    folder: "browser",
    lists: "tests/browser",
    list: "package-lock.json",
    interpreter: "node --version",
    lines: &["npm ci --prefix target/browser --engine-strict --ignore-scripts --no-audit --no-fund"],
    copied: &["package.json", "package-lock.json"],
    mend: NODE.mend,
};

/// Name of the copy that tells what is installed.
const INSTALLED: &str = "installed-from";

/// The packages of one registry.
pub(crate) struct Clients {
    /// Under `target/`.
    folder: &'static str,
    /// Where the lists lie.
    lists: &'static str,
    /// What pins the versions.
    list: &'static str,
    /// A line that works when their interpreter does.
    interpreter: &'static str,
    /// What installs them.
    lines: &'static [&'static str],
    /// Files that the installation wants in its folder.
    copied: &'static [&'static str],
    /// What they need.
    mend: &'static str,
}

impl Clients {
    /// True when the listed versions are installed and can be run.
    pub(crate) fn are_there(&self) -> bool {
        let installed = fs::read(self.folder().join(INSTALLED)).ok();
        let wanted = fs::read(root().join(self.lists).join(self.list)).ok();
        installed.is_some() && installed == wanted && ask(self.interpreter).is_some()
    }

    /// Installs them anew.
    pub(crate) fn install(&self) -> Result<()> {
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        for name in self.copied {
            self.copy(name, &folder.join(name))?;
        }
        self.lines
            .iter()
            .try_for_each(|line| run(line))
            .with_context(|| format!("this needs {}", self.mend))?;
        self.copy(self.list, &folder.join(INSTALLED))
    }

    fn folder(&self) -> PathBuf {
        target().join(self.folder)
    }

    fn copy(&self, name: &str, to: &Path) -> Result<()> {
        let from = root().join(self.lists).join(name);
        fs::copy(&from, to)
            .with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_where_they_are_looked_for() {
        for clients in [PYTHON, NODE, BROWSER] {
            for name in clients.copied.iter().chain([&clients.list]) {
                assert!(root().join(clients.lists).join(name).is_file(), "{name}");
            }
        }
    }

    #[test]
    fn every_python_package_is_pinned() {
        let list = fs::read_to_string(root().join(PYTHON.lists).join(PYTHON.list)).unwrap();
        let packages: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(packages.len() > 2);
        for package in packages {
            assert!(package.contains("=="), "{package} has no version");
        }
    }

    #[test]
    fn what_was_never_installed_is_not_there() {
        let nowhere = Clients {
            folder: "no-such-folder",
            ..NODE
        };
        assert!(!nowhere.are_there());
    }
}
