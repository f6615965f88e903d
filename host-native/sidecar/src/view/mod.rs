//! What people see of the embedded store: `tail` and `show`.
//!
//! Everything printed came from outside, so no control character reaches the terminal, and whatever cannot be read as
//! what it claims to be is shown for what it is: so many bytes.

mod content;
mod json_text;
mod object;
mod otlp;
mod sentry;
mod show;
mod summary;
mod tail;
mod timestamp;

pub(crate) use show::show;
pub(crate) use tail::tail;

/// Why a command ended early; the text is for people.
#[derive(Debug)]
pub(crate) enum ViewError {
    /// Whoever read our output has gone; nothing to say and nobody to say it to.
    OutputClosed,
    Failed(String),
}

impl From<std::io::Error> for ViewError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}

impl From<crate::store::StoreError> for ViewError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests;
