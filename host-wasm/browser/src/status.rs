//! The engine at a glance, as JSON. The words are the core's; `js/index.d.ts` has the type.
//!
//! Written without the core's JSON writer: no word here needs an escape, and what sets commas and looks at each result is
//! three kilobytes of a module that is loaded whole.

use surgetank_core::breaker::BreakerState;
use surgetank_core::engine::Engine;
use surgetank_core::health::Level;
use surgetank_core::item::{Category, DestinationId};
use surgetank_core::storage::Storage;

use crate::window::Window;

/// A JSON text in the making.
struct Text<'o, 'w> {
    out: &'o mut Window<'w>,
    /// The next element of a list has one before it.
    comma: bool,
}

impl Text<'_, '_> {
    /// Text that is JSON with what surrounds it.
    fn put(&mut self, text: &str) {
        self.out.put(text.as_bytes());
    }

    /// A word without anything to escape.
    fn word(&mut self, word: &str) {
        self.put("\"");
        self.put(word);
        self.put("\"");
    }

    /// What stands before a number, and the number.
    fn number(&mut self, before: &str, number: u64) {
        self.put(before);
        self.out.number(number);
    }

    /// Begins an object or a list: what stands before it ends with its bracket.
    fn begin(&mut self, before: &str) {
        self.put(before);
        self.comma = false;
    }

    /// The comma before every element but the first.
    fn next(&mut self) {
        if self.comma {
            self.put(",");
        }
        self.comma = true;
    }
}

/// Writes the status of `engine` and of these destinations.
pub(crate) fn write<S: Storage>(
    engine: &Engine<S>,
    destinations: impl Iterator<Item = DestinationId>,
    out: &mut Window<'_>,
) {
    let health = engine.health();
    let totals = engine.totals();
    let counters = engine.counters();
    let mut text = Text { out, comma: false };
    text.put("{\"health\":");
    text.word(match health.level {
        Level::Healthy => "healthy",
        Level::Degraded => "degraded",
        Level::Unhealthy => "unhealthy",
    });
    text.begin(",\"causes\":[");
    for cause in health.causes.iter() {
        text.next();
        text.word(cause.as_str());
    }
    text.number("],\"fillPermille\":", engine.fill().permille().into());
    text.number(",\"factor\":", engine.factor().into());
    text.number(",\"inFlight\":", engine.in_flight() as u64);
    text.number(",\"stalls\":", counters.stalls.into());
    text.number(",\"staleAnswers\":", counters.stale_answers.into());
    text.number(",\"clockStepsBack\":", counters.clock_steps_back.into());
    text.begin(",\"categories\":{");
    for category in Category::ALL {
        let sums = totals.of(category);
        if sums.recorded > 0 {
            text.next();
            text.word(category.as_str());
            text.number(":{\"recorded\":", sums.recorded);
            text.number(",\"delivered\":", sums.delivered);
            text.number(",\"dropped\":", sums.dropped);
            text.number(",\"queued\":", sums.queued());
            text.put("}");
        }
    }
    text.begin("},\"dropped\":[");
    for entry in totals.reasons() {
        text.next();
        text.put("{\"category\":");
        text.word(entry.category.as_str());
        text.put(",\"reason\":");
        text.word(entry.reason.as_str());
        text.number(",\"quantity\":", entry.quantity);
        text.put("}");
    }
    text.begin("],\"destinations\":[");
    for status in destinations.filter_map(|id| engine.destination(id)) {
        text.next();
        let waiting = status.waiting.iter().copied().map(u64::from).sum();
        text.number("{\"waiting\":", waiting);
        text.number(",\"inFlight\":", status.on_wire.into());
        text.number(",\"retrying\":", status.parked.into());
        text.number(",\"concurrency\":", status.concurrency.into());
        text.put(",\"breaker\":");
        text.word(match status.breaker {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        });
        let paused = status.paused_for.map_or(0, |span| span.as_millis());
        text.number(",\"pausedMs\":", paused);
        text.begin(",\"limited\":[");
        for category in status.limited.iter() {
            text.next();
            text.word(category.as_str());
        }
        text.put("]}");
        text.comma = true;
    }
    text.put("]}");
}
