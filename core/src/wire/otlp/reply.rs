//! What a server answers to an export request.
//!
//! A relay answers in the encoding of the request (OTLP specification 1.11, "OTLP/HTTP Response"): 200 with an
//! `Export*ServiceResponse`, every error with a `google.rpc.Status`. [`answer`](super::answer) reads what is written
//! here. Nothing is cut: messages are the relay's own.

use super::answer::GrpcCode;
use super::protobuf::{Length, Out};
use crate::item::Signal;
use crate::time::Duration;
use crate::wire::WriteError;
use crate::wire::json;
use core::fmt::{self, Write as _};
use embedded_io::Write;

/// Type of a `RetryInfo` inside `google.protobuf.Any`.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `Export{Trace,Logs,Metrics}ServiceResponse`. The default is full success: an empty message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ExportResponse<'a> {
    /// Spans, log records or data points that were not taken.
    pub rejected: u32,
    /// Why, or a hint when nothing was rejected; empty for none.
    pub message: &'a str,
}

impl ExportResponse<'_> {
    /// Bytes that [`ExportResponse::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Length::of(|out| self.encode(out))
    }

    /// Writes it in protobuf, the same for all signals.
    pub fn encode<O: Out>(&self, out: &mut O) {
        if *self != Self::default() {
            out.message(1, Length::of(|out| self.encode_partial_success(out)));
            self.encode_partial_success(out);
        }
    }

    fn encode_partial_success<O: Out>(&self, out: &mut O) {
        if self.rejected != 0 {
            out.varint_field(1, u64::from(self.rejected));
        }
        if !self.message.is_empty() {
            out.bytes_field(2, self.message.as_bytes());
        }
    }

    /// Writes it in JSON.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json<W: Write + ?Sized>(
        &self,
        signal: Signal,
        out: &mut W,
    ) -> Result<(), WriteError<W::Error>> {
        let rejected = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
        };
        let mut json = json::Writer::new(out);
        json.begin_object()?;
        if *self != Self::default() {
            json.key("partialSuccess")?.begin_object()?;
            if self.rejected != 0 {
                // ProtoJSON writes 64-bit integers as strings.
                json.key(rejected)?
                    .text(&short(format_args!("{}", self.rejected)))?;
            }
            if !self.message.is_empty() {
                json.key("errorMessage")?.text(self.message)?;
            }
            json.end_object()?;
        }
        json.end_object()?;
        Ok(())
    }
}

/// `google.rpc.Status`, with a `RetryInfo` when it names a delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RpcStatus<'a> {
    /// What went wrong. Clients over HTTP go by the HTTP status instead.
    pub code: GrpcCode,
    /// What went wrong, for people.
    pub message: &'a str,
    /// When the client may come again; whole microseconds. Over HTTP `Retry-After` has to say it too.
    pub retry_delay: Option<Duration>,
}

impl RpcStatus<'_> {
    /// Bytes that [`RpcStatus::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Length::of(|out| self.encode(out))
    }

    /// Writes it in protobuf.
    pub fn encode<O: Out>(&self, out: &mut O) {
        if self.code != GrpcCode::Ok {
            out.varint_field(1, self.code as u64);
        }
        if !self.message.is_empty() {
            out.bytes_field(2, self.message.as_bytes());
        }
        if let Some(delay) = self.retry_delay {
            out.message(3, Length::of(|out| encode_retry_info(delay, out)));
            encode_retry_info(delay, out);
        }
    }

    /// Writes it in JSON.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json<W: Write + ?Sized>(&self, out: &mut W) -> Result<(), WriteError<W::Error>> {
        let mut json = json::Writer::new(out);
        json.begin_object()?;
        if self.code != GrpcCode::Ok {
            json.key("code")?.unsigned(self.code as u64)?;
        }
        if !self.message.is_empty() {
            json.key("message")?.text(self.message)?;
        }
        if let Some(delay) = self.retry_delay {
            let micros = delay.as_micros() % 1_000_000;
            let delay = short(format_args!("{}.{micros:06}s", delay.as_secs()));
            json.key("details")?.begin_array()?.begin_object()?;
            json.key("@type")?.text(RETRY_INFO)?;
            json.key("retryDelay")?.text(&delay)?;
            json.end_object()?.end_array()?;
        }
        json.end_object()?;
        Ok(())
    }
}

/// `google.protobuf.Any` with a `RetryInfo { 1: Duration { 1: seconds, 2: nanos } }`.
fn encode_retry_info<O: Out>(delay: Duration, out: &mut O) {
    fn duration<O: Out>(delay: Duration, out: &mut O) {
        let nanos = delay.as_micros() % 1_000_000 * 1_000;
        if delay.as_secs() != 0 {
            out.varint_field(1, delay.as_secs());
        }
        if nanos != 0 {
            out.varint_field(2, nanos);
        }
    }
    fn retry_info<O: Out>(delay: Duration, out: &mut O) {
        out.message(1, Length::of(|out| duration(delay, out)));
        duration(delay, out);
    }
    out.bytes_field(1, RETRY_INFO.as_bytes());
    out.message(2, Length::of(|out| retry_info(delay, out)));
    retry_info(delay, out);
}

