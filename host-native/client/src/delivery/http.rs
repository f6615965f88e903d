//! The exporter that posts bodies to HTTP servers.
//!
//! Built on reqwest (hyper, rustls), and on hyper alone for plain HTTP without a proxy (`plain.rs`): HTTP/1.1, and HTTP/2 where
//! TLS negotiates it; keep-alive; proxies from
//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, but never for a server on this machine: a proxy's loopback
//! is another machine's. What a general client would do by itself is switched off where the engine decides it: no
//! redirects (credentials must not travel), no retries beyond those that HTTP/2 itself declares safe (`GOAWAY`,
//! `REFUSED_STREAM`), no cookies, no decompression.
//!
//! Every wait has an end: connecting (name resolution, TCP, TLS and the proxy's part of it together), the whole
//! attempt, and what is read of an answer. Certificates are judged by the operating system's trust store; where a
//! machine has none at all (a container from scratch), by Mozilla's roots compiled in.

mod failure;
mod lookup;
mod plain;
mod tls;

use core::fmt;
use core::time::Duration;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::{Bytes, Incoming};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use surgetank_core::item::Signal;
use surgetank_core::limits;
use surgetank_core::response::Failure;

use super::exporter::{Answer, Endpoint, Exporter, Outgoing};
use super::fork::unforked;
use crate::body::Compression;
use lookup::Lookup;
use plain::{Line, Lines, Outbound, Plain};
pub use tls::{PemError, TlsFiles};

const RATE_LIMITS: HeaderName = HeaderName::from_static("x-sentry-rate-limits");

/// Idle connections are closed after this; common servers close theirs after 5 to 75 s, and a request that meets a
/// connection closed under it costs an attempt.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Where a proxy for plain HTTP can be named.
const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// Field lines of an answer; hyper refuses more.
const MAX_ANSWER_HEADERS: usize = 128;

/// How long an answer's body is waited for when it can change nothing.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Posts request bodies over HTTP.
///
/// Connections are made at first use and belong to the delivery thread. Make a new one for each delivery.
pub struct HttpExporter {
    settings: HttpSettings,
    lookup: Lookup,
    /// Connections of plain HTTP past proxies.
    lines: Arc<Lines>,
    /// `None` when it is no header value, which `reqwest` then says.
    user_agent: Option<HeaderValue>,
    /// The environment may name a proxy for plain HTTP.
    proxies_in_environment: bool,
    /// One per TLS identity and way, through proxies or past them. Touched by the delivery thread alone.
    pools: Mutex<Vec<Pool>>,
}

/// What holds for every destination of an [`HttpExporter`].
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// How long name resolution, TCP, proxy and TLS may take together.
    pub connect_timeout: Duration,
    /// Value of `User-Agent`.
    pub user_agent: String,
    /// True to honour the proxy variables of the environment, for servers on other machines.
    pub environment_proxies: bool,
    /// Proxies in place of the environment's, unless there are none.
    pub proxies: Vec<reqwest::Proxy>,
    /// True to take whatever certificate a server shows: no protection against whoever stands in between.
    pub accept_invalid_certs: bool,
}

impl Default for HttpSettings {
    /// 5 s to connect, this crate's name and version, and the environment's proxies.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            user_agent: concat!("surgetank/", env!("CARGO_PKG_VERSION")).to_owned(),
            environment_proxies: true,
            proxies: Vec::new(),
            accept_invalid_certs: false,
        }
    }
}

/// Where a destination's requests go.
///
/// Header values and URLs do not show in `Debug` output: both may hold keys.
#[derive(Clone, Default)]
pub struct HttpTarget {
    routes: [Option<Prepared>; 4],
}

/// A route, and what follows from it.
#[derive(Clone)]
struct Prepared {
    route: HttpRoute,
    this_machine: bool,
    plain: Option<Plain>,
}

/// One endpoint: URL, headers, and TLS files where the system's trust is not enough.
#[derive(Clone)]
pub struct HttpRoute {
    /// What is posted to.
    pub url: Url,
    /// Sent with every request; values should be marked sensitive.
    pub headers: HeaderMap,
    /// Certificates of its own.
    pub tls: Option<Arc<TlsFiles>>,
    /// Compression of request bodies.
    pub compression: Compression,
}

impl HttpRoute {
    /// A route to `url` with the system's trust, gzip, and no headers of its own.
    #[must_use]
    pub fn to(url: Url) -> Self {
        Self {
            url,
            headers: HeaderMap::new(),
            tls: None,
            compression: Compression::default(),
        }
    }
}

