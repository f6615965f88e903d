//! Requests over HTTP/1.1 without TLS and without a proxy: to a collector, a relay, a sidecar.
//!
//! A general client prepares every request for redirects, proxies, retries and two versions of the protocol, and hands it to a
//! task of the connection. Here nothing of that is needed, so `hyper` is used directly: what does not change between
//! requests is prepared once for each route, and a connection has no task. Whoever sends a request owns its connection and
//! drives it, so nobody has to be woken for it; then it waits for the next in a list.
//!
//! There is no timer for a request: the delivery thread drops it at its deadline, and the connection with it.

use core::convert::Infallible;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use reqwest::{Url, header};
use surgetank_core::response::Failure;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service as _;

use super::failure::{of_connecting, of_exchange};
use super::lookup::Lookup;
use super::{HttpSettings, IDLE_CONNECTION, MAX_ANSWER_HEADERS};

/// Connections that wait for their next request, for each server and in sum; the engine has at most 32 requests in flight for
/// one destination.
const MAX_IDLE: usize = 64;

/// What is the same for every request to one URL.
#[derive(Clone)]
pub(super) struct Plain {
    /// Scheme, host and port: what is connected to.
    server: Uri,
    /// Path and query.
    path: Uri,
    /// The route's own, and what HTTP wants.
    headers: HeaderMap,
}

