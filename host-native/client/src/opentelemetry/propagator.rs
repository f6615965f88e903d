//! Trace and baggage on their way from one program to the next, in the words of OpenTelemetry and of Sentry.

use core::fmt;
use std::fmt::Write as _;

use ::opentelemetry::Context;
use ::opentelemetry::baggage::{Baggage as OtelBaggage, BaggageExt as _, BaggageMetadata};
use ::opentelemetry::propagation::text_map_propagator::FieldIter;
use ::opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use ::opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, TraceContextExt as _, TraceFlags, TraceId as OtelTraceId, TraceState,
};
use surgetank_core::limits::MAX_TRACESTATE_BYTES;
use surgetank_core::wire::otlp::encode;
use surgetank_core::wire::trace_context::{
    Baggage, BaggageWriter, Member, SamplingContext, SentryTrace, SpanId, TraceId, Traceparent, Tracestate,
};

use super::head::Decision;
use super::incoming::{Incoming, is_sentrys};
use crate::client::Client;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const SENTRY_TRACE: &str = "sentry-trace";
const BAGGAGE: &str = "baggage";

/// Reads and writes `traceparent`, `tracestate`, `sentry-trace` and `baggage`: one propagator in place of the SDK's
/// `TraceContextPropagator` and `BaggagePropagator`, so that programs with OpenTelemetry and programs with Sentry's SDKs
/// share their traces.
///
/// ```
/// # let client = surgetank::Client::builder().build()?;
/// opentelemetry::global::set_text_map_propagator(surgetank::opentelemetry::Propagator::new(&client));
/// # Ok::<(), surgetank::BuildError>(())
/// ```
///
/// **Reading.** `traceparent` says which trace; without a valid one, `sentry-trace` does. Members of `baggage` become the
/// context's baggage, but for `sentry-*`: these are the head's sampling context, which stays as it is and goes on with
/// the trace, into outgoing requests and into the transactions of
/// [`SpanProcessor::with_transactions`](super::SpanProcessor::with_transactions). They count only if they name the same
/// trace. A trace that comes from another Sentry organization is not continued, where both sides name theirs. What breaks
/// a header's grammar counts as not there.
///
/// **Writing.** Where a trace begins here and the client has a DSN, its sampling context is written: trace, public key,
/// release, environment, organization, decision, and rate where [`Sampler`](super::Sampler) decided. Other members of
/// `baggage` come first and keep their metadata; what goes beyond 8192 bytes or 180 members is left out, whole members at
/// a time. `sentry-trace` is written if the client has a DSN or the trace came with it.
///
/// A `sentry-trace` without a decision leaves it to this program: then [`Sampler`](super::Sampler) decides as for a root.
/// The SDK's own samplers take it for a no.
#[derive(Clone)]
pub struct Propagator {
    /// Facts of a sampling context begun here, without the trace; none without a DSN.
    own: Vec<(&'static str, String)>,
    org_id: Option<String>,
    fields: [String; 4],
}

impl Propagator {
    /// A propagator for traces that begin in a program with this client.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let own = client.sampling_facts();
        Self {
            org_id: own
                .iter()
                .find(|(key, _)| *key == "sentry-org_id")
                .map(|(_, id)| id.clone()),
            own,
            fields: [TRACEPARENT, TRACESTATE, SENTRY_TRACE, BAGGAGE].map(str::to_owned),
        }
    }

    /// Whether that head belongs to another organization than this program.
    fn is_foreign(&self, baggage: Baggage<'_>) -> bool {
        let theirs = SamplingContext::of(baggage).and_then(SamplingContext::org_id);
        match (theirs, &self.org_id) {
            (Some(theirs), Some(ours)) => !theirs.chars().eq(ours.chars()),
            _ => false,
        }
    }

