//! Logs that producers noted become elements of the log container, on the delivery thread.
//!
//! The JSON of a log is some four times as long as what the log says, and takes twice the work of noting that. So the
//! thread that reads the intake writes it, before the engine sees the record: sizes are those of the JSON wherever the
//! queue decides by them, and the intake holds more logs.

use surgetank_core::limits::MAX_VALUE_DEPTH;
use surgetank_core::wire::otlp::encode::{AnyValue, SpanId};
use surgetank_core::wire::otlp::protobuf::{Field, Out, Reader, Value};

use super::{LEVELS, Level, attribute, text_value};
use crate::json::{Encode, Json, name};

/// Memory that is kept between logs.
const KEPT_BYTES: usize = 64 * 1024;

/// Room that is enough for most logs.
const LIKELY_BYTES: usize = 4096;

/// What stands between the span id and the body of a log of this level: its name and severity number (the logs protocol).
macro_rules! before_body {
    ($level:literal, $severity:literal) => {
        concat!(
            ",\"level\":\"",
            $level,
            "\",\"severity_number\":",
            $severity,
            ",\"body\":\""
        )
        .as_bytes()
    };
}

impl Level {
    const fn before_body(self) -> &'static [u8] {
        match self {
            Self::Trace => before_body!("trace", 1),
            Self::Debug => before_body!("debug", 5),
            Self::Info => before_body!("info", 9),
            Self::Warning => before_body!("warn", 13),
            Self::Error => before_body!("error", 17),
            Self::Fatal => before_body!("fatal", 21),
        }
    }
}

/// Memory for the JSON of one log at a time.
#[derive(Default)]
pub(crate) struct LogTexts {
    text: Vec<u8>,
}

impl LogTexts {
    /// The JSON of a [`NotedLog`](super::NotedLog), with attributes that every log has. Costs its bytes. `None` when
    /// `noted` is none.
    pub(crate) fn write(&mut self, noted: &[u8], common: &[u8]) -> Option<&[u8]> {
        let log = LogText {
            log: Noted::read(noted)?,
            common,
        };
        if self.text.len() > KEPT_BYTES {
            self.text = Vec::new();
        }
        if self.text.is_empty() {
            self.text.resize(LIKELY_BYTES, 0);
        }
        let len = match log.write(&mut self.text) {
            Some(len) => len,
            None => {
                self.text.resize(log.encoded_len(), 0);
                log.write(&mut self.text)?
            }
        };
        self.text.get(..len)
    }
}

/// The parts of a log that was noted.
struct Noted<'a> {
    micros: u64,
    trace_id: &'a [u8; 16],
    span_id: Option<SpanId>,
    level: Level,
    body: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> Noted<'a> {
    fn read(noted: &'a [u8]) -> Option<Self> {
        let (micros, rest) = noted.split_first_chunk()?;
        let (trace_id, rest) = rest.split_first_chunk()?;
        let (span_id, rest) = rest.split_first_chunk()?;
        let (level, rest) = rest.split_first()?;
        let (body_len, rest) = rest.split_first_chunk()?;
        let (body, attributes) = rest.split_at_checked(u32::from_le_bytes(*body_len) as usize)?;
        Some(Self {
            micros: u64::from_le_bytes(*micros),
            trace_id,
            span_id: SpanId::new(*span_id),
            level: *LEVELS.get(usize::from(*level))?,
            body,
            attributes,
        })
    }
}

/// A log in JSON, with what its client adds.
struct LogText<'a> {
    log: Noted<'a>,
    /// Encoded members of `attributes`.
    common: &'a [u8],
}

impl Encode for LogText<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let log = &self.log;
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("timestamp"));
        json.seconds(log.micros);
        json.name(name!("trace_id"));
        json.hex_16(log.trace_id);
        if let Some(span_id) = log.span_id {
            json.name(name!("span_id"));
            json.hex_8(span_id.bytes());
        }
        json.framed(log.level.before_body(), log.body, b"\"");
        json.name(name!("attributes"));
        json.begin_object();
        let mut entries = log.attributes;
        while let Some((key, value, rest)) = first_entry(entries) {
            match value {
                Piece::Text(text) => {
                    json.key(key);
                    text_value(&mut json, text);
                }
                Piece::Value(value) => attribute(&mut json, key, &value),
                Piece::Nested(nested) => json.apart(|json| write_nested_attribute(json, key, nested)),
            }
            entries = rest;
        }
        json.members(self.common);
        json.end_object();
        json.end_object();
    }
}

