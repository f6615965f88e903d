//! How a request to Sentry says which key it comes with, written and read.
//!
//! ```text
//! X-Sentry-Auth: Sentry sentry_key=K, sentry_version=7, sentry_client=sdk/1.0      (or Authorization: Sentry ...)
//! POST /api/1/envelope/?sentry_key=K&sentry_version=7&sentry_client=sdk%2F1.0      (browsers)
//! Authorization: Basic base64(K:)
//! POST /api/1/unreal/K/
//! ```
//!
//! Reading follows Relay: a header with another scheme counts as absent, more than one place is refused, and a missing
//! version is the current one. A request that has it in none of these places may still carry a DSN in the envelope's
//! header; looking there is the caller's part, after [`AuthError::Missing`]. Keys never appear in `Debug` output.

use core::fmt;

use heapless::String;

use super::base64;
use super::dsn::Dsn;
use super::percent::{self, PercentText};
use super::split;
use crate::limits::{MAX_AUTH_BYTES, MAX_AUTH_CLIENT_BYTES, MAX_AUTH_KEY_BYTES};

/// The protocol version that is written, and the highest that is read.
pub const PROTOCOL_VERSION: u16 = 7;

/// Bytes of a key as Sentry issues it: Relay refuses every other length.
pub const PROJECT_KEY_BYTES: usize = 32;

/// What a client shows. `Debug` shows no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Public key, with its flags if any.
    pub public_key: &'a str,
    /// The deprecated secret key, only when the DSN has one.
    pub secret_key: Option<&'a str>,
    /// `name/version` of the client.
    pub client: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    /// The keys of `dsn`.
    #[must_use]
    pub const fn of_dsn(dsn: &Dsn<'a>, client: Option<&'a str>) -> Self {
        Self {
            public_key: dsn.public_key(),
            secret_key: dsn.secret_key(),
            client,
        }
    }

    /// Writes the value of `X-Sentry-Auth`.
    ///
    /// Characters that would end a field or the header (anything but printable ASCII without the comma) become `_`.
    ///
    /// # Errors
    /// Those of `out` only.
    pub fn write_header(&self, out: &mut (impl fmt::Write + ?Sized)) -> fmt::Result {
        out.write_str("Sentry sentry_key=")?;
        write_field(out, self.public_key)?;
        write!(out, ", sentry_version={PROTOCOL_VERSION}")?;
        if let Some(client) = self.client {
            out.write_str(", sentry_client=")?;
            write_field(out, client)?;
        }
        if let Some(secret_key) = self.secret_key {
            out.write_str(", sentry_secret=")?;
            write_field(out, secret_key)?;
        }
        Ok(())
    }

    /// Writes the query parameters, joined with `&`, without a leading `?`: for browsers, which would otherwise ask the
    /// server first whether the header is allowed.
    ///
    /// # Errors
    /// Those of `out` only.
    pub fn write_query(&self, out: &mut (impl fmt::Write + ?Sized)) -> fmt::Result {
        write!(out, "sentry_version={PROTOCOL_VERSION}&sentry_key=")?;
        percent::write_encoded(out, self.public_key)?;
        if let Some(client) = self.client {
            out.write_str("&sentry_client=")?;
            percent::write_encoded(out, client)?;
        }
        if let Some(secret_key) = self.secret_key {
            out.write_str("&sentry_secret=")?;
            percent::write_encoded(out, secret_key)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

fn write_field(out: &mut (impl fmt::Write + ?Sized), text: &str) -> fmt::Result {
    text.chars()
        .try_for_each(|one| out.write_char(if is_field_char(one) { one } else { '_' }))
}

const fn is_field_char(one: char) -> bool {
    matches!(one, ' '..='~') && one != ','
}

/// Why a request is not let in. `Display` and [`AuthError::cause`] are Relay's words for its error body.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AuthError {
    /// No key in any place.
    Missing,
    /// Keys in more than one place.
    Multiple,
    /// A `sentry_version` that is no number.
    InvalidVersion,
    /// Sentry authentication without a `sentry_key`.
    MissingPublicKey,
    /// A protocol version above [`PROTOCOL_VERSION`].
    UnsupportedVersion(u16),
    /// A key that Sentry does not issue.
    BadPublicKey,
    /// More than [`MAX_AUTH_BYTES`] in one place.
    TooLong,
}

impl AuthError {
    /// HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Missing | Self::Multiple | Self::InvalidVersion | Self::MissingPublicKey => 401,
            Self::UnsupportedVersion(_) | Self::BadPublicKey | Self::TooLong => 400,
        }
    }

    /// What stands under `causes` in the error body.
    #[must_use]
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::InvalidVersion => Some("invalid value for version"),
            Self::MissingPublicKey => Some("missing public key in auth header"),
            Self::BadPublicKey => Some("invalid project key"),
            Self::TooLong => Some("too long"),
            Self::Missing | Self::Multiple | Self::UnsupportedVersion(_) => None,
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing authorization information"),
            Self::Multiple => f.write_str("multiple authorization payloads detected"),
            Self::InvalidVersion | Self::MissingPublicKey | Self::TooLong => {
                f.write_str("bad x-sentry-auth header")
            }
            Self::UnsupportedVersion(version) => write!(f, "unsupported protocol version ({version})"),
            Self::BadPublicKey => f.write_str("bad sentry DSN public key"),
        }
    }
}

