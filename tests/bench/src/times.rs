//! Times of single calls, and the few numbers that are said about them.

use std::time::{Duration, Instant};

/// The time.
#[expect(clippy::disallowed_methods, reason = "this program measures time")]
pub fn now() -> Instant {
    Instant::now()
}

/// What the calls of a run took.
#[derive(Default, Debug)]
pub struct Times {
    nanos: Vec<u32>,
    /// Calls that were refused where that is known, and are not among the times.
    pub refused: u64,
    /// Calls in which the thread waited for something.
    blocked: u64,
    worst_blocked: u32,
}

/// The numbers of a run.
#[derive(Clone, Copy, Default, Debug)]
pub struct Summary {
    pub median: f64,
    pub p99: f64,
    pub p999: f64,
    pub worst: f64,
    pub refused: f64,
    pub blocked: f64,
    pub worst_blocked: f64,
    pub calls: f64,
}

impl Times {
    pub fn with_capacity(calls: usize) -> Self {
        Self {
            // Written once, so that no call pays for a page.
            nanos: {
                let mut nanos = vec![1; calls];
                nanos.clear();
                nanos
            },
            ..Self::default()
        }
    }

    pub fn push(&mut self, took: Duration, blocked: bool) {
        let nanos = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
        self.nanos.push(nanos);
        if blocked {
            self.blocked += 1;
            self.worst_blocked = self.worst_blocked.max(nanos);
        }
    }

    pub fn add(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
        self.refused += other.refused;
        self.blocked += other.blocked;
        self.worst_blocked = self.worst_blocked.max(other.worst_blocked);
    }

    /// A line of `name=number`, times in nanoseconds.
    pub fn line(mut self) -> String {
        self.nanos.sort_unstable();
        let at = |permille: usize| {
            let last = self.nanos.len().saturating_sub(1);
            self.nanos
                .get((last * permille).div_ceil(1000))
                .copied()
                .unwrap_or(0)
        };
        format!(
            "median={} p99={} p999={} worst={} refused={} blocked={} worst_blocked={} calls={}",
            at(500),
            at(990),
            at(999),
            at(1000),
            self.refused,
            self.blocked,
            self.worst_blocked,
            self.nanos.len()
        )
    }
}

/// The number of that name in a line of `name=number`.
pub fn number(line: &str, name: &str) -> Option<f64> {
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    word?.parse().ok()
}

impl Summary {
    /// Several runs in one: the median of medians and percentiles, the worst of the worst, sums of counts.
    pub fn of(lines: &[String]) -> Self {
        let all = |name: &str| -> Vec<f64> { lines.iter().filter_map(|line| number(line, name)).collect() };
        let sum = |name: &str| all(name).iter().sum();
        let most = |name: &str| all(name).into_iter().fold(0.0, f64::max);
        Self {
            median: middle(all("median")),
            p99: middle(all("p99")),
            p999: middle(all("p999")),
            worst: most("worst"),
            refused: sum("refused"),
            blocked: sum("blocked"),
            worst_blocked: most("worst_blocked"),
            calls: sum("calls"),
        }
    }
}

/// The median; the lower one of two.
pub fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers
        .get(numbers.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_percentiles_and_is_read_back() {
        let mut times = Times::with_capacity(1000);
        for nanos in 1..=1000 {
            times.push(Duration::from_nanos(nanos), nanos > 998);
        }
        let summary = Summary::of(&[times.line()]);
        assert_eq!(
            (summary.median, summary.p99, summary.p999, summary.worst),
            (501.0, 991.0, 1000.0, 1000.0)
        );
        assert_eq!(
            (summary.blocked, summary.worst_blocked, summary.calls),
            (2.0, 1000.0, 1000.0)
        );
    }

    #[test]
    fn runs_are_joined_by_their_median_and_their_worst() {
        let lines = [
            "median=5 worst=7 blocked=1".to_owned(),
            "median=9 worst=8 blocked=0".to_owned(),
            "median=1 worst=50 blocked=2".to_owned(),
        ];
        let summary = Summary::of(&lines);
        assert_eq!((summary.median, summary.worst, summary.blocked), (5.0, 50.0, 3.0));
        assert_eq!(middle(Vec::new()), 0.0);
    }
}
