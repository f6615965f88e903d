//! Exceptions on a span as Sentry's error events.

use ::opentelemetry::Value;
use ::opentelemetry::trace::Event;
use surgetank_core::wire::otlp::encode::SpanId;
use surgetank_core::wire::otlp::protobuf::Out;

use super::super::moment::nanos;
use super::super::semantics::text;
use super::super::value_json::write_attributes;
use super::{ORIGIN, Spans};
use crate::ids::EventId;
use crate::json::{Encode, Json, name};
use crate::sentry::{Enveloped, SentryContext};

/// An envelope with the event that `event`, named `exception`, becomes.
pub(super) fn encoded_exception<'a>(
    spans: Spans<'a>,
    event: &'a Event,
    id: EventId,
    context: &'a SentryContext,
) -> impl Encode + use<'a> {
    let payload = Exception {
        spans,
        event,
        id,
        context,
    };
    Enveloped::new(ExceptionHeader { id, context }, "event", payload)
}

struct ExceptionHeader<'a> {
    id: EventId,
    context: &'a SentryContext,
}

impl Encode for ExceptionHeader<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("event_id"));
        json.hex_16(self.id.as_bytes());
        // No `trace`: what the head of the trace said is not known here.
        json.members(&self.context.sdk);
        json.end_object();
    }
}

/// A span event named `exception` (semantic conventions, "Exceptions") as an error event on the span.
struct Exception<'a> {
    spans: Spans<'a>,
    event: &'a Event,
    id: EventId,
    context: &'a SentryContext,
}

impl Exception<'_> {
    fn attribute(&self, key: &str) -> &str {
        let mut attributes = self.event.attributes.iter();
        let found = attributes.find(|attribute| attribute.key.as_str() == key);
        found.map_or("", |attribute| text(&attribute.value))
    }
}

impl Encode for Exception<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        let (spans, event) = (&self.spans, self.event);
        let limits = spans.transactions.limits();
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("event_id"));
        json.hex_16(self.id.as_bytes());
        json.name(name!("timestamp"));
        json.seconds(nanos(event.timestamp) / 1000);
        json.name(name!("level"));
        json.plain(b"error");
        json.name(name!("exception"));
        json.begin_object();
        json.name(name!("values"));
        json.begin_array();
        json.begin_object();
        for (name, key) in [
            (name!("type"), "exception.type"),
            (name!("value"), "exception.message"),
        ] {
            let text = self.attribute(key);
            if !text.is_empty() {
                json.name(name);
                json.str(text);
            }
        }
        json.name(name!("mechanism"));
        json.begin_object();
        json.name(name!("type"));
        json.plain(ORIGIN);
        json.name(name!("handled"));
        // The span saw it pass when it escaped.
        let escaped = Value::Bool(true);
        json.bool(
            !event
                .attributes
                .iter()
                .any(|attribute| attribute.key.as_str() == "exception.escaped" && attribute.value == escaped),
        );
        json.end_object();
        json.end_object();
        json.end_array();
        json.end_object();
        json.name(name!("contexts"));
        json.begin_object();
        json.name(name!("trace"));
        json.begin_object();
        spans.write_ids(&mut json, SpanId::new(spans.span.parent_span_id.to_bytes()));
        let op = spans.facts.op(&spans.span.span_kind);
        if !op.is_empty() {
            json.name(name!("op"));
            json.str(op);
        }
        json.end_object();
        json.name(name!("otel"));
        json.begin_object();
        json.name(name!("attributes"));
        json.begin_object();
        let others = event
            .attributes
            .iter()
            .filter(|attribute| !matches!(attribute.key.as_str(), "exception.type" | "exception.message"));
        write_attributes(&mut json, others, limits.event_attributes, limits);
        json.end_object();
        json.members(&spans.transactions.resource);
        json.end_object();
        json.end_object();
        json.members(&self.context.event);
        json.end_object();
    }
}
