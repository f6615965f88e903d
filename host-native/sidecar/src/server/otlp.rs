//! OTLP over HTTP: three paths, two formats (OTLP specification, "OTLP/HTTP").
//!
//! Where the specification leaves the answer open, the collector's receiver is followed: 405 and 415 in words, 400 for
//! a content coding that is not known.

use super::{Front, OTLP_BYTES, after_body_error, body_status, encoding_of};
use crate::answers::{self, Answer, OtlpFormat};
use crate::body::{BodyError, discard};
use crate::relay::{Offer, Place, passed_headers};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use surgetank_core::item::{Category, CategorySet, DestinationId, Form, Header, Signal, TraceKey};
use surgetank_core::wire::otlp::count;

/// Answers a request on the OTLP port.
pub(super) async fn answer(front: &Front, request: Request<Incoming>) -> Answer {
    let signal = match request.uri().path().trim_end_matches('/') {
        "/v1/traces" => Signal::Traces,
        "/v1/logs" => Signal::Logs,
        "/v1/metrics" => Signal::Metrics,
        _ => {
            discard(request).await;
            return answers::text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
    };
    if *request.method() != Method::POST {
        discard(request).await;
        let answer = answers::text(
            StatusCode::METHOD_NOT_ALLOWED,
            "405 method not allowed, supported: [POST]",
        );
        return answers::with_allow(answer, "POST");
    }
    let Some(format) = OtlpFormat::of(request.headers().get(CONTENT_TYPE)) else {
        discard(request).await;
        return answers::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "415 unsupported media type, supported: [application/json, application/x-protobuf]",
        );
    };
    let Some(encoding) = encoding_of(request.headers()) else {
        discard(request).await;
        let message = "unsupported Content-Encoding; supported: gzip, deflate, br, zstd, identity";
        return format.refused(StatusCode::BAD_REQUEST, message, None);
    };
    let (parts, incoming) = request.into_parts();
    let body = match front.body(incoming, &parts.headers, encoding, OTLP_BYTES).await {
        Ok(received) => received,
        Err(error) => return unreadable(format, error),
    };
    let header = match parse(signal, format, &body.bytes) {
        Ok(Some(header)) => header,
        Ok(None) => return format.accepted(),
        Err(error) => return format.refused(StatusCode::BAD_REQUEST, &error, None),
    };
    let Ok(destination) = front
        .relay
        .destination(Place::Otlp(passed_headers(&parts.headers)))
        .await
    else {
        return full(format, "too many senders with credentials of their own at a time");
    };
    offered(format, front.relay.offer(&header.at(destination), &body.bytes))
}

/// What is known of a request before its destination is.
pub(super) struct Parsed {
    form: Form,
    category: Category,
    records: u32,
    trace: TraceKey,
    pub(super) categories: CategorySet,
}

impl Parsed {
    pub(super) fn at(&self, destination: DestinationId) -> Header {
        Header::new(destination, self.form, self.category, self.records).in_trace(self.trace)
    }
}

/// Reads a request as far as the engine must know it; `None` for one without records, which succeeds. What is
/// accepted may be joined with others on its way out, so it is checked to its last byte.
///
/// # Errors
/// What is wrong with it, for its sender.
pub(super) fn parse(signal: Signal, format: OtlpFormat, body: &[u8]) -> Result<Option<Parsed>, String> {
    let contents = match format {
        OtlpFormat::Protobuf => count::of_protobuf(signal, body).map_err(|error| error.to_string()),
        OtlpFormat::Json => count::of_json(signal, body).map_err(|error| error.to_string()),
    };
    let contents = contents.map_err(|error| format!("not an OTLP {} request: {error}", signal.as_str()))?;
    let category = match signal {
        Signal::Traces => Category::Span,
        Signal::Logs => Category::LogItem,
        Signal::Metrics => Category::TraceMetric,
    };
    let form = match format {
        OtlpFormat::Protobuf => Form::OtlpRequest,
        OtlpFormat::Json => Form::OtlpJson,
    };
    Ok((contents.items > 0).then_some(Parsed {
        form,
        category,
        records: contents.items,
        trace: contents.trace,
        categories: CategorySet::of(category),
    }))
}

/// The answer to a body that could not be read.
pub(super) fn unreadable(format: OtlpFormat, error: BodyError) -> Answer {
    after_body_error(
        error,
        format.refused(body_status(error), &error.to_string(), retry_seconds(error)),
    )
}

fn retry_seconds(error: BodyError) -> Option<u64> {
    matches!(error, BodyError::NoMemory).then_some(answers::FULL_RETRY_SECONDS)
}

/// The answer to a request that was offered.
pub(super) fn offered(format: OtlpFormat, offer: Offer) -> Answer {
    match offer {
        Offer::Taken => format.accepted(),
        Offer::Full => full(format, "the queue is full"),
        Offer::Closed => full(format, "shutting down"),
        Offer::Limited => format.refused(
            StatusCode::TOO_MANY_REQUESTS,
            "the server asked for fewer requests",
            Some(answers::FULL_RETRY_SECONDS),
        ),
    }
}

/// There is no room at present; the sender keeps the request and tries again.
pub(super) fn full(format: OtlpFormat, message: &str) -> Answer {
    format.refused(
        StatusCode::SERVICE_UNAVAILABLE,
        message,
        Some(answers::FULL_RETRY_SECONDS),
    )
}
