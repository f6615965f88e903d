//! What is recorded: categories, priorities, drop reasons, and the header that rides with opaque payload bytes.
//!
//! An item is bytes plus a [`Header`]. Limits, drops, sampling, batching and both wire formats need only the header;
//! the payload stays opaque, so a protocol change does not touch the decisions. Names follow the Sentry data
//! categories and client-report reasons (develop docs, "Client Reports"; Relay `DataCategory`).

/// Data category of Sentry's protocol: the unit in which limits are set and losses are counted.
///
/// Numbers equal Relay's, plus [`Category::Internal`]. Exhaustive on purpose: a new category is a protocol change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Category {
    /// `default`: anything without a category of its own, unknown item types included.
    Default = 0,
    /// `error`: error events.
    Error = 1,
    /// `transaction`: transactions.
    Transaction = 2,
    /// `security`: security reports (CSP and others).
    Security = 3,
    /// `attachment`: attachments, in bytes.
    Attachment = 4,
    /// `session`: release-health sessions.
    Session = 5,
    /// `profile`: profiles.
    Profile = 6,
    /// `replay`: session replays.
    Replay = 7,
    /// `transaction_processed`: server side only.
    TransactionProcessed = 8,
    /// `transaction_indexed`: server side only.
    TransactionIndexed = 9,
    /// `monitor`: check-ins.
    Monitor = 10,
    /// `profile_indexed`: server side only.
    ProfileIndexed = 11,
    /// `span`: spans.
    Span = 12,
    /// `monitor_seat`: server side only.
    MonitorSeat = 13,
    /// `feedback`: user feedback.
    Feedback = 14,
    /// `metric_bucket`: aggregated metrics between relays.
    MetricBucket = 15,
    /// `span_indexed`: server side only.
    SpanIndexed = 16,
    /// `profile_duration`: backend profiles, in milliseconds.
    ProfileDuration = 17,
    /// `profile_chunk`: backend continuous profile chunks.
    ProfileChunk = 18,
    /// `metric_second`: server side only.
    MetricSecond = 19,
    /// `replay_video`: server side only.
    ReplayVideo = 20,
    /// `uptime`: server side only.
    Uptime = 21,
    /// `attachment_item`: attachments, by count.
    AttachmentItem = 22,
    /// `log_item`: logs, by count.
    LogItem = 23,
    /// `log_byte`: logs, in bytes.
    LogByte = 24,
    /// `profile_duration_ui`: user-interface profiles, in milliseconds.
    ProfileDurationUi = 25,
    /// `profile_chunk_ui`: user-interface continuous profile chunks.
    ProfileChunkUi = 26,
    /// `seer_autofix`: server side only.
    SeerAutofix = 27,
    /// `seer_scanner`: server side only.
    SeerScanner = 28,
    /// `prevent_user`: server side only.
    PreventUser = 29,
    /// `prevent_review`: server side only.
    PreventReview = 30,
    /// `size_analysis`: server side only.
    SizeAnalysis = 31,
    /// `installable_build`: server side only.
    InstallableBuild = 32,
    /// `trace_metric`: application metrics, by count.
    TraceMetric = 33,
    /// `seer_user`: server side only.
    SeerUser = 34,
    /// `profile_backend`: backend profiles, by count.
    ProfileBackend = 35,
    /// `profile_ui`: user-interface profiles, by count.
    ProfileUi = 36,
    /// `trace_metric_byte`: application metrics, in bytes.
    TraceMetricByte = 37,
    /// `snapshot_image`: server side only.
    SnapshotImage = 38,
    /// `internal`: client reports; known to clients only, never reported upstream.
    Internal = 39,
}

impl Category {
    /// Number of categories.
    pub const COUNT: usize = 40;

