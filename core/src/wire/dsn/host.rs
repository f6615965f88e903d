//! The host of a DSN: nothing that a request line or a header could be split at.

use core::fmt::{self, Write as _};

use super::DsnError;

/// A host name or IP address. Case does not matter: comparison ignores it, `Display` writes lower case.
#[derive(Clone, Copy)]
pub struct Host<'a>(&'a str);

impl<'a> Host<'a> {
    /// The host as written, in whatever case; an IPv6 address is in brackets.
    #[must_use]
    pub const fn as_written(self) -> &'a str {
        self.0
    }

    pub(super) fn parse(text: &'a str) -> Result<Self, DsnError> {
        let valid = match text.strip_prefix("[") {
            Some(rest) => rest
                .strip_suffix("]")
                .is_some_and(|address| is_ipv6(address.as_bytes())),
            None => is_host_name(text),
        };
        if valid {
            Ok(Self(text))
        } else {
            Err(DsnError::InvalidHost)
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|one| f.write_char(one.to_ascii_lowercase()))
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Host<'_> {}

/// Labels of letters, digits, `-` and `_`, up to 63 bytes each and 253 in all (RFC 1035, section 2.3.4); one dot may
/// stand at the end.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix(".").unwrap_or(text);
    name.len() <= 253
        && name.as_bytes().split(|byte| *byte == b'.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// An IPv6 address in one of the forms of RFC 4291, section 2.2, without a zone.
fn is_ipv6(text: &[u8]) -> bool {
    let gap = text.windows(2).position(|pair| pair == b"::");
    let groups = match gap.and_then(|gap| text.split_at_checked(gap)) {
        None => return ipv6_groups(text, true) == Some(8),
        Some((before, rest)) => {
            let after = rest.strip_prefix(b"::").unwrap_or_default();
            ipv6_groups(before, false).zip(ipv6_groups(after, true))
        }
    };
    groups.is_some_and(|(before, after)| before.saturating_add(after) <= 7)
}

/// How many groups of 16 bits stand in `text`, which may be empty and may end in an IPv4 address.
fn ipv6_groups(text: &[u8], ipv4_at_end: bool) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    let mut parts = text.split(|byte| *byte == b':').peekable();
    let mut groups = 0_usize;
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let more = if (1..=4).contains(&part.len()) && part.iter().all(u8::is_ascii_hexdigit) {
            1
        } else if last && ipv4_at_end && is_ipv4(part) {
            2
        } else {
            return None;
        };
        groups = groups.saturating_add(more);
    }
    Some(groups)
}

/// Four numbers up to 255 without leading zeros.
fn is_ipv4(text: &[u8]) -> bool {
    let is_octet = |part: &[u8]| match part {
        [digit] => digit.is_ascii_digit(),
        [b'1'..=b'9', digit] => digit.is_ascii_digit(),
        [b'1', digits @ ..] if digits.len() == 2 => digits.iter().all(u8::is_ascii_digit),
        [b'2', b'0'..=b'4', digit] => digit.is_ascii_digit(),
        [b'2', b'5', digit] => matches!(digit, b'0'..=b'5'),
        _ => false,
    };
    let mut parts = text.split(|byte| *byte == b'.');
    parts.clone().count() == 4 && parts.all(is_octet)
}
