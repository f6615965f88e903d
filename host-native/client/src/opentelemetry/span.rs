//! Spans that end become records.

use core::fmt;
use core::time::Duration;

use ::opentelemetry::Context;
use ::opentelemetry::trace::{self, SpanContext};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span as SdkSpan, SpanData};
use surgetank_core::item::{DropReason, Signal};
use surgetank_core::wire::otlp::encode::{
    Event, Limits, Link, Span, SpanId, SpanKind, SpanParts, Status, TraceId,
};
use surgetank_core::wire::otlp::protobuf::Out;

use super::FLUSH_TIMEOUT;
use super::moment::nanos;
use super::source::Source;
use super::transaction::Transactions;
use super::value::fill_attributes;
use crate::client::{Client, span_header};
use crate::json::Encode;

/// It is known whether the parent, or the span that a link points to, is remote; and it is (`SpanFlags` of OTLP).
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Takes the spans of a tracer provider to a [`Client`], in place of the SDK's `BatchSpanProcessor` and OTLP exporter.
///
/// They go where the client has a destination for traces: over OTLP, or else to Sentry, as
/// [transactions](SpanProcessor::with_transactions).
///
/// A span that ends is encoded straight into the client's memory on the thread that ends it: no lock, no allocation
/// beside the SDK's own, no waiting. What cannot be taken is dropped and counted in [`Client::status`]. Spans that are
/// not sampled are passed over.
pub struct SpanProcessor {
    source: Source,
    transactions: Option<Transactions>,
}

impl SpanProcessor {
    /// A processor that records to `client`, which should have an OTLP destination for traces or a Sentry DSN; without
    /// either, and where `OTEL_SDK_DISABLED` says so, spans are ignored.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let processor = Self {
            source: Source::new(client, Signal::Traces, FLUSH_TIMEOUT),
            transactions: None,
        };
        processor.with_transactions(!client.has_otlp(Signal::Traces))
    }

    /// Whether spans go to Sentry: each span without a parent in this program becomes a transaction, with what is below
    /// it as its spans. Default: only if the client has no OTLP destination for traces. With one, spans go to both.
    /// Nothing without a DSN.
    ///
    /// What ended waits for its root in memory beside the client's own (a quarter of its queue, reserved with the first
    /// span; see [`Status::assembly`](crate::Status::assembly)). A span that ends after its root, or whose root does
    /// not end within ten minutes, is dropped and counted as `no_parent_span`.
    #[must_use]
    pub fn with_transactions(mut self, yes: bool) -> Self {
        self.transactions = yes.then(|| Transactions::new(&self.source.client)).flatten();
        self
    }

    /// Whether span events named `exception` become Sentry's error events, beside transactions. Default: yes. Say no where
    /// the `sentry` crate captures the same errors, after [`SpanProcessor::with_transactions`].
    #[must_use]
    pub fn with_exceptions(mut self, yes: bool) -> Self {
        if let Some(transactions) = &mut self.transactions {
            transactions.exceptions = yes;
        }
        self
    }

    /// How long `force_flush` may take, which has no time-out of its own in the SDK. Default [`FLUSH_TIMEOUT`].
    #[must_use]
    pub fn with_flush_timeout(mut self, timeout: Duration) -> Self {
        self.source.flush_timeout = timeout;
        self
    }
}

impl fmt::Debug for SpanProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanProcessor")
            .field("client", &self.source.client)
            .finish_non_exhaustive()
    }
}

impl opentelemetry_sdk::trace::SpanProcessor for SpanProcessor {
    fn on_start(&self, span: &mut SdkSpan, context: &Context) {
        if let Some(transactions) = &self.transactions {
            transactions.on_start(span, context);
        }
    }

    fn on_end(&self, span: SpanData) {
        if let Some(transactions) = &self.transactions {
            transactions.on_end(&span, self.source.is_shut_down());
        }
        let client = &self.source.client;
        if !span.span_context.is_sampled() {
            return;
        }
        let Some(destination) = client.otlp(Signal::Traces) else {
            return;
        };
        let Some((trace_id, span_id)) = ids(&span.span_context) else {
            let header = span_header(destination, None);
            let _ = client.refuse(&header, DropReason::Invalid);
            return;
        };
        let encoded = EncodedSpan {
            span: &span,
            trace_id,
            span_id,
            limits: &client.limits().spans,
        };
        let header = span_header(destination, Some(&trace_id));
        // What became of it is counted.
        let _ = self
            .source
            .record(header, &span.instrumentation_scope, None, &encoded);
    }

