//! Error and message events ("Event Payloads" and the interfaces it names).

use core::net::IpAddr;

use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::{AnyValue, SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

use super::{Enveloped, Item, Map, SentryContext, map, number, tags, text};
use crate::ids::EventId;
use crate::json::{Encode, Json, name};

/// Severity of an event, a breadcrumb or a log.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Level {
    /// Finer than debugging. Logs only; Sentry's events have no such level and take it as `debug`.
    Trace,
    /// Debugging.
    Debug,
    /// Information.
    Info,
    /// Something odd.
    Warning,
    /// Something failed.
    #[default]
    Error,
    /// The program cannot go on.
    Fatal,
}

impl Level {
    /// Its name in events and breadcrumbs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace | Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// An event: a message, or one or more exceptions, and what is known around them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Event<'a> {
    /// How bad it is.
    pub level: Level,
    /// What happened, in words.
    pub message: &'a str,
    /// What was raised: the outermost cause first, the exception that was caught last.
    pub exceptions: &'a [Exception<'a>],
    /// Who says so.
    pub logger: &'a str,
    /// The route, job or task it happened in.
    pub transaction: &'a str,
    /// Short, searchable facts.
    pub tags: &'a [(&'a str, &'a str)],
    /// Anything else.
    pub extra: Map<'a>,
    /// For whom it happened.
    pub user: Option<User<'a>>,
    /// Named groups of facts (`os`, `runtime`, `app`, own ones). A context named `trace` is ignored if
    /// [`Event::trace`] is given.
    pub contexts: &'a [(&'a str, Map<'a>)],
    /// What happened before, oldest first.
    pub breadcrumbs: &'a [Breadcrumb<'a>],
    /// Overrides Sentry's grouping.
    pub fingerprint: &'a [&'a str],
    /// The trace and span it belongs to; if absent, those of the span that is active (`ClientBuilder::active_span`).
    pub trace: Option<TraceContext<'a>>,
    /// When it happened; now if absent.
    pub timestamp: Option<UnixTime>,
}

/// One exception.
#[derive(Clone, Copy, Default, Debug)]
pub struct Exception<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its message.
    pub value: &'a str,
    /// Module or crate of the type.
    pub module: &'a str,
    /// The call stack, outermost call first, the place of the exception last.
    pub frames: &'a [Frame<'a>],
    /// False when nothing handled it and the program or task ended with it.
    pub handled: Option<bool>,
    /// What caught it (`panic`, `errno`, own names); `generic` if empty and `handled` is given.
    pub mechanism: &'a str,
}

/// One call of a stack.
#[derive(Clone, Copy, Default, Debug)]
pub struct Frame<'a> {
    /// Function name.
    pub function: &'a str,
    /// Module path.
    pub module: &'a str,
    /// Path of the source file, relative to the project.
    pub filename: &'a str,
    /// Absolute path of the source file.
    pub abs_path: &'a str,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
    /// True for the application's own code.
    pub in_app: Option<bool>,
    /// Address of the instruction; 0 if unknown.
    pub instruction_addr: u64,
}

/// The user an event concerns.
#[derive(Clone, Copy, Default, Debug)]
pub struct User<'a> {
    /// Own identifier.
    pub id: &'a str,
    /// Login name.
    pub username: &'a str,
    /// Mail address.
    pub email: &'a str,
    /// Network address.
    pub ip_address: Option<IpAddr>,
    /// Anything else.
    pub data: Map<'a>,
}

/// Something that happened before an event.
#[derive(Clone, Copy, Default, Debug)]
pub struct Breadcrumb<'a> {
    /// When.
    pub timestamp: Option<UnixTime>,
    /// `default`, `http`, `navigation`...; `default` if empty.
    pub kind: &'a str,
    /// Dotted name of what happened.
    pub category: &'a str,
    /// How bad; Sentry takes `info` if absent.
    pub level: Option<Level>,
    /// In words.
    pub message: &'a str,
    /// Anything else.
    pub data: Map<'a>,
}

