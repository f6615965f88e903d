//! Every scenario on every host that is there, against the committed trace.

mod envoy;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use surgetank_core::time::Instant;
use surgetank_hosts::door::{Compiled, STACK_MOST};
use surgetank_hosts::frame::{Door, FUNCTIONS};
use surgetank_hosts::tape::{Playback, Recorder};
use surgetank_hosts::{Guest, tape};
use surgetank_replay::call::Call;
use surgetank_replay::script::Script;
use surgetank_replay::{difference, parse, play, read, run_script};
use surgetank_tests::scenario::{recordings, scenarios};

struct Scenario {
    name: String,
    script: Script,
    trace: String,
}

/// The scripts with their committed traces, and what was recorded with the trace that this process gives it.
fn all() -> Vec<Scenario> {
    let scripts = scenarios().expect("the folder of scenarios");
    assert!(scripts.len() >= 20, "only {} scripts were found", scripts.len());
    let scripts = scripts.into_iter().map(|scenario| Scenario {
        script: parse::parse(&scenario.script).expect("a committed script is well formed"),
        trace: fs::read_to_string(scenario.trace_path).expect("a committed trace"),
        name: scenario.name,
    });
    let recordings = recordings().expect("the folder of scenarios");
    assert!(!recordings.is_empty(), "no recording was found");
    let recordings = recordings.into_iter().map(|recording| {
        let script = read(&recording.contents).expect("a committed recording is well formed");
        Scenario {
            trace: run_script(&script).expect("it plays"),
            script,
            name: recording.name,
        }
    });
    scripts.chain(recordings).collect()
}

/// Plays the scenario at `door`; says where its trace differs.
fn check<D: Door>(scenario: &Scenario, door: D) -> (Result<(), String>, D) {
    let mut guest = Guest::new(door);
    let mut host = |now: Instant, call: &Call<'_>| guest.call(now, call);
    let played = play::play(&scenario.script, &mut host);
    let verdict = match played {
        Ok(trace) => difference(&scenario.trace, &trace).map_or(Ok(()), Err),
        Err(fault) => Err(fault.to_string()),
    };
    let verdict = verdict.map_err(|why| format!("{}: {why}", scenario.name));
    (verdict, guest.into_door())
}

/// A scenario as it was played in Wasmtime: a folder with the tape, in which another host is to leave its results.
struct Recorded {
    scenario: Scenario,
    tape: Vec<u8>,
    folder: PathBuf,
    verdict: Result<(), String>,
    /// Bytes of stack that the module used.
    stack: usize,
}

/// Every scenario, played once for all tests.
static RECORDED: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    let compiled = Compiled::shipped().expect("the module");
    let recorded = all().into_iter().map(|scenario| {
        let (verdict, mut recorder) = check(
            &scenario,
            Recorder::new(compiled.instance().expect("an instance")),
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("tapes")
            .join(&scenario.name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("tape"), &recorder.tape).expect("the tape can be written");
        Recorded {
            scenario,
            tape: recorder.tape,
            folder,
            verdict,
            stack: recorder.door.stack_used(),
        }
    });
    recorded.collect()
});

impl Recorded {
    /// Holds what a host left under that name against the committed trace.
    fn compare(&self, name: &str) -> Result<(), String> {
        let results = fs::read(self.folder.join(name)).expect("the results");
        check(&self.scenario, Playback::new(&self.tape, &results)).0
    }
}

fn assert_all(verdicts: impl Iterator<Item = Result<(), String>>) {
    let faults: Vec<String> = verdicts.filter_map(Result::err).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn wasmtime_decides_as_this_process_does() {
    assert_all(RECORDED.iter().map(|recorded| recorded.verdict.clone()));
}

#[test]
fn the_module_leaves_most_of_its_stack_alone() {
    let deepest = RECORDED.iter().max_by_key(|recorded| recorded.stack);
    let deepest = deepest.expect("there are scenarios");
    println!("{} bytes of stack in {}", deepest.stack, deepest.scenario.name);
    assert!(deepest.stack > 1024, "the paint is where the stack is");
    assert!(deepest.stack <= STACK_MOST, "{} bytes", deepest.stack);
}

/// Has a program of `node/` play every tape on the module, and compares.
fn script_decides(script: &str, results: &str) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = RECORDED
        .iter()
        .flat_map(|recorded| ["tape", results].map(|name| recorded.folder.join(name)));
    // A browser that hangs is ended by `timeout`.
    let status = Command::new("timeout")
        .args(["600", "node"])
        .arg(own.join("node").join(script))
        .arg(own.join("../../dist/surgetank.wasm"))
        .arg(FUNCTIONS.join(","))
        .args(files)
        .status()
        .expect("Node.js runs");
    assert!(status.success(), "{script}: {status}");
    assert_all(RECORDED.iter().map(|recorded| recorded.compare(results)));
}

#[test]
fn node_decides_as_this_process_does() {
    script_decides("play.mjs", "results.node");
}

#[test]
fn chromium_decides_as_this_process_does() {
    script_decides("chromium.mjs", "results.chromium");
}

#[test]
fn envoy_decides_as_this_process_does() {
    let names = RECORDED.iter().map(|recorded| recorded.scenario.name.as_str());
    let players = envoy::Players::start(names);
    assert_all(RECORDED.iter().map(|recorded| {
        let results = players.play(&recorded.scenario.name, &recorded.tape);
        fs::write(recorded.folder.join("results.envoy"), results).expect("the results can be written");
        recorded.compare("results.envoy")
    }));
}

/// A Cortex-M in QEMU; the firmware has the engine as machine code, behind the same interface.
fn board_decides(target: &str) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let firmware = own
        .join("../../target/firmware")
        .join(target)
        .join("release/surgetank-firmware");
    assert!(
        firmware.exists(),
        "`cargo xtask test --only wasm` builds {}",
        firmware.display()
    );
    assert_all(RECORDED.iter().map(|recorded| {
        // Of its own, for the firmware knows one name of each file and both boards are tested at once.
        let folder = recorded.folder.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("tape"), &recorded.tape).expect("the tape can be written");
        // An emulated board that hangs is ended by `timeout`.
        let output = Command::new("timeout")
            .args([
                "300",
                "qemu-system-arm",
                "-cpu",
                "cortex-m4",
                "-machine",
                "mps2-an386",
            ])
            .args(["-nographic", "-monitor", "none", "-serial", "none"])
            .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
            .arg(&firmware)
            .current_dir(&folder)
            .output()
            .expect("QEMU runs");
        let name = &recorded.scenario.name;
        assert!(output.status.success(), "{name} on {target}: {output:?}");
        recorded
            .compare(&format!("{target}/results"))
            .map_err(|why| format!("{target}: {why}"))
    }));
}

#[test]
fn a_cortex_m4_decides_as_this_process_does() {
    board_decides("thumbv7em-none-eabihf");
}

/// The instruction set of a Cortex-M0, which has no compare-and-swap and no division, on a processor that has more.
#[test]
fn a_cortex_m0_decides_as_this_process_does() {
    board_decides("thumbv6m-none-eabi");
}

#[test]
fn a_host_that_differs_is_told_by_the_first_line() {
    let compiled = Compiled::shipped().expect("the module");
    let scenario = Scenario {
        name: "one error".to_owned(),
        script: parse::parse("destination sentry sentry\nrecord sentry envelope event\nanswer r1 200\n")
            .expect("a good script"),
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
    let mut guest = Guest::new(Playback::new(tape, results));
    play::play(&scenario.script, &mut |now, call: &Call<'_>| {
        guest.call(now, call)
    })
    .expect("it plays")
}
