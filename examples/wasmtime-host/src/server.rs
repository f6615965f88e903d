//! A Sentry server on loopback that is overloaded until it recovers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The server; its thread ends with the program.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_well: AtomicBool,
    received: AtomicU32,
}

impl Server {
    pub(crate) fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let server = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
        };
        let state = Arc::clone(&server.state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let _ = answer(connection, &state);
            }
        });
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it takes what it gets.
    pub(crate) fn recover(&self) {
        self.state.is_well.store(true, Ordering::Relaxed);
    }

    /// Envelopes taken.
    pub(crate) fn received(&self) -> u32 {
        self.state.received.load(Ordering::Relaxed)
    }
}

fn answer(connection: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = if state.is_well.load(Ordering::Relaxed) {
        state.received.fetch_add(1, Ordering::Relaxed);
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    write!(
        reader.into_inner(),
        "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}
