//! The span of OpenTelemetry that is active where something is recorded by the client's own calls.

#[cfg(feature = "opentelemetry")]
use opentelemetry::Context;
#[cfg(feature = "opentelemetry")]
use opentelemetry::trace::TraceContextExt as _;
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};

use super::Client;
use crate::sentry;

/// A span, and the flags of its trace.
#[derive(Clone, Copy)]
pub(crate) struct Active {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: u8,
}

#[cfg(feature = "opentelemetry")]
impl Active {
    /// That of the calling thread. Takes no lock and allocates nothing.
    pub(crate) fn of_thread() -> Option<Self> {
        Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            Some(Self {
                trace_id: TraceId::new(span.trace_id().to_bytes())?,
                span_id: SpanId::new(span.span_id().to_bytes())?,
                flags: span.trace_flags().to_u8(),
            })
        })
    }
}

impl Client {
    /// What a record of the calling thread belongs to, unless it `says` so itself; nothing unless that was asked for.
    #[inline]
    pub(super) fn active(&self, says: impl FnOnce() -> bool) -> Option<Active> {
        #[cfg(feature = "opentelemetry")]
        if self.inner.plan.active_span && !says() {
            return Active::of_thread();
        }
        #[cfg(not(feature = "opentelemetry"))]
        let _ = says;
        None
    }

    /// The trace and span that an event belongs to, for lack of its own.
    #[inline]
    pub(super) fn trace_for(&self, event: &sentry::Event<'_>) -> Option<sentry::TraceContext<'static>> {
        let named = || event.trace.is_some() || event.contexts.iter().any(|(name, _)| *name == "trace");
        self.active(named).map(|active| sentry::TraceContext {
            trace_id: active.trace_id,
            span_id: active.span_id,
            parent_span_id: None,
            op: "",
        })
    }
}
