//! Sentry's rate limits, as they stand in the headers of an answer.
//!
//! ```text
//! X-Sentry-Rate-Limits: 60:transaction:key, 2700:default;error;security:organization:quota_exceeded
//!                       |  |           |
//!                       |  categories  scope (organization, project, key)      then reason, then metric namespaces
//!                       seconds
//! ```
//!
//! [`limits`] turns an answer into the limits that follow from it; how long each category is blocked in the end is kept
//! elsewhere. The rules are those of the rate-limiting specification, with Relay's behaviour where it is silent:
//!
//! 1. The header counts on every status. If any line of it holds a well-formed group, `Retry-After` is not read, even
//!    when that group limits nothing (unknown categories only, or over on arrival).
//! 2. Otherwise `Retry-After` limits everything. It must be obeyed on 429; on other statuses that is optional and done
//!    here. Numbers are read as in groups, so fractions round up and negative ones are over; dates are read as dates.
//! 3. Otherwise a 429 limits everything for [`DEFAULT_RATE_LIMIT`].
//!
//! A group is well formed when its first field is a decimal number. White space around every token is ignored. No
//! category means all of them, known or not; unknown names are left out, and a group of only unknown ones limits
//! nothing. A missing or unknown scope is the narrowest, the key. Fields after the namespaces are ignored.

use super::split::trimmed;
use core::fmt;

use super::{retry_after, seconds};
use crate::item::{Category, CategorySet};
use crate::limits::{DEFAULT_RATE_LIMIT, MAX_RATE_LIMIT_GROUPS, MAX_RATE_LIMIT_HEADER_BYTES};
use crate::response::Response;
use crate::time::{Duration, UnixTime};

/// HTTP status of a refusal because of a rate limit.
const TOO_MANY_REQUESTS: u16 = 429;

/// What a limit blocks.
///
/// Exhaustive. `All` is an entry of its own beside the categories: it covers unknown item types and client reports,
/// too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// Everything (`*`).
    All,
    /// These categories; may be empty when the server named only unknown ones.
    Categories(CategorySet),
}

/// For whom the server counts. A client may ignore it: its limits are per DSN anyway.
///
/// Exhaustive; an unknown name reads as [`Scope::Key`], the narrowest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Scope {
    /// The whole organization.
    Organization,
    /// One project.
    Project,
    /// One key (DSN).
    #[default]
    Key,
}

impl Scope {
    /// The name in the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Key => "key",
        }
    }

    fn from_name(name: &[u8]) -> Self {
        match name {
            b"organization" => Self::Organization,
            b"project" => Self::Project,
            _ => Self::Key,
        }
    }
}

/// The metric namespaces that a limit is narrowed to. They concern [`Category::MetricBucket`] alone: every other category
/// of the same group is limited whole.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces<'a>(&'a [u8]);

impl<'a> Namespaces<'a> {
    /// The namespaces, in the header's order. Empty when the limit is not narrowed.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        tokens(self.0, b';')
    }

    /// True when metrics of every namespace are limited.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.iter().next().is_none()
    }

    /// True when metrics of `namespace` are limited.
    #[must_use]
    pub fn contains(self, namespace: &[u8]) -> bool {
        self.is_all() || self.iter().any(|one| one == namespace)
    }
}

impl fmt::Debug for Namespaces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(<[u8]>::escape_ascii))
            .finish()
    }
}

/// One limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit<'a> {
    /// What is blocked.
    pub target: Target,
    /// For how long from the moment of the answer. Whole seconds, rounded up, when a number said so; zero when over on
    /// arrival.
    pub duration: Duration,
    /// For whom the server counts.
    pub scope: Scope,
    /// The server's word for why, at most the header's length; `None` when it gave none or not in UTF-8.
    pub reason: Option<&'a str>,
    /// Which metrics.
    pub namespaces: Namespaces<'a>,
}

impl Limit<'_> {
    const fn everything(duration: Duration) -> Self {
        Self {
            target: Target::All,
            duration,
            scope: Scope::Key,
            reason: None,
            namespaces: Namespaces(&[]),
        }
    }

    /// True when something is blocked for some time.
    #[must_use]
    pub fn is_effective(&self) -> bool {
        let blocks_something = match self.target {
            Target::All => true,
            Target::Categories(categories) => !categories.is_empty(),
        };
        blocks_something && !self.duration.is_zero()
    }
}

impl fmt::Display for Limit<'_> {
    /// Writes the group as Relay does: `seconds:categories:scope[:reason[:namespaces]]`. Groups are joined by `", "`.
    ///
    /// An empty set of categories becomes `unknown`, which no reader knows: nothing at all would mean everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.duration.as_secs_ceil())?;
        if let Target::Categories(categories) = self.target {
            if categories.is_empty() {
                f.write_str("unknown")?;
            }
            for (position, category) in categories.iter().enumerate() {
                let separator = if position == 0 { "" } else { ";" };
                write!(f, "{separator}{}", category.as_str())?;
            }
        }
        write!(f, ":{}", self.scope.as_str())?;
        if let Some(reason) = self.reason {
            write!(f, ":{reason}")?;
        } else if !self.namespaces.is_all() {
            f.write_str(":")?;
        }
        for (position, namespace) in self.namespaces.iter().enumerate() {
            let separator = if position == 0 { ":" } else { ";" };
            write!(f, "{separator}{}", namespace.escape_ascii())?;
        }
        Ok(())
    }
}

