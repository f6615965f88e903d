//! `tracestate`: what each tracing system on the way wants to find again.
//!
//! ```text
//! tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE
//!             newest, leftmost      older
//! ```
//!
//! One bad member makes the whole worthless. The keys are those of Level 2: Level 1 knew a special form with one `@`.
//! Of several entries with one key the leftmost counts, which is the newest.

use core::fmt;

use super::trim_ows;
use crate::limits::{MAX_TRACESTATE_BYTES, MAX_TRACESTATE_HEADER_BYTES, MAX_TRACESTATE_MEMBERS};
use crate::wire::split;

/// Characters of the longest key, and of the longest value.
const MAX_PART: usize = 256;

/// Entries longer than this go first when a `tracestate` has to be shortened.
const LONG_ENTRY: usize = 128;

/// A valid `tracestate`, borrowed from the lines as received.
#[derive(Clone, Copy)]
pub struct Tracestate<'a> {
    lines: &'a [&'a [u8]],
}

/// One tracing system's entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry<'a> {
    /// `a-z 0-9` first, then also `_ - * / @`; at most 256 characters.
    pub key: &'a str,
    /// Printable ASCII without `,` and `=`, not ending in a space; 1 to 256 characters.
    pub value: &'a str,
}

/// Why a `tracestate` is discarded. The `traceparent` keeps its worth.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TracestateError {
    /// More than [`MAX_TRACESTATE_HEADER_BYTES`] over all lines, which no 32 members need.
    TooLong,
    /// More than [`MAX_TRACESTATE_MEMBERS`].
    TooManyMembers,
    /// A member that is not `key=value`, or a key or value with a character or a length that is not allowed.
    Member,
}

impl fmt::Display for TracestateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "tracestate is longer than 32 members can be",
            Self::TooManyMembers => "tracestate has more than 32 members",
            Self::Member => "a tracestate member is not a legal key=value",
        })
    }
}

impl core::error::Error for TracestateError {}

impl<'a> Entry<'a> {
    /// An entry of these parts.
    ///
    /// # Errors
    /// [`TracestateError::Member`] when a part holds what it must not.
    pub fn new(key: &'a str, value: &'a str) -> Result<Self, TracestateError> {
        if is_key(key.as_bytes()) && is_value(value.as_bytes()) {
            Ok(Self { key, value })
        } else {
            Err(TracestateError::Member)
        }
    }

    fn parse(member: &'a [u8]) -> Result<Self, TracestateError> {
        let text = core::str::from_utf8(member).map_err(|_| TracestateError::Member)?;
        let (key, value) = split::at_first(text, b'=').ok_or(TracestateError::Member)?;
        Self::new(key, value)
    }

    fn length(&self) -> usize {
        self.key.len().saturating_add(self.value.len()).saturating_add(1)
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl<'a> Tracestate<'a> {
    /// Reads the values of every `tracestate` line of a request; the lines are one list. Call it only when the
    /// `traceparent` is valid.
    ///
    /// Cost: one pass over at most [`MAX_TRACESTATE_HEADER_BYTES`].
    ///
    /// # Errors
    /// See [`TracestateError`].
    pub fn parse(lines: &'a [&'a [u8]]) -> Result<Self, TracestateError> {
        let bytes = lines
            .iter()
            .fold(0_usize, |sum, line| sum.saturating_add(line.len()));
        if bytes > MAX_TRACESTATE_HEADER_BYTES {
            return Err(TracestateError::TooLong);
        }
        let state = Self { lines };
        if state
            .members()
            .take(MAX_TRACESTATE_MEMBERS.saturating_add(1))
            .count()
            > MAX_TRACESTATE_MEMBERS
        {
            return Err(TracestateError::TooManyMembers);
        }
        match state.members().find_map(|member| Entry::parse(member).err()) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    /// The entries, newest first, each key once. Cost: at most 32 × 32 comparisons of keys for all of them.
    pub fn entries(self) -> impl Iterator<Item = Entry<'a>> + Clone {
        let parsed = move || self.members().filter_map(|member| Entry::parse(member).ok());
        parsed()
            .enumerate()
            .filter(move |(position, entry)| parsed().take(*position).all(|earlier| earlier.key != entry.key))
            .map(|(_, entry)| entry)
    }

    /// The value of the newest entry with `key`.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.entries()
            .find(|entry| entry.key == key)
            .map(|entry| entry.value)
    }

