//! `examples/sidecar-python`: what it sends is shown.

use std::collections::BTreeMap;

use serde_json::Value;
use surgetank_tests::upstream::KEY;

use crate::client::{python, root};
use crate::sidecar::Sidecar;
use surgetank_tests::process::Process;

const EXAMPLE: &str = "examples/sidecar-python";

/// What the program sends at least, by the types that `tail` gives: it is done when all of it was shown.
const SENT: &[(&str, usize)] = &[
    ("check_in", 2),
    ("event", 1),
    ("log", 1),
    ("session", 1),
    ("traces", 1),
    ("transaction", 1),
];

#[test]
fn what_the_python_example_sends_is_shown_by_tail_and_show() {
    let sidecar = Sidecar::start(&[]);
    let mut command = python();
    command
        .arg(root().join(EXAMPLE).join("shop.py"))
        .env("SENTRY_DSN", format!("http://{KEY}@{}/1", sidecar.address))
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", sidecar.otlp_address),
        );
    let mut program = Process::start("shop.py", command);
    let line = program.line();
    let event_id = line.strip_prefix("reported as event ");
    let event_id = event_id.unwrap_or_else(|| panic!("its first line: {line}"));
    let ended = program.ended();
    assert!(ended.status.success(), "{}:\n{}", ended.status, ended.errors);
    assert_eq!(ended.lines, ["3 of 4 orders charged"], "{}", ended.errors);

    let mut tail = sidecar.follow();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let is_all =
        |seen: &BTreeMap<String, usize>| SENT.iter().all(|(kind, count)| seen.get(*kind) >= Some(count));
    while !is_all(&seen) {
        let line = tail.line();
        let item: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        *seen
            .entry(item["type"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    let lines = sidecar.command(&["tail", "--no-follow", "-n", "1000"]);
    let text = String::from_utf8_lossy(&lines.stdout);
    for words in [
        "CardDeclined",
        "nightly charges",
        "nightly-charges",
        "order A-4 charged",
        "charge",
    ] {
        assert!(text.contains(words), "no line on {words}:\n{text}");
    }
    let shown = sidecar.command(&["show", event_id]);
    assert!(shown.status.success(), "show {event_id}");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("order A-3 has no amount"), "{text}");
    sidecar.stop().assert_clean();
}

#[test]
fn the_example_pins_the_versions_that_are_installed_here() {
    let list = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let installed = list("tests/e2e/requirements.txt");
    let pinned = list(&format!("{EXAMPLE}/requirements.txt"));
    let packages: Vec<&str> = pinned.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(packages.len() > 2, "{pinned}");
    for package in packages {
        assert!(installed.lines().any(|line| line == package), "{package}");
    }
}
