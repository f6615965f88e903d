use super::*;
use crate::limits::MAX_STATUS_DETAILS_BYTES;
use crate::response::GrpcStatus;
use crate::time::UnixTime;
use crate::wire::otlp::protobuf::{Out, Writer};
use std::string::ToString;

const PROTOBUF: Option<&[u8]> = Some(b"application/x-protobuf");

fn http<'a>(status: u16, content_type: Option<&'a [u8]>, body: &'a [u8]) -> Response<'a> {
    Response {
        status,
        content_type,
        body,
        ..Response::default()
    }
}

fn verdict<'a>(response: &Response<'a>) -> Verdict<'a> {
    of_response(response, AnswerPolicy::default())
}

fn delay_of(verdict: Verdict<'_>) -> Delay {
    match verdict {
        Verdict::Retry { delay, .. } => delay,
        other => panic!("not a retry: {other:?}"),
    }
}

fn grpc(code: u32, details: &[u8]) -> Response<'_> {
    Response {
        status: 200,
        grpc: Some(GrpcStatus {
            code: Some(code),
            message: Some(b"out%20of memory"),
            details: Some(details),
        }),
        ..Response::default()
    }
}

#[test]
fn only_four_http_statuses_are_retried() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Verdict::Success { warning: None },
            429 | 502 | 503 | 504 => Verdict::Retry {
                delay: Delay::Backoff,
                throttled: status == 429,
                message: Message::EMPTY,
            },
            _ => Verdict::Drop {
                refusal: Refusal::Http(status),
                message: Message::EMPTY,
            },
        };
        assert_eq!(verdict(&http(status, None, b"")), expected);
    }
}

#[test]
fn six_grpc_codes_are_retried_without_details() {
    for code in 1..=20 {
        let retried = matches!(verdict(&grpc(code, b"")), Verdict::Retry { .. });
        assert_eq!(retried, matches!(code, 1 | 4 | 10 | 11 | 14 | 15), "{code}");
    }
}

#[test]
fn exhausted_without_retry_info_is_retried_only_when_asked_to() {
    let bare = grpc(8, b"");
    assert!(matches!(verdict(&bare), Verdict::Drop { .. }));
    let policy = AnswerPolicy {
        retry_resource_exhausted_without_retry_info: true,
    };
    assert_eq!(delay_of(of_response(&bare, policy)), Delay::Backoff);
}

#[test]
fn a_server_that_names_a_delay_is_throttling_not_broken() {
    let throttled = |response: &Response<'_>| match verdict(response) {
        Verdict::Retry { throttled, .. } => throttled,
        other => panic!("not a retry: {other:?}"),
    };
    let after = |retry_after: &'static [u8]| Response {
        retry_after: Some(retry_after),
        ..http(503, None, b"")
    };
    assert!(throttled(&after(b"3")));
    assert!(!throttled(&after(b"0")));
    let details = status(RETRY_INFO, b"", false);
    assert!(throttled(&grpc(14, &details)));
    assert!(throttled(&grpc(8, &details)));
    assert!(!throttled(&grpc(14, b"")));
}

#[test]
fn seconds_are_digits_only_and_capped() {
    for (value, expected) in [
        (&b"1"[..], Delay::After(Duration::from_secs(1))),
        (b"\t007 ", Delay::After(Duration::from_secs(7))),
        (b"600", Delay::After(Duration::from_secs(600))),
        (b"601", Delay::After(MAX_OTLP_SERVER_DELAY)),
        (b"99999999999999999999999", Delay::After(MAX_OTLP_SERVER_DELAY)),
        (b"0", Delay::Backoff),
        (b"", Delay::Backoff),
        (b"+3", Delay::Backoff),
        (b"-3", Delay::Backoff),
        (b"1.5", Delay::Backoff),
        (b"3, 4", Delay::Backoff),
        (b"soon", Delay::Backoff),
    ] {
        let response = Response {
            retry_after: Some(value),
            ..http(504, None, b"")
        };
        assert_eq!(
            delay_of(verdict(&response)),
            expected,
            "{:?}",
            value.escape_ascii().to_string()
        );
    }
}

