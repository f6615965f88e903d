//! What is said to the people who run the sidecar: plain lines on standard error, never with a key in them.

use std::io::Write;

/// Says one line.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    // A closed standard error must not take the program down, as eprintln! would.
    let _ = writeln!(std::io::stderr().lock(), "surgetank: {line}");
}
