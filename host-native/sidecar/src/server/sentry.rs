//! Sentry ingestion: envelopes, the endpoint before them, and where both lead.
//!
//! Status codes and error bodies are Relay's (develop docs, "Envelopes" and "Rate Limiting"; Relay's `ApiErrorResponse`).

use super::{Front, after_body_error, body_status, encoding_of, health, project_otlp};
use crate::answers::{self, Answer, refused};
use crate::body::{BodyError, Encoding, discard};
use crate::relay::{Offer, Place};
use crate::sentry::{
    AuthRefusal, BadEnvelope, Sender, credentials, envelope_of_event, inspect, with_event_id,
};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use surgetank_core::item::Signal;

/// Where a path leads. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route<'a> {
    Envelope(&'a str),
    Store(&'a str),
    Otlp(&'a str, Signal),
    Live,
    Ready,
    None,
}

impl<'a> Route<'a> {
    /// Empty segments do not count: DSNs with a slash too many lead to paths with one.
    fn of(path: &'a str) -> Self {
        let mut segments = [""; 7];
        let mut count = 0;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let Some(place) = segments.get_mut(count) else {
                return Self::None;
            };
            *place = segment;
            count += 1;
        }
        match segments.get(..count).unwrap_or_default() {
            ["api", "relay", "healthcheck", "live"] | ["api", "0", "relays", "live"] => Self::Live,
            ["api", "relay", "healthcheck", "ready"] => Self::Ready,
            ["api", project, "envelope"] => Self::Envelope(project),
            ["api", project, "store"] => Self::Store(project),
            ["api", project, "integration", "otlp", "v1", "traces"] => Self::Otlp(project, Signal::Traces),
            ["api", project, "integration", "otlp", "v1", "logs"] => Self::Otlp(project, Signal::Logs),
            _ => Self::None,
        }
    }
}

/// Answers a request on the Sentry port.
pub(super) async fn answer(front: &Front, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let (project, kind) = match Route::of(&path) {
        Route::None => {
            discard(request).await;
            return refused(StatusCode::NOT_FOUND, "no such endpoint", &[]);
        }
        Route::Live | Route::Ready if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            return wrong_method(request, "GET").await;
        }
        Route::Live => return health::live(),
        Route::Ready => return health::ready(front),
        Route::Envelope(project) => (project, Kind::Envelope),
        Route::Store(project) => (project, Kind::Store),
        Route::Otlp(project, signal) => (project, Kind::Otlp(signal)),
    };
    if *request.method() != Method::POST {
        return wrong_method(request, "POST").await;
    }
    let known = match project.parse::<u64>() {
        Ok(project) => credentials(&request, project, front.relay.is_strict())
            .map(|sender| (project, sender))
            .map_err(Into::into),
        Err(_) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad project path parameter",
        )),
    };
    match (known, kind) {
        (Err(refusal), Kind::Otlp(_)) => project_otlp::refuse(request, refusal).await,
        (Err(refusal), Kind::Envelope | Kind::Store) => {
            discard(request).await;
            refusal.answer()
        }
        (Ok((_, sender)), Kind::Otlp(signal)) => project_otlp::answer(front, request, sender, signal).await,
        (Ok((project, sender)), Kind::Envelope) => {
            let taken = take_envelope(front, request, project, sender).await;
            taken.unwrap_or_else(Refusal::answer)
        }
        (Ok((project, sender)), Kind::Store) => {
            let taken = take_event(front, request, project, sender).await;
            taken.unwrap_or_else(Refusal::answer)
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Envelope,
    Store,
    Otlp(Signal),
}

async fn wrong_method(request: Request<Incoming>, right: &'static str) -> Answer {
    discard(request).await;
    let answer = refused(StatusCode::METHOD_NOT_ALLOWED, &format!("use {right}"), &[]);
    answers::with_allow(answer, right)
}

/// A refusal in Relay's words, before it has a format.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    cause: Option<String>,
    body: Option<BodyError>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            cause: None,
            body: None,
        }
    }

    fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(super) fn answer(self) -> Answer {
        let causes: Vec<&str> = self.cause.as_deref().into_iter().collect();
        let answer = refused(self.status, &self.detail, &causes);
        match self.body {
            Some(error) => after_body_error(error, answer),
            None => answer,
        }
    }
}

impl From<AuthRefusal> for Refusal {
    fn from(refusal: AuthRefusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::UNAUTHORIZED);
        Self {
            cause: refusal.cause.map(str::to_owned),
            ..Self::new(status, refusal.detail)
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let detail = match error {
            BodyError::NoMemory => "failed to queue envelope",
            _ => "failed to read request body",
        };
        Self {
            body: Some(error),
            ..Self::new(body_status(error), detail).because(error.to_string())
        }
    }
}

impl From<BadEnvelope> for Refusal {
    fn from(bad: BadEnvelope) -> Self {
        match bad {
            BadEnvelope::Malformed(error) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid event envelope").because(error.to_string())
            }
            BadEnvelope::BadDsn => Self::new(StatusCode::BAD_REQUEST, "bad envelope authentication header"),
            BadEnvelope::Mismatch(what) => Self::new(StatusCode::BAD_REQUEST, "invalid event envelope")
                .because(format!("{what} header mismatch between envelope and request")),
            BadEnvelope::TooLarge(item) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "envelope exceeded size limits for type '{item}' \
                     (https://develop.sentry.dev/sdk/envelopes/#size-limits)"
                ),
            ),
        }
    }
}

