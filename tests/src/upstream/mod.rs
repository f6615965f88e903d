//! A server on loopback that stands for Sentry or an OTLP receiver: it records every request and answers as a test
//! tells it to, well or badly, down to the last byte of a connection.
//!
//! It is written on plain sockets, because no server library breaks off in the middle of an answer, or sends a byte a
//! second. It can also pass requests on ([`Reply::Forward`]): put between a client and what is tested, it records the
//! exact bytes that the client sent, what it was answered, and how long that took.

mod connection;
mod cors;
pub mod envelope;
mod http;
mod ingest;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use http::{Answered, Received};

/// How long [`Upstream::wait_for`] waits: over twice the longest pause between two attempts, which is that of a circuit
/// breaker after a long outage (60 s, half as much again with jitter): how long an outage is depends on the machine.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A key as Sentry issues them: 32 hexadecimal digits.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What the server does with one request. Exhaustive.
#[derive(Clone, Debug)]
pub enum Reply {
    /// What the real receiver of such a request answers: success if it is well-formed.
    Accept,
    /// This answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Names and values beside `content-length`.
        headers: Vec<(&'static str, String)>,
        /// The whole body.
        body: Vec<u8>,
    },
    /// Nothing, until there is another script; that one then decides about this request, too.
    Stall,
    /// Closes the connection without a byte.
    Close,
    /// Half of an answer, then closes the connection.
    CloseMidway,
    /// An answer of which one byte goes out each second.
    Dribble,
    /// Whatever the server at this address answers.
    Forward(SocketAddr),
}

impl Reply {
    /// An answer with an empty body.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header to an answer.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What arrived.
    pub request: Received,
    /// When all of it was there.
    pub at: Instant,
    /// What was answered; `None` while there is no answer, and for ever when none could be sent whole.
    pub answer: Option<Answered>,
}

impl Exchange {
    /// True when the request was answered with a 2xx status: what it carried counts as delivered.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.answer
            .as_ref()
            .is_some_and(|answer| (200..300).contains(&answer.status))
    }
}

type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

/// What the threads of a server share.
struct Shared {
    /// Ends everything.
    stop: AtomicBool,
    /// Goes up when all connections must close.
    epoch: AtomicU64,
    log: Mutex<Log>,
    changed: Condvar,
}

struct Log {
    script: Arc<Script>,
    /// Goes up with each script.
    generation: u64,
    exchanges: Vec<Exchange>,
    connections: Vec<JoinHandle<()>>,
}

impl Shared {
    /// The log; a test that failed with it locked does not keep others from reading it.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. Dropped, it closes its connections and ends its threads.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<Acceptor>,
}

impl Upstream {
    /// A server on a free loopback port; `script` gets each request and its number, from 0.
    ///
    /// # Panics
    /// When the system has no port left.
    #[must_use]
    pub fn start(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("the port just bound");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            log: Mutex::new(Log {
                script: Arc::new(script),
                generation: 0,
                exchanges: Vec::new(),
                connections: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let acceptor = Some(Acceptor::start(listener, &shared));
        Self {
            address,
            shared,
            acceptor,
        }
    }

    /// A server that accepts whatever is well-formed.
    #[must_use]
    pub fn accepting() -> Self {
        Self::start(|_, _| Reply::Accept)
    }

    /// A server that passes everything on to `address`.
    #[must_use]
    pub fn before(address: SocketAddr) -> Self {
        Self::start(move |_, _| Reply::Forward(address))
    }

    /// Another script, for requests from here on and for those that are stalled.
    pub fn set(&self, script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) {
        let mut log = self.shared.log();
        log.script = Arc::new(script);
        log.generation += 1;
        drop(log);
        self.shared.changed.notify_all();
    }

    /// The same reply to everything; see [`Upstream::set`].
    pub fn always(&self, reply: Reply) {
        self.set(move |_, _| reply.clone());
    }

    /// Closes the port and all connections: whoever connects is refused.
    pub fn close_port(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.end(self.address);
        }
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.join_connections();
    }

    /// Listens on the same port again.
    ///
    /// # Panics
    /// When another program took the port meanwhile.
    pub fn open_port(&mut self) {
        if self.acceptor.is_none() {
            let listener = TcpListener::bind(self.address).expect("the port is still free");
            self.acceptor = Some(Acceptor::start(listener, &self.shared));
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A Sentry DSN for `project`, with [`KEY`].
    #[must_use]
    pub fn dsn(&self, project: u64) -> String {
        format!("http://{KEY}@{}/{project}", self.address)
    }

    /// Everything so far, in the order of arrival.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.log().exchanges.clone()
    }

    /// What `look` finds in everything so far, as soon as it finds it.
    ///
    /// # Panics
    /// After [`PATIENCE`], with `what` and a line on each exchange.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&[Exchange]) -> Option<T>) -> T {
        let until = now() + PATIENCE;
        let mut log = self.shared.log();
        loop {
            if let Some(found) = look(&log.exchanges) {
                return found;
            }
            let left = until.saturating_duration_since(now());
            assert!(
                !left.is_zero(),
                "not within {PATIENCE:?}: {what}; there is\n{}",
                outline(&log.exchanges)
            );
            log = self
                .shared
                .changed
                .wait_timeout(log, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn join_connections(&self) {
        let connections = std::mem::take(&mut self.shared.log().connections);
        for connection in connections {
            // One that panicked has said so.
            let _ = connection.join();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        self.close_port();
    }
}

/// One line on each exchange, for the words of a failed test.
#[must_use]
pub fn outline(exchanges: &[Exchange]) -> String {
    let line = |exchange: &Exchange| {
        let Exchange { request, answer, .. } = exchange;
        let answer = answer.as_ref().map_or_else(
            || "no answer".to_owned(),
            |answer| format!("{} after {:?}", answer.status, answer.after),
        );
        let kinds = envelope::kinds(&request.body).unwrap_or_default();
        format!(
            "  {} {} {} bytes {kinds}: {answer}",
            request.method,
            request.path,
            request.body.len()
        )
    };
    let lines: Vec<String> = exchanges.iter().map(line).collect();
    lines.join("\n")
}

/// The clock, for what is measured and for deadlines: a real server has real time.
#[expect(clippy::disallowed_methods, reason = "a real server has real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Accepts connections while the port is open.
struct Acceptor {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Acceptor {
    fn start(listener: TcpListener, shared: &Arc<Shared>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, shared) = (Arc::clone(&stop), Arc::clone(shared));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let epoch = shared.epoch.load(Ordering::SeqCst);
                let own = Arc::clone(&shared);
                let connection = std::thread::spawn(move || connection::serve(stream, epoch, &own));
                let mut log = shared.log();
                log.connections.retain(|connection| !connection.is_finished());
                log.connections.push(connection);
            }
        });
        Self { thread, stop }
    }

    fn end(self, address: SocketAddr) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up.
        drop(TcpStream::connect(address));
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests;
