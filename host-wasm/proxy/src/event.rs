//! A failed request as a Sentry event in an envelope of its own (develop docs, "Event Payloads", "Envelopes").
//!
//! Events are grouped by what went wrong, not by where: by status and by the proxy's word for the cause, without what
//! stands in braces behind it. The query of the path is not in it, nor is any header.

use embedded_io::Write;
use surgetank_core::time::UnixTime;
use surgetank_core::wire::WriteError;
use surgetank_core::wire::json::Writer;

use crate::config::Program;
use crate::context::Context;
use crate::requests::Slot;
use crate::span::{End, before, decimal};

/// What an event says beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The event's id.
    pub id: [u8; 16],
    /// How the request ended.
    pub end: End<'a>,
    /// The cluster that the request was for; may be empty.
    pub cluster: &'a str,
    /// The address within the cluster; may be empty.
    pub address: &'a str,
}

/// The two header lines in front of the payload: `{"event_id":"` and 32 digits and `"}`, `{"type":"event","length":` and
/// five characters and `}`, and the ends of the lines.
const HEADERS_BYTES: usize = 13 + 32 + 2 + 1 + 25 + 5 + 1 + 1;

/// Writes the envelope into `out`; `None` when it does not fit.
#[must_use]
pub fn encode<'o>(
    slot: &Slot,
    context: &Context,
    failure: &Failure<'_>,
    program: &Program,
    out: &'o mut [u8],
) -> Option<&'o [u8]> {
    let (headers, payload) = out.split_at_mut_checked(HEADERS_BYTES)?;
    let room = payload.len();
    let mut rest: &mut [u8] = payload;
    write_payload(slot, context, failure, program, &mut rest).ok()?;
    let length = room.saturating_sub(rest.len());
    // The length stands at the end of the headers, whose own length is known but for its digits: five, with blanks
    // in front, which JSON allows.
    let mut lines: &mut [u8] = headers;
    write_headers(failure, length, &mut lines).ok()?;
    if !lines.is_empty() {
        return None;
    }
    out.get(..HEADERS_BYTES.checked_add(length)?)
}

fn write_headers<W: Write>(
    failure: &Failure<'_>,
    length: usize,
    mut out: W,
) -> Result<(), WriteError<W::Error>> {
    Writer::new(&mut out)
        .begin_object()?
        .key("event_id")?
        .hex(&failure.id)?
        .end_object()?;
    let mut number = heapless::String::<5>::new();
    // A record is shorter than 100 000 bytes.
    let _ = core::fmt::Write::write_fmt(&mut number, format_args!("{length:5}"));
    for part in ["\n{\"type\":\"event\",\"length\":", &number, "}\n"] {
        put(&mut out, part.as_bytes())?;
    }
    Ok(())
}

fn write_payload<W: Write>(
    slot: &Slot,
    context: &Context,
    failure: &Failure<'_>,
    program: &Program,
    out: &mut W,
) -> Result<(), WriteError<W::Error>> {
    let end = &failure.end;
    let mut digits = [0; 5];
    let status = decimal(end.status, &mut digits);
    // By the cause without its particulars.
    let cause = before(end.details, b'{');
    let is_ours = !matches!(cause, "" | "via_upstream");
    let kind = if is_ours { "UpstreamFailure" } else { "ServerError" };
    let mut json = Writer::new(out);
    json.begin_object()?
        .key("event_id")?
        .hex(&failure.id)?
        .key("timestamp")?
        .time(UnixTime::from_micros(end.ended_unix_nanos / 1000))?
        .key("platform")?
        .text("other")?
        .key("level")?
        .text("error")?
        .key("logger")?
        .text("envoy")?
        .key("server_name")?
        .text(&program.service_name)?;
    for (key, value) in [
        ("release", program.release.as_str()),
        ("environment", program.environment.as_str()),
    ] {
        if !value.is_empty() {
            json.key(key)?.text(value)?;
        }
    }
    json.key("exception")?
        .begin_object()?
        .key("values")?
        .begin_array()?
        .begin_object()?
        .key("type")?
        .text(kind)?
        .key("value")?;
    let mut value = heapless::String::<160>::new();
    for part in [status, " ", end.details] {
        // A longer cause is cut; the tag has it whole.
        let fits = part
            .char_indices()
            .map(|(at, one)| at.saturating_add(one.len_utf8()));
        let room = value.capacity().saturating_sub(value.len());
        let most = fits.take_while(|length| *length <= room).last().unwrap_or(0);
        let _ = value.push_str(part.get(..most).unwrap_or_default());
    }
    json.text(value.trim_ascii_end())?
        .key("mechanism")?
        .begin_object()?
        .key("type")?
        .text("envoy")?
        .key("handled")?
        .bool(false)?
        .end_object()?
        .end_object()?
        .end_array()?
        .end_object()?
        .key("fingerprint")?
        .begin_array()?
        .text("envoy")?
        .text(status)?
        .text(cause)?
        .end_array()?
        .key("request")?
        .begin_object()?
        .key("method")?
        .text(slot.method())?
        .key("url")?
        .text(slot.path())?
        .end_object()?
        .key("tags")?
        .begin_object()?;
    for (key, value) in [
        ("http.status_code", status),
        ("envoy.response_code_details", end.details),
        ("envoy.cluster", failure.cluster),
        ("upstream.address", failure.address),
        ("server.address", slot.authority()),
    ] {
        if !value.is_empty() {
            json.key(key)?.text(value)?;
        }
    }
    json.end_object()?
        .key("contexts")?
        .begin_object()?
        .key("trace")?
        .begin_object()?
        .key("trace_id")?
        .hex(&context.trace_id.bytes())?
        .key("span_id")?
        .hex(&context.span_id.bytes())?;
    if let Some(parent) = context.parent {
        json.key("parent_span_id")?.hex(&parent.bytes())?;
    }
    json.key("op")?
        .text("http.server")?
        .end_object()?
        .key("response")?
        .begin_object()?
        .key("status_code")?
        .unsigned(u64::from(end.status))?
        .end_object()?
        .end_object()?
        .end_object()?;
    Ok(())
}

