//! What a script says, as data, and how much it may say.

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::HostProbe;
use surgetank_core::item::{Category, DropReason, Priority, Signal};
use surgetank_core::response::{Failure, GrpcStatus, Response};
use surgetank_core::time::{Duration, UnixTime};
use surgetank_core::wire::envelope::ItemType;

/// How much a script may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes of its text.
    pub text_bytes: usize,
    /// Its statements.
    pub steps: usize,
    /// Lines of its trace.
    pub trace_lines: usize,
}

impl Bounds {
    /// A story somebody reads.
    pub const STORY: Self = Self {
        text_bytes: 32 * 1024,
        steps: 500,
        trace_lines: 4_000,
    };

    /// Traffic that was recorded.
    pub const RECORDED: Self = Self {
        text_bytes: 1024 * 1024,
        steps: 20_000,
        trace_lines: 100_000,
    };
}

/// Destinations of a script: what the storage of every host has room for.
pub const MAX_DESTINATIONS: usize = 4;

/// Requests that may be in flight: what the storage of every host has room for.
pub const MAX_REQUESTS: usize = 16;

/// Records of one statement.
pub const MAX_TIMES: u32 = 2_000;

/// Bytes that a payload is filled up with.
pub const MAX_FILL: usize = 16 * 1024;

/// Simulated time of a script.
pub const MAX_TIME: Duration = Duration::from_secs(48 * 3_600);

/// A script.
#[derive(Clone, Debug)]
pub struct Script {
    /// Settings of the engine.
    pub settings: Settings,
    /// Servers, opened in this order before the first step.
    pub destinations: Vec<Destination>,
    /// What happens.
    pub steps: Vec<Step>,
    /// Payloads that were recorded.
    pub payloads: Vec<Payload>,
    /// How much it may say.
    pub bounds: Bounds,
}

/// What a client sent, to the byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// How to read it.
    pub form: PayloadForm,
    /// The body of the request, without its content coding.
    pub bytes: Vec<u8>,
}

/// How a recorded payload is read. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PayloadForm {
    /// A Sentry envelope.
    Envelope,
    /// An OTLP request in protobuf.
    Request(Signal),
    /// An OTLP request in JSON.
    Json(Signal),
}

/// Settings of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Decides every jitter.
    pub seed: u64,
    /// Bytes of the queue.
    pub memory: usize,
    /// Policies.
    pub config: Config,
}

/// A server.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Line it stands on.
    pub line: usize,
    /// Its name in script and trace.
    pub name: String,
    /// Its settings.
    pub config: DestinationConfig,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line it stands on.
    pub line: usize,
    /// As it is written, without the comment.
    pub text: String,
    /// What it says.
    pub statement: Statement,
}

/// What can be said. Destinations are indexes into [`Script::destinations`].
#[derive(Clone, Debug)]
pub enum Statement {
    /// Time passes until that long after the start.
    At(Duration),
    /// That much time passes.
    Wait(Duration),
    /// The host's clock jumps by so many microseconds.
    Clock(i64),
    /// Records are offered.
    Record(Recording),
    /// Producers dropped something before the engine saw it.
    Lose {
        /// Whom to tell, if anybody.
        destination: Option<usize>,
        /// What.
        category: Category,
        /// Why.
        reason: DropReason,
        /// How much.
        quantity: u64,
    },
    /// From now on the server does this with every request that it gets; `None`: nothing.
    Serve {
        /// Which server.
        destination: usize,
        /// What it does, and after how long.
        behaviour: Option<(Answer, Duration)>,
    },
    /// One request is answered now.
    Answer {
        /// Which.
        which: Which,
        /// How.
        answer: Answer,
    },
    /// The host says how it is doing.
    Probe(HostProbe),
    /// One poll.
    Poll,
    /// Whether the host polls after each input and at each deadline, as it should.
    Polls(bool),
    /// A flush that is waited for, if at all, for so long.
    Flush(Option<Duration>),
    /// The end, with so much time to drain.
    Close(Duration),
    /// The state of everything is written into the trace.
    Status,
}

/// Records that are offered one after the other.
#[derive(Clone, Debug)]
pub struct Recording {
    /// For whom.
    pub destination: usize,
    /// What.
    pub kind: Kind,
    /// Lane, if not the usual one.
    pub priority: Option<Priority>,
    /// Trace.
    pub trace: Trace,
    /// Bytes that its payload is filled up with.
    pub fill: usize,
    /// Spans of a transaction; elements of a container or request.
    pub items: u32,
    /// How many of them.
    pub times: u32,
    /// Time from one to the next.
    pub every: Duration,
    /// The producer looks at the gate first.
    pub gated: bool,
}

/// What a record is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A Sentry envelope of these items.
    Envelope(Vec<ItemType>),
    /// A Sentry item of its own.
    Item(ItemType),
    /// A single log in the destination's protocol.
    Log,
    /// A single span in the destination's protocol.
    Span,
    /// A single metric in the destination's protocol.
    Metric,
    /// An OTLP request in protobuf.
    Request(Signal),
    /// An OTLP request in JSON.
    Json(Signal),
    /// The recorded payload with that place in [`Script::payloads`].
    Recorded(usize),
}

/// The trace of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trace {
    /// None.
    None,
    /// The one with that number.
    Numbered(u64),
    /// A new one for each record.
    New,
}

/// Which request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The one with that number, answered before or not.
    Numbered(usize),
    /// The first one that is still to be answered.
    Oldest,
    /// The last one that is still to be answered.
    Newest,
}

/// What comes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An answer.
    Response(ServerResponse),
    /// None.
    Failure(Failure),
}

/// A [`Response`] that owns its parts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ServerResponse {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `X-Sentry-Rate-Limits`, line by line.
    pub rate_limits: Vec<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Body.
    pub body: Vec<u8>,
    /// `grpc-status`.
    pub grpc: Option<u32>,
    /// `grpc-status-details-bin`.
    pub grpc_details: Option<String>,
}

impl ServerResponse {
    /// Calls `with` with the answer as the engine takes it.
    pub(super) fn lend<T>(&self, wall: UnixTime, with: impl FnOnce(Response<'_>) -> T) -> T {
        let lines: Vec<&[u8]> = self.rate_limits.iter().map(String::as_bytes).collect();
        with(Response {
            status: self.status,
            retry_after: self.retry_after.as_deref().map(str::as_bytes),
            rate_limits: &lines,
            content_type: self.content_type.as_deref().map(str::as_bytes),
            body: &self.body,
            grpc: self.grpc.map(|code| GrpcStatus {
                code: Some(code),
                message: None,
                details: self.grpc_details.as_deref().map(str::as_bytes),
            }),
            wall,
        })
    }
}
