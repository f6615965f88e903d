//! Spans that end become Sentry transactions, and exceptions on them error events.
//!
//! A span without a parent in this program is a root and makes a transaction; what is below it goes with it. Producers
//! encode their span to JSON and record it as a *part*; the delivery thread puts parts together
//! ([`assembly`](crate::delivery::assembly)). So ending a span costs what it costs with OTLP: no lock, no allocation.

mod exception;
mod root;

use ::opentelemetry::Context;
use ::opentelemetry::trace::{Event, SpanKind, TraceContextExt as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Span as SdkSpan, SpanData};
use surgetank_core::item::{Category, DestinationId, DropReason, Form, Header, Outcome};
use surgetank_core::wire::otlp::encode::{Limits, SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

use self::exception::encoded_exception;
use self::root::Root;
use super::incoming::Incoming;
use super::moment::nanos;
use super::semantics::Facts;
use super::span::ids;
use super::value_json::{write_attributes, write_member};
use crate::client::{Client, transaction_header};
use crate::delivery::assembly::{PART, PartHead, PartKind};
use crate::json::{Encode, Json, collected, name};

/// Where the spans come from, in Sentry's words.
const ORIGIN: &[u8] = b"auto.otel";

/// Makes transactions of a provider's spans.
pub(super) struct Transactions {
    client: Client,
    destination: DestinationId,
    /// What URLs of requests to that Sentry project begin with.
    own_url: String,
    /// Members of the context `otel`.
    resource: Vec<u8>,
    /// Whether exceptions become events.
    pub(super) exceptions: bool,
}

impl Transactions {
    /// `None` when the client has no DSN, or the SDK is disabled.
    pub(super) fn new(client: &Client) -> Option<Self> {
        let (destination, _) = client.sentry().filter(|_| !client.is_otel_disabled())?;
        Some(Self {
            client: client.clone(),
            destination,
            own_url: client.sentry_url(),
            resource: Vec::new(),
            exceptions: true,
        })
    }

    pub(super) fn set_resource(&mut self, resource: &Resource) {
        let mut attributes: Vec<_> = resource.iter().collect();
        attributes.sort_unstable_by_key(|(key, _)| *key);
        self.resource = collected(|out| {
            let mut json = Json::new(out);
            if attributes.is_empty() {
                return;
            }
            json.name(name!("resource"));
            json.begin_object();
            for (key, value) in attributes {
                write_member(&mut json, key, value, &self.client.limits().spans);
            }
            json.end_object();
        });
    }

    /// Keeps what the caller of a root said about its trace, for the root's envelope.
    pub(super) fn on_start(&self, span: &SdkSpan, context: &Context) {
        use ::opentelemetry::trace::Span as _;
        let span_context = span.span_context();
        let caller = context.span();
        let caller = caller.span_context();
        if !span_context.is_sampled() || !caller.is_valid() || !caller.is_remote() {
            return;
        }
        let incoming = context.get::<Incoming>();
        let incoming = incoming.filter(|incoming| incoming.is_of(span_context.trace_id()));
        if let (Some(incoming), Some((trace_id, span_id))) = (incoming, ids(span_context)) {
            let part = Part {
                head: PartHead {
                    kind: PartKind::Sampling,
                    trace_id,
                    span_id,
                    parent_id: span_id,
                },
                body: incoming.trace_header(),
            };
            // Without it the transaction is sent all the same.
            let _ = self
                .client
                .record_past_gate(&self.part_header(Category::Span, 0, &trace_id), &part);
        }
    }

    #[inline(never)]
    pub(super) fn on_end(&self, span: &SpanData, shut_down: bool) {
        let Some((trace_id, span_id)) = ids(&span.span_context) else {
            return;
        };
        let spans = Spans {
            transactions: self,
            span,
            facts: Facts::of(span),
            trace_id,
            span_id,
        };
        if span.span_kind == SpanKind::Client && spans.facts.url.starts_with(&self.own_url) {
            // Sending telemetry would make more of it.
            spans.refuse(DropReason::Ignored);
            return;
        }
        if shut_down {
            spans.refuse(DropReason::Closed);
            return;
        }
        if self.exceptions {
            for event in span.events.iter().filter(|event| event.name == "exception") {
                spans.record_exception(event);
            }
        }
        if !span.span_context.is_sampled() {
            return;
        }
        match spans.parent() {
            Parent::Here(parent_id) => spans.record_child(parent_id),
            Parent::Elsewhere(parent_id) => spans.record_root(parent_id),
        }
    }

    fn part_header(&self, category: Category, quantity: u32, trace_id: &TraceId) -> Header {
        let header = Header::new(self.destination, Form::Item, category, quantity);
        header.in_trace(trace_id.key()).from_origin(PART)
    }

    fn limits(&self) -> &Limits {
        &self.client.limits().spans
    }
}

/// A part of ready-made bytes.
struct Part<'a> {
    head: PartHead,
    body: &'a [u8],
}

impl Encode for Part<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        self.head.write(out);
        out.raw(self.body);
    }
}

/// An ended span with what is known about it.
#[derive(Clone, Copy)]
struct Spans<'a> {
    transactions: &'a Transactions,
    span: &'a SpanData,
    facts: Facts<'a>,
    trace_id: TraceId,
    span_id: SpanId,
}

/// Where the span above is.
enum Parent {
    Here(SpanId),
    /// Nowhere, or in another program.
    Elsewhere(Option<SpanId>),
}

