//! The reader's edge cases.

use super::super::{
    AttachmentForm, EnvelopeErrorKind as Kind, EnvelopeHeader, Event, Extent, ItemHeader, ItemType,
    ProfileSide, Reader, items,
};
use super::text;
use crate::limits::{MAX_ENVELOPE_ITEMS, MAX_HEADER_LINE_BYTES};
use crate::wire::json::JsonError;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// Types and payloads, or what is wrong and where.
fn parse(envelope: &str) -> Result<Vec<(ItemType, String)>, (Kind, u64)> {
    let (_, items) = items(envelope.as_bytes()).map_err(|error| (error.kind, error.offset))?;
    items
        .map(|item| {
            let item = item.map_err(|error| (error.kind, error.offset))?;
            Ok((item.header.item_type, text(item.payload)))
        })
        .collect()
}

fn event(payload: &str) -> (ItemType, String) {
    (ItemType::Event, payload.into())
}

fn envelope_header(line: &str) -> Result<EnvelopeHeader, (Kind, u64)> {
    let (header, _) = items(line.as_bytes()).map_err(|error| (error.kind, error.offset))?;
    Ok(header)
}

fn item_header(line: &str) -> Result<ItemHeader, (Kind, u64)> {
    let envelope = format!("{{}}\n{line}");
    let (_, mut items) = items(envelope.as_bytes()).unwrap();
    let item = items.next().unwrap();
    item.map(|item| item.header)
        .map_err(|error| (error.kind, error.offset - 3))
}

#[test]
fn an_empty_header_and_no_items_are_an_envelope() {
    assert_eq!(parse("{}"), Ok(vec![]));
    assert_eq!(parse("{}\n"), Ok(vec![]));
}

#[test]
fn no_header_is_no_envelope() {
    assert_eq!(parse(""), Err((Kind::MissingHeader, 0)));
    assert_eq!(parse("\n"), Err((Kind::MissingHeader, 1)));
}

#[test]
fn a_declared_length_ends_the_payload() {
    let line = r#"{"type":"event","length":3}"#;
    assert_eq!(parse(&format!("{{}}\n{line}\na\nb\n")), Ok(vec![event("a\nb")]));
    assert_eq!(parse(&format!("{{}}\n{line}\na\nb")), Ok(vec![event("a\nb")]));
}

#[test]
fn without_length_the_line_feed_ends_the_payload() {
    for line in [r#"{"type":"event"}"#, r#"{"type":"event","length":null}"#] {
        assert_eq!(parse(&format!("{{}}\n{line}\nab\n")), Ok(vec![event("ab")]));
        assert_eq!(parse(&format!("{{}}\n{line}\nab")), Ok(vec![event("ab")]));
        assert_eq!(
            parse(&format!("{{}}\n{line}\n\n{line}\nlonger than eight\n{line}\n")),
            Ok(vec![event(""), event("longer than eight"), event("")])
        );
    }
}

#[test]
fn a_length_of_zero_is_a_length() {
    let line = r#"{"type":"event","length":0}"#;
    assert_eq!(
        parse(&format!("{{}}\n{line}\n\n{line}\n")),
        Ok(vec![event(""), event("")])
    );
    assert_eq!(
        parse(&format!("{{}}\n{line}\n\n{line}")),
        Ok(vec![event(""), event("")])
    );
    let offset = 3 + line.len() as u64 + 1;
    assert_eq!(
        parse(&format!("{{}}\n{line}\nx")),
        Err((Kind::PayloadNotEnded, offset))
    );
}

#[test]
fn the_last_item_may_be_a_header_alone() {
    assert_eq!(parse("{}\n{\"type\":\"event\"}"), Ok(vec![event("")]));
    assert_eq!(parse("{}\n{\"type\":\"event\"}\n"), Ok(vec![event("")]));
}

#[test]
fn an_end_inside_a_declared_payload_is_an_error() {
    for (payload, offset) in [("", 30), ("\n", 31), ("\nab", 33)] {
        let envelope = format!("{{}}\n{{\"type\":\"event\",\"length\":3}}{payload}");
        assert_eq!(
            parse(&envelope),
            Err((Kind::PayloadTooShort, offset)),
            "{payload:?}"
        );
    }
}

