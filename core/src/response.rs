//! What a host tells the engine about an attempt: the raw facts, not their meaning.
//!
//! Hosts hold no policy, so headers come as the bytes that were received; the core parses and judges them.

use crate::time::UnixTime;

/// An HTTP (or gRPC) answer to one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'a> {
    /// HTTP status, 100..=599.
    pub status: u16,
    /// Value of `Retry-After`, as received.
    pub retry_after: Option<&'a [u8]>,
    /// Values of every `X-Sentry-Rate-Limits` field line, in order, as received.
    pub rate_limits: &'a [&'a [u8]],
    /// Value of `Content-Type`, as received.
    pub content_type: Option<&'a [u8]>,
    /// The first bytes of the body, after decompression; hosts cut at `limits::MAX_ANSWER_BYTES`.
    pub body: &'a [u8],
    /// The trailers of a gRPC answer; `None` over plain HTTP.
    pub grpc: Option<GrpcStatus<'a>>,
    /// Wall clock when the answer arrived, only for HTTP-dates in `Retry-After`.
    pub wall: UnixTime,
}

/// gRPC status trailers. Without the feature `grpc` nobody can make one, and what judges them is not compiled.
#[cfg(any(feature = "grpc", test))]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus<'a> {
    /// `grpc-status`; `None` when the answer had none (a proxy answered).
    pub code: Option<u32>,
    /// `grpc-message`, percent-encoded as received.
    pub message: Option<&'a [u8]>,
    /// `grpc-status-details-bin`, base64 as received, with or without padding.
    pub details: Option<&'a [u8]>,
}

/// gRPC status trailers. Without the feature `grpc` nobody can make one, and what judges them is not compiled.
#[cfg(not(any(feature = "grpc", test)))]
#[derive(Clone, Copy, Debug)]
pub struct GrpcStatus<'a>(
    pub(crate) core::convert::Infallible,
    core::marker::PhantomData<&'a [u8]>,
);

/// Why no usable answer came.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// Name resolution failed.
    Dns,
    /// The connection was refused or could not be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The host's deadline passed before the answer was complete.
    Timeout,
    /// The connection ended before the answer was complete.
    Disconnected,
    /// What came back was no valid answer.
    MalformedResponse,
    /// The body could not be written: a record is not what its header says (never retried).
    InvalidRequest,
    /// The host could not send it at all because of its size (never retried).
    RequestTooLarge,
    /// The answer's body is larger than `limits::MAX_OTLP_RESPONSE_BYTES`; only for OTLP requests (never retried).
    ResponseTooLarge,
    /// The host failed in itself while sending (a caught panic, no resources).
    Internal,
}
