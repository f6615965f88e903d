//! Requests that pass through: their traces, and what is recorded of them.

use surgetank_core::gate::GateState;
use surgetank_core::item::{Category, DropReason, Form, Header, Item};
use surgetank_core::response::Response;
use surgetank_core::rng::Rng;
use surgetank_core::time::{Instant, UnixTime};

use super::{Heart, Plugin, RECORDS_BEFORE_POLL, moment};
use crate::abi::{Host, Map};
use crate::calls::number;
use crate::config::Settings;
use crate::context::{Context, Decision, Head, Incoming};
use crate::event;
use crate::guard::{Guard, Verdict};
use crate::headers::{self, Pairs};
use crate::refusal::Refusal;
use crate::route::{Arrival, Clues};
use crate::span::{self, End};

impl Plugin {
    /// The headers of a request: takes its trace over, decides, and passes it on. True when it was answered here.
    pub(crate) fn request(&mut self, host: &Host, context: u32) -> bool {
        let Some(slot) = self.requests.get(context) else {
            return false;
        };
        let (Some(Some(root)), Some(engine)) = (self.roots.get(slot.root()), &mut self.engine) else {
            return false;
        };
        let Some(bytes) = host.headers(Map::Request) else {
            return false;
        };
        let incoming = Incoming::of(Pairs::new(bytes));
        slot.started = host.monotonic_nanos();
        let now = moment(slot.started);
        let parent = incoming.parent();
        let gate = GateState::OPEN.with_factor(engine.factor());
        let own = Context::new(parent, root.settings.rate.threshold, gate, &mut self.random);
        slot.note(incoming.method, incoming.path, incoming.authority);
        slot.set_context(&own);
        if let (Some(otlp), Some(reason)) = (root.otlp, reason_of(own.decision)) {
            engine.on_losses(now, Some(otlp), Category::Span, reason, 1);
        }
        if let Some(guard) = self.guards.get_mut(slot.root()).filter(|_| root.settings.guard)
            && let Some(arrival) = Arrival::of(&clues_of(&incoming))
        {
            let verdict = guard.judge(now, context, &arrival);
            self.metrics.judged(verdict);
            if let Some((refusal, details)) = refusal_of(verdict, guard, &arrival, now) {
                let mut head = [0; 1024];
                let head = headers::write(&mut head, refusal.headers()).unwrap_or_default();
                host.respond(refusal.status, details, head, refusal.body());
                return true;
            }
            slot.subject = arrival.subject;
        }
        let delivers = root.otlp.is_some() || root.sentry.is_some();
        if delivers && (own.is_recorded() || parent.is_none()) {
            pass_on(host, &root.settings, &incoming, &own);
        }
        false
    }

    /// What the service answered, with that status, teaches its guard.
    fn learn(&mut self, host: &Host, context: u32, status: u16) {
        let Some(slot) = self.requests.get(context).filter(|slot| slot.subject != 0) else {
            return;
        };
        let (index, subject) = (slot.root(), slot.subject);
        let (Some(guard), Some(Some(root))) = (self.guards.get_mut(index), self.roots.get(index)) else {
            return;
        };
        if status == 0 {
            guard.unanswered(context);
            return;
        }
        let nanos = host.monotonic_nanos();
        let limits = host.header(Map::Response, "x-sentry-rate-limits");
        let limits = limits.filter(|value| !value.is_empty());
        let asks = matches!(status, 429 | 502..=504);
        let retry_after = asks.then(|| host.header(Map::Response, "retry-after")).flatten();
        let response = Response {
            status,
            retry_after: retry_after.filter(|value| !value.is_empty()),
            rate_limits: limits.as_slice(),
            wall: UnixTime::from_micros(self.epoch.wrapping_add(nanos) / 1000),
            ..Response::default()
        };
        let (now, overload) = (moment(nanos), root.subjects.guarded);
        let lines = guard.answered(now, context, subject, overload, &response, &mut self.random);
        self.teach(host, now, &lines);
    }

    /// A request ended: records what is to be recorded of it, and gives its place back. Nothing is heard of it any more, but
    /// that its context is done.
    pub(crate) fn finish(&mut self, host: &Host, context: u32) {
        if self.matters(context) {
            let status = host.header(Map::Response, ":status").and_then(number);
            // 0: there was no answer.
            let status = status.unwrap_or(0);
            self.learn(host, context, status);
            self.note(host, context, status);
        }
        self.requests.end(context);
    }

    /// True when a guard wants to know how the request ended, or it may be recorded.
    fn matters(&mut self, context: u32) -> bool {
        let Some(slot) = self.requests.get(context) else {
            return false;
        };
        let Some(Some(root)) = self.roots.get(slot.root()) else {
            return false;
        };
        let is_recorded = slot.context().is_some_and(|own| own.is_recorded());
        slot.subject != 0 || root.sentry.is_some() || (is_recorded && root.otlp.is_some())
    }

