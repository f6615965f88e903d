//! The cases: what is run under callgrind, and what a figure is divided by.

use crate::engine;
use crate::glass::{Glass, Phase};
use crate::{client, queues, wire};

/// Which part of the report a case belongs to, and the name for `--only`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Group {
    /// The engine alone.
    Engine,
    /// The intake, beside queues.
    Queues,
    /// Reading what arrives.
    Wire,
    /// Recording calls, beside other clients.
    Client,
    /// The sidecar under load.
    Sidecar,
}

/// One case.
pub(crate) struct Case {
    pub(crate) group: Group,
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// What it does, for the report.
    pub(crate) shows: &'static str,
    /// Does `rounds` rounds.
    pub(crate) run: fn(Glass, u32),
    pub(crate) rounds: u32,
    /// Items in one round.
    pub(crate) items: u32,
}

impl Case {
    const fn new(
        group: Group,
        name: &'static str,
        shows: &'static str,
        run: fn(Glass, u32),
        rounds: u32,
        items: u32,
    ) -> Self {
        Self {
            group,
            name,
            shows,
            run,
            rounds,
            items,
        }
    }

    /// Runs in this process: once to warm up, then under the glass.
    pub(crate) fn run(&self, rounds: u32) {
        (self.run)(Glass { counting: false }, 2);
        (self.run)(Glass { counting: true }, rounds);
    }
}

/// The phases that a group's tables have.
pub(crate) const fn phases(group: Group) -> &'static [Phase] {
    match group {
        Group::Engine => &[Phase::Record, Phase::Batch, Phase::Settle, Phase::Body],
        Group::Queues => &[Phase::Record, Phase::Pop, Phase::Refuse],
        Group::Wire | Group::Client | Group::Sidecar => &[Phase::Record],
    }
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case::new(Group::Engine, "engine-log", "log of 256 B, 100 in a Sentry container", engine::log_element, 50, 100),
    Case::new(Group::Engine, "engine-otlp-log", "OTLP log of 256 B, 512 in a request", engine::otlp_log, 20, 512),
    Case::new(Group::Engine, "engine-otlp-span", "OTLP span of 256 B, traces of 16, 512 in a request", engine::otlp_span, 20, 512),
    Case::new(Group::Engine, "engine-error", "error envelope of 256 B, recorded, polled and settled one by one", engine::error_envelope, 1000, 1),
    Case::new(Group::Queues, "intake-64", "surgetank intake, 64 B", queues::intake::<64>, 50, 100),
    Case::new(Group::Queues, "intake-1024", "surgetank intake, 1 KiB", queues::intake::<1024>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "arrayqueue-64", "crossbeam ArrayQueue, 64 B", queues::peers::array_queue::<64>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "arrayqueue-1024", "crossbeam ArrayQueue, 1 KiB", queues::peers::array_queue::<1024>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "heapless-64", "heapless mpmc, 64 B", queues::peers::heapless_mpmc::<64>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "heapless-1024", "heapless mpmc, 1 KiB", queues::peers::heapless_mpmc::<1024>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "rtrb-64", "rtrb (one producer), 64 B", queues::peers::rtrb::<64>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "rtrb-1024", "rtrb (one producer), 1 KiB", queues::peers::rtrb::<1024>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "bbqueue-64", "bbqueue (one producer), framed, 64 B", queues::peers::bbqueue::<64>, 50, 100),
    #[cfg(feature = "peers")]
    Case::new(Group::Queues, "bbqueue-1024", "bbqueue (one producer), framed, 1 KiB", queues::peers::bbqueue::<1024>, 50, 100),
    Case::new(Group::Wire, "wire-transaction", "transaction of 20 spans, 5 KiB, described", wire::transaction, 50, 1),
    Case::new(Group::Wire, "wire-logs", "container of 20 logs, 6 KiB, described", wire::logs, 50, 1),
    Case::new(Group::Client, "client-event", "error event, message and one tag", client::event, 200, 1),
    Case::new(Group::Client, "client-log", "log, 5 attributes", client::log, 500, 1),
    Case::new(Group::Client, "client-transaction", "transaction with 10 spans", client::transaction, 100, 1),
    Case::new(Group::Client, "client-span", "OTLP span, 5 attributes", client::otlp_span, 500, 1),
    Case::new(Group::Client, "client-refused", "error event refused at the gate (rate limit)", client::refused, 500, 1),
    #[cfg(feature = "peers")]
    Case::new(Group::Client, "sentry-event", "`sentry`: error event, message and one tag", client::peers::sentry_event, 200, 1),
    #[cfg(feature = "peers")]
    Case::new(Group::Client, "sentry-log", "`sentry`: log, 5 attributes", client::peers::sentry_log, 500, 1),
    #[cfg(feature = "peers")]
    Case::new(Group::Client, "sentry-transaction", "`sentry`: transaction with 10 spans", client::peers::sentry_transaction, 100, 1),
    #[cfg(feature = "peers")]
    Case::new(Group::Client, "otel-span", "`opentelemetry_sdk`: span, 5 attributes, batch processor", client::peers::otel_span, 500, 1),
    #[cfg(feature = "peers")]
    Case::new(Group::Client, "otel-log", "`opentelemetry_sdk`: log, 5 attributes, batch processor", client::peers::otel_log, 500, 1),
];
