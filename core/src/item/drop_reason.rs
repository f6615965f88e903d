//! Why a record was not delivered, in the words of Sentry's client reports where they have one (develop docs, "Client
//! Reports").

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

    /// The reason that this one is reported upstream as; `None` when the loss must not be reported.
    #[must_use]
    pub const fn reported_as(self) -> Option<Self> {
        match self {
            Self::Rejected => Some(Self::SendError),
            Self::ServerRateLimited => None,
            Self::TooLarge => Some(Self::Invalid),
            Self::Closed => Some(Self::QueueOverflow),
            Self::Reentrant => Some(Self::InternalSdkError),
            other => Some(other),
        }
    }

    /// The word a client report uses; `None` when the loss must not be reported upstream.
    #[must_use]
    pub const fn client_report_name(self) -> Option<&'static str> {
        match self.reported_as() {
            Some(reason) => Some(reason.as_str()),
            None => None,
        }
    }

    /// The reason of that exact client-report name.
    #[must_use]
    pub fn from_client_report_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str().as_bytes() == name && reason.reported_as() == Some(*reason))
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
