//! Frames records into one OTLP export request, without holding any of it.
//!
//! A request nests four messages: request, `Resource*`, `Scope*`, record. The field numbers are the same for traces,
//! logs and metrics, so one frame serves all three:
//!
//! ```text
//! Export*ServiceRequest { 1: Resource* { 1: Resource, 2: Scope* { 1: InstrumentationScope, 2: record* }, 3: schema } }
//! ```
//!
//! Resource and scope stand once, in front of their records ([`Scopes`] where one resource has several). Each prefix is
//! exact: the lengths of the records are known before the first byte is written, because they wait in the queue already
//! encoded. So framing goes over the lengths once ([`Records`]), then over the bytes once, straight into the connection
//! or the compressor:
//!
//! ```
//! use surgetank_core::wire::otlp::framing::{Frame, Records};
//!
//! let spans: [&[u8]; 2] = [b"\x2a\x01a", b"\x2a\x01b"];
//! let mut records = Records::default();
//! for span in spans {
//!     records.add(span.len());
//! }
//! let request = Frame { resource: b"", scope: b"\x0a\x01s", ..Frame::default() }.request(records)?;
//!
//! let mut body = [0; 64];
//! let mut out: &mut [u8] = &mut body;
//! request.write_opening(&mut out).unwrap();
//! for span in spans {
//!     request.write_record_opening(&mut out, span.len()).unwrap();
//!     embedded_io::Write::write_all(&mut out, span).unwrap(); // in as many pieces as it is stored in
//! }
//! assert_eq!(64 - out.len(), request.content_length());
//! # Ok::<(), surgetank_core::wire::otlp::framing::RequestTooLarge>(())
//! ```
//!
//! Requests that are already encoded need no frame: repeated fields concatenate, so two requests of one signal, one
//! after the other, are one valid request (protobuf encoding, "Last One Wins"). [`Merged`] adds up their lengths.
//!
//! Follows the OTLP specification 1.11, "Size limits"; `opentelemetry/proto/collector/*/v1/*_service.proto`.

use super::protobuf::{MAX_VARINT_BYTES, WireType, delimited_len, tag, varint_len};
use crate::limits::MAX_OTLP_REQUEST_BYTES;
use crate::wire::output::{WriteError, put};
use core::error::Error;
use core::fmt;
use embedded_io::Write;

/// Tag bytes of the fields that a frame writes; all of them are below field 16.
const FIRST: u8 = tag(1, WireType::Bytes) as u8;
const SECOND: u8 = tag(2, WireType::Bytes) as u8;
const SCHEMA_URL: u8 = tag(3, WireType::Bytes) as u8;

/// The request would be larger than `limits::MAX_OTLP_REQUEST_BYTES` (64 MiB), which a client must not send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestTooLarge {
    /// Bytes it would have, uncompressed; `usize::MAX` when the sum itself overflows.
    pub bytes: usize,
}

impl fmt::Display for RequestTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the OTLP request has {} bytes, the limit is {MAX_OTLP_REQUEST_BYTES}; send fewer records at once",
            self.bytes
        )
    }
}

impl Error for RequestTooLarge {}

/// What stands around the records of one request.
#[derive(Clone, Copy, Default)]
pub struct Frame<'a> {
    /// An encoded `Resource` message; left out when empty.
    pub resource: &'a [u8],
    /// An encoded `InstrumentationScope` message; left out when empty.
    pub scope: &'a [u8],
    /// Schema of the resource's attributes; left out when empty.
    pub resource_schema_url: &'a str,
    /// Schema of the records' attributes; left out when empty.
    pub scope_schema_url: &'a str,
}

/// The lengths of the records of one request, added up. A few instructions a record.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Records {
    bytes: usize,
}

impl Records {
    /// Counts in one record of `len` bytes: an encoded `Span`, `LogRecord` or `Metric`.
    pub const fn add(&mut self, len: usize) {
        self.bytes = self.bytes.saturating_add(Self::cost(len));
    }

    /// Bytes that a record of `len` bytes takes in a request.
    #[must_use]
    pub const fn cost(len: usize) -> usize {
        delimited_len(len).saturating_add(1)
    }

    /// Bytes of all records with their openings.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The lengths of the scopes of one resource with their records, added up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scopes {
    bytes: usize,
}

impl Scopes {
    /// Counts in the scope of `frame` with these records.
    pub const fn add(&mut self, frame: &Frame<'_>, records: Records) {
        let scope = delimited_len(frame.scope_message_len(records)).saturating_add(1);
        self.bytes = self.bytes.saturating_add(scope);
    }
}