    fn inject_baggage(&self, cx: &Context, span: &SpanContext, out: &mut String) -> fmt::Result {
        let mut writer = BaggageWriter::new(out);
        let mut members: Vec<_> = cx.baggage().iter().collect();
        members.sort_unstable_by_key(|(key, _)| key.as_str());
        let members = members.into_iter().filter(|(key, _)| !is_sentrys(key.as_str()));
        for (key, (value, metadata)) in members {
            push_with_metadata(&mut writer, key.as_str(), value.as_str(), metadata)?;
        }
        if !span.is_valid() {
            return Ok(());
        }
        if let Some(incoming) = incoming(cx, span) {
            let lines = [incoming.baggage.as_bytes()];
            // Kept from a header of that size.
            for member in Baggage::parse(&lines)
                .iter()
                .flat_map(|baggage| baggage.members())
            {
                writer.push_member(&member)?;
            }
            return Ok(());
        }
        if self.own.is_empty() {
            return Ok(());
        }
        writer.push("sentry-trace_id", &span.trace_id().to_string())?;
        for (key, value) in &self.own {
            writer.push(key, value)?;
        }
        writer.push("sentry-sampled", if span.is_sampled() { "true" } else { "false" })?;
        let trace_id = encode::TraceId::new(span.trace_id().to_bytes());
        let chance = trace_id.and_then(|trace_id| Decision::of(span.trace_state(), &trace_id).texts());
        if let Some((rate, random)) = chance {
            writer.push("sentry-sample_rate", &rate)?;
            writer.push("sentry-sample_rand", &random)?;
        }
        Ok(())
    }
}

/// What the caller said about the trace of `span`.
fn incoming<'cx>(cx: &'cx Context, span: &SpanContext) -> Option<&'cx Incoming> {
    cx.get::<Incoming>()
        .filter(|incoming| incoming.is_of(span.trace_id()))
}

fn push_with_metadata<W: fmt::Write>(
    writer: &mut BaggageWriter<'_, W>,
    key: &str,
    value: &str,
    metadata: &BaggageMetadata,
) -> fmt::Result {
    let metadata = metadata.as_str().trim();
    if !metadata.is_empty() {
        let mut text = String::new();
        BaggageWriter::new(&mut text).push(key, value)?;
        write!(text, ";{metadata}")?;
        let lines = [text.as_bytes()];
        let mut members = Baggage::parse(&lines).into_iter().flat_map(Baggage::members);
        // Metadata that breaks the grammar would spoil the whole header.
        if let (Some(member), None) = (members.next(), members.next()) {
            writer.push_member(&member)?;
            return Ok(());
        }
    }
    writer.push(key, value)?;
    Ok(())
}

/// The members that are not Sentry's, as the API keeps them.
fn others(baggage: Baggage<'_>) -> OtelBaggage {
    let mut others = OtelBaggage::new();
    for member in baggage.members().filter(|member| !is_sentrys(member.key)) {
        let (key, value) = (member.key.to_owned(), member.value.to_string());
        others.insert_with_metadata(key, value, BaggageMetadata::from(metadata(member).as_str()));
    }
    others
}

/// A member's properties, as received.
fn metadata(member: Member<'_>) -> String {
    let mut text = String::new();
    for property in member.properties() {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(property.key);
        if let Some(value) = property.value {
            text.push('=');
            // Baggage octets are ASCII.
            text.extend(value.raw().iter().map(|byte| char::from(*byte)));
        }
    }
    text
}

/// Every value of a header.
fn lines<'e>(extractor: &'e dyn Extractor, key: &str) -> Vec<&'e [u8]> {
    let values = extractor.get_all(key).unwrap_or_default();
    values.into_iter().map(str::as_bytes).collect()
}

fn trace_state(lines: &[&[u8]]) -> TraceState {
    let entries = Tracestate::parse(lines).into_iter().flat_map(Tracestate::entries);
    // The API knows the keys of the standard's first level.
    TraceState::from_key_value(entries.map(|entry| (entry.key, entry.value))).unwrap_or_default()
}

