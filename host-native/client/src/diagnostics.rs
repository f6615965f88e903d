//! What the delivery has to say about itself.
//!
//! Diagnostics go to a callback that the application gives when it builds the client, and nowhere else: never through
//! the telemetry that is being delivered. The callback runs on the delivery thread, between two steps of its loop, so it
//! delays delivery while it runs and must not wait for it. Each kind is told at most
//! [`PER_WINDOW`] times in [`WINDOW`]; what is left out is counted and told with the next one.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use serde::Serialize;
use surgetank_core::breaker::BreakerState;
use surgetank_core::downsample::FactorChange;
use surgetank_core::health::Transition;
use surgetank_core::notice::{Notice, Settlement};
use surgetank_core::response::Failure;
use surgetank_core::time::Instant;

use crate::panics::panicked;

/// Time in which [`PER_WINDOW`] diagnostics of a kind are told.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Diagnostics of a kind told in [`WINDOW`].
pub const PER_WINDOW: u32 = 5;

/// Receives diagnostics. Runs on the delivery thread; a panic in it is caught and counted.
pub type DiagnosticCallback = Arc<dyn Fn(&Diagnostic) + Send + Sync>;

/// One piece of news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Diagnostic {
    /// What happened.
    pub event: DiagnosticEvent,
    /// How many of the same kind were left out since the last one that was told.
    pub suppressed: u32,
}

/// What happened. Not exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DiagnosticEvent {
    /// Health changed.
    Health(Transition),
    /// The downsample factor changed.
    Factor(FactorChange),
    /// A circuit breaker changed its state.
    Breaker {
        /// Which destination, by its index.
        destination: u8,
        /// The new state.
        state: BreakerState,
    },
    /// A request was not settled in its time.
    Stalled,
    /// A request was not simply delivered.
    Settled {
        /// Which destination, by its index.
        destination: u8,
        /// HTTP status, if there was an answer.
        status: Option<u16>,
        /// Records in the request.
        records: u32,
        /// What became of them.
        settlement: Settlement,
    },
    /// An attempt to send got no answer, and why. What becomes of its records is told next.
    Failed(Failure),
    /// The deadline of `close` passed with so many records left.
    Left {
        /// Records that were dropped.
        records: u32,
    },
    /// The delivery thread caught a panic and went on.
    WorkerPanicked {
        /// True when the engine was in the middle of a call and had to be made anew, with everything queued lost (and
        /// counted).
        queue_lost: bool,
    },
    /// A body could not be compressed; the request counts as failed.
    CompressionFailed,
}

impl DiagnosticEvent {
    pub(crate) fn of(notice: Notice) -> Self {
        match notice {
            Notice::Health(transition) => Self::Health(transition),
            Notice::Factor(change) => Self::Factor(change),
            Notice::Breaker { destination, state } => Self::Breaker {
                destination: destination.index() as u8,
                state,
            },
            Notice::Stalled { .. } => Self::Stalled,
            Notice::Settled {
                destination,
                status,
                records,
                settlement,
            } => Self::Settled {
                destination: destination.index() as u8,
                status,
                records,
                settlement,
            },
            Notice::Left { records } => Self::Left { records },
        }
    }

    const KINDS: usize = 9;

    const fn kind(&self) -> usize {
        match self {
            Self::Health(_) => 0,
            Self::Factor(_) => 1,
            Self::Breaker { .. } => 2,
            Self::Stalled => 3,
            Self::Settled { .. } => 4,
            Self::Left { .. } => 5,
            Self::WorkerPanicked { .. } => 6,
            Self::CompressionFailed => 7,
            Self::Failed(_) => 8,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.event {
            DiagnosticEvent::Health(change) => {
                write!(
                    f,
                    "health: {:?} -> {:?} ({})",
                    change.from.level,
                    change.to.level,
                    change.cause.as_str()
                )?;
            }
            DiagnosticEvent::Factor(change) => write!(
                f,
                "downsampling: factor {} -> {} ({:?}); a factor of n keeps one root in 2^n",
                change.from, change.to, change.cause
            )?,
            DiagnosticEvent::Breaker { destination, state } => {
                write!(f, "circuit breaker of destination {destination}: {state:?}")?;
            }
            DiagnosticEvent::Stalled => f.write_str("a request outlived its deadline and was given up")?,
            DiagnosticEvent::Settled {
                destination,
                status,
                records,
                settlement,
            } => {
                let plural = if *records == 1 { "" } else { "s" };
                write!(f, "destination {destination}: {records} record{plural}: ")?;
                match status {
                    Some(status) => write!(f, "answered {status}; ")?,
                    None => f.write_str("no answer; ")?,
                }
                write_settlement(f, settlement)?;
            }
            DiagnosticEvent::Failed(failure) => write!(f, "not sent: {}", why(*failure))?,
            DiagnosticEvent::Left { records } => {
                write!(
                    f,
                    "the deadline of close passed with {records} records left; they are dropped"
                )?;
            }
            DiagnosticEvent::WorkerPanicked { queue_lost: true } => {
                f.write_str(
                    "the delivery thread panicked inside the engine and went on; what was queued is lost",
                )?;
            }
            DiagnosticEvent::WorkerPanicked { queue_lost: false } => {
                f.write_str("the delivery thread panicked and went on")?;
            }
            DiagnosticEvent::CompressionFailed => f.write_str("a request body could not be compressed")?,
        }
        if self.suppressed > 0 {
            write!(f, " (and {} like it not told)", self.suppressed)?;
        }
        Ok(())
    }
}

/// In words, and where to look.
const fn why(failure: Failure) -> &'static str {
    match failure {
        Failure::Dns => "the server's name was not found",
        Failure::Connect => {
            "no connection; nobody listens at that address and port, or something is in between"
        }
        Failure::Tls => "no trust: the server's certificate, or ours, was not accepted",
        Failure::Timeout => "the time for one attempt passed",
        Failure::Disconnected => {
            "the connection ended before the answer was complete; does the port take TLS, or gRPC?"
        }
        Failure::MalformedResponse => "what came back was no HTTP; does the port take something else?",
        Failure::InvalidRequest => "a record is not what its header says",
        Failure::RequestTooLarge => "it is too large",
        Failure::ResponseTooLarge => "the answer is too large",
        Failure::Internal => "a bug, or no resources",
    }
}

