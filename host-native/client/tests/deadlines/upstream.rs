//! Everything that a client can meet and get no usable answer from.

use std::net::SocketAddr;

use surgetank::{Client, ClientBuilder, MIN_MEMORY};

use crate::support::{Reply, Server};
use crate::unfriendly::{self, Peer};

/// A server, and what keeps it up.
pub(crate) struct Upstream {
    pub(crate) name: &'static str,
    scheme: &'static str,
    address: SocketAddr,
    met: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Upstream {
    /// Every kind there is.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::http("stalls", Reply::Stall),
            Self::http("closes", Reply::Close),
            Self::http("answers a byte a second", Reply::DribbleAll),
            Self::http("sends the body a byte a second", Reply::Dribble { status: 200 }),
            Self::http("half-closes in place of an answer", Reply::HalfClose),
            Self::peer("half-closes at once", "http", Peer::start(unfriendly::half_close)),
            Self::peer("reads a byte a second", "http", Peer::start(unfriendly::sip)),
            Self::peer("says nothing in TLS", "https", Peer::start(unfriendly::silence)),
            Self::peer(
                "stops in the middle of a TLS handshake",
                "https",
                Peer::start(unfriendly::half_a_handshake),
            ),
            Self::nobody(),
        ]
    }

    /// A server that reads requests.
    pub(crate) fn http(name: &'static str, reply: Reply) -> Self {
        let server = Server::start(move |_, _| reply.clone());
        Self {
            name,
            scheme: "http",
            address: server.address,
            met: Box::new(move || !server.requests().is_empty()),
        }
    }

    fn peer(name: &'static str, scheme: &'static str, peer: Peer) -> Self {
        Self {
            name,
            scheme,
            address: peer.address,
            met: Box::new(move || peer.connections() > 0),
        }
    }

    fn nobody() -> Self {
        let (address, held) = Server::refused();
        Self {
            name: "refuses",
            scheme: "http",
            address,
            // Nothing is seen of a connection that was refused; the port has to stay taken.
            met: Box::new(move || held.local_addr().is_ok()),
        }
    }

    /// True when a client came this far.
    pub(crate) fn was_met(&self) -> bool {
        (self.met)()
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        let dsn = format!(
            "{}://0123456789abcdef0123456789abcdef@{}/42",
            self.scheme, self.address
        );
        Client::builder()
            .sentry_dsn(&dsn)
            .memory(MIN_MEMORY)
            .environment_proxies(false)
    }
}
