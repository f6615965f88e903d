//! Spans (`opentelemetry/proto/trace/v1/trace.proto`).

use super::attributes::{AnyValue, Attributes, Entries, KeyValue, Values};
use super::{Limits, SpanId, TraceId};
use crate::wire::otlp::protobuf::{Length, Out, WireType, delimited_len, tag};

/// The role of a span. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[repr(u8)]
pub enum SpanKind {
    /// Not said.
    #[default]
    Unspecified = 0,
    /// Within an application.
    Internal = 1,
    /// The server's side of a request.
    Server = 2,
    /// The client's side of a request.
    Client = 3,
    /// Sends a message without awaiting the outcome.
    Producer = 4,
    /// Handles a message that was sent so.
    Consumer = 5,
}

/// How the operation ended. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Status<'a> {
    /// Not said.
    #[default]
    Unset,
    /// Declared good by the application.
    Ok,
    /// Failed.
    Error {
        /// What went wrong; may be empty.
        message: &'a str,
    },
}

impl Status<'_> {
    #[inline(always)]
    fn encode<O: Out>(self, out: &mut O) {
        let (message, code) = match self {
            Self::Unset => return,
            Self::Ok => ("", 1),
            Self::Error { message } => (message, 2),
        };
        let message_len = match message.len() {
            0 => 0,
            len => delimited_len(len).saturating_add(1),
        };
        out.apart(|out| {
            out.message(15, message_len.saturating_add(2));
            text(out, 2, message);
            out.varint_field(3, code);
        });
    }
}

/// Something that happened during a span.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When, in nanoseconds since 1970.
    pub time_unix_nanos: u64,
    /// What.
    pub name: &'a str,
    /// Its attributes.
    pub attributes: &'a [KeyValue<'a>],
    /// Attributes that were dropped before.
    pub dropped_attributes: u32,
}

/// A pointer to a span of the same or of another trace.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// That span's trace.
    pub trace_id: TraceId,
    /// That span.
    pub span_id: SpanId,
    /// Its W3C `tracestate`.
    pub trace_state: &'a str,
    /// Its attributes.
    pub attributes: &'a [KeyValue<'a>],
    /// Attributes that were dropped before.
    pub dropped_attributes: u32,
    /// As in [`Span::flags`].
    pub flags: u32,
}

/// A span, borrowed from wherever it is.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span it is part of; `None` for a root.
    pub parent_span_id: Option<SpanId>,
    /// W3C `tracestate`; empty for none.
    pub trace_state: &'a str,
    /// W3C trace flags in the low 8 bits; 0x100 when it is known whether the parent is remote, 0x200 when it is.
    pub flags: u32,
    /// What it does.
    pub name: &'a str,
    /// Its role.
    pub kind: SpanKind,
    /// Begin, in nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// End, in nanoseconds since 1970; should not be before the begin.
    pub end_unix_nanos: u64,
    /// Its attributes; keys should be unique.
    pub attributes: &'a [KeyValue<'a>],
    /// Attributes that were dropped before.
    pub dropped_attributes: u32,
    /// What happened during it.
    pub events: &'a [Event<'a>],
    /// Events that were dropped before.
    pub dropped_events: u32,
    /// Where it points to.
    pub links: &'a [Link<'a>],
    /// Links that were dropped before.
    pub dropped_links: u32,
    /// How it ended.
    pub status: Status<'a>,
}

impl<'a> Span<'a> {
    /// A root span of that name, with nothing else set.
    #[must_use]
    pub const fn new(trace_id: TraceId, span_id: SpanId, name: &'a str) -> Self {
        Self {
            trace_id,
            span_id,
            parent_span_id: None,
            trace_state: "",
            flags: 0,
            name,
            kind: SpanKind::Unspecified,
            start_unix_nanos: 0,
            end_unix_nanos: 0,
            attributes: &[],
            dropped_attributes: 0,
            events: &[],
            dropped_events: 0,
            links: &[],
            dropped_links: 0,
            status: Status::Unset,
        }
    }

