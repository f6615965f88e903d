//! Unpacks bodies: gzip, zlib, brotli and Zstandard, every one bounded while it runs.

use super::{BodyError, Budget, Received};
use brotli_decompressor::BrotliDecoderParameter;
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;
use std::sync::Arc;

/// The output grows by at least this much at a time.
const GROW_LEAST: usize = 16 * 1024;
/// And by at most this much, so that the limit is met closely.
const GROW_MOST: usize = 256 * 1024;
/// Largest Zstandard window, as a power of two: 8 MiB, the most a content coding may ask for (RFC 9659, section 3).
const ZSTD_WINDOW_LOG: u32 = 23;
const BROTLI_INPUT_BYTES: usize = 8 * 1024;

/// Content codings that are understood. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    /// `deflate`, which is zlib (RFC 9110, section 8.4.1.2).
    Zlib,
    Brotli,
    Zstd,
}

impl Encoding {
    /// The coding that a `Content-Encoding` value names; an empty value is identity.
    pub(crate) fn of(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        Some(match () {
            () if value.is_empty() || is("identity") => Self::Identity,
            () if is("gzip") || is("x-gzip") => Self::Gzip,
            () if is("deflate") => Self::Zlib,
            () if is("br") => Self::Brotli,
            () if is("zstd") => Self::Zstd,
            () => return None,
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zlib => "deflate (zlib)",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Unpacks `packed` to at most `limit` bytes.
pub(super) fn decode(
    encoding: Encoding,
    packed: Received,
    limit: usize,
    budget: &Arc<Budget>,
) -> Result<Received, BodyError> {
    let malformed = |_| BodyError::Malformed(encoding);
    let input: &[u8] = &packed.bytes;
    let mut output = Output {
        bytes: Vec::new(),
        charge: budget.charge(0)?,
        limit,
    };
    match encoding {
        Encoding::Identity => return Ok(packed),
        Encoding::Gzip => output.read_from(flate2::bufread::MultiGzDecoder::new(input), encoding)?,
        Encoding::Zlib => inflate(input, &mut output)?,
        Encoding::Brotli => {
            let mut decoder = brotli_decompressor::Decompressor::new(input, BROTLI_INPUT_BYTES);
            // Windows over 16 MiB are no part of the content coding (RFC 7932, section 9.1).
            decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
            output.read_from(decoder, encoding)?;
        }
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(malformed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(malformed)?;
            output.read_from(decoder, encoding)?;
        }
    }
    Ok(Received {
        bytes: Bytes::from(output.bytes),
        _charge: output.charge,
    })
}

/// Unpacks zlib that came inside something else, to at most `limit` bytes.
///
/// # Errors
/// [`BodyError`]: malformed or too large.
pub(crate) fn unpack_zlib(packed: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    // One byte over the limit is asked for to see whether it is passed.
    let budget = Budget::new(limit + 1);
    let mut output = Output {
        bytes: Vec::new(),
        charge: budget.charge(0)?,
        limit,
    };
    inflate(packed, &mut output)?;
    Ok(output.bytes)
}

struct Output {
    bytes: Vec<u8>,
    charge: super::Charge,
    limit: usize,
}

impl Output {
    /// Makes room behind what is there, within limit and budget; one byte over the limit is allowed so that reaching
    /// it and passing it can be told apart.
    fn grow(&mut self) -> Result<(), BodyError> {
        let length = self.bytes.len();
        let room = length.clamp(GROW_LEAST, GROW_MOST);
        let target = length.saturating_add(room).min(self.limit.saturating_add(1));
        self.charge.cover(target)?;
        self.bytes.reserve_exact(target - length);
        self.bytes.resize(target, 0);
        Ok(())
    }

    fn check(&self, length: usize) -> Result<(), BodyError> {
        if length > self.limit {
            Err(BodyError::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }

    fn read_from(&mut self, mut decoder: impl Read, encoding: Encoding) -> Result<(), BodyError> {
        let mut filled = 0;
        loop {
            if filled == self.bytes.len() {
                self.grow()?;
            }
            match decoder.read(self.bytes.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(BodyError::Malformed(encoding)),
            }
            self.check(filled)?;
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}

/// Zlib by hand: the reader of `flate2` takes a cut-off stream for a finished one.
fn inflate(mut input: &[u8], output: &mut Output) -> Result<(), BodyError> {
    let malformed = BodyError::Malformed(Encoding::Zlib);
    let mut decoder = Decompress::new(true);
    let mut filled = 0;
    loop {
        if filled == output.bytes.len() {
            output.grow()?;
        }
        let (consumed_before, made_before) = (decoder.total_in(), decoder.total_out());
        let room = output.bytes.get_mut(filled..).unwrap_or_default();
        let status = decoder
            .decompress(input, room, FlushDecompress::None)
            .map_err(|_| malformed)?;
        let consumed = usize::try_from(decoder.total_in() - consumed_before).unwrap_or(usize::MAX);
        let made = usize::try_from(decoder.total_out() - made_before).unwrap_or(usize::MAX);
        input = input.get(consumed..).unwrap_or_default();
        filled += made;
        output.check(filled)?;
        match status {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError if consumed == 0 && made == 0 => return Err(malformed),
            Status::Ok | Status::BufError => {}
        }
    }
    output.bytes.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const ALL: [Encoding; 4] = [Encoding::Gzip, Encoding::Zlib, Encoding::Brotli, Encoding::Zstd];

    fn pack(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => plain.to_vec(),
            Encoding::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                out.write_all(plain).unwrap();
                out.finish().unwrap()
            }
            Encoding::Zlib => {
                let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                out.write_all(plain).unwrap();
                out.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 4, 22)
                    .write_all(plain)
                    .unwrap();
                out
            }
            Encoding::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
        }
    }

    fn unpack(
        encoding: Encoding,
        packed: Vec<u8>,
        limit: usize,
        budget: &Arc<Budget>,
    ) -> Result<Bytes, BodyError> {
        let packed = Received {
            bytes: packed.into(),
            _charge: budget.charge(0)?,
        };
        decode(encoding, packed, limit, budget).map(|received| received.bytes)
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|i| ((i * i) >> 7) as u8).collect()
    }

    #[test]
    fn every_encoding_comes_back_byte_for_byte() {
        let budget = Budget::new(8 << 20);
        for encoding in ALL {
            for length in [0, 1, 1000, GROW_LEAST, GROW_LEAST + 1, 1 << 20] {
                let plain = sample(length);
                let got = unpack(encoding, pack(encoding, &plain), 2 << 20, &budget).unwrap();
                assert!(got == plain, "{encoding:?} {length}");
            }
        }
    }

    #[test]
    fn the_limit_is_exact() {
        let budget = Budget::new(1 << 20);
        for encoding in ALL {
            let packed = pack(encoding, &sample(50_000));
            assert!(
                unpack(encoding, packed.clone(), 50_000, &budget).is_ok(),
                "{encoding:?}"
            );
            let error = unpack(encoding, packed, 49_999, &budget).unwrap_err();
            assert_eq!(error, BodyError::TooLarge { limit: 49_999 }, "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let budget = Budget::new(2 << 20);
        for encoding in ALL {
            let packed = pack(encoding, &vec![0; 8 << 20]);
            let error = unpack(encoding, packed, 1 << 20, &budget).unwrap_err();
            assert_eq!(error, BodyError::TooLarge { limit: 1 << 20 }, "{encoding:?}");
        }
    }

    #[test]
    fn a_cut_off_or_damaged_stream_is_refused() {
        let budget = Budget::new(1 << 20);
        for encoding in ALL {
            let packed = pack(encoding, &sample(5000));
            for cut in [0, 1, 5, packed.len() / 2, packed.len() - 1] {
                let result = unpack(encoding, packed[..cut].to_vec(), 1 << 20, &budget);
                assert_eq!(
                    result,
                    Err(BodyError::Malformed(encoding)),
                    "{encoding:?} cut at {cut}"
                );
            }
            let result = unpack(encoding, b"{\"plain\":\"json\"}".to_vec(), 1 << 20, &budget);
            assert_eq!(result, Err(BodyError::Malformed(encoding)));
        }
    }

    #[test]
    fn the_budget_ends_it_too() {
        let budget = Budget::new(30_000);
        for encoding in ALL {
            let error = unpack(encoding, pack(encoding, &sample(50_000)), 1 << 20, &budget).unwrap_err();
            assert_eq!(error, BodyError::NoMemory, "{encoding:?}");
        }
        assert!(budget.charge(30_000).is_ok(), "all of it was given back");
    }

    #[test]
    fn a_zstd_window_over_8_mib_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&sample(100_000)).unwrap();
        let packed = encoder.finish().unwrap();
        let result = unpack(Encoding::Zstd, packed, 1 << 20, &Budget::new(1 << 20));
        assert_eq!(result, Err(BodyError::Malformed(Encoding::Zstd)));
    }

    #[test]
    fn a_brotli_window_over_16_mib_is_refused() {
        let mut packed = Vec::new();
        let params = brotli::enc::BrotliEncoderParams {
            quality: 1,
            lgwin: 28,
            large_window: true,
            ..Default::default()
        };
        brotli::BrotliCompress(&mut sample(10_000).as_slice(), &mut packed, &params).unwrap();
        let result = unpack(Encoding::Brotli, packed, 1 << 20, &Budget::new(1 << 20));
        assert_eq!(result, Err(BodyError::Malformed(Encoding::Brotli)));
    }

    #[test]
    fn names_are_matched_without_case_and_unknown_ones_are_told_apart() {
        assert_eq!(Encoding::of(b" GZip "), Some(Encoding::Gzip));
        assert_eq!(Encoding::of(b"x-gzip"), Some(Encoding::Gzip));
        assert_eq!(Encoding::of(b""), Some(Encoding::Identity));
        assert_eq!(Encoding::of(b"gzip, br"), None);
        assert_eq!(Encoding::of(b"compress"), None);
    }
}