fn put<W: Write>(out: &mut W, bytes: &[u8]) -> Result<(), WriteError<W::Error>> {
    let taken = out.write(bytes).map_err(WriteError::Sink)?;
    if taken == bytes.len() {
        Ok(())
    } else {
        Err(WriteError::Stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Decision;
    use crate::requests::Requests;
    use serde_json::Value;
    use std::boxed::Box;
    use surgetank_core::wire::trace_context::{SpanId, TraceId};

    fn event(details: &str, memory: &mut [u8]) -> Option<(Value, Value)> {
        let mut requests = Box::new(Requests::new());
        assert!(requests.begin(7, 0));
        let slot = requests.get(7).unwrap();
        slot.note(b"GET", b"/orders/7?token=1", b"shop.example");
        let context = Context {
            trace_id: TraceId::new([7; 16]).unwrap(),
            span_id: SpanId::new([8; 8]).unwrap(),
            parent: None,
            flags: 3,
            decision: Decision::Record,
        };
        let failure = Failure {
            id: [0xAB; 16],
            end: End {
                started_unix_nanos: 1,
                ended_unix_nanos: 1_700_000_000_250_000_001,
                status: 503,
                details,
            },
            cluster: "shop",
            address: "",
        };
        let mut program = Program::default();
        program.service_name.push_str("edge").unwrap();
        let bytes = encode(slot, &context, &failure, &program, memory)?;
        let text = core::str::from_utf8(bytes).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let (item, payload) = rest.split_once('\n').unwrap();
        let item: Value = serde_json::from_str(item).unwrap();
        assert_eq!(item["length"], payload.len());
        Some((
            serde_json::from_str(first).unwrap(),
            serde_json::from_str(payload).unwrap(),
        ))
    }

    #[test]
    fn an_event_says_what_failed_and_is_grouped_by_the_cause() {
        let details = "upstream_reset_before_response_started{connection_failure}";
        let (header, event) = event(details, &mut [0; 2048]).unwrap();
        let id = "ab".repeat(16);
        assert_eq!(
            (&header["event_id"], &event["event_id"]),
            (&id.as_str().into(), &id.as_str().into())
        );
        assert_eq!(event["timestamp"], "2023-11-14T22:13:20.250000Z");
        let exception = &event["exception"]["values"][0];
        assert_eq!(exception["type"], "UpstreamFailure");
        assert_eq!(exception["value"], std::format!("503 {details}"));
        assert_eq!(event["fingerprint"][2], "upstream_reset_before_response_started");
        assert_eq!(event["request"]["url"], "/orders/7");
        assert_eq!(event["tags"]["envoy.cluster"], "shop");
        assert_eq!(event["contexts"]["trace"]["trace_id"], "07".repeat(16));
        assert!(event.get("release").is_none());
    }

    #[test]
    fn an_answer_of_the_upstream_itself_is_told_apart() {
        let (_, event) = event("via_upstream", &mut [0; 2048]).unwrap();
        assert_eq!(event["exception"]["values"][0]["type"], "ServerError");
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert!(event("via_upstream", &mut [0; 500]).is_none());
        assert!(event("via_upstream", &mut [0; 100]).is_none());
    }
}
