//! The plugin's configuration: one JSON object, checked whole before anything runs.
//!
//! ```json
//! {
//!   "service_name": "edge", "release": "2026.11", "environment": "production",
//!   "sample_rate": 0.25,
//!   "otlp":   {"cluster": "collector", "authority": "collector:4318", "path": "/v1/traces",
//!              "headers": {"authorization": "Bearer ..."}, "timeout_ms": 10000, "delay_ms": 5000},
//!   "sentry": {"cluster": "sentry", "dsn": "https://KEY@o1.ingest.sentry.io/42", "timeout_ms": 10000},
//!   "guard": false
//! }
//! ```
//!
//! The virtual machine has a configuration of its own, since all filters that share it share one engine:
//!
//! ```json
//! {"queue_bytes": 4194304}
//! ```
//!
//! A field that is unknown, missing or out of range refuses the whole configuration with its name and what would be
//! right, never with its value, which may be a secret. `Debug` shows no value either.

use core::fmt::{self, Write};

use heapless::{String, Vec};
use surgetank_core::wire::auth::Credentials;
use surgetank_core::wire::dsn::{Dsn, Endpoint};
use surgetank_core::wire::json::{self, Kind, Member};
use surgetank_core::wire::otlp::encode::{AnyValue, KeyValue, Resource};
use surgetank_core::wire::otlp::protobuf::Writer;

use crate::span::before;

/// Bytes of a configuration that is read; the rest of its bounds are those of the fields.
pub const MOST_BYTES: usize = 16 * 1024;

/// Bytes of records that one worker can hold, at most.
pub const MOST_QUEUE_BYTES: u32 = 16 * 1024 * 1024;

/// Bytes of records that one worker can hold when nothing is said.
pub const QUEUE_BYTES: u32 = 4 * 1024 * 1024;

/// Headers that can be given to a collector's requests.
const MOST_HEADERS: usize = 6;

/// The rejection threshold that keeps nothing.
const KEEP_NOTHING: u64 = 1 << 56;

/// What the program says about itself in everything it sends.
#[derive(Clone, Default)]
pub struct Program {
    /// `service.name` and `server_name`.
    pub service_name: String<128>,
    /// `service.version` and `release`; may be empty.
    pub release: String<128>,
    /// `deployment.environment.name` and `environment`; may be empty.
    pub environment: String<64>,
}

/// Where spans go.
#[derive(Clone, Default)]
pub struct Otlp {
    /// Cluster of the proxy.
    pub cluster: String<128>,
    /// `:authority` of the requests.
    pub authority: String<256>,
    /// `:path` of the requests.
    pub path: String<256>,
    /// Further headers.
    pub headers: Vec<(String<64>, String<384>), MOST_HEADERS>,
    /// How long an attempt may take.
    pub timeout_ms: u32,
    /// How long spans wait for company.
    pub delay_ms: u32,
}

/// Where events go.
#[derive(Clone, Default)]
pub struct Sentry {
    /// Cluster of the proxy.
    pub cluster: String<128>,
    /// `:authority` of the requests.
    pub authority: String<256>,
    /// `:path` of the requests.
    pub path: String<256>,
    /// Value of `X-Sentry-Auth`.
    pub auth: String<384>,
    /// Public key of the DSN.
    pub public_key: String<128>,
    /// How long an attempt may take.
    pub timeout_ms: u32,
}

/// Which share of the traces that start here is recorded.
#[derive(Clone)]
pub struct Rate {
    /// As it was written.
    pub text: String<16>,
    /// The rejection threshold that stands for it: 0 keeps all.
    pub threshold: u64,
}

impl Default for Rate {
    fn default() -> Self {
        let mut text = String::new();
        let _ = text.push('1');
        Self { text, threshold: 0 }
    }
}

/// A configuration that was checked.
#[derive(Clone, Default)]
pub struct Settings {
    /// What the program says about itself.
    pub program: Program,
    /// Where spans go, if anywhere.
    pub otlp: Option<Otlp>,
    /// Where events go, if anywhere.
    pub sentry: Option<Sentry>,
    /// Which share of the traces that start here is recorded.
    pub rate: Rate,
    /// What stands behind is an ingestion service, which is spared what it would refuse.
    pub guard: bool,
    /// The encoded `Resource` message of OTLP.
    pub resource: Vec<u8, 512>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("otlp", &self.otlp.is_some())
            .field("sentry", &self.sentry.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a configuration is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Name of the field with its path; empty for the configuration as a whole.
    field: String<96>,
    /// What it must be.
    expected: &'static str,
}

impl Refusal {
    fn new(path: &str, name: &str, expected: &'static str) -> Self {
        let mut field = String::new();
        // A name too long for it is cut to nothing: the path says where it is.
        let _ = field.push_str(path);
        let dot = if path.is_empty() || name.is_empty() {
            ""
        } else {
            "."
        };
        let _ = field.push_str(dot);
        let _ = field.push_str(name);
        Self { field, expected }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "the configuration must be {}", self.expected)
        } else {
            write!(f, "{} must be {}", self.field, self.expected)
        }
    }
}

