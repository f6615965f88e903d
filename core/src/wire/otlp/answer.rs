//! What one finished export attempt means: delivered, partly delivered, to be sent again, or lost for good.
//!
//! The rules are those of the OTLP specification 1.11 ("OTLP/HTTP Response", "OTLP/gRPC Response", "Failures",
//! "Throttling", "Size limits"). Where it is silent:
//!
//! - every 2xx is a success, also with a body that cannot be read: the server has said that it took the data;
//! - redirects are final, because following one would hand the credentials on;
//! - a delay of zero, in the past, negative or unreadable is no delay: the own back-off decides;
//! - delays above `limits::MAX_OTLP_SERVER_DELAY` are cut to it; `RetryInfo` counts over gRPC only, `Retry-After` is the
//!   one throttling signal of HTTP.
//!
//! Whether there is a next attempt (age, memory, close) is the engine's to decide; this module only says what the
//! server said. Everything is read in place, once: at most `limits::MAX_ANSWER_BYTES` of body and
//! `limits::MAX_STATUS_DETAILS_BYTES` of trailer.

#[cfg(any(feature = "grpc", test))]
mod details;
mod grpc;
mod message;
mod partial_success;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "grpc", test))]
mod trailers;

pub use grpc::GrpcCode;
pub use message::Message;

use super::protobuf::{Malformed, Reader};
use crate::item::DropReason;
use crate::limits::{MAX_ANSWER_BYTES, MAX_OTLP_SERVER_DELAY};
#[cfg(not(any(feature = "grpc", test)))]
use crate::response::GrpcStatus;
use crate::response::{Failure, Response};
use crate::time::Duration;
use crate::wire::json::{self, JsonError};
use crate::wire::retry_after;
use core::fmt;
use partial_success::{PartialSuccess, unquoted};

/// What the engine does with the records of a request.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict<'a> {
    /// Everything was taken.
    Success {
        /// Something the server, or this module, wants the operator to know. No failure; log it rarely.
        warning: Option<Warning<'a>>,
    },
    /// Taken but for `rejected` items (spans, log records, data points). Never sent again.
    Partial {
        /// Items to count as failed; as the server said it, so it may be more than were sent.
        rejected: u64,
        /// Why; may be empty.
        message: Message<'a>,
    },
    /// Nothing is known to be taken; the same request may be sent again.
    Retry {
        /// When.
        delay: Delay,
        /// The server works and asks for less: it said 429 or `RESOURCE_EXHAUSTED`, or named a delay. Otherwise it, or
        /// the way to it, is out of order.
        throttled: bool,
        /// Why; may be empty.
        message: Message<'a>,
    },
    /// Refused for good: count the items, never send them again.
    Drop {
        /// Who refused it, and with which code.
        refusal: Refusal,
        /// Why; may be empty.
        message: Message<'a>,
    },
}

/// When a request may be sent again. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delay {
    /// After the own, jittered exponential back-off.
    Backoff,
    /// Not before this much time has passed, and not before the own back-off either. Over zero, at most
    /// `limits::MAX_OTLP_SERVER_DELAY`.
    After(Duration),
}

/// A remark on a successful answer. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning<'a> {
    /// The server's own words.
    Server(Message<'a>),
    /// The body is not the message that its content type says.
    UndecodableResponse,
    /// The body is neither protobuf nor JSON: something other than an OTLP server may have answered.
    UnexpectedContentType,
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(message) => message.fmt(f),
            Self::UndecodableResponse => f.write_str("undecodable response"),
            Self::UnexpectedContentType => f.write_str("unexpected content type"),
        }
    }
}

/// Why a request must not be sent again. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// HTTP status that is not retryable.
    Http(u16),
    /// gRPC status that is not retryable.
    Grpc(GrpcCode),
    /// The request is above the size that may be sent.
    RequestTooLarge,
    /// The answer is above the size that may be read.
    ResponseTooLarge,
}

