//! The answers of a guard: as the real servers give them.
//!
//! Sentry's SDKs read `X-Sentry-Rate-Limits` and `Retry-After`, and JSON in Relay's form; OTLP exporters read `Retry-After`
//! and a `google.rpc.Status` in the format of their request. Web pages may read all of it.

use core::fmt::Write as _;

use embedded_io::Write;
use heapless::String;
use surgetank_core::item::{Category, CategorySet};
use surgetank_core::ratelimit::RateLimits;
use surgetank_core::time::{Duration, Instant};
use surgetank_core::wire::otlp::answer::GrpcCode;
use surgetank_core::wire::otlp::protobuf::Writer;
use surgetank_core::wire::otlp::reply::RpcStatus;
use surgetank_core::wire::rate_limits::{Limit, Namespaces, Target};

use crate::route::Language;

/// Bytes of an answer's body: a sentence.
pub const BODY_BYTES: usize = 256;

const LIMITED: &str = "rate limited: a quota or limit of the server was reached";
const OVERLOADED: &str = "the server is overloaded or cannot be reached";

/// An answer that is to be given.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    retry_after: String<8>,
    limits: String<512>,
    content_type: &'static str,
    body: [u8; BODY_BYTES],
    length: usize,
}

impl Refusal {
    /// Limits cover the request; the longest ends after `left`.
    #[must_use]
    pub fn limited(language: Language, left: Duration, limits: Option<&RateLimits>, now: Instant) -> Self {
        let mut refusal = Self::new(429, language, left, LIMITED);
        if let (Language::Sentry, Some(limits)) = (language, limits) {
            write_limits(limits, now, &mut refusal.limits);
        }
        refusal
    }

    /// The server is overloaded; come again after `left`.
    #[must_use]
    pub fn overloaded(language: Language, left: Duration) -> Self {
        Self::new(503, language, left, OVERLOADED)
    }

    fn new(status: u16, language: Language, left: Duration, message: &str) -> Self {
        // At most a day, so that it fits and nobody stays away for ever.
        let seconds = left.as_secs_ceil().clamp(1, 86_400);
        let mut retry_after = String::new();
        let _ = write!(retry_after, "{seconds}");
        let mut body = [0; BODY_BYTES];
        let code = if status == 429 {
            GrpcCode::ResourceExhausted
        } else {
            GrpcCode::Unavailable
        };
        let rpc = RpcStatus {
            code,
            message,
            retry_delay: Some(Duration::from_secs(seconds)),
        };
        let (content_type, length) = match language {
            Language::OtlpProtobuf => {
                let mut writer = Writer::new(&mut body);
                rpc.encode(&mut writer);
                ("application/x-protobuf", writer.finish().unwrap_or_default())
            }
            Language::OtlpJson => {
                let mut out = Room::new(&mut body);
                let _ = rpc.write_json(&mut out);
                ("application/json", out.used)
            }
            Language::Sentry => {
                let mut out = Room::new(&mut body);
                for part in ["{\"detail\":\"", message, "\"}"] {
                    let _ = out.write(part.as_bytes());
                }
                ("application/json", out.used)
            }
        };
        Self {
            status,
            retry_after,
            limits: String::new(),
            content_type,
            body,
            length,
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.get(..self.length).unwrap_or_default()
    }

    /// The headers beside `:status` and `content-length`.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let all = [
            ("content-type", self.content_type),
            ("retry-after", &*self.retry_after),
            ("x-sentry-rate-limits", &*self.limits),
            ("access-control-allow-origin", "*"),
            (
                "access-control-expose-headers",
                "x-sentry-error,x-sentry-rate-limits,retry-after",
            ),
        ];
        let set = all.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
}

/// Writes one group for each time and scope, as many as fit.
fn write_limits(limits: &RateLimits, now: Instant, out: &mut String<512>) {
    let mut left = CategorySet::ALL.without(CategorySet::of(Category::Internal));
    let all = limits
        .all_until()
        .map(|(until, scope)| (Target::All, until, scope));
    let mut group = all.filter(|(_, until, _)| *until > now);
    loop {
        if let Some((target, until, scope)) = group {
            let limit = Limit {
                target,
                duration: until.since(now),
                scope,
                reason: None,
                namespaces: Namespaces::default(),
            };
            let mut text = String::<512>::new();
            let separator = if out.is_empty() { "" } else { ", " };
            if write!(text, "{separator}{limit}").is_err() || out.push_str(&text).is_err() {
                return;
            }
        }
        let own = |category| limits.own_until(category).filter(|(until, _)| *until > now);
        let Some((first, entry)) = left.iter().find_map(|category| Some((category, own(category)?))) else {
            return;
        };
        let alike = left.iter().filter(|category| own(*category) == Some(entry));
        let set = alike.fold(CategorySet::of(first), CategorySet::with);
        left = left.without(set);
        group = Some((Target::Categories(set), entry.0, entry.1));
    }
}

/// Memory that is written to; what does not fit is left out.
struct Room<'m> {
    memory: &'m mut [u8],
    used: usize,
}

impl<'m> Room<'m> {
    const fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, used: 0 }
    }
}

impl embedded_io::ErrorType for Room<'_> {
    type Error = core::convert::Infallible;
}

impl Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let room = self.memory.get_mut(self.used..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.used = self.used.saturating_add(bytes.len().min(room.len()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surgetank_core::wire::rate_limits::Scope;

    fn header<'r>(refusal: &'r Refusal, name: &str) -> Option<&'r str> {
        let mut headers = refusal.headers();
        let found = headers.find(|(known, _)| *known == name.as_bytes());
        found.map(|(_, value)| core::str::from_utf8(value).unwrap())
    }

    #[test]
    fn sentrys_sdks_read_every_live_limit() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut limits = RateLimits::new();
        let set = CategorySet::of(Category::Error).with(Category::Transaction);
        limits.limit(Some(set), at(60), Scope::Key);
        limits.limit(Some(CategorySet::of(Category::Span)), at(60), Scope::Project);
        limits.limit(Some(CategorySet::of(Category::LogItem)), at(5), Scope::Key);
        limits.limit(None, at(30), Scope::Organization);
        let left = Duration::from_millis(49_100);
        let refusal = Refusal::limited(Language::Sentry, left, Some(&limits), at(10));
        assert_eq!(refusal.status, 429);
        assert_eq!(
            header(&refusal, "x-sentry-rate-limits"),
            Some("20::organization, 50:error;transaction:key, 50:span:project")
        );
        assert_eq!(header(&refusal, "retry-after"), Some("50"));
        let body: serde_json::Value = serde_json::from_slice(refusal.body()).unwrap();
        assert_eq!(body["detail"], LIMITED);
    }

    #[test]
    fn otlp_exporters_read_a_status_in_their_format() {
        let json = Refusal::overloaded(Language::OtlpJson, Duration::ZERO);
        let body: serde_json::Value = serde_json::from_slice(json.body()).unwrap();
        assert_eq!((json.status, &body["message"]), (503, &OVERLOADED.into()));
        assert_eq!(header(&json, "retry-after"), Some("1"));
        assert_eq!(header(&json, "x-sentry-rate-limits"), None);
        let protobuf = Refusal::overloaded(Language::OtlpProtobuf, Duration::from_secs(2));
        assert_eq!(header(&protobuf, "content-type"), Some("application/x-protobuf"));
        // 1: code 14 (unavailable), 2: the message.
        assert!(protobuf.body().starts_with(&[8, 14, 18, OVERLOADED.len() as u8]));
    }
}
