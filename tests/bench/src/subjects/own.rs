//! surgetank's own calls, with the items that the peers are given, too.

use std::hint::black_box;
use std::time::Duration;

use surgetank::otlp::{AnyValue, KeyValue, LogRecord, Span as OtlpSpan};
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

macro_rules! subjects {
    ($($(#[$doc:meta])* $name:ident: $call:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name(Client);

        impl Subject for $name {
            fn start(setting: &Setting) -> Self {
                Self(client(setting))
            }

            #[inline]
            fn record(&self) {
                let _ = black_box($call(&self.0));
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
    Event: event;
    /// A transaction with ten spans.
    Transaction: transaction;
    /// A log for Sentry.
    Log: log;
    /// A log for OTLP.
    OtlpLog: otlp_log;
    /// A span for OTLP.
    Span: span;
}

#[inline]
fn event(client: &Client) -> Outcome {
    let event = SentryEvent {
        message: "the disk is full",
        tags: &[("disk", "sda1")],
        ..SentryEvent::default()
    };
    client.event(black_box(&event)).outcome
}

#[inline]
fn log(client: &Client) -> Outcome {
    let attributes = attributes();
    client.log(black_box(&SentryLog {
        body: "request served",
        attributes: &attributes,
        ..SentryLog::default()
    }))
}

#[inline]
fn otlp_log(client: &Client) -> Outcome {
    let attributes = attributes();
    client.otlp_log(black_box(&LogRecord {
        body: AnyValue::String("request served"),
        attributes: &attributes,
        ..LogRecord::default()
    }))
}

#[inline]
fn span(client: &Client) -> Outcome {
    let attributes = attributes();
    client.otlp_span(black_box(&OtlpSpan {
        attributes: &attributes,
        ..OtlpSpan::new(client.new_trace_id(), client.new_span_id(), "GET /api/items/{id}")
    }))
}

#[inline]
fn transaction(client: &Client) -> Outcome {
    let trace = TraceContext {
        trace_id: client.new_trace_id(),
        span_id: client.new_span_id(),
        parent_span_id: None,
        op: "http.server",
    };
    let spans: [ChildSpan<'_>; 10] = std::array::from_fn(|_| ChildSpan {
        span_id: client.new_span_id(),
        parent_span_id: trace.span_id,
        op: "db",
        description: "SELECT * FROM items WHERE id = ?",
        status: Some(SpanStatus::Ok),
        start: UnixTime::from_secs(1_800_000_000),
        end: UnixTime::from_secs(1_800_000_001),
        data: &[],
    });
    client
        .transaction(&SentryTransaction {
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
        .outcome
}
