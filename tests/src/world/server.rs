//! Servers that answer, limit, fail, hang and recover by a script.
//!
//! A server counts the records it took and those whose taking the engine learned of, so that the audit can compare: what
//! the engine calls delivered is exactly what was acknowledged.

use std::collections::BTreeMap;

use surgetank_core::item::DropReason;
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
    pending: BTreeMap<u64, u64>,
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
            pending: BTreeMap::new(),
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

    const fn take(&mut self, sent: &Sent) {
        self.taken += sent.records;
    }

    /// A request arrives; the answer and how long it takes.
    pub(super) fn receive(&mut self, now: Instant, rng: &mut Rng, sent: Sent) -> (Duration, Answer) {
        self.requests += 1;
        self.reports += u64::from(sent.report);
        self.pending.insert(sent.id.bits(), sent.records);
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
