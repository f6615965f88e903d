//! Who may name whom.
//!
//! In the core, a module names only modules of lower levels, so each can be read and tested knowing only what lies
//! below it. The concurrent intake and the engine never meet but in a host. Tests may bring together what they need.

use crate::{File, assert_none, files_ending};

/// Modules of the core, lowest level first. Those of one level do not name each other.
const LEVELS: &[&[&str]] = &[
    &["check", "item", "time"],
    &["config_error", "limits", "ring", "rng"],
    &["record", "response", "sampling"],
    &["gate", "wire", "backoff", "pressure"],
    &[
        "breaker",
        "concurrency",
        "downsample",
        "health",
        "ledger",
        "queue",
        "ratelimit",
    ],
    &["config"],
    &["destination"],
    &["request"],
    &["notice", "status", "storage"],
    &["engine"],
];

/// Modules beside the levels, with all they may name.
const BESIDE: &[(&str, &[&str])] = &[
    ("wire", &["check", "item", "limits", "response", "time"]),
    (
        "intake",
        &["check", "gate", "item", "limits", "record", "ring", "rng", "time"],
    ),
];

#[test]
fn in_the_core_arrows_point_downward() {
    let core = files_ending(".rs")
        .into_iter()
        .filter(|file| file.path.starts_with("core/src/"));
    assert_none(core.flat_map(|file| upward(&file)));
}

#[test]
fn an_arrow_upward_or_beside_is_found() {
    let complaints = |path: &str, text: &str| {
        upward(&File {
            path: path.to_owned(),
            text: text.to_owned(),
        })
    };
    assert_eq!(
        complaints("core/src/queue.rs", "use crate::engine::Engine;").len(),
        1
    );
    assert_eq!(
        complaints("core/src/queue/blocks.rs", "let x = crate::breaker::X;").len(),
        1
    );
    assert_eq!(
        complaints("core/src/intake/ring.rs", "use crate::queue::Queue;").len(),
        1
    );
    assert_eq!(
        complaints("core/src/novelty.rs", "use crate::item::Item;").len(),
        1
    );
    assert_eq!(
        complaints("core/src/engine/poll.rs", "use crate::{queue, intake::X};").len(),
        1
    );
    assert!(
        complaints(
            "core/src/engine/poll.rs",
            "use crate::queue::Queue; // crate::intake"
        )
        .is_empty()
    );
    assert!(complaints("core/src/wire/mod.rs", "use crate::limits; use crate::wire::hex;").is_empty());
}

#[test]
fn crates_depend_downward_only() {
    let depends = |manifest: &str, on: &str| {
        let text = crate::text_of(manifest);
        text.lines().any(|line| {
            line.split(['=', '.'])
                .next()
                .is_some_and(|name| name.trim() == on)
        })
    };
    assert!(
        depends("tests/Cargo.toml", "surgetank-core"),
        "a dependency is not recognised"
    );
    let core = ["surgetank", "surgetank-sidecar", "surgetank-tests", "xtask"];
    assert_none(
        core.iter()
            .filter(|on| depends("core/Cargo.toml", on))
            .map(|on| format!("the core depends on {on}")),
    );
}

fn upward(file: &File) -> Vec<String> {
    if file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let inner = file.path.trim_start_matches("core/src/");
    let module = inner.split(['/', '.']).next().unwrap_or_default();
    if module == "lib" {
        return Vec::new();
    }
    if level(module).is_none() && beside(module).is_none() {
        return vec![format!(
            "{}: give `{module}` a place in the table of {}",
            file.path,
            file!()
        )];
    }
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for named in named_modules(line) {
            if named != module && !may_name(module, named) {
                complaints.push(format!("{}:{number}: `{module}` names `{named}`", file.path));
            }
        }
    }
    complaints
}

fn may_name(module: &str, named: &str) -> bool {
    if let Some(allowed) = beside(module) {
        return allowed.contains(&named);
    }
    matches!((level(module), level(named)), (Some(own), Some(other)) if other < own)
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

fn beside(module: &str) -> Option<&'static [&'static str]> {
    BESIDE
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, allowed)| *allowed)
}

/// The modules that the code of a line names by `crate::name` or `crate::{name, ..}`.
fn named_modules(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let mut names = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => names.extend(list.split(',').map(first_word)),
            None => names.push(first_word(after)),
        }
    }
    // A name with a capital is a type, and a macro is no module.
    names.retain(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
    names
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    text.split(|other: char| !other.is_ascii_alphanumeric() && other != '_')
        .next()
        .unwrap_or_default()
}
