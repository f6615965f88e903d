//! OTLP answers: the classes that the specification fixes, and the bounds on what a server may ask for.

use surgetank_core::limits::MAX_OTLP_SERVER_DELAY;
use surgetank_core::response::{GrpcStatus, Response};
use surgetank_core::time::{Duration, UnixTime};
use surgetank_core::wire::otlp::answer::{AnswerPolicy, Delay, Refusal, Verdict, of_response};

use super::tape::Tape;

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let policy = AnswerPolicy {
        retry_resource_exhausted_without_retry_info: tape.flag(),
    };
    let retry_after = tape.flag().then(|| tape.bytes());
    let content_type = tape.flag().then(|| tape.bytes());
    let wall = UnixTime::from_secs(u64::from(u32::from_le_bytes(tape.array())));
    let grpc = tape.flag().then(|| GrpcStatus {
        code: tape.flag().then(|| u32::from(tape.byte())),
        message: tape.flag().then(|| tape.bytes()),
        details: tape.flag().then(|| tape.bytes()),
    });
    let status = 100 + tape.short() % 500;
    let body = tape.rest();
    let response = Response {
        status,
        retry_after,
        content_type,
        grpc,
        wall,
        body,
        ..Response::default()
    };
    let verdict = of_response(&response, policy);
    match verdict {
        Verdict::Success { .. } => {}
        Verdict::Partial { message, .. } | Verdict::Drop { message, .. } => {
            bounded(message.chars(), &response)
        }
        Verdict::Retry { delay, message, .. } => {
            bounded(message.chars(), &response);
            if let Delay::After(delay) = delay {
                assert!(delay > Duration::ZERO && delay <= MAX_OTLP_SERVER_DELAY);
            }
        }
    }
    // OTLP 1.11, "OTLP/HTTP Response" and "OTLP/gRPC Response".
    let taken = matches!(verdict, Verdict::Success { .. } | Verdict::Partial { .. });
    let again = matches!(verdict, Verdict::Retry { .. });
    match response.grpc {
        None => {
            assert_eq!(taken, (200..300).contains(&status), "{status}: {verdict:?}");
            assert_eq!(
                again,
                matches!(status, 429 | 502 | 503 | 504),
                "{status}: {verdict:?}"
            );
        }
        Some(GrpcStatus { code: Some(code), .. }) => {
            // A frame that announces more than may be read is refused ("Size limits").
            let oversized = matches!(
                verdict,
                Verdict::Drop {
                    refusal: Refusal::ResponseTooLarge,
                    ..
                }
            );
            assert_eq!(taken || oversized, code == 0, "code {code}: {verdict:?}");
            let retryable = matches!(code, 1 | 4 | 10 | 11 | 14 | 15);
            // RESOURCE_EXHAUSTED depends on RetryInfo and on the policy.
            assert!(code == 8 || again == retryable, "code {code}: {verdict:?}");
            assert!(code != 8 || again || !policy.retry_resource_exhausted_without_retry_info);
        }
        Some(GrpcStatus { code: None, .. }) => {}
    }
}

fn bounded(message: impl Iterator<Item = char>, response: &Response<'_>) {
    let sources = [
        Some(response.body),
        response.grpc.and_then(|grpc| grpc.message),
        response.grpc.and_then(|grpc| grpc.details),
    ];
    let most: usize = sources.into_iter().flatten().map(<[u8]>::len).sum();
    assert!(
        message.count() <= most,
        "a message is longer than all it can come from"
    );
}
