//! Figures by name, so that targets and ratios can be told when all of them are there.

use std::collections::BTreeMap;

use crate::subjects::{Kind, Maker, SUBJECTS};

/// Names are `what/of which subject`.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(super) fn put(&mut self, what: &str, subject: &str, value: f64) {
        self.0.insert(format!("{what}/{subject}"), value);
    }

    pub(super) fn get(&self, what: &str, subject: &str) -> Option<f64> {
        self.0.get(&format!("{what}/{subject}")).copied()
    }

    /// The least or the most of `what` that another SDK has by itself.
    pub(super) fn best_peer(&self, what: &str, kind: Kind, most: bool) -> Option<f64> {
        SUBJECTS
            .iter()
            .filter(|entry| entry.kind == kind && entry.maker == Maker::Peer)
            .filter_map(|entry| self.get(what, entry.name))
            .reduce(if most { f64::max } else { f64::min })
    }

    /// `value` beside the best peer's, as a cell.
    pub(super) fn ratio(&self, what: &str, kind: Kind, value: f64, most: bool) -> String {
        match self.best_peer(what, kind, most) {
            Some(best) if best > 0.0 => format!("{:.2}", value / best),
            _ => "-".to_owned(),
        }
    }
}

#[cfg(all(test, feature = "peers"))]
mod tests {
    use super::*;

    #[test]
    fn the_best_peer_is_of_the_same_kind_and_no_drop_in() {
        let mut figures = Figures::default();
        figures.put("calls", "own-log", 1.0);
        figures.put("calls", "dropin-log", 2.0);
        figures.put("calls", "sentry-log", 8.0);
        figures.put("calls", "otel-log", 4.0);
        figures.put("calls", "otel-span", 3.0);
        assert_eq!(figures.best_peer("calls", Kind::Log, false), Some(4.0));
        assert_eq!(figures.best_peer("calls", Kind::Log, true), Some(8.0));
        assert_eq!(figures.ratio("calls", Kind::Log, 1.0, false), "0.25");
        assert_eq!(figures.ratio("calls", Kind::Event, 1.0, false), "-");
    }
}
