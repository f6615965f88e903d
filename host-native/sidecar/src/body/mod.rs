//! Request bodies: read within a deadline, unpacked within a limit, both within a budget of memory.
//!
//! Nothing of a body is trusted. A declared length over the limit is refused unread; bytes are counted as they come in
//! and again as they come out of the decoder, so neither a long body nor a small one that unpacks to gigabytes costs
//! more than the limit. Memory for all bodies under way together is [`Budget`]; when it is used up, a request is refused
//! at once instead of waiting for others. A body that stops arriving is given up at the deadline.
//!
//! Decoding starts when the packed bytes are all there, so a decoder (whose window takes up to 16 MiB) is never held
//! while waiting for a slow sender: no more decoders exist than there are threads.

mod budget;
mod decode;

pub(crate) use budget::{Budget, Charge};
pub(crate) use decode::{Encoding, unpack_zlib};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Packed bodies up to this size are unpacked where they were read; larger ones on a thread of their own, so that the
/// answers to others are not held up.
const DECODE_INLINE_BYTES: usize = 16 * 1024;
/// Bytes of a refused body that are still read, so that its sender gets to see the answer.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
/// How long they are waited for.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A body, whole and unpacked, and its share of the budget.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    /// Held as long as the bytes are.
    pub(crate) _charge: Charge,
}

/// Why there is no body. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// Larger than `limit` bytes, as sent or unpacked.
    TooLarge { limit: usize },
    /// The budget for bodies under way is used up.
    NoMemory,
    /// It did not arrive in time.
    Timeout,
    /// The connection ended or broke the protocol before the body did.
    Disconnected,
    /// It is not what its `Content-Encoding` says.
    Malformed(Encoding),
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "the body is larger than the limit of {limit} bytes"),
            Self::NoMemory => f.write_str("the memory for requests under way is used up"),
            Self::Timeout => f.write_str("the body did not arrive in time"),
            Self::Disconnected => f.write_str("the connection ended before the body did"),
            Self::Malformed(encoding) => write!(f, "the body is no valid {} data", encoding.name()),
        }
    }
}

/// Bounds for one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes, as sent and unpacked.
    pub(crate) bytes: usize,
    /// From the end of the request's headers to the end of its body.
    pub(crate) time: Duration,
}

/// Reads a body to its end and unpacks it.
///
/// # Errors
/// See [`BodyError`]. What is left of a refused body has been read off as far as that is cheap.
pub(crate) async fn receive(
    mut incoming: Incoming,
    headers: &HeaderMap,
    encoding: Encoding,
    limits: BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Received, BodyError> {
    let packed = match read(&mut incoming, headers, limits, budget).await {
        Ok(packed) => packed,
        Err(error) => {
            if matches!(error, BodyError::TooLarge { .. } | BodyError::NoMemory) {
                drain(incoming, headers).await;
            }
            return Err(error);
        }
    };
    if encoding == Encoding::Identity {
        return Ok(packed);
    }
    if packed.bytes.len() <= DECODE_INLINE_BYTES {
        return decode::decode(encoding, packed, limits.bytes, budget);
    }
    let budget = Arc::clone(budget);
    tokio::task::spawn_blocking(move || decode::decode(encoding, packed, limits.bytes, &budget))
        .await
        .unwrap_or(Err(BodyError::Malformed(encoding)))
}

/// Reads off a body nobody wants, as far as that is cheap: a sender that is still writing when the connection closes
/// would never see the answer. One that asked before it sends (`Expect: 100-continue`) has its answer, and sends nothing.
pub(crate) async fn discard(request: Request<Incoming>) {
    let (parts, incoming) = request.into_parts();
    drain(incoming, &parts.headers).await;
}

async fn drain(mut incoming: Incoming, headers: &HeaderMap) {
    if headers.contains_key(EXPECT) || incoming.size_hint().exact() == Some(0) {
        return;
    }
    let mut left = DRAIN_BYTES;
    let _ = tokio::time::timeout(DRAIN_TIME, async {
        while let Some(Ok(frame)) = incoming.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    })
    .await;
}

async fn read(
    incoming: &mut Incoming,
    headers: &HeaderMap,
    limits: BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Received, BodyError> {
    let too_large = BodyError::TooLarge { limit: limits.bytes };
    let declared = declared_length(headers).unwrap_or(0);
    if declared > limits.bytes {
        return Err(too_large);
    }
    let deadline = Instant::now() + limits.time;
    let mut charge = budget.charge(declared)?;
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    loop {
        let frame = match tokio::time::timeout_at(deadline, incoming.frame()).await {
            Err(_) => return Err(BodyError::Timeout),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyError::Disconnected),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + joined.len() + data.len();
        if length > limits.bytes {
            return Err(too_large);
        }
        charge.cover(length)?;
        if first.is_empty() && joined.is_empty() {
            // Most bodies arrive in one piece and are never copied.
            first = data;
        } else {
            if joined.is_empty() {
                joined.reserve_exact(declared.max(length));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    let bytes = if joined.is_empty() {
        first
    } else {
        Bytes::from(joined)
    };
    Ok(Received {
        bytes,
        _charge: charge,
    })
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