    /// Bytes that [`Span::encode`] writes under the same limits.
    #[must_use]
    pub fn encoded_len(&self, limits: &Limits) -> usize {
        Length::of(|out| self.encode(out, limits))
    }

    /// Writes the `Span` message. Costs its bytes.
    pub fn encode<O: Out>(&self, out: &mut O, limits: &Limits) {
        self.encode_with(out, limits, |_| {});
    }

    /// Writes the `Span` message with what `fill` adds after the span's own attributes, events and links.
    #[inline(always)]
    pub fn encode_with<O: Out>(
        &self,
        out: &mut O,
        limits: &Limits,
        fill: impl FnOnce(&mut SpanParts<'_, O>),
    ) {
        let mut lifted = out.lift();
        self.write(&mut lifted, limits, fill);
        *out = lifted;
    }

    /// On an output of its own, which lives in registers.
    #[inline(always)]
    fn write<O: Out>(&self, out: &mut O, limits: &Limits, fill: impl FnOnce(&mut SpanParts<'_, O>)) {
        out.array(ids(self.trace_id, self.span_id));
        text(out, 3, self.trace_state);
        if let Some(parent) = self.parent_span_id {
            out.array(parent_id(parent));
        }
        text(out, 5, self.name);
        if self.kind != SpanKind::Unspecified && self.start_unix_nanos != 0 && self.end_unix_nanos != 0 {
            out.array(kind_and_times(
                self.kind,
                self.start_unix_nanos,
                self.end_unix_nanos,
            ));
        } else {
            if self.kind != SpanKind::Unspecified {
                out.array([KIND, self.kind as u8]);
            }
            nanos(out, 7, self.start_unix_nanos);
            nanos(out, 8, self.end_unix_nanos);
        }

        let mut parts = SpanParts {
            attributes: Attributes::new(
                out,
                9,
                limits.attributes,
                limits.value_length,
                self.dropped_attributes,
            ),
            limits: *limits,
            events: limits.events,
            dropped_events: self.dropped_events,
            links: limits.links,
            dropped_links: self.dropped_links,
        };
        parts.attributes.add_all(self.attributes);
        for event in self.events {
            parts.event(event, |_| {});
        }
        for link in self.links {
            parts.link(link, |_| {});
        }
        fill(&mut parts);
        let (dropped_events, dropped_links) = (parts.dropped_events, parts.dropped_links);
        let dropped_attributes = parts.attributes.dropped();
        let status = self.status;
        if dropped_attributes | dropped_events | dropped_links != 0 || status != Status::Unset {
            out.apart(|out| write_rare(out, [dropped_attributes, dropped_events, dropped_links], status));
        }
        if self.flags != 0 {
            out.fixed32_field(16, self.flags);
        }
    }
}

/// The lists of one span, for adding to them one by one.
#[derive(Debug)]
pub struct SpanParts<'o, O> {
    attributes: Attributes<'o, O>,
    limits: Limits,
    events: u32,
    dropped_events: u32,
    links: u32,
    dropped_links: u32,
}

impl<O: Out> SpanParts<'_, O> {
    /// Adds an attribute.
    #[inline(always)]
    pub fn attribute(&mut self, key: &str, value: AnyValue<'_>) {
        self.attributes.add(key, value);
    }