/// The limits that follow from an answer of Sentry or Relay, in the header's order.
///
/// Only effective ones: see [`Limit::is_effective`]. The same category may occur several times; the longest counts.
///
/// Cost: reads at most [`MAX_RATE_LIMIT_HEADER_BYTES`] and [`MAX_RATE_LIMIT_GROUPS`] groups, twice.
#[must_use = "the limits must be kept, or items are sent that the server has refused"]
pub fn limits<'a>(response: &Response<'a>) -> impl Iterator<Item = Limit<'a>> {
    let header = groups(response.rate_limits);
    let fallback = match header.clone().next() {
        Some(_) => None,
        None => without_header(response),
    };
    header.chain(fallback).filter(Limit::is_effective)
}

/// The limit of an answer without a usable `X-Sentry-Rate-Limits`.
fn without_header(response: &Response<'_>) -> Option<Limit<'static>> {
    let asked = response
        .retry_after
        .and_then(|value| retry_after_limit(value, response.wall));
    let duration = match asked {
        Some(duration) => duration,
        None if response.status == TOO_MANY_REQUESTS => DEFAULT_RATE_LIMIT,
        None => return None,
    };
    Some(Limit::everything(duration))
}

/// `Retry-After` as a rate limit: any decimal number of seconds, or a date.
fn retry_after_limit(value: &[u8], wall: UnixTime) -> Option<Duration> {
    match seconds::rounded_up(trimmed(value)) {
        Some(seconds) => Some(duration(seconds)),
        None => retry_after::parse(value, wall),
    }
}

/// Seconds that [`Duration`] cannot hold are over on arrival, as are those that no clock can.
fn duration(seconds: u64) -> Duration {
    match Duration::from_secs(seconds) {
        Duration::MAX => Duration::ZERO,
        duration => duration,
    }
}

/// The well-formed groups in the lines of `X-Sentry-Rate-Limits`, effective or not, in order.
///
/// Repeated field lines are one list (RFC 9110, section 5.3). Reads at most [`MAX_RATE_LIMIT_HEADER_BYTES`] over all
/// lines, where a group that does not end within them is left out, and at most [`MAX_RATE_LIMIT_GROUPS`] groups,
/// malformed ones included.
#[must_use]
pub const fn groups<'a>(lines: &'a [&'a [u8]]) -> Groups<'a> {
    Groups {
        lines,
        line: None,
        bytes: MAX_RATE_LIMIT_HEADER_BYTES,
        groups: MAX_RATE_LIMIT_GROUPS,
    }
}

/// Iterator over the groups of a header: see [`groups`].
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    lines: &'a [&'a [u8]],
    line: Option<&'a [u8]>,
    /// Bytes that may still be taken up from lines.
    bytes: usize,
    /// Groups that may still be looked at.
    groups: usize,
}

impl<'a> Groups<'a> {
    /// The next group, malformed ones included, empty ones left out.
    fn next_text(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = match self.line.take() {
                Some(line) => line,
                None => self.next_line()?,
            };
            let text = match line.iter().position(|byte| *byte == b',') {
                Some(comma) => {
                    let (text, rest) = line.split_at_checked(comma)?;
                    self.line = rest.split_first().map(|(_, rest)| rest);
                    text
                }
                None => line,
            };
            let text = trimmed(text);
            if !text.is_empty() {
                self.groups = self.groups.checked_sub(1)?;
                return Some(text);
            }
        }
    }

    /// The next line, or the whole groups of it that the budget allows.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        let (line, lines) = self.lines.split_first()?;
        self.lines = lines;
        match self.bytes.checked_sub(line.len()) {
            Some(left) => {
                self.bytes = left;
                Some(line)
            }
            None => {
                let (read, _) = line.split_at_checked(self.bytes)?;
                self.bytes = 0;
                self.lines = &[];
                let comma = read.iter().rposition(|byte| *byte == b',')?;
                read.get(..comma)
            }
        }
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = Limit<'a>;

    fn next(&mut self) -> Option<Limit<'a>> {
        loop {
            if let Some(limit) = parse_group(self.next_text()?) {
                return Some(limit);
            }
        }
    }
}

fn parse_group(text: &[u8]) -> Option<Limit<'_>> {
    let mut fields: [&[u8]; 5] = [&[]; 5];
    for (field, text) in fields.iter_mut().zip(text.split(|byte| *byte == b':')) {
        *field = trimmed(text);
    }
    let [seconds, categories, scope, reason, namespaces] = fields;
    Some(Limit {
        duration: duration(seconds::rounded_up(seconds)?),
        target: parse_categories(categories),
        scope: Scope::from_name(scope),
        reason: core::str::from_utf8(reason)
            .ok()
            .filter(|reason| !reason.is_empty()),
        namespaces: Namespaces(namespaces),
    })
}

fn parse_categories(text: &[u8]) -> Target {
    let mut named = false;
    let mut categories = CategorySet::EMPTY;
    for name in tokens(text, b';') {
        named = true;
        if let Some(category) = Category::from_name(name) {
            categories = categories.with(category);
        }
    }
    if named {
        Target::Categories(categories)
    } else {
        Target::All
    }
}

/// The tokens between separators, without white space around them and without empty ones.
fn tokens(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> + Clone {
    text.split(move |byte| *byte == separator)
        .map(trimmed)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
