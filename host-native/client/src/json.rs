//! JSON text, written piece by piece into a slot, or measured.
//!
//! It goes through the same output as OTLP's encoders, so one piece of code gives both the length and the bytes, and
//! nothing can fail in between.

mod collected;
mod escape;
mod number;

pub(crate) use collected::{Collected, collected};
pub(crate) use number::{Front, quoted_hex_16};

use core::fmt::{self, Write as _};

use surgetank_core::limits::MAX_VALUE_DEPTH;
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::encode::AnyValue;
use surgetank_core::wire::otlp::protobuf::{Length, Out, Writer};
use surgetank_core::wire::timestamp::timestamp;

/// Room beyond its length that is enough for every [`Encode::write`].
pub(crate) const PASSING_BYTES: usize = 64;

/// Something with a byte representation that is the same each time it is asked for.
pub(crate) trait Encode {
    /// Writes all of it.
    fn encode<O: Out>(&self, out: &mut O);

    /// Exactly the bytes that [`Encode::encode`] writes.
    fn encoded_len(&self) -> usize {
        Length::of(|out| self.encode(out))
    }

    /// Room in which [`Encode::write`] very likely succeeds, and not much more than it needs, if that can be said at a glance.
    fn likely_len(&self) -> Option<usize> {
        None
    }

    /// Writes all of it to the front of `bytes`, if it fits, and says how much that was. One pass, also where a part
    /// has to name the length of a later one; then it may need [`PASSING_BYTES`] more for a while.
    #[inline]
    fn write(&self, bytes: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(bytes);
        self.encode(&mut out);
        out.finish().ok()
    }
}

impl<E: Encode> Encode for &E {
    fn encode<O: Out>(&self, out: &mut O) {
        (**self).encode(out);
    }

    fn encoded_len(&self) -> usize {
        (**self).encoded_len()
    }

    fn write(&self, bytes: &mut [u8]) -> Option<usize> {
        (**self).write(bytes)
    }
}

/// A key that needs no escape, with all that can stand around it: `,"key":"`. Written in one piece.
#[derive(Clone, Copy)]
pub(crate) struct Name(pub(crate) &'static str);

/// The [`Name`] of a literal.
macro_rules! name {
    ($name:literal) => {
        $crate::json::Name(concat!(",\"", $name, "\":\""))
    };
}
pub(crate) use name;

/// Writes one JSON text. Commas are put where they belong; the caller balances brackets.
///
/// What is short is inlined wherever it is called, for then the compiler knows the lengths of names and whether a comma
/// stands before them, and keeps the output's state in registers; what is long or rare goes [`apart`](Json::apart).
pub(crate) struct Json<'o, O> {
    out: &'o mut O,
    /// The next key, or value of an array, follows another one.
    comma: bool,
}

impl<'o, O: Out> Json<'o, O> {
    #[inline(always)]
    pub(crate) fn new(out: &'o mut O) -> Self {
        Self { out, comma: false }
    }