/// Where in a trace something happened.
#[derive(Clone, Copy, Debug)]
pub struct TraceContext<'a> {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span that caused it; absent for the root of a trace.
    pub parent_span_id: Option<SpanId>,
    /// What kind of work it is (`http.server`, `db`).
    pub op: &'a str,
}

/// An event with what its client adds.
#[derive(Clone, Copy)]
pub(crate) struct EventParts<'a> {
    event: &'a Event<'a>,
    /// The trace it belongs to if it names none. What the head of that trace said is not known, so it is not in the
    /// envelope's header.
    active: Option<&'a TraceContext<'a>>,
    id: EventId,
    now: UnixTime,
    context: &'a SentryContext,
}

pub(crate) struct Header<'a>(EventParts<'a>);

pub(crate) struct Payload<'a>(EventParts<'a>);

/// An event as an envelope of its own.
pub(crate) fn encoded_event<'a>(
    event: &'a Event<'a>,
    active: Option<&'a TraceContext<'a>>,
    id: EventId,
    now: UnixTime,
    context: &'a SentryContext,
) -> Enveloped<Header<'a>, Payload<'a>> {
    let parts = EventParts {
        event,
        active,
        id,
        now,
        context,
    };
    Enveloped {
        header: Header(parts),
        item: Item::new("event", Payload(parts)),
    }
}

impl Encode for Header<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let EventParts {
            event, id, context, ..
        } = self.0;
        let mut header = Json::new(out);
        header.begin_object();
        header.name(name!("event_id"));
        header.hex_16(id.as_bytes());
        header.members(&context.sdk);
        if let Some(trace) = &event.trace {
            header.name(name!("trace"));
            header.begin_object();
            header.name(name!("trace_id"));
            header.hex_16(&trace.trace_id.bytes());
            header.members(&context.trace);
            header.end_object();
        }
        header.end_object();
    }
}

impl Encode for Payload<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let EventParts {
            event,
            active,
            id,
            now,
            context,
        } = self.0;
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("event_id"));
        json.hex_16(id.as_bytes());
        json.name(name!("timestamp"));
        json.seconds(event.timestamp.unwrap_or(now).as_micros());
        json.plain_member(name!("level"), event.level.as_str().as_bytes());
        text(&mut json, name!("logger"), event.logger);
        text(&mut json, name!("transaction"), event.transaction);
        if !event.message.is_empty() {
            json.name(name!("logentry"));
            json.begin_object();
            text(&mut json, name!("formatted"), event.message);
            json.end_object();
        }
        if !event.exceptions.is_empty() {
            json.name(name!("exception"));
            json.begin_object();
            json.name(name!("values"));
            json.begin_array();
            for exception in event.exceptions {
                json.apart(|json| write_exception(json, exception));
            }
            json.end_array();
            json.end_object();
        }
        tags(&mut json, event.tags);
        map(&mut json, name!("extra"), event.extra);
        if let Some(user) = &event.user {
            json.apart(|json| write_user(json, user));
        }
        write_contexts(&mut json, event.contexts, event.trace.as_ref().or(active));
        if !event.breadcrumbs.is_empty() {
            json.apart(|json| write_breadcrumbs(json, event.breadcrumbs));
        }
        if !event.fingerprint.is_empty() {
            json.name(name!("fingerprint"));
            json.begin_array();
            for part in event.fingerprint {
                json.str(part);
            }
            json.end_array();
        }
        json.members(&context.event);
        json.end_object();
    }
}

#[inline(never)]
fn write_exception<O: Out>(json: &mut Json<'_, O>, exception: &Exception<'_>) {
    json.begin_object();
    text(json, name!("type"), exception.kind);
    text(json, name!("value"), exception.value);
    text(json, name!("module"), exception.module);
    if exception.handled.is_some() || !exception.mechanism.is_empty() {
        json.name(name!("mechanism"));
        json.begin_object();
        let named = exception.mechanism;
        text(
            json,
            name!("type"),
            if named.is_empty() { "generic" } else { named },
        );
        if let Some(handled) = exception.handled {
            json.name(name!("handled"));
            json.bool(handled);
        }
        json.end_object();
    }
    if !exception.frames.is_empty() {
        json.name(name!("stacktrace"));
        json.begin_object();
        json.name(name!("frames"));
        json.begin_array();
        for frame in exception.frames {
            json.apart(|json| write_frame(json, frame));
        }
        json.end_array();
        json.end_object();
    }
    json.end_object();
}