#[test]
fn dates_are_delays_from_the_moment_of_the_answer() {
    for (date, expected) in [
        (
            &b"Thu, 01 Jan 2026 00:00:37 GMT"[..],
            Delay::After(Duration::from_secs(37)),
        ),
        (
            b"Fri, 02 Jan 2026 00:00:00 GMT",
            Delay::After(MAX_OTLP_SERVER_DELAY),
        ),
        (b"Thu, 01 Jan 2026 00:00:00 GMT", Delay::Backoff),
        (b"Wed, 31 Dec 2025 23:59:00 GMT", Delay::Backoff),
    ] {
        let response = Response {
            retry_after: Some(date),
            wall: UnixTime::from_secs(1_767_225_600),
            ..http(503, None, b"")
        };
        assert_eq!(delay_of(verdict(&response)), expected);
    }
}

#[test]
fn retry_after_on_a_final_status_changes_nothing() {
    let response = Response {
        retry_after: Some(b"5"),
        ..http(500, None, b"")
    };
    assert!(matches!(verdict(&response), Verdict::Drop { .. }));
}

#[test]
fn an_error_body_gives_its_message() {
    for (content_type, body, expected) in [
        (&b"application/x-protobuf"[..], &b"\x08\x03\x12\x03bad"[..], "bad"),
        (b"application/X-Protobuf ; q=1", b"\x12\x03bad", "bad"),
        (b"application/x-protobuf", b"\x12\x09bad", ""),
        (b"text/plain; charset=utf-8", b"too large", "too large"),
        (
            b"application/json",
            br#"{"code":3,"details":[{}],"message":"b\u0061d"}"#,
            "bad",
        ),
        (b"application/json", br#"{"message":7}"#, ""),
        (b"text/html", b"<h1>no</h1>", ""),
    ] {
        let refused = verdict(&http(400, Some(content_type), body));
        let Verdict::Drop { message, .. } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(message.to_string(), expected);
    }
}

#[test]
fn a_message_longer_than_what_is_read_still_gives_the_count() {
    let mut body = std::vec![b'x'; MAX_ANSWER_BYTES];
    body[..9].copy_from_slice(b"\x0a\xff\xff\x7f\x08\x05\x12\xff\xff");
    body[9] = 0x70;
    let Verdict::Partial { rejected, message } = verdict(&http(200, PROTOBUF, &body)) else {
        panic!("not partial");
    };
    assert_eq!(rejected, 5);
    assert!(message.to_string().starts_with("xxx"));
    body.pop();
    assert_eq!(
        verdict(&http(200, PROTOBUF, &body)),
        Verdict::Success {
            warning: Some(Warning::UndecodableResponse)
        }
    );
}

fn json(body: &[u8]) -> Verdict<'_> {
    verdict(&http(200, Some(b"application/json; charset=utf-8"), body))
}

