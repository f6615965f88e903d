//! `replay`: a scripted scenario or recorded traffic, played on the engine in simulated time; what it decided goes to standard output.

use std::io::Write;
use std::path::Path;

use surgetank_replay::{read, run_script};

use crate::view::ViewError;

/// Plays what is in `file` and writes its trace.
pub(crate) fn replay(file: &Path, out: &mut impl Write) -> Result<(), ViewError> {
    let name = file.display();
    let contents = std::fs::read(file).map_err(|error| ViewError::Failed(format!("{name}: {error}")))?;
    let trace = read(&contents).and_then(|script| run_script(&script));
    let trace = trace.map_err(|fault| ViewError::Failed(format!("{name}: {fault}")))?;
    out.write_all(trace.as_bytes())?;
    out.flush()?;
    Ok(())
}
