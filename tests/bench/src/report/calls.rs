//! Recording calls: instructions, allocations, times, and whether they wait.

use anyhow::Result;

use super::{Order, Report};
use crate::callgrind::{self, Counted};
use crate::charts::{Chart, Row, words};
use crate::glass::Phase;
use crate::subjects::Compressed;
use crate::subjects::{Entry, Kind, Maker, SUBJECTS};
use crate::times::Summary;
use crate::upstream::{Mode, Upstream};
use crate::{Look, runs};

/// Calls under callgrind: whole bursts, so that each is like the next.
const CALLS: u32 = 500;

pub(super) fn section(order: &Order, report: &mut Report) -> Result<()> {
    report.title(
        "Recording calls",
        "Instructions and allocations on the thread that records, per call: encoding, admission and the copy, with the worker \
         running and delivering; what the worker does is not in it. `refused` is the same call while the server limits \
         everything for a minute; OTLP knows no limits. `net` is each without what is the program's own, counted by itself \
         for every row: making the item (an event's fields, a span's attributes; nothing where the SDK's call makes it; what \
         lies on the heap is dropped, too), and being measured. One producer. Rows with `alone` have the SDK with nothing behind \
         it, to see what is the SDK's own; the findings have more on them and on `thread of its own`.",
    )?;
    report.head(&[
        "item",
        "instructions",
        "net",
        "ratio",
        "allocations",
        "refused",
        "net",
        "ratio",
    ])?;
    let per_call = |count: u64| count as f64 / f64::from(CALLS);
    for entry in SUBJECTS {
        let taken = count(order, entry, Look::Taken)?;
        let instructions = |counted: &Counted| per_call(counted.instructions(Phase::Record));
        let made = instructions(&count(order, entry, Look::Made)?);
        let figures = &mut report.figures;
        let mut put = |what: &str, value: f64| {
            figures.put(what, entry.name, value);
            figures.put(&net(what), entry.name, value - made);
        };
        put("call", instructions(&taken));
        if entry.refuse.is_some() && entry.maker != Maker::Trial {
            put("refused", instructions(&count(order, entry, Look::Refused)?));
        }
        figures.put("allocations", entry.name, per_call(taken.allocations));
    }
    let mut bars = Vec::new();
    for entry in SUBJECTS {
        let figures = &report.figures;
        let figure = |what: &str| figures.get(what, entry.name);
        let cell = |what: &str| figure(what).map_or("-".to_owned(), words);
        let ratio = |what: &str| match figure(what) {
            Some(value) => figures.ratio(what, entry.kind, value, false),
            None => "-".to_owned(),
        };
        let allocations = figure("allocations").unwrap_or(0.0);
        let cells = [
            entry.shows.to_owned(),
            cell("call"),
            cell(&net("call")),
            ratio("call"),
            format!("{allocations:.1}"),
            cell("refused"),
            cell(&net("refused")),
            ratio("refused"),
        ];
        if entry.maker != Maker::Trial {
            bars.push(Row {
                label: entry.shows.replace('`', ""),
                ours: entry.maker != Maker::Peer,
                values: ["call", "refused"].into_iter().filter_map(figure).collect(),
            });
        }
        report.row(&cells)?;
    }
    report.chart(Chart {
        name: "calls",
        title: "A recording call, on the caller's thread",
        unit: "instructions (scale of powers of ten)",
        series: &["call", "refused"],
        rows: bars,
    })?;
    timed(order, report)?;
    blocked(order, report)
}

/// Name of a call's figure without what is the program's own.
pub(super) fn net(what: &str) -> String {
    format!("{what}-net")
}

fn count(order: &Order, entry: &Entry, part: Look) -> Result<Counted> {
    eprintln!("call {}, {} ...", entry.name, part.name());
    let refused = part == Look::Refused;
    let server = Upstream::start(if refused { Mode::Limited } else { Mode::Fast })?;
    let calls = CALLS.to_string();
    let arguments = ["call", entry.name, &server.address, &calls, part.name()];
    callgrind::run(&arguments, &order.scratch)
}