impl core::error::Error for Refusal {}

type Checked<T> = Result<T, &'static str>;

const CLUSTER: &str = "a string of 1 to 128 bytes, the name of a cluster of the proxy";
const AUTHORITY: &str = "a string of 1 to 255 visible characters, such as \"collector:4318\"";
const PATH: &str = "a string of 1 to 255 visible characters that begins with \"/\"";
const NAME: &str = "a string of 1 to 128 bytes";
const ENVIRONMENT: &str = "a string of 1 to 64 bytes without a slash";
const TIMEOUT: &str = "a whole number of milliseconds from 100 to 60000";
const DELAY: &str = "a whole number of milliseconds from 10 to 60000";
const QUEUE: &str = "a whole number of bytes from 65536 to 16777216";
const RATE: &str = "a decimal number from 0 to 1, such as 0.25";
const HEADERS: &str =
    "an object of at most 6 headers: lower-case names, values of 1 to 384 visible characters";
const NOTHING: &str = "an object with \"otlp\", \"sentry\" or \"guard\"";
const OTLP: &str = "an object with \"cluster\"";
const SENTRY: &str = "an object with \"cluster\" and \"dsn\"";
const GUARD: &str = "true or false";
const DSN: &str = "a DSN: https://PUBLIC_KEY@HOST/PROJECT_ID";

/// Reads and checks a configuration.
///
/// # Errors
/// The first field that is not right.
pub fn parse(text: &[u8]) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    let _ = settings.program.service_name.push_str("envoy");
    members("", text, &mut |name, member| {
        match name {
            "service_name" => settings.program.service_name = string(member, NAME)?,
            "release" => settings.program.release = string(member, NAME)?,
            "environment" => {
                settings.program.environment = string(member, ENVIRONMENT)?;
                if settings.program.environment.bytes().any(|byte| byte == b'/') {
                    return Err(Fault::Field(ENVIRONMENT));
                }
            }
            "sample_rate" => settings.rate = rate(member)?,
            "otlp" => settings.otlp = Some(otlp(member)?),
            "sentry" => settings.sentry = Some(sentry(member)?),
            "guard" => {
                let Kind::Bool(guard) = member.kind else {
                    return Err(Fault::Field(GUARD));
                };
                settings.guard = guard;
            }
            _ => {
                return Err(Fault::Field(
                    "absent: known are service_name, release, environment, sample_rate, otlp, sentry and guard",
                ));
            }
        }
        Ok(())
    })?;
    if settings.otlp.is_none() && settings.sentry.is_none() && !settings.guard {
        return Err(Refusal::new("", "", NOTHING));
    }
    encode_resource(&mut settings);
    Ok(settings)
}

/// Reads and checks the configuration of the virtual machine: how many bytes of records a worker can hold. An empty one
/// leaves it at [`QUEUE_BYTES`].
///
/// # Errors
/// The first field that is not right.
pub fn queue_bytes(text: &[u8]) -> Result<u32, Refusal> {
    let mut bytes = QUEUE_BYTES;
    if !text.is_empty() {
        members("vm_config", text, &mut |name, member| {
            if name != "queue_bytes" {
                return Err(Fault::Field("absent: known is queue_bytes"));
            }
            bytes = number(member, 64 * 1024, MOST_QUEUE_BYTES, QUEUE)?;
            Ok(())
        })?;
    }
    Ok(bytes)
}

/// What is wrong with a member: with its value, or somewhere in it.
enum Fault {
    Field(&'static str),
    Within(Refusal),
}

impl From<&'static str> for Fault {
    fn from(expected: &'static str) -> Self {
        Self::Field(expected)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Within(refusal)
    }
}

