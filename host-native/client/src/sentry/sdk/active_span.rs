//! The `sentry` crate's events on OpenTelemetry's spans.

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use sentry_core::protocol::{Event, TraceContext};
use sentry_core::{ClientOptions, Integration};

/// An integration for the `sentry` crate: an event that is captured while a span of OpenTelemetry is active belongs to
/// that span and its trace.
///
/// For programs whose errors are captured by `sentry` and whose spans are made by `opentelemetry_sdk`:
///
/// ```
/// let transport = surgetank::sentry::transport();
/// let options = sentry::ClientOptions::new()
///     .add_integration(surgetank::sentry::ActiveSpan)
///     .transport(transport.clone());
/// ```
///
/// It takes the place of the trace that the crate itself began, and of a span of its own. Needs features `sentry` and
/// `opentelemetry`.
#[derive(Clone, Copy, Default, Debug)]
pub struct ActiveSpan;

impl Integration for ActiveSpan {
    fn name(&self) -> &'static str {
        "surgetank-active-span"
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        let active = Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            span.is_valid().then(|| TraceContext {
                trace_id: span.trace_id().to_bytes().into(),
                span_id: span.span_id().to_bytes().into(),
                ..TraceContext::default()
            })
        });
        if let Some(active) = active {
            event.contexts.insert("trace".to_owned(), active.into());
        }
        Some(event)
    }
}
