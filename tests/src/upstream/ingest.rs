//! What Sentry and OTLP receivers answer to a request that they can take, and to one that they cannot.

use serde_json::{Value, json};

use super::envelope::Envelope;
use super::http::Received;

type Answer = (u16, Vec<(String, String)>, Vec<u8>);

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// The answer to `request`.
pub(super) fn answer(request: &Received) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["api", project, "envelope"] => envelope(request, project),
        ["v1", signal] => otlp(request, signal),
        [
            "api",
            project,
            "integration",
            "otlp",
            "v1",
            signal @ ("traces" | "logs"),
        ] => refusal_of_key(request, project).unwrap_or_else(|| otlp(request, signal)),
        _ => refused(404, "no such endpoint"),
    }
}

fn envelope(request: &Received, project: &str) -> Answer {
    if let Some(refusal) = refusal_of_key(request, project) {
        return refusal;
    }
    match Envelope::read(&request.body) {
        Ok(envelope) => match envelope.header_json().get("event_id") {
            Some(id) => with_type(200, JSON, json!({ "id": id }).to_string().into_bytes()),
            None => with_type(200, JSON, b"{}".to_vec()),
        },
        Err(error) => refused(400, &error),
    }
}

/// Project ids are numbers and keys 32 hexadecimal digits, in a header or in the query.
fn refusal_of_key(request: &Received, project: &str) -> Option<Answer> {
    if project.parse::<u64>().is_err() {
        return Some(refused(400, "bad project path parameter"));
    }
    let named = request.header("x-sentry-auth").unwrap_or(&request.path);
    let key = named
        .split("sentry_key=")
        .nth(1)
        .map(|after| after.get(..32).unwrap_or_default());
    match key {
        Some(key) if key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
        Some(_) => Some(refused(400, "bad sentry key")),
        None => Some(refused(401, "missing authorization information")),
    }
}

fn otlp(request: &Received, signal: &str) -> Answer {
    let field = match signal {
        "traces" => "resourceSpans",
        "logs" => "resourceLogs",
        "metrics" => "resourceMetrics",
        _ => return refused(404, "no such signal"),
    };
    match request.header("content-type") {
        Some(JSON) => {
            let body: Option<Value> = serde_json::from_slice(&request.body).ok();
            if body.is_some_and(|body| body.get(field).is_some_and(Value::is_array)) {
                with_type(200, JSON, b"{}".to_vec())
            } else {
                with_type(400, JSON, br#"{"code":3,"message":"no export request"}"#.to_vec())
            }
        }
        Some(PROTOBUF) if is_export(&request.body) => with_type(200, PROTOBUF, Vec::new()),
        // google.rpc.Status: 1 code, 2 message.
        Some(PROTOBUF) => with_type(400, PROTOBUF, b"\x08\x03\x12\x02no".to_vec()),
        _ => refused(415, "unsupported media type"),
    }
}

/// True when the bytes are any number of length-delimited fields 1, as the three export requests are.
fn is_export(mut body: &[u8]) -> bool {
    while let Some((tag, rest)) = body.split_first() {
        let Some((length, rest)) = length(rest) else {
            return false;
        };
        let Some((_, rest)) = rest.split_at_checked(length).filter(|_| *tag == 0x0a) else {
            return false;
        };
        body = rest;
    }
    true
}

/// A length as a varint, and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let (varint, rest) = bytes.split_at(last + 1);
    let value = varint
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Some((value, rest))
}

fn refused(status: u16, detail: &str) -> Answer {
    with_type(
        status,
        JSON,
        json!({ "detail": detail, "causes": [] }).to_string().into_bytes(),
    )
}

fn with_type(status: u16, content_type: &str, body: Vec<u8>) -> Answer {
    (
        status,
        vec![("content-type".to_owned(), content_type.to_owned())],
        body,
    )
}
