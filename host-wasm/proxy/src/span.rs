//! A finished request as an OTLP span.
//!
//! Names and attributes are those of OpenTelemetry's stable HTTP conventions for servers: the span is named by its
//! method alone, as a proxy knows no route and a path is no name; a 4xx answer is the client's error, not the span's.

use surgetank_core::wire::otlp::encode::{AnyValue, KeyValue, Limits, Span, SpanKind, Status};
use surgetank_core::wire::otlp::protobuf::Writer;

use crate::context::Context;
use crate::requests::Slot;

/// `SpanFlags` of OTLP: it is known whether the parent is remote, and it is.
const REMOTE_PARENT: u32 = 0x300;

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// When it began, in nanoseconds since 1970.
    pub started_unix_nanos: u64,
    /// When it ended, in nanoseconds since 1970.
    pub ended_unix_nanos: u64,
    /// Status of the answer; 0 when none was sent.
    pub status: u16,
    /// The proxy's word for how it came to a failure; empty otherwise.
    pub details: &'a str,
}

impl End<'_> {
    /// True for what is a failure of the server, or of the proxy on its behalf.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        self.status >= 500
    }
}

/// The method as conventions name it, and as a span's name.
#[must_use]
pub fn known_method(method: &str) -> Option<&str> {
    let known = matches!(
        method,
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" | "QUERY"
    );
    known.then_some(method)
}

/// Writes the `Span` message into `out`; `None` when it does not fit.
#[must_use]
pub fn encode<'o>(slot: &Slot, context: &Context, end: &End<'_>, out: &'o mut [u8]) -> Option<&'o [u8]> {
    // Each is checked to be text when it is asked for.
    let (written_method, path, authority) = (slot.method(), slot.path(), slot.authority());
    let method = known_method(written_method);
    let mut digits = [0; 5];
    let status_text = decimal(end.status, &mut digits);
    let mut attributes = heapless::Vec::<KeyValue<'_>, 8>::new();
    let mut add = |key, value| {
        // There is room for all that is added below.
        let _ = attributes.push(KeyValue::new(key, value));
    };
    add(
        "http.request.method",
        AnyValue::String(method.unwrap_or("_OTHER")),
    );
    if method.is_none() {
        add("http.request.method_original", AnyValue::String(written_method));
    }
    add("url.path", AnyValue::String(path));
    if !authority.is_empty() {
        add("server.address", AnyValue::String(host_of(authority)));
    }
    if end.status != 0 {
        add("http.response.status_code", AnyValue::Int(i64::from(end.status)));
    }
    if end.is_failure() {
        add("error.type", AnyValue::String(status_text));
    }
    if !end.details.is_empty() {
        add("envoy.response_code_details", AnyValue::String(end.details));
    }
    let parent = context.parent.map_or(0, |_| REMOTE_PARENT);
    let span = Span {
        parent_span_id: context.parent,
        flags: u32::from(context.flags) | parent,
        kind: SpanKind::Server,
        start_unix_nanos: end.started_unix_nanos,
        end_unix_nanos: end.ended_unix_nanos,
        attributes: &attributes,
        status: if end.is_failure() {
            Status::Error { message: "" }
        } else {
            Status::Unset
        },
        ..Span::new(context.trace_id, context.span_id, method.unwrap_or("HTTP"))
    };
    let mut writer = Writer::new(out);
    span.encode(&mut writer, &Limits::NONE);
    let bytes = writer.finish().ok()?;
    out.get(..bytes)
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    let digits = authority.bytes().rev().take_while(u8::is_ascii_digit).count();
    let end = authority.len().saturating_sub(digits);
    let host = authority.get(..end).and_then(|front| front.strip_suffix(':'));
    host.unwrap_or(authority)
}

