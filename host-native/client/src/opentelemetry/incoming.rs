//! What a caller said about the trace that it belongs to, beyond its `traceparent`.

use ::opentelemetry::trace::{SpanContext, TraceId};
use surgetank_core::wire::trace_context::{Baggage, BaggageWriter, SamplingContext, SentryTrace};

use crate::json::{Json, collected};

/// Stands in the [`Context`](::opentelemetry::Context) that the propagator made of a request whose head speaks Sentry.
///
/// The head's sampling context is frozen: it is passed on as it came, and nothing is added, even when it is empty.
#[derive(Debug)]
pub(super) struct Incoming {
    trace_id: TraceId,
    /// Members for the `trace` header of an envelope, in JSON. Empty when the head said too little for one.
    trace_header: Vec<u8>,
    /// Members of `baggage`, as received.
    pub(super) baggage: String,
    /// The caller left the decision to whoever comes next.
    pub(super) deferred: bool,
}

impl Incoming {
    /// What came with a request from `caller`; `None` when the head of its trace does not speak Sentry.
    pub(super) fn of(
        caller: &SpanContext,
        sentry_trace: Option<&SentryTrace>,
        baggage: Baggage<'_>,
    ) -> Option<Self> {
        let trace_id = caller.trace_id();
        // A sampling context of another trace, left over in what somebody passes on, says nothing about this one.
        let sampling = SamplingContext::of(baggage).filter(|sampling| {
            sampling
                .trace_id()
                .is_none_or(|named| named.bytes() == trace_id.to_bytes())
        });
        if sampling.is_none() && sentry_trace.is_none() {
            return None;
        }
        // A decision that was made on the way since then stands in the caller's flags.
        let deferred = sentry_trace.is_some_and(|sentry_trace| {
            sentry_trace.sampled.is_none()
                && sentry_trace.parent_id.bytes() == caller.span_id().to_bytes()
                && !caller.is_sampled()
        });
        let Some(sampling) = sampling else {
            return Some(Self {
                trace_id,
                trace_header: Vec::new(),
                baggage: String::new(),
                deferred,
            });
        };
        let mut members = String::new();
        let mut writer = BaggageWriter::new(&mut members);
        for member in baggage.members().filter(|member| is_sentrys(member.key)) {
            // A string does not fail, and what fit before fits again.
            let _ = writer.push_member(&member);
        }
        // The server refuses a trace header without these.
        let complete = sampling.trace_id().is_some() && sampling.public_key().is_some();
        let trace_header = collected(|out| {
            let mut json = Json::new(out);
            for (key, value) in sampling.entries().filter(|_| complete) {
                json.key(key);
                json.str(value.to_string());
            }
        });
        Some(Self {
            trace_id,
            trace_header,
            baggage: members,
            deferred,
        })
    }

    pub(super) fn is_of(&self, trace_id: TraceId) -> bool {
        self.trace_id == trace_id
    }

    pub(super) fn trace_header(&self) -> &[u8] {
        &self.trace_header
    }
}

pub(super) fn is_sentrys(key: &str) -> bool {
    key.starts_with("sentry-")
}
