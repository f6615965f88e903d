//! The engine's sums as statistics of the proxy.
//!
//! Statistics of one name are shared by all workers, so each adds what its own engine's sums have grown by since it
//! last looked. Envoy shows them as `wasmcustom.surgetank.spans.recorded` and so on; recorded = delivered + dropped +
//! queued, as in the engine, once the workers have ticked.

use core::fmt::Write;

use surgetank_core::item::{Category, DropReason};
use surgetank_core::ledger::{CategoryTotals, Totals};

use crate::abi::{Host, Metric};
use crate::guard::Verdict;

/// What is counted, with its name.
const KINDS: [(Category, &str); 2] = [(Category::Span, "spans"), (Category::Error, "errors")];

/// One kind of record.
#[derive(Debug)]
struct Kind {
    recorded: Option<u32>,
    delivered: Option<u32>,
    dropped: Option<u32>,
    queued: Option<u32>,
    reasons: [Option<u32>; DropReason::COUNT],
    /// What the statistics hold already of this engine.
    told: CategoryTotals,
    told_reasons: [u64; DropReason::COUNT],
}

impl Kind {
    const NEW: Self = Self {
        recorded: None,
        delivered: None,
        dropped: None,
        queued: None,
        reasons: [None; DropReason::COUNT],
        told: CategoryTotals {
            recorded: 0,
            delivered: 0,
            dropped: 0,
        },
        told_reasons: [0; DropReason::COUNT],
    };

    fn define(&mut self, host: &Host, name: &str) {
        self.recorded = metric(host, Metric::Counter, &[name, ".recorded"]);
        self.delivered = metric(host, Metric::Counter, &[name, ".delivered"]);
        self.dropped = metric(host, Metric::Counter, &[name, ".dropped"]);
        self.queued = metric(host, Metric::Gauge, &[name, ".queued"]);
    }

    fn publish(&mut self, host: &Host, name: &str, category: Category, totals: &Totals) {
        let now = totals.of(category);
        if now == self.told {
            return;
        }
        grow(host, self.recorded, self.told.recorded, now.recorded);
        grow(host, self.delivered, self.told.delivered, now.delivered);
        grow(host, self.dropped, self.told.dropped, now.dropped);
        grow(host, self.queued, self.told.queued(), now.queued());
        if now.dropped != self.told.dropped {
            let places = self.reasons.iter_mut().zip(&mut self.told_reasons);
            for ((metric_id, told), reason) in places.zip(DropReason::ALL) {
                let sum = totals.dropped(category, reason);
                if sum != *told {
                    if metric_id.is_none() {
                        *metric_id = metric(host, Metric::Counter, &[name, ".dropped.", reason.as_str()]);
                    }
                    grow(host, *metric_id, *told, sum);
                    *told = sum;
                }
            }
        }
        self.told = now;
    }
}

/// All statistics of one worker.
#[derive(Debug)]
pub(crate) struct Metrics {
    kinds: [Kind; KINDS.len()],
    /// Requests that were not recorded because too many were under way.
    untracked: Counted,
    /// Requests that a guard let pass, refused for limits, and refused for overload.
    guard: [Counted; 3],
}

/// What is counted here between two looks, as telling the proxy of each would be a call for each.
#[derive(Debug)]
struct Counted {
    metric: Option<u32>,
    untold: u32,
}

impl Counted {
    const NEW: Self = Self {
        metric: None,
        untold: 0,
    };

    fn count(&mut self) {
        self.untold = self.untold.wrapping_add(1);
    }

    fn publish(&mut self, host: &Host) {
        grow(host, self.metric, 0, u64::from(self.untold));
        self.untold = 0;
    }
}

impl Metrics {
    pub(crate) const fn new() -> Self {
        Self {
            kinds: [Kind::NEW; KINDS.len()],
            untracked: Counted::NEW,
            guard: [Counted::NEW; 3],
        }
    }

    /// Has the proxy show them, at zero, before anything is counted.
    pub(crate) fn define(&mut self, host: &Host) {
        for (kind, (_, name)) in self.kinds.iter_mut().zip(KINDS) {
            kind.define(host, name);
        }
        self.untracked.metric = metric(host, Metric::Counter, &["requests.untracked"]);
    }

    /// The same for those of a guard.
    pub(crate) fn define_guard(&mut self, host: &Host) {
        let names = ["passed", "refused.limited", "refused.overloaded"];
        for (place, name) in self.guard.iter_mut().zip(names) {
            place.metric = metric(host, Metric::Counter, &["guard.", name]);
        }
    }

    /// Counts what a guard decided.
    pub(crate) fn judged(&mut self, verdict: Verdict) {
        let [passed, limited, overloaded] = &mut self.guard;
        let counted = match verdict {
            Verdict::Pass => passed,
            Verdict::Limited(_) => limited,
            Verdict::Overloaded(_) => overloaded,
        };
        counted.count();
    }

    /// Adds what the sums have grown by. A few comparisons when nothing happened.
    pub(crate) fn publish(&mut self, host: &Host, totals: &Totals) {
        for (kind, (category, name)) in self.kinds.iter_mut().zip(KINDS) {
            kind.publish(host, name, category, totals);
        }
        self.untracked.publish(host);
        for counted in &mut self.guard {
            counted.publish(host);
        }
    }

    /// Counts a request that found no place.
    pub(crate) fn untracked(&mut self) {
        self.untracked.count();
    }
}

fn metric(host: &Host, kind: Metric, parts: &[&str]) -> Option<u32> {
    let mut name = heapless::String::<64>::new();
    let _ = name.write_str("surgetank.");
    for part in parts {
        let _ = name.write_str(part);
    }
    host.metric(kind, &name)
}

fn grow(host: &Host, metric: Option<u32>, from: u64, to: u64) {
    if let Some(metric) = metric
        && from != to
    {
        host.add(metric, to.wrapping_sub(from) as i64);
    }
}
