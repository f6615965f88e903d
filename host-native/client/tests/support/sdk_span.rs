//! Ended spans of the OpenTelemetry SDK, made without it, so that the processor's part can be looked at alone.

#![allow(
    dead_code,
    reason = "shared by test programs, each of which uses its own part"
)]

#[cfg(feature = "opentelemetry")]
use opentelemetry::{
    InstrumentationScope,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
#[cfg(feature = "opentelemetry")]
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor as _};
use surgetank::Client;

/// Spans that one call makes.
pub(crate) const ENDED: u64 = cfg!(feature = "opentelemetry") as u64;

/// What the SDK gives its processors when a span ends: of trace 1, without anything that could be left out.
#[cfg(feature = "opentelemetry")]
pub(crate) fn ended(id: u64, parent: SpanId, flags: TraceFlags) -> SpanData {
    SpanData {
        span_context: SpanContext::new(TraceId::from(1), SpanId::from(id), flags, false, TraceState::NONE),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "span".into(),
        start_time: std::time::UNIX_EPOCH,
        end_time: std::time::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

/// Ends a span whose root never ends, each time that it is called. Allocates nothing.
#[cfg(feature = "opentelemetry")]
pub(crate) fn ends(client: &Client) -> impl FnMut() + use<> {
    let processor = surgetank::opentelemetry::SpanProcessor::new(client);
    let mut number = ENDED;
    move || {
        number += 1;
        processor.on_end(ended(number, SpanId::from(1), TraceFlags::SAMPLED));
    }
}

/// Nothing ends.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn ends(_: &Client) -> impl FnMut() + use<> {
    || {}
}