/// What became of the records, in words.
fn write_settlement(f: &mut fmt::Formatter<'_>, settlement: &Settlement) -> fmt::Result {
    match settlement {
        Settlement::Delivered => f.write_str("delivered"),
        Settlement::Partial { rejected } => write!(f, "{rejected} of what was in them rejected"),
        Settlement::RateLimited { covered } if covered.is_empty() => f.write_str("delivered"),
        Settlement::RateLimited { covered } => {
            f.write_str("lost of them what is limited now:")?;
            covered
                .iter()
                .try_for_each(|category| write!(f, " {}", category.as_str()))
        }
        Settlement::Dropped { reason } => write!(f, "dropped as {}", reason.as_str()),
        Settlement::Retry { pause, .. } => {
            let pause = pause.as_micros() / 1000;
            write!(f, "sent again in {pause} ms at the earliest")
        }
    }
}

/// How the callback fared.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct DiagnosticCounts {
    /// Diagnostics handed to the callback.
    pub told: u64,
    /// Diagnostics left out because there were too many of their kind.
    pub suppressed: u64,
    /// Panics of the callback.
    pub callback_panics: u64,
}

/// Tells diagnostics at a bounded rate.
pub(crate) struct Diagnostics {
    callback: Option<DiagnosticCallback>,
    kinds: [Kind; DiagnosticEvent::KINDS],
    counts: DiagnosticCounts,
}

#[derive(Clone, Copy, Default)]
struct Kind {
    window_began: Option<Instant>,
    told: u32,
    suppressed: u32,
}

impl Diagnostics {
    pub(crate) fn new(callback: Option<DiagnosticCallback>) -> Self {
        Self {
            callback,
            kinds: [Kind::default(); DiagnosticEvent::KINDS],
            counts: DiagnosticCounts::default(),
        }
    }

    pub(crate) const fn counts(&self) -> DiagnosticCounts {
        self.counts
    }

    pub(crate) fn tell(&mut self, now: Instant, event: DiagnosticEvent) {
        let Some(callback) = &self.callback else { return };
        let Some(kind) = self.kinds.get_mut(event.kind()) else {
            return;
        };
        let over = kind
            .window_began
            .is_none_or(|began| now.since(began) >= WINDOW.into());
        if over {
            kind.window_began = Some(now);
            kind.told = 0;
        }
        if kind.told >= PER_WINDOW {
            kind.suppressed = kind.suppressed.saturating_add(1);
            self.counts.suppressed = self.counts.suppressed.saturating_add(1);
            return;
        }
        kind.told += 1;
        let diagnostic = Diagnostic {
            event,
            suppressed: core::mem::take(&mut kind.suppressed),
        };
        self.counts.told = self.counts.told.saturating_add(1);
        if panicked(|| callback(&diagnostic)) {
            self.counts.callback_panics = self.counts.callback_panics.saturating_add(1);
        }
    }
}

/// Writes each diagnostic as a line to standard error.
pub(crate) fn to_stderr(diagnostic: &Diagnostic) {
    line_to_stderr(diagnostic);
}

/// Writes a line to standard error.
pub(crate) fn line_to_stderr(news: &impl fmt::Display) {
    use std::io::Write as _;
    // Nobody can be told that standard error does not work.
    let _ = writeln!(std::io::stderr(), "surgetank: {news}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn collected() -> (Diagnostics, Arc<Mutex<Vec<Diagnostic>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let callback: DiagnosticCallback = Arc::new(move |diagnostic| sink.lock().unwrap().push(*diagnostic));
        (Diagnostics::new(Some(callback)), told)
    }

    #[test]
    fn each_kind_has_its_own_limit_and_what_was_left_out_is_told_later() {
        let (mut diagnostics, told) = collected();
        let now = Instant::ORIGIN;
        for _ in 0..PER_WINDOW + 3 {
            diagnostics.tell(now, DiagnosticEvent::Stalled);
        }
        diagnostics.tell(now, DiagnosticEvent::Left { records: 1 });
        assert_eq!(told.lock().unwrap().len(), PER_WINDOW as usize + 1);
        let later = now.saturating_add(WINDOW.into());
        diagnostics.tell(later, DiagnosticEvent::Stalled);
        let last = *told.lock().unwrap().last().unwrap();
        assert_eq!(
            last,
            Diagnostic {
                event: DiagnosticEvent::Stalled,
                suppressed: 3
            }
        );
        assert!(last.to_string().ends_with("(and 3 like it not told)"), "{last}");
        assert_eq!(diagnostics.counts().suppressed, 3);
    }

    #[test]
    fn a_panic_of_the_callback_is_caught_and_counted() {
        let callback: DiagnosticCallback = Arc::new(|_| panic!("in the callback"));
        let mut diagnostics = Diagnostics::new(Some(callback));
        diagnostics.tell(Instant::ORIGIN, DiagnosticEvent::Stalled);
        assert_eq!(diagnostics.counts().callback_panics, 1);
    }
}
