//! A stand-in for Sentry and a collector on loopback: takes everything, looks at nothing, counts.
//!
//! Each connection has a thread of its own. A pool of threads would not do: clients keep several connections open at a
//! time, and one that gets no thread waits for as long as the others live.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The server; its threads end with the program.
pub(crate) struct LocalServer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl LocalServer {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                // A client that goes away needs no answer.
                std::thread::spawn(move || serve(&stream, &counter).unwrap_or(()));
            }
        });
        Ok(Self { address, requests })
    }

    pub(crate) fn dsn(&self) -> String {
        format!("http://0123456789abcdef0123456789abcdef@{}/1", self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests it took.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// One connection of HTTP/1.1. Requests with a length are all that surgetank sends.
fn serve(mut stream: &TcpStream, counter: &AtomicUsize) -> io::Result<()> {
    let mut input = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        io::copy(&mut (&mut input).take(length), &mut io::sink())?;
        counter.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
