//! The exporter that posts bodies to HTTP servers.
//!
//! Built on reqwest (hyper, rustls): HTTP/1.1, and HTTP/2 where TLS negotiates it; keep-alive; proxies from
//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, but never for a server on this machine: a proxy's loopback
//! is another machine's. What a general client would do by itself is switched off where the engine decides it: no
//! redirects (credentials must not travel), no retries beyond those that HTTP/2 itself declares safe (`GOAWAY`,
//! `REFUSED_STREAM`), no cookies, no decompression.
//!
//! Every wait has an end: connecting (name resolution, TCP, TLS and the proxy's part of it together), the whole
//! attempt, and what is read of an answer. Certificates are judged by the operating system's trust store; where a
//! machine has none at all (a container from scratch), by Mozilla's roots compiled in.

mod tls;

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use surgetank_core::item::Signal;
use surgetank_core::limits;
use surgetank_core::response::Failure;
use tokio::sync::Semaphore;

use super::exporter::{Answer, Endpoint, Exporter, Outgoing};
use crate::body::Compression;
pub use tls::{PemError, TlsFiles};

const RATE_LIMITS: HeaderName = HeaderName::from_static("x-sentry-rate-limits");

/// Idle connections are closed after this; common servers close theirs after 5 to 75 s, and a request that meets a
/// connection closed under it costs an attempt.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Most names looked up at a time. A lookup cannot be cancelled and may hang in the C library; this bounds how many
/// threads can hang with it.
const MAX_LOOKUPS: usize = 4;

/// Field lines of an answer; hyper refuses more.
const MAX_ANSWER_HEADERS: usize = 128;

/// How long an answer's body is waited for when it can change nothing.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Posts request bodies over HTTP.
///
/// Connections are made at first use and belong to the delivery thread. Make a new one for each delivery.
pub struct HttpExporter {
    settings: HttpSettings,
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
    routes: [Option<HttpRoute>; 4],
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
            *slot = Some(route);
        }
        self
    }

    /// The route for `endpoint`, if there is one.
    #[must_use]
    pub fn route(&self, endpoint: Endpoint) -> Option<&HttpRoute> {
        self.routes.get(route_index(endpoint)).and_then(Option::as_ref)
    }
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().flatten()).finish()
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
        Self {
            settings,
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
        let client = connection_pool(&self.settings, tls.map(Arc::as_ref), proxies);
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
        let prepared = outgoing
            .target
            .route(outgoing.endpoint)
            .ok_or(Failure::Internal)
            .and_then(|route| {
                let proxies = self.settings.environment_proxies && !is_this_machine(&route.url);
                Ok((self.client(route.tls.as_ref(), proxies)?, route.clone()))
            });
        async move {
            let (client, route) = prepared?;
            post(client, route, outgoing).await
        }
    }
}

async fn post(
    client: reqwest::Client,
    route: HttpRoute,
    outgoing: Outgoing<HttpTarget>,
) -> Result<Answer, Failure> {
    let begun = tokio::time::Instant::now();
    let mut request = client
        .post(route.url)
        .headers(route.headers)
        .header(CONTENT_TYPE, HeaderValue::from_static(outgoing.content_type))
        .timeout(outgoing.timeout);
    if let Some(encoding) = outgoing.content_encoding {
        request = request.header(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    let mut response = request
        .body(outgoing.body)
        .send()
        .await
        .map_err(|error| failure(&error))?;
    let headers = response.headers();
    let value = |name: &HeaderName| headers.get(name).map(|value| value.as_bytes().to_vec());
    let mut answer = Answer {
        status: response.status().as_u16(),
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
    let body_matters = matches!(outgoing.endpoint, Endpoint::Otlp(_)) && response.status().is_success();
    let patience = if body_matters {
        (outgoing.timeout - outgoing.timeout / 10).saturating_sub(begun.elapsed())
    } else {
        BODY_PATIENCE
    };
    let mut body = Vec::new();
    let whole = tokio::time::timeout(patience, read_body(&mut response, &mut body))
        .await
        .unwrap_or(false);
    // Half of a success shows that there was more; half of a refusal shows nothing.
    if readable && (whole || body_matters) {
        answer.body = body;
    }
    Ok(answer)
}

/// Appends the first [`limits::MAX_ANSWER_BYTES`] of the body, and gives true, or what came of it before the connection
/// or the attempt ended. When there is more, the connection is given up.
async fn read_body(response: &mut reqwest::Response, body: &mut Vec<u8>) -> bool {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = limits::MAX_ANSWER_BYTES - body.len();
                body.extend(chunk.iter().take(room));
                if body.len() == limits::MAX_ANSWER_BYTES {
                    return true;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
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
    tls: Option<&TlsFiles>,
    proxies: bool,
) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(tls, settings.accept_invalid_certs).map_err(|_| Failure::Tls)?)
        .dns_resolver(Lookup {
            free: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        })
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

/// Name resolution by the operating system, on a few threads apart from the delivery thread.
struct Lookup {
    free: Arc<Semaphore>,
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let free = Arc::clone(&self.free);
        Box::pin(async move {
            // Whoever waits here is dropped at its deadline; a lookup that has begun keeps its place until it ends.
            let place = free.acquire_owned().await.map_err(|_| NotResolved)?;
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0))
                    .map(Iterator::collect::<Vec<SocketAddr>>)
            })
            .await;
            match found {
                Ok(Ok(addresses)) if !addresses.is_empty() => {
                    let addresses: Addrs = Box::new(addresses.into_iter());
                    Ok(addresses)
                }
                _ => Err(NotResolved.into()),
            }
        })
    }
}

/// Name resolution failed: found again in the chain of causes of reqwest's error.
#[derive(Debug)]
struct NotResolved;

impl fmt::Display for NotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name could not be resolved")
    }
}

impl Error for NotResolved {}

/// The engine's word for what went wrong.
fn failure(error: &reqwest::Error) -> Failure {
    let mut malformed = false;
    let mut disconnected = false;
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotResolved>() {
            return Failure::Dns;
        }
        if error.is::<rustls::Error>() {
            return Failure::Tls;
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if is_tls(io) {
                return Failure::Tls;
            }
            disconnected |= matches!(
                io.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotConnected
            );
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            malformed |= hyper.is_parse();
            disconnected |= hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed();
        }
        cause = error.source();
    }
    if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect
    } else if malformed {
        Failure::MalformedResponse
    } else if disconnected || error.is_body() || error.is_request() {
        Failure::Disconnected
    } else {
        Failure::Internal
    }
}

/// True when a TLS error is wrapped in it, however often: what an I/O error wraps is not among its causes.
fn is_tls(error: &io::Error) -> bool {
    let mut inner = error.get_ref();
    while let Some(error) = inner {
        if error.is::<rustls::Error>() {
            return true;
        }
        inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    }
    false
}
