//! The report: a table per group, and what it was measured with.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::callgrind;
use crate::cases::{CASES, Case, Group, phases};
use crate::glass::Phase;
use crate::{sidecar, wire};

/// Measures the groups of `only` (all of them when it is empty).
pub(crate) fn of(only: &[Group], scratch: &Path, binary: &Path) -> Result<String> {
    let mut text = heading()?;
    let wanted = |group| only.is_empty() || only.contains(&group);
    for (group, title, remark) in TABLES {
        if wanted(*group) {
            writeln!(text, "\n## {title}\n\n{remark}\n")?;
            if *group == Group::Sidecar {
                text.push_str(&sidecar::report(binary, scratch)?);
            } else {
                table(&mut text, *group, scratch)?;
            }
        }
    }
    Ok(text)
}

const TABLES: &[(Group, &str, &str)] = &[
    (
        Group::Engine,
        "Engine alone",
        "Instructions per item at steady state: queue of 4 MiB, nothing limited, every answer 200. `batch` is every call of \
         `poll` (the idle one, too) and the gate's word; `body` is the host's call of `write_body` into memory, which is not \
         part of the sum. Allocations are calls of the allocator in all of it.",
    ),
    (
        Group::Queues,
        "Intake beside queues",
        "Instructions per record. Queues of values copy a slot of fixed size in and out; the intake and bbqueue copy in and \
         lend out. Only the intake, ArrayQueue and heapless take several producers; only the intake counts what it refuses \
         and keeps shares for important records.",
    ),
    (
        Group::Wire,
        "Reading what arrives",
        "Instructions to find out what an envelope counts for, and the same per byte.",
    ),
    (
        Group::Client,
        "Recording calls",
        "Instructions and allocations on the thread that records, per call, the peers' calls included as they are documented.",
    ),
    (
        Group::Sidecar,
        "Sidecar under load",
        "Release build (thin LTO), default memory of 128 MiB; `wrk`, sidecar and upstream share the cores, so rates and \
         latencies are **wall times and noisy**. An upstream answers on loopback at once; what finds no room \
         is refused with 503 at once: answered, but not taken.",
    ),
];

fn heading() -> Result<String> {
    let mut text = String::from(
        "# Figures\n\nWritten by `cargo xtask bench`. Instructions are counted by callgrind and do not depend on how busy the machine \
         is; wall times do.\n\n",
    );
    let mut line = |name: &str, value: &str| writeln!(text, "- {name}: {}", value.trim());
    line("date", &output("date", &["-u", "+%Y-%m-%d"]))?;
    line("processor", &processor())?;
    line("system", &output("uname", &["-srm"]))?;
    line("compiler", &output("rustc", &["--version"]))?;
    line("flags", "release, opt-level 3, fat LTO, one codegen unit")?;
    line("counted by", &callgrind::version()?)?;
    line("producers", "1")?;
    Ok(text)
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        Some(
            line.strip_prefix("model name")?
                .trim_start_matches([' ', '\t', ':']),
        )
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", name.unwrap_or("unknown"))
}

fn table(text: &mut String, group: Group, scratch: &Path) -> Result<()> {
    let phases = phases(group);
    let summed = group == Group::Engine;
    let mut head = vec!["item".to_owned()];
    if summed {
        head.push("record + batch + settle".to_owned());
    }
    head.extend(phases.iter().map(|phase| title(group, *phase).to_owned()));
    if group == Group::Wire {
        head.push("per byte".to_owned());
    }
    head.push("allocations".to_owned());
    writeln!(text, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()))?;
    for case in CASES.iter().filter(|case| case.group == group) {
        row(text, case, phases, summed, scratch)?;
    }
    Ok(())
}

const fn title(group: Group, phase: Phase) -> &'static str {
    match (group, phase) {
        (Group::Queues, Phase::Record) => "in",
        (Group::Client | Group::Wire, Phase::Record) => "instructions",
        (_, Phase::Record) => "record",
        (_, Phase::Batch) => "batch",
        (_, Phase::Body) => "body",
        (_, Phase::Settle) => "settle",
        (_, Phase::Pop) => "out",
        (_, Phase::Refuse) => "refused",
    }
}

fn row(text: &mut String, case: &Case, phases: &[Phase], summed: bool, scratch: &Path) -> Result<()> {
    eprintln!("{} ...", case.name);
    let counted = callgrind::run(case.name, case.rounds, scratch)?;
    let items = f64::from(case.rounds) * f64::from(case.items);
    let per_item = |count: u64| count as f64 / items;
    let mut cells = vec![case.shows.to_owned()];
    if summed {
        let sum = [Phase::Record, Phase::Batch, Phase::Settle].map(|phase| counted.instructions(phase));
        cells.push(format!("**{:.0}**", per_item(sum.iter().sum())));
    }
    for phase in phases {
        cells.push(format!("{:.0}", per_item(counted.instructions(*phase))));
    }
    if let Some((_, bytes)) = wire::bytes().iter().find(|(name, _)| *name == case.name) {
        let instructions = per_item(counted.instructions(Phase::Record));
        cells.push(format!("{:.1}", instructions / *bytes as f64));
    }
    cells.push(format!("{:.1}", per_item(counted.allocations)));
    writeln!(text, "| {} |", cells.join(" | "))?;
    Ok(())
}
