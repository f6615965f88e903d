//! Answers as the real servers give them: Relay's JSON for Sentry, google.rpc.Status for OTLP.
//!
//! Follows Relay's API errors (`{"detail", "causes"}`) and the OTLP specification, "OTLP/HTTP Response": the body of an
//! answer has the format of the request, and a failure is a `google.rpc.Status`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName,
    HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use surgetank_core::time::Duration;
use surgetank_core::wire::otlp::answer::GrpcCode;
use surgetank_core::wire::otlp::protobuf::Writer;
use surgetank_core::wire::otlp::reply::RpcStatus;

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

const RATE_LIMITS: HeaderName = HeaderName::from_static("x-sentry-rate-limits");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How long a sender refused for want of room is asked to wait, in seconds: short, because room comes back in moments,
/// and because some SDKs stop everything, errors too, while they wait.
pub(crate) const FULL_RETRY_SECONDS: u64 = 1;

/// Relay's words under a 429.
pub(crate) const RATE_LIMITED: &str = "Sentry dropped data due to a quota or internal rate limit being reached. This \
    will not affect your application. See https://docs.sentry.io/product/accounts/quotas/ for more information.";

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, JSON, body.into())
}

/// An answer in words.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Answer {
    with_body(status, TEXT, Bytes::from_static(body.as_bytes()))
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// `{"id":"..."}`, or `{}` for an envelope without an event.
pub(crate) fn accepted(event_id: Option<&str>) -> Answer {
    match event_id {
        // Hexadecimal digits: nothing to escape.
        Some(id) => json(StatusCode::OK, format!("{{\"id\":\"{id}\"}}")),
        None => json(StatusCode::OK, &b"{}"[..]),
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    causes: &'a [&'a str],
}

/// Relay's error body.
pub(crate) fn refused(status: StatusCode, detail: &str, causes: &[&str]) -> Answer {
    // Strings only: this cannot fail.
    json(
        status,
        serde_json::to_vec(&ErrorBody { detail, causes }).unwrap_or_default(),
    )
}

/// Adds `Retry-After`.
pub(crate) fn with_retry_after(mut answer: Answer, seconds: u64) -> Answer {
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// Adds `X-Sentry-Rate-Limits`.
pub(crate) fn with_rate_limits(mut answer: Answer, groups: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(groups) {
        answer.headers_mut().insert(RATE_LIMITS, value);
    }
    answer
}

/// Asks for the connection to be closed after the answer: the rest of the request cannot be read.
pub(crate) fn closing(mut answer: Answer) -> Answer {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Says which method would be right.
pub(crate) fn with_allow(mut answer: Answer, methods: &'static str) -> Answer {
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

/// Lets the scripts of any web page read the answer, as Sentry does: what they can do is send telemetry.
pub(crate) fn with_cors(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("x-sentry-error,x-sentry-rate-limits,retry-after"),
    );
    answer
}

/// The answer to a browser that asks whether it may send.
pub(crate) fn preflight(requested_headers: Option<&HeaderValue>) -> Answer {
    let mut answer = Response::new(Full::default());
    let headers = answer.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, OPTIONS"),
    );
    // OTLP exporters are configured with headers of any name.
    let allowed = requested_headers
        .cloned()
        .unwrap_or(HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    with_cors(answer)
}

/// Format of an OTLP request, and so of its answer. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OtlpFormat {
    Protobuf,
    Json,
}

impl OtlpFormat {
    /// The format that a `Content-Type` names.
    pub(crate) fn of(content_type: Option<&HeaderValue>) -> Option<Self> {
        let essence = content_type?
            .as_bytes()
            .split(|byte| *byte == b';')
            .next()?
            .trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/x-protobuf") {
            Some(Self::Protobuf)
        } else if essence.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// Everything was taken: an `Export*ServiceResponse` without `partial_success`.
    pub(crate) fn accepted(self) -> Answer {
        match self {
            Self::Protobuf => with_body(StatusCode::OK, PROTOBUF, Bytes::new()),
            Self::Json => json(StatusCode::OK, &b"{\"partialSuccess\":{}}"[..]),
        }
    }

    /// Nothing was taken. `retry_seconds` says when to come again, in the header and in the status.
    pub(crate) fn refused(self, status: StatusCode, message: &str, retry_seconds: Option<u64>) -> Answer {
        let body = RpcStatus {
            code: rpc_code(status),
            message,
            retry_delay: retry_seconds.map(Duration::from_secs),
        };
        let answer = match self {
            Self::Protobuf => {
                let mut bytes = vec![0; body.encoded_len()];
                body.encode(&mut Writer::new(&mut bytes));
                with_body(status, PROTOBUF, bytes.into())
            }
            Self::Json => {
                let mut bytes = JsonBytes(Vec::new());
                // Memory takes everything.
                let _ = body.write_json(&mut bytes);
                json(status, bytes.0)
            }
        };
        match retry_seconds {
            Some(seconds) => with_retry_after(answer, seconds),
            None => answer,
        }
    }
}

/// A body being written.
struct JsonBytes(Vec<u8>);

impl embedded_io::ErrorType for JsonBytes {
    type Error = std::convert::Infallible;
}

impl embedded_io::Write for JsonBytes {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The gRPC code that goes with an HTTP status, as Relay and the collector pair them.
fn rpc_code(status: StatusCode) -> GrpcCode {
    match status.as_u16() {
        400 | 415 => GrpcCode::InvalidArgument,
        401 => GrpcCode::Unauthenticated,
        403 => GrpcCode::PermissionDenied,
        404 => GrpcCode::NotFound,
        408 | 504 => GrpcCode::DeadlineExceeded,
        413 | 429 => GrpcCode::ResourceExhausted,
        502 | 503 => GrpcCode::Unavailable,
        _ => GrpcCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn body(answer: Answer) -> Vec<u8> {
        let collected = answer.into_body().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(collected).unwrap().to_bytes().to_vec()
    }

    #[test]
    fn sentry_bodies_look_like_relays() {
        assert_eq!(body(accepted(Some("ab"))), b"{\"id\":\"ab\"}");
        assert_eq!(body(accepted(None)), b"{}");
        let refusal = refused(StatusCode::BAD_REQUEST, "a \"b\"", &["c"]);
        assert_eq!(refusal.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(body(refusal), b"{\"detail\":\"a \\\"b\\\"\",\"causes\":[\"c\"]}");
    }

    #[test]
    fn otlp_answers_have_the_format_of_the_request() {
        let of = |value: &'static str| OtlpFormat::of(Some(&HeaderValue::from_static(value)));
        assert_eq!(of("application/x-protobuf"), Some(OtlpFormat::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Some(OtlpFormat::Json));
        assert_eq!(of("text/plain"), None);
        assert_eq!(OtlpFormat::of(None), None);

        let busy = OtlpFormat::Protobuf.refused(StatusCode::SERVICE_UNAVAILABLE, "full", Some(1));
        assert_eq!(busy.headers()[CONTENT_TYPE], "application/x-protobuf");
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
        assert!(body(busy).starts_with(b"\x08\x0e\x12\x04full\x1a"));
        let bad = OtlpFormat::Json.refused(StatusCode::BAD_REQUEST, "no", None);
        assert_eq!(body(bad), b"{\"code\":3,\"message\":\"no\"}");
        assert_eq!(body(OtlpFormat::Protobuf.accepted()), b"");
    }
}