/// A value, as far as it is read. Texts were noted from a `str`, and are not looked through again.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a [u8]),
    Value(AnyValue<'a>),
    Nested(Nested<'a>),
}

/// Key and value of the first attribute, and what follows it; `None` at the end.
#[inline(always)]
fn first_entry(entries: &[u8]) -> Option<(&[u8], Piece<'_>, &[u8])> {
    short_entry(entries).or_else(|| any_entry(entries))
}

/// The same of one whose lengths are single bytes and whose value is a text or a small number, as most are: read in one
/// go.
#[inline(always)]
fn short_entry(entries: &[u8]) -> Option<(&[u8], Piece<'_>, &[u8])> {
    // Tags of the fields of `KeyValue`, which stands in the first field of its list, and of `AnyValue`.
    const ENTRY: u8 = 0x0A;
    const KEY: u8 = 0x0A;
    const VALUE: u8 = 0x12;
    let ([ENTRY, 0..0x80, KEY, key_len @ 0..0x80], rest) = entries.split_first_chunk()? else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    // An empty value ends before its kind.
    let ([VALUE, 2..0x80, kind, first], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (value, rest) = match (*kind, *first) {
        (0x0A, len @ 0..0x80) => {
            let (text, rest) = rest.split_at_checked(usize::from(len))?;
            (Piece::Text(text), rest)
        }
        (0x10, truth) => (Piece::Value(AnyValue::Bool(truth != 0)), rest),
        (0x18, number @ 0..0x80) => (Piece::Value(AnyValue::Int(i64::from(number))), rest),
        (0x18, low) => {
            let (high @ 0..0x80, rest) = rest.split_first()? else {
                return None;
            };
            let number = i64::from(low & 0x7F) | i64::from(*high) << 7;
            (Piece::Value(AnyValue::Int(number)), rest)
        }
        (0x21, low) => {
            let ([a, b, c, d, e, f, g], rest) = rest.split_first_chunk()?;
            let number = f64::from_le_bytes([low, *a, *b, *c, *d, *e, *f, *g]);
            (Piece::Value(AnyValue::Double(number)), rest)
        }
        _ => return None,
    };
    Some((key, value, rest))
}

/// The same of any.
#[inline(never)]
fn any_entry(entries: &[u8]) -> Option<(&[u8], Piece<'_>, &[u8])> {
    let entry = Reader::new(entries).next().ok()??;
    let rest = entries.get(entry.at.saturating_add(entry.bytes().ok()?.len())..)?;
    let (key, value) = parts(&entry);
    Some((key, piece(value), rest))
}

#[inline(never)]
fn write_nested_attribute<O: Out>(json: &mut Json<'_, O>, key: &[u8], nested: Nested<'_>) {
    json.key(key);
    json.begin_with(b"{\"value\":");
    write_nested(json, nested, MAX_VALUE_DEPTH);
    json.end_with(match nested {
        Nested::Array(_) => b",\"type\":\"array\"}",
        Nested::Map(_) => b",\"type\":\"object\"}",
    });
}

/// What holds other values.
#[derive(Clone, Copy)]
enum Nested<'a> {
    /// An `ArrayValue` message.
    Array(&'a [u8]),
    /// A `KeyValueList` message.
    Map(&'a [u8]),
}

/// Key and value of a `KeyValue`, which has both.
fn parts<'a>(entry: &Field<'a>) -> (&'a [u8], Option<Field<'a>>) {
    let (mut key, mut value) = (&[][..], None);
    if let Ok(mut fields) = entry.message() {
        while let Ok(Some(field)) = fields.next() {
            match field.number {
                1 => key = field.bytes().unwrap_or_default(),
                _ => value = content(&field),
            }
        }
    }
    (key, value)
}

/// The one field of an `AnyValue`; `None` when it is empty.
fn content<'a>(value: &Field<'a>) -> Option<Field<'a>> {
    value.message().ok()?.next().ok()?
}

fn piece(value: Option<Field<'_>>) -> Piece<'_> {
    let Some(field) = value else {
        return Piece::Value(AnyValue::Empty);
    };
    Piece::Value(match (field.number, field.value) {
        (1, Value::Bytes(text)) => return Piece::Text(text),
        (2, Value::Varint(value)) => AnyValue::Bool(value != 0),
        (3, Value::Varint(value)) => AnyValue::Int(value as i64),
        (4, Value::Fixed64(bits)) => AnyValue::Double(f64::from_bits(bits)),
        (5, Value::Bytes(array)) => return Piece::Nested(Nested::Array(array)),
        (6, Value::Bytes(map)) => return Piece::Nested(Nested::Map(map)),
        (7, Value::Bytes(bytes)) => AnyValue::Bytes(bytes),
        _ => AnyValue::Empty,
    })
}

fn write_value<O: Out>(json: &mut Json<'_, O>, value: Option<Field<'_>>, depth: usize) {
    match piece(value) {
        Piece::Text(text) => json.str(text),
        Piece::Value(value) => json.value(&value),
        Piece::Nested(nested) => write_nested(json, nested, depth),
    }
}

/// Nothing is noted more than [`MAX_VALUE_DEPTH`] levels down.
fn write_nested<O: Out>(json: &mut Json<'_, O>, nested: Nested<'_>, depth: usize) {
    let (Nested::Array(message) | Nested::Map(message)) = nested;
    let mut fields = Reader::new(if depth == 0 { &[] } else { message });
    let depth = depth.saturating_sub(1);
    match nested {
        Nested::Array(_) => {
            json.begin_array();
            while let Ok(Some(value)) = fields.next() {
                write_value(json, content(&value), depth);
            }
            json.end_array();
        }
        Nested::Map(_) => {
            json.begin_object();
            while let Ok(Some(entry)) = fields.next() {
                let (key, value) = parts(&entry);
                json.key(key);
                write_value(json, value, depth);
            }
            json.end_object();
        }
    }
}
