//! Scripted scenarios: a script in, a trace out, both text.
//!
//! ```text
//!  *.script --parse--> Script --play--> Call --+-- native: an engine in this process
//!                                  ^           |   (another host carries the same calls to its own engine)
//!                                  '-- Reply --'
//!                                  |
//!                                  '--trace--> *.trace
//! ```
//!
//! A script holds no expectations: the trace is the expectation. It has every action of the engine, every outcome, the
//! length and hash of every body, every change of the ledger and of the published gates, and ends with the sums and
//! the conservation check. It is made of integers and names only, so the same calls give the same bytes everywhere.
//!
//! A [`recording`] is a script with the bodies that real clients sent; it plays like any other.
//!
//! What a host must be able to do is [`call::Call`], and nothing else: it needs no parser and no formatter. The
//! language is described in `tests/scenarios/README.md`.

pub mod body;
pub mod books;
pub mod call;
mod difference;
pub mod native;
pub mod parse;
mod payload;
pub mod play;
pub mod recording;
pub mod script;
mod trace;

pub use difference::difference;

use script::Script;
use surgetank_core::time::UnixTime;

/// Wall clock at the start of every scenario.
pub const EPOCH: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Why a script cannot be read, or cannot be played to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Line of the script, from 1.
    pub line: usize,
    /// What is wrong there.
    pub wrong: String,
    /// What would be right.
    pub right: String,
    /// The last lines of the trace, when it was played that far.
    pub after: String,
}

impl Fault {
    fn new(line: usize, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            line,
            wrong: wrong.into(),
            right: right.into(),
            after: String::new(),
        }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.wrong, self.right)?;
        if self.after.is_empty() {
            return Ok(());
        }
        write!(f, "\nafter\n{}", self.after)
    }
}

impl core::error::Error for Fault {}

/// Reads the contents of a file: a recording, or a script.
///
/// # Errors
/// It is neither.
pub fn read(contents: &[u8]) -> Result<Script, Fault> {
    if recording::is_one(contents) {
        return recording::read(contents);
    }
    let text = core::str::from_utf8(contents)
        .map_err(|_| Fault::new(1, "this is no text", "write a script, or give a recording"))?;
    parse::parse(text)
}

/// Parses `script` and plays it on an engine in this process; returns the trace.
///
/// # Errors
/// The script is not well formed, or asks for something that is not there.
pub fn run(script: &str) -> Result<String, Fault> {
    run_script(&parse::parse(script)?)
}

/// Plays `script` on an engine in this process; returns the trace.
///
/// # Errors
/// The script asks for something that is not there.
pub fn run_script(script: &Script) -> Result<String, Fault> {
    let mut native = native::Native::default();
    play::play(script, &mut |now, call| native.call(now, call))
}
