//! Stand-ins for Sentry and for a collector on loopback, which keep what they were sent.
//!
//! They have a thread and a runtime of their own, as they are other programs.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use surgetank_core::item::Signal;
use surgetank_core::wire::otlp::count;

/// Both on one address; their thread ends with the program.
pub(crate) struct Servers {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What arrived.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Traces of error events.
    pub(crate) errors: BTreeSet<String>,
    /// Traces of transactions.
    pub(crate) transactions: BTreeSet<String>,
    /// Spans below the roots of transactions.
    pub(crate) children: u64,
    /// Spans at the collector.
    pub(crate) spans: u64,
    requests: Vec<Bytes>,
}

impl Servers {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Seen>>::default();
        let (ingestion, collector) = (Arc::clone(&seen), Arc::clone(&seen));
        let with = |seen: Arc<Mutex<Seen>>, take: fn(&mut Seen, Bytes) -> Option<()>| {
            post(move |body: Bytes| async move {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                match take(&mut seen, body) {
                    Some(()) => StatusCode::OK,
                    None => StatusCode::BAD_REQUEST,
                }
            })
        };
        let router = Router::new()
            .route("/api/{project}/envelope/", with(ingestion, Seen::take_envelope))
            .route("/v1/traces", with(collector, Seen::take_spans));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        std::thread::spawn(move || {
            runtime
                .block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await })
        });
        Ok(Self { address, seen })
    }

    pub(crate) fn dsn(&self) -> String {
        format!("http://0123456789abcdef0123456789abcdef@{}/1", self.address)
    }

    pub(crate) fn collector(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    fn take_envelope(&mut self, body: Bytes) -> Option<()> {
        // The SDK ends every line with a line feed; what it sends here has one item an envelope.
        let mut lines = body.split(|byte| *byte == b'\n').skip(1);
        let header: Value = serde_json::from_slice(lines.next()?).ok()?;
        let payload: Value = serde_json::from_slice(lines.next()?).ok()?;
        let trace = payload
            .pointer("/contexts/trace/trace_id")
            .and_then(Value::as_str);
        match header.get("type")?.as_str()? {
            "event" => self.errors.insert(trace?.to_owned()),
            "transaction" => {
                self.children += payload.get("spans")?.as_array()?.len() as u64;
                self.transactions.insert(trace?.to_owned())
            }
            _ => true,
        };
        Some(())
    }

    fn take_spans(&mut self, body: Bytes) -> Option<()> {
        self.spans += u64::from(count::of_protobuf(Signal::Traces, &body).ok()?.items);
        self.requests.push(body);
        Some(())
    }

    /// Whether each of these trace ids is in a request to the collector.
    pub(crate) fn holds_traces(&self, traces: &BTreeSet<String>) -> bool {
        traces.iter().all(|trace| {
            let id = u128::from_str_radix(trace, 16).unwrap_or(0).to_be_bytes();
            let mut requests = self.requests.iter();
            requests.any(|request| request.windows(id.len()).any(|bytes| bytes == id))
        })
    }
}
