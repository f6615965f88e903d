//! What servers answer: header values, bodies and trailers of any bytes.

use core::fmt::Write as _;

use surgetank_core::response::{Failure, GrpcStatus, Response};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::answer::{self, AnswerPolicy, Verdict};
use surgetank_core::wire::{rate_limits, retry_after};

use crate::input::Tape;
use crate::output::{Sum, keep};

/// A response of two rate-limit lines and everything else that may be there.
pub(crate) fn with_response(tape: &mut Tape, use_it: impl FnOnce(&Response<'_>)) {
    let lines = [tape.bytes(), tape.bytes()];
    let grpc = GrpcStatus {
        code: (tape.flag()).then(|| tape.word()),
        message: tape.maybe_bytes(),
        details: tape.maybe_bytes(),
    };
    use_it(&Response {
        status: u16::from_le_bytes(tape.array()),
        retry_after: tape.maybe_bytes(),
        rate_limits: lines.get(..usize::from(tape.byte())).unwrap_or(&lines),
        content_type: tape.maybe_bytes(),
        body: tape.bytes(),
        grpc: (tape.flag()).then_some(grpc),
        wall: UnixTime::from_micros(tape.long()),
    });
}

/// `Retry-After`.
#[unsafe(no_mangle)]
extern "C" fn retry_after_value() {
    let mut tape = Tape::new();
    keep(retry_after::parse(
        tape.bytes(),
        UnixTime::from_micros(tape.long()),
    ));
}

/// `X-Sentry-Rate-Limits`, read and written again.
#[unsafe(no_mangle)]
extern "C" fn rate_limit_headers() {
    with_response(&mut Tape::new(), |response| {
        let mut sum = Sum::default();
        for limit in rate_limits::limits(response) {
            keep(write!(sum, "{limit}"));
        }
        keep(sum.value());
    });
}

/// An OTLP answer, over HTTP or gRPC.
#[unsafe(no_mangle)]
extern "C" fn otlp_answer() {
    let mut tape = Tape::new();
    let policy = AnswerPolicy {
        retry_resource_exhausted_without_retry_info: tape.flag(),
    };
    with_response(&mut tape, |response| {
        let verdict = answer::of_response(response, policy);
        if let Verdict::Partial { message, .. } | Verdict::Retry { message, .. } = verdict {
            message.chars().for_each(keep);
        }
        keep(verdict);
    });
}

/// No answer at all.
#[unsafe(no_mangle)]
extern "C" fn otlp_failure() {
    keep(answer::of_failure(failure(&mut Tape::new())));
}

/// Any of the ways to get no answer.
pub(crate) fn failure(tape: &mut Tape) -> Failure {
    match tape.byte() {
        0 => Failure::Dns,
        1 => Failure::Connect,
        2 => Failure::Tls,
        3 => Failure::Timeout,
        4 => Failure::Disconnected,
        5 => Failure::MalformedResponse,
        6 => Failure::RequestTooLarge,
        _ => Failure::Internal,
    }
}