fn remote(trace_id: TraceId, parent_id: SpanId, flags: u8, state: TraceState) -> SpanContext {
    SpanContext::new(
        OtelTraceId::from_bytes(trace_id.bytes()),
        OtelSpanId::from_bytes(parent_id.bytes()),
        TraceFlags::new(flags),
        true,
        state,
    )
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        let ids = (
            TraceId::new(span.trace_id().to_bytes()),
            SpanId::new(span.span_id().to_bytes()),
        );
        if let (Some(trace_id), Some(parent_id)) = ids {
            let traceparent = Traceparent {
                version: 0,
                trace_id,
                parent_id,
                flags: span.trace_flags().to_u8(),
            };
            injector.set(TRACEPARENT, traceparent.to_string());
            let state = span.trace_state().header();
            let mut trimmed = String::new();
            let lines = [state.as_bytes()];
            let written =
                Tracestate::parse(&lines).map(|state| state.write(&mut trimmed, None, MAX_TRACESTATE_BYTES));
            if let (Ok(Ok(())), false) = (written, trimmed.is_empty()) {
                injector.set(TRACESTATE, trimmed);
            }
            let incoming = incoming(cx, span);
            if incoming.is_some() || !self.own.is_empty() {
                let undecided = span.is_remote() && incoming.is_some_and(|incoming| incoming.deferred);
                let sentry_trace = SentryTrace {
                    trace_id,
                    parent_id,
                    sampled: (!undecided).then_some(span.is_sampled()),
                };
                injector.set(SENTRY_TRACE, sentry_trace.to_string());
            }
        }
        let mut baggage = String::new();
        if self.inject_baggage(cx, span, &mut baggage).is_ok() && !baggage.is_empty() {
            injector.set(BAGGAGE, baggage);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let baggage_lines = lines(extractor, BAGGAGE);
        let baggage = Baggage::parse(&baggage_lines).unwrap_or(Baggage::EMPTY);
        let mut cx = cx.clone();
        let others = others(baggage);
        if !others.is_empty() {
            cx = cx.with_baggage(others);
        }
        let sentry_trace = SentryTrace::parse(&lines(extractor, SENTRY_TRACE)).ok();
        let traceparent = Traceparent::parse(&lines(extractor, TRACEPARENT)).ok();
        let same_trace = |traceparent: &Traceparent| {
            sentry_trace.is_none_or(|sentry_trace| sentry_trace.trace_id == traceparent.trace_id)
        };
        if self.is_foreign(baggage) {
            // A trace of somebody else's that is not even told apart by its `traceparent`.
            return match traceparent.filter(|traceparent| !same_trace(traceparent)) {
                Some(own) => cx.with_remote_span_context(continued(&own, extractor)),
                None => cx,
            };
        }
        let (span, sentry_trace) = match (traceparent, sentry_trace) {
            (Some(traceparent), sentry_trace) => {
                let same = sentry_trace.filter(|_| same_trace(&traceparent));
                (continued(&traceparent, extractor), same)
            }
            (None, Some(sentry_trace)) => {
                let flags = u8::from(sentry_trace.sampled == Some(true));
                let span = remote(
                    sentry_trace.trace_id,
                    sentry_trace.parent_id,
                    flags,
                    TraceState::NONE,
                );
                (span, Some(sentry_trace))
            }
            (None, None) => return cx,
        };
        let incoming = Incoming::of(&span, sentry_trace.as_ref(), baggage);
        let cx = cx.with_remote_span_context(span);
        match incoming {
            Some(incoming) => cx.with_value(incoming),
            None => cx,
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

fn continued(traceparent: &Traceparent, extractor: &dyn Extractor) -> SpanContext {
    remote(
        traceparent.trace_id,
        traceparent.parent_id,
        traceparent.known_flags(),
        trace_state(&lines(extractor, TRACESTATE)),
    )
}

impl fmt::Debug for Propagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Propagator").field("own", &self.own).finish()
    }
}