impl Refusal {
    /// True when the server, not the request, is at fault: HTTP 5xx, gRPC `UNKNOWN`, `UNIMPLEMENTED`, `INTERNAL`, and an
    /// answer that is too large.
    #[must_use]
    pub const fn is_server_fault(self) -> bool {
        match self {
            Self::Http(status) => status >= 500,
            Self::Grpc(code) => matches!(
                code,
                GrpcCode::Unknown | GrpcCode::Unimplemented | GrpcCode::Internal
            ),
            Self::RequestTooLarge => false,
            Self::ResponseTooLarge => true,
        }
    }

    /// Under which reason the items are counted as lost.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::RequestTooLarge | Self::Http(413) => DropReason::TooLarge,
            Self::Http(_) | Self::Grpc(_) | Self::ResponseTooLarge => DropReason::SendError,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "http_{status}"),
            Self::Grpc(code) => write!(f, "grpc_{code}"),
            Self::RequestTooLarge => f.write_str("request_too_large"),
            Self::ResponseTooLarge => f.write_str("response_too_large"),
        }
    }
}

/// What an operator may choose about answers. The default is what the specification says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AnswerPolicy {
    /// Retry `RESOURCE_EXHAUSTED` that comes without `RetryInfo`, against the specification.
    ///
    /// The memory limiter extension of the collector answers so while it is short of memory; a conforming client then
    /// loses the data. Servers also answer so to a request that is too large, which this would repeat until it is too
    /// old.
    pub retry_resource_exhausted_without_retry_info: bool,
}

/// What `response` means. Reads body and trailers once.
pub fn of_response<'a>(response: &Response<'a>, policy: AnswerPolicy) -> Verdict<'a> {
    judge(response, policy, error_message)
}

/// The same for who passes no message on: that of an HTTP error is not read.
pub(crate) fn of_response_without_message<'a>(response: &Response<'a>, policy: AnswerPolicy) -> Verdict<'a> {
    judge(response, policy, |_| Message::EMPTY)
}

fn judge<'a>(
    response: &Response<'a>,
    policy: AnswerPolicy,
    error_message: impl Fn(&Response<'a>) -> Message<'a>,
) -> Verdict<'a> {
    match &response.grpc {
        None => of_http(response, error_message),
        Some(status) => of_grpc(response, status, policy),
    }
}

#[cfg(any(feature = "grpc", test))]
use trailers::verdict as of_grpc;

#[cfg(not(any(feature = "grpc", test)))]
const fn of_grpc<'a>(_: &Response<'a>, status: &GrpcStatus<'a>, _: AnswerPolicy) -> Verdict<'a> {
    match status.0 {}
}

/// What it means that no answer came.
pub const fn of_failure(failure: Failure) -> Verdict<'static> {
    let message = Message::EMPTY;
    match failure {
        Failure::RequestTooLarge | Failure::InvalidRequest => Verdict::Drop {
            refusal: Refusal::RequestTooLarge,
            message,
        },
        Failure::ResponseTooLarge => Verdict::Drop {
            refusal: Refusal::ResponseTooLarge,
            message,
        },
        Failure::Dns
        | Failure::Connect
        | Failure::Tls
        | Failure::Timeout
        | Failure::Disconnected
        | Failure::MalformedResponse
        | Failure::Internal => Verdict::Retry {
            delay: Delay::Backoff,
            throttled: false,
            message,
        },
    }
}

fn of_http<'a>(response: &Response<'a>, error_message: impl Fn(&Response<'a>) -> Message<'a>) -> Verdict<'a> {
    match response.status {
        200..=299 => delivered(response.body, ContentType::of(response.content_type)),
        status @ (429 | 502 | 503 | 504) => {
            let delay = retry_after(response);
            Verdict::Retry {
                delay,
                throttled: status == 429 || delay != Delay::Backoff,
                message: error_message(response),
            }
        }
        status => Verdict::Drop {
            refusal: Refusal::Http(status),
            message: error_message(response),
        },
    }
}

