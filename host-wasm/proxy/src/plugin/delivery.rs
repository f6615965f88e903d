//! Delivery: what the engine wants sent becomes calls, and their answers go back to it.

use core::fmt::Write as _;

use heapless::{String, Vec};
use surgetank_core::breaker::BreakerState;
use surgetank_core::item::DestinationId;
use surgetank_core::notice::{Action, Notice};
use surgetank_core::request::{BodyContext, Request, RequestId, RequestKind};
use surgetank_core::response::{Failure, Response};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::WriteError;

use super::learning::lessons;
use super::{ANSWER_BYTES, MOST_STARTS, Plugin, Root, SCOPE, SDK_NAME, moment, owner};
use crate::abi::{Buffer, CallError, Host, Level, Map};
use crate::calls::{Answer, Call};
use crate::config::CLIENT;
use crate::headers::{self, Pairs};

/// A request of the engine that is ready to be sent.
struct Ready {
    id: RequestId,
    destination: DestinationId,
    kind: RequestKind,
    timeout_ms: u32,
    /// Bytes of its body, or why there is none.
    body: Result<usize, Failure>,
}

impl Plugin {
    /// Time passed.
    pub(crate) fn tick(&mut self, host: &Host, context: u32) {
        self.look_at_wall_clock(host);
        let nanos = host.monotonic_nanos();
        self.look_at_board(host, moment(nanos));
        self.drive(host, context, nanos);
        if let Some(engine) = &self.engine {
            self.metrics.publish(host, engine.totals());
        }
        let Some(index) = self.root_of(context) else {
            return;
        };
        let leaves_at = self
            .roots
            .get(index)
            .and_then(Option::as_ref)
            .and_then(|root| root.leaves_at);
        if let Some(until) = leaves_at
            && (moment(nanos) >= until || !self.is_busy(index))
        {
            self.leave(index, moment(nanos));
            host.done();
        }
    }

    /// What came back for a call.
    pub(crate) fn answer(&mut self, host: &Host, context: u32, token: u32, body: usize) {
        let (Some(call), Some(engine)) = (self.calls.take(token), &mut self.engine) else {
            return;
        };
        let nanos = host.monotonic_nanos();
        let now = moment(nanos);
        let headers = Pairs::new(host.headers(Map::Call).unwrap_or_default());
        let body = match body {
            0 => &[],
            some => host
                .buffer(Buffer::Call, some.min(ANSWER_BYTES))
                .unwrap_or_default(),
        };
        match Answer::of(headers, body) {
            Answer::Proxy(failure) => drop(engine.on_failure(now, call.request, failure)),
            Answer::Server(status) => {
                let mut limits = Vec::<&[u8], 8>::new();
                for (name, value) in headers.iter() {
                    if name == b"x-sentry-rate-limits" {
                        let _ = limits.push(value);
                    }
                }
                let response = Response {
                    status,
                    retry_after: headers.get("retry-after"),
                    rate_limits: &limits,
                    content_type: headers.get("content-type"),
                    body,
                    grpc: None,
                    wall: UnixTime::from_micros(self.epoch.wrapping_add(nanos) / 1000),
                };
                let _ = engine.on_response(now, call.request, &response);
                if let Some(root) = owner(&self.roots, call.destination) {
                    let lines = lessons(engine, now, root, call.destination, &response);
                    self.teach(host, now, &lines);
                }
            }
        }
        self.drive(host, context, nanos);
    }

    /// Asks the engine what to do, and does it. Starts [`MOST_STARTS`] requests at most; the rest waits for the next call.
    pub(super) fn drive(&mut self, host: &Host, context: u32, nanos: u64) {
        self.unasked = 0;
        let now = moment(nanos);
        let wall = UnixTime::from_micros(self.epoch.wrapping_add(nanos) / 1000);
        let mut starts = 0;
        while starts < MOST_STARTS && !self.calls.is_full() {
            let Some(engine) = &mut self.engine else { return };
            let ready = match engine.poll(now) {
                Action::Send(request) => {
                    let root = owner(&self.roots, request.destination());
                    let body = match root {
                        Some(root) => write_body(&request, root, wall, &mut self.work.body),
                        None => Err(Failure::Internal),
                    };
                    Ready {
                        id: request.id(),
                        destination: request.destination(),
                        kind: request.kind(),
                        timeout_ms: u32::try_from(request.timeout().as_millis()).unwrap_or(u32::MAX),
                        body,
                    }
                }
                Action::Notice(notice) => {
                    tell(host, &self.roots, notice);
                    continue;
                }
                Action::Idle(_) | Action::Closed => return,
            };
            starts = starts.wrapping_add(1);
            if let Err(failure) = self.start(host, context, &ready)
                && let Some(engine) = &mut self.engine
            {
                let _ = engine.on_failure(now, ready.id, failure);
            }
        }
    }

