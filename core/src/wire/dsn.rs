//! The DSN: where a Sentry client sends, and under which key.
//!
//! ```text
//! {scheme}://{public_key}[:{secret_key}]@{host}[:{port}]{path}{project_id}
//! https  ://e12d...995b                 @o123.ingest.sentry.io/42
//! ```
//!
//! All parts are strings and are kept as written (develop docs, "Parsing the DSN"). The checks are stricter than a URL
//! parser's where a part ends up in a header or a request line: keys are word characters, a project id is digits that
//! fit 64 bits, hosts and paths hold nothing that a request could be split at. Keys never appear in `Debug` output.

mod host;

use core::fmt;

pub use host::Host;

use super::split;
use crate::limits::MAX_DSN_BYTES;

/// A parsed DSN. Borrows the text; `Debug` shows no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dsn<'a> {
    scheme: Scheme,
    public_key: &'a str,
    secret_key: Option<&'a str>,
    host: Host<'a>,
    port: u16,
    path: &'a str,
    project_id: &'a str,
}

/// How a DSN's server is spoken to.
///
/// Exhaustive: Sentry is reached over HTTP only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// Without encryption.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What of a project can be sent to.
///
/// Exhaustive; the endpoints this engine writes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// `envelope/`: every Sentry item type.
    Envelope,
    /// `integration/otlp/v1/traces`
    OtlpTraces,
    /// `integration/otlp/v1/logs`
    OtlpLogs,
}

impl Endpoint {
    /// The path below `/api/{project_id}/`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Envelope => "envelope/",
            Self::OtlpTraces => "integration/otlp/v1/traces",
            Self::OtlpLogs => "integration/otlp/v1/logs",
        }
    }
}

/// Why a text is no DSN.
///
/// Exhaustive. `Display` says what would be right; neither shows any of the text, which may hold a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DsnError {
    /// Empty or only white space. For a client that is no error but means "off": see [`Dsn::parse_optional`].
    Empty,
    /// Longer than [`MAX_DSN_BYTES`].
    TooLong,
    /// No URL: no `scheme://`, or a character that no URL may hold.
    InvalidUrl,
    /// Another scheme than `http` and `https`.
    UnsupportedScheme,
    /// Nothing between `@` and the path.
    MissingHost,
    /// Neither a host name in ASCII nor an IP address.
    InvalidHost,
    /// Not a number from 1 to 65535.
    InvalidPort,
    /// Nothing before `@`, or no `@`.
    MissingPublicKey,
    /// A public key with other characters than letters, digits and `_`.
    InvalidPublicKey,
    /// A secret key with other characters than letters, digits and `_`.
    InvalidSecretKey,
    /// Nothing after the host.
    MissingProjectId,
    /// A project id that is not digits alone or does not fit 64 bits.
    InvalidProjectId,
}

impl fmt::Display for DsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the DSN is empty",
            Self::TooLong => "the DSN is longer than 2048 bytes",
            Self::InvalidUrl => {
                "the DSN is not a URL; it has the form https://PUBLIC_KEY@HOST/PROJECT_ID, without quotes"
            }
            Self::UnsupportedScheme => "the DSN must start with https:// or http://",
            Self::MissingHost => "the DSN names no host after the @",
            Self::InvalidHost => "the DSN's host is neither a host name in ASCII nor an IP address",
            Self::InvalidPort => "the DSN's port is not a number from 1 to 65535",
            Self::MissingPublicKey => "the DSN has no public key; it stands between :// and @",
            Self::InvalidPublicKey => {
                "the DSN's public key holds a character that is not a letter, a digit or _"
            }
            Self::InvalidSecretKey => {
                "the DSN's secret key holds a character that is not a letter, a digit or _"
            }
            Self::MissingProjectId => "the DSN has no project id; it is the last part of the path",
            Self::InvalidProjectId => {
                "the DSN's project id, the last part of the path, is not a 64-bit number"
            }
        })
    }
}

impl core::error::Error for DsnError {}

