//! Servers that answer, limit, fail, hang and recover by a script.
//!
//! A server counts the records it took and those whose taking the engine learned of, so that the audit can compare: what
//! the engine calls delivered is exactly what was acknowledged.

use std::collections::BTreeMap;

use surgetank_core::item::{Category, DropReason};
use surgetank_core::notice::{Ack, Settlement};
use surgetank_core::request::RequestId;
use surgetank_core::response::{Failure, Response};
use surgetank_core::rng::Rng;
use surgetank_core::time::{Duration, Instant, UnixTime};

use super::{Sent, timed_out};

/// Lines of `X-Sentry-Rate-Limits`.
pub type Lines = &'static [&'static [u8]];

/// How a server behaves for a while.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Takes everything.
    Works,
    /// Takes everything, this many times slower.
    Slow(u64),
    /// Answers with a status and, perhaps, `Retry-After` in seconds; takes nothing.
    Refuses(u16, Option<u64>),
    /// 429 with these rate limits (`X-Sentry-Rate-Limits`); takes nothing.
    Limits(Lines),
    /// Takes everything and names limits all the same.
    WorksAndLimits(Lines),
    /// Nothing listens.
    Away,
    /// Takes the connection and never answers; the host's own time-out ends it.
    Hangs,
    /// The host never reports an outcome: it lost the request.
    Forgets,
    /// Fails each request with this probability in percent: refused, reset after taking it, 500, 503.
    Flaky(u64),
}

/// A server and its script.
#[derive(Clone, Debug)]
pub struct Server {
    /// Least time to an answer.
    pub latency: Duration,
    /// From each moment on, one behaviour; before the first, [`Behaviour::Works`].
    pub script: Vec<(Instant, Behaviour)>,
    /// Requests received.
    pub requests: u64,
    /// Requests that carried a client report.
    pub reports: u64,
    /// Records taken, those whose answer got lost included.
    pub taken: u64,
    /// Records in requests that the engine was told are delivered.
    pub acknowledged: u64,
    /// Records in requests answered with 429, some of which the engine calls delivered.
    pub limited: u64,
    /// Records that came although the host knew of a limit for them, and when the first did.
    pub forbidden: Option<(u64, Instant)>,
    /// Every request: when it came, whether the server took it, and its records.
    pub heard: Vec<Heard>,
    pending: BTreeMap<u64, u64>,
    /// Until when the host knows that what is limited.
    limits: Vec<(Limited, Instant)>,
}

/// A request as the server remembers it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When it came.
    pub at: Instant,
    /// The server took what was in it.
    pub taken: bool,
    /// What was in it.
    pub records: Vec<(Category, u64)>,
}

/// What a limit names: a category by its name, or everything.
type Limited = Option<&'static str>;

/// The groups of well-formed lines: seconds, and what they limit.
fn groups(lines: Lines) -> impl Iterator<Item = (u64, Limited)> {
    let text = |line: &'static [u8]| str::from_utf8(line).expect("scripts are text");
    lines
        .iter()
        .flat_map(move |line| text(line).split(','))
        .flat_map(|group| {
            let mut fields = group.trim().split(':');
            let seconds = fields.next().and_then(|field| field.parse().ok());
            let seconds: u64 = seconds.expect("a group begins with seconds");
            let names = fields.next().unwrap_or_default();
            names
                .split(';')
                .map(move |name| (seconds, (!name.is_empty()).then_some(name)))
        })
}

/// True when such a record must not be sent under that limit. A log is limited by its bytes, too; an OTLP record, which
/// has no name here, by nothing that this header says.
fn covers(limit: Limited, category: Category) -> bool {
    category != Category::Default
        && limit.is_none_or(|name| {
            name == category.as_str() || (category == Category::LogItem && name == Category::LogByte.as_str())
        })
}

/// What comes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An HTTP answer.
    Response(OwnedResponse),
    /// No answer.
    Failure(Failure),
    /// Not even the host says anything.
    Silence,
}

/// The parts of an answer that the worlds use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnedResponse {
    status: u16,
    retry_after: Option<String>,
    limits: Lines,
}

impl OwnedResponse {
    /// The answer as the engine takes it.
    pub(super) fn borrow(&self, wall: UnixTime) -> Response<'_> {
        Response {
            status: self.status,
            retry_after: self.retry_after.as_deref().map(str::as_bytes),
            rate_limits: self.limits,
            wall,
            ..Response::default()
        }
    }
}

impl Server {
    /// A server that answers after about `latency` and follows `script`.
    #[must_use]
    pub const fn new(latency: Duration, script: Vec<(Instant, Behaviour)>) -> Self {
        Self {
            latency,
            script,
            requests: 0,
            reports: 0,
            taken: 0,
            acknowledged: 0,
            limited: 0,
            forbidden: None,
            heard: Vec::new(),
            pending: BTreeMap::new(),
            limits: Vec::new(),
        }
    }

