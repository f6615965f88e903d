//! Compression of request bodies.
//!
//! The engine writes a body piece by piece; it is gathered in one buffer and compressed in one go, because only then
//! its size says whether compression pays. The state of a compressor, some 300 KiB, is made at first use and kept.
//! `flate2`'s encoder of gzip cannot be used again, so its frame (RFC 1952) is written here, around a stream that can. Compression
//! happens on the delivery thread and never on a recording one.

use std::io;

use flate2::{Compress, Crc, FlushCompress, Status};

/// How request bodies are compressed.
///
/// Exhaustive: these are the codings that Sentry's ingestion and OTLP receivers take in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Compression {
    /// Sent as they are.
    None,
    /// `gzip`, which every OTLP receiver must accept and Sentry accepts.
    #[default]
    Gzip,
    /// `zstd`: Sentry accepts it, and so do newer collectors; smaller and faster than gzip.
    Zstd,
}

impl Compression {
    /// Value of `Content-Encoding`; `None` when the body is sent as it is.
    #[must_use]
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Bodies below this many bytes are sent as they are: they fit one packet anyway, and the frame of the compressed
/// form eats most of the gain.
pub(crate) const MIN_COMPRESSED_BYTES: usize = 1024;

/// Level 1 takes a fifth of the work of level 6, zlib's own balance, for 6 % more bytes on a full request
/// (`tests/bench/FINDINGS.md`); the program that is watched pays for the work.
const GZIP_LEVEL: u32 = 1;

/// Level 3 is zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// What stands before the compressed bytes: the magic number, deflate, no flags, no time, the fastest level, unknown
/// system (RFC 1952, section 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Compresses one body after the other; the states are made at first use.
#[derive(Default)]
pub(crate) struct Compressor {
    gzip: Option<Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    /// The bytes to send and their `Content-Encoding`.
    ///
    /// Falls back to the body as it is where compression does not make it smaller.
    ///
    /// # Errors
    /// When the compressor cannot get its memory.
    pub(crate) fn compress(
        &mut self,
        compression: Compression,
        body: Vec<u8>,
    ) -> io::Result<(Vec<u8>, Option<&'static str>)> {
        if body.len() < MIN_COMPRESSED_BYTES {
            return Ok((body, None));
        }
        let compressed = match compression {
            Compression::None => return Ok((body, None)),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let deflate = self.gzip.get_or_insert_with(|| Compress::new(level, false));
                gzip(deflate, &body)?
            }
            Compression::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
                };
                zstd.compress(&body)?
            }
        };
        if compressed.len() < body.len() {
            Ok((compressed, compression.content_encoding()))
        } else {
            Ok((body, None))
        }
    }
}

fn gzip(deflate: &mut Compress, body: &[u8]) -> io::Result<Vec<u8>> {
    deflate.reset();
    let mut out = Vec::with_capacity(body.len() / 4);
    out.extend_from_slice(&GZIP_HEADER);
    loop {
        // What it took is at most what there is.
        let rest = body.get(deflate.total_in() as usize..).unwrap_or_default();
        match deflate.compress_vec(rest, &mut out, FlushCompress::Finish)? {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError => out.reserve(out.len().max(1024)),
        }
    }
    let mut crc = Crc::new();
    crc.update(body);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn text() -> Vec<u8> {
        b"{\"message\":\"the same again\"}\n".repeat(100)
    }

    #[test]
    fn gzip_gives_back_what_went_in_each_time() {
        let mut rng = surgetank_core::rng::Rng::new(2);
        // The second needs more room than is there at first, and more than one block.
        let long: Vec<u8> = (0..400_000).map(|_| b'a' + (rng.next_u64() % 20) as u8).collect();
        let mut compressor = Compressor::default();
        for body in [text(), long, text()] {
            let (bytes, encoding) = compressor.compress(Compression::Gzip, body.clone()).unwrap();
            assert_eq!(encoding, Some("gzip"));
            let mut reader = flate2::bufread::GzDecoder::new(bytes.as_slice());
            let mut back = Vec::new();
            // Checks the sum and the length, too.
            reader.read_to_end(&mut back).unwrap();
            assert!(back == body);
            assert!(reader.into_inner().is_empty());
        }
        let (bytes, _) = compressor.compress(Compression::Gzip, text()).unwrap();
        assert!(bytes.len() < text().len() / 4);
    }

    #[test]
    fn zstd_gives_back_what_went_in_each_time() {
        let mut compressor = Compressor::default();
        for _ in 0..3 {
            let (bytes, encoding) = compressor.compress(Compression::Zstd, text()).unwrap();
            assert_eq!(encoding, Some("zstd"));
            assert_eq!(zstd::bulk::decompress(&bytes, 1 << 20).unwrap(), text());
        }
    }

    #[test]
    fn small_and_incompressible_bodies_are_sent_as_they_are() {
        let mut compressor = Compressor::default();
        let small = vec![b'a'; MIN_COMPRESSED_BYTES - 1];
        assert_eq!(
            compressor.compress(Compression::Gzip, small.clone()).unwrap(),
            (small, None)
        );
        let mut rng = surgetank_core::rng::Rng::new(1);
        let noise: Vec<u8> = (0..4096).map(|_| rng.next_u64() as u8).collect();
        assert_eq!(
            compressor.compress(Compression::Zstd, noise.clone()).unwrap(),
            (noise, None)
        );
    }
}
