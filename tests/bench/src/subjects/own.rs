//! surgetank's own calls, with the items that the peers are given, too.

use std::hint::black_box;
use std::time::Duration;

use surgetank::otlp::{AnyValue, KeyValue, LogRecord, Span as OtlpSpan, SpanId, TraceId};
use surgetank::sentry::{
    Event as SentryEvent, Log as SentryLog, Span as ChildSpan, SpanStatus, TraceContext,
    Transaction as SentryTransaction,
};
use surgetank::{Client, Outcome, UnixTime};

use super::{Setting, Subject};

fn attributes() -> [KeyValue<'static>; 5] {
    [
        KeyValue::new("http.request.method", AnyValue::String("GET")),
        KeyValue::new("http.route", AnyValue::String("/api/items/{id}")),
        KeyValue::new("http.response.status_code", AnyValue::Int(200)),
        KeyValue::new("server.address", AnyValue::String("shop.example.com")),
        KeyValue::new("duration_ms", AnyValue::Double(12.5)),
    ]
}

fn client(setting: &Setting) -> Client {
    let client = setting
        .builder()
        .sentry_dsn(&setting.dsn())
        .otlp_endpoint(&format!("http://{}", setting.upstream))
        .build()
        .expect("the settings are right");
    assert!(client.start(), "the worker starts");
    client
}

/// Everything that was recorded and dropped.
pub(super) fn lost(client: &Client) -> u64 {
    let status = client.status();
    status.totals.reasons().iter().map(|loss| loss.quantity).sum()
}

/// Where the identifiers of an item come from.
trait Ids {
    fn trace_id(&self) -> TraceId;
    fn span_id(&self) -> SpanId;
}

/// Made by the client, which is part of recording: peers do it in their calls.
impl Ids for Client {
    #[inline]
    fn trace_id(&self) -> TraceId {
        self.new_trace_id()
    }

    #[inline]
    fn span_id(&self) -> SpanId {
        self.new_span_id()
    }
}

/// There already.
struct Known(TraceId, SpanId);

impl Known {
    fn new() -> Self {
        let ids = (TraceId::new([7; 16]), SpanId::new([7; 8]));
        black_box(Self(ids.0.expect("not zero"), ids.1.expect("not zero")))
    }
}

impl Ids for Known {
    #[inline]
    fn trace_id(&self) -> TraceId {
        self.0
    }

    #[inline]
    fn span_id(&self) -> SpanId {
        self.1
    }
}

macro_rules! subjects {
    ($($(#[$doc:meta])* $name:ident: $make:ident, $call:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name(Client, Known);

        impl Subject for $name {
            fn start(setting: &Setting) -> Self {
                Self(client(setting), Known::new())
            }

            #[inline]
            fn record(&self) {
                let client = &self.0;
                let _ = black_box($make(client, |item| $call(client, black_box(item))));
            }

            #[inline]
            fn make(&self) {
                let _ = black_box($make(&self.1, |item| {
                    black_box(item);
                    Outcome::Queued
                }));
            }

            fn flush(&self, within: Duration) {
                let _ = self.0.flush(within);
            }

            fn lost(&self) -> Option<u64> {
                Some(lost(&self.0))
            }
        }
    )*};
}

subjects! {
    /// An error event.
    Event: event, |client: &Client, event| client.event(event).outcome;
    /// A transaction with ten spans.
    Transaction: transaction, |client: &Client, transaction| client.transaction(transaction).outcome;
    /// A log for Sentry.
    Log: log, Client::log;
    /// A log for OTLP.
    OtlpLog: otlp_log, Client::otlp_log;
    /// A span for OTLP.
    Span: span, Client::otlp_span;
}

#[inline]
fn event<R>(_: &impl Ids, take: impl FnOnce(&SentryEvent<'_>) -> R) -> R {
    take(&SentryEvent {
        message: "the disk is full",
        tags: &[("disk", "sda1")],
        ..SentryEvent::default()
    })
}

#[inline]
fn log<R>(_: &impl Ids, take: impl FnOnce(&SentryLog<'_>) -> R) -> R {
    take(&SentryLog {
        body: "request served",
        attributes: &attributes(),
        ..SentryLog::default()
    })
}

#[inline]
fn otlp_log<R>(_: &impl Ids, take: impl FnOnce(&LogRecord<'_>) -> R) -> R {
    take(&LogRecord {
        body: AnyValue::String("request served"),
        attributes: &attributes(),
        ..LogRecord::default()
    })
}

#[inline]
fn span<R>(ids: &impl Ids, take: impl FnOnce(&OtlpSpan<'_>) -> R) -> R {
    take(&OtlpSpan {
        attributes: &attributes(),
        ..OtlpSpan::new(ids.trace_id(), ids.span_id(), "GET /api/items/{id}")
    })
}

#[inline]
fn transaction<R>(ids: &impl Ids, take: impl FnOnce(&SentryTransaction<'_>) -> R) -> R {
    let trace = TraceContext {
        trace_id: ids.trace_id(),
        span_id: ids.span_id(),
        parent_span_id: None,
        op: "http.server",
    };
    let spans: [ChildSpan<'_>; 10] = std::array::from_fn(|_| ChildSpan {
        span_id: ids.span_id(),
        parent_span_id: trace.span_id,
        op: "db",
        description: "SELECT * FROM items WHERE id = ?",
        status: Some(SpanStatus::Ok),
        start: UnixTime::from_secs(1_800_000_000),
        end: UnixTime::from_secs(1_800_000_001),
        data: &[],
    });
    take(&SentryTransaction {
        name: "GET /api/items/{id}",
        source: "route",
        trace,
        status: SpanStatus::Ok,
        start: UnixTime::from_secs(1_800_000_000),
        end: UnixTime::from_secs(1_800_000_001),
        spans: black_box(&spans),
        data: &[],
        tags: &[],
        contexts: &[],
        measurements: &[],
        sampled: Some(true),
        dynamic_sampling: &[],
    })
}
