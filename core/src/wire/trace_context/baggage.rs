//! `baggage`: keys and values that travel with a request.
//!
//! ```text
//! baggage: userId=Am%C3%A9lie,serverNode=DF%2028;internal;zone=eu
//!          key    value                          properties
//! ```
//!
//! A member that breaks the grammar is left out and the rest is kept, as other systems wrote it. Values are
//! percent-encoded UTF-8 and are decoded when read; keys, and properties without a value, are not encoded.

use core::fmt;

use super::trim_ows;
use crate::limits::MAX_BAGGAGE_BYTES;
use crate::wire::percent::{self, PercentText};

/// The `baggage` of a request, borrowed from the lines as received.
#[derive(Clone, Copy)]
pub struct Baggage<'a> {
    lines: &'a [&'a [u8]],
}

/// Why a `baggage` is discarded whole.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BaggageError {
    /// More than [`MAX_BAGGAGE_BYTES`] over all lines, commas between them included.
    TooLong,
}

impl fmt::Display for BaggageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "baggage is longer than 8192 bytes",
        })
    }
}

impl core::error::Error for BaggageError {}

impl<'a> Baggage<'a> {
    /// The baggage of a request without any.
    pub const EMPTY: Self = Self { lines: &[] };

    /// Takes the values of every `baggage` line of a request; the lines are one list.
    ///
    /// # Errors
    /// See [`BaggageError`].
    pub fn parse(lines: &'a [&'a [u8]]) -> Result<Self, BaggageError> {
        let commas = lines.len().saturating_sub(1);
        let bytes = lines
            .iter()
            .fold(commas, |sum, line| sum.saturating_add(line.len()));
        if bytes > MAX_BAGGAGE_BYTES {
            return Err(BaggageError::TooLong);
        }
        Ok(Self { lines })
    }

    /// The well-formed members in order, repeated keys included.
    ///
    /// Cost: one pass over at most [`MAX_BAGGAGE_BYTES`].
    pub fn members(self) -> impl Iterator<Item = Member<'a>> + Clone {
        self.lines
            .iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .filter_map(|member| Member::parse(trim_ows(member)))
    }
}

impl fmt::Debug for Baggage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members()).finish()
    }
}

/// One key with its value and properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// A token (RFC 9110, section 5.6.2), never empty.
    pub key: &'a str,
    /// The value; may be empty.
    pub value: PercentText<'a>,
    /// Properties as received, each well formed; `None` when there are none.
    properties: Option<&'a [u8]>,
}

/// Metadata of a member: a key, with or without a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Property<'a> {
    /// A token, never empty and never decoded.
    pub key: &'a str,
    /// The value; `None` when there is no `=`.
    pub value: Option<PercentText<'a>>,
}

impl<'a> Member<'a> {
    fn parse(member: &'a [u8]) -> Option<Self> {
        let semicolon = member.iter().position(|byte| *byte == b';');
        let (pair, properties) = match semicolon {
            None => (member, None),
            Some(at) => {
                let (pair, rest) = member.split_at_checked(at)?;
                (pair, rest.strip_prefix(b";"))
            }
        };
        let pair = Property::parse(pair)?;
        let member = Self {
            key: pair.key,
            value: pair.value?,
            properties,
        };
        member
            .property_texts()
            .all(|text| Property::parse(text).is_some())
            .then_some(member)
    }

    /// The properties in order, repeated keys included.
    pub fn properties(self) -> impl Iterator<Item = Property<'a>> + Clone {
        self.property_texts().filter_map(Property::parse)
    }

    fn property_texts(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.properties
            .into_iter()
            .flat_map(|text| text.split(|byte| *byte == b';'))
    }
}

