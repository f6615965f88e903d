//! The words of a server, borrowed from its answer as they came.

use crate::limits::MAX_ANSWER_MESSAGE_CHARS;
use crate::wire::json::{Scanner, Token};
use crate::wire::lossy_utf8::Chars;
use crate::wire::percent::{self, PercentText};
use core::fmt::{self, Write as _};

/// A server's message: undecoded bytes, decoded when they are shown.
///
/// Reading one costs nothing until it is displayed; then at most `limits::MAX_ANSWER_MESSAGE_CHARS` characters come
/// out, and bytes that are no UTF-8 become U+FFFD. The characters are a stranger's: escape control characters before
/// they reach a terminal or a log. Two messages are equal when they display the same.
#[derive(Clone, Copy, Default)]
pub struct Message<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

#[derive(Clone, Copy, Default)]
enum Encoding {
    /// The text itself.
    #[default]
    Text,
    /// `%XX` for bytes that a header cannot hold (gRPC over HTTP/2, "Percent-Encoded").
    Percent,
    /// A JSON string without its quotes.
    Json,
}

impl<'a> Message<'a> {
    /// No message.
    pub const EMPTY: Self = Self {
        bytes: &[],
        encoding: Encoding::Text,
    };

    /// A message that stands in `bytes` as it is.
    #[must_use]
    pub const fn text(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            encoding: Encoding::Text,
        }
    }

    /// A `grpc-message`.
    #[must_use]
    pub const fn percent_encoded(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            encoding: Encoding::Percent,
        }
    }

    /// A JSON string, given without its quotes.
    pub(super) const fn json(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            encoding: Encoding::Json,
        }
    }

    /// True when there are no words.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its characters, at most `limits::MAX_ANSWER_MESSAGE_CHARS`.
    pub fn chars(&self) -> impl Iterator<Item = char> + use<'a> {
        let octets = match self.encoding {
            Encoding::Text => Octets::Text(self.bytes.iter()),
            Encoding::Percent => Octets::Percent(percent::Octets(PercentText::new(self.bytes))),
            Encoding::Json => Octets::Json(JsonOctets::new(self.bytes)),
        };
        Chars(octets).take(MAX_ANSWER_MESSAGE_CHARS)
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|character| f.write_char(character))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.chars() {
            character.escape_debug().try_for_each(|part| f.write_char(part))?;
        }
        f.write_char('"')
    }
}

impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Message<'_> {}

impl PartialEq<str> for Message<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

/// The octets of a message after its own encoding is undone.
#[derive(Clone)]
enum Octets<'a> {
    Text(core::slice::Iter<'a, u8>),
    Percent(percent::Octets<'a>),
    Json(JsonOctets<'a>),
}

impl Iterator for Octets<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self {
            Self::Text(octets) => octets.next().copied(),
            Self::Percent(octets) => octets.next(),
            Self::Json(octets) => octets.next(),
        }
    }
}

/// The octets of a JSON string without its quotes.
#[derive(Clone)]
struct JsonOctets<'a> {
    scanner: Scanner,
    rest: &'a [u8],
    part: &'a [u8],
    /// A character that was escaped; the last `left` octets of it follow next.
    character: [u8; 4],
    left: usize,
}

impl<'a> JsonOctets<'a> {
    const fn new(text: &'a [u8]) -> Self {
        Self {
            scanner: Scanner::inside_text(),
            rest: text,
            part: &[],
            character: [0; 4],
            left: 0,
        }
    }
}

impl Iterator for JsonOctets<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            if let Some((octet, rest)) = self.part.split_first() {
                self.part = rest;
                return Some(*octet);
            }
            if let Some(left) = self.left.checked_sub(1) {
                let octet = self.character.iter().rev().nth(left).copied();
                self.left = left;
                return octet;
            }
            match self.scanner.next(&mut self.rest) {
                Ok(Some(Token::Part(part))) => self.part = part,
                Ok(Some(Token::Char(character))) => {
                    let mut octets = [0; 4];
                    self.left = character.encode_utf8(&mut octets).len();
                    let [a, b, c, d] = octets;
                    // They are taken from the end.
                    self.character = match self.left {
                        1 => [0, 0, 0, a],
                        2 => [0, 0, a, b],
                        3 => [0, a, b, c],
                        _ => [a, b, c, d],
                    };
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn percent_encoded_words_are_decoded() {
        for (encoded, decoded) in [
            ("data refused", "data refused"),
            ("100%25 full%2C %C3%A9%0A", "100% full, é\n"),
            ("50% of %2", "50% of %2"),
            ("%zz%C3", "%zz\u{FFFD}"),
        ] {
            assert_eq!(Message::percent_encoded(encoded.as_bytes()).to_string(), decoded);
        }
    }

    #[test]
    fn display_is_bounded() {
        let long = "ä".repeat(MAX_ANSWER_MESSAGE_CHARS + 1);
        assert_eq!(
            Message::text(long.as_bytes()).to_string().chars().count(),
            MAX_ANSWER_MESSAGE_CHARS
        );
    }

    #[test]
    fn debug_escapes_control_characters() {
        assert_eq!(
            std::format!("{:?}", Message::text(b"a\x1b[2J\"")),
            r#""a\u{1b}[2J\"""#
        );
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(Message::text(b"a\xffb").to_string(), "a\u{FFFD}b");
        assert_eq!(Message::json(br"a\ud800\u00e9").to_string(), "a\u{FFFD}\u{e9}");
    }

    #[test]
    fn json_escapes_are_undone() {
        for (raw, text) in [
            (r#"a\n\t\\\/\"\u0041"#, "a\n\t\\/\"A"),
            (r"x\u00e9\u20AC\ud83e\udd80!", "xé€🦀!"),
            ("é€🦀", "é€🦀"),
        ] {
            assert_eq!(Message::json(raw.as_bytes()).to_string(), text, "{raw}");
        }
    }
}
