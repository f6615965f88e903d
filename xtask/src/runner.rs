//! Runs checks one after the other, all of them, and sums up.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command;
use crate::steps::{BESIDE, Step};
use crate::tools;

/// Runs `steps`, each after installing what it needs, and prints one line per check and the sum; true when all passed.
///
/// A check whose tool cannot be had has failed, since without it nothing is shown; the others still run. One that runs
/// beside the others shows what it printed when they are done.
pub(crate) fn run(steps: &[&Step]) -> bool {
    let mut verdicts = Vec::new();
    std::thread::scope(|scope| {
        let mut beside = Vec::new();
        for step in steps {
            println!("\n==== {}: {}", step.name, step.shows);
            if BESIDE.contains(&step.name) {
                beside.push((step, scope.spawn(|| timed(|| perform(step, beside_others)))));
                println!("---- {}: runs beside the checks that follow", step.name);
                continue;
            }
            let (outcome, took) = timed(|| perform(step, command::run));
            verdicts.push(judged(step, outcome, took));
        }
        for (step, thread) in beside {
            let (outcome, took) = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            verdicts.push(judged(step, outcome, took));
        }
    });
    println!("\n==== summary");
    for (name, passed, took) in &verdicts {
        println!("{:<7} {name:<14} {:>8}", word(*passed), seconds(*took));
    }
    let failed = verdicts.iter().filter(|(_, passed, _)| !passed).count();
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    failed == 0
}

fn judged(step: &Step, outcome: Result<()>, took: Duration) -> (&'static str, bool, Duration) {
    if let Err(error) = &outcome {
        println!("{error:#}");
    }
    println!(
        "---- {}: {} in {}",
        step.name,
        word(outcome.is_ok()),
        seconds(took)
    );
    (step.name, outcome.is_ok(), took)
}

fn perform(step: &Step, line: fn(&str) -> Result<()>) -> Result<()> {
    tools::ensure(step.tools)?;
    step.lines.iter().try_for_each(|text| line(text))?;
    step.then.map_or(Ok(()), |then| then())
}

/// A line whose output would mix with that of others: shown in one piece, when it is there.
fn beside_others(line: &str) -> Result<()> {
    command::collect(line).map(|text| print!("{text}"))
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
