//! Transactions with their spans ("Transaction Payloads", "Span Interface").

use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::SpanId;
use surgetank_core::wire::otlp::protobuf::Out;

use super::event::{write_other_contexts, write_trace};
use super::{Enveloped, Item, Map, SentryContext, TraceContext, map, tags, text};
use crate::ids::EventId;
use crate::json::{Encode, Front, Json, name, quoted_hex_16};

/// How a span ended.
///
/// Exhaustive: the statuses that Sentry takes from gRPC's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[allow(
    missing_docs,
    reason = "the names are gRPC's status codes and mean what they mean there"
)]
pub enum SpanStatus {
    #[default]
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    InternalError,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl SpanStatus {
    /// Its name in payloads.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid_argument",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::ResourceExhausted => "resource_exhausted",
            Self::FailedPrecondition => "failed_precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out_of_range",
            Self::Unimplemented => "unimplemented",
            Self::InternalError => "internal_error",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// A transaction: the root span of one service's part of a trace, with the spans below it.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// Name, for grouping: a route, a task.
    pub name: &'a str,
    /// Where the name comes from (`custom`, `url`, `route`, `view`, `component`, `task`); `custom` if empty.
    pub source: &'a str,
    /// Its place in the trace; `op` is what kind of work it was.
    pub trace: TraceContext<'a>,
    /// How it ended.
    pub status: SpanStatus,
    /// When it began.
    pub start: UnixTime,
    /// When it ended.
    pub end: UnixTime,
    /// Its child spans.
    pub spans: &'a [Span<'a>],
    /// Facts about the root span.
    pub data: Map<'a>,
    /// Short, searchable facts.
    pub tags: &'a [(&'a str, &'a str)],
    /// Named groups of facts.
    pub contexts: &'a [(&'a str, Map<'a>)],
    /// Named measurements.
    pub measurements: &'a [Measurement<'a>],
    /// Whether the trace is kept, if that was decided when it began ([`Client::sample_root`](crate::Client::sample_root)).
    /// If absent, the client decides now about a transaction without a parent, and keeps one with a parent.
    pub sampled: Option<bool>,
    /// The dynamic sampling context that came with the request, as members of `baggage` without their `sentry-`
    /// prefix. Empty when the trace began here: then the client writes its own.
    pub dynamic_sampling: &'a [(&'a str, &'a str)],
}

/// A child span.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Its id.
    pub span_id: SpanId,
    /// The span it is below.
    pub parent_span_id: SpanId,
    /// What kind of work it is (`db`, `http.client`).
    pub op: &'a str,
    /// The work itself.
    pub description: &'a str,
    /// How it ended; unknown if absent.
    pub status: Option<SpanStatus>,
    /// When it began.
    pub start: UnixTime,
    /// When it ended.
    pub end: UnixTime,
    /// Facts.
    pub data: Map<'a>,
}

/// A number that Sentry aggregates over transactions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measurement<'a> {
    /// Name.
    pub name: &'a str,
    /// Value.
    pub value: f64,
    /// Unit (`millisecond`, `byte`, `none`...).
    pub unit: &'a str,
}

/// A transaction with what its client adds.
#[derive(Clone, Copy)]
pub(crate) struct TransactionParts<'a> {
    transaction: &'a Transaction<'a>,
    id: EventId,
    context: &'a SentryContext,
}

pub(crate) struct Header<'a>(TransactionParts<'a>);

pub(crate) struct Payload<'a>(TransactionParts<'a>);

/// A transaction as an envelope of its own.
pub(crate) fn encoded_transaction<'a>(
    transaction: &'a Transaction<'a>,
    id: EventId,
    context: &'a SentryContext,
) -> Enveloped<Header<'a>, Payload<'a>> {
    let parts = TransactionParts {
        transaction,
        id,
        context,
    };
    Enveloped {
        header: Header(parts),
        item: Item::new("transaction", Payload(parts)),
    }
}

/// What the constant parts of a transaction's envelope take at most, rounded up, and what passes through in between.
const CONSTANT_BYTES: usize = 1024;

/// What the constant parts of a span take at most, rounded up.
const SPAN_BYTES: usize = 256;

