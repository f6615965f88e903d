//! The embedded store: what arrived, in one SQLite file, bounded by size and age.
//!
//! One process writes ([`Writer`], which holds a lock on the directory), any number read ([`Reader`], used by `tail` and
//! `show`). Write-ahead logging lets them do so at the same time. A row is one envelope item or one OTLP request, with
//! its bytes exactly as they arrived; nothing is derived from them but what eviction and look-up need.
//!
//! Over the size limit the oldest items of the lowest lane go first, so errors go last; over the age limit, the oldest
//! of all. A file that is damaged, or no database at all, is moved aside and a new one begun: telemetry from before is
//! worth less than telemetry from now.

mod exporter;
mod read;
mod schema;
mod write;

pub(crate) use exporter::{StoreEnd, StoreExporter, StoreTarget};
pub(crate) use read::{Reader, StoredItem};
pub(crate) use write::{NewItem, StoreLimits, Writer};

use std::path::{Path, PathBuf};

/// Name of the file in the data directory.
const FILE_NAME: &str = "telemetry.sqlite";
/// Name of the file whose lock tells that a sidecar is at work.
const LOCK_NAME: &str = "lock";

/// The database file in `directory`.
pub(crate) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE_NAME)
}

/// Where an item came in. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A Sentry envelope.
    Sentry,
    /// OTLP, on its own port or on a Sentry project's.
    Otlp,
}

impl Source {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sentry => "sentry",
            Self::Otlp => "otlp",
        }
    }
}

/// Why the store cannot be used.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// The directory or a file in it.
    Io {
        what: &'static str,
        path: PathBuf,
        error: std::io::Error,
    },
    /// Another sidecar writes to it.
    InUse { path: PathBuf },
    /// Written by a version with another layout.
    Layout { path: PathBuf, found: i64 },
    /// SQLite's word.
    Sqlite { path: PathBuf, error: rusqlite::Error },
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, path, error } => write!(f, "cannot {what} {}: {error}", path.display()),
            Self::InUse { path } => write!(
                f,
                "another surgetank stores its telemetry in {}; stop it, or give this one a directory of its own with \
                 --data-dir",
                path.display()
            ),
            Self::Layout { path, found } => write!(
                f,
                "{} has layout {found}, this version writes {}; use the surgetank that wrote it, or another --data-dir",
                path.display(),
                schema::LAYOUT
            ),
            Self::Sqlite { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests;
