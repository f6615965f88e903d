//! Whole processes: what an item costs until it is delivered, how many are, and what is held in memory.

use anyhow::{Result, ensure};

use super::{Order, Report};
use crate::charts::{Chart, Row, words};
use crate::subjects::{Entry, Kind, Maker, SUBJECTS};
use crate::times::{middle, number};
use crate::upstream::{Mode, Received, Upstream};
use crate::{Compressed, callgrind, runs};

pub(super) fn section(order: &Order, report: &mut Report) -> Result<()> {
    report.title(
        "Whole processes",
        "One producer unless another number is told. surgetank compresses with gzip unless it is told otherwise, the peers do not; rows \
         without compression compare like with like.",
    )?;
    whole(order, report)?;
    flood(order, report)?;
    slow(order, report)?;
    memory(order, report)
}

/// What a slow server got, of a run as long as the target says.
pub(super) const IN_FULL_TIME: &str = "slow-in-full-time";

/// Each subject, surgetank's once per way to compress of these.
fn rows(ways: &[Compressed], trials: bool) -> Vec<(&'static Entry, Compressed)> {
    SUBJECTS
        .iter()
        .filter(|entry| entry.maker != Maker::Trial || (trials && entry.name.starts_with("handover")))
        .flat_map(|entry| {
            let ways = match entry.maker {
                Maker::Peer | Maker::Trial => &[Compressed::None],
                Maker::Own | Maker::DropIn => ways,
            };
            ways.iter().map(move |way| (entry, *way))
        })
        .collect()
}

fn label(entry: &Entry, compressed: Compressed) -> String {
    match (entry.maker, compressed) {
        (Maker::Peer, _) | (_, Compressed::None) => entry.shows.to_owned(),
        (_, way) => format!("{}, {}", entry.shows, way.name()),
    }
}

/// Name of a figure of surgetank with that compression.
pub(super) fn figure(what: &str, compressed: Compressed) -> String {
    match compressed {
        Compressed::None => what.to_owned(),
        way => format!("{what}-{}", way.name()),
    }
}

fn whole(order: &Order, report: &mut Report) -> Result<()> {
    report.text.push_str(
        "\n### Per delivered item\n\nInstructions of the whole process (every thread, from the recording call to the server's answer), counted by callgrind: the \
         difference of two runs of different length, so that starting and ending are not in it. Every item was delivered. Bytes \
         are what went to the server per item, in bodies and with the heads of the requests. Logs and spans go 500 to a \
         flush, events and transactions one to a request.\n",
    );
    report.head(&["item", "instructions", "ratio", "bytes", "with heads", "ratio"])?;
    let mut measured = Vec::new();
    for (entry, compressed) in rows(&Compressed::ALL, true) {
        let (instructions, received) = delivered(order, entry, compressed)?;
        let items = received.items as f64;
        let (body, wire) = (
            received.body_bytes as f64 / items,
            received.wire_bytes as f64 / items,
        );
        let figures = &mut report.figures;
        figures.put(&figure("whole", compressed), entry.name, instructions);
        figures.put(&figure("bytes", compressed), entry.name, wire);
        measured.push((entry, compressed, instructions, body, wire));
    }
    let mut bars = Vec::new();
    for (entry, compressed, instructions, body, wire) in measured {
        let figures = &report.figures;
        let cells = [
            label(entry, compressed),
            format!("{instructions:.0}"),
            figures.ratio("whole", entry.kind, instructions, false),
            format!("{body:.0}"),
            format!("{wire:.0}"),
            figures.ratio("bytes", entry.kind, wire, false),
        ];
        report.row(&cells)?;
        if entry.maker != Maker::Trial && compressed != Compressed::Zstd {
            bars.push(Row {
                label: label(entry, compressed).replace('`', ""),
                ours: entry.maker != Maker::Peer,
                values: vec![instructions],
            });
        }
    }
    report.chart(Chart {
        name: "whole",
        title: "A delivered item, all threads of the process",
        unit: "instructions (scale of powers of ten)",
        series: &["instructions"],
        rows: bars,
    })
}

/// Instructions per item, and what the server got of the longer run.
fn delivered(order: &Order, entry: &Entry, compressed: Compressed) -> Result<(f64, Received)> {
    let (short, long) = match entry.kind {
        Kind::Event | Kind::Transaction => (50, 350),
        Kind::Log | Kind::Span => (1000, 6000),
    };
    let run = |items: u32| -> Result<(u64, Received)> {
        eprintln!("deliver {} {}, {items} ...", entry.name, compressed.name());
        let mut server = Upstream::start(Mode::Fast)?;
        let (items_text, burst) = (items.to_string(), entry.burst.to_string());
        let mut arguments = vec!["load", entry.name, &server.address, compressed.name()];
        arguments.extend(["deliver", &items_text, &burst]);
        let counted = callgrind::whole(&arguments, &order.scratch)?;
        let received = server.received()?;
        ensure!(
            received.items == u64::from(items),
            "{} of {items} items of {} were delivered",
            received.items,
            entry.name
        );
        Ok((counted, received))
    };
    let (less, _) = run(short)?;
    let (more, received) = run(long)?;
    Ok(((more - less) as f64 / f64::from(long - short), received))
}