impl<'a> Frame<'a> {
    /// Bytes that a request has beside its records, at most: what to leave room for while choosing records.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        // Two prefixes (resource, scope) depend on the records; a size within the limit never takes the full varint.
        self.resource_fields_len()
            .saturating_add(self.scope_fields_len())
            .saturating_add(2 * (1 + MAX_VARINT_BYTES))
    }

    /// The request that holds `records` in this frame.
    ///
    /// # Errors
    /// [`RequestTooLarge`] above `limits::MAX_OTLP_REQUEST_BYTES`.
    pub const fn request(&self, records: Records) -> Result<Request<'a>, RequestTooLarge> {
        let mut scopes = Scopes { bytes: 0 };
        scopes.add(self, records);
        match self.resource(scopes) {
            Ok(resource) => Ok(Request { resource, records }),
            Err(error) => Err(error),
        }
    }

    /// A request, or a part of one, that holds `scopes` under the resource of this frame. Write each of them by
    /// [`Frame::write_scope_opening`] and its records.
    ///
    /// # Errors
    /// [`RequestTooLarge`] above `limits::MAX_OTLP_REQUEST_BYTES`.
    pub const fn resource(&self, scopes: Scopes) -> Result<OneResource<'a>, RequestTooLarge> {
        let content = self.resource_fields_len().saturating_add(scopes.bytes);
        let bytes = delimited_len(content).saturating_add(1);
        if bytes > MAX_OTLP_REQUEST_BYTES {
            return Err(RequestTooLarge { bytes });
        }
        Ok(OneResource {
            frame: *self,
            content,
            bytes,
        })
    }

    /// True when `other` is a scope of the same resource.
    #[must_use]
    pub fn has_resource_of(&self, other: &Frame<'_>) -> bool {
        self.resource == other.resource && self.resource_schema_url == other.resource_schema_url
    }

    /// Writes what stands in front of the first of these records, under an opened resource.
    ///
    /// # Errors
    /// Those of `out`; [`WriteError::Invalid`] never.
    pub fn write_scope_opening<W: Write + ?Sized>(
        &self,
        out: &mut W,
        records: Records,
    ) -> Result<(), WriteError<W::Error>> {
        write_prefix(out, SECOND, self.scope_message_len(records))?;
        write_optional(out, FIRST, self.scope)?;
        write_optional(out, SCHEMA_URL, self.scope_schema_url.as_bytes())
    }

    const fn scope_message_len(&self, records: Records) -> usize {
        self.scope_fields_len().saturating_add(records.bytes)
    }

    const fn resource_fields_len(&self) -> usize {
        optional_len(self.resource.len()).saturating_add(optional_len(self.resource_schema_url.len()))
    }

    const fn scope_fields_len(&self) -> usize {
        optional_len(self.scope.len()).saturating_add(optional_len(self.scope_schema_url.len()))
    }
}

impl fmt::Debug for Frame<'_> {
    /// Lengths only: resources may hold what must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("resource_bytes", &self.resource.len())
            .field("scope_bytes", &self.scope.len())
            .finish_non_exhaustive()
    }
}

/// One resource with all its scopes, whose every length is known.
#[derive(Clone, Copy, Debug)]
pub struct OneResource<'a> {
    frame: Frame<'a>,
    content: usize,
    bytes: usize,
}

impl OneResource<'_> {
    /// Bytes of it with everything in it, uncompressed: exactly what is written.
    #[must_use]
    pub const fn content_length(&self) -> usize {
        self.bytes
    }

    /// Writes everything in front of the first scope; nothing stands after the last one.
    ///
    /// # Errors
    /// Those of `out`; [`WriteError::Invalid`] never.
    pub fn write_opening<W: Write + ?Sized>(&self, out: &mut W) -> Result<(), WriteError<W::Error>> {
        write_prefix(out, FIRST, self.content)?;
        write_optional(out, FIRST, self.frame.resource)?;
        write_optional(out, SCHEMA_URL, self.frame.resource_schema_url.as_bytes())
    }
}

/// A request of one scope whose every length is known.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    resource: OneResource<'a>,
    records: Records,
}

impl Request<'_> {
    /// Bytes of the whole body, uncompressed: exactly what is written.
    #[must_use]
    pub const fn content_length(&self) -> usize {
        self.resource.content_length()
    }

    /// Writes everything in front of the first record; nothing stands after the last one.
    ///
    /// # Errors
    /// Those of `out`; [`WriteError::Invalid`] never.
    pub fn write_opening<W: Write + ?Sized>(&self, out: &mut W) -> Result<(), WriteError<W::Error>> {
        self.resource.write_opening(out)?;
        self.resource.frame.write_scope_opening(out, self.records)
    }

    /// Writes what stands in front of one record of `len` bytes. The record's bytes come next.
    ///
    /// # Errors
    /// Those of `out`; [`WriteError::Invalid`] never.
    pub fn write_record_opening<W: Write + ?Sized>(
        &self,
        out: &mut W,
        len: usize,
    ) -> Result<(), WriteError<W::Error>> {
        write_record_opening(out, len)
    }
}

/// Writes what stands in front of one record of `len` bytes, under an opened scope. The record's bytes come next.
///
/// # Errors
/// Those of `out`; [`WriteError::Invalid`] never.
pub fn write_record_opening<W: Write + ?Sized>(out: &mut W, len: usize) -> Result<(), WriteError<W::Error>> {
    write_prefix(out, SECOND, len)
}

/// The length of already encoded requests of one signal, written one after another.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Merged {
    bytes: usize,
}

