//! What can be wrong with the settings of a client.

use core::fmt;
use std::io;
use std::path::PathBuf;

use surgetank_core::wire::dsn::DsnError;

use crate::delivery::DeliveryError;
use crate::delivery::http::PemError;
use crate::environment::EnvironmentError;

/// A setting that is wrong. Never shows a value.
///
/// Not exhaustive.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// An environment variable asks for what this client cannot do.
    Environment(EnvironmentError),
    /// The DSN is malformed.
    Dsn {
        /// Method or variable it came from.
        setting: &'static str,
        /// What is wrong with it.
        error: DsnError,
    },
    /// A URL is malformed.
    Url {
        /// Method or variable it came from.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A header is malformed.
    Header {
        /// Method or variable it came from.
        setting: &'static str,
    },
    /// A file cannot be read.
    File {
        /// Variable that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        kind: io::ErrorKind,
    },
    /// A file does not hold what it should.
    Pem {
        /// Variable that names it.
        setting: &'static str,
        /// What is wrong with it.
        error: PemError,
    },
    /// A number is out of range.
    Range {
        /// The method.
        setting: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The operating system gives no random numbers.
    Entropy,
    /// The memory or a socket could not be had, or a setting of the engine is out of range.
    Delivery(DeliveryError),
}

impl From<EnvironmentError> for BuildError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(error) => error.fmt(f),
            Self::Dsn { setting, error } => write!(f, "{setting}: {error}"),
            Self::Url { setting, problem } => write!(f, "{setting} {problem}"),
            Self::Header { setting } => write!(
                f,
                "{setting}: not a header; a name has letters, digits and `-`, a value has no line breaks"
            ),
            Self::File { setting, path, kind } => {
                write!(f, "{setting}: cannot read {}: {kind}", path.display())
            }
            Self::Pem { setting, error } => write!(f, "{setting}: {error}"),
            Self::Range { setting, allowed } => write!(f, "{setting} must be {allowed}"),
            Self::Entropy => f.write_str("the operating system gives no random numbers; set `seed`"),
            Self::Delivery(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BuildError {}
