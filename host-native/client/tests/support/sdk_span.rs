//! Ended spans of the OpenTelemetry SDK, made without it, so that the processor's part can be looked at alone.

#![allow(
    dead_code,
    reason = "shared by test programs, each of which uses its own part"
)]

use surgetank::Client;

/// Spans that one call makes.
pub(crate) const ENDED: u64 = cfg!(feature = "opentelemetry") as u64;

/// Ends a span whose root never ends, each time that it is called. Allocates nothing.
#[cfg(feature = "opentelemetry")]
pub(crate) fn ends(client: &Client) -> impl FnMut() + use<> {
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
    use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor as _};

    let processor = surgetank::opentelemetry::SpanProcessor::new(client);
    let mut number = ENDED;
    move || {
        number += 1;
        processor.on_end(SpanData {
            span_context: SpanContext::new(
                TraceId::from(1),
                SpanId::from(number),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: SpanId::from(1),
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
        });
    }
}

/// Nothing ends.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn ends(_: &Client) -> impl FnMut() + use<> {
    || {}
}