#[inline(never)]
fn write_frame<O: Out>(json: &mut Json<'_, O>, frame: &Frame<'_>) {
    json.begin_object();
    text(json, name!("function"), frame.function);
    text(json, name!("module"), frame.module);
    text(json, name!("filename"), frame.filename);
    text(json, name!("abs_path"), frame.abs_path);
    number(json, name!("lineno"), frame.line);
    number(json, name!("colno"), frame.column);
    if let Some(in_app) = frame.in_app {
        json.name(name!("in_app"));
        json.bool(in_app);
    }
    if frame.instruction_addr != 0 {
        json.name(name!("instruction_addr"));
        json.quoted(format_args!("{:#x}", frame.instruction_addr));
    }
    json.end_object();
}

#[inline(never)]
fn write_user<O: Out>(json: &mut Json<'_, O>, user: &User<'_>) {
    json.name(name!("user"));
    json.begin_object();
    text(json, name!("id"), user.id);
    text(json, name!("username"), user.username);
    text(json, name!("email"), user.email);
    if let Some(address) = user.ip_address {
        json.name(name!("ip_address"));
        json.quoted(format_args!("{address}"));
    }
    map(json, name!("data"), user.data);
    json.end_object();
}

#[inline(always)]
pub(super) fn write_contexts<O: Out>(
    json: &mut Json<'_, O>,
    contexts: &[(&str, Map<'_>)],
    trace: Option<&TraceContext<'_>>,
) {
    if contexts.is_empty() && trace.is_none() {
        return;
    }
    json.name(name!("contexts"));
    json.begin_object();
    if let Some(trace) = trace {
        json.name(name!("trace"));
        json.begin_object();
        write_trace(json, trace);
        json.end_object();
    }
    write_other_contexts(json, contexts, trace.is_some());
    json.end_object();
}

#[inline(always)]
pub(super) fn write_other_contexts<O: Out>(
    json: &mut Json<'_, O>,
    contexts: &[(&str, Map<'_>)],
    has_trace: bool,
) {
    for (name, facts) in contexts {
        let replaced = has_trace && *name == "trace";
        if !replaced && !facts.is_empty() {
            json.key(name);
            json.apart(|json| json.value(&AnyValue::Map(facts)));
        }
    }
}

/// The members of a trace context.
#[inline(always)]
pub(super) fn write_trace<O: Out>(json: &mut Json<'_, O>, trace: &TraceContext<'_>) {
    json.name(name!("trace_id"));
    json.hex_16(&trace.trace_id.bytes());
    json.name(name!("span_id"));
    json.hex_8(trace.span_id.bytes());
    if let Some(parent) = trace.parent_span_id {
        json.name(name!("parent_span_id"));
        json.hex_8(parent.bytes());
    }
    text(json, name!("op"), trace.op);
}

#[inline(never)]
fn write_breadcrumbs<O: Out>(json: &mut Json<'_, O>, breadcrumbs: &[Breadcrumb<'_>]) {
    json.name(name!("breadcrumbs"));
    json.begin_object();
    json.name(name!("values"));
    json.begin_array();
    for breadcrumb in breadcrumbs {
        json.begin_object();
        if let Some(timestamp) = breadcrumb.timestamp {
            json.name(name!("timestamp"));
            json.seconds(timestamp.as_micros());
        }
        text(json, name!("type"), breadcrumb.kind);
        text(json, name!("category"), breadcrumb.category);
        if let Some(level) = breadcrumb.level {
            text(json, name!("level"), level.as_str());
        }
        text(json, name!("message"), breadcrumb.message);
        map(json, name!("data"), breadcrumb.data);
        json.end_object();
    }
    json.end_array();
    json.end_object();
}