impl core::error::Error for AuthError {}

/// The places of a request in which a key may stand. `Debug` is left out: they hold secrets.
#[derive(Clone, Copy, Default)]
pub struct Places<'a> {
    /// Value of the first `X-Sentry-Auth`.
    pub x_sentry_auth: Option<&'a [u8]>,
    /// Value of the first `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// What stands after `?` in the request target, percent-encoded.
    pub query: &'a [u8],
    /// The path segment that the route names as the key, percent-encoded.
    pub path_key: Option<&'a [u8]>,
}

impl Places<'_> {
    /// Finds the one place that holds a key and reads it.
    ///
    /// Cost: one pass over at most [`MAX_AUTH_BYTES`] in each place.
    ///
    /// # Errors
    /// As listed at [`AuthError`]; [`AuthError::BadPublicKey`] here only for keys with other characters than letters,
    /// digits, `_`, `-` and `.`, or longer than [`MAX_AUTH_KEY_BYTES`].
    pub fn read(&self) -> Result<Auth, AuthError> {
        let places = [
            self.x_sentry_auth,
            self.authorization,
            self.path_key,
            Some(self.query),
        ];
        if places
            .into_iter()
            .flatten()
            .any(|place| place.len() > MAX_AUTH_BYTES)
        {
            return Err(AuthError::TooLong);
        }
        let found = [
            self.x_sentry_auth.and_then(sentry_scheme),
            self.authorization.and_then(sentry_scheme),
            self.authorization.and_then(basic_scheme),
            has_sentry_parameter(self.query).then(|| read_query(self.query)),
            self.path_key.map(read_path_key),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (None, _) => Err(AuthError::Missing),
            (Some(draft), None) => draft?.finish(),
            // The first place is read first, so that its own fault is what is told.
            (Some(draft), Some(_)) => draft.and(Err(AuthError::Multiple)),
        }
    }
}

/// What a request shows. Owns its text, which is bounded and holds nothing that could break a header. `Debug` shows no
/// key.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    public_key: String<MAX_AUTH_KEY_BYTES>,
    secret_key: Option<String<MAX_AUTH_KEY_BYTES>>,
    client: Option<String<MAX_AUTH_CLIENT_BYTES>>,
    version: u16,
}

impl Auth {
    /// The key without flags: letters, digits, `_` and `-`. Do not log it.
    #[must_use]
    pub fn public_key(&self) -> &str {
        without_flags(&self.public_key)
    }

    /// What stands after the key, each after a dot, such as `no-cache`.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        let parts = self.public_key.as_bytes().split(|byte| *byte == b'.');
        parts.skip(1).filter_map(|flag| core::str::from_utf8(flag).ok())
    }

    /// The key in the form in which Sentry issues it.
    ///
    /// # Errors
    /// [`AuthError::BadPublicKey`] when it has not exactly [`PROJECT_KEY_BYTES`] bytes: Relay and Sentry refuse such a
    /// key. A server that has no projects to look up may let it in.
    pub fn project_key(&self) -> Result<[u8; PROJECT_KEY_BYTES], AuthError> {
        self.public_key()
            .as_bytes()
            .try_into()
            .map_err(|_| AuthError::BadPublicKey)
    }

    /// The protocol version the client speaks, at most [`PROTOCOL_VERSION`].
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// `name/version` of the client, cut to [`MAX_AUTH_CLIENT_BYTES`]; in printable ASCII without the comma.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// What to show upstream in the client's place: its own keys, flags included, and its name.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials {
            public_key: &self.public_key,
            secret_key: self.secret_key.as_deref(),
            client: self.client(),
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("version", &self.version)
            .field("client", &self.client())
            .finish_non_exhaustive()
    }
}

/// Fields read so far; of repeated ones the last counts.
#[derive(Default)]
struct Draft {
    public_key: String<MAX_AUTH_KEY_BYTES>,
    secret_key: Option<String<MAX_AUTH_KEY_BYTES>>,
    client: Option<String<MAX_AUTH_CLIENT_BYTES>>,
    version: Option<u16>,
}

