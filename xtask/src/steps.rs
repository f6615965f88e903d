//! The checks, as data: one entry per check.
//!
//! The order is cheap before dear, so that a slip shows early. Checks share `target/` where they compile with the same
//! flags; one that needs other flags names its own folder under `target/`, so that it does not undo the others' work.

use anyhow::Result;

use crate::tools::{CARGO_DENY, CARGO_HACK, CHROMIUM, QEMU_ARM, Tool, WASM_OPT, WASM32};
use crate::{browser, panic_free};

/// One check.
pub(crate) struct Step {
    /// Name for `--only`.
    pub(crate) name: &'static str,
    /// What a pass shows, in a few words.
    pub(crate) shows: &'static str,
    /// What it needs besides the pinned toolchain.
    pub(crate) tools: &'static [Tool],
    /// Command lines, run in order until one fails (see [`crate::command::run`]).
    pub(crate) lines: &'static [&'static str],
    /// What the lines alone cannot say, run after them.
    pub(crate) then: Option<fn() -> Result<()>>,
}

const CORTEX_M4F: Tool = Tool::Target("thumbv7em-none-eabihf");
const CORTEX_M0: Tool = Tool::Target("thumbv6m-none-eabi");

/// Every check.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        shows: "every file is formatted",
        tools: &[Tool::Component("rustfmt")],
        lines: &[
            "cargo fmt --all --check",
            "cargo fmt --manifest-path host-wasm/browser/bindgen/Cargo.toml --check",
            "cargo fmt --manifest-path tests/bench/Cargo.toml --check",
            "cargo fmt --manifest-path tests/fuzz/Cargo.toml --check",
        ],
        then: None,
    },
    Step {
        name: "clippy",
        shows: "no lint fires, in any target, with all features",
        tools: &[Tool::Component("clippy"), CORTEX_M4F, CORTEX_M0],
        lines: &[
            "cargo clippy --workspace --all-targets --all-features -- -D warnings",
            // What ordinary runs of the tests leave out.
            "cargo clippy --package surgetank-tests --test e2e --test envoy --test serial -- -D warnings",
            // Programs for other processors.
            "cargo clippy --release --manifest-path tests/hosts/firmware/Cargo.toml --target-dir target/firmware \
             --target thumbv7em-none-eabihf --target thumbv6m-none-eabi -- -D warnings",
            "cargo clippy --release --manifest-path examples/embedded-serial/Cargo.toml --target-dir target/firmware \
             --target thumbv7em-none-eabihf --target thumbv6m-none-eabi -- -D warnings",
            // Programs with dependencies of their own.
            "cargo clippy --locked --manifest-path host-wasm/browser/bindgen/Cargo.toml --target-dir target/bindgen \
             --all-targets --features test-runner -- -D warnings",
            "cargo clippy --manifest-path tests/fuzz/Cargo.toml --target-dir target --all-targets -- -D warnings",
        ],
        then: None,
    },
    Step {
        name: "features",
        shows: "every combination of features compiles, and no lint fires",
        tools: &[CARGO_HACK, Tool::Component("clippy")],
        // Not `--no-dev-deps`: it rewrites the manifests while it runs, and cargo's resolver keeps the features of what
        // only tests need apart anyway.
        lines: &[
            "target/tools/bin/cargo-hack hack clippy --feature-powerset --package surgetank-core --package surgetank \
             --package surgetank-capi --package surgetank-sidecar -- -D warnings",
        ],
        then: None,
    },
    Step {
        name: "bench-builds",
        shows: "the benchmarks compile without what they compare with, no lint fires, and their own tests pass",
        tools: &[Tool::Component("clippy")],
        lines: &[
            "cargo clippy --manifest-path tests/bench/Cargo.toml --no-default-features --all-targets \
             --target-dir target -- -D warnings",
            "cargo test --manifest-path tests/bench/Cargo.toml --no-default-features --target-dir target",
        ],
        then: None,
    },
    Step {
        name: "deny",
        shows: "dependencies: licences, sources, no banned or doubled crate",
        tools: &[CARGO_DENY],
        // Where one list of exceptions serves several workspaces, some are without use in each: no news.
        lines: &[
            "target/tools/bin/cargo-deny --log-level error --all-features check bans licenses sources",
            "target/tools/bin/cargo-deny --log-level error --manifest-path examples/embedded-serial/Cargo.toml \
             --config deny.toml --all-features check bans licenses sources",
            "target/tools/bin/cargo-deny --log-level error --manifest-path host-wasm/browser/bindgen/Cargo.toml \
             --config deny.toml --all-features check bans licenses sources",
            "target/tools/bin/cargo-deny --log-level error --manifest-path tests/bench/Cargo.toml \
             --config deny.toml --all-features check bans licenses sources",
            "target/tools/bin/cargo-deny --log-level error --manifest-path tests/fuzz/Cargo.toml \
             --config deny.toml --all-features check bans licenses sources",
            "target/tools/bin/cargo-deny --log-level error --manifest-path tests/hosts/Cargo.toml \
             --config deny.toml --all-features check bans licenses sources",
            "target/tools/bin/cargo-deny --log-level error --manifest-path tests/hosts/firmware/Cargo.toml \
             --config deny.toml --all-features check bans licenses sources",
        ],
        then: None,
    },
    Step {
        name: "targets",
        shows: "the core builds without std, without an allocator and without compare-and-swap",
        tools: &[WASM32, CORTEX_M4F, CORTEX_M0],
        lines: &[
            "cargo build --package surgetank-core",
            "cargo build --package surgetank-core --target wasm32-unknown-unknown",
            "cargo build --package surgetank-core --target thumbv7em-none-eabihf",
            "cargo build --package surgetank-core --target thumbv6m-none-eabi --features critical-section",
        ],
        then: None,
    },
    Step {
        name: "panic-free",
        shows: "the core links without an allocator, and no panic can be reached from it",
        tools: &[WASM32],
        lines: &[panic_free::BUILD],
        then: Some(panic_free::check),
    },
    Step {
        name: "wasm",
        shows: "the modules import nothing they should not; every scenario plays in Wasmtime, Node.js, Chromium, Envoy and on \
                Cortex-M as natively; no misuse traps; the module's examples run",
        tools: &[
            WASM32,
            WASM_OPT,
            CORTEX_M4F,
            CORTEX_M0,
            QEMU_ARM,
            CHROMIUM,
            Tool::BrowserPackages,
            Tool::NodeClients,
            // Envoy among them.
            Tool::PythonClients,
        ],
        lines: &[
            "cargo xtask wasm",
            "cargo fmt --manifest-path tests/hosts/Cargo.toml --all --check",
            "cargo fmt --manifest-path tests/hosts/firmware/Cargo.toml --check",
            "cargo clippy --manifest-path tests/hosts/Cargo.toml --workspace --all-targets --target-dir target/hosts -- \
             -D warnings",
            "cargo clippy --manifest-path tests/hosts/Cargo.toml --package surgetank-player --lib \
             --target wasm32-unknown-unknown --target-dir target/hosts -- -D warnings",
            "cargo build --release --manifest-path tests/hosts/firmware/Cargo.toml --target-dir target/firmware \
             --target thumbv7em-none-eabihf --target thumbv6m-none-eabi",
            "cargo build --manifest-path tests/hosts/Cargo.toml --target-dir target/hosts --package surgetank-player \
             --lib --target wasm32-unknown-unknown --profile plugin",
            "cargo test --manifest-path tests/hosts/Cargo.toml --workspace --target-dir target/hosts",
            "cargo run --quiet --manifest-path tests/hosts/Cargo.toml --target-dir target/hosts \
             --package surgetank-example-wasmtime-host",
            "node examples/module-node/main.mjs",
            "target/venv/bin/python examples/module-python/main.py",
        ],
        then: None,
    },
    Step {
        name: "test",
        shows: "unit, vector, rule and documentation tests",
        tools: &[],
        lines: &["cargo test --workspace --all-features --no-fail-fast"],
        then: None,
    },
    Step {
        name: "outage",
        shows: "two minutes without a server: memory flat, errors kept, bulk dropped oldest first, books exact; a limit of a \
                minute obeyed under load",
        tools: &[],
        lines: &["SURGETANK_OUTAGE_SECONDS=120 cargo test --workspace --all-features --test outage"],
        then: None,
    },
    Step {
        name: "e2e",
        shows: "the real Sentry and OpenTelemetry clients against the sidecar, and the example with them",
        tools: &[Tool::PythonClients, Tool::NodeClients],
        lines: &[
            // As the check above has it, so that nothing is compiled twice; the sidecar is built with its own tests.
            "cargo test --workspace --all-features --no-run",
            "cargo test --workspace --all-features --test e2e",
        ],
        then: None,
    },
    Step {
        name: "browser",
        shows: "the npm package, in Chromium: its Rust side; delivery, limits, the end of a page, other SDKs, bundlers",
        tools: browser::TOOLS,
        lines: browser::LINES,
        then: Some(browser::test),
    },
    Step {
        name: "envoy",
        shows: "the plugin in the real Envoy: traces, collectors that misbehave, new configurations, the end; its example",
        tools: &[WASM32, WASM_OPT, Tool::PythonClients],
        lines: &[
            "cargo clippy --package surgetank-proxy --lib --target wasm32-unknown-unknown -- -D warnings",
            "cargo xtask wasm --only surgetank-envoy",
            // The sidecar, for the example, is built with its own tests.
            "cargo test --workspace --all-features --no-run",
            "cargo test --workspace --all-features --test envoy",
        ],
        then: None,
    },
    Step {
        name: "serial",
        shows: "the example for Cortex-M, in QEMU, with the gateway: no record lost or doubled over a line that is cut, \
                limits obeyed, losses told, memory within its budget",
        tools: &[CORTEX_M4F, CORTEX_M0, QEMU_ARM],
        lines: &[
            "cargo fmt --manifest-path examples/embedded-serial/Cargo.toml --check",
            "cargo build --release --manifest-path examples/embedded-serial/Cargo.toml --target-dir target/firmware \
             --target thumbv7em-none-eabihf --target thumbv6m-none-eabi",
            "cargo test --workspace --all-features --no-run",
            "cargo test --workspace --all-features --test serial",
        ],
        then: None,
    },
    Step {
        name: "examples",
        shows: "each example runs to its end against servers that it starts itself",
        tools: &[],
        lines: &[
            "cargo run --quiet --package surgetank-example-axum-both",
            "cargo run --quiet --package surgetank-example-axum-opentelemetry",
            "cargo run --quiet --package surgetank-example-minimal",
            "cargo run --quiet --package surgetank-example-native-http",
            "cargo run --quiet --package surgetank-example-axum-sentry",
        ],
        then: None,
    },
    Step {
        name: "doc",
        shows: "the documentation builds without a warning",
        tools: &[],
        lines: &["RUSTDOCFLAGS=\"-D warnings\" cargo doc --workspace --no-deps --all-features"],
        then: None,
    },
    Step {
        name: "loom",
        shows: "the intake under every interleaving of two and three threads",
        tools: &[],
        lines: &[
            "RUSTFLAGS=\"--cfg surgetank_loom\" cargo test --package surgetank-core --release \
             --target-dir target/loom --lib intake::loom",
        ],
        then: None,
    },
    Step {
        name: "miri",
        shows: "the intake has no undefined behaviour, with positions of 64 and of 32 bits",
        tools: &[Tool::Nightly],
        lines: &[
            "MIRIFLAGS=-Zmiri-strict-provenance cargo +nightly miri test --package surgetank-core \
             --target-dir target/miri --lib intake",
            "MIRIFLAGS=-Zmiri-strict-provenance cargo +nightly miri test --package surgetank-core \
             --target-dir target/miri --target i686-unknown-linux-gnu --lib intake",
        ],
        then: None,
    },
    Step {
        name: "tsan",
        shows: "no data race in the intake under real threads",
        tools: &[Tool::Nightly],
        lines: &[
            "RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu \
             --package surgetank-core --features alloc --target-dir target/tsan --test intake_threads",
        ],
        then: None,
    },
];

