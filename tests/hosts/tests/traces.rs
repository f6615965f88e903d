//! Every scenario on every host that is there, against the committed trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use surgetank_core::time::Instant;
use surgetank_hosts::door::Compiled;
use surgetank_hosts::frame::{Door, FUNCTIONS};
use surgetank_hosts::tape::{Playback, Recorder};
use surgetank_hosts::{Guest, tape};
use surgetank_replay::call::Call;
use surgetank_replay::{difference, parse, play};

struct Scenario {
    name: String,
    script: String,
    trace: String,
}

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let entries = fs::read_dir(folder).expect("the folder of scenarios");
    let mut scripts: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "script"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 20, "only {} scripts were found", scripts.len());
    let read = |path: &Path| fs::read_to_string(path).expect("a readable file");
    scripts
        .iter()
        .map(|path| Scenario {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            script: read(path),
            trace: read(&path.with_extension("trace")),
        })
        .collect()
}

/// Plays the scenario at `door`; says where its trace differs.
fn check<D: Door>(scenario: &Scenario, door: D) -> (Result<(), String>, D) {
    let script = parse::parse(&scenario.script).expect("a committed script is well formed");
    let mut guest = Guest::new(door);
    let mut host = |now: Instant, call: &Call<'_>| guest.call(now, call);
    let played = play::play(&script, &mut host);
    let verdict = match played {
        Ok(trace) => difference(&scenario.trace, &trace).map_or(Ok(()), Err),
        Err(fault) => Err(fault.to_string()),
    };
    let verdict = verdict.map_err(|why| format!("{}: {why}", scenario.name));
    (verdict, guest.into_door())
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn wasmtime_and_node_decide_as_this_process_does() {
    let compiled = Compiled::shipped().expect("the module");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tapes");
    fs::create_dir_all(&folder).expect("a folder");
    let mut faults = Vec::new();
    let mut tapes = Vec::new();
    let mut arguments: Vec<PathBuf> = Vec::new();
    let scenarios = scenarios();
    for scenario in &scenarios {
        let recorder = Recorder::new(compiled.instance().expect("an instance"));
        let (verdict, recorder) = check(scenario, recorder);
        faults.extend(verdict.err().map(|why| format!("wasmtime: {why}")));
        let files = ["tape", "results"].map(|ending| folder.join(&scenario.name).with_extension(ending));
        fs::write(&files[0], &recorder.tape).expect("the tape can be written");
        arguments.extend(files);
        tapes.push(recorder.tape);
    }
    let status = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("node/play.mjs"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/surgetank.wasm"))
        .arg(FUNCTIONS.join(","))
        .args(&arguments)
        .status()
        .expect("Node.js runs");
    assert!(status.success(), "node: {status}");
    for ((scenario, tape), files) in scenarios.iter().zip(&tapes).zip(arguments.chunks(2)) {
        let results = fs::read(&files[1]).expect("the results");
        let (verdict, _) = check(scenario, Playback::new(tape, &results));
        faults.extend(verdict.err().map(|why| format!("node: {why}")));
    }
    assert_none(faults);
}

#[test]
fn a_host_that_differs_is_told_by_the_first_line() {
    let compiled = Compiled::shipped().expect("the module");
    let scenario = Scenario {
        name: "one error".to_owned(),
        script: "destination sentry sentry\nrecord sentry envelope event\nanswer r1 200\n".to_owned(),
        trace: String::new(),
    };
    let (_, recorder) = check(
        &scenario,
        Recorder::new(compiled.instance().expect("an instance")),
    );
    let tape::Recorder { tape, results, .. } = recorder;
    let (honest, _) = check(&scenario, Playback::new(&tape, &results));
    let honest = honest.expect_err("there is no committed trace");
    // The last digit of some body.
    let at = results
        .windows(7)
        .position(|bytes| bytes == b"000001\"")
        .expect("the body");
    let mut other = results.clone();
    other[at] = b'9';
    let (found, _) = check(&scenario, Playback::new(&tape, &other));
    assert_eq!(
        found.expect_err("there is no committed trace"),
        honest,
        "an empty trace differs at its start"
    );
    let trace = played(&tape, &results, &scenario);
    let differing = played(&tape, &other, &scenario);
    let message = difference(&trace, &differing).expect("they differ");
    assert!(
        message
            .lines()
            .nth_back(1)
            .expect("two lines")
            .contains("send r1"),
        "{message}"
    );
}

fn played(tape: &[u8], results: &[u8], scenario: &Scenario) -> String {
    let script = parse::parse(&scenario.script).expect("a good script");
    let mut guest = Guest::new(Playback::new(tape, results));
    play::play(&script, &mut |now, call: &Call<'_>| guest.call(now, call)).expect("it plays")
}