    /// Does `work` on this text; see [`Out::apart`].
    #[inline(always)]
    pub(crate) fn apart(&mut self, work: impl FnOnce(&mut Json<'_, O>)) {
        let mut comma = self.comma;
        self.out.apart(|out| {
            let mut json = Json { out, comma };
            work(&mut json);
            comma = json.comma;
        });
        self.comma = comma;
    }

    #[inline(always)]
    fn separate(&mut self) {
        if self.comma {
            self.out.array(*b",");
        }
        self.comma = true;
    }

    #[inline(always)]
    fn open(&mut self, bracket: u8) {
        if self.comma {
            self.out.array([b',', bracket]);
        } else {
            self.out.array([bracket]);
        }
        self.comma = false;
    }

    #[inline(always)]
    fn close(&mut self, bracket: u8) {
        self.comma = true;
        self.out.array([bracket]);
    }

    #[inline(always)]
    pub(crate) fn begin_object(&mut self) {
        self.open(b'{');
    }

    #[inline(always)]
    pub(crate) fn end_object(&mut self) {
        self.close(b'}');
    }

    #[inline(always)]
    pub(crate) fn begin_array(&mut self) {
        self.open(b'[');
    }

    #[inline(always)]
    pub(crate) fn end_array(&mut self) {
        self.close(b']');
    }

    /// A key that may need escapes; UTF-8, as all texts here.
    #[inline(always)]
    pub(crate) fn key(&mut self, key: impl AsRef<[u8]>) {
        self.text_between(key, b"\":");
        self.comma = false;
    }

    /// A key that is known here, made by [`name!`].
    #[inline(always)]
    pub(crate) fn name(&mut self, name: Name) {
        let text = name.0.as_bytes();
        let end = text.len().saturating_sub(1);
        let start = usize::from(!self.comma);
        self.out.raw(text.get(start..end).unwrap_or_default());
        self.comma = false;
    }

    /// A member that is a string.
    #[inline(always)]
    pub(crate) fn member(&mut self, name: Name, text: &str) {
        let before = name.0.as_bytes();
        let start = usize::from(!self.comma);
        self.framed(before.get(start..).unwrap_or_default(), text, b"\"");
    }

    /// A member that is a string of characters that need no escape.
    #[inline(always)]
    pub(crate) fn plain_member(&mut self, name: Name, text: &[u8]) {
        let before = name.0.as_bytes();
        let start = usize::from(!self.comma);
        self.comma = true;
        self.out
            .framed(before.get(start..).unwrap_or_default(), text, b"\"");
    }

    /// Separates, and begins a string, writes `text` into it, and then `after`.
    #[inline(always)]
    fn text_between(&mut self, text: impl AsRef<[u8]>, after: &'static [u8]) {
        if self.comma {
            self.framed(b",\"", text, after);
        } else {
            self.framed(b"\"", text, after);
        }
    }

    /// Writes `text`, which is UTF-8, with its escapes between two pieces that need none.
    #[inline(always)]
    pub(crate) fn framed(&mut self, before: &'static [u8], text: impl AsRef<[u8]>, after: &'static [u8]) {
        let text = text.as_ref();
        self.comma = true;
        if escape::is_plain(text) {
            self.out.framed(before, text, after);
        } else {
            self.out.apart(|out| {
                out.raw(before);
                escape::write(text, out);
                out.raw(after);
            });
        }
    }

    #[inline(always)]
    pub(crate) fn str(&mut self, text: impl AsRef<[u8]>) {
        self.text_between(text, b"\"");
    }

    /// A string made of pieces.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn texts(&mut self, pieces: &[&str]) {
        self.separate();
        self.out.array(*b"\"");
        for piece in pieces {
            self.framed(b"", piece, b"");
        }
        self.out.array(*b"\"");
    }

