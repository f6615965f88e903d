//! The intake beside queues.

use anyhow::Result;

use super::{Order, Report};
use crate::callgrind;
use crate::charts::{Chart, Row, words};
use crate::glass::Phase;
use crate::queues::{QUEUES, Queue, Records};
use crate::runs;
use crate::times::Summary;

/// Rounds of a hundred records under callgrind.
const ROUNDS: u32 = 50;
const PHASES: [(Phase, &str); 3] = [
    (Phase::Record, "in"),
    (Phase::Pop, "out"),
    (Phase::Refuse, "refused"),
];

pub(super) fn section(order: &Order, report: &mut Report) -> Result<()> {
    report.title(
        "Intake beside queues",
        "Instructions per record on one thread. Queues of values copy a slot of fixed size in and out; the intake, nexus-logbuf and \
         bbqueue take records of any size, copy in and lend out; thingbuf is written in place. Only the intake counts what it \
         refuses, keeps shares for important records, and carries a header of 32 bytes with each record. `net` is what \
         stands before it without the loop of this program, which is counted by itself in the same run; taking out has each \
         queue's own loop. Targets and ratios are of the figures with the loop, for so were the aims: the ratios to the best of \
         the other queues that take several producers.",
    )?;
    for records in [Records::Small, Records::Large] {
        counted(order, report, records)?;
    }
    timed(order, report)
}

fn counted(order: &Order, report: &mut Report, records: Records) -> Result<()> {
    let mut rows = Vec::new();
    for queue in QUEUES {
        eprintln!("{} {} ...", queue.name, records.name());
        let arguments = ["count", queue.name, records.name(), &ROUNDS.to_string()];
        let counted = callgrind::run(&arguments, &order.scratch)?;
        let per_record = |phase| counted.instructions(phase) as f64 / f64::from(ROUNDS) / 100.0;
        let values = PHASES.map(|(phase, _)| per_record(phase));
        let idle = per_record(Phase::Idle);
        for ((_, name), value) in PHASES.iter().zip(values) {
            report.figures.put(&figure(records, name), queue.name, value);
        }
        rows.push((
            queue,
            values,
            idle,
            counted.allocations as f64 / f64::from(ROUNDS) / 100.0,
        ));
    }
    let best = [0, 1, 2].map(|at| {
        let others = rows.iter().filter(|(queue, ..)| !queue.ours && queue.several);
        others
            .map(|(_, values, ..)| values[at])
            .fold(f64::INFINITY, f64::min)
    });
    let title = format!("records of {}", records.shows());
    report.head(&[
        &title,
        "in",
        "net",
        "out",
        "refused",
        "net",
        "ratios",
        "allocations",
    ])?;
    for (queue, values, idle, allocations) in &rows {
        let mut cells = vec![queue.shows.to_owned()];
        for (phase, value) in PHASES.iter().map(|(phase, _)| phase).zip(values) {
            cells.push(format!("{value:.0}"));
            if *phase != Phase::Pop {
                cells.push(format!("{:.0}", value - idle));
            }
        }
        let ratios = values
            .iter()
            .zip(best)
            .map(|(value, best)| format!("{:.2}", value / best));
        cells.push(ratios.collect::<Vec<_>>().join(", "));
        cells.push(format!("{allocations:.1}"));
        report.row(&cells)?;
    }
    let (name, title) = match records {
        Records::Small => ("queues-64", "A record of 64 B"),
        _ => ("queues-1024", "A record of 1 KiB"),
    };
    report.chart(Chart {
        name,
        title,
        unit: "instructions (scale of powers of ten)",
        series: &["in", "out", "refused"],
        rows: rows
            .iter()
            .map(|(queue, values, ..)| bars(queue, values.to_vec()))
            .collect(),
    })
}

/// Name of a queue's figure.
pub(super) fn figure(records: Records, what: &str) -> String {
    format!("queue-{}-{what}", records.name())
}

fn bars(queue: &Queue, values: Vec<f64>) -> Row {
    Row {
        label: queue.shows.to_owned(),
        ours: queue.ours,
        values,
    }
}

/// Threads, and calls of all of them together.
fn timed(order: &Order, report: &mut Report) -> Result<()> {
    let (runs, calls) = (order.runs(), order.much(200_000));
    report.text.push_str(&format!(
        "\n### Timed\n\nNanoseconds of a call that put a record in: **noisy**, {runs} runs of {calls} calls (the median of their \
         percentiles, the worst of all). Each producer works 5 us between two records, one thread takes out. Refused \
         are those that found the queue full. A box is taken from the allocator and filled within the call.\n"
    ));
    for records in [Records::Small, Records::Large, Records::Mixed] {
        let title = format!("{}, producers", records.shows());
        report.head(&[&title, "median", "p99", "p99.9", "worst", "refused"])?;
        for queue in QUEUES.iter().filter(|queue| queue.of(records).is_some()) {
            for producers in [1, 2, 4].into_iter().filter(|count| queue.several || *count == 1) {
                let lines: Result<Vec<String>> = (0..runs)
                    .map(|_| runs::queue(queue.name, records.name(), producers, calls))
                    .collect();
                let summary = Summary::of(&lines?);
                let name = format!("{}-{producers}", queue.name);
                report.figures.put(&figure(records, "p999"), &name, summary.p999);
                let refused = summary.refused / (summary.refused + summary.calls) * 100.0;
                let mut cells = vec![format!("{}, {producers}", title_of(queue, records))];
                let times = [summary.median, summary.p99, summary.p999, summary.worst];
                cells.extend(times.map(words));
                cells.push(format!("{refused:.1} %"));
                report.row(&cells)?;
            }
        }
    }
    Ok(())
}

fn title_of(queue: &Queue, records: Records) -> String {
    match (queue.name, records) {
        ("arrayqueue", Records::Mixed) => format!("{} of boxes", queue.shows),
        _ => queue.shows.to_owned(),
    }
}
