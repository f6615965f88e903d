//! `RetryInfo` from the trailer `grpc-status-details-bin`.
//!
//! The trailer is a `google.rpc.Status` in base64. It is read as a stream of bytes, decoded on the way, so that no
//! length of trailer needs a buffer. Anything that is no base64 or no protobuf makes the whole trailer unreadable; a
//! message of another type inside `Any` is skipped whatever it holds.

use crate::limits::MAX_STATUS_DETAILS_BYTES;
use crate::time::Duration;
use crate::wire::base64::{self, Octets};

/// Tags have 32 bits: 29 of field number, 3 of wire type.
const MAX_TAG: u64 = u32::MAX as u64;

/// Type name of `RetryInfo`; `Any` puts a host and a slash in front.
const RETRY_INFO: &[u8] = b"google.rpc.RetryInfo";

/// The delay of the first `RetryInfo` in `trailer`.
///
/// `None` when there is none or the trailer is unreadable or longer than `limits::MAX_STATUS_DETAILS_BYTES`; zero when
/// it names no delay, or one that is negative or no valid `Duration`. Rounded up to microseconds.
pub(super) fn retry_info(trailer: &[u8]) -> Option<Duration> {
    // Several values of one trailer may arrive joined with commas (gRPC over HTTP/2, "Custom-Metadata").
    let first = trailer
        .split(|byte| *byte == b',')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if first.len() > MAX_STATUS_DETAILS_BYTES {
        return None;
    }
    let (octets, len) = base64::octets_of_any_padding(first)?;
    let mut stream = Stream { octets };
    let mut left = len as u64;
    let mut found = None;
    while let Some((number, content)) = stream.field(&mut left).ok()? {
        match (number, content) {
            (3, Content::Bytes(len)) => {
                let any = stream.nested(len, Stream::any).ok()?;
                found = found.or(any.flatten());
            }
            (_, content) => stream.skip_content(content).ok()?,
        }
    }
    found
}

/// The bytes are no base64 or no protobuf.
struct Unreadable;

/// What a tag announced.
enum Content {
    /// A varint, already read.
    Number(u64),
    /// Four or eight bytes that no field of interest has, already skipped.
    Fixed,
    /// So many bytes, which stand next in the stream.
    Bytes(u64),
}

/// The fields of a `google.protobuf.Duration`; a negative number is sign-extended, so it is above every valid one.
#[derive(Default)]
struct Delay {
    seconds: u64,
    nanos: u64,
}

impl Delay {
    fn valid(&self) -> Option<Duration> {
        let valid = self.seconds <= i64::MAX as u64 && self.nanos <= 999_999_999;
        valid.then(|| {
            Duration::from_secs(self.seconds)
                .saturating_add(Duration::from_micros(self.nanos.div_ceil(1_000)))
        })
    }
}

/// Protobuf out of base64, a byte at a time. Callers keep how many bytes are left of the message they read.
struct Stream<'a> {
    octets: Octets<'a>,
}

impl Stream<'_> {
    fn byte(&mut self, left: &mut u64) -> Result<u8, Unreadable> {
        *left = left.checked_sub(1).ok_or(Unreadable)?;
        self.octets.next().ok_or(Unreadable)
    }

    fn skip(&mut self, mut left: u64) -> Result<(), Unreadable> {
        while left > 0 {
            self.byte(&mut left)?;
        }
        Ok(())
    }

    fn skip_content(&mut self, content: Content) -> Result<(), Unreadable> {
        match content {
            Content::Number(_) | Content::Fixed => Ok(()),
            Content::Bytes(len) => self.skip(len),
        }
    }

    fn varint(&mut self, left: &mut u64) -> Result<u64, Unreadable> {
        let mut value = 0;
        for index in 0..10 {
            let byte = self.byte(left)?;
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }

    /// The next field of a message that has `left` bytes; its bytes, if any, are taken off `left` at once.
    fn field(&mut self, left: &mut u64) -> Result<Option<(u64, Content)>, Unreadable> {
        if *left == 0 {
            return Ok(None);
        }
        let tag = self.varint(left)?;
        let number = tag >> 3;
        if number == 0 || tag > MAX_TAG {
            return Err(Unreadable);
        }
        let content = match tag & 7 {
            0 => Content::Number(self.varint(left)?),
            wire_type @ (1 | 5) => {
                for _ in 0..(if wire_type == 1 { 8 } else { 4 }) {
                    self.byte(left)?;
                }
                Content::Fixed
            }
            2 => {
                let len = self.varint(left)?;
                *left = left.checked_sub(len).ok_or(Unreadable)?;
                Content::Bytes(len)
            }
            _ => return Err(Unreadable),
        };
        Ok(Some((number, content)))
    }

    /// Reads a nested message of `len` bytes and skips what `read` left of it; `None` when `read` failed.
    fn nested<T>(
        &mut self,
        len: u64,
        read: impl FnOnce(&mut Self, &mut u64) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        let mut left = len;
        let value = read(self, &mut left).ok();
        self.skip(left)?;
        Ok(value)
    }

    /// `google.protobuf.Any`: the delay when it is a `RetryInfo`.
    fn any(&mut self, left: &mut u64) -> Result<Option<Duration>, Unreadable> {
        let mut is_retry_info = false;
        // `value` is empty, and so may be absent, in a `RetryInfo` that names no delay.
        let mut delay = Some(Duration::ZERO);
        while let Some((number, content)) = self.field(left)? {
            match (number, content) {
                (1, Content::Bytes(len)) => {
                    is_retry_info = self.nested(len, Self::type_url)?.unwrap_or(false);
                }
                (2, Content::Bytes(len)) => delay = self.nested(len, Self::retry_info)?,
                (_, content) => self.skip_content(content)?,
            }
        }
        Ok(if is_retry_info { delay } else { None })
    }

    /// True for a type URL that ends in the name of `RetryInfo`.
    fn type_url(&mut self, left: &mut u64) -> Result<bool, Unreadable> {
        let mut expected: Option<&[u8]> = None;
        while *left > 0 {
            let byte = self.byte(left)?;
            expected = match expected {
                _ if byte == b'/' => Some(RETRY_INFO),
                Some([next, rest @ ..]) if *next == byte => Some(rest),
                _ => None,
            };
        }
        Ok(expected == Some(b""))
    }

    /// `google.rpc.RetryInfo`.
    fn retry_info(&mut self, left: &mut u64) -> Result<Duration, Unreadable> {
        // A `retry_delay` that is there more than once is merged, as protobuf asks.
        let mut delay = Delay::default();
        while let Some((number, content)) = self.field(left)? {
            match (number, content) {
                (1, Content::Bytes(len)) => {
                    let read = |stream: &mut Self, left: &mut u64| stream.delay(left, &mut delay);
                    if self.nested(len, read)?.is_none() {
                        delay = Delay::default();
                    }
                }
                (_, content) => self.skip_content(content)?,
            }
        }
        Ok(delay.valid().unwrap_or(Duration::ZERO))
    }

    /// `google.protobuf.Duration`.
    fn delay(&mut self, left: &mut u64, delay: &mut Delay) -> Result<(), Unreadable> {
        while let Some((number, content)) = self.field(left)? {
            match (number, content) {
                (1, Content::Number(value)) => delay.seconds = value,
                (2, Content::Number(value)) => delay.nanos = value,
                (_, content) => self.skip_content(content)?,
            }
        }
        Ok(())
    }
}
