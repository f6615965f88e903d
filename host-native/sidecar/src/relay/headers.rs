//! Which headers of an OTLP request go on to the upstream: those that say who sends.
//!
//! OTLP has no credentials of its own; every vendor has its header. What is passed on decides the destination, so a
//! header that differs from request to request (a trace context, a request id) must not be: it would make each request a
//! destination of its own.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// Names of other headers that say who sends.
const NAMES: [&str; 3] = ["authorization", "x-sentry-auth", "x-scope-orgid"];
/// Names ending so, too: `api-key`, `x-honeycomb-team`, `dd-api-key`, `lightstep-access-token`, `x-axiom-dataset`, ...
const ENDINGS: [&str; 8] = [
    "-key", "-token", "-team", "-dataset", "-tenant", "-org-id", "-account", "-dsn",
];
const MAX_HEADERS: usize = 16;
const MAX_BYTES: usize = 8 * 1024;

/// Headers to be sent with every request of a destination. `Debug` shows names only.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct PassedHeaders(Vec<(HeaderName, HeaderValue)>);

impl PassedHeaders {
    /// The headers, their values marked as secret.
    pub(super) fn to_map(&self) -> HeaderMap {
        let secret = |(name, value): &(HeaderName, HeaderValue)| {
            let mut value = value.clone();
            value.set_sensitive(true);
            (name.clone(), value)
        };
        self.0.iter().map(secret).collect()
    }
}

impl std::fmt::Debug for PassedHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// What is passed on of `headers`, in an order that does not depend on theirs.
pub(crate) fn passed_headers(headers: &HeaderMap) -> PassedHeaders {
    let says_who = |name: &HeaderName| {
        let name = name.as_str();
        name == AUTHORIZATION.as_str()
            || NAMES.contains(&name)
            || name == "api-key"
            || ENDINGS.iter().any(|ending| name.ends_with(ending)) && name != "idempotency-key"
    };
    let mut bytes = 0;
    let mut passed: Vec<(HeaderName, HeaderValue)> = headers
        .iter()
        .filter(|(name, _)| says_who(name))
        .take(MAX_HEADERS)
        .take_while(|(name, value)| {
            bytes += name.as_str().len() + value.len();
            bytes <= MAX_BYTES
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    passed.sort_by(|a, b| (a.0.as_str(), a.1.as_bytes()).cmp(&(b.0.as_str(), b.1.as_bytes())));
    PassedHeaders(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn credentials_are_passed_on_and_nothing_else() {
        let passed = passed_headers(&headers(&[
            ("x-honeycomb-team", "t"),
            ("authorization", "Bearer secret"),
            ("traceparent", "00-1-2-01"),
            ("x-request-id", "7"),
            ("user-agent", "OTel"),
            ("content-type", "application/json"),
            ("idempotency-key", "9"),
        ]));
        assert_eq!(format!("{passed:?}"), "[\"authorization\", \"x-honeycomb-team\"]");
        assert_eq!(passed.to_map()["authorization"], "Bearer secret");
        assert!(passed.to_map()["authorization"].is_sensitive());
    }

    #[test]
    fn the_order_of_headers_makes_no_other_destination() {
        let one = passed_headers(&headers(&[("api-key", "1"), ("authorization", "2")]));
        let two = passed_headers(&headers(&[("authorization", "2"), ("api-key", "1")]));
        assert_eq!(one, two);
        assert_ne!(one, passed_headers(&headers(&[("api-key", "1")])));
    }
}