impl Plain {
    /// `None` for a URL that is none of plain HTTP, or that holds credentials.
    pub(super) fn prepare(url: &Url, own: &HeaderMap) -> Option<Self> {
        if url.scheme() != "http" || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let host = match (url.host_str()?, url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let path = match (url.path(), url.query()) {
            (path, Some(query)) => format!("{path}?{query}"),
            (path, None) => path.to_owned(),
        };
        let mut headers = own.clone();
        let host_value = HeaderValue::from_str(&host).ok()?;
        headers.entry(HOST).or_insert(host_value);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Some(Self {
            server: format!("http://{host}").parse().ok()?,
            path: path.try_into().ok()?,
            headers,
        })
    }

    /// A request with that body.
    pub(super) fn request(
        &self,
        user_agent: &HeaderValue,
        content_type: &'static str,
        content_encoding: Option<&'static str>,
        body: Vec<u8>,
    ) -> Outbound {
        let mut request = Request::new(Whole(Some(body.into())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        headers.insert(header::USER_AGENT, user_agent.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(encoding) = content_encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Outbound {
            server: self.server.clone(),
            request,
        }
    }
}

/// A request and where it goes.
pub(super) struct Outbound {
    server: Uri,
    request: Request<Whole>,
}

/// A body in one piece.
pub(super) struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The connections that wait for a request.
pub(super) struct Lines {
    connector: HttpConnector<Lookup>,
    connect_timeout: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    lines: Vec<(Instant, Line)>,
    /// A task looks for those that waited too long.
    watched: bool,
}

impl Lines {
    pub(super) fn new(settings: &HttpSettings, lookup: Lookup) -> Arc<Self> {
        let mut connector = HttpConnector::new_with_resolver(lookup);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(IDLE_CONNECTION));
        connector.set_connect_timeout(Some(settings.connect_timeout));
        Arc::new(Self {
            connector,
            connect_timeout: settings.connect_timeout,
            idle: Mutex::default(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Whoever panicked with it left a whole list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the request over a connection that waits, or else over a new one. One that the server closed in the meantime has not
    /// taken the request, which goes over the next.
    pub(super) async fn send(&self, outbound: Outbound) -> Result<(Line, Response<Incoming>), Failure> {
        let Outbound { server, mut request } = outbound;
        while let Some(mut line) = self.take(&server) {
            match line.send(request).await {
                Ok(answer) => return Ok((line, answer)),
                Err((_, Some(unsent))) => request = unsent,
                Err((failure, None)) => return Err(failure),
            }
        }
        let mut line = tokio::time::timeout(self.connect_timeout, self.connect(server))
            .await
            .map_err(|_| Failure::Timeout)??;
        let answer = line.send(request).await.map_err(|(failure, _)| failure)?;
        Ok((line, answer))
    }

    async fn connect(&self, server: Uri) -> Result<Line, Failure> {
        let mut connector = self.connector.clone();
        let stream = connector.call(server.clone()).await;
        let stream = stream.map_err(|error| of_connecting(&error))?;
        let made = Builder::new()
            .max_headers(MAX_ANSWER_HEADERS)
            .handshake(stream)
            .await;
        let (sender, connection) = made.map_err(|_| Failure::Connect)?;
        Ok(Line {
            server,
            sender,
            connection: Box::pin(connection),
            ended: false,
        })
    }

    /// The connection to `server` that was used last.
    fn take(&self, server: &Uri) -> Option<Line> {
        let lines = &mut self.idle().lines;
        let place = lines.iter().rposition(|(_, line)| line.server == *server)?;
        Some(lines.remove(place).1)
    }

    /// Keeps a connection whose answer was read to its end, if another request can go over it.
    pub(super) async fn keep(self: &Arc<Self>, mut line: Line) {
        if !line.is_ready().await {
            return;
        }
        let mut idle = self.idle();
        if idle.lines.len() >= MAX_IDLE {
            return;
        }
        idle.lines.push((Instant::now(), line));
        if !core::mem::replace(&mut idle.watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Closes connections that waited too long; when the next will have.
    fn close_old(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle();
        idle.lines
            .retain(|(since, _)| now.duration_since(*since) < IDLE_CONNECTION);
        let oldest = idle.lines.iter().map(|(since, _)| *since + IDLE_CONNECTION).min();
        idle.watched = oldest.is_some();
        oldest
    }
}

/// Closes what waits too long, until nothing waits.
async fn watch(lines: Weak<Lines>) {
    loop {
        let Some(next) = lines.upgrade().and_then(|lines| lines.close_old(Instant::now())) else {
            return;
        };
        tokio::time::sleep_until(next).await;
    }
}

/// A connection, in the hands of the request that goes over it.
pub(super) struct Line {
    server: Uri,
    sender: SendRequest<Whole>,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Whole>>>,
    ended: bool,
}

impl Line {
    /// Lets the connection read and write.
    fn drive(&mut self, context: &mut Context<'_>) {
        // A failure is told to whoever waits for the answer or its body.
        if !self.ended && self.connection.as_mut().poll(context).is_ready() {
            self.ended = true;
        }
    }

    /// True if another request can go over it now.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            self.drive(context);
            Poll::Ready(!self.ended && self.sender.is_ready())
        })
        .await
    }

    /// Its answer; or what went wrong, and the request if nothing of it was sent.
    async fn send(
        &mut self,
        request: Request<Whole>,
    ) -> Result<Response<Incoming>, (Failure, Option<Request<Whole>>)> {
        if !self.is_ready().await {
            return Err((Failure::Disconnected, Some(request)));
        }
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let ended = &mut self.ended;
        let answer = poll_fn(|context| {
            if !*ended && connection.as_mut().poll(context).is_ready() {
                *ended = true;
            }
            answer.as_mut().poll(context)
        });
        answer.await.map_err(|mut error| {
            let unsent = error.take_message();
            (of_exchange(error.error()), unsent)
        })
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) async fn chunk(&mut self, body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = poll_fn(|context| {
                self.drive(context);
                Pin::new(&mut *body).poll_frame(context)
            });
            match frame.await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    // Trailers say nothing that is known here.
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Read as _;
    use std::net::TcpListener;

    use reqwest::header::HeaderMap;

    #[test]
    fn only_plain_http_without_credentials_is_prepared() {
        let prepared = |url: &str| Plain::prepare(&url.parse().unwrap(), &HeaderMap::new());
        for other in ["https://a/", "http://user@a/", "http://user:secret@a/"] {
            assert!(prepared(other).is_none(), "{other}");
        }
        let plain = prepared("http://[::1]:4318/v1/traces?a=b%20c#fragment").unwrap();
        assert_eq!(plain.server.to_string(), "http://[::1]:4318/");
        assert_eq!(plain.path.to_string(), "/v1/traces?a=b%20c");
        assert_eq!(plain.headers.get(HOST).unwrap(), "[::1]:4318");
        let plain = prepared("http://Example.com:80").unwrap();
        assert_eq!(plain.path.to_string(), "/");
        assert_eq!(plain.headers.get(HOST).unwrap(), "example.com");
    }

    #[test]
    fn a_connection_that_waited_too_long_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server: Uri = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let settings = HttpSettings {
            connect_timeout: Duration::from_secs(60),
            ..HttpSettings::default()
        };
        let lines = Lines::new(&settings, Lookup::default());
        runtime.block_on(async {
            let line = lines.connect(server.clone()).await.unwrap();
            lines.keep(line).await;
        });
        let waits = lines.idle().lines.first().unwrap().0;
        let soon = waits + IDLE_CONNECTION - Duration::from_secs(1);
        assert_eq!(lines.close_old(soon), Some(waits + IDLE_CONNECTION));
        assert!(lines.idle().watched);
        assert_eq!(lines.close_old(waits + IDLE_CONNECTION), None);
        assert!(!lines.idle().watched);
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        assert!(lines.take(&server).is_none());
    }
}
