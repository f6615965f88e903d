//! A stand-in for a collector on loopback: counts the spans and log records of what is sent to it.
//!
//! It has a thread and a runtime of its own, as a collector is another program.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use surgetank_core::item::Signal;
use surgetank_core::wire::otlp::count;

/// The collector; its thread ends with the program.
pub(crate) struct Collector {
    address: SocketAddr,
    spans: Arc<AtomicU64>,
    logs: Arc<AtomicU64>,
}

impl Collector {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (spans, logs) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let router = Router::new()
            .route("/v1/traces", counting(Signal::Traces, &spans))
            .route("/v1/logs", counting(Signal::Logs, &logs));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        std::thread::spawn(move || {
            runtime
                .block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await })
        });
        Ok(Self { address, spans, logs })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Spans and log records that arrived.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.spans.load(Ordering::Relaxed),
            self.logs.load(Ordering::Relaxed),
        )
    }
}

fn counting(signal: Signal, counter: &Arc<AtomicU64>) -> axum::routing::MethodRouter {
    let counter = Arc::clone(counter);
    post(move |body: Bytes| async move {
        match count::of_protobuf(signal, &body) {
            Ok(contents) => {
                counter.fetch_add(u64::from(contents.items), Ordering::Relaxed);
                StatusCode::OK
            }
            Err(_) => StatusCode::BAD_REQUEST,
        }
    })
}