#[test]
fn json_answers_are_read() {
    for (body, rejected, message) in [
        (
            &br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"a\nb"}}"#[..],
            3,
            "a\nb",
        ),
        (br#"{"partialSuccess":{"rejectedLogRecords":2}}"#, 2, ""),
        (
            br#"{"partialSuccess":{"rejectedDataPoints":"1"},"x":[{}]}"#,
            1,
            "",
        ),
        (
            br#" {"partialSuccess" : {"rejectedSpans":4.0,"errorMessage":null}} "#,
            4,
            "",
        ),
    ] {
        let expected = Verdict::Partial {
            rejected,
            message: Message::text(message.as_bytes()),
        };
        assert_eq!(json(body), expected, "{}", body.escape_ascii());
    }
    for (body, warning) in [
        (&b"{}"[..], None),
        (br#"{"partialSuccess":null}"#, None),
        (br#"{"partialSuccess":{"rejectedSpans":null}}"#, None),
        (br#"{"partialSuccess":{"rejected_spans":3}}"#, None),
        (br#"{"partialSuccess":{"rejectedSpans":-3}}"#, None),
        (
            br#"{"partialSuccess":{"errorMessage":"hm"}}"#,
            Some(Warning::Server(Message::text(b"hm"))),
        ),
        (br#"{"partialSuccess":[]}"#, Some(Warning::UndecodableResponse)),
        (
            br#"{"partialSuccess":{"rejectedSpans":"x"}}"#,
            Some(Warning::UndecodableResponse),
        ),
        (
            br#"{"partialSuccess":{"rejectedSpans":1}"#,
            Some(Warning::UndecodableResponse),
        ),
        (b"{} {}", Some(Warning::UndecodableResponse)),
        (b"[]", Some(Warning::UndecodableResponse)),
        (b"ok", Some(Warning::UndecodableResponse)),
    ] {
        assert_eq!(
            json(body),
            Verdict::Success { warning },
            "{}",
            body.escape_ascii()
        );
    }
}

#[test]
fn a_json_answer_longer_than_what_is_read_still_gives_the_count() {
    let mut body = br#"{"partialSuccess":{"rejectedSpans":5,"errorMessage":""#.to_vec();
    body.resize(MAX_ANSWER_BYTES, b'x');
    let expected = Verdict::Partial {
        rejected: 5,
        message: Message::EMPTY,
    };
    assert_eq!(json(&body), expected);
}

#[test]
fn a_grpc_body_must_be_framed() {
    let ok = |body| Response { body, ..grpc(0, b"") };
    let undecodable = Verdict::Success {
        warning: Some(Warning::UndecodableResponse),
    };
    for body in [
        &b"\0"[..],
        b"\0\0\0\0\x01",
        b"\x01\0\0\0\0",
        b"\0\0\0\0\x01\x0f",
        b"\0\0\x40\0\0",
    ] {
        assert_eq!(verdict(&ok(body)), undecodable, "{body:?}");
    }
    assert_eq!(verdict(&ok(b"")), Verdict::Success { warning: None });
    assert!(matches!(verdict(&ok(b"\0\0\x40\0\x01")), Verdict::Drop { .. }));
}

#[test]
fn a_proxy_answering_a_grpc_call_is_judged_by_its_http_status() {
    let proxy = |status| Response {
        retry_after: Some(b"9"),
        grpc: Some(GrpcStatus::default()),
        ..http(status, None, b"")
    };
    assert_eq!(
        delay_of(verdict(&proxy(503))),
        Delay::After(Duration::from_secs(9))
    );
    let Verdict::Drop { refusal, .. } = verdict(&proxy(404)) else {
        panic!("not dropped");
    };
    assert_eq!(refusal.to_string(), "grpc_UNIMPLEMENTED");
}

#[test]
fn sizes_are_the_only_final_failures() {
    for (failure, refusal) in [
        (Failure::RequestTooLarge, "request_too_large"),
        (Failure::ResponseTooLarge, "response_too_large"),
    ] {
        let Verdict::Drop { refusal: read, .. } = of_failure(failure) else {
            panic!("{failure:?} is retried");
        };
        assert_eq!(read.to_string(), refusal);
    }
    assert_eq!(delay_of(of_failure(Failure::Timeout)), Delay::Backoff);
}

/// Standard base64 without padding.
fn base64(bytes: &[u8]) -> std::vec::Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = std::vec::Vec::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .enumerate()
            .fold(0, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..=group.len() {
            text.push(DIGITS[(word >> (18 - 6 * digit) & 63) as usize]);
        }
    }
    text
}

/// A `Status` with one detail.
fn status(type_url: &[u8], value: &[u8], value_first: bool) -> std::vec::Vec<u8> {
    let mut any = std::vec![0; 512];
    let mut writer = Writer::new(&mut any);
    writer.varint_field(1, 14);
    writer.bytes_field(2, b"busy");
    let detail = writer.open(3);
    if value_first {
        writer.bytes_field(2, value);
    }
    writer.bytes_field(1, type_url);
    if !value_first {
        writer.bytes_field(2, value);
    }
    writer.close(detail);
    let len = writer.finish().unwrap();
    base64(&any[..len])
}

const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";

#[test]
fn retry_info_is_found_in_any_order_and_under_any_host() {
    for (type_url, value_first, found) in [
        (RETRY_INFO, false, true),
        (RETRY_INFO, true, true),
        (b"example.org/x/google.rpc.RetryInfo", true, true),
        (b"google.rpc.RetryInfo", false, false),
        (b"type.googleapis.com/google.rpc.RetryInfo2", false, false),
        (b"type.googleapis.com/google.rpc.RetryInf", false, false),
        (
            b"type.googleapis.com/google.rpc.Xgoogle.rpc.RetryInfo",
            false,
            false,
        ),
    ] {
        let trailer = status(type_url, b"\x0a\x02\x08\x05", value_first);
        let expected = found.then_some(Duration::from_secs(5));
        assert_eq!(details::retry_info(&trailer), expected, "{type_url:?}");
    }
}

#[test]
fn padding_is_optional_and_checked() {
    let trailer = status(RETRY_INFO, b"\x0a\x02\x08\x05", false);
    let mut padded = trailer.clone();
    while !padded.len().is_multiple_of(4) {
        padded.push(b'=');
    }
    assert_ne!(padded, trailer, "the test needs a length that is padded");
    for good in [&trailer[..], &padded] {
        assert_eq!(details::retry_info(good), Some(Duration::from_secs(5)));
    }
    padded.push(b'=');
    assert_eq!(details::retry_info(&padded), None);
    let mut joined = trailer.clone();
    joined.extend_from_slice(b",AAAA");
    assert_eq!(details::retry_info(&joined), Some(Duration::from_secs(5)));
}

#[test]
fn durations_that_are_none_name_no_delay() {
    for value in [
        &b""[..],
        b"\x0a\x00",
        b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x06\x10\x80\x94\xeb\xdc\x03",
        b"\x0a\x02\x08\xff",
    ] {
        assert_eq!(
            details::retry_info(&status(RETRY_INFO, value, false)),
            Some(Duration::ZERO),
            "{value:?}"
        );
    }
}

#[test]
fn a_delay_in_parts_is_merged() {
    for (value, millis) in [
        (&b"\x0a\x02\x08\x01\x0a\x06\x10\x80\xca\xb5\xee\x01"[..], 1_500),
        (b"\x0a\x02\x08\x05\x48\x01\x0a\x02\x08\x07", 7_000),
        (b"\x0a\x02\x08\xff\x0a\x02\x08\x07", 7_000),
        (b"\x0a\x02\x08\x07\x0a\x02\x08\xff", 0),
    ] {
        let trailer = status(RETRY_INFO, value, false);
        assert_eq!(
            details::retry_info(&trailer),
            Some(Duration::from_millis(millis)),
            "{value:?}"
        );
    }
}

#[test]
fn nanoseconds_round_up() {
    let trailer = status(RETRY_INFO, b"\x0a\x04\x08\x01\x10\x01", false);
    assert_eq!(
        details::retry_info(&trailer),
        Some(Duration::from_micros(1_000_001))
    );
}

#[test]
fn unreadable_details_are_no_details() {
    let good = status(RETRY_INFO, b"\x0a\x02\x08\x05", false);
    for cut in 1..good.len() {
        assert_eq!(details::retry_info(&good[..cut]), None, "{cut}");
    }
    let mut bad = good.clone();
    bad[20] = b'*';
    assert_eq!(details::retry_info(&bad), None);
    let long = std::vec![b'A'; MAX_STATUS_DETAILS_BYTES + 1];
    assert_eq!(details::retry_info(&long), None);
    assert_eq!(details::retry_info(&status(RETRY_INFO, b"\xff", false)), None);
}

#[test]
fn a_detail_of_another_type_may_hold_anything() {
    let mut two = std::vec::Vec::new();
    let mut detail = |value: &[u8], name: &[u8]| {
        let mut any = std::vec![0x12, value.len() as u8];
        any.extend_from_slice(value);
        any.extend_from_slice(&[0x0a, name.len() as u8]);
        any.extend_from_slice(name);
        two.extend_from_slice(&[0x1a, any.len() as u8]);
        two.extend_from_slice(&any);
    };
    detail(b"\x0a\x05\x08\xff\xff\xff\xff\xff", b"x/google.rpc.BadRequest");
    detail(b"\x0a\x02\x08\x05", b"x/google.rpc.RetryInfo");
    detail(b"\x0a\x02\x08\x09", b"x/google.rpc.RetryInfo");
    assert_eq!(details::retry_info(&base64(&two)), Some(Duration::from_secs(5)));
}
