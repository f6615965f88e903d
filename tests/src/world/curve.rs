//! Samples of a run over time, drawn as text: one line per quantity, one column per slice of time.

use std::fmt::Write as _;

use surgetank_core::engine::Engine;
use surgetank_core::item::{Category, DropReason};
use surgetank_core::storage::Storage;
use surgetank_core::time::Instant;

/// Columns of a curve.
const COLUMNS: usize = 60;

/// Heights, lowest first.
const LEVELS: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '#', '@'];

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    fill_permille: u64,
    factor: u64,
    dropped: u64,
    delivered: u64,
}

/// The curves of one run.
#[derive(Clone, Debug)]
pub struct Curve {
    end: Instant,
    columns: Vec<Sample>,
    last: (u64, u64),
}

impl Curve {
    /// Curves from the start to `end`.
    #[must_use]
    pub fn new(end: Instant) -> Self {
        Self {
            end,
            columns: vec![Sample::default(); COLUMNS],
            last: (0, 0),
        }
    }

    /// Takes a sample: the highest fill and factor of each slice, and what was dropped and delivered in it.
    pub fn sample<S: Storage>(&mut self, now: Instant, engine: &Engine<S>) {
        let column =
            (now.as_micros() as u128 * COLUMNS as u128 / (self.end.as_micros().max(1) as u128)) as usize;
        let sum = |of: fn(&surgetank_core::ledger::CategoryTotals) -> u64| {
            Category::ALL
                .iter()
                .map(|category| of(&engine.totals().of(*category)))
                .sum::<u64>()
        };
        let (dropped, delivered) = (sum(|totals| totals.dropped), sum(|totals| totals.delivered));
        let Some(sample) = self.columns.get_mut(column.min(COLUMNS - 1)) else {
            return;
        };
        sample.fill_permille = sample.fill_permille.max(u64::from(engine.fill().permille()));
        sample.factor = sample.factor.max(u64::from(engine.factor()));
        sample.dropped += dropped - self.last.0;
        sample.delivered += delivered - self.last.1;
        self.last = (dropped, delivered);
    }

    /// The report: curves, then sums by category and reason.
    #[must_use]
    pub fn report<S: Storage>(&self, engine: &Engine<S>) -> String {
        let mut text = String::new();
        self.line(&mut text, "queue fill, permille", 1000, |sample| {
            sample.fill_permille
        });
        self.line(&mut text, "downsample factor", 10, |sample| sample.factor);
        let most = self
            .columns
            .iter()
            .map(|sample| sample.delivered.max(sample.dropped))
            .max()
            .unwrap_or(0)
            .max(1);
        self.line(&mut text, "delivered", most, |sample| sample.delivered);
        self.line(&mut text, "dropped", most, |sample| sample.dropped);
        for category in Category::ALL {
            let totals = engine.totals().of(category);
            if totals.recorded == 0 {
                continue;
            }
            let (name, recorded, delivered) = (category.as_str(), totals.recorded, totals.delivered);
            let _ = write!(text, "{name}: recorded {recorded}, delivered {delivered}");
            for reason in DropReason::ALL {
                let quantity = engine.totals().dropped(category, reason);
                if quantity > 0 {
                    let _ = write!(text, ", {} {quantity}", reason.as_str());
                }
            }
            text.push('\n');
        }
        text
    }

    fn line(&self, text: &mut String, name: &str, top: u64, of: impl Fn(&Sample) -> u64) {
        let peak = self.columns.iter().map(&of).max().unwrap_or(0);
        let _ = write!(text, "{name:<22} |");
        for sample in &self.columns {
            let value = of(sample);
            let level = (value * (LEVELS.len() as u64 - 1))
                .div_ceil(top.max(1))
                .min(LEVELS.len() as u64 - 1);
            text.push(LEVELS[level as usize]);
        }
        let _ = writeln!(text, "| peak {peak}");
    }
}
