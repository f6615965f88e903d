//! `replay`: a scripted scenario, played on the engine in simulated time; what it decided goes to standard output.

use std::io::Write;
use std::path::Path;

use surgetank_replay::run;

use crate::view::ViewError;

/// Plays the script in `file` and writes its trace.
pub(crate) fn replay(file: &Path, out: &mut impl Write) -> Result<(), ViewError> {
    let name = file.display();
    let script =
        std::fs::read_to_string(file).map_err(|error| ViewError::Failed(format!("{name}: {error}")))?;
    let trace = run(&script).map_err(|fault| ViewError::Failed(format!("{name}: {fault}")))?;
    out.write_all(trace.as_bytes())?;
    out.flush()?;
    Ok(())
}
