//! The core by itself: the engine, and reading what arrives.

use anyhow::Result;

use super::{Order, Report};
use crate::callgrind::{self, Counted};
use crate::cases::{CASES, Case, Part};
use crate::glass::Phase;
use crate::wire as envelopes;

pub(super) fn engine(order: &Order, report: &mut Report) -> Result<()> {
    report.title(
        "Engine alone",
        "Instructions per item at steady state: queue of 4 MiB, nothing limited, every answer 200. `batch` is every call of \
         `poll` (the idle one, too) and the gate's word; `body` is the host's call of `write_body` into memory, which is not \
         part of the sum. Allocations are calls of the allocator in all of it.",
    )?;
    report.head(&[
        "item",
        "record + batch + settle",
        "record",
        "batch",
        "settle",
        "body",
        "allocations",
    ])?;
    for case in of(Part::Engine) {
        let (counted, items) = count(order, case)?;
        let per_item = |phase| counted.instructions(phase) as f64 / items;
        let parts = [Phase::Record, Phase::Batch, Phase::Settle].map(per_item);
        let sum: f64 = parts.iter().sum();
        report.figures.put("engine", case.name, sum);
        let mut cells = vec![case.shows.to_owned(), format!("**{sum:.0}**")];
        cells.extend(parts.iter().map(|part| format!("{part:.0}")));
        cells.push(format!("{:.0}", per_item(Phase::Body)));
        cells.push(format!("{:.1}", counted.allocations as f64 / items));
        report.row(&cells)?;
    }
    Ok(())
}

pub(super) fn wire(order: &Order, report: &mut Report) -> Result<()> {
    report.title(
        "Reading what arrives",
        "Instructions to find out what an envelope counts for, and the same per byte.",
    )?;
    report.head(&["item", "instructions", "per byte", "allocations"])?;
    for case in of(Part::Wire) {
        let (counted, items) = count(order, case)?;
        let instructions = counted.instructions(Phase::Record) as f64 / items;
        let bytes = envelopes::bytes()
            .iter()
            .find(|(name, _)| *name == case.name)
            .map_or(0, |(_, bytes)| *bytes);
        report.figures.put("wire", case.name, instructions);
        report.row(&[
            case.shows.to_owned(),
            format!("{instructions:.0}"),
            format!("{:.1}", instructions / bytes as f64),
            format!("{:.1}", counted.allocations as f64 / items),
        ])?;
    }
    Ok(())
}

fn of(part: Part) -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(move |case| case.part == part)
}

/// What was counted, and for how many items.
fn count(order: &Order, case: &Case) -> Result<(Counted, f64)> {
    eprintln!("{} ...", case.name);
    let counted = callgrind::run(&["case", case.name, &case.rounds.to_string()], &order.scratch)?;
    Ok((counted, f64::from(case.rounds) * f64::from(case.items)))
}
