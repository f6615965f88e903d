//! OTLP to a Sentry project: Sentry's keys and limits, OTLP's bodies and answers.

use super::otlp::{parse, unreadable};
use super::sentry::Refusal;
use super::{Front, PROJECT_OTLP_BYTES, encoding_of};
use crate::answers::{self, Answer, OtlpFormat, refused};
use crate::body::{Encoding, discard};
use crate::relay::Place;
use crate::sentry::Sender;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use surgetank_core::item::Signal;

/// Refuses a request whose key or project was refused, in the request's own format.
pub(super) async fn refuse(request: Request<Incoming>, refusal: Refusal) -> Answer {
    let format = OtlpFormat::of(request.headers().get(CONTENT_TYPE));
    discard(request).await;
    match format {
        Some(format) => format.refused(refusal.status, &refusal.detail, None),
        None => refusal.answer(),
    }
}

/// Takes a request, or says why not.
pub(super) async fn answer(
    front: &Front,
    request: Request<Incoming>,
    sender: Option<Sender>,
    signal: Signal,
) -> Answer {
    let Some(format) = OtlpFormat::of(request.headers().get(CONTENT_TYPE)) else {
        discard(request).await;
        let detail = "expected content type application/json or application/x-protobuf";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail, &[]);
    };
    let Some(sender) = sender else {
        discard(request).await;
        return format.refused(
            StatusCode::UNAUTHORIZED,
            "missing authorization information",
            None,
        );
    };
    let (parts, incoming) = request.into_parts();
    let encoding = encoding_of(&parts.headers).unwrap_or(Encoding::Identity);
    let body = match front
        .body(incoming, &parts.headers, encoding, PROJECT_OTLP_BYTES)
        .await
    {
        Ok(received) => received,
        Err(error) => return unreadable(format, error),
    };
    let header = match parse(signal, format, &body.bytes) {
        Ok(Some(header)) => header,
        Ok(None) => return format.accepted(),
        Err(error) => return format.refused(StatusCode::BAD_REQUEST, &error, None),
    };
    // A limit that the project's envelopes ran into holds for its OTLP, too.
    if let Some(envelopes) = front.relay.known_destination(&Place::Envelopes(sender.clone()))
        && let Some(limits) = front.relay.limits(envelopes)
        && limits.concern(header.categories)
    {
        let seconds = limits.longest_seconds();
        let answer = format.refused(
            StatusCode::TOO_MANY_REQUESTS,
            answers::RATE_LIMITED,
            Some(seconds),
        );
        return answers::with_rate_limits(answer, &limits.header());
    }
    let Ok(destination) = front.relay.destination(Place::ProjectOtlp(sender)).await else {
        return super::otlp::full(format, "too many projects at a time");
    };
    super::otlp::offered(format, front.relay.offer(&header.at(destination), &body.bytes))
}