    /// Writes the header's value for a request of one's own: `own` first, which replaces an entry of the same key, then
    /// the others in order. What is more than 32 entries or `max_bytes` is left out in whole entries: those longer than
    /// 128 characters first, then from the right; `own` always stays. Pass [`MAX_TRACESTATE_BYTES`] for `max_bytes`, or
    /// less, but not under 512 without need.
    ///
    /// Writes nothing when there is no entry; do not send an empty header.
    ///
    /// # Errors
    /// Those of `out` only.
    pub fn write(
        self,
        out: &mut (impl fmt::Write + ?Sized),
        own: Option<Entry<'_>>,
        max_bytes: usize,
    ) -> fmt::Result {
        let others = self
            .entries()
            .filter(|entry| own.is_none_or(|own| own.key != entry.key));
        let kept = Kept::choose(own, others.clone(), max_bytes.min(MAX_TRACESTATE_BYTES));
        let mut separator = "";
        if let Some(own) = own {
            write!(out, "{own}")?;
            separator = ",";
        }
        for (position, entry) in others.enumerate() {
            if kept.contains(position) {
                write!(out, "{separator}{entry}")?;
                separator = ",";
            }
        }
        Ok(())
    }

    /// The members with something in them, without white space around them, as received.
    fn members(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.lines
            .iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .map(trim_ows)
            .filter(|member| !member.is_empty())
    }
}

impl fmt::Debug for Tracestate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.entries().map(|entry| (entry.key, entry.value)))
            .finish()
    }
}

/// Which entries, by position, fit: one bit each.
struct Kept(u32);

impl Kept {
    fn choose<'a>(
        own: Option<Entry<'_>>,
        others: impl Iterator<Item = Entry<'a>> + Clone,
        max_bytes: usize,
    ) -> Self {
        let mut lengths = [0_usize; MAX_TRACESTATE_MEMBERS];
        let mut kept = Self(0);
        let mut bytes = own.map_or(0, |own| own.length());
        let most = MAX_TRACESTATE_MEMBERS.saturating_sub(usize::from(own.is_some()));
        for (position, (entry, length)) in others.zip(&mut lengths).take(most).enumerate() {
            *length = entry.length();
            // A comma more than needed when there is no entry of one's own: added below to the limit.
            bytes = bytes.saturating_add(*length).saturating_add(1);
            kept.0 |= Self::bit(position);
        }
        let max_bytes = max_bytes.saturating_add(usize::from(own.is_none()));
        for longer_than in [LONG_ENTRY, 0] {
            for (position, length) in lengths.iter().enumerate().rev() {
                if bytes > max_bytes && kept.contains(position) && *length > longer_than {
                    kept.0 &= !Self::bit(position);
                    bytes = bytes.saturating_sub(length.saturating_add(1));
                }
            }
        }
        kept
    }

    fn contains(&self, position: usize) -> bool {
        self.0 & Self::bit(position) != 0
    }

    fn bit(position: usize) -> u32 {
        u32::try_from(position)
            .ok()
            .and_then(|position| 1_u32.checked_shl(position))
            .unwrap_or(0)
    }
}