async fn take_envelope(
    front: &Front,
    request: Request<Incoming>,
    project: u64,
    sender: Option<Sender>,
) -> Result<Answer, Refusal> {
    let (parts, incoming) = request.into_parts();
    // A coding nobody knows is read as it is, which is what Relay does.
    let encoding = encoding_of(&parts.headers).unwrap_or(Encoding::Identity);
    let received = front
        .body(incoming, &parts.headers, encoding, super::ENVELOPE_BYTES)
        .await?;
    take(front, &received.bytes, project, sender).await
}

async fn take_event(
    front: &Front,
    request: Request<Incoming>,
    project: u64,
    sender: Option<Sender>,
) -> Result<Answer, Refusal> {
    let Some(sender) = sender else {
        discard(request).await;
        return Err(missing_auth());
    };
    let (parts, incoming) = request.into_parts();
    let encoding = encoding_of(&parts.headers).unwrap_or(Encoding::Identity);
    // Base64 takes a third more than what is in it.
    let received = front
        .body(incoming, &parts.headers, encoding, 2 * crate::sentry::EVENT_BYTES)
        .await?;
    let envelope = envelope_of_event(&received.bytes)
        .map_err(|bad| Refusal::new(StatusCode::BAD_REQUEST, "invalid JSON data").because(bad.0))?;
    take(front, &Bytes::from(envelope), project, Some(sender)).await
}

fn missing_auth() -> Refusal {
    AuthRefusal::from(surgetank_core::wire::auth::AuthError::Missing).into()
}

/// Takes a whole envelope, or says why not.
async fn take(
    front: &Front,
    envelope: &[u8],
    project: u64,
    sender: Option<Sender>,
) -> Result<Answer, Refusal> {
    let inspected = inspect(envelope)?;
    inspected.check_sender(project, sender.as_ref().map(Sender::key))?;
    let sender = match sender {
        Some(sender) => sender,
        None => inspected.dsn.clone().ok_or_else(missing_auth)?,
    };
    let completed;
    let (envelope, event_id) = match inspected
        .lacks_event_id
        .then(|| with_event_id(envelope))
        .flatten()
    {
        Some((with_id, id)) => {
            completed = with_id;
            (completed.as_slice(), Some(id))
        }
        None => (envelope, inspected.event_id),
    };
    if inspected.summary.items() == 0 {
        return Ok(answers::accepted(event_id.as_deref()));
    }
    let Ok(destination) = front.relay.destination(Place::Envelopes(sender)).await else {
        return Ok(full("too many projects at a time", &[]));
    };
    let categories = inspected.summary.categories();
    let limits = front.relay.limits(destination);
    let concerned = limits.as_ref().is_some_and(|limits| limits.concern(categories));
    let Some(header) = inspected.summary.record_header(destination) else {
        return Ok(answers::accepted(event_id.as_deref()));
    };
    match (front.relay.offer(&header, envelope), limits) {
        // What no limit covers was taken; what one covers is counted by the engine.
        (Offer::Taken | Offer::Limited, Some(limits)) if concerned => {
            let answer = refused(StatusCode::TOO_MANY_REQUESTS, answers::RATE_LIMITED, &[]);
            let answer = answers::with_retry_after(answer, limits.longest_seconds());
            Ok(answers::with_rate_limits(answer, &limits.header()))
        }
        (Offer::Taken, _) => Ok(answers::accepted(event_id.as_deref())),
        (Offer::Limited, _) => {
            // The limit ran out, or came up, between two looks.
            let answer = refused(StatusCode::TOO_MANY_REQUESTS, answers::RATE_LIMITED, &[]);
            Ok(answers::with_retry_after(answer, answers::FULL_RETRY_SECONDS))
        }
        (Offer::Full, _) => {
            let names: Vec<&str> = categories
                .iter()
                .map(surgetank_core::item::Category::as_str)
                .collect();
            Ok(full("envelope buffer does not have capacity", &names))
        }
        (Offer::Closed, _) => Ok(full("the relay is shutting down", &[])),
    }
}

/// There is no room at present. `categories` keeps SDKs that understand it from holding back more than these.
fn full(cause: &str, categories: &[&str]) -> Answer {
    let answer = refused(
        StatusCode::SERVICE_UNAVAILABLE,
        "failed to queue envelope",
        &[cause],
    );
    let answer = answers::with_retry_after(answer, answers::FULL_RETRY_SECONDS);
    if categories.is_empty() {
        return answer;
    }
    let group = format!(
        "{}:{}:key:queue_full",
        answers::FULL_RETRY_SECONDS,
        categories.join(";")
    );
    answers::with_rate_limits(answer, &group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_relays_do() {
        for (path, route) in [
            ("/api/42/envelope/", Route::Envelope("42")),
            ("/api/42/envelope", Route::Envelope("42")),
            ("//api//42/store/", Route::Store("42")),
            (
                "/api/42/integration/otlp/v1/traces",
                Route::Otlp("42", Signal::Traces),
            ),
            (
                "/api/42/integration/otlp/v1/logs/",
                Route::Otlp("42", Signal::Logs),
            ),
            ("/api/42/integration/otlp/v1/metrics", Route::None),
            ("/api/relay/healthcheck/live/", Route::Live),
            ("/api/relay/healthcheck/ready/", Route::Ready),
            ("/api/0/relays/live/", Route::Live),
            ("/api/42/envelope/more", Route::None),
            ("/a/b/c/d/e/f/g/h/i", Route::None),
            ("/", Route::None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