/// A number or delay as text: at most 20 digits, a point, six digits and a unit.
fn short(text: fmt::Arguments<'_>) -> heapless::String<32> {
    let mut short = heapless::String::new();
    let fits = short.write_fmt(text).is_ok();
    crate::check::always!(fits, "a number fits into 32 characters");
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{GrpcStatus, Response};
    use crate::wire::otlp::answer::{AnswerPolicy, Delay, Message, Verdict, Warning, of_response};
    use crate::wire::otlp::protobuf::Writer;
    use std::string::String;
    use std::vec::Vec;

    const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    fn encoded(len: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = std::vec![0; len];
        let mut out = Writer::new(&mut bytes);
        encode(&mut out);
        assert_eq!(out.finish(), Ok(len));
        bytes
    }

    fn json(
        write: impl FnOnce(&mut &mut [u8]) -> Result<(), WriteError<embedded_io::SliceWriteError>>,
    ) -> String {
        let mut bytes = [0; 512];
        let mut out = &mut bytes[..];
        write(&mut out).unwrap();
        let len = 512 - out.len();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    fn read<'a>(status: u16, content_type: &'a [u8], body: &'a [u8]) -> Verdict<'a> {
        let response = Response {
            status,
            content_type: Some(content_type),
            body,
            ..Response::default()
        };
        of_response(&response, AnswerPolicy::default())
    }

    #[test]
    fn an_export_response_reads_back_in_both_encodings() {
        for (rejected, message) in [(0, ""), (0, "a \"hint\"\n"), (3, ""), (u32::MAX, "später")] {
            let response = ExportResponse { rejected, message };
            let text = Message::text(message.as_bytes());
            let expected = match rejected {
                0 => Verdict::Success {
                    warning: (!message.is_empty()).then_some(Warning::Server(text)),
                },
                rejected => Verdict::Partial {
                    rejected: rejected.into(),
                    message: text,
                },
            };
            let bytes = encoded(response.encoded_len(), |out| response.encode(out));
            assert_eq!(read(200, b"application/x-protobuf", &bytes), expected);
            for signal in SIGNALS {
                let text = json(|out| response.write_json(signal, out));
                assert_eq!(
                    read(200, b"application/json", text.as_bytes()),
                    expected,
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn full_success_is_empty() {
        assert_eq!(ExportResponse::default().encoded_len(), 0);
        assert_eq!(
            json(|out| ExportResponse::default().write_json(Signal::Logs, out)),
            "{}"
        );
    }

    #[test]
    fn json_has_the_names_and_types_of_its_mapping() {
        let response = ExportResponse {
            rejected: 2,
            message: "no",
        };
        assert_eq!(
            json(|out| response.write_json(Signal::Metrics, out)),
            r#"{"partialSuccess":{"rejectedDataPoints":"2","errorMessage":"no"}}"#
        );
        let status = RpcStatus {
            code: GrpcCode::Unavailable,
            message: "full",
            retry_delay: Some(Duration::from_millis(1_500)),
        };
        assert_eq!(
            json(|out| status.write_json(out)),
            "{\"code\":14,\"message\":\"full\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\
             \"retryDelay\":\"1.500000s\"}]}"
        );
    }

    #[test]
    fn a_status_reads_back_with_its_delay() {
        for micros in [0, 1, 1_000_000, 1_500_000, 599_999_999] {
            let status = RpcStatus {
                code: GrpcCode::ResourceExhausted,
                message: "full",
                retry_delay: Some(Duration::from_micros(micros)),
            };
            let bytes = encoded(status.encoded_len(), |out| status.encode(out));
            let Verdict::Retry { message, .. } = read(503, b"application/x-protobuf", &bytes) else {
                panic!("a 503 is retried");
            };
            assert_eq!(message, *"full");
            let details = base64(&bytes);
            let response = Response {
                grpc: Some(GrpcStatus {
                    code: Some(8),
                    message: None,
                    details: Some(&details),
                }),
                ..Response::default()
            };
            let Verdict::Retry { delay, .. } = of_response(&response, AnswerPolicy::default()) else {
                panic!("RetryInfo is there");
            };
            let expected = match micros {
                0 => Delay::Backoff,
                micros => Delay::After(Duration::from_micros(micros)),
            };
            assert_eq!(delay, expected);
        }
    }

    /// Standard base64 without padding.
    fn base64(bytes: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: Vec<u8> = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
            .collect();
        bits.chunks(6)
            .map(|six| {
                let value = six.iter().fold(0, |value, bit| value << 1 | bit) << (6 - six.len());
                DIGITS[usize::from(value)]
            })
            .collect()
    }
}