/// What stands in front of the first `mark` (an ASCII character), all of it when there is none. The searches of `str`
/// leave paths to a panic.
pub(crate) fn before(text: &str, mark: u8) -> &str {
    let end = text.bytes().position(|byte| byte == mark);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// `number` in decimal.
pub(crate) fn decimal(number: u16, digits: &mut [u8; 5]) -> &str {
    let mut left = number;
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((left % 10) as u8);
        left /= 10;
        used = used.wrapping_add(1);
        if left == 0 {
            break;
        }
    }
    let start = 5_usize.saturating_sub(used);
    digits
        .get(start..)
        .and_then(|text| core::str::from_utf8(text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Decision;
    use crate::requests::Requests;
    use opentelemetry_proto::tonic::trace::v1::Span as Decoded;
    use prost::Message;
    use std::boxed::Box;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use surgetank_core::wire::trace_context::{SpanId, TraceId};

    fn span_of(method: &str, status: u16, details: &str, parent: Option<SpanId>) -> Decoded {
        let mut requests = Box::new(Requests::new());
        assert!(requests.begin(7, 0));
        let slot = requests.get(7).unwrap();
        slot.note(method.as_bytes(), b"/orders/7?token=1", b"shop.example:8443");
        let context = Context {
            trace_id: TraceId::new([7; 16]).unwrap(),
            span_id: SpanId::new([8; 8]).unwrap(),
            parent,
            flags: 3,
            decision: Decision::Record,
        };
        let end = End {
            started_unix_nanos: 1_700_000_000_000_000_001,
            ended_unix_nanos: 1_700_000_000_250_000_001,
            status,
            details,
        };
        let mut memory = [0; 1024];
        Decoded::decode(encode(slot, &context, &end, &mut memory).unwrap()).unwrap()
    }

    fn attributes(span: &Decoded) -> Vec<String> {
        let text = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            use opentelemetry_proto::tonic::common::v1::any_value::Value;
            let value = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
                Some(Value::StringValue(text)) => text.clone(),
                Some(Value::IntValue(number)) => number.to_string(),
                other => std::format!("{other:?}"),
            };
            std::format!("{}={value}", pair.key)
        };
        span.attributes.iter().map(text).collect()
    }

    #[test]
    fn a_request_becomes_a_server_span_by_the_conventions() {
        let span = span_of("GET", 404, "", SpanId::new([9; 8]));
        assert_eq!((span.name.as_str(), span.kind), ("GET", 2));
        assert_eq!(span.trace_id, [7; 16]);
        assert_eq!(
            (&span.span_id[..], &span.parent_span_id[..]),
            (&[8; 8][..], &[9; 8][..])
        );
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 250_000_000);
        assert_eq!(span.flags, 0x303);
        assert!(span.status.is_none(), "a 4xx is no error of the server");
        assert_eq!(
            attributes(&span),
            [
                "http.request.method=GET",
                "url.path=/orders/7",
                "server.address=shop.example",
                "http.response.status_code=404"
            ]
        );
    }

    #[test]
    fn a_failure_is_marked_as_one() {
        let span = span_of("POST", 503, "upstream_reset{connection_failure}", None);
        assert_eq!(span.status.unwrap().code, 2);
        assert_eq!(span.flags, 3);
        assert!(span.parent_span_id.is_empty());
        assert_eq!(
            attributes(&Decoded {
                status: None,
                ..span_of("POST", 503, "why", None)
            })[4..],
            ["error.type=503", "envoy.response_code_details=why"]
        );
    }

    #[test]
    fn an_unknown_method_names_no_span() {
        let span = span_of("BREW", 0, "", None);
        assert_eq!(span.name, "HTTP");
        assert_eq!(
            attributes(&span)[..2],
            ["http.request.method=_OTHER", "http.request.method_original=BREW"]
        );
        assert_eq!(attributes(&span).len(), 4);
    }

    #[test]
    fn a_span_that_does_not_fit_is_none() {
        let mut requests = Box::new(Requests::new());
        assert!(requests.begin(7, 0));
        let context = Context {
            trace_id: TraceId::new([7; 16]).unwrap(),
            span_id: SpanId::new([8; 8]).unwrap(),
            parent: None,
            flags: 3,
            decision: Decision::Record,
        };
        let end = End {
            started_unix_nanos: 1,
            ended_unix_nanos: 2,
            status: 200,
            details: "",
        };
        assert_eq!(
            encode(requests.get(7).unwrap(), &context, &end, &mut [0; 60]),
            None
        );
    }
}
