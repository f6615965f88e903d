//! Rules on source files: where `unsafe` may be, names, sizes, openings, lints.

use crate::{File, assert_none, files, files_ending, text_of};

/// Where `unsafe` may be, with the reason; a folder ends in `/`.
#[rustfmt::skip]
const UNSAFE_PLACES: &[(&str, &str)] = &[
    ("core/src/intake/", "records of many threads share one byte ring"),
    ("examples/embedded-serial/src/board.rs", "registers of a microcontroller, and the linker's symbols"),
    ("host-native/client/src/delivery/fork.rs", "a handler that runs in a fork's child, and the state it replaces"),
    ("host-native/client/src/delivery/thread.rs", "the signal mask of the delivery thread"),
    ("host-native/client/tests/at_exit.rs", "registers a handler with the C library"),
    ("host-native/client/tests/fork.rs", "forks"),
    ("host-native/client/tests/fork_first_use.rs", "forks"),
    ("host-native/capi/src/lib.rs", "pointers from C"),
    ("host-wasm/browser/src/memory.rs", "the module's allocator"),
    ("host-wasm/browser/src/memory/tests.rs", "the tests of that allocator"),
    ("host-wasm/browser/src/page.rs", "the one engine of a module with one thread"),
    ("host-native/client/tests/reentrant.rs", "an allocator that records"),
    ("host-native/client/tests/support/counting.rs", "an allocator that counts"),
    ("host-native/client/tests/support/held.rs", "ends a thread as no panic could"),
    ("host-native/client/tests/support/switches.rs", "asks the kernel what a thread used"),
    ("host-native/client/tests/frozen.rs", "stops threads with a signal"),
    ("host-native/client/tests/proxy.rs", "sets environment variables"),
    ("host-native/client/tests/signals.rs", "sets a timer and a signal handler"),
    ("host-wasm/module/src/exports.rs", "exported functions and the one instance behind them"),
    ("host-wasm/module/src/lib.rs", "the import of the panic handler"),
    ("host-wasm/module/src/memory.rs", "typed slices of fresh memory, and windows that the host writes"),
    ("host-wasm/proxy/src/abi.rs", "calls of the proxy, and memory that it writes to"),
    ("host-wasm/proxy/src/callbacks.rs", "what the proxy calls, one callback at a time"),
    ("tests/hosts/firmware/src/", "semihosting, and memory that is set aside"),
    ("tests/hosts/player/src/", "the windows of the module's interface, and calls of Envoy"),
    ("tests/panic-free/src/", "exports and memory shared with a WebAssembly host"),
    ("tests/tests/tidy/source.rs", "names the word to look for it"),
];

/// Lines of a source file, and of a file of tests.
const MOST_LINES: usize = 600;
const MOST_TEST_LINES: usize = 800;

/// Lines of tests inside a source file; more go to `name/tests.rs`.
const MOST_INNER_TEST_LINES: usize = 200;

/// File names that say nothing.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "misc", "util", "utils"];

#[test]
fn unsafe_is_only_where_the_list_allows_it() {
    let allowed = |path: &str| UNSAFE_PLACES.iter().any(|(place, _)| path.starts_with(place));
    let others = files_ending(".rs")
        .into_iter()
        .filter(|file| !allowed(&file.path));
    assert_none(others.flat_map(|file| lines_with_unsafe(&file)));
}

#[test]
fn the_word_unsafe_is_found_in_code_and_not_in_comments_or_lint_names() {
    let count = |text: &str| {
        lines_with_unsafe(&File {
            path: String::new(),
            text: text.to_owned(),
        })
        .len()
    };
    assert_eq!(count("let x = unsafe { y };\nunsafe impl A for B {}"), 2);
    assert_eq!(count("// unsafe\n#![deny(unsafe_code)]\n/// says \"unsafe\""), 0);
}

