//! What one worker learned goes onto the board, and what is on it is obeyed.

use heapless::Vec;
use surgetank_core::item::{Category, CategorySet, DestinationId};
use surgetank_core::response::Response;
use surgetank_core::time::Instant;
use surgetank_core::wire::rate_limits::Scope;

use super::{Heart, Plugin, Root};
use crate::abi::Host;
use crate::board::{Line, NAME, What};
use crate::guard::MOST_LESSONS;

/// How often a write is tried when other workers write at the same moment. Those who fail have learned for themselves,
/// and the others will.
const ATTEMPTS: usize = 4;

impl Plugin {
    /// Obeys what other workers learned since the last look.
    pub(super) fn look_at_board(&mut self, host: &Host, now: Instant) {
        let (data, version) = host.shared(NAME);
        if version == self.seen {
            return;
        }
        self.seen = version;
        self.board.read(data.unwrap_or_default());
        let Some(engine) = &mut self.engine else { return };
        for line in self.board.lines(now) {
            for (root, guard) in self.roots.iter().zip(&mut self.guards) {
                let Some(root) = root.as_ref().filter(|root| !root.gone) else {
                    continue;
                };
                let subjects = &root.subjects;
                for (own, destination) in [(subjects.otlp, root.otlp), (subjects.sentry, root.sentry)] {
                    if let Some(destination) = destination.filter(|_| own == line.subject) {
                        match line.what {
                            What::Pause => engine.on_pause(now, destination, line.until),
                            what => {
                                let categories = what.categories();
                                engine.on_limit(now, destination, categories, line.until, line.scope);
                            }
                        }
                    }
                }
                if root.settings.guard {
                    guard.learn(now, subjects.guarded, &line);
                }
            }
        }
    }

    /// Tells the others.
    pub(super) fn teach(&mut self, host: &Host, now: Instant, lines: &[Line]) {
        if lines.is_empty() {
            return;
        }
        for _ in 0..ATTEMPTS {
            let (data, version) = host.shared(NAME);
            self.board.read(data.unwrap_or_default());
            // Every line is written, whatever the board thinks of the ones before it.
            let news = lines.iter().filter(|line| self.board.write(now, line)).count();
            if news == 0 || host.set_shared(NAME, self.board.bytes(), version) {
                return;
            }
        }
    }
}

/// What an answer taught about one of our own servers: its limits as they stand now, and a pause it asked for.
pub(super) fn lessons(
    engine: &Heart,
    now: Instant,
    root: &Root,
    destination: DestinationId,
    response: &Response<'_>,
) -> Vec<Line, MOST_LESSONS> {
    let mut lines = Vec::new();
    let subject = if root.otlp == Some(destination) {
        root.subjects.otlp
    } else {
        root.subjects.sentry
    };
    // What does not fit is learned by the others from their own answers.
    let mut add = |until, what, scope| {
        if until > now {
            let _ = lines.push(Line {
                subject,
                until,
                what,
                scope,
            });
        }
    };
    if response.retry_after.is_some()
        && matches!(response.status, 429 | 502..=504)
        && let Some(pause) = engine
            .destination(destination)
            .and_then(|status| status.paused_for)
    {
        add(now.saturating_add(pause), What::Pause, Scope::Key);
    }
    if response.rate_limits.is_empty() && response.status != 429 {
        return lines;
    }
    let Some(limits) = engine.limits(destination) else {
        return lines;
    };
    if let Some((until, scope)) = limits.all_until() {
        add(until, What::All, scope);
    }
    for category in Category::ALL {
        if let Some((until, scope)) = limits.own_until(category) {
            add(until, What::Categories(CategorySet::of(category)), scope);
        }
    }
    lines
}
