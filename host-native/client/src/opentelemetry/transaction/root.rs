//! A root span as the part that a transaction is made around.

use ::opentelemetry::Value;
use ::opentelemetry::trace::Event;
use opentelemetry_sdk::trace::SpanData;
use surgetank_core::wire::otlp::encode::{Limits, SpanId};
use surgetank_core::wire::otlp::protobuf::Out;

use super::super::head::Decision;
use super::super::semantics::text;
use super::Spans;
use crate::delivery::assembly::{PIECE_END, PartKind};
use crate::ids::EventId;
use crate::json::{Encode, Json, name};
use crate::sentry::SentryContext;

/// A root, in the pieces of [`PartKind::Root`].
pub(super) struct Root<'a> {
    pub(super) spans: Spans<'a>,
    pub(super) parent_id: Option<SpanId>,
    pub(super) id: EventId,
    pub(super) context: &'a SentryContext,
}

impl Encode for Root<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        let Self {
            spans,
            parent_id,
            id,
            context,
        } = self;
        let span = spans.span;
        spans.head(PartKind::Root, spans.span_id).write(out);
        let mut lead = Json::new(out);
        lead.begin_object();
        lead.name(name!("event_id"));
        lead.hex_16(id.as_bytes());
        lead.members(&context.sdk);
        out.array([PIECE_END]);

        let source = spans.facts.source();
        let mut trace = Json::new(out);
        trace.name(name!("trace_id"));
        trace.hex_16(&spans.trace_id.bytes());
        trace.members(&context.trace);
        if source != "url" {
            // Names made of URLs are too many to sample by.
            trace.name(name!("transaction"));
            trace.str(&*span.name);
        }
        Decision::of(span.span_context.trace_state(), &spans.trace_id).write(&mut trace);
        out.array([PIECE_END]);

        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("type"));
        json.plain(b"transaction");
        json.name(name!("event_id"));
        json.hex_16(id.as_bytes());
        json.name(name!("transaction"));
        json.str(&*span.name);
        json.name(name!("transaction_info"));
        json.begin_object();
        json.name(name!("source"));
        json.str(source);
        json.end_object();
        spans.write_times(&mut json);
        json.name(name!("contexts"));
        json.begin_object();
        json.name(name!("trace"));
        json.begin_object();
        spans.write_ids(&mut json, *parent_id);
        spans.write_facts(&mut json);
        json.end_object();
        spans.write_resource(&mut json);
        json.end_object();
        write_measurements(&mut json, span, spans.transactions.limits());
        json.name(name!("spans"));
        json.begin_array();
        json.piece_end(PIECE_END);
        json.end_array();
        json.members(&context.event);
        json.end_object();
    }
}

/// Events that carry a measurement, as Sentry's SDKs write them.
fn write_measurements<O: Out>(json: &mut Json<'_, O>, span: &SpanData, limits: &Limits) {
    let value = |event: &'_ Event| {
        let mut found = event.attributes.iter();
        let found = found.find(|attribute| attribute.key.as_str() == "sentry.measurement_value")?;
        match found.value {
            Value::I64(value) => Some(value as f64),
            Value::F64(value) => Some(value).filter(|value| value.is_finite()),
            _ => None,
        }
    };
    let events = span.events.iter().take(limits.events as usize);
    let mut measured = events.filter_map(|event| Some((event, value(event)?))).peekable();
    if measured.peek().is_none() {
        return;
    }
    json.name(name!("measurements"));
    json.begin_object();
    for (event, value) in measured {
        json.key(&*event.name);
        json.begin_object();
        json.name(name!("value"));
        json.f64(value);
        for attribute in &event.attributes {
            if attribute.key.as_str() == "sentry.measurement_unit" {
                json.name(name!("unit"));
                json.str(text(&attribute.value));
            }
        }
        json.end_object();
    }
    json.end_object();
}