    /// A byte that no text has, where it can be taken apart.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn piece_end(&mut self, byte: u8) {
        self.out.array([byte]);
    }

    /// A string of characters that need no escape.
    #[inline(always)]
    pub(crate) fn plain(&mut self, text: &[u8]) {
        let before: &[u8] = if self.comma { b",\"" } else { b"\"" };
        self.comma = true;
        self.out.framed(before, text, b"\"");
    }

    /// The same, of what is formatted.
    pub(crate) fn quoted(&mut self, text: fmt::Arguments<'_>) {
        self.separate();
        self.out.apart(|out| {
            out.array(*b"\"");
            format(out, text);
            out.array(*b"\"");
        });
    }

    /// An identifier of 16 bytes as a string of lower-case hexadecimal digits.
    #[inline(always)]
    pub(crate) fn hex_16(&mut self, bytes: &[u8; 16]) {
        self.separate();
        self.out.array(number::quoted_hex_16(bytes));
    }

    /// An identifier that was written before, by [`quoted_hex_16`].
    #[inline(always)]
    pub(crate) fn quoted_hex_16(&mut self, text: &[u8; 34]) {
        self.separate();
        self.out.array(*text);
    }

    /// An identifier of 8 bytes as a string of lower-case hexadecimal digits.
    #[inline(always)]
    pub(crate) fn hex_8(&mut self, bytes: [u8; 8]) {
        self.separate();
        self.out.array(number::quoted_hex_8(bytes));
    }

    #[inline(always)]
    pub(crate) fn bool(&mut self, value: bool) {
        self.separate();
        self.out.raw(if value { b"true" } else { b"false" });
    }

    pub(crate) fn null(&mut self) {
        self.separate();
        self.out.raw(b"null");
    }

    #[inline(always)]
    pub(crate) fn u64(&mut self, value: u64) {
        self.separate();
        self.digits(value);
    }

    #[inline(always)]
    pub(crate) fn i64(&mut self, value: i64) {
        self.separate();
        if value < 0 {
            self.out.array(*b"-");
        }
        self.digits(value.unsigned_abs());
    }

    #[inline(always)]
    fn digits(&mut self, value: u64) {
        match number::up_to_eight(value) {
            Some((digits, count)) => self.out.front(digits, count),
            None => self.out.apart(|out| long_digits(out, value)),
        }
    }

    /// JSON has no word for infinity and NaN: `null`.
    #[inline(always)]
    pub(crate) fn f64(&mut self, value: f64) {
        self.separate();
        if let Some(short) = number::short(value) {
            if short.negative {
                self.out.array(*b"-");
            }
            self.digits(short.whole);
            self.out.front(short.fraction, short.length);
        } else if value.is_finite() {
            // `Debug` is the shortest text that reads back equal, with an exponent where that is shorter.
            self.out.apart(|out| format(out, format_args!("{value:?}")));
        } else {
            self.out.array(*b"null");
        }
    }

    /// Seconds with six decimals: the form Sentry takes for moments and for spans of time.
    #[inline(always)]
    pub(crate) fn seconds(&mut self, micros: u64) {
        self.seconds_near(micros, &mut Front::default());
    }

    /// The same for one of several moments that lie close together; `last` is what it was the last time.
    #[inline(always)]
    pub(crate) fn seconds_near(&mut self, micros: u64, last: &mut Front) {
        self.separate();
        match number::ten_digit_seconds(micros, last) {
            Some(text) => self.out.array(text),
            None => self.out.apart(|out| {
                let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
                format(out, format_args!("{whole}.{rest:06}"));
            }),
        }
    }

    /// A moment in the one form that sessions take.
    pub(crate) fn rfc3339(&mut self, time: UnixTime) {
        self.plain(&timestamp(time));
    }

    /// Members of an object, encoded before: `"a":1,"b":2`. Nothing when empty.
    #[inline(always)]
    pub(crate) fn members(&mut self, encoded: &[u8]) {
        if !encoded.is_empty() {
            let before: &[u8] = if self.comma { b"," } else { b"" };
            self.comma = true;
            self.out.framed(before, encoded, b"");
        }
    }

    /// Takes text as it is, which ends between an opening and a first member.
    #[inline(always)]
    pub(crate) fn begin_with(&mut self, text: &'static [u8]) {
        self.out.raw(text);
        self.comma = false;
    }

    /// Takes text as it is, which ends behind a member.
    #[inline(always)]
    pub(crate) fn end_with(&mut self, text: &'static [u8]) {
        self.out.raw(text);
        self.comma = true;
    }

    pub(crate) fn value(&mut self, value: &AnyValue<'_>) {
        self.nested(value, MAX_VALUE_DEPTH);
    }

    /// Arrays and maps more than `depth` levels down are left empty, as in OTLP.
    fn nested(&mut self, value: &AnyValue<'_>, depth: usize) {
        let inner = depth.checked_sub(1);
        match value {
            AnyValue::Empty => self.null(),
            AnyValue::Bool(value) => self.bool(*value),
            AnyValue::Int(value) => self.i64(*value),
            AnyValue::Double(value) => self.f64(*value),
            AnyValue::String(value) => self.str(value),
            AnyValue::Bytes(value) => self.base64(value),
            AnyValue::Array(values) => {
                self.begin_array();
                if let Some(depth) = inner {
                    for value in *values {
                        self.nested(value, depth);
                    }
                }
                self.end_array();
            }
            AnyValue::Map(entries) => {
                self.begin_object();
                if let Some(depth) = inner {
                    for entry in *entries {
                        self.key(entry.key);
                        self.nested(&entry.value, depth);
                    }
                }
                self.end_object();
            }
        }
    }

    fn base64(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |bits: u32| DIGITS.get((bits & 63) as usize).copied().unwrap_or(b'A');
        self.separate();
        self.out.raw(b"\"");
        for chunk in bytes.chunks(3) {
            let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            let [third, fourth] = match chunk.len() {
                1 => [b'='; 2],
                2 => [digit(bits >> 6), b'='],
                _ => [digit(bits >> 6), digit(bits)],
            };
            self.out
                .array([digit(bits >> 18), digit(bits >> 12), third, fourth]);
        }
        self.out.raw(b"\"");
    }
}

