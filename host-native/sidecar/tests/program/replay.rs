//! `replay` from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn replay(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_surgetank"))
        .arg("replay")
        .arg(file)
        .output()
        .expect("the program runs")
}

#[test]
fn a_script_is_played_and_its_trace_printed() {
    let scenarios = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let output = replay(&scenarios.join("outage.script"));
    let trace = std::fs::read_to_string(scenarios.join("outage.trace")).expect("the committed trace");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), trace);
    assert!(output.stderr.is_empty());
}

#[test]
fn recorded_traffic_is_played_too() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios/hour.recording");
    let output = replay(&file);
    let script = surgetank_replay::read(&std::fs::read(file).expect("a recording")).expect("a good one");
    let trace = surgetank_replay::run_script(&script).expect("it plays");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout) == trace, "not that trace");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_script_that_is_wrong_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.script");
    std::fs::write(&file, "destination sentry sentry\nrecrod sentry log\n").expect("it is written");
    let output = replay(&file);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("line 2") && said.contains("recrod"), "{said}");
    assert_eq!(replay(&folder.path().join("none")).status.code(), Some(1));
}
