//! Servers that accept connections and then do what no server should, below HTTP.

#![expect(clippy::disallowed_methods, reason = "a server that is slow on purpose")]

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::wait_for_stop;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What happens on a connection. It is closed when this returns.
type OnConnection = fn(&TcpStream, &AtomicBool) -> io::Result<()>;

/// A listener on loopback that treats every connection in the same way.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(on_connection: OnConnection) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("the port just bound");
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&connections));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let stopped = Arc::clone(&stopped);
                std::thread::spawn(move || on_connection(&stream, &stopped));
            }
        });
        Self {
            address,
            connections,
            stop,
            acceptor: Some(acceptor),
        }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Keeps the connection open and is silent.
pub(crate) fn silence(_: &TcpStream, stop: &AtomicBool) -> io::Result<()> {
    wait_for_stop(stop)
}

/// Ends its own direction before anything has come, and reads on.
pub(crate) fn half_close(stream: &TcpStream, stop: &AtomicBool) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    swallow(stream, stop, Duration::ZERO)
}

/// Reads a byte a second, so that what is sent piles up on the way.
pub(crate) fn sip(stream: &TcpStream, stop: &AtomicBool) -> io::Result<()> {
    swallow(stream, stop, Duration::from_secs(1))
}

fn swallow(mut stream: &TcpStream, stop: &AtomicBool, pause: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut byte = [0];
    while !stop.load(Ordering::SeqCst) {
        match stream.read(&mut byte) {
            Ok(0) => return silence(stream, stop),
            Ok(_) if pause.is_zero() => {}
            Ok(_) => {
                // In parts, so that it ends soon after it is told to.
                for _ in 0..50 {
                    if !stop.load(Ordering::SeqCst) {
                        std::thread::sleep(pause / 50);
                    }
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Answers a TLS client's greeting with the first half of its own part of the handshake.
pub(crate) fn half_a_handshake(mut stream: &TcpStream, stop: &AtomicBool) -> io::Result<()> {
    let mut tls = rustls::ServerConnection::new(Arc::new(tls_config())).map_err(io::Error::other)?;
    while !tls.wants_write() {
        tls.read_tls(&mut stream)?;
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    let mut flight = Vec::new();
    tls.write_tls(&mut flight)?;
    stream.write_all(flight.get(..flight.len() / 2).unwrap_or_default())?;
    silence(stream, stop)
}

fn tls_config() -> rustls::ServerConfig {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS that the provider has")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a key that fits the certificate")
}
