//! What the fuzzers run.
//!
//! A target takes any bytes, drives the real code with them, and panics when something does not hold that must: two
//! ways to the same result differ, a bound is passed, a sum is off. `tests/corpus.rs` runs the committed inputs of
//! `tests/fuzz/corpus/` through them in every test run; `cargo xtask fuzz NAME` looks for new ones.

mod auth;
mod dsn;
mod engine;
mod envelope;
mod http_date;
mod intake;
mod otlp_answer;
mod rate_limits;
mod tape;
mod trace_context;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name, which is also the name of its folder of inputs.
pub const TARGETS: &[(&str, Target)] = &[
    ("auth", auth::run),
    ("dsn", dsn::run),
    ("engine", engine::run),
    ("envelope", envelope::run),
    ("http_date", http_date::run),
    ("intake", intake::run),
    ("otlp_answer", otlp_answer::run),
    ("rate_limits", rate_limits::run),
    ("trace_context", trace_context::run),
];

/// Runs the target of that name.
///
/// # Panics
/// When there is none, or when something does not hold.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("no target {name}")).1(data);
}
