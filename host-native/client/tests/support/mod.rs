//! A small HTTP/1.1 server on loopback that behaves as a test tells it to, well or badly.
//!
//! It is written on plain sockets so that it can also break off in the middle of an answer, dribble, or hang.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    reason = "shared by test programs, each of which uses its own part; a real server has real time"
)]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

pub mod counting;
pub mod envelope;
pub mod otlp;
pub mod punctual;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// After decompression.
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A whole answer.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Nothing, until the server is dropped.
    Stall,
    /// Closes the connection without a byte.
    Close,
    /// Half a status line, then closes.
    CloseMidway,
    /// Status and headers, then one byte of the body each second.
    Dribble { status: u16 },
    /// A whole answer, one byte each second from the first one on.
    DribbleAll,
    /// No answer: ends its own direction and reads on.
    HalfClose,
    /// A whole answer that promises to keep the connection; then it ends its own direction and reads on.
    AnswerThenHalfClose,
    /// What is no HTTP at all.
    Garbage,
}

impl Reply {
    pub fn ok() -> Self {
        Self::status(200)
    }

    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }

    pub fn body(mut self, bytes: &[u8]) -> Self {
        if let Self::Answer { body, .. } = &mut self {
            body.extend_from_slice(bytes);
        }
        self
    }
}

/// The clock, for tests whose deadline is the promise.
pub fn now() -> Instant {
    Instant::now()
}

type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    stop: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Received>>,
    arrived: Condvar,
}

pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// A server on a free loopback port; `script` gets each request and its number, from 0.
    pub fn start(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("the port just bound");
        let state = Arc::new(State {
            script: Box::new(script),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            arrived: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = serve(&stream, &shared);
                });
            }
        });
        Self {
            address,
            state,
            acceptor: Some(acceptor),
        }
    }

    /// An address on which nobody listens, and what keeps anyone from it.
    pub fn refused() -> (SocketAddr, TcpSocket) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a free loopback port");
        (socket.local_addr().expect("the port just bound"), socket)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn dsn(&self) -> String {
        format!("http://0123456789abcdef0123456789abcdef@{}/42", self.address)
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.state.requests.lock().expect("not poisoned").clone()
    }

    /// Waits until `enough` holds for what has arrived; panics after a minute.
    pub fn wait_for(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let until = Instant::now() + Duration::from_secs(60);
        let mut requests = self.state.requests.lock().expect("not poisoned");
        while !enough(&requests) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {} requests arrived", requests.len());
            requests = self
                .state
                .arrived
                .wait_timeout(requests, left)
                .expect("not poisoned")
                .0;
        }
        requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while !state.stop.load(Ordering::SeqCst) {
        let Some(request) = read_request(&mut reader, state)? else {
            return Ok(());
        };
        let number = {
            let mut requests = state.requests.lock().expect("not poisoned");
            requests.push(request.clone());
            state.arrived.notify_all();
            requests.len() - 1
        };
        let mut stream = stream;
        match (state.script)(&request, number) {
            Reply::Answer {
                status,
                headers,
                body,
            } => {
                let mut answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    answer.push_str(&format!("{name}: {value}\r\n"));
                }
                answer.push_str("\r\n");
                stream.write_all(answer.as_bytes())?;
                stream.write_all(&body)?;
            }
            Reply::Stall => return wait_for_stop(&state.stop),
            Reply::Close => return Ok(()),
            Reply::CloseMidway => {
                stream.write_all(b"HTTP/1.1 20")?;
                return Ok(());
            }
            Reply::Dribble { status } => {
                stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 100\r\n\r\n").as_bytes())?;
                dribble(stream, &[b'x'; 100], state)?;
            }
            Reply::DribbleAll => dribble(stream, OK, state)?,
            Reply::HalfClose => {
                stream.shutdown(Shutdown::Write)?;
                return wait_for_stop(&state.stop);
            }
            Reply::AnswerThenHalfClose => {
                stream.write_all(OK)?;
                stream.shutdown(Shutdown::Write)?;
                return wait_for_stop(&state.stop);
            }
            Reply::Garbage => stream.write_all(b"220 mail.example ESMTP\r\n")?,
        }
    }
    Ok(())
}

/// Keeps whatever the caller holds until the server is dropped.
pub fn wait_for_stop(stop: &AtomicBool) -> io::Result<()> {
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// An answer that keeps the connection.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// One byte each second.
fn dribble(mut stream: &TcpStream, bytes: &[u8], state: &State) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        for _ in 0..10 {
            if state.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// `None` at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>, state: &State) -> io::Result<Option<Received>> {
    let Some(first) = read_line(reader, state)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let Some(line) = read_line(reader, state)? else {
            return Ok(None);
        };
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let mut request = Received {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .map_or(0, |value| value.parse().unwrap_or(0));
    let mut body = vec![0; length];
    let mut at = 0;
    while let Some(rest) = body.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => return Ok(None),
            Ok(read) => at += read,
            Err(error) if patient(&error, state) => {}
            Err(error) => return Err(error),
        }
    }
    request.body = match request.header("content-encoding") {
        None => body,
        Some("gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
            plain
        }
        Some("zstd") => zstd::stream::decode_all(body.as_slice())?,
        Some(other) => panic!("content-encoding {other}"),
    };
    Ok(Some(request))
}

fn read_line(reader: &mut BufReader<&TcpStream>, state: &State) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
            Err(error) if patient(&error, state) => {}
            Err(error) => return Err(error),
        }
    }
}

fn patient(error: &io::Error, state: &State) -> bool {
    let again = matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    );
    again && !state.stop.load(Ordering::SeqCst)
}
