//! Item types and what they mean for accounting and limits.
//!
//! Names and rules follow the develop docs ("Envelope Items", "Rate Limiting", "Client Reports") and, where those are
//! silent, Relay.

use crate::item::{Category, CategorySet};

/// Type of an envelope item.
///
/// Exhaustive on purpose; a type that is not listed reads as [`ItemType::Unknown`] and is passed on untouched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ItemType {
    /// `event`: an error event.
    Event,
    /// `transaction`.
    Transaction,
    /// `span`: a container of spans, or one span of the first version.
    Span,
    /// `attachment`.
    Attachment,
    /// `session`: one session update.
    Session,
    /// `sessions`: aggregated sessions.
    Sessions,
    /// `log`: a container of logs.
    Log,
    /// `trace_metric`: a container of application metrics.
    TraceMetric,
    /// `profile`: the profile of a transaction.
    Profile,
    /// `profile_chunk`: a piece of a continuous profile.
    ProfileChunk,
    /// `profile_chunk_ui`: the same from some mobile clients.
    ProfileChunkUi,
    /// `replay_event`.
    ReplayEvent,
    /// `replay_recording`.
    ReplayRecording,
    /// `replay_video`.
    ReplayVideo,
    /// `check_in`: a cron monitor's check-in.
    CheckIn,
    /// `feedback`: user feedback as an event.
    Feedback,
    /// `user_report`: user feedback on an event, the older form.
    UserReport,
    /// `security`: a security report as an event.
    Security,
    /// `raw_security`: a security report as the browser sent it.
    RawSecurity,
    /// `unreal_report`: a crash report of the Unreal engine.
    UnrealReport,
    /// `form_data`: fields sent along with a crash report.
    FormData,
    /// `metric_buckets`: aggregated metrics between relays.
    MetricBuckets,
    /// `client_report`: what a client lost.
    ClientReport,
    /// Anything else.
    Unknown,
}

impl ItemType {
    /// Every type with a name.
    pub const ALL: [Self; 23] = [
        Self::Event,
        Self::Transaction,
        Self::Span,
        Self::Attachment,
        Self::Session,
        Self::Sessions,
        Self::Log,
        Self::TraceMetric,
        Self::Profile,
        Self::ProfileChunk,
        Self::ProfileChunkUi,
        Self::ReplayEvent,
        Self::ReplayRecording,
        Self::ReplayVideo,
        Self::CheckIn,
        Self::Feedback,
        Self::UserReport,
        Self::Security,
        Self::RawSecurity,
        Self::UnrealReport,
        Self::FormData,
        Self::MetricBuckets,
        Self::ClientReport,
    ];

    /// The name in the item header; empty for [`ItemType::Unknown`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Transaction => "transaction",
            Self::Span => "span",
            Self::Attachment => "attachment",
            Self::Session => "session",
            Self::Sessions => "sessions",
            Self::Log => "log",
            Self::TraceMetric => "trace_metric",
            Self::Profile => "profile",
            Self::ProfileChunk => "profile_chunk",
            Self::ProfileChunkUi => "profile_chunk_ui",
            Self::ReplayEvent => "replay_event",
            Self::ReplayRecording => "replay_recording",
            Self::ReplayVideo => "replay_video",
            Self::CheckIn => "check_in",
            Self::Feedback => "feedback",
            Self::UserReport => "user_report",
            Self::Security => "security",
            Self::RawSecurity => "raw_security",
            Self::UnrealReport => "unreal_report",
            Self::FormData => "form_data",
            Self::MetricBuckets => "metric_buckets",
            Self::ClientReport => "client_report",
            Self::Unknown => "",
        }
    }

    /// The type of that exact name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|item_type| item_type.as_str().as_bytes() == name)
            .unwrap_or(Self::Unknown)
    }

    /// The category it counts in, and the second one that goes with it. The platform of a profile decides its second
    /// one, and is not known here.
    #[must_use]
    pub const fn counted_in(self) -> (Category, Option<Category>) {
        match self {
            Self::Event | Self::UnrealReport => (Category::Error, None),
            Self::Transaction => (Category::Transaction, Some(Category::Span)),
            Self::Span => (Category::Span, None),
            Self::Attachment => (Category::Attachment, Some(Category::AttachmentItem)),
            Self::Session | Self::Sessions => (Category::Session, None),
            Self::Log => (Category::LogItem, Some(Category::LogByte)),
            Self::TraceMetric => (Category::TraceMetric, Some(Category::TraceMetricByte)),
            Self::Profile => (Category::Profile, None),
            // The second category limits it, but counts milliseconds that only the server works out.
            Self::ProfileChunk => (Category::ProfileChunk, Some(Category::ProfileDuration)),
            Self::ProfileChunkUi => (Category::ProfileChunkUi, Some(Category::ProfileDurationUi)),
            Self::ReplayEvent | Self::ReplayRecording | Self::ReplayVideo => (Category::Replay, None),
            Self::CheckIn => (Category::Monitor, None),
            Self::Feedback | Self::UserReport => (Category::Feedback, None),
            Self::Security | Self::RawSecurity => (Category::Security, None),
            Self::MetricBuckets => (Category::MetricBucket, None),
            Self::ClientReport => (Category::Internal, None),
            Self::FormData | Self::Unknown => (Category::Default, None),
        }
    }

    /// The categories of [`ItemType::counted_in`], as a set: a limit on any of them covers the item.
    #[must_use]
    pub const fn categories(self) -> CategorySet {
        let (first, second) = self.counted_in();
        let set = CategorySet::of(first);
        match second {
            Some(second) => set.with(second),
            None => set,
        }
    }

    /// True for types that are an event of their own. What decides about attachments is their header:
    /// [`ItemHeader::creates_event`](super::ItemHeader::creates_event).
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(
            self,
            Self::Event
                | Self::Transaction
                | Self::Security
                | Self::RawSecurity
                | Self::UnrealReport
                | Self::Feedback
        )
    }

    /// True for types that are worth nothing without the event of their envelope: when that is left out, so are they.
    #[must_use]
    pub const fn requires_event(self) -> bool {
        self.is_event()
            || matches!(
                self,
                Self::Attachment | Self::FormData | Self::UserReport | Self::ReplayEvent | Self::Profile
            )
    }

    /// True for types whose header may say how many elements the payload holds.
    #[must_use]
    pub const fn may_be_container(self) -> bool {
        !self.requires_event() && !matches!(self, Self::ReplayRecording | Self::ReplayVideo)
            || matches!(self, Self::Profile)
    }
}