    /// Every category, in numeric order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Default,
        Self::Error,
        Self::Transaction,
        Self::Security,
        Self::Attachment,
        Self::Session,
        Self::Profile,
        Self::Replay,
        Self::TransactionProcessed,
        Self::TransactionIndexed,
        Self::Monitor,
        Self::ProfileIndexed,
        Self::Span,
        Self::MonitorSeat,
        Self::Feedback,
        Self::MetricBucket,
        Self::SpanIndexed,
        Self::ProfileDuration,
        Self::ProfileChunk,
        Self::MetricSecond,
        Self::ReplayVideo,
        Self::Uptime,
        Self::AttachmentItem,
        Self::LogItem,
        Self::LogByte,
        Self::ProfileDurationUi,
        Self::ProfileChunkUi,
        Self::SeerAutofix,
        Self::SeerScanner,
        Self::PreventUser,
        Self::PreventReview,
        Self::SizeAnalysis,
        Self::InstallableBuild,
        Self::TraceMetric,
        Self::SeerUser,
        Self::ProfileBackend,
        Self::ProfileUi,
        Self::TraceMetricByte,
        Self::SnapshotImage,
        Self::Internal,
    ];

    /// The protocol's name, as in rate-limit headers and client reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Error => "error",
            Self::Transaction => "transaction",
            Self::Security => "security",
            Self::Attachment => "attachment",
            Self::Session => "session",
            Self::Profile => "profile",
            Self::Replay => "replay",
            Self::TransactionProcessed => "transaction_processed",
            Self::TransactionIndexed => "transaction_indexed",
            Self::Monitor => "monitor",
            Self::ProfileIndexed => "profile_indexed",
            Self::Span => "span",
            Self::MonitorSeat => "monitor_seat",
            Self::Feedback => "feedback",
            Self::MetricBucket => "metric_bucket",
            Self::SpanIndexed => "span_indexed",
            Self::ProfileDuration => "profile_duration",
            Self::ProfileChunk => "profile_chunk",
            Self::MetricSecond => "metric_second",
            Self::ReplayVideo => "replay_video",
            Self::Uptime => "uptime",
            Self::AttachmentItem => "attachment_item",
            Self::LogItem => "log_item",
            Self::LogByte => "log_byte",
            Self::ProfileDurationUi => "profile_duration_ui",
            Self::ProfileChunkUi => "profile_chunk_ui",
            Self::SeerAutofix => "seer_autofix",
            Self::SeerScanner => "seer_scanner",
            Self::PreventUser => "prevent_user",
            Self::PreventReview => "prevent_review",
            Self::SizeAnalysis => "size_analysis",
            Self::InstallableBuild => "installable_build",
            Self::TraceMetric => "trace_metric",
            Self::SeerUser => "seer_user",
            Self::ProfileBackend => "profile_backend",
            Self::ProfileUi => "profile_ui",
            Self::TraceMetricByte => "trace_metric_byte",
            Self::SnapshotImage => "snapshot_image",
            Self::Internal => "internal",
        }
    }

    /// The category of that exact, case-sensitive name. At most [`Category::COUNT`] comparisons.
    ///
    /// `user_report_v2`, the former name of `feedback`, is read but never written.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        if name == b"user_report_v2" {
            return Some(Self::Feedback);
        }
        Self::ALL
            .into_iter()
            .find(|category| category.as_str().as_bytes() == name)
    }

    /// The category with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Position in tables of length [`Category::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The lane records of this category wait in unless their header says otherwise.
    #[must_use]
    pub const fn priority(self) -> Priority {
        match self {
            Self::Error | Self::Feedback | Self::Security => Priority::Critical,
            Self::Session | Self::Monitor => Priority::High,
            Self::Transaction
            | Self::TransactionProcessed
            | Self::TransactionIndexed
            | Self::Span
            | Self::SpanIndexed
            | Self::Internal => Priority::Medium,
            Self::Replay | Self::ReplayVideo => Priority::Lowest,
            _ => Priority::Low,
        }
    }
}

/// A set of categories in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct CategorySet(u64);

impl CategorySet {
    /// No category.
    pub const EMPTY: Self = Self(0);
    /// Every category.
    pub const ALL: Self = Self((1 << Category::COUNT) - 1);

    /// The set of exactly `category`.
    #[must_use]
    pub const fn of(category: Category) -> Self {
        Self(1 << category as u8)
    }

    /// The set with these bits; bits beyond the known categories are cleared.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Bit *n* stands for the category with number *n*.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// This set and `category`.
    #[must_use]
    pub const fn with(self, category: Category) -> Self {
        Self(self.0 | Self::of(category).0)
    }

    /// Categories in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Categories in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Categories in `self` but not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True when `category` is in the set.
    #[must_use]
    pub const fn contains(self, category: Category) -> bool {
        self.intersects(Self::of(category))
    }

    /// True when the sets share a category.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True when nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The categories in numeric order.
    pub fn iter(self) -> impl Iterator<Item = Category> {
        Category::ALL
            .into_iter()
            .filter(move |category| self.contains(*category))
    }
}

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

