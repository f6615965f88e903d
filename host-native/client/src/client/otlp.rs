//! The OTLP half of the client.

use surgetank_core::item::{Category, DestinationId, Form, Header, Outcome, Signal, TraceKey};
use surgetank_core::wire::otlp::encode::{Limits, LogRecord, Span, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

#[cfg(feature = "opentelemetry")]
use super::PlannedDestination;
use super::{Client, OFF};
#[cfg(feature = "opentelemetry")]
use crate::delivery::Origins;
use crate::delivery::wall_nanos;
#[cfg(feature = "opentelemetry")]
use crate::environment::RecordLimits;
use crate::json::Encode;

impl Client {
    /// Records a finished OTLP span, under the client's limits.
    pub fn otlp_span(&self, span: &Span<'_>) -> Outcome {
        let Some(destination) = self.otlp(Signal::Traces) else {
            return OFF;
        };
        let header = span_header(destination, Some(&span.trace_id));
        self.record_short(&header, || EncodedSpan {
            span,
            limits: &self.inner.plan.limits.spans,
        })
    }

    /// Records an OTLP log record, under the client's limits. It was observed now if it does not say when.
    pub fn otlp_log(&self, record: &LogRecord<'_>) -> Outcome {
        let Some(destination) = self.otlp(Signal::Logs) else {
            return OFF;
        };
        let header = Header::new(destination, Form::OtlpRecord, Category::LogItem, 1);
        self.record_short(&header, || {
            let mut record = *record;
            if record.observed_unix_nanos == 0 {
                record.observed_unix_nanos = wall_nanos();
            }
            if let Some(active) = self.active(|| record.trace_id.is_some() || record.span_id.is_some()) {
                record.trace_id = Some(active.trace_id);
                record.span_id = Some(active.span_id);
                record.flags = u32::from(active.flags);
            }
            EncodedLogRecord {
                record,
                limits: &self.inner.plan.limits.logs,
            }
        })
    }

    /// Records a ready-made `Export*ServiceRequest` in protobuf with `items` spans, log records or metrics in it.
    pub fn otlp_request(&self, signal: Signal, items: u32, request: &[u8]) -> Outcome {
        let Some(destination) = self.otlp(signal) else {
            return OFF;
        };
        let category = match signal {
            Signal::Traces => Category::Span,
            Signal::Logs => Category::LogItem,
            Signal::Metrics => Category::TraceMetric,
        };
        let header = Header::new(destination, Form::OtlpRequest, category, items);
        self.record_bytes(&header, request)
    }

    #[inline]
    pub(crate) fn otlp(&self, signal: Signal) -> Option<DestinationId> {
        let index = self.inner.plan.signals.get(signal as usize).copied().flatten()?;
        // There are at most four destinations.
        Some(DestinationId::new(index as u8, 0))
    }
}

/// What the drop-ins for the OpenTelemetry SDK need to know.
#[cfg(feature = "opentelemetry")]
impl Client {
    fn planned_otlp(&self, signal: Signal) -> Option<&PlannedDestination> {
        self.inner.plan.destinations.get(self.otlp(signal)?.index())
    }

    /// Resources and scopes that records of this signal can name.
    pub(crate) fn origins(&self, signal: Signal) -> Option<&Origins> {
        self.planned_otlp(signal).map(|planned| &*planned.origins)
    }

    /// The encoded resource of records that this client makes itself.
    pub(crate) fn own_resource(&self, signal: Signal) -> &[u8] {
        self.planned_otlp(signal)
            .map_or(&[], |planned| planned.resource.as_slice())
    }

    /// What a root counts for where spans of the SDK go.
    pub(crate) fn root_header(&self, trace_id: &TraceId) -> Option<Header> {
        let otlp = self.otlp(Signal::Traces);
        otlp.map(|otlp| span_header(otlp, Some(trace_id))).or_else(|| {
            let (sentry, _) = self.sentry().filter(|_| !self.is_otel_disabled())?;
            Some(super::transaction_header(sentry, trace_id, 0))
        })
    }

    pub(crate) fn limits(&self) -> &RecordLimits {
        &self.inner.plan.limits
    }

    /// The rejection threshold of the configured rate of roots.
    pub(crate) fn root_rate(&self) -> u64 {
        self.inner.plan.reject_below
    }
}

pub(crate) fn span_header(destination: DestinationId, trace_id: Option<&TraceId>) -> Header {
    let trace = trace_id.map_or(TraceKey::NONE, |trace_id| trace_id.key());
    Header::new(destination, Form::OtlpRecord, Category::Span, 1).in_trace(trace)
}

struct EncodedSpan<'a> {
    span: &'a Span<'a>,
    limits: &'a Limits,
}

impl Encode for EncodedSpan<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        self.span.encode(out, self.limits);
    }

    fn encoded_len(&self) -> usize {
        self.span.encoded_len(self.limits)
    }
}

struct EncodedLogRecord<'a> {
    record: LogRecord<'a>,
    limits: &'a Limits,
}

impl Encode for EncodedLogRecord<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        self.record.encode(out, self.limits);
    }

    fn encoded_len(&self) -> usize {
        self.record.encoded_len(self.limits)
    }
}
