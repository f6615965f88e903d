//! Who is measured: each subject is a client with its worker, and one recording call.

#[cfg(feature = "peers")]
mod otel;
pub mod own;
#[cfg(feature = "peers")]
mod sentry;

use std::time::Duration;

use surgetank::{Client, ClientBuilder, Compression};

use crate::glass::Glass;
use crate::load::{self, Job};

/// What a subject is built with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Address of the server.
    pub upstream: String,
    /// Of surgetank only; the peers send as they are set up by default, which is without.
    pub compression: Compression,
}

impl Setting {
    pub const KEY: &str = "e12d836b15bb49d7bbf99e64295d995b";

    fn dsn(&self) -> String {
        format!("http://{}@{}/1", Self::KEY, self.upstream)
    }

    /// Defaults, which are 4 MiB for intake and queue; no proxies of the machine it runs on.
    fn builder(&self) -> ClientBuilder {
        Client::builder()
            .compression(self.compression)
            .release("bench@1.0.0")
            .environment_proxies(false)
    }
}

/// The names of surgetank's ways to compress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Compressed {
    None,
    Gzip,
    Zstd,
}

impl Compressed {
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    #[must_use]
    pub const fn setting(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Zstd => Compression::Zstd,
        }
    }
}

/// A client and its recording call, made from any number of threads.
pub trait Subject: Send + Sync + 'static {
    /// Built, and its worker running where that can be asked for.
    fn start(setting: &Setting) -> Self;
    /// Records one item.
    fn record(&self);
    /// Makes what [`Subject::record`] records, by the same code, and nothing more: what of it is the program's own. Nothing
    /// where the calls of an SDK make it.
    #[inline]
    fn make(&self) {}
    /// Sends what was recorded, within a deadline if it keeps one.
    fn flush(&self, within: Duration);
    /// How many items it counts as refused or lost, where it can say so.
    fn lost(&self) -> Option<u64> {
        None
    }
}

/// What a subject records: rows of one kind stand together and are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Event,
    Transaction,
    Log,
    Span,
}

/// Who made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// surgetank, by its own calls.
    Own,
    /// Another SDK, with surgetank in place of what it sends with.
    DropIn,
    /// Another SDK as it comes.
    Peer,
    /// Something built to weigh a decision, or an SDK without anything behind it.
    Trial,
}

/// One subject, as a row of a table.
pub struct Entry {
    pub name: &'static str,
    pub shows: &'static str,
    pub kind: Kind,
    pub maker: Maker,
    /// Items between two flushes where none is to be refused: what its queue holds.
    pub burst: u32,
    pub count: fn(&Setting, Glass, u32, u32),
    /// The same of what is the program's own.
    pub made: fn(&Setting, Glass, u32),
    /// A limit refuses what goes to Sentry; OTLP's throttling only makes it wait.
    pub refuse: Option<fn(&Setting, Glass, u32)>,
    pub load: fn(&Setting, &Job),
}

impl Entry {
    const fn sentry<S: Subject>(
        kind: Kind,
        maker: Maker,
        name: &'static str,
        shows: &'static str,
        burst: u32,
    ) -> Self {
        Self {
            name,
            shows,
            kind,
            maker,
            burst,
            count: load::counted::<S>,
            made: load::made::<S>,
            refuse: Some(load::refused::<S>),
            load: load::run::<S>,
        }
    }

    const fn otlp<S: Subject>(
        kind: Kind,
        maker: Maker,
        name: &'static str,
        shows: &'static str,
        burst: u32,
    ) -> Self {
        Self {
            refuse: None,
            ..Self::sentry::<S>(kind, maker, name, shows, burst)
        }
    }
}