impl Encode for Header<'_> {
    /// For the trace's own sampling context.
    fn likely_len(&self) -> Option<usize> {
        let TransactionParts {
            transaction, context, ..
        } = self.0;
        let len = transaction.name.len() + context.trace.len() + context.sdk.len();
        transaction.dynamic_sampling.is_empty().then_some(len)
    }

    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let TransactionParts {
            transaction,
            id,
            context,
        } = self.0;
        let mut header = Json::new(out);
        header.begin_object();
        header.name(name!("event_id"));
        header.hex_16(id.as_bytes());
        header.members(&context.sdk);
        header.name(name!("trace"));
        header.begin_object();
        if transaction.dynamic_sampling.is_empty() {
            header.name(name!("trace_id"));
            header.hex_16(&transaction.trace.trace_id.bytes());
            header.members(&context.trace);
            text(&mut header, name!("transaction"), transaction.name);
            text(&mut header, name!("sampled"), "true");
        } else {
            for (key, value) in transaction.dynamic_sampling {
                header.key(key);
                header.str(value);
            }
        }
        header.end_object();
        header.end_object();
    }
}

impl Encode for Payload<'_> {
    /// For texts without escapes, and what has no maps.
    fn likely_len(&self) -> Option<usize> {
        let TransactionParts {
            transaction, context, ..
        } = self.0;
        let mut plain = transaction.data.is_empty()
            && transaction.tags.is_empty()
            && transaction.contexts.is_empty()
            && transaction.measurements.is_empty();
        let mut len = CONSTANT_BYTES + context.event.len();
        len += transaction.name.len() + transaction.source.len() + transaction.trace.op.len();
        for span in transaction.spans {
            len += SPAN_BYTES + span.op.len() + span.description.len();
            plain &= span.data.is_empty();
        }
        plain.then_some(len)
    }

    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let TransactionParts {
            transaction,
            id,
            context,
        } = self.0;
        let mut json = Json::new(out);
        json.begin_object();
        json.plain_member(name!("type"), b"transaction");
        json.name(name!("event_id"));
        json.hex_16(id.as_bytes());
        text(&mut json, name!("transaction"), transaction.name);
        json.name(name!("transaction_info"));
        json.begin_object();
        let source = transaction.source;
        text(
            &mut json,
            name!("source"),
            if source.is_empty() { "custom" } else { source },
        );
        json.end_object();
        // Spans mostly lie within the same seconds, and all in one trace: what is the same is made once.
        let mut last = Front::default();
        json.name(name!("start_timestamp"));
        json.seconds_near(transaction.start.as_micros(), &mut last);
        json.name(name!("timestamp"));
        json.seconds_near(transaction.end.as_micros(), &mut last);
        json.name(name!("contexts"));
        json.begin_object();
        json.name(name!("trace"));
        json.begin_object();
        write_trace(&mut json, &transaction.trace);
        text(&mut json, name!("status"), transaction.status.as_str());
        map(&mut json, name!("data"), transaction.data);
        json.end_object();
        write_other_contexts(&mut json, transaction.contexts, true);
        json.end_object();
        json.name(name!("spans"));
        json.begin_array();
        let trace_id = quoted_hex_16(&transaction.trace.trace_id.bytes());
        for span in transaction.spans {
            write_span(&mut json, span, &trace_id, &mut last);
        }
        json.end_array();
        tags(&mut json, transaction.tags);
        if !transaction.measurements.is_empty() {
            json.name(name!("measurements"));
            json.begin_object();
            for measurement in transaction.measurements {
                json.key(measurement.name);
                json.begin_object();
                json.name(name!("value"));
                json.f64(measurement.value);
                text(&mut json, name!("unit"), measurement.unit);
                json.end_object();
            }
            json.end_object();
        }
        json.members(&context.event);
        json.end_object();
    }
}

#[inline(always)]
fn write_span<O: Out>(json: &mut Json<'_, O>, span: &Span<'_>, trace_id: &[u8; 34], last: &mut Front) {
    json.begin_object();
    json.name(name!("trace_id"));
    json.quoted_hex_16(trace_id);
    json.name(name!("span_id"));
    json.hex_8(span.span_id.bytes());
    json.name(name!("parent_span_id"));
    json.hex_8(span.parent_span_id.bytes());
    text(json, name!("op"), span.op);
    text(json, name!("description"), span.description);
    if let Some(status) = span.status {
        json.plain_member(name!("status"), status.as_str().as_bytes());
    }
    json.name(name!("start_timestamp"));
    json.seconds_near(span.start.as_micros(), last);
    json.name(name!("timestamp"));
    json.seconds_near(span.end.as_micros(), last);
    map(json, name!("data"), span.data);
    json.end_object();
}