/// The digits of a number of more than eight.
#[inline(never)]
fn long_digits<O: Out>(out: &mut O, value: u64) {
    let (digits, count) = number::decimal(value);
    let start = number::MAX_DIGITS.saturating_sub(count);
    out.raw(digits.get(start..).unwrap_or_default());
}

#[inline(never)]
fn format<O: Out>(out: &mut O, text: fmt::Arguments<'_>) {
    // Neither numbers nor addresses nor the output fail to format.
    let _ = Text(out).write_fmt(text);
}

/// Lets numbers be formatted into an output.
struct Text<'o, O>(&'o mut O);

impl<O: Out> fmt::Write for Text<'_, O> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.raw(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(script: impl Fn(&mut Json<'_, Writer<'_>>)) -> String {
        let mut bytes = [0; 8192];
        let mut out = Writer::new(&mut bytes);
        script(&mut Json::new(&mut out));
        let len = out.finish().unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    fn value(value: AnyValue<'_>) -> String {
        written(|json| json.value(&value))
    }

    #[test]
    fn commas_are_where_they_belong() {
        let text = written(|json| {
            json.begin_object();
            json.key("a");
            json.begin_array();
            json.u64(1);
            json.begin_object();
            json.end_object();
            json.null();
            json.end_array();
            json.members(b"\"m\":0");
            json.members(b"");
            json.key("b");
            json.bool(true);
            json.end_object();
        });
        assert_eq!(text, r#"{"a":[1,{},null],"m":0,"b":true}"#);
    }

    #[test]
    fn every_string_reads_back_equal() {
        let mut all: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        all.push_str("\u{2028}\u{1F600}\"\\");
        let text = written(|json| json.str(&all));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), all);
    }

    #[test]
    fn numbers_read_back_equal() {
        for number in [0.0, -0.5, 1.0, 1e300, -1e-300, 0.1, f64::MAX, f64::MIN_POSITIVE] {
            let text = value(AnyValue::Double(number));
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap(), number, "{text}");
        }
        assert_eq!(value(AnyValue::Double(f64::NAN)), "null");
        assert_eq!(value(AnyValue::Int(0)), "0");
        assert_eq!(value(AnyValue::Int(i64::MIN)), "-9223372036854775808");
        assert_eq!(
            written(|json| json.seconds(1_700_000_000_000_042)),
            "1700000000.000042"
        );
        assert_eq!(written(|json| json.seconds(1_500_000)), "1.500000");
        let bytes = [0x0a, 0xf5, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
        assert_eq!(written(|json| json.hex_8(bytes)), "\"0af5123456789abc\"");
    }

    #[test]
    fn doubles_are_as_the_formatter_writes_them() {
        let mut numbers = vec![
            1e-4,
            0.00012,
            1e15,
            123_456_789.123_456,
            999_999_999.0,
            0.1 + 0.2,
            1.0 / 3.0,
        ];
        for power in -8..12 {
            for digits in [
                1, 2, 5, 7, 10, 12, 99, 100, 123, 12_345, 100_001, 999_999, 1_234_567,
            ] {
                let number = f64::from(digits) * 10_f64.powi(power);
                numbers.extend([number, number.next_up(), number.next_down()]);
                numbers.push(format!("{digits}e{power}").parse().unwrap());
            }
        }
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            numbers.push((bits >> 34) as f64 / 1e6);
            numbers.push((bits >> 40) as f64 / 1024.0);
            numbers.push(f64::from_bits(bits));
        }
        for number in numbers.into_iter().filter(|number| number.is_finite()) {
            for number in [number, -number] {
                assert_eq!(value(AnyValue::Double(number)), format!("{number:?}"));
            }
        }
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, text) in [
            (&b""[..], "\"\""),
            (b"f", "\"Zg==\""),
            (b"fo", "\"Zm8=\""),
            (b"foo", "\"Zm9v\""),
            (b"foobar", "\"Zm9vYmFy\""),
            (&[0xff, 0xfe], "\"//4=\""),
        ] {
            assert_eq!(value(AnyValue::Bytes(bytes)), text);
        }
    }

    #[test]
    fn nesting_ends() {
        let mut deep = AnyValue::Array(&[]);
        for _ in 0..200 {
            deep = AnyValue::Array(Vec::leak(vec![deep]));
        }
        let levels = MAX_VALUE_DEPTH + 1;
        assert_eq!(
            value(deep),
            format!("{}{}", "[".repeat(levels), "]".repeat(levels))
        );
    }
}