/// Why a record was not delivered.
///
/// Exhaustive. [`DropReason::as_str`] is the local name; [`DropReason::client_report_name`] is what may be said
/// upstream (client-report specification, "Discard reasons"), which has no word for some of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// `queue_overflow`: the queue or the intake was full, or the record made room for a more important one.
    QueueOverflow = 0,
    /// `cache_overflow`: the offline store was full.
    CacheOverflow = 1,
    /// `buffer_overflow`: another bounded buffer was full.
    BufferOverflow = 2,
    /// `ratelimit_backoff`: a rate limit of the server covered it before it was sent.
    RatelimitBackoff = 3,
    /// `network_error`: no answer came and retrying was over.
    NetworkError = 4,
    /// `send_error`: the server refused it for good.
    SendError = 5,
    /// `rejected`: the server accepted the request but rejected this part (OTLP partial success).
    Rejected = 6,
    /// `server_rate_limited`: answered with 429: the server counted it, so it is never reported upstream.
    ServerRateLimited = 7,
    /// `internal_sdk_error`: our own fault.
    InternalSdkError = 8,
    /// `sample_rate`: sampled out by the configured rate.
    SampleRate = 9,
    /// `backpressure`: sampled out only because of the downsample factor.
    Backpressure = 10,
    /// `before_send`: refused by a callback of the application.
    BeforeSend = 11,
    /// `event_processor`: refused by an event processor.
    EventProcessor = 12,
    /// `insufficient_data`: lacked data that the protocol requires.
    InsufficientData = 13,
    /// `ignored`: matched an ignore rule.
    Ignored = 14,
    /// `invalid`: malformed.
    Invalid = 15,
    /// `no_parent_span`: a span without the parent it needs.
    NoParentSpan = 16,
    /// `too_large`: larger than a limit.
    TooLarge = 17,
    /// `closed`: recorded after close, or still queued when the deadline of close passed.
    Closed = 18,
    /// `reentrant`: recorded from inside the sending itself.
    Reentrant = 19,
}

impl DropReason {
    /// Number of reasons.
    pub const COUNT: usize = 20;

    /// Every reason, in numeric order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::QueueOverflow,
        Self::CacheOverflow,
        Self::BufferOverflow,
        Self::RatelimitBackoff,
        Self::NetworkError,
        Self::SendError,
        Self::Rejected,
        Self::ServerRateLimited,
        Self::InternalSdkError,
        Self::SampleRate,
        Self::Backpressure,
        Self::BeforeSend,
        Self::EventProcessor,
        Self::InsufficientData,
        Self::Ignored,
        Self::Invalid,
        Self::NoParentSpan,
        Self::TooLarge,
        Self::Closed,
        Self::Reentrant,
    ];

    /// Local name, for status and diagnostics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueOverflow => "queue_overflow",
            Self::CacheOverflow => "cache_overflow",
            Self::BufferOverflow => "buffer_overflow",
            Self::RatelimitBackoff => "ratelimit_backoff",
            Self::NetworkError => "network_error",
            Self::SendError => "send_error",
            Self::Rejected => "rejected",
            Self::ServerRateLimited => "server_rate_limited",
            Self::InternalSdkError => "internal_sdk_error",
            Self::SampleRate => "sample_rate",
            Self::Backpressure => "backpressure",
            Self::BeforeSend => "before_send",
            Self::EventProcessor => "event_processor",
            Self::InsufficientData => "insufficient_data",
            Self::Ignored => "ignored",
            Self::Invalid => "invalid",
            Self::NoParentSpan => "no_parent_span",
            Self::TooLarge => "too_large",
            Self::Closed => "closed",
            Self::Reentrant => "reentrant",
        }
    }

    /// The word a client report uses; `None` when the loss must not be reported upstream.
    #[must_use]
    pub const fn client_report_name(self) -> Option<&'static str> {
        match self {
            Self::Rejected => Some("send_error"),
            Self::ServerRateLimited => None,
            Self::TooLarge => Some("invalid"),
            Self::Closed => Some("queue_overflow"),
            Self::Reentrant => Some("internal_sdk_error"),
            other => Some(other.as_str()),
        }
    }

    /// The reason of that exact client-report name.
    #[must_use]
    pub fn from_client_report_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| {
            reason.as_str().as_bytes() == name && reason.client_report_name() == Some(reason.as_str())
        })
    }

    /// Position in tables of length [`DropReason::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What became of a record call. Recording never fails otherwise and never blocks.
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
    /// (see [`BodyContext::origins`](crate::request::BodyContext::origins)). Other forms have 0.
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
