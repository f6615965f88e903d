//! The cases of the core: what is run under callgrind, and what a figure is divided by.

use crate::glass::Glass;
use crate::{engine, wire};

/// A part of the report, and its name for `--only`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Part {
    /// The engine alone.
    Engine,
    /// The intake, beside queues.
    Queues,
    /// Reading what arrives.
    Wire,
    /// Recording calls, beside other clients.
    Calls,
    /// What whole processes do, beside other clients.
    Delivery,
    /// The sidecar under load.
    Sidecar,
}

/// One case.
pub(crate) struct Case {
    pub(crate) part: Part,
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// What it does, for the report.
    pub(crate) shows: &'static str,
    /// Does that many rounds.
    pub(crate) run: fn(Glass, u32),
    pub(crate) rounds: u32,
    /// Items in one round.
    pub(crate) items: u32,
}

impl Case {
    const fn new(
        part: Part,
        name: &'static str,
        shows: &'static str,
        run: fn(Glass, u32),
        rounds: u32,
        items: u32,
    ) -> Self {
        Self {
            part,
            name,
            shows,
            run,
            rounds,
            items,
        }
    }
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case::new(Part::Engine, "engine-log", "log of 256 B, 100 in a Sentry container", engine::log_element, 50, 100),
    Case::new(Part::Engine, "engine-otlp-log", "OTLP log of 256 B, 512 in a request", engine::otlp_log, 20, 512),
    Case::new(Part::Engine, "engine-otlp-span", "OTLP span of 256 B, traces of 16, 512 in a request", engine::otlp_span, 20, 512),
    Case::new(Part::Engine, "engine-error", "error envelope of 256 B, recorded, polled and settled one by one", engine::error_envelope, 1000, 1),
    Case::new(Part::Wire, "wire-transaction", "transaction of 20 spans, 5 KiB, described", wire::transaction, 50, 1),
    Case::new(Part::Wire, "wire-logs", "container of 20 logs, 6 KiB, described", wire::logs, 50, 1),
];
