//! The HTTP front ends: Sentry ingestion and health on one port, OTLP on the other.
//!
//! An answer waits for nothing but its own request: records go into bounded memory or are refused, both at once.

mod connections;
mod health;
mod otlp;
mod project_otlp;
mod sentry;

pub(crate) use connections::serve;

use crate::answers::{self, Answer};
use crate::body::{BodyError, BodyLimits, Budget, Encoding, Received, receive};
use crate::relay::Relay;
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_ENCODING, HeaderMap};
use hyper::{Method, Request, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of a Sentry envelope (develop docs, "Envelopes", size limits).
const ENVELOPE_BYTES: usize = 200 * 1024 * 1024;
/// Bytes of an OTLP request to a Sentry project: Relay's limit for containers.
const PROJECT_OTLP_BYTES: usize = 12 * 1024 * 1024;
/// Bytes of an OTLP request (OTLP specification 1.11, "Size limits").
const OTLP_BYTES: usize = 64 * 1024 * 1024;

/// Which port a request came in on. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    Sentry,
    Otlp,
}

/// What all requests share.
pub(crate) struct Front {
    relay: Relay,
    budget: Arc<Budget>,
    body_time: Duration,
    stopping: AtomicBool,
    refusals: Refusals,
}

/// Requests that were not taken. They count here alone: their senders were told, and count them themselves.
#[derive(Default, Debug)]
pub(crate) struct Refusals {
    pub(crate) full: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) limited: AtomicU64,
}

impl Front {
    pub(crate) fn new(relay: Relay, body_memory: usize, body_time: Duration) -> Self {
        Self {
            relay,
            budget: Budget::new(body_memory),
            body_time,
            stopping: AtomicBool::new(false),
            refusals: Refusals::default(),
        }
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Health says so from here on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, port: Port, request: Request<Incoming>) -> Answer {
        if request.method() == Method::OPTIONS {
            return answers::preflight(request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS));
        }
        let answer = match port {
            Port::Sentry => sentry::answer(self, request).await,
            Port::Otlp => otlp::answer(self, request).await,
        };
        let refusal = match answer.status().as_u16() {
            429 => Some(&self.refusals.limited),
            503 => Some(&self.refusals.full),
            400..500 => Some(&self.refusals.invalid),
            _ => None,
        };
        if let Some(refusal) = refusal {
            refusal.fetch_add(1, Ordering::Relaxed);
        }
        answers::with_cors(answer)
    }

    /// Reads a body of at most `bytes`, and no more than a record may have.
    async fn body(
        &self,
        incoming: Incoming,
        headers: &HeaderMap,
        encoding: Encoding,
        bytes: usize,
    ) -> Result<Received, BodyError> {
        let limits = BodyLimits {
            bytes: bytes.min(self.relay.max_record_bytes()),
            time: self.body_time,
        };
        receive(incoming, headers, encoding, limits, &self.budget).await
    }
}

/// The coding of a body; `None` for one that is not known.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    headers
        .get(CONTENT_ENCODING)
        .map_or(Some(Encoding::Identity), |value| Encoding::of(value.as_bytes()))
}

/// The status that goes with a body that could not be read.
fn body_status(error: BodyError) -> StatusCode {
    match error {
        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
        BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
        BodyError::Disconnected | BodyError::Malformed(_) => StatusCode::BAD_REQUEST,
    }
}

/// The last touches of an answer to a body that could not be read.
fn after_body_error(error: BodyError, answer: Answer) -> Answer {
    match error {
        BodyError::NoMemory => answers::with_retry_after(answer, answers::FULL_RETRY_SECONDS),
        BodyError::Timeout | BodyError::TooLarge { .. } => answers::closing(answer),
        BodyError::Disconnected | BodyError::Malformed(_) => answer,
    }
}