/// Checks that mostly wait: they run beside those behind them.
pub(crate) const BESIDE: &[&str] = &["outage"];

/// Names of all checks, for the command line.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// The checks of these names, or all when none is named, in the table's order.
pub(crate) fn selected(only: &[String]) -> Vec<&'static Step> {
    STEPS
        .iter()
        .filter(|step| only.is_empty() || only.iter().any(|name| name == step.name))
        .collect()
}

/// What those checks need, each tool once.
pub(crate) fn tools_of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<Tool> {
    let mut tools = Vec::new();
    for tool in steps.into_iter().flat_map(|step| step.tools) {
        if !tools.contains(tool) {
            tools.push(*tool);
        }
    }
    tools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn naming_none_selects_all_and_naming_some_keeps_the_order() {
        assert_eq!(selected(&[]).len(), STEPS.len());
        let some = selected(&["test".to_owned(), "fmt".to_owned()]);
        assert_eq!(
            some.iter().map(|step| step.name).collect::<Vec<_>>(),
            ["fmt", "test"]
        );
    }

    #[test]
    fn what_runs_beside_others_is_a_check() {
        let names = names();
        assert!(BESIDE.iter().all(|name| names.contains(name)));
    }

    #[test]
    fn every_check_does_something() {
        assert!(
            STEPS
                .iter()
                .all(|step| !step.lines.is_empty() || step.then.is_some())
        );
    }
}
