//! What was aimed at, and what was reached.

use std::fmt::Write;

use anyhow::Result;

use super::calls::{net, own_blocked};
use super::delivery::{IN_FULL_TIME, figure};
use super::figures::Figures;
use super::queues;
use crate::Compressed;
use crate::charts::words;
use crate::queues::Records;
use crate::subjects::Kind;

/// One aim.
struct Target {
    what: &'static str,
    reached: Reads,
    aim: Reads,
    at_least: bool,
}

type Reads = fn(&Figures) -> Option<f64>;

macro_rules! at_most {
    ($what:literal, $reached:expr, $aim:expr) => {
        Target {
            what: $what,
            reached: $reached,
            aim: $aim,
            at_least: false,
        }
    };
}

macro_rules! at_least {
    ($what:literal, $reached:expr, $aim:expr) => {
        Target {
            what: $what,
            reached: $reached,
            aim: $aim,
            at_least: true,
        }
    };
}

fn in_queue(figures: &Figures, records: Records, what: &str, queue: &str) -> Option<f64> {
    figures.get(&queues::figure(records, what), queue)
}

/// What `of` has more of than `than`.
fn beyond(figures: &Figures, what: &str, of: &str, than: &str) -> Option<f64> {
    Some(figures.get(what, of)? - figures.get(what, than)?)
}

#[rustfmt::skip]
const TARGETS: &[Target] = &[
    at_most!("small error event, own call: instructions", |f| f.get("call", "own-event"), |_| Some(2500.0)),
    at_most!("small error event, own call: allocations", |f| f.get("allocations", "own-event"), |_| Some(0.0)),
    at_most!("transaction with 10 spans, own call: instructions", |f| f.get("call", "own-transaction"), |_| Some(8000.0)),
    at_most!("transaction with 10 spans, own call: allocations", |f| f.get("allocations", "own-transaction"), |_| Some(0.0)),
    at_most!("Sentry log, own call: instructions", |f| f.get("call", "own-log"), |_| Some(900.0)),
    at_most!("OTLP log, own call: instructions", |f| f.get("call", "own-otlp-log"), |_| Some(900.0)),
    at_most!("logs, own calls: allocations", |f| Some(f.get("allocations", "own-log")? + f.get("allocations", "own-otlp-log")?), |_| Some(0.0)),
    at_most!("error event, `sentry` + surgetank: instructions", |f| f.get("call", "dropin-event"), |_| Some(30_000.0)),
    at_most!("the same: allocations beyond the SDK's own", |f| beyond(f, "allocations", "dropin-event", "bare-event"), |_| Some(0.0)),
    at_most!("the same: instructions of the whole process", |f| f.get("whole", "dropin-event"), |_| Some(75_000.0)),
    at_most!("the same, refused: instructions beyond the SDK's own", |f| Some(f.get("refused", "dropin-event")? - f.get("call", "bare-event")?), |_| Some(100.0)),
    at_most!("span ended, `opentelemetry_sdk` + surgetank: instructions beyond the SDK's own", |f| beyond(f, "call", "dropin-span", "bare-span"), |_| Some(700.0)),
    at_most!("the same: allocations beyond the SDK's own", |f| beyond(f, "allocations", "dropin-span", "bare-span"), |_| Some(0.0)),
    at_most!("64 B into the intake: instructions", |f| in_queue(f, Records::Small, "in", "intake"), |_| Some(80.0)),
    at_most!("64 B out of the intake: instructions", |f| in_queue(f, Records::Small, "out", "intake"), |_| Some(50.0)),
    at_most!("64 B refused by the intake: instructions", |f| in_queue(f, Records::Small, "refused", "intake"), |_| Some(25.0)),
    at_most!("1 KiB into the intake: instructions", |f| in_queue(f, Records::Large, "in", "intake"), |_| Some(180.0)),
    at_most!("1 KiB refused by the intake: instructions", |f| in_queue(f, Records::Large, "refused", "intake"), |_| Some(25.0)),
    at_most!("event refused before it is encoded, own call, net of what is the program's: instructions", |f| f.get(&net("refused"), "own-event"), |_| Some(30.0)),
    at_most!("delivered span, own call, whole process: instructions", |f| f.get("whole", "own-span"), |_| Some(4000.0)),
    at_most!("delivered span, `opentelemetry_sdk` + surgetank, whole process: instructions", |f| f.get("whole", "dropin-span"), |_| Some(4000.0)),
    at_least!("events delivered flat out, uncompressed, against three times the best peer's", |f| f.get("flood", "own-event"), |f| Some(3.0 * f.best_peer("flood", Kind::Event, true)?)),
    at_least!("spans delivered flat out, uncompressed, against three times the best peer's", |f| f.get("flood", "own-span"), |f| Some(3.0 * f.best_peer("flood", Kind::Span, true)?)),
    at_least!("events delivered in 3 s with a server that takes 50 ms", |f| f.get(IN_FULL_TIME, "own-event"), |_| Some(1200.0)),
    at_most!("calls that really waited, of all that were timed (but SDK logs, which take a lock of the SDK's)", own_blocked, |_| Some(0.0)),
    at_most!("bytes of an event with gzip, against a third of the best peer's", |f| f.get(&figure("bytes", Compressed::Gzip), "own-event"), |f| Some(f.best_peer("bytes", Kind::Event, false)? / 3.0)),
    at_most!("bytes of a span with gzip, against a third of the best peer's", |f| f.get(&figure("bytes", Compressed::Gzip), "own-span"), |f| Some(f.best_peer("bytes", Kind::Span, false)? / 3.0)),
    at_most!("highest resident memory, events at a stalled server: KiB", |f| f.get("peak", "own-event"), |_| Some(8192.0)),
    at_most!("highest resident memory, spans at a stalled server: KiB", |f| f.get("peak", "own-span"), |_| Some(8192.0)),
    at_most!("p99.9 of putting in 64 B to 64 KiB, 4 producers, against boxes in ArrayQueue: ns, noisy", |f| in_queue(f, Records::Mixed, "p999", "intake-4"), |f| in_queue(f, Records::Mixed, "p999", "arrayqueue-4")),
];

