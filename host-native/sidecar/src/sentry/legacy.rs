//! The endpoint that came before envelopes: one event as the whole body.
//!
//! Old SDKs pack the JSON themselves, as base64 of zlib; Relay still takes that, and so does this. What is kept and
//! passed on is an envelope with the event in it.

use super::new_event_id;
use crate::body::unpack_zlib;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use std::borrow::Cow;

/// Bytes of an event, unpacked (develop docs, "Envelopes", size limits).
pub(crate) const EVENT_BYTES: usize = 1024 * 1024;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// Why a body is no event; the text is for its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadEvent(pub(crate) &'static str);

/// The envelope that holds the event in `body`.
///
/// # Errors
/// [`BadEvent`] when it is none.
pub(crate) fn envelope_of_event(body: &[u8]) -> Result<Vec<u8>, BadEvent> {
    let unpacked;
    let event = if body.trim_ascii_start().first() == Some(&b'{') {
        body
    } else {
        unpacked = unpack(body)?;
        &unpacked
    };
    let event = event.trim_ascii();
    let fields: EventFields<'_> = serde_json::from_slice(event)
        .map_err(|_| BadEvent("the body is not an event: a JSON object is expected"))?;
    let event_id = fields
        .event_id
        .as_deref()
        .and_then(plain_id)
        .unwrap_or_else(new_event_id);
    let item_type = match fields.kind.as_deref() {
        Some("transaction") => "transaction",
        Some("feedback") => "feedback",
        Some("csp" | "hpkp" | "expectct" | "expectstaple" | "nel") => "security",
        _ => "event",
    };
    let mut envelope = format!(
        "{{\"event_id\":\"{event_id}\"}}\n{{\"type\":\"{item_type}\",\"content_type\":\"application/json\",\"length\":{}}}\n",
        event.len()
    )
    .into_bytes();
    envelope.extend_from_slice(event);
    envelope.push(b'\n');
    Ok(envelope)
}

/// 32 hexadecimal digits, from those or a hyphenated UUID.
fn plain_id(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|c| *c != '-')
        .collect::<String>()
        .to_ascii_lowercase();
    (digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, BadEvent> {
    const NEITHER: BadEvent = BadEvent("the body is neither JSON nor base64 of zlib-compressed JSON");
    let text: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let packed = LENIENT.decode(text).map_err(|_| NEITHER)?;
    if packed.first() == Some(&b'{') {
        return Ok(packed);
    }
    unpack_zlib(&packed, EVENT_BYTES).map_err(|_| NEITHER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose;
    use std::io::Write;

    fn text(envelope: Result<Vec<u8>, BadEvent>) -> String {
        String::from_utf8(envelope.unwrap()).unwrap()
    }

    #[test]
    fn an_event_gets_an_envelope_with_its_own_id() {
        let body = br#"{"event_id":"12345678-90ab-cdef-1234-567890ABCDEF","message":"m"}"#;
        let expected = format!(
            "{{\"event_id\":\"1234567890abcdef1234567890abcdef\"}}\n\
             {{\"type\":\"event\",\"content_type\":\"application/json\",\"length\":{}}}\n{}\n",
            body.len(),
            str::from_utf8(body).unwrap()
        );
        assert_eq!(text(envelope_of_event(body)), expected);
    }

    #[test]
    fn the_type_of_the_event_decides_the_type_of_the_item() {
        for (kind, item) in [
            ("transaction", "transaction"),
            ("csp", "security"),
            ("error", "event"),
        ] {
            let envelope = text(envelope_of_event(format!("{{\"type\":\"{kind}\"}}").as_bytes()));
            assert!(
                envelope.contains(&format!("{{\"type\":\"{item}\",")),
                "{envelope}"
            );
        }
    }

    #[test]
    fn a_missing_or_wrong_id_is_replaced() {
        for body in ["{}", r#"{"event_id":"nonsense"}"#, r#"{"event_id":null}"#] {
            let envelope = text(envelope_of_event(body.as_bytes()));
            assert_eq!(
                envelope.lines().next().unwrap().len(),
                r#"{"event_id":""}"#.len() + 32
            );
        }
    }

    #[test]
    fn events_packed_by_old_clients_are_unpacked() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(br#"{"message":"old"}"#).unwrap();
        let packed = general_purpose::STANDARD.encode(zlib.finish().unwrap());
        assert!(text(envelope_of_event(packed.as_bytes())).contains(r#"{"message":"old"}"#));
        let plain = general_purpose::STANDARD_NO_PAD.encode(r#"{"message":"old"}"#);
        assert!(text(envelope_of_event(plain.as_bytes())).contains(r#"{"message":"old"}"#));
    }

    #[test]
    fn anything_else_is_refused_with_what_would_be_right() {
        for body in [
            &b""[..],
            b"[]",
            b"{",
            b"hello world",
            b"\xff\xfe",
            b"eJwrSS0uAQAEXQHB",
        ] {
            assert!(envelope_of_event(body).is_err(), "{body:?}");
        }
    }
}