impl Merged {
    /// Adds a request of `len` bytes.
    ///
    /// # Errors
    /// [`RequestTooLarge`] when all of them together are above `limits::MAX_OTLP_REQUEST_BYTES`; the sum then stays as
    /// it was.
    pub const fn add(&mut self, len: usize) -> Result<(), RequestTooLarge> {
        let bytes = self.bytes.saturating_add(len);
        if bytes > MAX_OTLP_REQUEST_BYTES {
            return Err(RequestTooLarge { bytes });
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Bytes of the merged body.
    #[must_use]
    pub const fn content_length(&self) -> usize {
        self.bytes
    }
}

/// Bytes of a length-delimited field that is left out when it is empty.
const fn optional_len(len: usize) -> usize {
    if len == 0 {
        0
    } else {
        delimited_len(len).saturating_add(1)
    }
}

fn write_optional<W: Write + ?Sized>(out: &mut W, tag: u8, bytes: &[u8]) -> Result<(), WriteError<W::Error>> {
    if bytes.is_empty() {
        return Ok(());
    }
    write_prefix(out, tag, bytes.len())?;
    put(out, bytes)
}

/// Writes `tag` and `len` in one piece.
fn write_prefix<W: Write + ?Sized>(out: &mut W, tag: u8, len: usize) -> Result<(), WriteError<W::Error>> {
    let mut prefix = [tag; 1 + MAX_VARINT_BYTES];
    let mut value = len as u64;
    for byte in prefix.iter_mut().skip(1) {
        *byte = value as u8 & 0x7F | u8::from(value >= 0x80) << 7;
        value >>= 7;
    }
    let used = varint_len(len as u64).wrapping_add(1);
    put(out, prefix.get(..used).unwrap_or(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn write(frame: Frame<'_>, records: &[&[u8]]) -> Vec<u8> {
        let mut lengths = Records::default();
        for record in records {
            lengths.add(record.len());
        }
        let request = frame.request(lengths).unwrap();
        let mut body = std::vec![0; request.content_length()];
        let mut out = body.as_mut_slice();
        request.write_opening(&mut out).unwrap();
        for record in records {
            request.write_record_opening(&mut out, record.len()).unwrap();
            for piece in record.chunks(7) {
                out.write_all(piece).unwrap();
            }
        }
        assert!(out.is_empty(), "content_length is exact");
        body
    }

    #[test]
    fn every_prefix_is_exact() {
        let frame = Frame {
            resource: b"RES",
            scope: b"SC",
            ..Frame::default()
        };
        assert_eq!(
            write(frame, &[b"one", b"", b"three"]),
            b"\x0a\x19\x0a\x03RES\x12\x12\x0a\x02SC\x12\x03one\x12\x00\x12\x05three"
        );
    }

    #[test]
    fn empty_resource_scope_and_schemas_are_left_out() {
        assert_eq!(write(Frame::default(), &[b"x"]), b"\x0a\x05\x12\x03\x12\x01x");
    }

    #[test]
    fn schema_urls_stand_in_their_own_messages() {
        let frame = Frame {
            resource_schema_url: "r",
            scope_schema_url: "s",
            ..Frame::default()
        };
        assert_eq!(
            write(frame, &[b"x"]),
            b"\x0a\x0b\x1a\x01r\x12\x06\x1a\x01s\x12\x01x"
        );
    }

    #[test]
    fn prefixes_grow_with_their_content() {
        for len in [0, 1, 120, 127, 128, 129, 16_383, 16_384, 70_000, 3_000_000] {
            let record = std::vec![b'x'; len];
            let body = write(Frame::default(), &[&record]);
            assert!(body.ends_with(&record));
            assert!(body.len() <= len + Frame::default().overhead() + (Records::cost(len) - len));
        }
    }

    #[test]
    fn a_request_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let mut records = Records::default();
        let mut len = MAX_OTLP_REQUEST_BYTES - 15;
        records.add(len);
        while Frame::default().request(records).unwrap().content_length() < MAX_OTLP_REQUEST_BYTES {
            len += 1;
            records = Records::default();
            records.add(len);
        }
        records = Records::default();
        records.add(len + 1);
        assert_eq!(
            Frame::default().request(records).unwrap_err(),
            RequestTooLarge {
                bytes: MAX_OTLP_REQUEST_BYTES + 1
            }
        );
    }

    #[test]
    fn lengths_that_overflow_are_too_large_not_small() {
        let mut records = Records::default();
        records.add(usize::MAX - 3);
        records.add(usize::MAX);
        assert!(Frame::default().request(records).is_err());
        let mut merged = Merged::default();
        merged.add(5).unwrap();
        assert!(merged.add(usize::MAX).is_err());
        assert_eq!(merged.content_length(), 5);
    }

    #[test]
    fn a_frame_does_not_show_its_content() {
        let frame = Frame {
            resource: b"secret",
            ..Frame::default()
        };
        assert_eq!(
            std::format!("{frame:?}"),
            "Frame { resource_bytes: 6, scope_bytes: 0, .. }"
        );
    }
}