#[test]
fn bytes_behind_a_declared_payload_are_an_error() {
    assert_eq!(
        parse("{}\n{\"type\":\"event\",\"length\":2}\nabc\n"),
        Err((Kind::PayloadNotEnded, 33))
    );
}

#[test]
fn a_carriage_return_belongs_to_what_precedes_it() {
    assert_eq!(parse("{}\n{\"type\":\"event\"}\nab\r\n"), Ok(vec![event("ab\r")]));
    assert_eq!(
        parse("{}\n{\"type\":\"event\",\"length\":2}\nab\r\n"),
        Err((Kind::PayloadNotEnded, 33))
    );
    assert_eq!(parse("{}\r\n"), Err((Kind::HeaderNotEnded, 2)));
    assert_eq!(
        parse("{}\n{\"type\":\"event\"}\r\nab"),
        Err((Kind::HeaderNotEnded, 19))
    );
}

#[test]
fn blank_lines_may_stand_before_a_header_only() {
    assert_eq!(
        parse("\n {}\n\n\r\n\t{\"type\":\"event\"}\nab\n\n\n{\"type\":\"event\"}\ncd\n"),
        Ok(vec![event("ab"), event("cd")])
    );
    assert_eq!(parse("{}\n\n"), Err((Kind::MissingItem, 4)));
    assert_eq!(
        parse("{}\n{\"type\":\"event\"}\nab\n\n"),
        Err((Kind::MissingItem, 24))
    );
}

#[test]
fn a_header_is_one_json_object_on_one_line() {
    assert_eq!(parse("[]"), Err((Kind::HeaderNotObject, 0)));
    assert_eq!(parse("x"), Err((Kind::Json(JsonError::UnexpectedByte), 0)));
    assert_eq!(parse("{\"a\":1"), Err((Kind::Json(JsonError::UnexpectedEnd), 6)));
    assert_eq!(parse("{\n}"), Err((Kind::HeaderNotOneLine, 1)));
    assert_eq!(parse("{} "), Err((Kind::HeaderNotEnded, 2)));
    assert_eq!(parse("{}{}"), Err((Kind::HeaderNotEnded, 2)));
    assert_eq!(parse("{}\n[]"), Err((Kind::HeaderNotObject, 3)));
    let deep = format!("{{\"a\":{}", "[".repeat(32));
    assert_eq!(parse(&deep), Err((Kind::Json(JsonError::TooDeep), 5 + 31)));
}

#[test]
fn headers_must_be_utf_8_and_payloads_need_not() {
    let (_, mut found) = items(b"{}\n{\"type\":\"attachment\"}\n\xFF\xFE\n").unwrap();
    assert_eq!(found.next().unwrap().unwrap().payload, b"\xFF\xFE");
    let error = items(b"{\"a\":\"\xFF\"}").unwrap_err();
    assert_eq!(
        (error.kind, error.offset),
        (Kind::Json(JsonError::InvalidUtf8), 6)
    );
}

#[test]
fn a_header_line_has_a_longest_length() {
    let line = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert_eq!(parse(&line(MAX_HEADER_LINE_BYTES)), Ok(vec![]));
    let too_long = Err((Kind::HeaderTooLong, MAX_HEADER_LINE_BYTES as u64));
    assert_eq!(parse(&line(MAX_HEADER_LINE_BYTES + 1)), too_long);
    // Blanks inside a header count, too.
    assert_eq!(
        parse(&format!("{{{}}}", " ".repeat(MAX_HEADER_LINE_BYTES))),
        too_long
    );
}

#[test]
fn five_hundred_items_are_the_most() {
    let envelope = |items: usize| format!("{{}}\n{}", "{\"type\":\"event\"}\n\n".repeat(items));
    assert_eq!(
        parse(&envelope(MAX_ENVELOPE_ITEMS)).map(|items| items.len()),
        Ok(500)
    );
    assert_eq!(
        parse(&envelope(MAX_ENVELOPE_ITEMS + 1)),
        Err((Kind::TooManyItems, 3 + 18 * 500))
    );
}

#[test]
fn an_item_needs_a_type() {
    assert_eq!(item_header("{}"), Err((Kind::MissingType, 0)));
    assert_eq!(item_header("{\"type\":null}"), Err((Kind::InvalidType, 8)));
    assert_eq!(item_header("{\"type\":{}}"), Err((Kind::InvalidType, 8)));
    assert_eq!(
        item_header("{\"a\":{\"type\":\"event\"}}"),
        Err((Kind::MissingType, 0))
    );
}