/// Everything, kind by kind.
#[rustfmt::skip]
pub const SUBJECTS: &[Entry] = &[
    Entry::sentry::<own::Event>(Kind::Event, Maker::Own, "own-event", "surgetank: error event, message and one tag", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::DropIn, sentry::Event>>(Kind::Event, Maker::DropIn, "dropin-event", "`sentry` + surgetank: error event", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::HandOver, sentry::Event>>(Kind::Event, Maker::Trial, "handover-event", "`sentry` + surgetank, serialized by a thread of its own: error event", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::Nothing, sentry::Event>>(Kind::Event, Maker::Trial, "bare-event", "`sentry` alone, transport that drops: error event", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::Stock, sentry::Event>>(Kind::Event, Maker::Peer, "sentry-event", "`sentry`: error event, message and one tag", 25),
    Entry::sentry::<own::Transaction>(Kind::Transaction, Maker::Own, "own-transaction", "surgetank: transaction with 10 spans", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::DropIn, sentry::Transaction>>(Kind::Transaction, Maker::DropIn, "dropin-transaction", "`sentry` + surgetank: transaction with 10 spans", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::HandOver, sentry::Transaction>>(Kind::Transaction, Maker::Trial, "handover-transaction", "`sentry` + surgetank, serialized by a thread of its own: transaction", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::Nothing, sentry::Transaction>>(Kind::Transaction, Maker::Trial, "bare-transaction", "`sentry` alone, transport that drops: transaction", 25),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::Stock, sentry::Transaction>>(Kind::Transaction, Maker::Peer, "sentry-transaction", "`sentry`: transaction with 10 spans", 25),
    Entry::sentry::<own::Log>(Kind::Log, Maker::Own, "own-log", "surgetank: Sentry log, 5 attributes", 500),
    Entry::otlp::<own::OtlpLog>(Kind::Log, Maker::Own, "own-otlp-log", "surgetank: OTLP log, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::DropIn, sentry::Log>>(Kind::Log, Maker::DropIn, "dropin-log", "`sentry` + surgetank: log, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Logs<otel::DropIn>>(Kind::Log, Maker::DropIn, "dropin-otlp-log", "`opentelemetry_sdk` + surgetank: log, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Logs<otel::Nothing>>(Kind::Log, Maker::Trial, "bare-otlp-log", "`opentelemetry_sdk` alone, processor that drops: log", 500),
    #[cfg(feature = "peers")]
    Entry::sentry::<sentry::Sdk<sentry::Stock, sentry::Log>>(Kind::Log, Maker::Peer, "sentry-log", "`sentry`: log, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Logs<otel::Batch>>(Kind::Log, Maker::Peer, "otel-log", "`opentelemetry_sdk`, batch processor: log, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Traced<otel::DropIn>>(Kind::Log, Maker::Trial, "traced-otlp-log", "`tracing`, `opentelemetry_sdk` + surgetank: log, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Traced<otel::Nothing>>(Kind::Log, Maker::Trial, "bare-traced-log", "`tracing`, `opentelemetry_sdk` alone, processor that drops: log", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Traced<otel::Batch>>(Kind::Log, Maker::Trial, "otel-traced-log", "`tracing`, `opentelemetry_sdk`, batch processor: log, 5 attributes", 500),
    Entry::otlp::<own::Span>(Kind::Span, Maker::Own, "own-span", "surgetank: OTLP span, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Spans<otel::DropIn>>(Kind::Span, Maker::DropIn, "dropin-span", "`opentelemetry_sdk` + surgetank: span, 5 attributes", 500),
    #[cfg(feature = "peers")]
    Entry::sentry::<otel::Spans<otel::ToSentry>>(Kind::Span, Maker::DropIn, "dropin-span-sentry", "`opentelemetry_sdk` + surgetank to Sentry, a transaction each: span, 5 attributes", 25),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Spans<otel::Nothing>>(Kind::Span, Maker::Trial, "bare-span", "`opentelemetry_sdk` alone, processor that drops: span", 500),
    #[cfg(feature = "peers")]
    Entry::otlp::<otel::Spans<otel::Batch>>(Kind::Span, Maker::Peer, "otel-span", "`opentelemetry_sdk`, batch processor: span, 5 attributes", 500),
];
