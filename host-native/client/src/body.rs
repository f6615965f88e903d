//! Compression of request bodies.
//!
//! The engine writes a body piece by piece. A short one is gathered, because only then its size says whether compression pays;
//! of a long one gzip is given a buffer full at a time, so that it never lies in memory as it is. The state of a compressor,
//! some 300 KiB, is made at first use and kept. `flate2`'s encoder of gzip cannot be used again, so its frame (RFC 1952) is
//! written here, around a stream that can. Compression happens on the delivery thread and never on a recording one.

use std::io;

use flate2::{Compress, Crc, FlushCompress, Status};
use surgetank_core::wire::WriteError;

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

/// What gzip is given at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// Compresses one body after the other; the states are made at first use.
#[derive(Default)]
pub(crate) struct Compressor {
    gzip: Option<Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    /// The bytes to send of the body that `write` writes, likely so many, and their `Content-Encoding`.
    ///
    /// Falls back to the body as it is where compression does not make it smaller; `write` is then called twice for a long
    /// one, and has to write the same.
    ///
    /// # Errors
    /// What `write` says; of the sink only when the compressor cannot get its memory.
    pub(crate) fn body(
        &mut self,
        compression: Compression,
        likely: usize,
        write: impl Fn(&mut Body<'_>) -> Result<(), WriteError<embedded_io::ErrorKind>>,
    ) -> Result<(Vec<u8>, Option<&'static str>), WriteError<embedded_io::ErrorKind>> {
        let gzip = match compression {
            Compression::Gzip => Some(&mut self.gzip),
            Compression::None | Compression::Zstd => None,
        };
        let mut body = Body::new(likely, gzip);
        write(&mut body)?;
        let failed = |_: io::Error| WriteError::Sink(embedded_io::ErrorKind::OutOfMemory);
        let Body {
            piece, bytes, open, ..
        } = body;
        let Some(mut member) = open else {
            return self.compress(compression, piece).map_err(failed);
        };
        member.add(&piece, FlushCompress::Finish).map_err(failed)?;
        let compressed = member.end();
        if compressed.len() < bytes {
            return Ok((compressed, compression.content_encoding()));
        }
        drop((piece, compressed));
        let mut body = Body::new(bytes, None);
        write(&mut body)?;
        Ok((body.piece, None))
    }

    /// The same of a body in one piece.
    fn compress(
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
                let mut member = Member::begin(deflate(&mut self.gzip), body.len());
                member.add(&body, FlushCompress::Finish)?;
                member.end()
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

fn deflate(state: &mut Option<Compress>) -> &mut Compress {
    state.get_or_insert_with(|| Compress::new(flate2::Compression::new(GZIP_LEVEL), false))
}

/// A body that is being written.
pub(crate) struct Body<'c> {
    /// What was written last, and was not given to gzip; all of it when there is none.
    piece: Vec<u8>,
    /// Written so far.
    bytes: usize,
    likely: usize,
    /// Of a body that may be given to gzip in pieces.
    gzip: Option<&'c mut Option<Compress>>,
    /// Where earlier pieces went.
    open: Option<Member<'c>>,
}

impl<'c> Body<'c> {
    fn new(likely: usize, gzip: Option<&'c mut Option<Compress>>) -> Self {
        let room = if gzip.is_some() {
            likely.min(PIECE_BYTES)
        } else {
            likely
        };
        Self {
            piece: Vec::with_capacity(room),
            bytes: 0,
            likely,
            gzip,
            open: None,
        }
    }

    /// Gives gzip what was gathered, if it is for gzip.
    fn give(&mut self) -> io::Result<()> {
        if let Some(state) = self.gzip.take() {
            self.open = Some(Member::begin(deflate(state), self.likely));
        }
        if let Some(member) = &mut self.open {
            member.add(&self.piece, FlushCompress::None)?;
            self.piece.clear();
        }
        Ok(())
    }
}

impl embedded_io::ErrorType for Body<'_> {
    type Error = embedded_io::ErrorKind;
}

impl embedded_io::Write for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        if self.piece.len() + bytes.len() > PIECE_BYTES {
            self.give().map_err(|_| embedded_io::ErrorKind::OutOfMemory)?;
        }
        self.piece.extend_from_slice(bytes);
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A gzip member that is being written (RFC 1952, section 2.3).
struct Member<'c> {
    deflate: &'c mut Compress,
    crc: Crc,
    out: Vec<u8>,
}

impl<'c> Member<'c> {
    /// Of a body of likely so many bytes.
    fn begin(deflate: &'c mut Compress, likely: usize) -> Self {
        deflate.reset();
        let mut out = Vec::with_capacity(likely / 4);
        out.extend_from_slice(&GZIP_HEADER);
        Self {
            deflate,
            crc: Crc::new(),
            out,
        }
    }

    fn add(&mut self, bytes: &[u8], flush: FlushCompress) -> io::Result<()> {
        self.crc.update(bytes);
        let before = self.deflate.total_in();
        let is_last = matches!(flush, FlushCompress::Finish);
        loop {
            // What it took is at most what there is.
            let taken = (self.deflate.total_in() - before) as usize;
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() && !is_last {
                return Ok(());
            }
            if self.out.len() == self.out.capacity() {
                self.out.reserve(self.out.len().max(1024));
            }
            if let Status::StreamEnd = self.deflate.compress_vec(rest, &mut self.out, flush)? {
                return Ok(());
            }
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&self.crc.sum().to_le_bytes());
        self.out.extend_from_slice(&self.crc.amount().to_le_bytes());
        self.out
    }
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

    /// Written as the engine writes.
    fn in_pieces(
        compressor: &mut Compressor,
        compression: Compression,
        body: &[u8],
    ) -> (Vec<u8>, Option<&'static str>) {
        let write = |out: &mut Body<'_>| {
            body.chunks(250)
                .try_for_each(|piece| surgetank_core::wire::put(out, piece))
        };
        compressor.body(compression, body.len(), write).unwrap()
    }

    #[test]
    fn a_body_in_pieces_is_what_it_is_in_one() {
        let mut compressor = Compressor::default();
        let mut rng = surgetank_core::rng::Rng::new(3);
        for length in [0, 1023, 1024, PIECE_BYTES, PIECE_BYTES + 1, 100_000] {
            let text: Vec<u8> = text().into_iter().cycle().take(length).collect();
            let (bytes, encoding) = in_pieces(&mut compressor, Compression::Gzip, &text);
            if length < MIN_COMPRESSED_BYTES {
                assert_eq!((bytes, encoding), (text, None));
                continue;
            }
            assert_eq!(encoding, Some("gzip"));
            assert!(bytes.len() < length / 4, "{length}: {}", bytes.len());
            let mut back = Vec::new();
            let mut reader = flate2::bufread::GzDecoder::new(bytes.as_slice());
            reader.read_to_end(&mut back).unwrap();
            assert!(back == text && reader.into_inner().is_empty());
            let noise: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let sent = in_pieces(&mut compressor, compression, &noise);
                assert!(sent == (noise.clone(), None), "{compression:?}");
            }
            let (bytes, encoding) = in_pieces(&mut compressor, Compression::Zstd, &text);
            assert_eq!(encoding, Some("zstd"));
            assert_eq!(zstd::bulk::decompress(&bytes, length).unwrap(), text);
        }
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
