//! What is recorded: categories, priorities, drop reasons, and the header that rides with opaque payload bytes.
//!
//! An item is bytes plus a [`Header`]. Limits, drops, sampling, batching and both wire formats need only the header;
//! the payload stays opaque, so a protocol change does not touch the decisions. Names follow the Sentry data
//! categories and client-report reasons (develop docs, "Client Reports"; Relay `DataCategory`).

mod category;
mod drop_reason;

pub use category::{Category, CategorySet};
pub use drop_reason::DropReason;

/// The five lanes. Weights 5:4:3:2:1; under pressure the lowest goes first.
///
/// Exhaustive. Follows the priorities of Sentry's telemetry-processor specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Priority {
    /// Errors, feedback.
    Critical = 0,
    /// Sessions, check-ins.
    High = 1,
    /// Transactions, spans, client reports.
    Medium = 2,
    /// Logs, metrics, profiles, attachments of their own.
    Low = 3,
    /// Replays.
    Lowest = 4,
}

impl Priority {
    /// Number of lanes.
    pub const COUNT: usize = 5;

    /// Most important first.
    pub const ALL: [Self; Self::COUNT] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Lowest];

    /// Position in tables of length [`Priority::COUNT`]; 0 is the most important.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Share of the weighted round robin.
    #[must_use]
    pub const fn weight(self) -> u32 {
        5 - self as u32
    }

    /// The lane at `index`.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}
/// What became of a record call. Recording never fails otherwise and never blocks.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a dropped record is counted already, but the caller may want to know"]
pub enum Outcome {
    /// Accepted.
    Queued,
    /// Dropped and counted under this reason.
    Dropped(DropReason),
}

/// What the payload bytes are, and so how they are framed into a request.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Form {
    /// A whole Sentry envelope, ready made: headers line and items. Goes out as one request; `sent_at` is rewritten,
    /// limited items are left out, everything else is byte for byte the same.
    Envelope = 0,
    /// One whole envelope item (item headers line, LF, payload). Shares an envelope with others of its category.
    Item = 1,
    /// One JSON element of a Sentry item container (a log, a span v2, a trace metric).
    Element = 2,
    /// One protobuf message to stand inside a scope: `Span`, `LogRecord` or `Metric` of OTLP.
    OtlpRecord = 3,
    /// A whole protobuf `Export*ServiceRequest`. Requests of one signal are merged by concatenation.
    OtlpRequest = 4,
    /// A whole OTLP/JSON export request. Goes out alone, unchanged.
    OtlpJson = 5,
}

impl Form {
    /// The form with that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Envelope,
            1 => Self::Item,
            2 => Self::Element,
            3 => Self::OtlpRecord,
            4 => Self::OtlpRequest,
            5 => Self::OtlpJson,
            _ => return None,
        })
    }
}

/// OTLP signal; each has its own endpoint and its own request message.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Signal {
    /// `/v1/traces`.
    Traces = 0,
    /// `/v1/logs`.
    Logs = 1,
    /// `/v1/metrics`.
    Metrics = 2,
}

impl Signal {
    /// The signal that carries items of `category`.
    #[must_use]
    pub const fn of(category: Category) -> Self {
        match category {
            Category::LogItem | Category::LogByte => Self::Logs,
            Category::TraceMetric | Category::TraceMetricByte | Category::MetricBucket => Self::Metrics,
            _ => Self::Traces,
        }
    }

    /// Last segment of the path: `traces`, `logs`, `metrics`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// Which server a record is for: an index into the engine's bounded table, and the generation of that entry.
///
/// The generation keeps a record that was still in the intake when its entry was given to another server from being
/// sent there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct DestinationId(u32);

impl DestinationId {
    /// Entry `index`, generation `generation` (24 bits are kept).
    #[must_use]
    pub const fn new(index: u8, generation: u32) -> Self {
        Self((generation << 8) | index as u32)
    }

    /// Position in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 & 0xFF) as usize
    }

    /// How often the entry had been given to another server before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 >> 8
    }

    /// All of it in one word.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The inverse of [`DestinationId::bits`].
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// The part of a trace id that decisions use: its low 64 bits. Zero means "no trace".
///
/// The low 56 bits are the randomness of W3C Trace Context Level 2, so sampling by this key agrees with `ot=th`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct TraceKey(pub u64);

impl TraceKey {
    /// The record belongs to no trace.
    pub const NONE: Self = Self(0);

    /// The key of a 16-byte trace id.
    #[must_use]
    pub const fn of(trace_id: &[u8; 16]) -> Self {
        let [.., a, b, c, d, e, f, g, h] = *trace_id;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// False for [`TraceKey::NONE`].
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// An amount in one category; the unit is the category's (count, bytes or milliseconds).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// What is counted.
    pub category: Category,
    /// How much of it.
    pub quantity: u32,
}

/// Everything the engine knows about a record without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The record's own category and quantity, counted when it is recorded, delivered or dropped.
    pub count: Count,
    /// A second count that goes with it: the spans of a transaction, the bytes of a log, the count of attachments.
    pub also: Option<Count>,
    /// Every category in the payload. Larger than `count` and `also` only for a mixed envelope, whose counts are then
    /// read from its item headers.
    pub categories: CategorySet,
    /// Lane.
    pub priority: Priority,
    /// What the bytes are.
    pub form: Form,
    /// For whom.
    pub destination: DestinationId,
    /// Which trace, for grouping and whole-trace eviction.
    pub trace: TraceKey,
    /// Where an OTLP record comes from: 0 for its destination's own resource and scope, *n* for the host's entry *n* - 1
    /// (see [`BodyContext::origins`](crate::request::BodyContext::origins)). Other forms have 0 when they reach the
    /// engine; before, a host may mark with it what is no record yet.
    pub origin: u8,
}

impl Header {
    /// A record of one `quantity` of `category` in the category's usual lane, without a trace.
    #[must_use]
    pub const fn new(destination: DestinationId, form: Form, category: Category, quantity: u32) -> Self {
        Self {
            count: Count { category, quantity },
            also: None,
            categories: CategorySet::of(category),
            priority: category.priority(),
            form,
            destination,
            trace: TraceKey::NONE,
            origin: 0,
        }
    }

    /// The same with a second count.
    #[must_use]
    pub const fn also(mut self, category: Category, quantity: u32) -> Self {
        self.also = Some(Count { category, quantity });
        self.categories = self.categories.with(category);
        self
    }

    /// The same within a trace.
    #[must_use]
    pub const fn in_trace(mut self, trace: TraceKey) -> Self {
        self.trace = trace;
        self
    }

    /// The same from another resource and scope than the destination's own.
    #[must_use]
    pub const fn from_origin(mut self, origin: u8) -> Self {
        self.origin = origin;
        self
    }

    /// True when the payload holds more categories than `count` and `also` name.
    #[must_use]
    pub const fn is_mixed(&self) -> bool {
        let mut named = CategorySet::of(self.count.category);
        if let Some(also) = self.also {
            named = named.with(also.category);
        }
        !self.categories.without(named).is_empty()
    }
}

/// A record as it enters the engine.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What the engine decides by.
    pub header: Header,
    /// What is delivered; never read for a decision unless the header is mixed.
    pub payload: &'a [u8],
}
