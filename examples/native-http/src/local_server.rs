//! A stand-in for Sentry and a collector on loopback: takes everything, looks at nothing, counts.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tiny_http::{Response, Server};

pub(crate) struct LocalServer {
    server: Arc<Server>,
    address: SocketAddr,
    thread: JoinHandle<usize>,
}

impl LocalServer {
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let server = Arc::new(Server::http("127.0.0.1:0").map_err(|error| error.to_string())?);
        let address = server.server_addr().to_ip().ok_or("the server has no address")?;
        let incoming = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            let mut requests = 0;
            for request in incoming.incoming_requests() {
                requests += 1;
                // A client that went away needs no answer.
                let _ = request.respond(Response::empty(200));
            }
            requests
        });
        Ok(Self {
            server,
            address,
            thread,
        })
    }

    pub(crate) fn dsn(&self) -> String {
        format!("http://0123456789abcdef0123456789abcdef@{}/1", self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it; how many requests it took.
    pub(crate) fn stop(self) -> usize {
        self.server.unblock();
        self.thread.join().unwrap_or(0)
    }
}
