//! The end: signals, and what is said about what was left.

use crate::server::Refusals;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use surgetank::delivery::FlushReport;
use surgetank_core::item::DropReason;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code when telemetry that was accepted was left undelivered, or the device does not know what came of it.
pub(crate) const LEFT_BEHIND: u8 = 3;

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// When the system does not let signals be handled.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The last line on standard output, and the exit code that goes with it.
pub(crate) fn farewell(report: &FlushReport, refusals: &Refusals, unanswered: bool) -> (String, ExitCode) {
    let left = left(report);
    let delivered: Map<String, Value> = report
        .sums
        .categories()
        .filter(|(_, totals)| totals.delivered > 0)
        .map(|(category, totals)| (category.as_str().to_owned(), totals.delivered.into()))
        .collect();
    let dropped: Vec<Value> = report
        .sums
        .reasons()
        .iter()
        .filter(|total| total.reason != DropReason::Closed)
        .map(|total| {
            json!({
                "category": total.category.as_str(),
                "reason": total.reason.as_str(),
                "quantity": total.quantity,
            })
        })
        .collect();
    let clean = left.is_empty() && report.intake_bytes == 0;
    let line = json!({
        "event": "stopped",
        "complete": clean,
        "left": left,
        "left_bytes": report.intake_bytes,
        "delivered": delivered,
        "dropped": dropped,
        "refused_requests": {
            "full": refusals.full.load(Ordering::Relaxed),
            "limited": refusals.limited.load(Ordering::Relaxed),
            "invalid": refusals.invalid.load(Ordering::Relaxed),
        },
        "unanswered": unanswered,
    });
    let code = if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(LEFT_BEHIND)
    };
    (line.to_string(), code)
}

/// What was accepted and neither delivered nor lost for another reason, by category.
fn left(report: &FlushReport) -> Map<String, Value> {
    report
        .sums
        .categories()
        .map(|(category, totals)| {
            let closed = report.sums.dropped(category, DropReason::Closed);
            (category, totals.queued().saturating_add(closed))
        })
        .filter(|(_, quantity)| *quantity > 0)
        .map(|(category, quantity)| (category.as_str().to_owned(), quantity.into()))
        .collect()
}