/// Reads the body of a successful answer.
fn delivered(body: &[u8], content_type: ContentType) -> Verdict<'_> {
    if body.is_empty() {
        return Verdict::Success { warning: None };
    }
    match content_type {
        ContentType::Protobuf => verdict_of(PartialSuccess::from_protobuf(reader(body)).ok()),
        ContentType::Json => verdict_of(PartialSuccess::from_json(body, is_cut(body))),
        ContentType::Text | ContentType::Other => Verdict::Success {
            warning: Some(Warning::UnexpectedContentType),
        },
    }
}

/// The verdict on a delivered request, whose answer could be read or not.
fn verdict_of(read: Option<PartialSuccess<'_>>) -> Verdict<'_> {
    match read {
        None => Verdict::Success {
            warning: Some(Warning::UndecodableResponse),
        },
        Some(PartialSuccess { rejected: 0, message }) => Verdict::Success {
            warning: (!message.is_empty()).then_some(Warning::Server(message)),
        },
        Some(PartialSuccess { rejected, message }) => Verdict::Partial { rejected, message },
    }
}

/// The words of an error answer: `google.rpc.Status.message`, or the body itself when it is plain text.
fn error_message<'a>(response: &Response<'a>) -> Message<'a> {
    match ContentType::of(response.content_type) {
        ContentType::Protobuf => status_message(reader(response.body)).unwrap_or_default(),
        ContentType::Json => json_status_message(response.body).unwrap_or_default(),
        ContentType::Text => Message::text(response.body),
        ContentType::Other => Message::EMPTY,
    }
}

fn status_message(mut status: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let mut message = Message::EMPTY;
    while let Some(field) = status.next()? {
        if field.number == 2 {
            message = Message::text(field.bytes()?);
        }
    }
    Ok(message)
}

fn json_status_message(status: &[u8]) -> Result<Message<'_>, JsonError> {
    let mut message = Message::EMPTY;
    json::visit_members(status, |member| {
        if member.name == Some(b"message") && member.kind == json::Kind::Text {
            message = Message::json(unquoted(member.value).unwrap_or_default());
        }
    })?;
    Ok(message)
}

/// A host cuts long bodies; what is as long as the cut may go on.
const fn is_cut(body: &[u8]) -> bool {
    body.len() >= MAX_ANSWER_BYTES
}

const fn reader(body: &[u8]) -> Reader<'_> {
    if is_cut(body) {
        Reader::of_prefix(body)
    } else {
        Reader::new(body)
    }
}

/// The delay of `Retry-After`.
fn retry_after(response: &Response<'_>) -> Delay {
    response
        .retry_after
        .and_then(|value| retry_after::parse(value, response.wall))
        .map_or(Delay::Backoff, bounded)
}

/// A server's delay as it is obeyed.
fn bounded(delay: Duration) -> Delay {
    if delay.is_zero() {
        Delay::Backoff
    } else {
        Delay::After(delay.min(MAX_OTLP_SERVER_DELAY))
    }
}

/// What a body holds, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ContentType {
    Protobuf,
    Json,
    Text,
    Other,
}

impl ContentType {
    /// Reads the media type and leaves its parameters alone (RFC 9110, section 8.3.1).
    fn of(value: Option<&[u8]>) -> Self {
        let media_type = value
            .and_then(|value| value.split(|byte| *byte == b';').next())
            .unwrap_or_default()
            .trim_ascii();
        let known = [
            ("application/x-protobuf", Self::Protobuf),
            ("application/protobuf", Self::Protobuf),
            ("application/json", Self::Json),
            ("text/plain", Self::Text),
        ];
        let named = known
            .iter()
            .find(|(name, _)| media_type.eq_ignore_ascii_case(name.as_bytes()));
        named.map_or(Self::Other, |(_, content_type)| *content_type)
    }
}