impl Spans<'_> {
    fn parent(&self) -> Parent {
        match SpanId::new(self.span.parent_span_id.to_bytes()) {
            Some(parent_id) if !self.span.parent_span_is_remote => Parent::Here(parent_id),
            parent_id => Parent::Elsewhere(parent_id),
        }
    }

    /// Counts it as lost, if it was to be kept.
    fn refuse(&self, reason: DropReason) {
        if !self.span.span_context.is_sampled() {
            return;
        }
        let Transactions {
            client, destination, ..
        } = self.transactions;
        let header = match self.parent() {
            Parent::Here(_) => self.transactions.part_header(Category::Span, 1, &self.trace_id),
            Parent::Elsewhere(_) => transaction_header(*destination, &self.trace_id, 0),
        };
        let _ = client.refuse(&header, reason);
    }

    fn head(&self, kind: PartKind, parent_id: SpanId) -> PartHead {
        PartHead {
            kind,
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_id,
        }
    }

    fn record_child(&self, parent_id: SpanId) {
        let header = self.transactions.part_header(Category::Span, 1, &self.trace_id);
        // What became of it is counted, as below.
        let _ = self.transactions.client.record_short(&header, || Child {
            spans: *self,
            parent_id,
        });
    }

    fn record_root(&self, parent_id: Option<SpanId>) {
        let client = &self.transactions.client;
        let Some((destination, context)) = client.sentry() else {
            return;
        };
        let header = Header {
            origin: PART,
            ..transaction_header(destination, &self.trace_id, 0)
        };
        let recorded = client.record_short(&header, || Root {
            spans: *self,
            parent_id,
            id: client.new_event_id(),
            context,
        });
        if let Outcome::Dropped(reason) = recorded
            && reason != DropReason::Closed
        {
            // What is below it is lost for the same reason.
            let part = Part {
                head: self.head(PartKind::Gone, self.span_id),
                body: &[reason as u8],
            };
            let header = self.transactions.part_header(Category::Span, 0, &self.trace_id);
            let _ = client.record_past_gate(&header, &part);
        }
    }

    fn record_exception(&self, event: &Event) {
        let client = &self.transactions.client;
        let Some((destination, context)) = client.sentry() else {
            return;
        };
        let header = Header::new(destination, Form::Envelope, Category::Error, 1);
        let _ = client.record_short(&header, || {
            encoded_exception(*self, event, client.new_event_id(), context)
        });
    }

    // ---- what parts have in common -----------------------------------------------------------------------------------

    fn write_ids<O: Out>(&self, json: &mut Json<'_, O>, parent_id: Option<SpanId>) {
        json.name(name!("trace_id"));
        json.hex_16(&self.trace_id.bytes());
        json.name(name!("span_id"));
        json.hex_8(self.span_id.bytes());
        if let Some(parent_id) = parent_id {
            json.name(name!("parent_span_id"));
            json.hex_8(parent_id.bytes());
        }
    }

    /// What a transaction's trace context and a child span say alike.
    fn write_facts<O: Out>(&self, json: &mut Json<'_, O>) {
        let (span, limits) = (self.span, self.transactions.limits());
        let op = self.facts.op(&span.span_kind);
        if !op.is_empty() {
            json.name(name!("op"));
            json.str(op);
        }
        json.name(name!("status"));
        json.plain(self.facts.status(&span.status).as_str().as_bytes());
        json.name(name!("origin"));
        json.plain(ORIGIN);
        json.name(name!("data"));
        json.begin_object();
        write_attributes(json, span.attributes.iter(), limits.attributes, limits);
        json.name(name!("otel.kind"));
        json.plain(match span.span_kind {
            SpanKind::Internal => b"INTERNAL",
            SpanKind::Server => b"SERVER",
            SpanKind::Client => b"CLIENT",
            SpanKind::Producer => b"PRODUCER",
            SpanKind::Consumer => b"CONSUMER",
        });
        json.end_object();
        self.write_links(json);
    }

    fn write_links<O: Out>(&self, json: &mut Json<'_, O>) {
        let limits = self.transactions.limits();
        let linked = self.span.links.iter().take(limits.links as usize);
        let mut linked = linked
            .filter_map(|link| Some((link, ids(&link.span_context)?)))
            .peekable();
        if linked.peek().is_none() {
            return;
        }
        json.name(name!("links"));
        json.begin_array();
        for (link, (trace_id, span_id)) in linked {
            json.begin_object();
            json.name(name!("trace_id"));
            json.hex_16(&trace_id.bytes());
            json.name(name!("span_id"));
            json.hex_8(span_id.bytes());
            json.name(name!("sampled"));
            json.bool(link.span_context.is_sampled());
            if !link.attributes.is_empty() {
                json.name(name!("attributes"));
                json.begin_object();
                write_attributes(json, link.attributes.iter(), limits.link_attributes, limits);
                json.end_object();
            }
            json.end_object();
        }
        json.end_array();
    }

    fn write_times<O: Out>(&self, json: &mut Json<'_, O>) {
        json.name(name!("start_timestamp"));
        json.seconds(nanos(self.span.start_time) / 1000);
        json.name(name!("timestamp"));
        json.seconds(nanos(self.span.end_time) / 1000);
    }

    fn write_resource<O: Out>(&self, json: &mut Json<'_, O>) {
        if !self.transactions.resource.is_empty() {
            json.name(name!("otel"));
            json.begin_object();
            json.members(&self.transactions.resource);
            json.end_object();
        }
    }
}

/// A span below a root.
struct Child<'a> {
    spans: Spans<'a>,
    parent_id: SpanId,
}

impl Encode for Child<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        let spans = &self.spans;
        spans.head(PartKind::Child, self.parent_id).write(out);
        let mut json = Json::new(out);
        json.begin_object();
        spans.write_ids(&mut json, Some(self.parent_id));
        json.name(name!("description"));
        json.texts(&spans.facts.description(spans.span));
        spans.write_facts(&mut json);
        spans.write_times(&mut json);
        json.end_object();
    }
}
