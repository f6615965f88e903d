//! Every committed fuzzer input, through the same code that the fuzzers run.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use surgetank_tests::fuzz::TARGETS;

#[test]
fn every_committed_input_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let inputs =
            fs::read_dir(folder.join(name)).unwrap_or_else(|error| panic!("inputs of {name}: {error}"));
        let mut count = 0;
        for input in inputs {
            let path = input.expect("a readable folder").path();
            let bytes = fs::read(&path).expect("a readable file");
            count += 1;
            if catch_unwind(|| target(&bytes)).is_err() {
                broken.push(path);
            }
        }
        assert!(count > 0, "{name} has no inputs");
    }
    assert!(broken.is_empty(), "broken by {broken:#?}");
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("tests/fuzz/Cargo.toml");
    for (name, _) in TARGETS {
        assert!(
            folder.join(format!("fuzz_targets/{name}.rs")).exists(),
            "no program for {name}"
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in the manifest"
        );
    }
}