impl<'a> Property<'a> {
    /// `key OWS [ "=" OWS value ]`, with white space around it.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (key, value) = match text.iter().position(|byte| *byte == b'=') {
            None => (text, None),
            Some(at) => {
                let (key, rest) = text.split_at_checked(at)?;
                (key, Some(trim_ows(rest.strip_prefix(b"=")?)))
            }
        };
        let key = trim_ows(key);
        let valid = !key.is_empty()
            && key.iter().copied().all(is_token_byte)
            && value.is_none_or(|value| value.iter().copied().all(is_baggage_octet));
        if !valid {
            return None;
        }
        Some(Self {
            key: core::str::from_utf8(key).ok()?,
            value: value.map(PercentText::new),
        })
    }
}

/// Writes a `baggage` value member by member, within what other systems must pass on.
///
/// Foreign members first: Sentry SDKs append theirs to what stands in a request already.
#[derive(Debug)]
pub struct BaggageWriter<'w, W: ?Sized> {
    out: &'w mut W,
    bytes: usize,
}

impl<'w, W: fmt::Write + ?Sized> BaggageWriter<'w, W> {
    /// A writer of a new header value to `out`.
    pub const fn new(out: &'w mut W) -> Self {
        Self { out, bytes: 0 }
    }

    /// Adds a member; the value is encoded. False, with nothing written, when `key` is no token or the member does not
    /// fit into [`MAX_BAGGAGE_BYTES`].
    ///
    /// # Errors
    /// Those of `out` only.
    pub fn push(&mut self, key: &str, value: &str) -> Result<bool, fmt::Error> {
        if key.is_empty() || !key.bytes().all(is_token_byte) {
            return Ok(false);
        }
        let length = key
            .len()
            .saturating_add(1)
            .saturating_add(percent::encoded_len(value));
        if !self.start_member(length)? {
            return Ok(false);
        }
        write!(self.out, "{key}=")?;
        percent::write_encoded(self.out, value)?;
        Ok(true)
    }

    /// Adds a received member with its properties, its texts unchanged. False, with nothing written, when it does not
    /// fit.
    ///
    /// # Errors
    /// Those of `out` only.
    pub fn push_member(&mut self, member: &Member<'_>) -> Result<bool, fmt::Error> {
        let value =
            |value: Option<PercentText<'_>>| value.map_or(0, |value| value.raw().len().saturating_add(1));
        let properties = member.properties().fold(0_usize, |sum, property| {
            sum.saturating_add(property.key.len())
                .saturating_add(value(property.value))
                .saturating_add(1)
        });
        let length = member
            .key
            .len()
            .saturating_add(value(Some(member.value)))
            .saturating_add(properties);
        if !self.start_member(length)? {
            return Ok(false);
        }
        self.write_pair(member.key, Some(member.value))?;
        for property in member.properties() {
            self.out.write_char(';')?;
            self.write_pair(property.key, property.value)?;
        }
        Ok(true)
    }

