//! A stand-in for Sentry on loopback: counts the errors and transactions of the envelopes that are sent to it.
//!
//! It has a thread and a runtime of its own, as Sentry is another program.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use flate2::read::GzDecoder;
use surgetank_core::item::Category;
use surgetank_core::wire::envelope::describe;

/// The server; its thread ends with the program.
pub(crate) struct Ingestion {
    address: SocketAddr,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    errors: AtomicU64,
    transactions: AtomicU64,
}

impl Ingestion {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let counters = Arc::<Counters>::default();
        let shared = Arc::clone(&counters);
        let router = Router::new().route(
            "/api/{project}/envelope/",
            post(move |headers: HeaderMap, body: Bytes| async move { shared.count(&headers, &body) }),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        std::thread::spawn(move || {
            runtime
                .block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await })
        });
        Ok(Self { address, counters })
    }

    pub(crate) fn dsn(&self) -> String {
        format!("http://0123456789abcdef0123456789abcdef@{}/1", self.address)
    }

    /// Errors and transactions that arrived.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.counters.errors.load(Ordering::Relaxed),
            self.counters.transactions.load(Ordering::Relaxed),
        )
    }
}

impl Counters {
    fn count(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let mut envelope = body.to_vec();
        if headers.contains_key(header::CONTENT_ENCODING) {
            envelope.clear();
            if GzDecoder::new(body).read_to_end(&mut envelope).is_err() {
                return StatusCode::BAD_REQUEST;
            }
        }
        let Ok(summary) = describe(&envelope) else {
            return StatusCode::BAD_REQUEST;
        };
        for (category, counter) in [
            (Category::Error, &self.errors),
            (Category::Transaction, &self.transactions),
        ] {
            counter.fetch_add(u64::from(summary.total(category)), Ordering::Relaxed);
        }
        StatusCode::OK
    }
}