    /// Sends what was recorded and waits for it, at most the time of [`SpanProcessor::with_flush_timeout`].
    fn force_flush(&self) -> OTelSdkResult {
        self.source.flush(self.source.flush_timeout)
    }

    /// Takes no more spans, sends what was recorded and waits for it, at most `timeout`. The client stays open: other
    /// providers may use it, and what is left goes on being delivered.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.source.shut_down(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.source.set_resource(resource);
        if let Some(transactions) = &mut self.transactions {
            transactions.set_resource(resource);
        }
    }
}

struct EncodedSpan<'a> {
    span: &'a SpanData,
    trace_id: TraceId,
    span_id: SpanId,
    limits: &'a Limits,
}

impl Encode for EncodedSpan<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        let span = self.span;
        let wire = Span {
            parent_span_id: SpanId::new(span.parent_span_id.to_bytes()),
            flags: flags(&span.span_context, span.parent_span_is_remote),
            kind: match span.span_kind {
                trace::SpanKind::Internal => SpanKind::Internal,
                trace::SpanKind::Server => SpanKind::Server,
                trace::SpanKind::Client => SpanKind::Client,
                trace::SpanKind::Producer => SpanKind::Producer,
                trace::SpanKind::Consumer => SpanKind::Consumer,
            },
            start_unix_nanos: nanos(span.start_time),
            end_unix_nanos: nanos(span.end_time),
            dropped_attributes: span.dropped_attributes_count,
            dropped_events: span.events.dropped_count,
            dropped_links: dropped_links(span),
            status: match &span.status {
                trace::Status::Unset => Status::Unset,
                trace::Status::Ok => Status::Ok,
                trace::Status::Error { description } => Status::Error { message: description },
            },
            ..Span::new(self.trace_id, self.span_id, &span.name)
        };
        wire.encode_with(out, self.limits, |parts| {
            parts.attributes(|attributes| fill_attributes(attributes, &span.attributes));
            if !span.events.is_empty() || !span.links.is_empty() || has_trace_state(&span.span_context) {
                parts.apart(|parts| fill_rest(parts, span));
            }
        });
    }
}

/// What most spans have none of.
#[inline(never)]
fn fill_rest<O: Out>(parts: &mut SpanParts<'_, O>, span: &SpanData) {
    parts.trace_state(|| span.span_context.trace_state().into_iter());
    for event in span.events.iter() {
        let wire = Event {
            time_unix_nanos: nanos(event.timestamp),
            name: &event.name,
            attributes: &[],
            dropped_attributes: event.dropped_attributes_count,
        };
        parts.event(&wire, |attributes| fill_attributes(attributes, &event.attributes));
    }
    for (link, (trace_id, span_id)) in linked(span) {
        let wire = Link {
            trace_id,
            span_id,
            trace_state: "",
            attributes: &[],
            dropped_attributes: link.dropped_attributes_count,
            flags: flags(&link.span_context, link.span_context.is_remote()),
        };
        let trace_state = || link.span_context.trace_state().into_iter();
        parts.link_in(&wire, trace_state, |attributes| {
            fill_attributes(attributes, &link.attributes);
        });
    }
}

/// Links that lead somewhere.
fn linked(span: &SpanData) -> impl Iterator<Item = (&trace::Link, (TraceId, SpanId))> {
    span.links
        .iter()
        .filter_map(|link| Some((link, ids(&link.span_context)?)))
}

/// Links that were dropped, those that lead nowhere among them.
fn dropped_links(span: &SpanData) -> u32 {
    if span.links.is_empty() {
        return span.links.dropped_count;
    }
    let invalid = span.links.len().saturating_sub(linked(span).count());
    let invalid = u32::try_from(invalid).unwrap_or(u32::MAX);
    span.links.dropped_count.saturating_add(invalid)
}

fn has_trace_state(context: &SpanContext) -> bool {
    context.trace_state().into_iter().next().is_some()
}

/// Both ids, unless one of them is zero.
pub(super) fn ids(context: &SpanContext) -> Option<(TraceId, SpanId)> {
    Some((
        TraceId::new(context.trace_id().to_bytes())?,
        SpanId::new(context.span_id().to_bytes())?,
    ))
}

fn flags(context: &SpanContext, remote: bool) -> u32 {
    let remote = if remote { IS_REMOTE } else { 0 };
    u32::from(context.trace_flags().to_u8()) | KNOWS_REMOTE | remote
}