/// What a user has the choice of.
fn choices() -> impl Iterator<Item = &'static Entry> {
    SUBJECTS.iter().filter(|entry| entry.maker != Maker::Trial)
}

fn timed(order: &Order, report: &mut Report) -> Result<()> {
    let (runs, calls) = (order.runs(), order.much(100_000));
    report.text.push_str(&format!(
        "\n### Timed\n\nNanoseconds of a call, flat out against a server that answers at once, those that the queue refused included: \
         **noisy**, {runs} runs of {calls} calls (the median of their percentiles, the worst of all). Threads share the \
         cores with the worker and the server: where they are more than cores, the worst are those that were preempted.\n"
    ));
    report.head(&[
        "item, producers",
        "median",
        "p99",
        "p99.9",
        "worst",
        "calls that waited",
    ])?;
    let mut bars = Vec::new();
    for entry in choices() {
        for producers in [1, 2, 4] {
            let summary = calls_of(entry, Mode::Fast, producers, calls, runs)?;
            count_blocked(report, entry, &summary);
            let times = [summary.median, summary.p99, summary.p999, summary.worst];
            let mut cells = vec![format!("{}, {producers}", entry.shows)];
            cells.extend(times.map(words));
            cells.push(words(summary.blocked));
            report.row(&cells)?;
            if producers == 1 {
                bars.push(Row {
                    label: entry.shows.replace('`', ""),
                    ours: entry.maker != Maker::Peer,
                    values: times.to_vec(),
                });
            }
        }
    }
    report.chart(Chart {
        name: "times",
        title: "A recording call, flat out, one producer: noisy",
        unit: "nanoseconds (scale of powers of ten)",
        series: &["median", "p99", "p99.9", "worst"],
        rows: bars,
    })
}

fn calls_of(entry: &Entry, mode: Mode, producers: usize, calls: usize, runs: usize) -> Result<Summary> {
    let job = ["calls", &calls.to_string(), &producers.to_string()];
    let lines: Result<Vec<String>> = (0..runs)
        .map(|_| Ok(runs::load(entry, Compressed::Gzip, mode, &job)?.0))
        .collect();
    Ok(Summary::of(&lines?))
}

/// Adds to the sum of what waited, of this kind of maker.
fn count_blocked(report: &mut Report, entry: &Entry, summary: &Summary) {
    let before = report.figures.get("blocked", entry.name).unwrap_or(0.0);
    report
        .figures
        .put("blocked", entry.name, before + summary.blocked);
}

fn blocked(order: &Order, report: &mut Report) -> Result<()> {
    let calls = order.much(100_000);
    report.text.push_str(&format!(
        "\n### Calls that really waited\n\nOf {calls} calls of one producer, flat out, those in which the thread gave the processor away of its own \
         accord (voluntary context switches of the thread, read before and after each call), and the longest of them: one \
         run for each way that a server behaves.\n"
    ));
    let mut columns = vec!["item"];
    columns.extend(Mode::ALL.map(Mode::shows));
    report.head(&columns)?;
    for entry in choices() {
        let mut cells = vec![entry.shows.to_owned()];
        for mode in Mode::ALL {
            let summary = calls_of(entry, mode, 1, calls, 1)?;
            count_blocked(report, entry, &summary);
            cells.push(match summary.blocked {
                0.0 => "0".to_owned(),
                count => format!(
                    "{} (worst {} us)",
                    words(count),
                    words(summary.worst_blocked / 1e3)
                ),
            });
        }
        report.row(&cells)?;
    }
    Ok(())
}

/// Calls of surgetank that waited, of all that were timed; `None` when none was.
pub(super) fn own_blocked(report: &super::Figures) -> Option<f64> {
    let ours = SUBJECTS
        .iter()
        .filter(|entry| matches!(entry.maker, Maker::Own | Maker::DropIn))
        // The SDK takes a lock of its own for logs before anything of surgetank's is called.
        .filter(|entry| entry.kind != Kind::Log || entry.maker == Maker::Own);
    ours.filter_map(|entry| report.get("blocked", entry.name))
        .reduce(|sum, one| sum + one)
}