const fn route_index(endpoint: Endpoint) -> usize {
    match endpoint {
        Endpoint::Envelope => 0,
        Endpoint::Otlp(Signal::Traces) => 1,
        Endpoint::Otlp(Signal::Logs) => 2,
        Endpoint::Otlp(Signal::Metrics) => 3,
    }
}

impl HttpTarget {
    /// The same with `route` for `endpoint`.
    #[must_use]
    pub fn with(mut self, endpoint: Endpoint, route: HttpRoute) -> Self {
        if let Some(slot) = self.routes.get_mut(route_index(endpoint)) {
            *slot = Some(Prepared {
                this_machine: is_this_machine(&route.url),
                plain: Plain::prepare(&route.url, &route.headers),
                route,
            });
        }
        self
    }

    fn prepared(&self, endpoint: Endpoint) -> Option<&Prepared> {
        self.routes.get(route_index(endpoint)).and_then(Option::as_ref)
    }

    /// The route for `endpoint`, if there is one.
    #[must_use]
    pub fn route(&self, endpoint: Endpoint) -> Option<&HttpRoute> {
        self.prepared(endpoint).map(|prepared| &prepared.route)
    }
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.iter().flatten().map(|prepared| &prepared.route);
        f.debug_list().entries(routes).finish()
    }
}

impl fmt::Debug for HttpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRoute")
            .field("scheme", &self.url.scheme())
            .field("host", &self.url.host_str())
            .field("port", &self.url.port_or_known_default())
            .field("headers", &self.headers.len())
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl HttpExporter {
    /// An exporter without connections.
    #[must_use]
    pub fn new(settings: HttpSettings) -> Self {
        let lookup = Lookup::default();
        Self {
            lines: Lines::new(&settings, lookup.clone()),
            user_agent: HeaderValue::from_str(&settings.user_agent).ok(),
            proxies_in_environment: PROXY_VARIABLES
                .iter()
                .any(|name| std::env::var_os(name).is_some()),
            settings,
            lookup,
            pools: Mutex::new(Vec::new()),
        }
    }

    /// Makes the pool of connections to other machines for targets without TLS files of their own, which is otherwise made
    /// when the first request is sent. Reading the system's certificates takes some ten milliseconds, in which nothing else is
    /// delivered.
    pub fn prepare(&self) {
        // A failure is kept, and told with every request.
        let _ = self.client(None, self.settings.environment_proxies);
    }

    /// How a request is sent: without more than that needs where no proxy may come in between.
    fn way(&self, outgoing: Outgoing<HttpTarget>) -> Result<Way, Failure> {
        let Outgoing {
            target,
            endpoint,
            timeout,
            content_type,
            content_encoding,
            body,
            ..
        } = outgoing;
        let prepared = target.prepared(endpoint).ok_or(Failure::Internal)?;
        let route = &prepared.route;
        let proxies = self.settings.environment_proxies && !prepared.this_machine;
        if let (Some(plain), Some(agent)) = (&prepared.plain, &self.user_agent)
            && !(proxies && self.proxies_in_environment)
            && self.settings.proxies.is_empty()
        {
            let request = plain.request(agent, content_type, content_encoding, body);
            return Ok(Way::Plain(Arc::clone(&self.lines), request));
        }
        let mut request = self
            .client(route.tls.as_ref(), proxies)?
            .post(route.url.clone())
            .headers(route.headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .timeout(timeout);
        if let Some(encoding) = content_encoding {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Ok(Way::General(request.body(body)))
    }

    /// The pool of connections for these TLS files, through the environment's proxies or not; made at first use.
    fn client(&self, tls: Option<&Arc<TlsFiles>>, proxies: bool) -> Result<reqwest::Client, Failure> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pools.iter().find(|pool| {
            let same_files = match (&pool.tls, tls) {
                (None, None) => true,
                (Some(known), Some(tls)) => Arc::ptr_eq(known, tls),
                _ => false,
            };
            same_files && pool.proxies == proxies
        });
        if let Some(pool) = known {
            return pool.client.clone();
        }
        let client =
            unforked(|| connection_pool(&self.settings, self.lookup.clone(), tls.map(Arc::as_ref), proxies));
        pools.push(Pool {
            tls: tls.cloned(),
            proxies,
            client: client.clone(),
        });
        client
    }
}

/// Connections made with the same TLS files and in the same way, or why there can be none.
struct Pool {
    tls: Option<Arc<TlsFiles>>,
    proxies: bool,
    client: Result<reqwest::Client, Failure>,
}

impl fmt::Debug for HttpExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpExporter")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Exporter for HttpExporter {
    type Target = HttpTarget;

    fn compression(&self, target: &HttpTarget, endpoint: Endpoint) -> Compression {
        target
            .route(endpoint)
            .map_or(Compression::None, |route| route.compression)
    }

    fn export(
        &self,
        outgoing: Outgoing<HttpTarget>,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let (endpoint, timeout) = (outgoing.endpoint, outgoing.timeout);
        let way = self.way(outgoing);
        async move { post(way?, endpoint, timeout).await }
    }
}

