//! Percent-encoding (RFC 3986, section 2.1), decoded as it is read.
//!
//! [`PercentText`] borrows the text as received and decodes it anew at every reading, so a value costs no memory and
//! keeps its received form, in which it is passed on.

use core::fmt;

use super::{hex, lossy_utf8};

/// Percent-encoded UTF-8 text, as received.
///
/// Decoding never fails: a `%` without two hexadecimal digits stands for itself, and octets that are no UTF-8 become
/// U+FFFD, one for each maximal subpart, as the Unicode standard recommends (section 3.9) and W3C Baggage requires.
/// Comparison is of the decoded text. Every reading costs one pass over the received bytes.
#[derive(Clone, Copy)]
pub struct PercentText<'a> {
    raw: &'a [u8],
    plus_is_space: bool,
}

impl<'a> PercentText<'a> {
    /// Text in which `+` is a plus sign, as in `baggage`.
    #[must_use]
    pub const fn new(raw: &'a [u8]) -> Self {
        Self {
            raw,
            plus_is_space: false,
        }
    }

    /// Text in which `+` is a space, as in query strings (`application/x-www-form-urlencoded`).
    #[must_use]
    pub const fn form(raw: &'a [u8]) -> Self {
        Self {
            raw,
            plus_is_space: true,
        }
    }

    /// The text as received.
    #[must_use]
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The decoded octets.
    pub fn octets(self) -> impl Iterator<Item = u8> + Clone {
        Octets(self)
    }

    /// The decoded characters.
    pub fn chars(self) -> impl Iterator<Item = char> + Clone {
        lossy_utf8::Chars(Octets(self))
    }

    /// The text itself, when it is UTF-8 and nothing in it is encoded.
    #[must_use]
    pub fn as_plain(self) -> Option<&'a str> {
        let encoded = |byte: &u8| *byte == b'%' || (self.plus_is_space && *byte == b'+');
        match self.raw.iter().any(encoded) {
            true => None,
            false => core::str::from_utf8(self.raw).ok(),
        }
    }
}

impl fmt::Display for PercentText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.chars().try_for_each(|one| f.write_char(one))
    }
}

impl fmt::Debug for PercentText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_char('"')?;
        self.chars()
            .flat_map(char::escape_debug)
            .try_for_each(|one| f.write_char(one))?;
        f.write_char('"')
    }
}

impl PartialEq for PercentText<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for PercentText<'_> {}

impl PartialEq<str> for PercentText<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for PercentText<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// The decoded octets of a text.
#[derive(Clone)]
pub(crate) struct Octets<'a>(pub(crate) PercentText<'a>);

impl Iterator for Octets<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.raw.split_first()?;
        self.0.raw = rest;
        if *first == b'+' && self.0.plus_is_space {
            return Some(b' ');
        }
        if *first == b'%'
            && let Some(([high, low], rest)) = rest.split_first_chunk::<2>()
            && let Some(octet) = hex::byte(*high, *low)
        {
            self.0.raw = rest;
            return Some(octet);
        }
        Some(*first)
    }
}

/// Writes `text` with every octet encoded that is not unreserved (RFC 3986, section 2.3): letters, digits, `-._~`.
///
/// The result is the same text for every reader: no `+`, no `=`, nothing that any header or query gives a meaning.
pub fn write_encoded(out: &mut (impl fmt::Write + ?Sized), text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.write_char(char::from(byte))?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// Bytes that [`write_encoded`] writes for `text`.
#[must_use]
pub fn encoded_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| if is_unreserved(byte) { 1_usize } else { 3 })
        .fold(0, usize::saturating_add)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn decoded(raw: &str) -> String {
        PercentText::new(raw.as_bytes()).to_string()
    }

    #[test]
    fn encoded_octets_are_decoded() {
        assert_eq!(decoded("Am%C3%A9lie"), "Amélie");
        assert_eq!(decoded("%f0%9F%a6%80"), "🦀");
        assert_eq!(decoded("DF%2028%2c"), "DF 28,");
        assert_eq!(decoded(""), "");
    }

    #[test]
    fn a_percent_sign_without_two_digits_stands_for_itself() {
        for raw in ["%", "100%", "%2", "%zz", "%%", "%-1"] {
            assert_eq!(decoded(raw), raw);
        }
        assert_eq!(decoded("%%41"), "%A");
    }

    #[test]
    fn octets_that_are_no_text_are_replaced_as_the_standard_library_does() {
        let samples: [&[u8]; 12] = [
            b"\xff",
            b"a\xc3",
            b"\xc3(",
            b"\xe2\x82",
            b"\xe2\x82a",
            b"\xe2(\xa1",
            b"\xed\xa0\x80",
            b"\xf0\x80\x80\x80",
            b"\xf4\x90\x80\x80",
            b"\xf0\x9f\xa6",
            b"\xc0\xaf\x80",
            b"\xf8\x88\x80\x80\x80",
        ];
        for octets in samples {
            let raw: String = octets.iter().map(|octet| std::format!("%{octet:02x}")).collect();
            assert_eq!(decoded(&raw), String::from_utf8_lossy(octets), "{raw}");
        }
    }

    #[test]
    fn a_plus_is_a_space_only_in_forms() {
        assert_eq!(decoded("a+b"), "a+b");
        assert_eq!(PercentText::form(b"a+b%2Bc").to_string(), "a b+c");
        assert_eq!(PercentText::form(b"a+b").as_plain(), None);
        assert_eq!(PercentText::new(b"a+b").as_plain(), Some("a+b"));
        assert_eq!(PercentText::new(b"a%2Bb").as_plain(), None);
    }

    #[test]
    fn comparison_is_of_the_decoded_text() {
        assert_eq!(PercentText::new(b"%41b"), "Ab");
        assert_eq!(PercentText::new(b"%41b"), PercentText::new(b"A%62"));
        assert_ne!(PercentText::new(b"%41b"), "A");
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        for text in ["", "plain-._~", "a b,c;d=e%f+\"\\", "Amélie 🦀", "\u{0}\r\n"] {
            let mut raw = String::new();
            write_encoded(&mut raw, text).unwrap();
            assert_eq!(raw.len(), encoded_len(text));
            assert_eq!(decoded(&raw), text);
            assert_eq!(PercentText::form(raw.as_bytes()).to_string(), text);
        }
    }
}
