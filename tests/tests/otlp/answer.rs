//! Answers of every kind are judged without panic, and by their rules.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use surgetank_core::limits::{MAX_ANSWER_BYTES, MAX_OTLP_SERVER_DELAY};
use surgetank_core::response::{GrpcStatus, Response};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::answer::{self, AnswerPolicy, Delay, Verdict, Warning};

use crate::samples;

/// Bodies made of the pieces of answers.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"{\"partialSuccess\":{"[..],
        b"\"rejectedSpans\":\"3\"",
        b"\"errorMessage\":\"a\\u00e9\\ud83e\"",
        b"\"message\":",
        b"}",
        b"{",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"-7",
        b"\"",
        b"\x0a\x02\x08\x03",
        b"\x0a\x03\x12\x01m",
        b"\x12\x02\xff\xfe",
        b"\x1a\x04",
        b"\0\0\0\0\x04",
        b"\0\x7f\xff\xff\xff",
    ]);
    prop_oneof![
        vec(any::<u8>(), 0..60),
        vec(pieces, 0..12).prop_map(|pieces| pieces.concat()),
    ]
}

fn content_type() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(prop_oneof![
        Just(b"application/x-protobuf".to_vec()),
        Just(b"Application/JSON;charset=utf-8".to_vec()),
        Just(b"text/plain".to_vec()),
        vec(any::<u8>(), 0..10),
    ])
}

type Trailers = (Option<u32>, Option<Vec<u8>>, Option<Vec<u8>>);

fn trailers() -> impl Strategy<Value = Option<Trailers>> {
    let details = prop_oneof![
        vec(any::<u8>(), 0..40),
        "[A-Za-z0-9+/]{0,60}={0,3}".prop_map(String::into_bytes),
    ];
    option::of((option::of(0_u32..20), option::of(body()), option::of(details)))
}

proptest! {
    #[test]
    fn every_answer_has_a_verdict_by_the_rules(
        status in 0_u16..1000,
        content_type in content_type(),
        body in body(),
        trailers in trailers(),
        retry_after in option::of("[0-9a-zA-Z :,-]{0,40}"),
        policy in any::<bool>(),
    ) {
        let response = Response {
            status,
            retry_after: retry_after.as_ref().map(String::as_bytes),
            content_type: content_type.as_deref(),
            body: &body,
            grpc: trailers.as_ref().map(|(code, message, details)| GrpcStatus {
                code: *code,
                message: message.as_deref(),
                details: details.as_deref(),
            }),
            wall: UnixTime::from_secs(1_767_225_600),
            ..Response::default()
        };
        let policy = AnswerPolicy { retry_resource_exhausted_without_retry_info: policy };
        let verdict = answer::of_response(&response, policy);
        let delivered = matches!(verdict, Verdict::Success { .. } | Verdict::Partial { .. });
        let retried = matches!(verdict, Verdict::Retry { .. });
        match &trailers {
            None => {
                prop_assert_eq!(delivered, (200..300).contains(&status));
                prop_assert_eq!(retried, matches!(status, 429 | 502..=504));
            }
            Some((Some(code), ..)) => {
                prop_assert!(!delivered || *code == 0);
                prop_assert!(!retried || matches!(code, 1 | 4 | 8 | 10 | 11 | 14 | 15));
            }
            Some((None, ..)) => prop_assert_eq!(retried, matches!(status, 429 | 502..=504)),
        }
        match verdict {
            Verdict::Retry { delay: Delay::After(delay), throttled, .. } => {
                prop_assert!(!delay.is_zero() && delay <= MAX_OTLP_SERVER_DELAY);
                prop_assert!(throttled);
            }
            Verdict::Partial { rejected, .. } => prop_assert!(rejected > 0),
            _ => {}
        }
        // Everything can be shown.
        let shown = format!("{verdict:?}");
        prop_assert!(!shown.is_empty());
    }

    #[test]
    fn a_partial_success_reads_as_it_was_written(rejected in samples::integer(), message in samples::text()) {
        let response = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: message.clone(),
            }),
        };
        let protobuf = response.encode_to_vec();
        let json = serde_json::to_vec(&response).unwrap();
        for (content_type, body) in [
            (&b"application/x-protobuf"[..], &protobuf),
            (b"application/json", &json),
        ] {
            let answer = Response {
                status: 200,
                content_type: Some(content_type),
                body,
                ..Response::default()
            };
            match answer::of_response(&answer, AnswerPolicy::default()) {
                Verdict::Partial { rejected: read, message: words } => {
                    prop_assert_eq!(i64::try_from(read), Ok(rejected));
                    prop_assert!(words == *message.as_str());
                }
                Verdict::Success { warning: Some(Warning::Server(words)) } => {
                    prop_assert!(rejected <= 0 && words == *message.as_str());
                }
                Verdict::Success { warning: None } => prop_assert!(rejected <= 0 && message.is_empty()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn words_are_shown_as_the_standard_library_would(words in vec(any::<u8>(), 0..60)) {
        let answer = Response {
            status: 400,
            content_type: Some(b"text/plain"),
            body: &words,
            ..Response::default()
        };
        let Verdict::Drop { message, .. } = answer::of_response(&answer, AnswerPolicy::default()) else {
            panic!("a 400 is final");
        };
        prop_assert_eq!(message.to_string(), String::from_utf8_lossy(&words));
    }

    /// A body that the host has cut says as much as it says up to there.
    #[test]
    fn the_count_survives_a_cut(rejected in 1_i64..1000, length in 0_usize..200, after in any::<bool>()) {
        let response = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: "x".repeat(MAX_ANSWER_BYTES + length - 100),
            }),
        };
        let (content_type, mut body) = if after {
            (&b"application/x-protobuf"[..], response.encode_to_vec())
        } else {
            (&b"application/json"[..], serde_json::to_vec(&response).unwrap())
        };
        body.truncate(MAX_ANSWER_BYTES);
        let answer = Response {
            status: 200,
            content_type: Some(content_type),
            body: &body,
            ..Response::default()
        };
        let verdict = answer::of_response(&answer, AnswerPolicy::default());
        let Verdict::Partial { rejected: read, .. } = verdict else {
            panic!("not partial: {verdict:?}");
        };
        prop_assert_eq!(read, rejected as u64);
    }
}