/// Hands the members of an object to `take` until one is refused.
fn members(
    path: &str,
    object: &[u8],
    take: &mut dyn FnMut(&str, &Member<'_, '_>) -> Result<(), Fault>,
) -> Result<(), Refusal> {
    let mut refused = None;
    let walked = json::visit_members(object, |member| {
        if refused.is_some() {
            return;
        }
        let name = member.name.and_then(|name| core::str::from_utf8(name).ok());
        let name = name.unwrap_or_default();
        refused = match take(name, &member) {
            Ok(()) => None,
            Err(Fault::Within(refusal)) => Some(refusal),
            Err(Fault::Field(expected)) => Some(Refusal::new(path, name, expected)),
        };
    });
    match (refused, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(_)) => Err(Refusal::new(path, "", "a JSON object")),
        (None, Ok(())) => Ok(()),
    }
}

/// A string of 1 to `N` bytes.
fn string<const N: usize>(member: &Member<'_, '_>, expected: &'static str) -> Checked<String<N>> {
    let mut buffer = [0; N];
    let text = json::text(member.value, &mut buffer);
    let text = text.filter(|text| !text.is_empty()).ok_or(expected)?;
    String::try_from(text).map_err(|_| expected)
}

/// A string that can stand in a header.
fn visible<const N: usize>(member: &Member<'_, '_>, expected: &'static str) -> Checked<String<N>> {
    let text: String<N> = string(member, expected)?;
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Ok(text)
    } else {
        Err(expected)
    }
}

fn number(member: &Member<'_, '_>, least: u32, most: u32, expected: &'static str) -> Checked<u32> {
    match member.kind {
        Kind::Number(Some(number)) => u32::try_from(number)
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or(expected),
        _ => Err(expected),
    }
}

/// `1`, `0`, `0.25`: digits, a point, at most nine digits.
fn rate(member: &Member<'_, '_>) -> Checked<Rate> {
    let Kind::Number(_) = member.kind else {
        return Err(RATE);
    };
    let text = core::str::from_utf8(member.value).map_err(|_| RATE)?;
    let whole = before(text, b'.');
    let part = text.get(whole.len()..).and_then(|rest| rest.strip_prefix('.'));
    let part = part.unwrap_or_default();
    if part.len() > 9 || !matches!(whole, "0" | "1") {
        return Err(RATE);
    }
    let (mut share, mut unit) = (u64::from(whole == "1"), 1_u64);
    for byte in part.bytes() {
        if !byte.is_ascii_digit() {
            return Err(RATE);
        }
        share = share
            .wrapping_mul(10)
            .wrapping_add(u64::from(byte.wrapping_sub(b'0')));
        unit = unit.wrapping_mul(10);
    }
    if share > unit {
        return Err(RATE);
    }
    // `share * 2^56 / unit` in two steps of 28 bits: `share` and `unit` have 30.
    let step = |part: u64| {
        let part = part.wrapping_shl(28);
        let whole = part.checked_div(unit).unwrap_or_default();
        (whole, part.wrapping_sub(whole.wrapping_mul(unit)))
    };
    let (high, left) = step(share);
    let (low, _) = step(left);
    let kept = high.wrapping_shl(28).wrapping_add(low);
    Ok(Rate {
        text: String::try_from(text).map_err(|_| RATE)?,
        threshold: KEEP_NOTHING.saturating_sub(kept),
    })
}

fn object(member: &Member<'_, '_>, expected: &'static str) -> Checked<()> {
    (member.kind == Kind::Object).then_some(()).ok_or(expected)
}

fn otlp(member: &Member<'_, '_>) -> Result<Otlp, Fault> {
    object(member, OTLP)?;
    let mut otlp = Otlp {
        timeout_ms: 10_000,
        delay_ms: 5_000,
        ..Otlp::default()
    };
    let _ = otlp.path.push_str("/v1/traces");
    members("otlp", member.value, &mut |name, member| {
        match name {
            "cluster" => otlp.cluster = visible(member, CLUSTER)?,
            "authority" => otlp.authority = visible(member, AUTHORITY)?,
            "path" => otlp.path = path(member)?,
            "headers" => otlp.headers = headers(member)?,
            "timeout_ms" => otlp.timeout_ms = number(member, 100, 60_000, TIMEOUT)?,
            "delay_ms" => otlp.delay_ms = number(member, 10, 60_000, DELAY)?,
            _ => {
                return Err(Fault::Field(
                    "absent: known are cluster, authority, path, headers, timeout_ms and delay_ms",
                ));
            }
        }
        Ok(())
    })?;
    if otlp.cluster.is_empty() {
        return Err(Refusal::new("otlp", "cluster", CLUSTER).into());
    }
    if otlp.authority.is_empty() {
        let _ = otlp.authority.push_str(&otlp.cluster);
    }
    Ok(otlp)
}