    /// Adds the attributes that `fill` adds, faster than one by one.
    #[inline(always)]
    pub fn attributes(&mut self, fill: impl FnOnce(&mut Attributes<'_, O>)) {
        self.attributes.apart(fill);
    }

    /// Does `work` on these parts of an output apart; see [`Out::apart`].
    #[inline(always)]
    pub fn apart(&mut self, work: impl FnOnce(&mut SpanParts<'_, O>)) {
        let mut out = self.attributes.out().lift();
        let mut parts = SpanParts {
            attributes: self.attributes.on(&mut out),
            ..*self
        };
        work(&mut parts);
        (self.events, self.dropped_events) = (parts.events, parts.dropped_events);
        (self.links, self.dropped_links) = (parts.links, parts.dropped_links);
        let left = parts.attributes.left();
        self.attributes.set_left(left);
        *self.attributes.out() = out;
    }

    /// Adds an attribute that is an array whose values `fill` adds.
    #[inline(always)]
    pub fn array_attribute(&mut self, key: &str, fill: impl FnOnce(&mut Values<'_, O>)) {
        self.attributes.add_array(key, fill);
    }

    /// Adds an attribute that is a map whose entries `fill` adds.
    #[inline(always)]
    pub fn map_attribute(&mut self, key: &str, fill: impl FnOnce(&mut Entries<'_, O>)) {
        self.attributes.add_map(key, fill);
    }

    /// Sets the W3C `tracestate` from its members in order; for spans whose `trace_state` is empty. Nothing is written
    /// of none.
    #[inline]
    pub fn trace_state<'s, I>(&mut self, members: impl Fn() -> I)
    where
        I: Iterator<Item = (&'s str, &'s str)>,
    {
        self.attributes.out().apart(|out| joined(out, members));
    }

    /// Adds `event` with the attributes that `fill` adds to its own.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, fill: impl FnOnce(&mut Attributes<'_, O>)) {
        if !take(&mut self.events, &mut self.dropped_events) {
            return;
        }
        let limits = self.limits;
        self.attributes
            .out()
            .apart(|out| write_event(out, &limits, event, fill));
    }

    /// Adds `link` with the attributes that `fill` adds to its own.
    pub fn link(&mut self, link: &Link<'_>, fill: impl FnOnce(&mut Attributes<'_, O>)) {
        self.link_in(link, core::iter::empty, fill);
    }

    /// The same with the W3C `tracestate` by its members in order; for links whose `trace_state` is empty.
    #[inline]
    pub fn link_in<'s, I>(
        &mut self,
        link: &Link<'_>,
        trace_state: impl Fn() -> I,
        fill: impl FnOnce(&mut Attributes<'_, O>),
    ) where
        I: Iterator<Item = (&'s str, &'s str)>,
    {
        if !take(&mut self.links, &mut self.dropped_links) {
            return;
        }
        let limits = self.limits;
        self.attributes
            .out()
            .apart(|out| write_link(out, &limits, link, trace_state, fill));
    }
}

/// What most spans have none of: what was dropped of attributes, events and links, and a status.
#[inline(never)]
fn write_rare<O: Out>(out: &mut O, [attributes, events, links]: [u32; 3], status: Status<'_>) {
    count(out, 10, attributes);
    count(out, 12, events);
    count(out, 14, links);
    status.encode(out);
}

/// The field 11, an event, of a span.
fn write_event<O: Out>(
    out: &mut O,
    limits: &Limits,
    event: &Event<'_>,
    fill: impl FnOnce(&mut Attributes<'_, O>),
) {
    let open = out.open(11);
    nanos(out, 1, event.time_unix_nanos);
    text(out, 2, event.name);
    let dropped = attributes(
        Attributes::new(
            out,
            3,
            limits.event_attributes,
            limits.value_length,
            event.dropped_attributes,
        ),
        event.attributes,
        fill,
    );
    count(out, 4, dropped);
    out.close(open);
}

/// The field 13, a link, of a span.
fn write_link<'s, O: Out, I>(
    out: &mut O,
    limits: &Limits,
    link: &Link<'_>,
    trace_state: impl Fn() -> I,
    fill: impl FnOnce(&mut Attributes<'_, O>),
) where
    I: Iterator<Item = (&'s str, &'s str)>,
{
    let open = out.open(13);
    out.array(ids(link.trace_id, link.span_id));
    text(out, 3, link.trace_state);
    joined(out, trace_state);
    let dropped = attributes(
        Attributes::new(
            out,
            4,
            limits.link_attributes,
            limits.value_length,
            link.dropped_attributes,
        ),
        link.attributes,
        fill,
    );
    count(out, 5, dropped);
    if link.flags != 0 {
        out.fixed32_field(6, link.flags);
    }
    out.close(open);
}

/// The fields 1, `trace_id`, and 2, `span_id`, of a span or link.
#[inline]
fn ids(trace_id: TraceId, span_id: SpanId) -> [u8; 28] {
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, ta, tb, tc, td, te, tf] = trace_id.bytes();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = span_id.bytes();
    [
        0x0A, 16, t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, ta, tb, tc, td, te, tf, // trace_id
        0x12, 8, s0, s1, s2, s3, s4, s5, s6, s7, // span_id
    ]
}

/// The tag of the field 6, `kind`, of a span.
const KIND: u8 = tag(6, WireType::Varint) as u8;

/// The fields 6 to 8 of a span: `kind`, `start_time_unix_nano` and `end_time_unix_nano`.
#[inline]
fn kind_and_times(kind: SpanKind, start: u64, end: u64) -> [u8; 20] {
    const START: u8 = tag(7, WireType::Fixed64) as u8;
    const END: u8 = tag(8, WireType::Fixed64) as u8;
    let [s0, s1, s2, s3, s4, s5, s6, s7] = start.to_le_bytes();
    let [e0, e1, e2, e3, e4, e5, e6, e7] = end.to_le_bytes();
    [
        KIND, kind as u8, START, s0, s1, s2, s3, s4, s5, s6, s7, END, e0, e1, e2, e3, e4, e5, e6, e7,
    ]
}

/// The field 4, `parent_span_id`, of a span.
#[inline]
fn parent_id(span_id: SpanId) -> [u8; 10] {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = span_id.bytes();
    [0x22, 8, s0, s1, s2, s3, s4, s5, s6, s7]
}

/// The field 3, `trace_state`, of a span or link: `key=value`, joined by commas. Asks for the members twice.
fn joined<'s, O: Out, I>(out: &mut O, members: impl Fn() -> I)
where
    I: Iterator<Item = (&'s str, &'s str)>,
{
    let len = members().fold(0_usize, |len, (key, value)| {
        // One for the `=`, and one for the comma after it.
        len.saturating_add(key.len())
            .saturating_add(value.len())
            .saturating_add(2)
    });
    let Some(len) = len.checked_sub(1) else { return };
    out.message(3, len);
    for (index, (key, value)) in members().enumerate() {
        if index > 0 {
            out.raw(b",");
        }
        out.raw(key.as_bytes());
        out.raw(b"=");
        out.raw(value.as_bytes());
    }
}

/// Adds `own` and what `fill` adds; how many were left out.
fn attributes<O: Out>(
    mut attributes: Attributes<'_, O>,
    own: &[KeyValue<'_>],
    fill: impl FnOnce(&mut Attributes<'_, O>),
) -> u32 {
    attributes.add_all(own);
    fill(&mut attributes);
    attributes.dropped()
}

/// Takes one of `room`, or counts one in `dropped`.
const fn take(room: &mut u32, dropped: &mut u32) -> bool {
    match room.checked_sub(1) {
        Some(left) => {
            *room = left;
            true
        }
        None => {
            *dropped = dropped.saturating_add(1);
            false
        }
    }
}

/// A string field, left out when empty.
#[inline(always)]
pub(super) fn text<O: Out>(out: &mut O, field: u32, text: &str) {
    if !text.is_empty() {
        out.bytes_field(field, text.as_bytes());
    }
}

/// A `fixed64` time, left out when zero.
#[inline(always)]
pub(super) fn nanos<O: Out>(out: &mut O, field: u32, nanos: u64) {
    if nanos != 0 {
        out.fixed64_field(field, nanos);
    }
}

/// A `uint32` count, left out when zero.
#[inline(always)]
pub(super) fn count<O: Out>(out: &mut O, field: u32, count: u32) {
    if count != 0 {
        out.apart(|out| out.varint_field(field, u64::from(count)));
    }
}
