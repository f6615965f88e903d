//! Compression of request bodies.
//!
//! The engine writes a body piece by piece; it is gathered in one buffer and compressed in one go, because only then
//! its size says whether compression pays. The state of zstd is made once and kept; that of gzip is made for each body:
//! `flate2`'s encoder cannot be used again. Compression happens on the delivery thread and never on a recording one.

use std::io::{self, Write as _};

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

/// Compresses one body after the other; zstd's state is made at first use.
#[derive(Default)]
pub(crate) struct Compressor {
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
            Compression::Gzip => gzip(&body)?,
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

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(body.len() / 4);
    let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn text() -> Vec<u8> {
        b"{\"message\":\"the same again\"}\n".repeat(100)
    }

    #[test]
    fn gzip_gives_back_what_went_in() {
        let (bytes, encoding) = Compressor::default().compress(Compression::Gzip, text()).unwrap();
        assert_eq!(encoding, Some("gzip"));
        assert!(bytes.len() < text().len() / 4);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, text());
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