impl Draft {
    fn set(
        &mut self,
        name: impl Iterator<Item = u8> + Clone,
        value: impl Iterator<Item = char>,
    ) -> Result<(), AuthError> {
        let is = |known: &str| name.clone().eq(known.bytes());
        if is("sentry_key") {
            self.public_key = bounded(value)
                .filter(|key| key.chars().all(is_key_char))
                .ok_or(AuthError::BadPublicKey)?;
        } else if is("sentry_version") {
            self.version = Some(read_version(value)?);
        } else if is("sentry_client") {
            let safe = value.map(|one| if is_field_char(one) { one } else { '_' });
            let mut client = String::new();
            // What does not fit is cut off: the name is information only.
            let _ = safe
                .take(MAX_AUTH_CLIENT_BYTES)
                .try_for_each(|one| client.push(one));
            self.client = Some(client);
        } else if is("sentry_secret") {
            self.secret_key = bounded(value).filter(|key| !key.is_empty() && key.chars().all(is_key_char));
        }
        Ok(())
    }

    fn finish(self) -> Result<Auth, AuthError> {
        if without_flags(&self.public_key).is_empty() {
            return Err(AuthError::MissingPublicKey);
        }
        let version = self.version.unwrap_or(PROTOCOL_VERSION);
        if version > PROTOCOL_VERSION {
            return Err(AuthError::UnsupportedVersion(version));
        }
        Ok(Auth {
            public_key: self.public_key,
            secret_key: self.secret_key,
            client: self.client,
            version,
        })
    }
}

/// The digits before the first dot.
fn read_version(value: impl Iterator<Item = char>) -> Result<u16, AuthError> {
    let mut digits = value.take_while(|one| *one != '.').peekable();
    if digits.peek().is_none() {
        return Err(AuthError::InvalidVersion);
    }
    digits
        .try_fold(0_u16, |version, one| {
            let digit = one.to_digit(10)?;
            version.checked_mul(10)?.checked_add(u16::try_from(digit).ok()?)
        })
        .ok_or(AuthError::InvalidVersion)
}

/// The characters as a string; `None` when they do not fit.
fn bounded<const N: usize>(mut value: impl Iterator<Item = char>) -> Option<String<N>> {
    let mut text = String::new();
    value.try_for_each(|one| text.push(one)).ok()?;
    Some(text)
}

/// The key before its first dot.
fn without_flags(key: &str) -> &str {
    let (key, _flags) = split::before(key, |byte| byte == b'.');
    key
}

const fn is_key_char(one: char) -> bool {
    one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.')
}

/// What stands after an authentication scheme and its space; schemes have no case (RFC 9110, section 11.1).
fn after_scheme<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (name, rest) = value.trim_ascii().split_at_checked(scheme.len())?;
    let (space, rest) = rest.split_first()?;
    (name.eq_ignore_ascii_case(scheme) && *space == b' ').then_some(rest)
}

/// `Sentry name=value, name=value`; `None` for another scheme and for bytes that no header may hold.
fn sentry_scheme(value: &[u8]) -> Option<Result<Draft, AuthError>> {
    let fields = after_scheme(value, b"sentry")?;
    fields.is_ascii().then(|| {
        let mut draft = Draft::default();
        for field in fields.split(|byte| *byte == b',') {
            let mut parts = field.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                draft.set(name.iter().copied(), value.iter().copied().map(char::from))?;
            }
        }
        Ok(draft)
    })
}

/// `Basic base64(user:password)`, the user being the key; `None` for anything else.
fn basic_scheme(value: &[u8]) -> Option<Result<Draft, AuthError>> {
    let octets = base64::octets(after_scheme(value, b"basic")?.trim_ascii())?;
    let mut rest = octets.clone();
    rest.find(|octet| *octet == b':')?;
    let user = octets.take_while(|octet| *octet != b':').map(char::from);
    let mut draft = Draft::default();
    let read = draft.set("sentry_key".bytes(), user);
    (read.is_err() || !draft.public_key.is_empty()).then(|| read.map(|()| draft))
}

/// Names and values of a query, percent-encoded.
fn parameters(query: &[u8]) -> impl Iterator<Item = (PercentText<'_>, PercentText<'_>)> {
    query.split(|byte| *byte == b'&').map(|parameter| {
        let equals = parameter.iter().position(|byte| *byte == b'=');
        let (name, rest) = parameter
            .split_at_checked(equals.unwrap_or(parameter.len()))
            .unwrap_or((parameter, &[]));
        let value = rest.split_first().map_or(&[][..], |(_, value)| value);
        (PercentText::form(name), PercentText::form(value))
    })
}

fn has_sentry_parameter(query: &[u8]) -> bool {
    parameters(query).any(|(name, _)| name.octets().take(7).eq("sentry_".bytes()))
}

fn read_query(query: &[u8]) -> Result<Draft, AuthError> {
    let mut draft = Draft::default();
    for (name, value) in parameters(query) {
        draft.set(name.octets(), value.chars())?;
    }
    Ok(draft)
}

fn read_path_key(segment: &[u8]) -> Result<Draft, AuthError> {
    let mut draft = Draft::default();
    draft.set("sentry_key".bytes(), PercentText::new(segment).chars())?;
    if draft.public_key.is_empty() {
        return Err(AuthError::Missing);
    }
    Ok(draft)
}

#[cfg(test)]
mod tests;
