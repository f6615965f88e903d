//! Data categories of Sentry's protocol, and sets of them.
//!
//! Names and numbers are those of Relay's `DataCategory`: limits come in them and losses are reported in them.

use super::Priority;

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

    /// The category that a server means by that exact, case-sensitive name. At most [`Category::COUNT`] comparisons.
    ///
    /// `user_report_v2`, the former name of `feedback`, is read but never written. `internal` is none: no server counts in
    /// it, and client reports are stopped by a limit on everything alone.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        if name == b"user_report_v2" {
            return Some(Self::Feedback);
        }
        Self::ALL
            .into_iter()
            .filter(|category| *category != Self::Internal)
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