#[test]
fn lengths_and_counts_are_small_integers() {
    for value in ["-1", "1.0", "4294967296", "\"1\"", "[]", "true"] {
        let length = item_header(&format!("{{\"type\":\"log\",\"length\":{value}}}"));
        assert_eq!(length, Err((Kind::InvalidLength, 23)), "{value}");
        let count = item_header(&format!("{{\"type\":\"log\",\"item_count\":{value}}}"));
        assert_eq!(count, Err((Kind::InvalidItemCount, 27)), "{value}");
    }
    let header = item_header("{\"type\":\"log\",\"item_count\":4294967295}").unwrap();
    assert_eq!(header.item_count, Some(u32::MAX));
}

#[test]
fn every_type_is_known_by_its_name() {
    for item_type in ItemType::ALL {
        let line = format!("{{\"type\":\"{}\"}}", item_type.as_str());
        assert_eq!(item_header(&line).unwrap().item_type, item_type);
    }
    let long = format!("{{\"type\":\"event{}\"}}", "x".repeat(100));
    for line in [
        "{\"type\":\"statsd\"}",
        "{\"type\":\"\"}",
        "{\"type\":\"Event\"}",
        &long,
    ] {
        let header = item_header(line).unwrap();
        assert_eq!(header.item_type, ItemType::Unknown, "{line}");
        let name = Extent {
            start: header.type_name.start - 3,
            end: header.type_name.end - 3,
        };
        assert_eq!(name.of(line.as_bytes()), line.as_bytes().get(8..line.len() - 1));
    }
    let escaped = item_header(r#"{"t\u0079pe":"\u0065vent"}"#).unwrap();
    assert_eq!(escaped.item_type, ItemType::Event);
}

#[test]
fn the_last_of_two_equal_names_wins() {
    let header = item_header(r#"{"type":"event","length":1,"type":"log","length":null}"#).unwrap();
    assert_eq!((header.item_type, header.length), (ItemType::Log, None));
}

#[test]
fn an_item_header_keeps_what_decides_about_its_payload() {
    let line = r#"{"type":"attachment","length":0,"filename":"a \"b\".txt","content_type":"application/vnd.sentry.trace-attachment","meta_length":7,"attachment_length":9,"attachment_type":"event.minidump","platform":"cocoa","nested":{"length":5}}"#;
    let header = item_header(line).unwrap();
    assert_eq!(header.length, Some(0));
    assert_eq!(header.attachment, AttachmentForm::Trace);
    assert_eq!((header.meta_length, header.attachment_length), (7, 9));
    assert!(header.crash);
    assert_eq!(header.profile_side, Some(ProfileSide::Ui));
    let envelope = format!("{{}}\n{line}");
    let raw = |extent: Option<Extent>| text(extent.unwrap().of(envelope.as_bytes()).unwrap());
    assert_eq!(raw(header.filename), r#""a \"b\".txt""#);
    assert_eq!(
        raw(header.content_type),
        r#""application/vnd.sentry.trace-attachment""#
    );
    assert_eq!(raw(Some(header.line)), line);
    let other = item_header(r#"{"type":"profile","platform":"python"}"#).unwrap();
    assert_eq!(other.profile_side, Some(ProfileSide::Backend));
    let none = item_header(r#"{"type":"profile","platform":null}"#).unwrap();
    assert_eq!(none.profile_side, None);
}

#[test]
fn an_envelope_header_keeps_its_ids_and_where_the_rest_is() {
    let line = r#" {"event_id":"9ec79c33-ec99-42ab-8353-589fcb2e04dc","dsn":"https://k@h/1","sdk":{"event_id":5},"sent_at":"2020","trace":{"trace_id":"0123456789abcdef0123456789abcdef","public_key":"k","x":{"trace_id":"no"}}}"#;
    let header = envelope_header(line).unwrap();
    assert_eq!(
        header.event_id,
        Some(0x9ec7_9c33_ec99_42ab_8353_589f_cb2e_04dc_u128.to_be_bytes())
    );
    assert_eq!(
        header.trace_id,
        Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes())
    );
    assert_eq!(header.trace_key().0, 0x0123_4567_89ab_cdef);
    let raw = |extent: Option<Extent>| text(extent.unwrap().of(line.as_bytes()).unwrap());
    assert_eq!(raw(header.dsn), "\"https://k@h/1\"");
    assert_eq!(raw(header.sent_at), "\"2020\"");
    assert_eq!(raw(header.public_key), "\"k\"");
    assert_eq!(raw(Some(header.line)), line.trim());
    assert!(!header.is_empty);
    assert!(envelope_header("{}").unwrap().is_empty);
}

#[test]
fn an_event_id_is_a_uuid_or_absent() {
    for good in ["null", "\"9EC79C33EC9942AB8353589FCB2E04DC\""] {
        assert!(
            envelope_header(&format!("{{\"event_id\":{good}}}")).is_ok(),
            "{good}"
        );
    }
    for bad in [
        "\"\"",
        "5",
        "{}",
        "\"9ec79c33ec9942ab8353589fcb2e04d\"",
        "\"9ec79c33ec9942ab8353589fcb2e04dcd\"",
        "\"9ec79c33ec9942ab8353589fcb2e04dx\"",
        "\"9ec79c33e-c99-42ab-8353-589fcb2e04dc\"",
        "\"9ec79c33-ec99-42ab-8353-589fcb2e04dcxxxxxxxxxxxxxxxxxxx\"",
    ] {
        let header = envelope_header(&format!("{{\"event_id\":{bad}}}"));
        assert_eq!(header, Err((Kind::InvalidEventId, 12)), "{bad}");
    }
}

#[test]
fn a_dsn_is_a_string_or_absent() {
    assert_eq!(envelope_header("{\"dsn\":null}").unwrap().dsn, None);
    assert_eq!(envelope_header("{\"dsn\":[1]}"), Err((Kind::InvalidDsn, 7)));
}

#[test]
fn a_broken_trace_context_is_ignored() {
    for trace in [
        "5",
        "[]",
        "{\"trace_id\":5}",
        "{\"trace_id\":\"x\",\"public_key\":null}",
    ] {
        let header = envelope_header(&format!("{{\"trace\":{trace}}}")).unwrap();
        assert_eq!((header.trace_id, header.public_key), (None, None), "{trace}");
    }
    let replaced = r#"{"trace":{"trace_id":"0123456789abcdef0123456789abcdef"},"trace":null}"#;
    assert_eq!(envelope_header(replaced).unwrap().trace_id, None);
}

#[test]
fn payload_pieces_are_slices_of_the_input() {
    let mut reader = Reader::new();
    let mut input = &b"{}\n{\"type\":\"event\",\"length\":4}\nab"[..];
    assert!(matches!(reader.next(&mut input), Ok(Some(Event::Header(_)))));
    assert!(matches!(reader.next(&mut input), Ok(Some(Event::Item(_)))));
    assert_eq!(reader.next(&mut input), Ok(Some(Event::Payload(b"ab"))));
    assert_eq!(reader.next(&mut input), Ok(None));
    let mut input = &b"cd\n"[..];
    assert_eq!(reader.next(&mut input), Ok(Some(Event::Payload(b"cd"))));
    let payload = Extent { start: 31, end: 35 };
    assert_eq!(reader.next(&mut input), Ok(Some(Event::ItemEnd { payload })));
    assert_eq!(reader.finish(), Ok(None));
    assert_eq!((reader.offset(), reader.items()), (36, 1));
}

#[test]
fn an_error_stays_and_says_what_would_be_right() {
    let mut reader = Reader::new();
    let error = reader.next(&mut &b"[]"[..]).unwrap_err();
    assert_eq!(reader.next(&mut &b"{}"[..]), Err(error));
    assert_eq!(reader.finish(), Err(error));
    assert_eq!(
        error.to_string(),
        "malformed envelope at byte 0: a header that is no JSON object"
    );
    let (_, mut items) = items(b"{}\n{}").unwrap();
    assert!(items.next().unwrap().is_err());
    assert!(items.next().is_none());
}

#[test]
fn limits_in_messages_are_the_real_ones() {
    assert!(
        Kind::HeaderTooLong
            .as_str()
            .contains(&MAX_HEADER_LINE_BYTES.to_string())
    );
    assert!(
        Kind::TooManyItems
            .as_str()
            .contains(&MAX_ENVELOPE_ITEMS.to_string())
    );
}
