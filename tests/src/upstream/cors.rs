//! What the real receivers tell browsers (Fetch standard, "CORS protocol"): which requests from another origin may come, and
//! what a page may read of an answer.
//!
//! Sentry takes every origin and names the headers it knows; a collector does so where it is configured to.

use super::http::Received;

type Headers = Vec<(String, String)>;

/// Headers that a request may have beyond those that need no permission; those that Relay lists.
const ALLOWED: &str = "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, accept, content-type, \
                       authentication, authorization, content-encoding, transfer-encoding";

/// Headers of an answer that a page may read.
const EXPOSED: &str = "x-sentry-error, x-sentry-rate-limits, retry-after";

/// The answer to a browser that asks whether it may send such a request; `None` for requests that do not ask.
pub(super) fn preflight(request: &Received) -> Option<(u16, Headers, Vec<u8>)> {
    let asks = request.method == "OPTIONS" && request.header("access-control-request-method").is_some();
    asks.then(|| {
        let headers = [
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", ALLOWED),
        ];
        (200, owned(&headers), Vec::new())
    })
}

/// What every answer to such a request has beside its own headers; nothing for requests that are no browser's.
pub(super) fn headers(request: &Received) -> Headers {
    match request.header("origin") {
        Some(_) => owned(&[
            ("access-control-allow-origin", "*"),
            ("access-control-expose-headers", EXPOSED),
        ]),
        None => Vec::new(),
    }
}

fn owned(headers: &[(&str, &str)]) -> Headers {
    headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
