//! Connections: how many, for how long, and how they end.
//!
//! HTTP/1.1, and HTTP/2 without TLS for those who begin with it. Every wait for a client has an end: for its first
//! request, for the headers of one, for a body (that one in [`crate::body`]), and between two requests.

use super::{Front, Port};
use crate::answers::FULL_RETRY_SECONDS;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Connections at a time, on each port. One takes up to [`READ_BYTES`] of memory beside its body.
const MAX_CONNECTIONS: usize = 1024;
/// Connections beyond that, which are told to come back.
const MAX_TURNED_AWAY: usize = 64;
/// Bytes of a connection's read buffer, and so of the headers of a request.
const READ_BYTES: usize = 64 * 1024;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// From the connection, or the answer before, to the end of a request's headers. Longer than the pause between two
/// flushes of any SDK, so that connections live on.
const HEADER_TIME: Duration = Duration::from_secs(75);
/// From the connection to its first request.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(15);
/// Without any request on it a connection ends; not reading its answers is no activity.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// How long accepting rests when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

/// What is left of a front end: connections that are still being answered.
pub(crate) struct Stopped(GracefulShutdown);

impl Stopped {
    /// Ends when the last of them has ended.
    pub(crate) async fn drained(self) {
        self.0.shutdown().await;
    }
}

/// Accepts connections until `stop` changes.
pub(crate) async fn serve(
    listener: TcpListener,
    port: Port,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) -> Stopped {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if is_about_one_connection(&error) {
                    continue;
                }
                crate::stderr::say(format_args!("cannot accept connections: {error}; trying again"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let connection = connection(stream, port, Arc::clone(&front), &graceful);
            tokio::spawn(async move {
                connection.await;
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(TURN_AWAY_TIME, turn_away(stream)).await;
                drop(place);
            });
        }
    }
    Stopped(graceful)
}

fn connection(
    stream: TcpStream,
    port: Port,
    front: Arc<Front>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    // Answers are small and go out whole.
    let _ = stream.set_nodelay(true);
    let body_time = front.body_time;
    let activity = Arc::new(Activity::new());
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: Request<Incoming>| {
            let (front, activity) = (Arc::clone(&front), Arc::clone(&activity));
            async move {
                activity.note();
                let answer = front.answer(port, request).await;
                activity.note();
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(READ_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(READ_BYTES as u32);
    let served = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let served = graceful.watch(served);
    async move {
        tokio::select! {
            // A connection that breaks off is its client's business; what arrived whole was answered.
            _ = served => {}
            () = activity.ended(IDLE_TIME.max(body_time + FIRST_REQUEST_TIME)) => {}
        }
    }
}

/// When something last happened on a connection.
struct Activity {
    opened: Instant,
    /// Milliseconds after `opened`, plus one; 0 for never.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last.store(millis + 1, Ordering::Relaxed);
    }

    /// Ends when no first request came, or none for `idle`.
    async fn ended(&self, idle: Duration) {
        loop {
            let deadline = match self.last.load(Ordering::Relaxed) {
                0 => self.opened + FIRST_REQUEST_TIME,
                millis => self.opened + Duration::from_millis(millis - 1) + idle,
            };
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// True for errors that say nothing about the listener.
fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Answers a connection there is no place for, without reading a request.
async fn turn_away(mut stream: TcpStream) {
    const BODY: &str = "{\"detail\":\"too many connections\"}";
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: {FULL_RETRY_SECONDS}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Closing with unread bytes would reset the connection, and the answer with it.
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await.is_ok_and(|count| count > 0) {}
}
