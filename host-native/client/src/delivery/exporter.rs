//! The seam between the delivery thread and whatever takes the bodies: an HTTP server, or a store on disk.

use core::time::Duration;
use std::future::Future;
use std::sync::Arc;

use surgetank_core::item::Signal;
use surgetank_core::response::Failure;

use crate::body::Compression;

/// Takes request bodies to where they belong.
///
/// One exporter serves every destination of a delivery; what it needs to know about one of them is its
/// [`Exporter::Target`]. An exporter decides nothing: it makes one attempt and tells what came of it. Retrying, limits
/// and dropping are the engine's.
pub trait Exporter: Send + Sync + 'static {
    /// What one destination needs: an address and its headers, a table of a file.
    type Target: Send + Sync + 'static;

    /// How bodies for `endpoint` of `target` are compressed before they are handed over. Default: not at all.
    fn compression(&self, target: &Self::Target, endpoint: Endpoint) -> Compression {
        let _ = (target, endpoint);
        Compression::None
    }

    /// Makes one attempt. Called on the delivery thread, inside its tokio runtime; must return at once and do its work
    /// in the future, which is polled on that thread and must not block it.
    ///
    /// The delivery thread drops the future when [`Outgoing::timeout`] passes and takes that as [`Failure::Timeout`],
    /// and a panic inside it as [`Failure::Internal`].
    fn export(
        &self,
        outgoing: Outgoing<Self::Target>,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static;
}

/// Which of a destination's endpoints a body is for.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// Sentry's envelope endpoint.
    Envelope,
    /// The OTLP endpoint of one signal.
    Otlp(Signal),
}

/// One attempt to deliver one body.
#[derive(Debug)]
pub struct Outgoing<T> {
    /// What the destination was opened with.
    pub target: Arc<T>,
    /// Where at the destination.
    pub endpoint: Endpoint,
    /// 1 for the first attempt of a request.
    pub attempt: u32,
    /// How long the whole attempt may take.
    pub timeout: Duration,
    /// Value for `Content-Type`.
    pub content_type: &'static str,
    /// Value for `Content-Encoding`; `None` when `body` is not compressed.
    pub content_encoding: Option<&'static str>,
    /// The bytes to send.
    pub body: Vec<u8>,
}

/// What an attempt was answered with: the raw facts, as the engine's `Response` wants them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answer {
    /// HTTP status, 100..=599.
    pub status: u16,
    /// Value of `Retry-After`.
    pub retry_after: Option<Vec<u8>>,
    /// Values of every `X-Sentry-Rate-Limits` field line, in order.
    pub rate_limits: Vec<Vec<u8>>,
    /// Value of `Content-Type`.
    pub content_type: Option<Vec<u8>>,
    /// The first bytes of the body, at most `limits::MAX_ANSWER_BYTES`.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer of something that took the body and has nothing to say about it.
    #[must_use]
    pub fn accepted() -> Self {
        Self {
            status: 200,
            ..Self::default()
        }
    }
}
