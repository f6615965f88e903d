//! The two `key=value,key=value` lists of the environment: request headers and resource attributes.
//!
//! Both follow the member syntax of W3C Baggage ("OTLP exporter: Specifying headers via environment variables";
//! "Resource SDK: Specifying resource information via an environment variable"), without properties.

use core::fmt;

/// What is wrong with one member of a list.
///
/// Exhaustive. `position` counts from 1; the text itself is never repeated, it may be a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListError {
    /// There is no `=`.
    NoEquals {
        /// Which member.
        position: usize,
    },
    /// Nothing stands before the `=`.
    NoKey {
        /// Which member.
        position: usize,
    },
    /// A header name or value has characters that HTTP forbids, or is one that the client writes itself.
    NotAHeader {
        /// Which member.
        position: usize,
    },
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not UTF-8.
    BadEncoding {
        /// Which member.
        position: usize,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEquals { position } => {
                write!(f, "member {position} has no `=`; write `key=value,key=value`")
            }
            Self::NoKey { position } => write!(f, "member {position} has no key before its `=`"),
            Self::NotAHeader { position } => write!(
                f,
                "member {position} is not a header that may be set (a name of letters, digits and `-`, not one of \
                 those that the client writes itself)"
            ),
            Self::BadEncoding { position } => write!(
                f,
                "member {position} is not valid percent-encoded UTF-8; write a plain `%` as `%25`"
            ),
        }
    }
}

impl core::error::Error for ListError {}

/// Headers the client writes itself; a setting must not contradict them.
pub(crate) const RESERVED: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "transfer-encoding",
];

/// The headers of a list; members that are wrong are left out and told.
pub(super) fn headers(value: &str) -> (Vec<(String, String)>, Vec<ListError>) {
    let mut headers = Vec::new();
    let mut errors = Vec::new();
    for (position, member) in members(value) {
        match pair(position, member).and_then(|pair| header(position, pair)) {
            Ok(pair) => headers.push(pair),
            Err(error) => errors.push(error),
        }
    }
    (headers, errors)
}

/// The attributes of a list; one wrong member makes the whole list wrong.
pub(super) fn attributes(value: &str) -> Result<Vec<(String, String)>, ListError> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (position, member) in members(value) {
        let (key, value) = pair(position, member)?;
        // Keys are unique in a resource; the last one holds, as in a merge.
        attributes.retain(|(known, _)| *known != key);
        attributes.push((key, value));
    }
    Ok(attributes)
}

fn members(value: &str) -> impl Iterator<Item = (usize, &str)> {
    value
        .split(',')
        .enumerate()
        .map(|(index, member)| (index + 1, member.trim()))
        .filter(|(_, member)| !member.is_empty())
}

fn pair(position: usize, member: &str) -> Result<(String, String), ListError> {
    let (key, value) = member.split_once('=').ok_or(ListError::NoEquals { position })?;
    let key = decoded(position, key.trim())?;
    if key.is_empty() {
        return Err(ListError::NoKey { position });
    }
    Ok((key, decoded(position, value.trim())?))
}

fn header(position: usize, (name, value): (String, String)) -> Result<(String, String), ListError> {
    let known = reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && reqwest::header::HeaderValue::from_str(&value).is_ok()
        && !RESERVED
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved));
    if known {
        Ok((name, value))
    } else {
        Err(ListError::NotAHeader { position })
    }
}

fn decoded(position: usize, text: &str) -> Result<String, ListError> {
    let error = ListError::BadEncoding { position };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = rest.next().and_then(|digit| hex(*digit)).ok_or(error)?;
        let low = rest.next().and_then(|digit| hex(*digit)).ok_or(error)?;
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| error)
}

fn hex(digit: u8) -> Option<u8> {
    // A digit of base 16 fits eight bits.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn percent_encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_by_its_members(text in ".{0,200}") {
            let count = members(&text).count();
            let (headers, errors) = headers(&text);
            prop_assert_eq!(headers.len() + errors.len(), count);
            for (name, value) in headers {
                prop_assert!(!name.is_empty() && !value.contains(['\r', '\n']));
                prop_assert!(!RESERVED.contains(&name.to_ascii_lowercase().as_str()));
            }
            if let Ok(attributes) = attributes(&text) {
                prop_assert!(attributes.len() <= count);
            }
        }

        #[test]
        fn what_was_percent_encoded_comes_back(pairs in prop::collection::btree_map(".{1,8}", ".{0,8}", 0..6)) {
            let written: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!(" {}={} ", percent_encoded(key), percent_encoded(value)))
                .collect();
            prop_assert_eq!(attributes(&written.join(",")), Ok(pairs.into_iter().collect()));
        }
    }
}