    /// Takes `length` bytes and a comma from what is left, and writes the comma.
    fn start_member(&mut self, length: usize) -> Result<bool, fmt::Error> {
        // No member is empty.
        let comma = usize::from(self.bytes > 0);
        let bytes = self.bytes.saturating_add(comma).saturating_add(length);
        if bytes > MAX_BAGGAGE_BYTES {
            return Ok(false);
        }
        if comma > 0 {
            self.out.write_char(',')?;
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn write_pair(&mut self, key: &str, value: Option<PercentText<'_>>) -> fmt::Result {
        self.out.write_str(key)?;
        let Some(value) = value else { return Ok(()) };
        self.out.write_char('=')?;
        // Baggage octets are ASCII, so each is a character.
        value
            .raw()
            .iter()
            .try_for_each(|byte| self.out.write_char(char::from(*byte)))
    }
}

/// `tchar` (RFC 9110, section 5.6.2)
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Visible ASCII without `"`, `,`, `;` and `\`.
const fn is_baggage_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn members<'a>(lines: &'a [&'a [u8]]) -> Vec<Member<'a>> {
        Baggage::parse(lines).unwrap().members().collect()
    }

    fn keys(line: &str) -> Vec<String> {
        members(&[line.as_bytes()])
            .iter()
            .map(|member| member.key.to_string())
            .collect()
    }

    #[test]
    fn values_are_decoded_and_properties_read() {
        let lines: &[&[u8]] = &[
            b" userId = Am%C3%A9lie ",
            b"",
            b"node=DF%2028 ; internal ;\tzone = e%75 ",
        ];
        let members = members(lines);
        assert_eq!(members.len(), 2);
        assert_eq!(
            (members[0].key, members[0].value.to_string().as_str()),
            ("userId", "Amélie")
        );
        assert_eq!(members[1].value, "DF 28");
        let properties: Vec<_> = members[1].properties().collect();
        assert_eq!((properties[0].key, properties[0].value), ("internal", None));
        assert_eq!(properties[1].value.unwrap(), "eu");
    }

    #[test]
    fn values_may_be_empty_and_hold_equals_signs() {
        let lines: &[&[u8]] = &[b"a=,b==,c=d=e"];
        let values: Vec<_> = members(lines)
            .iter()
            .map(|member| member.value.to_string())
            .collect();
        assert_eq!(values, ["", "=", "d=e"]);
    }

    #[test]
    fn malformed_members_are_left_out_alone() {
        for bad in [
            "a", "=1", "a b=1", "k=\"v\"", "k=a\\b", "k=\u{e9}", "\u{e9}=1", "k=a b", "k=v;", "k=v;;p",
            "k=v;a b", "k=v;=1", "k=v;p=\"", ";p", "k;p=1", "(k)=1", "",
        ] {
            assert_eq!(keys(&format!("x=1,{bad},y=2")), ["x", "y"], "{bad}");
        }
        assert_eq!(members(&[b"a=1,\xff=2,b=3"]).len(), 2);
    }

    #[test]
    fn equal_keys_stay() {
        assert_eq!(keys("k=1,k=2"), ["k", "k"]);
    }

    #[test]
    fn the_length_is_bounded_over_all_lines() {
        let half = "a".repeat(4096);
        let half = half.as_bytes();
        assert!(Baggage::parse(&[half, &half[1..]]).is_ok());
        assert_eq!(Baggage::parse(&[half, half]).unwrap_err(), BaggageError::TooLong);
    }

    #[test]
    fn every_member_is_read_and_written_that_the_length_allows() {
        let line = (0..512)
            .map(|one| format!("{one:08}={one:06}"))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(line.len(), MAX_BAGGAGE_BYTES - 1);
        let mut out = String::new();
        let mut writer = BaggageWriter::new(&mut out);
        for member in members(&[line.as_bytes()]) {
            assert!(writer.push_member(&member).unwrap());
        }
        assert_eq!(out, line);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = String::new();
        let mut writer = BaggageWriter::new(&mut out);
        for member in members(&[b"a = 1;p;q=%20 ,b=%C3%A9"]) {
            assert!(writer.push_member(&member).unwrap());
        }
        assert!(writer.push("sentry-release", "app@1, 2;3=\"").unwrap());
        assert!(!writer.push("not a token", "x").unwrap());
        assert!(!writer.push("", "x").unwrap());
        assert_eq!(
            out,
            "a=1;p;q=%20,b=%C3%A9,sentry-release=app%401%2C%202%3B3%3D%22"
        );
        let lines: &[&[u8]] = &[out.as_bytes()];
        assert_eq!(members(lines)[2].value, "app@1, 2;3=\"");
    }

    #[test]
    fn members_are_written_whole_or_not_at_all() {
        let mut out = String::new();
        let mut writer = BaggageWriter::new(&mut out);
        assert!(writer.push("k", &"v".repeat(8000)).unwrap());
        assert!(!writer.push("k", &"v".repeat(188)).unwrap());
        assert!(writer.push("k", &"v".repeat(187)).unwrap());
        assert!(!writer.push("k", "").unwrap());
        assert_eq!(out.len(), MAX_BAGGAGE_BYTES);
    }
}
