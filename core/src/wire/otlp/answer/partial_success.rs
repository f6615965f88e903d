//! `Export{Trace,Logs,Metrics}ServiceResponse`: one shape and one set of field numbers for all three signals. In JSON the
//! count has a name of its own for each signal; any of them is taken.

use super::message::Message;
use crate::limits::MAX_OTLP_JSON_DEPTH;
use crate::wire::hex::decimal_digit;
use crate::wire::json::{Scanner, Short, Token};
use crate::wire::otlp::protobuf::{Malformed, Reader};
use crate::wire::split::trimmed;

/// Bytes of the longest name that is read, and some.
const NAME_BYTES: usize = 24;
const PARTIAL_SUCCESS: &str = "partialSuccess";
const ERROR_MESSAGE: &str = "errorMessage";
const REJECTED: [&str; 3] = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"];

/// `partial_success` of an export response.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct PartialSuccess<'a> {
    /// `rejected_spans`, `rejected_log_records` or `rejected_data_points`; a negative number counts as 0.
    pub(super) rejected: u64,
    /// `error_message`.
    pub(super) message: Message<'a>,
}

impl<'a> PartialSuccess<'a> {
    /// Reads the protobuf form. A `partial_success` that is there more than once is merged, as protobuf asks.
    pub(super) fn from_protobuf(mut response: Reader<'a>) -> Result<Self, Malformed> {
        let mut read = Self::default();
        while let Some(field) = response.next()? {
            if field.number != 1 {
                continue;
            }
            let mut partial_success = field.message()?;
            while let Some(field) = partial_success.next()? {
                match field.number {
                    1 => read.rejected = non_negative(field.varint()?),
                    2 => read.message = Message::text(field.bytes()?),
                    _ => {}
                }
            }
        }
        Ok(read)
    }

    /// Reads the JSON form; `None` when it is not that. Of a text whose end was not received (`cut`), what is there
    /// counts.
    pub(super) fn from_json(text: &'a [u8], cut: bool) -> Option<Self> {
        let mut read = Self::default();
        let mut scanner = Scanner::new(MAX_OTLP_JSON_DEPTH);
        let mut input = text;
        let mut name = Short::<NAME_BYTES>::new();
        let mut named = false;
        let mut inside = false;
        while let Some(token) = scanner.next(&mut input).ok()? {
            let level = if inside { 2 } else { 1 };
            let depth = scanner.depth();
            match token {
                Token::Part(piece) if depth == level && !named => name.push(piece),
                Token::Char(character) if depth == level && !named => name.push_char(character),
                Token::Key if depth == level => named = true,
                Token::ObjectEnd if depth < level => inside = false,
                Token::ObjectStart | Token::ArrayStart if depth == level.saturating_add(1) => {
                    if !inside && name.is(PARTIAL_SUCCESS) && token == Token::ObjectStart {
                        inside = true;
                    } else if is_known(&name, inside) {
                        return None;
                    }
                    (named, name) = (false, Short::new());
                }
                Token::ArrayStart if depth == 1 => return None,
                Token::Text | Token::Number(_) | Token::Bool(_) | Token::Null if depth == level => {
                    if is_known(&name, inside) {
                        let span = scanner.start() as usize..scanner.position() as usize;
                        read.assign(&name, token, text.get(span)?)?;
                    }
                    (named, name) = (false, Short::new());
                }
                _ => {}
            }
        }
        let complete = scanner.is_done() && trimmed(input).is_empty();
        (complete || cut && input.is_empty()).then_some(read)
    }

    /// Takes over the member `name`, whose scalar value stands in `value`; `None` when it has the wrong type.
    fn assign(&mut self, name: &Short<NAME_BYTES>, token: Token<'_>, value: &'a [u8]) -> Option<()> {
        match token {
            Token::Null => {}
            Token::Text if name.is(ERROR_MESSAGE) => self.message = Message::json(unquoted(value)?),
            Token::Text | Token::Number(_) if REJECTED.iter().any(|rejected| name.is(rejected)) => {
                self.rejected = integer(unquoted(value).unwrap_or(value))?.try_into().unwrap_or(0);
            }
            _ => return None,
        }
        Some(())
    }
}

/// True for a member that is read: of the response, or of `partialSuccess`.
fn is_known(name: &Short<NAME_BYTES>, inside: bool) -> bool {
    if inside {
        name.is(ERROR_MESSAGE) || REJECTED.iter().any(|rejected| name.is(rejected))
    } else {
        name.is(PARTIAL_SUCCESS)
    }
}

/// What stands between the quotes of a string.
pub(super) fn unquoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The 64-bit integer that `text` is: digits with an optional sign, behind a decimal point nothing but zeros.
fn integer(text: &[u8]) -> Option<i64> {
    let mut halves = text.splitn(2, |byte| *byte == b'.');
    let whole = halves.next()?;
    let zeros = halves.next().unwrap_or(b"0");
    let (negative, digits) = match whole.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, whole),
    };
    if digits.is_empty() || zeros.is_empty() || zeros.iter().any(|digit| *digit != b'0') {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = i64::from(decimal_digit(*digit)?);
        let shifted = value.checked_mul(10)?;
        if negative {
            shifted.checked_sub(digit)
        } else {
            shifted.checked_add(digit)
        }
    })
}

/// The bits of an int64 as a count.
const fn non_negative(bits: u64) -> u64 {
    if bits > i64::MAX as u64 { 0 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_64_bits_and_no_fraction() {
        for (text, value) in [
            ("3", Some(3)),
            ("-7", Some(-7)),
            ("3.0", Some(3)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("3.5", None),
            ("3.", None),
            ("1e2", None),
            ("", None),
            ("-", None),
            ("3x", None),
        ] {
            assert_eq!(integer(text.as_bytes()), value, "{text}");
        }
    }
}