    /// Makes the call for a request.
    fn start(&mut self, host: &Host, context: u32, ready: &Ready) -> Result<(), Failure> {
        let root = owner(&self.roots, ready.destination).ok_or(Failure::Internal)?;
        let body = self.work.body.get(..ready.body?).unwrap_or_default();
        let (_, cluster) = root.server(ready.destination);
        let head = write_head(root, ready, &mut self.work.head).ok_or(Failure::InvalidRequest)?;
        match host.call(cluster, head, body, ready.timeout_ms) {
            Ok(token) => {
                // There is room: `drive` looked.
                self.calls.add(Call {
                    token,
                    context,
                    request: ready.id,
                    destination: ready.destination,
                });
                Ok(())
            }
            Err(CallError::UNKNOWN_CLUSTER) => Err(Failure::Dns),
            Err(CallError(_)) => Err(Failure::Connect),
        }
    }
}

fn write_body(request: &Request<'_>, root: &Root, wall: UnixTime, body: &mut [u8]) -> Result<usize, Failure> {
    let program = &root.settings.program;
    let set = |text: &'_ str| !text.is_empty();
    let context = BodyContext {
        sent_at: wall,
        sdk_name: SDK_NAME,
        sdk_version: env!("CARGO_PKG_VERSION"),
        public_key: root
            .settings
            .sentry
            .as_ref()
            .map_or("", |sentry| &sentry.public_key),
        release: Some(&*program.release).filter(|text| set(text)),
        environment: Some(&*program.environment).filter(|text| set(text)),
        resource: &root.settings.resource,
        scope: SCOPE,
        origins: &[],
    };
    let room = body.len();
    let mut rest = body;
    match request.write_body(&context, &mut rest) {
        Ok(()) => Ok(room.saturating_sub(rest.len())),
        Err(WriteError::Invalid(_)) => Err(Failure::InvalidRequest),
        Err(WriteError::Sink(_) | WriteError::Stalled) => Err(Failure::RequestTooLarge),
    }
}

fn write_head<'h>(root: &Root, ready: &Ready, head: &'h mut [u8]) -> Option<&'h [u8]> {
    let content_type = ready.kind.content_type();
    let post = (&b":method"[..], &b"POST"[..]);
    let kind = (&b"content-type"[..], content_type.as_bytes());
    match (&root.settings.otlp, &root.settings.sentry) {
        (Some(otlp), _) if root.otlp == Some(ready.destination) => {
            let own = [
                post,
                (&b":path"[..], otlp.path.as_bytes()),
                (b":authority", otlp.authority.as_bytes()),
                kind,
                (b"user-agent", CLIENT.as_bytes()),
            ];
            let further = otlp
                .headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            headers::write(head, own.into_iter().chain(further))
        }
        (_, Some(sentry)) => {
            let own = [
                post,
                (&b":path"[..], sentry.path.as_bytes()),
                (b":authority", sentry.authority.as_bytes()),
                kind,
                (b"user-agent", CLIENT.as_bytes()),
                (b"x-sentry-auth", sentry.auth.as_bytes()),
            ];
            headers::write(head, own.into_iter())
        }
        _ => None,
    }
}

/// Says what an operator may want to know.
fn tell(host: &Host, roots: &[Option<Root>], notice: Notice) {
    let Notice::Breaker { destination, state } = notice else {
        return;
    };
    let (server, cluster) = owner(roots, destination).map_or(("", ""), |root| root.server(destination));
    let (level, what) = match state {
        BreakerState::Open => (Level::Warn, "fails; records wait and are tried again"),
        BreakerState::Closed => (Level::Info, "works again"),
        _ => return,
    };
    let mut line = String::<320>::new();
    let _ = write!(line, "surgetank: delivery to {server}, cluster {cluster}, {what}");
    host.log(level, &line);
}