/// How one request is sent.
enum Way {
    Plain(Arc<Lines>, Outbound),
    General(reqwest::RequestBuilder),
}

async fn post(way: Way, endpoint: Endpoint, timeout: Duration) -> Result<Answer, Failure> {
    let begun = tokio::time::Instant::now();
    let mut reply = match way {
        Way::Plain(lines, outbound) => {
            let (line, answer) = lines.send(outbound).await?;
            let (head, body) = answer.into_parts();
            Reply::Plain {
                lines,
                line,
                head,
                body,
            }
        }
        Way::General(request) => {
            let answer = request.send().await;
            Reply::General(answer.map_err(|error| failure::of_request(&error))?)
        }
    };
    let (status, headers) = reply.head();
    let value = |name: &HeaderName| headers.get(name).map(|value| value.as_bytes().to_vec());
    let mut answer = Answer {
        status: status.as_u16(),
        retry_after: value(&RETRY_AFTER),
        rate_limits: headers
            .get_all(&RATE_LIMITS)
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
        content_type: value(&CONTENT_TYPE),
        body: Vec::new(),
    };
    // A body in a coding that was not asked for cannot be read; it must not be taken for a protobuf message.
    let readable = headers
        .get(CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    // Only an OTLP success says something in its body that the status does not: what was rejected. That is worth waiting
    // for nearly as long as the attempt may take; at its very end the attempt is dropped, and with it the status. Whatever
    // the answer, one whose body does not come, or breaks off, is still an answer: a request that was taken must not be
    // sent again because the rest of the words are missing.
    let body_matters = matches!(endpoint, Endpoint::Otlp(_)) && status.is_success();
    let patience = if body_matters {
        (timeout - timeout / 10).saturating_sub(begun.elapsed())
    } else {
        BODY_PATIENCE
    };
    let mut body = Vec::new();
    let end = tokio::time::timeout(patience, reply.read(&mut body))
        .await
        .unwrap_or(End::BrokenOff);
    // Half of a success shows that there was more; half of a refusal shows nothing.
    if readable && (end != End::BrokenOff || body_matters) {
        answer.body = body;
    }
    if end == End::Whole {
        reply.keep().await;
    }
    Ok(answer)
}

/// How much of an answer's body was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// As much as is looked at.
    Enough,
    BrokenOff,
}

/// An answer whose body is to be read.
enum Reply {
    Plain {
        lines: Arc<Lines>,
        line: Line,
        head: hyper::http::response::Parts,
        body: Incoming,
    },
    General(reqwest::Response),
}

impl Reply {
    fn head(&self) -> (StatusCode, &HeaderMap) {
        match self {
            Self::Plain { head, .. } => (head.status, &head.headers),
            Self::General(response) => (response.status(), response.headers()),
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, ()> {
        match self {
            Self::Plain { line, body, .. } => line.chunk(body).await.transpose().map_err(drop),
            Self::General(response) => response.chunk().await.map_err(drop),
        }
    }

    /// Appends the first [`limits::MAX_ANSWER_BYTES`] of the body. When there is more, the connection is given up.
    async fn read(&mut self, body: &mut Vec<u8>) -> End {
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => {
                    let room = limits::MAX_ANSWER_BYTES - body.len();
                    body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                    if body.len() == limits::MAX_ANSWER_BYTES {
                        return End::Enough;
                    }
                }
                Ok(None) => return End::Whole,
                Err(()) => return End::BrokenOff,
            }
        }
    }

    /// Lets the next request go over the connection.
    async fn keep(self) {
        if let Self::Plain { lines, line, .. } = self {
            lines.keep(line).await;
        }
    }
}

/// True for a loopback address and for the names that mean one (RFC 6761, section 6.3).
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn connection_pool(
    settings: &HttpSettings,
    lookup: Lookup,
    tls: Option<&TlsFiles>,
    proxies: bool,
) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(tls, settings.accept_invalid_certs).map_err(|_| Failure::Tls)?)
        .dns_resolver(lookup)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(&settings.user_agent)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_keepalive(IDLE_CONNECTION)
        .http1_max_headers(MAX_ANSWER_HEADERS);
    if !proxies {
        builder = builder.no_proxy();
    }
    for proxy in &settings.proxies {
        builder = builder.proxy(proxy.clone());
    }
    builder.build().map_err(|_| Failure::Internal)
}
