//! Answers over gRPC: the status stands in the trailers, the message in a frame. Only with the feature `grpc`: hosts that speak
//! HTTP alone have no use for it.

use super::partial_success::PartialSuccess;
use super::{
    AnswerPolicy, ContentType, Delay, GrpcCode, Message, Refusal, Verdict, Warning, bounded, delivered,
    details, is_cut, retry_after, verdict_of,
};
use crate::limits::MAX_OTLP_RESPONSE_BYTES;
use crate::response::{GrpcStatus, Response};
use crate::wire::otlp::protobuf::Reader;

/// What an answer over gRPC means.
pub(super) fn verdict<'a>(
    response: &Response<'a>,
    status: &GrpcStatus<'a>,
    policy: AnswerPolicy,
) -> Verdict<'a> {
    let message = Message::percent_encoded(status.message.unwrap_or_default());
    let Some(code) = status.code else {
        return of_proxy(response, message);
    };
    let code = GrpcCode::from_number(code);
    if code == GrpcCode::Ok {
        return of_grpc_body(response.body);
    }
    let refused = Verdict::Drop {
        refusal: Refusal::Grpc(code),
        message,
    };
    let exhausted = code == GrpcCode::ResourceExhausted;
    if !code.is_retryable() && !exhausted {
        return refused;
    }
    let retry_info = details::retry_info(status.details.unwrap_or_default());
    if exhausted && retry_info.is_none() && !policy.retry_resource_exhausted_without_retry_info {
        return refused;
    }
    Verdict::Retry {
        delay: retry_info.map_or(Delay::Backoff, bounded),
        throttled: exhausted || retry_info.is_some(),
        message,
    }
}

/// An HTTP answer to a gRPC call, without a gRPC status: something in between answered.
fn of_proxy<'a>(response: &Response<'a>, message: Message<'a>) -> Verdict<'a> {
    let code = GrpcCode::from_http(response.status);
    if code.is_retryable() {
        let delay = retry_after(response);
        Verdict::Retry {
            delay,
            throttled: response.status == 429 || delay != Delay::Backoff,
            message,
        }
    } else {
        Verdict::Drop {
            refusal: Refusal::Grpc(code),
            message,
        }
    }
}

/// The message in the body of a successful gRPC answer: a flag byte, the length in four bytes, big-endian, the bytes.
fn of_grpc_body(body: &[u8]) -> Verdict<'_> {
    let undecodable = Verdict::Success {
        warning: Some(Warning::UndecodableResponse),
    };
    let Some((&[compressed, a, b, c, d], rest)) = body.split_first_chunk::<5>() else {
        return if body.is_empty() {
            Verdict::Success { warning: None }
        } else {
            undecodable
        };
    };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > MAX_OTLP_RESPONSE_BYTES {
        return Verdict::Drop {
            refusal: Refusal::ResponseTooLarge,
            message: Message::EMPTY,
        };
    }
    if compressed != 0 {
        return undecodable;
    }
    match rest.split_at_checked(len) {
        Some((message, _)) => delivered(message, ContentType::Protobuf),
        None if is_cut(body) => verdict_of(PartialSuccess::from_protobuf(Reader::of_prefix(rest)).ok()),
        None => undecodable,
    }
}