    /// Records what is to be recorded of a request that ended with that status.
    fn note(&mut self, host: &Host, context: u32, status: u16) {
        let Self {
            engine: Some(engine),
            requests,
            roots,
            work,
            random,
            epoch,
            unasked,
            ..
        } = self
        else {
            return;
        };
        let Some(slot) = requests.get(context) else { return };
        let Some(own) = slot.context() else { return };
        let Some(Some(root)) = roots.get(slot.root()) else {
            return;
        };
        let is_event = status >= 500 && root.sentry.is_some();
        if !own.is_recorded() && !is_event {
            return;
        }
        let ended = host.monotonic_nanos();
        let details = if status >= 500 {
            text(host.property("response\0code_details"))
        } else {
            ""
        };
        let end = End {
            started_unix_nanos: epoch.wrapping_add(slot.started),
            ended_unix_nanos: epoch.wrapping_add(ended.max(slot.started)),
            status,
            details,
        };
        let now = moment(ended);
        if let Some(otlp) = root.otlp.filter(|_| own.is_recorded()) {
            let header = Header::new(otlp, Form::OtlpRecord, Category::Span, 1).in_trace(own.trace_id.key());
            record(engine, now, header, || {
                span::encode(slot, &own, &end, &mut work.record)
            });
            *unasked = unasked.wrapping_add(1);
        }
        if let Some(sentry) = root.sentry.filter(|_| is_event) {
            let header = Header::new(sentry, Form::Envelope, Category::Error, 1).in_trace(own.trace_id.key());
            record(engine, now, header, || {
                let failure = event::Failure {
                    id: event_id(random),
                    end,
                    cluster: text(host.property("xds\0cluster_name")),
                    address: text(host.property("upstream\0address")),
                };
                event::encode(slot, &own, &failure, &root.settings.program, &mut work.record)
            });
            *unasked = unasked.wrapping_add(1);
        }
        if *unasked >= RECORDS_BEFORE_POLL {
            let root = root.context;
            host.act_for(root);
            self.drive(host, root, ended);
        }
    }
}

fn text(bytes: Option<&[u8]>) -> &str {
    bytes
        .and_then(|bytes| core::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}

fn event_id(random: &mut Rng) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h] = random.next_u64().to_be_bytes();
    let [i, j, k, l, m, n, o, p] = random.next_u64().to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

fn clues_of<'a>(incoming: &Incoming<'a>) -> Clues<'a> {
    Clues {
        method: incoming.method,
        path: incoming.path,
        x_sentry_auth: incoming.x_sentry_auth,
        authorization: incoming.authorization,
        content_type: incoming.content_type,
    }
}

/// The answer to a request that is not to go on, and a word for the proxy's logs.
fn refusal_of(
    verdict: Verdict,
    guard: &Guard,
    arrival: &Arrival,
    now: Instant,
) -> Option<(Refusal, &'static str)> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Limited(left) => {
            let limits = guard.limits(arrival.subject);
            let refusal = Refusal::limited(arrival.language, left, limits, now);
            Some((refusal, "surgetank_rate_limited"))
        }
        Verdict::Overloaded(left) => Some((
            Refusal::overloaded(arrival.language, left),
            "surgetank_overloaded",
        )),
    }
}

/// What a request that is not recorded is counted as.
const fn reason_of(decision: Decision) -> Option<DropReason> {
    match decision {
        Decision::Record => None,
        Decision::Caller | Decision::Rate => Some(DropReason::SampleRate),
        Decision::Pressure => Some(DropReason::Backpressure),
    }
}

/// Asks the gate, encodes, records. What is refused before it is encoded is counted like the rest.
fn record<'r>(engine: &mut Heart, now: Instant, header: Header, encode: impl FnOnce() -> Option<&'r [u8]>) {
    let refused = match engine
        .gate(now, header.destination)
        .admits(header.categories, header.priority)
    {
        Err(reason) => reason,
        Ok(()) => match encode() {
            Some(payload) => {
                let _ = engine.record(now, &Item { header, payload });
                return;
            }
            None => DropReason::TooLarge,
        },
    };
    let (destination, count) = (header.destination, header.count);
    engine.on_losses(
        now,
        Some(destination),
        count.category,
        refused,
        u64::from(count.quantity),
    );
}

/// Sets the headers that tell the services behind of the trace.
fn pass_on(host: &Host, settings: &Settings, incoming: &Incoming<'_>, own: &Context) {
    let put = |is_there: bool, name, value: &[u8]| {
        if is_there {
            host.set_header(Map::Request, name, value);
        } else {
            host.add_header(Map::Request, name, value);
        }
    };
    put(incoming.has_traceparent(), "traceparent", &own.traceparent());
    if incoming.has_tracestate && !incoming.is_w3c() {
        host.remove_header(Map::Request, "tracestate");
    }
    if incoming.has_sentry_trace() || settings.sentry.is_some() {
        put(incoming.has_sentry_trace(), "sentry-trace", &own.sentry_trace());
    }
    if let (None, Some(sentry)) = (own.parent, &settings.sentry) {
        let head = Head {
            public_key: &sentry.public_key,
            sample_rate: &settings.rate.text,
            release: &settings.program.release,
            environment: &settings.program.environment,
        };
        let baggage = own.baggage(&incoming.baggage, &head);
        if !baggage.is_empty() {
            put(!incoming.baggage.is_empty(), "baggage", baggage.as_bytes());
        }
    }
}