impl<'a> Dsn<'a> {
    /// Reads a DSN. White space around it is ignored, and so are a query, a fragment and slashes at the end.
    ///
    /// Cost: a few passes over at most [`MAX_DSN_BYTES`].
    ///
    /// # Errors
    /// The first thing wrong, in the order scheme, host, keys, port, project, path.
    pub fn parse(text: &'a str) -> Result<Self, DsnError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(DsnError::Empty);
        }
        if text.len() > MAX_DSN_BYTES {
            return Err(DsnError::TooLong);
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, _) = split::before(rest, |byte| matches!(byte, b'?' | b'#'));
        let (authority, path) = split::before(rest, |byte| byte == b'/');
        let (userinfo, server) = split::at_last(authority, b'@').unwrap_or(("", authority));
        let (host, port) = split_port(server)?;
        if host.is_empty() {
            return Err(DsnError::MissingHost);
        }
        let (public_key, secret_key) = split_keys(userinfo)?;
        let host = Host::parse(host)?;
        let port = parse_port(port)?.unwrap_or(scheme.default_port());
        let (path, project_id) = split_project(path)?;
        Ok(Self {
            scheme,
            public_key,
            secret_key,
            host,
            port,
            path,
            project_id,
        })
    }

    /// Reads a DSN as configuration gives it: `None` when it is empty or white space, which switches a client off.
    ///
    /// # Errors
    /// As [`Dsn::parse`], without [`DsnError::Empty`].
    pub fn parse_optional(text: &'a str) -> Result<Option<Self>, DsnError> {
        match Self::parse(text) {
            Err(DsnError::Empty) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The public key: letters, digits and `_`, never empty. Do not log it.
    #[must_use]
    pub const fn public_key(&self) -> &'a str {
        self.public_key
    }

    /// The deprecated secret key, passed on when there is one; an empty one is none. Do not log it.
    #[must_use]
    pub const fn secret_key(&self) -> Option<&'a str> {
        self.secret_key
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port, which is the scheme's when none is written.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What stands before `api/` in every endpoint: `/`, or `/a/b/`, with a slash at both ends.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// The project id as written: digits, leading zeros kept, within 64 bits.
    #[must_use]
    pub const fn project_id(&self) -> &'a str {
        self.project_id
    }

    /// The organization of a sentry.io ingest host, as written; `None` for every other host.
    ///
    /// That is the number in `o<digits>.ingest.sentry.io` or `o<digits>.ingest.<region>.sentry.io`.
    #[must_use]
    pub fn org_id(&self) -> Option<&'a str> {
        let (first, rest) = split::at_first(self.host.as_written(), b'.')?;
        let digits = first.strip_prefix("o").or_else(|| first.strip_prefix("O"))?;
        let (ingest, rest) = split::at_first(rest, b'.')?;
        let (region, domain) = match rest.split_at_checked(rest.len().saturating_sub("sentry.io".len()))? {
            ("", domain) => (None, domain),
            (region, domain) => (Some(region.strip_suffix(".")?), domain),
        };
        let is_ingest = ingest.eq_ignore_ascii_case("ingest")
            && domain.eq_ignore_ascii_case("sentry.io")
            && region.is_none_or(|region| !region.bytes().any(|byte| byte == b'.'));
        (is_ingest && is_u64(digits)).then_some(digits)
    }

    /// Writes the URL of an endpoint: `scheme://host[:port]{path}api/{project_id}/{endpoint}`. It holds no key; the
    /// scheme's own port is left out.
    ///
    /// # Errors
    /// Those of `out` only.
    pub fn write_url(&self, out: &mut (impl fmt::Write + ?Sized), endpoint: Endpoint) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port != self.scheme.default_port() {
            write!(out, ":{}", self.port)?;
        }
        write!(out, "{}api/{}/{}", self.path, self.project_id, endpoint.as_str())
    }
}

impl fmt::Debug for Dsn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dsn")
            .field("scheme", &self.scheme)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("path", &self.path)
            .field("project_id", &self.project_id)
            .finish_non_exhaustive()
    }
}

/// `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) "://"` (RFC 3986, section 3.1)
fn split_scheme(text: &str) -> Result<(Scheme, &str), DsnError> {
    let (scheme, rest) = split::at_first(text, b':').ok_or(DsnError::InvalidUrl)?;
    let rest = rest.strip_prefix("//").ok_or(DsnError::InvalidUrl)?;
    let starts_well = scheme
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    let goes_on_well = scheme
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !starts_well || !goes_on_well {
        return Err(DsnError::InvalidUrl);
    }
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err(DsnError::UnsupportedScheme)
    }
}

/// Splits `host[:port]`; the colons within brackets belong to the host.
fn split_port(server: &str) -> Result<(&str, &str), DsnError> {
    if !server.starts_with("[") {
        return Ok(split::at_first(server, b':').unwrap_or((server, "")));
    }
    let end = server.bytes().position(|byte| byte == b']');
    let end = end.ok_or(DsnError::InvalidHost)?.saturating_add(1);
    let (host, rest) = server.split_at_checked(end).ok_or(DsnError::InvalidHost)?;
    match rest.strip_prefix(":") {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err(DsnError::InvalidHost),
    }
}

/// The port; none when nothing stands after the colon, as URLs allow (RFC 3986, section 3.2.3).
fn parse_port(text: &str) -> Result<Option<u16>, DsnError> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(Some(port)),
        _ => Err(DsnError::InvalidPort),
    }
}

fn split_keys(userinfo: &str) -> Result<(&str, Option<&str>), DsnError> {
    let (public_key, secret_key) = match split::at_first(userinfo, b':') {
        Some((public_key, secret_key)) => (public_key, Some(secret_key).filter(|key| !key.is_empty())),
        None => (userinfo, None),
    };
    if public_key.is_empty() {
        return Err(DsnError::MissingPublicKey);
    }
    if !is_word(public_key) {
        return Err(DsnError::InvalidPublicKey);
    }
    if secret_key.is_some_and(|key| !is_word(key)) {
        return Err(DsnError::InvalidSecretKey);
    }
    Ok((public_key, secret_key))
}

/// Splits the path at its last segment. Slashes at the end and repeated ones at the start are ignored.
fn split_project(path: &str) -> Result<(&str, &str), DsnError> {
    let mut path = path;
    while let Some(shorter) = path.strip_suffix("/") {
        path = shorter;
    }
    let last_slash = path.bytes().rposition(|byte| byte == b'/');
    let (prefix, project_id) = last_slash
        .and_then(|slash| path.split_at_checked(slash.saturating_add(1)))
        .ok_or(DsnError::MissingProjectId)?;
    if !is_u64(project_id) {
        return Err(DsnError::InvalidProjectId);
    }
    let mut prefix = prefix;
    while let Some(rest) = prefix.strip_prefix("/")
        && rest.starts_with("/")
    {
        prefix = rest;
    }
    if !prefix.bytes().all(is_path_byte) {
        return Err(DsnError::InvalidUrl);
    }
    Ok((prefix, project_id))
}

fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_u64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

/// `pchar / "/"` (RFC 3986, section 3.3), percent signs unchecked.
const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

#[cfg(test)]
mod tests;
