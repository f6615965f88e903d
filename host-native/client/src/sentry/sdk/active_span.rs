//! What the `sentry` crate captures, on OpenTelemetry's spans.

use std::sync::Arc;

use sentry_core::protocol::{Event, Log, LogAttribute, Metric, SpanId, TraceContext, TraceId};
use sentry_core::{ClientOptions, Integration};

use crate::client::Active;

/// Attribute of a log with the span that was active, which the crate's own logs have no member for (Relay reads both).
const SPAN_OF_LOG: &str = "sentry.trace.parent_span_id";

/// The attribute under which the crate itself names a span of its own.
const OWN_SPAN_OF_LOG: &str = "parent_span_id";

/// An integration for the `sentry` crate: events, logs and metrics that are captured while a span of OpenTelemetry is active
/// belong to that span and its trace.
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
/// It takes the place of the trace that the crate itself began, and of a span of its own. `before_send`, `before_send_log`
/// and `before_send_metric` see what it did. What the client's own calls record is linked by
/// [`ClientBuilder::active_span`](crate::ClientBuilder::active_span). Needs features `sentry` and `opentelemetry`.
#[derive(Clone, Copy, Default, Debug)]
pub struct ActiveSpan;

impl Integration for ActiveSpan {
    fn name(&self) -> &'static str {
        "surgetank-active-span"
    }

    /// The crate shows logs and metrics to callbacks alone; those that are set are called after this one.
    fn setup(&self, options: &mut ClientOptions) {
        let next = options.before_send_log.take();
        options.before_send_log = Some(Arc::new(move |log| then(next.as_deref(), linked_log(log))));
        let next = options.before_send_metric.take();
        options.before_send_metric = Some(Arc::new(move |metric| {
            then(next.as_deref(), linked_metric(metric))
        }));
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        if let Some((trace_id, span_id)) = active() {
            let trace = TraceContext {
                trace_id,
                span_id,
                ..TraceContext::default()
            };
            event.contexts.insert("trace".to_owned(), trace.into());
        }
        Some(event)
    }
}

fn active() -> Option<(TraceId, SpanId)> {
    let Active {
        trace_id, span_id, ..
    } = Active::of_thread()?;
    Some((trace_id.bytes().into(), span_id.bytes().into()))
}

fn then<T>(next: Option<&(dyn Fn(T) -> Option<T> + Send + Sync)>, value: T) -> Option<T> {
    match next {
        Some(next) => next(value),
        None => Some(value),
    }
}

fn linked_log(mut log: Log) -> Log {
    if let Some((trace_id, span_id)) = active() {
        log.trace_id = Some(trace_id);
        log.attributes.remove(OWN_SPAN_OF_LOG);
        let span = LogAttribute(span_id.to_string().into());
        log.attributes.insert(SPAN_OF_LOG.to_owned(), span);
    }
    log
}

fn linked_metric(mut metric: Metric) -> Metric {
    if let Some((trace_id, span_id)) = active() {
        metric.trace_id = trace_id;
        metric.span_id = Some(span_id);
    }
    metric
}