fn path<const N: usize>(member: &Member<'_, '_>) -> Checked<String<N>> {
    let text: String<N> = visible(member, PATH)?;
    (text.starts_with('/') && !text.bytes().any(|byte| byte == b' '))
        .then_some(text)
        .ok_or(PATH)
}

fn headers(member: &Member<'_, '_>) -> Result<Vec<(String<64>, String<384>), MOST_HEADERS>, Fault> {
    object(member, HEADERS)?;
    let mut list = Vec::new();
    members("otlp.headers", member.value, &mut |name, member| {
        let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        // What the plugin sets itself, and what would take the request apart.
        let is_ours = matches!(
            name,
            "content-type" | "content-length" | "host" | "transfer-encoding"
        );
        if name.is_empty() || is_ours || !name.bytes().all(is_name) {
            return Err(Fault::Field(HEADERS));
        }
        let name = String::try_from(name).map_err(|_| HEADERS)?;
        let value = visible(member, HEADERS)?;
        list.push((name, value)).map_err(|_| HEADERS)?;
        Ok(())
    })?;
    Ok(list)
}

fn sentry(member: &Member<'_, '_>) -> Result<Sentry, Fault> {
    object(member, SENTRY)?;
    let mut sentry = Sentry {
        timeout_ms: 10_000,
        ..Sentry::default()
    };
    members("sentry", member.value, &mut |name, member| {
        match name {
            "cluster" => sentry.cluster = visible(member, CLUSTER)?,
            "dsn" => dsn(member, &mut sentry)?,
            "timeout_ms" => sentry.timeout_ms = number(member, 100, 60_000, TIMEOUT)?,
            _ => {
                return Err(Fault::Field("absent: known are cluster, dsn and timeout_ms"));
            }
        }
        Ok(())
    })?;
    if sentry.cluster.is_empty() {
        return Err(Refusal::new("sentry", "cluster", CLUSTER).into());
    }
    if sentry.auth.is_empty() {
        return Err(Refusal::new("sentry", "dsn", DSN).into());
    }
    Ok(sentry)
}

/// Takes the parts of requests out of a DSN.
fn dsn(member: &Member<'_, '_>, sentry: &mut Sentry) -> Checked<()> {
    let text: String<512> = string(member, DSN)?;
    let dsn = Dsn::parse(&text).map_err(|_| DSN)?;
    let credentials = Credentials::of_dsn(&dsn, Some(CLIENT));
    sentry.authority.clear();
    sentry.path.clear();
    sentry.public_key.clear();
    sentry.auth.clear();
    let mut write = || -> fmt::Result {
        write!(sentry.authority, "{}", dsn.host())?;
        if dsn.port() != dsn.scheme().default_port() {
            write!(sentry.authority, ":{}", dsn.port())?;
        }
        let (path, project, endpoint) = (dsn.path(), dsn.project_id(), Endpoint::Envelope.as_str());
        write!(sentry.path, "{path}api/{project}/{endpoint}")?;
        sentry.public_key.write_str(dsn.public_key())?;
        credentials.write_header(&mut sentry.auth)
    };
    write().map_err(|_| DSN)
}

/// Name and version of this client, for Sentry.
pub const CLIENT: &str = concat!("surgetank.envoy/", env!("CARGO_PKG_VERSION"));

fn encode_resource(settings: &mut Settings) {
    let program = &settings.program;
    let mut attributes = Vec::<KeyValue<'_>, 4>::new();
    for (key, value) in [
        ("service.name", &*program.service_name),
        ("service.version", &*program.release),
        ("deployment.environment.name", &*program.environment),
    ] {
        if !value.is_empty() {
            let _ = attributes.push(KeyValue::new(key, AnyValue::String(value)));
        }
    }
    let mut memory = [0; 512];
    let mut writer = Writer::new(&mut memory);
    Resource {
        attributes: &attributes,
    }
    .encode(&mut writer);
    // The three values have 320 bytes at most, so they fit.
    let length = writer.finish().unwrap_or_default();
    settings.resource.clear();
    let _ = settings
        .resource
        .extend_from_slice(memory.get(..length).unwrap_or_default());
}

#[cfg(test)]
mod tests;