fn is_key(key: &[u8]) -> bool {
    let Some((first, rest)) = key.split_first() else {
        return false;
    };
    let alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    key.len() <= MAX_PART
        && alphanumeric(first)
        && rest
            .iter()
            .all(|byte| alphanumeric(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@'))
}

fn is_value(value: &[u8]) -> bool {
    value.len() <= MAX_PART
        && value.last().is_some_and(|last| *last != b' ')
        && value
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn written(lines: &[&str], own: Option<(&str, &str)>, max_bytes: usize) -> String {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let own = own.map(|(key, value)| Entry::new(key, value).unwrap());
        let mut out = String::new();
        let state = Tracestate::parse(&lines).unwrap();
        state.write(&mut out, own, max_bytes).unwrap();
        out
    }

    fn error(line: &str) -> Option<TracestateError> {
        Tracestate::parse(&[line.as_bytes()]).err()
    }

    fn joined(entries: impl IntoIterator<Item = String>) -> String {
        entries.into_iter().collect::<Vec<_>>().join(",")
    }

    #[test]
    fn lines_are_one_list_and_empty_members_are_nothing() {
        assert_eq!(
            written(&["", " ,foo=1,, \t", "bar= 2 ,"], None, 512),
            "foo=1,bar= 2"
        );
        assert_eq!(written(&[], None, 512), "");
    }

    #[test]
    fn the_leftmost_of_equal_keys_counts() {
        assert_eq!(written(&["foo=1,bar=2", "foo=3"], None, 512), "foo=1,bar=2");
        let state = Tracestate::parse(&[b"foo=1,foo=2"]).unwrap();
        assert_eq!(state.get("foo"), Some("1"));
        assert_eq!(state.get("bar"), None);
    }

    #[test]
    fn one_bad_member_discards_the_whole() {
        for line in [
            "foo",
            "=1",
            "foo=",
            "foo= ",
            "FOO=1",
            "foo =1",
            "@foo=1",
            "foo.bar=1",
            "foo=a=b",
            "foo=\u{e9}",
            "foo=a\tb",
            "foo=\t1",
            "foo=a\u{7f}",
        ] {
            assert_eq!(
                error(&format!("bar=2,{line}")),
                Some(TracestateError::Member),
                "{line}"
            );
        }
        assert!(Tracestate::parse(&[b"bar=2", b"\xff=1"]).is_err());
    }

    #[test]
    fn keys_and_values_have_up_to_256_characters() {
        let long = "z".repeat(256);
        assert_eq!(error(&format!("{long}={long}")), None);
        assert_eq!(error(&format!("{long}z=1")), Some(TracestateError::Member));
        assert_eq!(error(&format!("z={long}z")), Some(TracestateError::Member));
    }

    #[test]
    fn there_may_be_32_members_of_the_longest_kind() {
        let value = "v".repeat(256);
        let members = |count: usize| joined((0..count).map(|one| format!("{one:0256}={value}")));
        assert_eq!(error(&members(32)), None);
        assert_eq!(error(&members(33)), Some(TracestateError::TooManyMembers));
        assert_eq!(error(&",".repeat(MAX_TRACESTATE_HEADER_BYTES)), None);
        assert_eq!(
            error(&",".repeat(MAX_TRACESTATE_HEADER_BYTES + 1)),
            Some(TracestateError::TooLong)
        );
    }

    #[test]
    fn ones_own_entry_goes_leftmost_and_replaces_the_older() {
        assert_eq!(
            written(&["rojo=1,congo=2"], Some(("congo", "3")), 512),
            "congo=3,rojo=1"
        );
        assert_eq!(written(&[], Some(("congo", "3")), 512), "congo=3");
    }

    #[test]
    fn with_ones_own_entry_the_rightmost_of_32_goes() {
        let all: Vec<String> = (0..32).map(|one| format!("k{one}=v")).collect();
        let line = joined(all.clone());
        let expected = joined(["own=1".to_string()].into_iter().chain(all[..31].to_vec()));
        assert_eq!(written(&[&line], Some(("own", "1")), 4096), expected);
        assert_eq!(
            written(&[&line], Some(("k31", "1")), 4096).matches(',').count(),
            31
        );
    }

    #[test]
    fn long_entries_go_first_then_the_rightmost() {
        let long = format!("long={}", "v".repeat(124));
        let more = format!("more={}", "w".repeat(130));
        let line = format!("a=1,{long},b=2,{more},c=3");
        let all = line.len();
        assert_eq!(written(&[&line], None, all), line);
        assert_eq!(written(&[&line], None, all - 1), format!("a=1,{long},b=2,c=3"));
        assert_eq!(written(&[&line], None, 140), "a=1,b=2,c=3");
        assert_eq!(written(&[&line], None, 10), "a=1,b=2");
        assert_eq!(written(&[&line], None, 2), "");
        assert_eq!(written(&[&line], Some(("own", "x")), 2), "own=x");
        assert_eq!(written(&[&line], Some(("own", "x")), 9), "own=x,a=1");
    }

    #[test]
    fn an_entry_of_128_characters_is_not_long() {
        let exact = format!("e={}", "v".repeat(126));
        let line = format!("{exact},b=2");
        assert_eq!(written(&[&line], None, line.len() - 1), exact);
        let longer = format!("e={},b=2", "v".repeat(127));
        assert_eq!(written(&[&longer], None, longer.len() - 1), "b=2");
    }
}