fn flood(order: &Order, report: &mut Report) -> Result<()> {
    let (runs, time) = (order.runs(), order.much(5000));
    report.text.push_str(&format!(
        "\n### Flat out\n\nItems that the server got within {time} ms of recording as fast as it goes, a fast server: **noisy**, the \
         median of {runs} runs with one producer, one run with 2 and 4. The server's own work (unpacking and counting) is on the same cores. `made` are the calls of \
         one producer.\n"
    ));
    report.head(&[
        "item",
        "made",
        "delivered, 1",
        "ratio",
        "delivered, 2",
        "delivered, 4",
    ])?;
    let mut measured = Vec::new();
    for (entry, compressed) in rows(&[Compressed::None, Compressed::Gzip], false) {
        let mut made = 0.0;
        let mut delivered = Vec::new();
        // Several producers are for the shape of it: once, and as it is compared.
        let counts: &[usize] = if compressed == Compressed::None || entry.maker == Maker::Peer {
            &[1, 2, 4]
        } else {
            &[1]
        };
        for &producers in counts {
            let runs = if producers == 1 { runs } else { 1 };
            let job = ["flood", &time.to_string(), &producers.to_string()];
            let mut counts = Vec::new();
            for _ in 0..runs {
                let (line, received) = runs::load(entry, compressed, Mode::Fast, &job)?;
                counts.push(received.items as f64);
                if producers == 1 {
                    made = number(&line, "made").unwrap_or(0.0);
                }
            }
            delivered.push(middle(counts));
        }
        let one = delivered.first().copied().unwrap_or(0.0);
        report.figures.put(&figure("flood", compressed), entry.name, one);
        measured.push((entry, compressed, made, delivered, one));
    }
    let mut bars = Vec::new();
    for (entry, compressed, made, delivered, one) in measured {
        let mut cells = vec![label(entry, compressed), words(made), words(one)];
        cells.push(report.figures.ratio("flood", entry.kind, one, true));
        for at in [1, 2] {
            cells.push(delivered.get(at).map_or("-".to_owned(), |count| words(*count)));
        }
        report.row(&cells)?;
        bars.push(Row {
            label: label(entry, compressed).replace('`', ""),
            ours: entry.maker != Maker::Peer,
            values: vec![one],
        });
    }
    report.chart(Chart {
        name: "delivered",
        title: "Delivered flat out, one producer, a fast server: noisy",
        unit: "items (scale of powers of ten)",
        series: &["items"],
        rows: bars,
    })
}

fn slow(order: &Order, report: &mut Report) -> Result<()> {
    let time = order.much(3000);
    report.text.push_str(&format!(
        "\n### A server that takes 50 ms\n\nItems that it got within {time} ms of recording as fast as it goes, one producer: one run, and steady, for what it waits \
         for is the server.\n"
    ));
    report.head(&["item", "delivered", "ratio", "requests"])?;
    let mut measured = Vec::new();
    for (entry, compressed) in rows(&[Compressed::Gzip], false) {
        let job = ["flood", &time.to_string(), "1"];
        let (_, received) = runs::load(entry, compressed, Mode::Slow, &job)?;
        let figures = &mut report.figures;
        figures.put("slow", entry.name, received.items as f64);
        if !order.quick {
            figures.put(IN_FULL_TIME, entry.name, received.items as f64);
        }
        measured.push((entry, received));
    }
    for (entry, received) in measured {
        let items = received.items as f64;
        let ratio = report.figures.ratio("slow", entry.kind, items, true);
        let cells = [
            entry.shows.to_owned(),
            words(items),
            ratio,
            words(received.requests as f64),
        ];
        report.row(&cells)?;
    }
    Ok(())
}

fn memory(order: &Order, report: &mut Report) -> Result<()> {
    let items = order.much(1_000_000);
    report.text.push_str(&format!(
        "\n### Memory\n\nHighest resident memory of the process, KiB, after {} items at a server that never answers, and before the client was \
         built. Anonymous is what of it is no file: heap and stacks, the highest of a hundred looks. The rest are pages of programs and \
         libraries. surgetank, with its default of 4 MiB for intake and queue, is measured in a program with nothing else \
         in it; the others in the one that measures, with all of them in it, so that not the peaks but the differences are compared.\n",
        words(items as f64)
    ));
    report.head(&[
        "item",
        "before",
        "highest",
        "difference",
        "ratio",
        "anonymous",
        "ratio",
    ])?;
    let whole = std::env::current_exe()?;
    let mut measured = Vec::new();
    for (entry, compressed) in rows(&[Compressed::Gzip], false) {
        let program = match entry.maker {
            Maker::Own => &order.alone,
            _ => &whole,
        };
        let job = ["memory", &items.to_string()];
        let (line, _) = runs::load_in(program, entry, compressed, Mode::Stall, &job)?;
        let of = |what| number(&line, what).unwrap_or(0.0);
        let (before, peak, anonymous) = (of("before"), of("peak"), of("anonymous"));
        report.figures.put("peak", entry.name, peak);
        report.figures.put("grown", entry.name, peak - before);
        report.figures.put("anonymous", entry.name, anonymous);
        measured.push((entry, before, peak, anonymous));
    }
    for (entry, before, peak, anonymous) in measured {
        let cells = [
            entry.shows.to_owned(),
            words(before),
            words(peak),
            words(peak - before),
            report.figures.ratio("grown", entry.kind, peak - before, false),
            words(anonymous),
            report.figures.ratio("anonymous", entry.kind, anonymous, false),
        ];
        report.row(&cells)?;
    }
    Ok(())
}
