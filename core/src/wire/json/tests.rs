//! The scanner and the writer, alone and against `serde_json`.

use super::*;
use crate::time::UnixTime;
use proptest::prelude::*;
use serde_json::Value;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// Tokens with strings joined: what must not depend on how the text was cut.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    Open(char),
    Close(char),
    Key(Vec<u8>),
    Text(Vec<u8>),
    Number(Option<u64>),
    Bool(bool),
    Null,
}

/// The steps of `text`, how many bytes were taken, and whether it is complete.
fn scan<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    max_depth: usize,
) -> Result<(Vec<Step>, usize, bool), (JsonError, u32)> {
    let mut scanner = Scanner::new(max_depth);
    let (mut steps, mut text, mut taken) = (Vec::new(), Vec::new(), 0);
    for chunk in chunks {
        let mut input = chunk;
        loop {
            let token = scanner
                .next(&mut input)
                .map_err(|error| (error, scanner.position()))?;
            steps.push(match token {
                None => break,
                Some(Token::Part(part)) => {
                    assert!(!part.is_empty());
                    text.extend_from_slice(part);
                    continue;
                }
                Some(Token::Char(character)) => {
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                Some(Token::ObjectStart) => Step::Open('{'),
                Some(Token::ObjectEnd) => Step::Close('}'),
                Some(Token::ArrayStart) => Step::Open('['),
                Some(Token::ArrayEnd) => Step::Close(']'),
                Some(Token::Key) => Step::Key(core::mem::take(&mut text)),
                Some(Token::Text) => Step::Text(core::mem::take(&mut text)),
                Some(Token::Number(value)) => Step::Number(value),
                Some(Token::Bool(value)) => Step::Bool(value),
                Some(Token::Null) => Step::Null,
            });
        }
        taken += chunk.len() - input.len();
        assert_eq!(scanner.position() as usize, taken);
        assert!(input.is_empty() || scanner.is_done());
    }
    Ok((steps, taken, scanner.is_done()))
}

fn scan_whole(text: &str) -> Result<Vec<Step>, (JsonError, u32)> {
    let (steps, _, done) = scan([text.as_bytes()], 128)?;
    if done {
        Ok(steps)
    } else {
        Err((JsonError::UnexpectedEnd, text.len() as u32))
    }
}

/// The steps that `serde_json` makes of a value.
fn steps_of(value: &Value, steps: &mut Vec<Step>) {
    match value {
        Value::Null => steps.push(Step::Null),
        Value::Bool(value) => steps.push(Step::Bool(*value)),
        Value::Number(number) => steps.push(Step::Number(number.as_u64())),
        Value::String(text) => steps.push(Step::Text(text.clone().into_bytes())),
        Value::Array(elements) => {
            steps.push(Step::Open('['));
            for element in elements {
                steps_of(element, steps);
            }
            steps.push(Step::Close(']'));
        }
        Value::Object(members) => {
            steps.push(Step::Open('{'));
            for (name, value) in members {
                steps.push(Step::Key(name.clone().into_bytes()));
                steps_of(value, steps);
            }
            steps.push(Step::Close('}'));
        }
    }
}

#[test]
fn every_kind_of_value_is_told() {
    assert_eq!(
        scan_whole(r#" { "a" : [ 1 , -2 , 3.5 , true , false , null , "x" , { } , [ ] ] } "#),
        Ok(vec![
            Step::Open('{'),
            Step::Key(b"a".into()),
            Step::Open('['),
            Step::Number(Some(1)),
            Step::Number(None),
            Step::Number(None),
            Step::Bool(true),
            Step::Bool(false),
            Step::Null,
            Step::Text(b"x".into()),
            Step::Open('{'),
            Step::Close('}'),
            Step::Open('['),
            Step::Close(']'),
            Step::Close(']'),
            Step::Close('}'),
        ])
    );
}

#[test]
fn the_largest_integer_is_read_and_the_next_is_not() {
    let numbers = |text: &str| scan_whole(text).map(|steps| steps[1].clone());
    assert_eq!(
        numbers("[18446744073709551615]"),
        Ok(Step::Number(Some(u64::MAX)))
    );
    for text in ["[18446744073709551616]", "[1e2]", "[1.0]", "[-0]", "[0E0]"] {
        assert_eq!(numbers(text), Ok(Step::Number(None)), "{text}");
    }
    assert_eq!(numbers("[0]"), Ok(Step::Number(Some(0))));
}

#[test]
fn escapes_are_resolved() {
    let text = |text: &str| match scan_whole(&format!("[\"{text}\"]"))?.swap_remove(1) {
        Step::Text(text) => Ok(String::from_utf8(text).unwrap()),
        step => panic!("{step:?}"),
    };
    assert_eq!(text(r#"\"\\\/\b\f\n\r\t"#), Ok("\"\\/\u{8}\u{c}\n\r\t".into()));
    assert_eq!(text(r"\u0041\u00e9\u20AC"), Ok("Aé€".into()));
    assert_eq!(text(r"\ud83d\ude00"), Ok("😀".into()));
    // Surrogates without their partner.
    assert_eq!(text(r"\ud83d"), Ok("\u{fffd}".into()));
    assert_eq!(text(r"\ude00x"), Ok("\u{fffd}x".into()));
    assert_eq!(text(r"\ud83dx"), Ok("\u{fffd}x".into()));
    assert_eq!(text(r"\ud83d\n"), Ok("\u{fffd}\n".into()));
    assert_eq!(text(r"\ud83d\u0041"), Ok("\u{fffd}A".into()));
    assert_eq!(text(r"\ud83d\ud83d\ude00"), Ok("\u{fffd}😀".into()));
    for bad in [r"\x", r"\u12", r"\u12g4", r"\ud83d\x"] {
        assert!(matches!(text(bad), Err((JsonError::InvalidEscape, _))), "{bad}");
    }
}

#[test]
fn errors_name_the_byte() {
    for (text, error, position) in [
        ("x", JsonError::UnexpectedByte, 0),
        ("\"x\"", JsonError::UnexpectedByte, 0),
        ("[1,]", JsonError::UnexpectedByte, 3),
        ("{,}", JsonError::UnexpectedByte, 1),
        ("{\"a\":1,}", JsonError::UnexpectedByte, 7),
        ("{\"a\" 1}", JsonError::UnexpectedByte, 5),
        ("{\"a\":1]", JsonError::UnexpectedByte, 6),
        ("[01]", JsonError::UnexpectedByte, 2),
        ("[-]", JsonError::UnexpectedByte, 2),
        ("[1.]", JsonError::UnexpectedByte, 3),
        ("[1e+]", JsonError::UnexpectedByte, 4),
        ("[+1]", JsonError::UnexpectedByte, 1),
        ("[trux]", JsonError::UnexpectedByte, 4),
        ("[\"a\nb\"]", JsonError::ControlCharacter, 3),
        ("[[[", JsonError::UnexpectedEnd, 3),
    ] {
        assert_eq!(scan_whole(text), Err((error, position)), "{text}");
    }
}

#[test]
fn nesting_ends_where_it_was_said() {
    assert!(scan([&b"[[[]]]"[..]], 3).is_ok());
    assert_eq!(scan([&b"[[{}]]"[..]], 2), Err((JsonError::TooDeep, 2)));
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert!(scan_whole(&deep).is_ok());
    assert_eq!(
        scan([format!("[{deep}]").as_bytes()], 1000),
        Err((JsonError::TooDeep, 128))
    );
}

#[test]
fn only_utf_8_is_accepted() {
    for bad in [
        &b"[\"\x80\"]"[..],
        b"[\"\xC0\x80\"]",
        b"[\"\xC3\"]",
        b"[\"\xE0\x80\x80\"]",
        b"[\"\xED\xA0\x80\"]",
        b"[\"\xF0\x80\x80\x80\"]",
        b"[\"\xF4\x90\x80\x80\"]",
        b"[\"\xF5\x80\x80\x80\"]",
        b"[\"\xE2\x82x\"]",
        b"[\"\xE2\x82\\n\"]",
    ] {
        let result = scan([bad], 8);
        assert!(
            matches!(result, Err((JsonError::InvalidUtf8, _))),
            "{bad:?} {result:?}"
        );
        assert_eq!(scan(bad.chunks(1), 8), result, "{bad:?}");
    }
}

#[test]
fn what_follows_the_last_bracket_is_left_alone() {
    assert_eq!(scan([&b"{}{"[..]], 8).unwrap().1, 2);
}

/// The steps of `text` without what is deeper than `depth` brackets, passed over or read and left out.
fn scan_above(text: &[u8], size: usize, depth: u8, pass: bool) -> Result<(Vec<Step>, usize), JsonError> {
    let mut scanner = Scanner::new(128);
    let mut steps = Vec::new();
    let mut taken = 0;
    for chunk in text.chunks(size) {
        let mut input = chunk;
        while let Some(token) = scanner.next(&mut input)? {
            let opened = matches!(token, Token::ObjectStart | Token::ArrayStart);
            if scanner.depth() <= depth || (opened && scanner.depth() == depth + 1) {
                match token {
                    Token::ObjectStart => steps.push(Step::Open('{')),
                    Token::ArrayStart => steps.push(Step::Open('[')),
                    Token::ObjectEnd => steps.push(Step::Close('}')),
                    Token::ArrayEnd => steps.push(Step::Close(']')),
                    Token::Number(value) => steps.push(Step::Number(value)),
                    Token::Bool(value) => steps.push(Step::Bool(value)),
                    Token::Null => steps.push(Step::Null),
                    Token::Key => steps.push(Step::Key(Vec::new())),
                    Token::Text => steps.push(Step::Text(Vec::new())),
                    Token::Part(_) | Token::Char(_) => {}
                }
            }
            if pass && opened && scanner.depth() > depth {
                scanner.pass_over();
            }
        }
        taken += chunk.len() - input.len();
        assert_eq!(scanner.position() as usize, taken);
    }
    if scanner.is_done() {
        Ok((steps, taken))
    } else {
        Err(JsonError::UnexpectedEnd)
    }
}

#[test]
fn brackets_and_quotes_inside_strings_do_not_end_what_is_passed_over() {
    let text = br#"{"a":{"]}":"\"}{\\","b":["\u0022}"]},"c":[1,"]",[2]],"d":"x"}"#;
    for size in 1..text.len() {
        let passed = scan_above(text, size, 1, true).unwrap();
        assert_eq!(passed, scan_above(text, size, 1, false).unwrap());
        assert_eq!(passed.0.len(), 10);
    }
}

#[test]
fn what_is_passed_over_must_still_nest_rightly() {
    let error = |text: &[u8]| scan_above(text, 99, 1, true).unwrap_err();
    assert_eq!(error(br#"{"a":{"b":[}]}"#), JsonError::UnexpectedByte);
    assert_eq!(error(br#"{"a":[{]}"#), JsonError::UnexpectedByte);
    assert_eq!(error(br#"{"a":[{"b":"]}"#), JsonError::UnexpectedEnd);
    let deep = ["{\"a\":", &"[".repeat(128)].concat();
    assert_eq!(error(deep.as_bytes()), JsonError::TooDeep);
}

#[test]
fn only_an_open_bracket_is_passed_over() {
    let mut scanner = Scanner::new(8);
    let mut input = &br#"[1,2]"#[..];
    assert_eq!(scanner.next(&mut input), Ok(Some(Token::ArrayStart)));
    assert_eq!(scanner.next(&mut input), Ok(Some(Token::Number(Some(1)))));
    scanner.pass_over();
    assert_eq!(scanner.next(&mut input), Ok(Some(Token::Number(Some(2)))));
}

#[test]
fn members_are_told_in_order_with_their_raw_values() {
    let object = br#" {"a":1, "b" : {"a":[2]} ,"\u0063":"x\ny","b":null} "#;
    let mut seen = Vec::new();
    visit_members(object, |member| {
        let name = String::from_utf8(member.name.unwrap().to_vec()).unwrap();
        seen.push((
            name,
            member.kind,
            String::from_utf8(member.value.to_vec()).unwrap(),
        ));
    })
    .unwrap();
    assert_eq!(
        seen,
        [
            ("a".to_string(), Kind::Number(Some(1)), "1".to_string()),
            ("b".into(), Kind::Object, r#"{"a":[2]}"#.into()),
            ("c".into(), Kind::Text, r#""x\ny""#.into()),
            ("b".into(), Kind::Null, "null".into()),
        ]
    );
    let mut buffer = [0; 8];
    assert_eq!(text(seen[2].2.as_bytes(), &mut buffer), Some("x\ny"));
}

#[test]
fn members_of_anything_but_one_object_are_refused() {
    for (object, error) in [
        ("[]", JsonError::UnexpectedByte),
        ("{} {", JsonError::UnexpectedByte),
        ("{\"a\":1", JsonError::UnexpectedEnd),
        ("", JsonError::UnexpectedEnd),
    ] {
        assert_eq!(visit_members(object.as_bytes(), |_| ()), Err(error), "{object}");
    }
}

#[test]
fn long_names_are_not_mistaken_for_short_ones() {
    let object = format!("{{\"{}\":1}}", "a".repeat(65));
    visit_members(object.as_bytes(), |member| assert_eq!(member.name, None)).unwrap();
}

#[test]
fn text_is_refused_when_it_does_not_fit_or_is_none() {
    let mut buffer = [0; 4];
    assert_eq!(text(b"\"abcd\"", &mut buffer), Some("abcd"));
    for bad in [&b"\"abcde\""[..], b"\"ab", b"ab", b"", b"\"", b"\"a\"b", b"12"] {
        assert_eq!(text(bad, &mut buffer), None, "{bad:?}");
    }
}

#[test]
fn commas_stand_between_values_only() {
    let mut out = Vec::new();
    let mut sink = Sink(&mut out);
    let mut json = Writer::new(&mut sink);
    json.begin_array().unwrap();
    json.begin_object().unwrap().end_object().unwrap();
    json.begin_object()
        .unwrap()
        .key("a")
        .unwrap()
        .begin_array()
        .unwrap();
    json.end_array().unwrap().key("b").unwrap().null().unwrap();
    json.end_object()
        .unwrap()
        .bool(true)
        .unwrap()
        .signed(i64::MIN)
        .unwrap();
    json.hex(&[0, 0xAB])
        .unwrap()
        .time(UnixTime::from_secs(0))
        .unwrap();
    json.raw(b"1.5").unwrap().end_array().unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"[{},{"a":[],"b":null},true,-9223372036854775808,"00ab","1970-01-01T00:00:00.000000Z",1.5]"#
    );
}

#[test]
fn a_sink_that_takes_nothing_is_an_error_not_a_panic() {
    struct Full;
    impl embedded_io::ErrorType for Full {
        type Error = core::convert::Infallible;
    }
    impl embedded_io::Write for Full {
        fn write(&mut self, _: &[u8]) -> Result<usize, Self::Error> {
            Ok(0)
        }
        fn flush(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let refused = Writer::new(&mut Full).null().map(|_| ());
    assert_eq!(refused, Err(crate::wire::WriteError::Stalled));
}

#[test]
fn the_writer_refuses_to_nest_beyond_what_it_can_track() {
    let mut out = Vec::new();
    let mut sink = Sink(&mut out);
    let mut json = Writer::new(&mut sink);
    for _ in 0..64 {
        json.begin_array().unwrap();
    }
    assert!(matches!(
        json.begin_array(),
        Err(crate::wire::WriteError::Invalid(_))
    ));
}

/// Takes at most three bytes a call, as a slow sink may.
struct Sink<'a>(&'a mut Vec<u8>);

impl embedded_io::ErrorType for Sink<'_> {
    type Error = core::convert::Infallible;
}

impl embedded_io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let taken = bytes.len().min(3);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Any JSON value with an object or array at the top.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[ -~]{0,40}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(|value| {
        if value.is_object() || value.is_array() {
            value
        } else {
            Value::Array(vec![value])
        }
    })
}

/// JSON text with some bytes changed, left out or put in.
fn damaged_json() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::sample::select(b"{}[],:\"\\ue01-+.Etrfn \n\x00\x80\xC3\xED".to_vec());
    let change = (any::<prop::sample::Index>(), 0..3_u8, bytes);
    (json_value(), any::<bool>(), prop::collection::vec(change, 0..4)).prop_map(|(value, pretty, changes)| {
        let mut text = if pretty {
            serde_json::to_vec_pretty(&value).unwrap()
        } else {
            serde_json::to_vec(&value).unwrap()
        };
        for (place, what, byte) in changes {
            let at = place.index(text.len());
            match what {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ if text.len() > 1 => drop(text.remove(at)),
                _ => {}
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn values_are_read_as_serde_reads_them(value in json_value(), size in 1..20_usize) {
        let mut expected = Vec::new();
        steps_of(&value, &mut expected);
        let text = serde_json::to_vec(&value).unwrap();
        let (steps, taken, done) = scan(text.chunks(size), 128).unwrap();
        prop_assert_eq!(steps, expected);
        prop_assert_eq!((taken, done), (text.len(), true));
    }

    #[test]
    fn what_is_not_passed_over_is_told_as_ever(value in json_value(), size in 1..20_usize, depth in 0..4_u8) {
        let text = serde_json::to_vec(&[value]).unwrap();
        prop_assert_eq!(scan_above(&text, size, depth, true), scan_above(&text, size, depth, false));
    }

    #[test]
    fn text_that_is_right_ends_where_it_does_however_it_is_read(text in damaged_json(), depth in 0..4_u8) {
        // What is passed over may be no JSON; but what is JSON is passed over rightly.
        if let Ok(read) = scan_above(&text, 7, depth, false) {
            prop_assert_eq!(scan_above(&text, 7, depth, true), Ok(read));
        }
    }

    #[test]
    fn damaged_text_is_accepted_exactly_when_serde_accepts_it(text in damaged_json()) {
        let read = scan([&text[..]], 128);
        let ours = match &read {
            Ok((_, taken, true)) => text[*taken..].iter().all(u8::is_ascii_whitespace),
            _ => false,
        };
        let theirs = serde_json::from_slice::<Value>(&text);
        let accepted = theirs.as_ref().is_ok_and(|value| value.is_object() || value.is_array());
        let lenient = theirs.as_ref().is_err_and(|error| {
            // Serde reads numbers, and surrogates in pairs only.
            let error = error.to_string();
            error.contains("number out of range") || error.contains("surrogate") || error.contains("end of hex escape")
        });
        prop_assert!(ours == accepted || lenient, "{:?} {:?}", theirs, read);
    }

    #[test]
    fn cutting_the_text_changes_nothing(text in damaged_json(), size in 1..9_usize) {
        prop_assert_eq!(scan(text.chunks(size), 128), scan([&text[..]], 128));
    }

    #[test]
    fn members_are_those_serde_finds(members in prop::collection::btree_map(".{0,8}", json_value(), 0..6)) {
        let object = serde_json::to_vec(&members).unwrap();
        let mut seen = Vec::new();
        visit_members(&object, |member| {
            let name = String::from_utf8(member.name.unwrap().to_vec()).unwrap();
            seen.push((name, String::from_utf8(member.value.to_vec()).unwrap()));
        }).unwrap();
        let expected = members.into_iter().map(|(name, value)| (name, value.to_string()));
        prop_assert_eq!(seen, expected.collect::<Vec<_>>());
    }

    #[test]
    fn text_is_read_as_serde_reads_it(text in ".{0,40}", ascii: bool) {
        let raw = if ascii {
            text.encode_utf16().fold("\"".to_string(), |raw, unit| format!("{raw}\\u{unit:04x}")) + "\""
        } else {
            serde_json::to_string(&text).unwrap()
        };
        let mut buffer = [0; 256];
        prop_assert_eq!(super::text(raw.as_bytes(), &mut buffer), Some(text.as_str()));
    }

    #[test]
    fn strings_and_integers_are_written_as_serde_writes_them(text: String, unsigned: u64, signed: i64) {
        let mut out = Vec::new();
        let mut sink = Sink(&mut out);
        let mut json = Writer::new(&mut sink);
        json.begin_array().unwrap().text(&text).unwrap().unsigned(unsigned).unwrap();
        json.signed(signed).unwrap().end_array().unwrap();
        prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&(text, unsigned, signed)).unwrap());
    }
}