/// The table of what was measured; nothing when nothing of it was.
pub(super) fn table(figures: &Figures) -> Result<String> {
    let rows: Vec<(&Target, f64, f64)> = TARGETS
        .iter()
        .filter_map(|target| Some((target, (target.reached)(figures)?, (target.aim)(figures)?)))
        .collect();
    let mut text = String::new();
    if rows.is_empty() {
        return Ok(text);
    }
    let met = rows
        .iter()
        .filter(|(target, reached, aim)| target.met(*reached, *aim));
    writeln!(
        text,
        "\n## Targets\n\n{} of {} met. Why the others are missed, and what was tried, is in [FINDINGS.md](FINDINGS.md).\n",
        met.count(),
        rows.len()
    )?;
    writeln!(text, "| target | aim | reached | |\n|---|---|---|---|")?;
    for (target, reached, aim) in rows {
        let side = if target.at_least { "at least" } else { "at most" };
        let verdict = if target.met(reached, aim) {
            "met"
        } else {
            "**missed**"
        };
        writeln!(
            text,
            "| {} | {side} {} | {} | {verdict} |",
            target.what,
            words(aim),
            words(reached)
        )?;
    }
    Ok(text)
}

impl Target {
    fn met(&self, reached: f64, aim: f64) -> bool {
        if self.at_least {
            reached >= aim
        } else {
            reached <= aim
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_not_told_and_what_was_is_judged() {
        let mut figures = Figures::default();
        assert_eq!(table(&figures).unwrap(), "");
        figures.put("call", "own-event", 2500.0);
        figures.put("call", "own-log", 901.0);
        figures.put(IN_FULL_TIME, "own-event", 1199.0);
        let text = table(&figures).unwrap();
        assert!(text.contains("1 of 3 met"), "{text}");
        assert!(text.contains("| at most 2 500 | 2 500 | met |"), "{text}");
        assert!(text.contains("| at most 900 | 901 | **missed** |"), "{text}");
        assert!(text.contains("| at least 1 200 | 1 199 | **missed** |"), "{text}");
    }
}