#[test]
fn files_are_short_enough_to_read() {
    assert_none(files_ending(".rs").into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        let most = if file.path.ends_with("tests.rs") || file.path.contains("tests/") {
            MOST_TEST_LINES
        } else {
            MOST_LINES
        };
        (lines > most).then(|| format!("{}: {lines} lines, at most {most}", file.path))
    }));
}

#[test]
fn long_tests_have_a_file_of_their_own() {
    assert_none(files_ending(".rs").into_iter().filter_map(|file| {
        let (_, tests) = file.text.split_once("\n#[cfg(test)]\nmod tests {\n")?;
        let lines = tests.lines().count();
        (lines > MOST_INNER_TEST_LINES).then(|| format!("{}: {lines} lines of tests inside", file.path))
    }));
}

#[test]
fn names_of_files_tell_a_purpose() {
    assert_none(files().into_iter().filter_map(|file| {
        let named = file
            .path
            .split(['/', '.'])
            .any(|part| EMPTY_NAMES.contains(&part));
        named.then(|| format!("{}: says nothing about its purpose", file.path))
    }));
}

#[test]
fn files_open_with_why_they_are_there() {
    let product = |path: &str| !path.ends_with("/tests.rs") && !path.contains("/tests/");
    assert_none(
        files_ending(".rs")
            .into_iter()
            .filter(|file| product(&file.path))
            .filter_map(|file| {
                (!file.text.starts_with("//!")).then(|| format!("{}: the first line is no `//!`", file.path))
            }),
    );
}

#[test]
fn every_crate_takes_the_workspace_lints_and_version() {
    let manifests = files_ending("Cargo.toml")
        .into_iter()
        .filter(|file| file.text.contains("[package]") && !file.text.contains("[workspace]"));
    assert_none(manifests.filter_map(|file| {
        let complete = [
            "[lints]\nworkspace = true",
            "edition.workspace = true",
            "rust-version.workspace = true",
        ]
        .iter()
        .all(|needed| file.text.contains(needed));
        (!complete).then(|| {
            format!(
                "{}: lints, edition and rust-version come from the workspace",
                file.path
            )
        })
    }));
}

#[test]
fn no_test_is_left_out() {
    let marker = ["#[", "ignore"].concat();
    assert_none(files_ending(".rs").into_iter().filter_map(|file| {
        file.text
            .contains(&marker)
            .then(|| format!("{}: a test that does not run shows nothing", file.path))
    }));
}

#[test]
fn each_limit_says_why_it_is_what_it_is() {
    let undocumented = limits_without_reason(&text_of("core/src/limits.rs"));
    assert_none(
        undocumented
            .into_iter()
            .map(|name| format!("core/src/limits.rs: {name} gives no reason")),
    );
}

#[test]
fn a_limit_without_a_reason_is_found() {
    let text = "/// Bytes of a thing.\npub const A: usize = 1;\n\n/// Bytes. The server takes no more.\npub const B: u8 = 2;\npub const C: u8 = 3;";
    assert_eq!(limits_without_reason(text), ["A", "C"]);
}

/// Names of constants whose documentation is a bare noun phrase: neither a second sentence nor a clause.
fn limits_without_reason(text: &str) -> Vec<String> {
    let mut document = String::new();
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(more) = line.strip_prefix("///") {
            document.push_str(more);
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            let reasoned = [". ", ": ", "(", ";", ", "]
                .iter()
                .any(|mark| document.contains(mark));
            if !reasoned {
                names.push(constant.split(':').next().unwrap_or_default().to_owned());
            }
            document.clear();
        }
    }
    names
}

fn lines_with_unsafe(file: &File) -> Vec<String> {
    let has_word = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|other: char| !other.is_ascii_alphanumeric() && other != '_')
            .any(|word| word == "unsafe")
    };
    let numbered = (1..).zip(file.text.lines());
    numbered
        .filter(|(_, line)| has_word(line))
        .map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim()))
        .collect()
}