    fn behaviour(&self, now: Instant) -> Behaviour {
        let mut current = Behaviour::Works;
        for (from, behaviour) in &self.script {
            if *from <= now {
                current = behaviour.clone();
            }
        }
        current
    }

    fn take(&mut self, sent: &Sent) {
        self.taken += sent.records.len() as u64;
        if let Some(heard) = self.heard.last_mut() {
            heard.taken = true;
        }
    }

    /// The host gets an answer now, by its own clock, and knows its limits from here on.
    pub(super) fn tell_limits(&mut self, clock: Instant, response: &OwnedResponse) {
        for (seconds, limit) in groups(response.limits) {
            let until = clock.saturating_add(Duration::from_secs(seconds));
            self.limits.push((limit, until));
        }
    }

    /// The host sends now, by its own clock: nothing that it knows to be limited may be in it.
    pub(super) fn check(&mut self, clock: Instant, sent: &Sent) {
        self.limits.retain(|(_, until)| *until > clock);
        let limits = &self.limits;
        let limited = |category| limits.iter().any(|(limit, _)| covers(*limit, category));
        let forbidden = sent
            .records
            .iter()
            .filter(|(category, _)| limited(*category))
            .count() as u64;
        if forbidden > 0 {
            let (before, first) = self.forbidden.unwrap_or((0, clock));
            self.forbidden = Some((before + forbidden, first));
        }
    }

    /// A request arrives; the answer and how long it takes.
    pub(super) fn receive(&mut self, now: Instant, rng: &mut Rng, sent: Sent) -> (Duration, Answer) {
        self.requests += 1;
        self.reports += u64::from(sent.report);
        self.pending.insert(sent.id.bits(), sent.records.len() as u64);
        self.heard.push(Heard {
            at: now,
            taken: false,
            records: sent.records.clone(),
        });
        let latency = rng.jitter(self.latency, 30);
        let status = |status| {
            Answer::Response(OwnedResponse {
                status,
                ..OwnedResponse::default()
            })
        };
        match self.behaviour(now) {
            Behaviour::Works => {
                self.take(&sent);
                (latency, status(200))
            }
            Behaviour::Slow(factor) => {
                let latency = latency.saturating_mul(factor);
                self.take(&sent);
                if latency > sent.timeout {
                    timed_out(sent.timeout)
                } else {
                    (latency, status(200))
                }
            }
            Behaviour::Refuses(code, retry_after) => {
                let retry_after = retry_after.map(|seconds| seconds.to_string());
                (
                    latency,
                    Answer::Response(OwnedResponse {
                        status: code,
                        retry_after,
                        limits: &[],
                    }),
                )
            }
            Behaviour::Limits(limits) => {
                let response = OwnedResponse {
                    status: 429,
                    retry_after: None,
                    limits,
                };
                (latency, Answer::Response(response))
            }
            Behaviour::WorksAndLimits(limits) => {
                self.take(&sent);
                let response = OwnedResponse {
                    status: 200,
                    retry_after: None,
                    limits,
                };
                (latency, Answer::Response(response))
            }
            Behaviour::Away => (Duration::from_millis(1), Answer::Failure(Failure::Connect)),
            Behaviour::Hangs => timed_out(sent.timeout),
            Behaviour::Forgets => (Duration::ZERO, Answer::Silence),
            Behaviour::Flaky(percent) if rng.below(100) < percent => match rng.below(4) {
                0 => (latency, Answer::Failure(Failure::Connect)),
                1 => {
                    self.take(&sent);
                    (latency, Answer::Failure(Failure::Disconnected))
                }
                2 => (latency, status(500)),
                _ => (latency, status(503)),
            },
            Behaviour::Flaky(_) => {
                self.take(&sent);
                (latency, status(200))
            }
        }
    }

    /// The engine took note of the outcome of `id`.
    pub(super) fn acknowledged(&mut self, id: RequestId, ack: Ack) {
        let records = self.pending.remove(&id.bits()).unwrap_or(0);
        match ack {
            Ack::Settled(Settlement::Delivered) => self.acknowledged += records,
            Ack::Settled(Settlement::RateLimited { .. }) => self.limited += records,
            Ack::Settled(_) | Ack::Stale => {}
        }
        debug_assert!(
            !matches!(
                ack,
                Ack::Settled(Settlement::Dropped {
                    reason: DropReason::InternalSdkError
                })
            ),
            "no scripted answer is the engine's own fault"
        );
    }
}
