//! Runs checks one after the other, all of them, and sums up.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command;
use crate::steps::Step;
use crate::tools;

/// Runs `steps`, each after installing what it needs, and prints one line per check and the sum; true when all passed.
///
/// A check whose tool cannot be had has failed, since without it nothing is shown; the others still run.
pub(crate) fn run(steps: &[&Step]) -> bool {
    let mut verdicts = Vec::new();
    for step in steps {
        println!("\n==== {}: {}", step.name, step.shows);
        let (outcome, took) = timed(|| perform(step));
        if let Err(error) = &outcome {
            println!("{error:#}");
        }
        println!(
            "---- {}: {} in {}",
            step.name,
            word(outcome.is_ok()),
            seconds(took)
        );
        verdicts.push((step.name, outcome, took));
    }
    println!("\n==== summary");
    for (name, outcome, took) in &verdicts {
        println!("{:<7} {name:<14} {:>8}", word(outcome.is_ok()), seconds(*took));
    }
    let failed = verdicts.iter().filter(|(_, outcome, _)| outcome.is_err()).count();
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    failed == 0
}

fn perform(step: &Step) -> Result<()> {
    tools::ensure(step.tools)?;
    step.lines.iter().try_for_each(|line| command::run(line))?;
    step.then.map_or(Ok(()), |then| then())
}

fn word(passed: bool) -> &'static str {
    if passed { "passed" } else { "FAILED" }
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a check took is for the reader only"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}
