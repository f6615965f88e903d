//! Frames on a line of bytes: stuffed so that a zero only ever ends one, and closed by a checksum.
//!
//! A receiver that was switched on in the middle, or that read noise, is back in step at the next zero. What is too long is
//! passed over to its end instead of being cut: a prefix is no frame. What does not match its checksum is dropped and
//! counted; the protocol above asks again. Byte stuffing costs one byte in 254 whatever the content is (Cheshire and Baker,
//! "Consistent Overhead Byte Stuffing", 1999), unlike escapes, so the largest frame has a known length on the line.

use cobs::CobsEncoder;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// Bytes of the checksum that ends a frame's content, little-endian.
pub const CHECKSUM_BYTES: usize = 4;

/// CRC-32 as in Ethernet and zlib, a bit at a time: a table would take 1 KiB of flash, and a serial line is slower.
const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Bytes on the line of a frame with so many bytes of content: checksum, stuffing and the zero at its end.
#[must_use]
pub const fn line_bytes(content: usize) -> usize {
    cobs::max_encoding_length(content + CHECKSUM_BYTES) + 1
}

/// Bytes of content that surely fit a frame of so many bytes on the line.
pub(crate) const fn content_bytes(line: usize) -> usize {
    line.saturating_sub(CHECKSUM_BYTES + 2 + line / 254)
}

/// Writes a frame whose content is `parts` one after the other into `buffer`: all that goes onto the line. `None` when
/// `buffer` has less than [`line_bytes`] of the content.
#[must_use]
pub fn encode<'b>(parts: &[&[u8]], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut digest = CHECKSUM.digest();
    let mut stuffed = CobsEncoder::new(buffer);
    for part in parts {
        digest.update(part);
        stuffed.push(part).ok()?;
    }
    stuffed.push(&digest.finalize().to_le_bytes()).ok()?;
    let length = stuffed.finalize();
    *buffer.get_mut(length)? = 0;
    buffer.get(..=length)
}

/// Puts frames together from bytes as they come. `N` bytes of memory; a frame that takes more of the line is passed over.
#[derive(Clone, Debug)]
pub struct FrameReader<const N: usize> {
    buffer: [u8; N],
    length: usize,
    /// The present frame is longer than the buffer.
    overrun: bool,
    rejected: u32,
}

impl<const N: usize> FrameReader<N> {
    /// A reader at the start of a line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: [0; N],
            length: 0,
            overrun: false,
            rejected: 0,
        }
    }

    /// Takes one byte; the content of a frame when it was its last. Work: a constant for each byte, and one pass over a frame
    /// at its end.
    pub fn feed(&mut self, byte: u8) -> Option<&[u8]> {
        if byte != 0 {
            match self.buffer.get_mut(self.length) {
                Some(place) => {
                    *place = byte;
                    self.length += 1;
                }
                None => self.overrun = true,
            }
            return None;
        }
        let length = core::mem::take(&mut self.length);
        let overrun = core::mem::take(&mut self.overrun);
        if length == 0 {
            // A zero more than needed: senders put one in front when the line was silent.
            return None;
        }
        let content = if overrun {
            None
        } else {
            self.buffer.get_mut(..length).and_then(content_length)
        };
        match content {
            Some(length) => self.buffer.get(..length),
            None => {
                self.rejected = self.rejected.saturating_add(1);
                None
            }
        }
    }

    /// Forgets the frame that has begun: the line was cut.
    pub const fn restart(&mut self) {
        self.length = 0;
        self.overrun = false;
    }

    /// Frames that were dropped: too long, wrongly stuffed, or not what their checksum says.
    #[must_use]
    pub const fn rejected(&self) -> u32 {
        self.rejected
    }
}

impl<const N: usize> Default for FrameReader<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the stuffing out; the length of what is left without the checksum, if it is right.
fn content_length(frame: &mut [u8]) -> Option<usize> {
    let length = cobs::decode_in_place(frame).ok()?;
    let (content, checksum) = frame.get(..length)?.split_last_chunk::<CHECKSUM_BYTES>()?;
    (CHECKSUM.checksum(content).to_le_bytes() == *checksum).then_some(content.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn line(parts: &[&[u8]]) -> Vec<u8> {
        let mut buffer = [0; 1024];
        encode(parts, &mut buffer).unwrap().to_vec()
    }

    fn frames<const N: usize>(reader: &mut FrameReader<N>, bytes: &[u8]) -> Vec<Vec<u8>> {
        let each = |byte: &u8| reader.feed(*byte).map(<[u8]>::to_vec);
        bytes.iter().filter_map(each).collect()
    }

    #[test]
    fn the_line_looks_as_the_page_says() {
        let bytes = line(&[&[0x02, 0x00], &[0x05]]);
        assert_eq!(
            bytes.first(),
            Some(&2),
            "one byte up to the zero, and the count itself"
        );
        assert_eq!(bytes.get(1), Some(&0x02));
        assert_eq!(bytes.last(), Some(&0));
        assert_eq!(bytes.iter().filter(|byte| **byte == 0).count(), 1);
        // The check value of the catalogue of CRCs for "123456789".
        let nine = line(&[b"123456789"]);
        assert_eq!(
            nine,
            [&[14][..], b"123456789", &[0x26, 0x39, 0xF4, 0xCB], &[0]].concat()
        );
    }

    #[test]
    fn any_content_comes_back_and_takes_what_was_announced() {
        for length in [0, 1, 2, 250, 251, 253, 254, 255, 600] {
            for fill in [0_u8, 1, 0xFF] {
                let content: Vec<u8> = (0..length)
                    .map(|at| if at % 7 == 0 { fill } else { at as u8 })
                    .collect();
                let bytes = line(&[&content]);
                assert!(bytes.len() <= line_bytes(length));
                assert_eq!(frames(&mut FrameReader::<1024>::new(), &bytes), [content]);
            }
        }
    }

    #[test]
    fn a_buffer_that_is_too_small_is_an_answer_and_not_a_panic() {
        for length in 0..line_bytes(20) {
            assert!(encode(&[&[7; 20]], &mut [0; 64][..length]).is_none() || length >= line_bytes(20) - 1);
        }
        assert!(encode(&[&[7; 20]], &mut [0; 64][..line_bytes(20)]).is_some());
    }

    #[test]
    fn after_noise_the_next_frame_is_read() {
        let mut reader = FrameReader::<64>::new();
        let good = line(&[b"good"]);
        let noise = [b"half a fr".to_vec(), good.clone(), good.clone()].concat();
        // The first good frame is spoiled by what stands before it.
        assert_eq!(frames(&mut reader, &noise), [b"good"]);
        assert_eq!(reader.rejected(), 1);
    }

    #[test]
    fn a_frame_that_is_too_long_is_passed_over_whole() {
        let mut reader = FrameReader::<32>::new();
        let bytes = [line(&[&[9; 200]]), line(&[b"next"])].concat();
        assert_eq!(frames(&mut reader, &bytes), [b"next"]);
        assert_eq!(reader.rejected(), 1);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = line(&[b"some content \x00 with a zero"]);
        for bit in 0..bytes.len() * 8 {
            let mut spoiled = bytes.clone();
            spoiled[bit / 8] ^= 1 << (bit % 8);
            let read = frames(&mut FrameReader::<64>::new(), &spoiled);
            assert!(read.is_empty(), "bit {bit}: {read:?}");
        }
    }

    #[test]
    fn zeros_in_between_are_nothing() {
        let mut reader = FrameReader::<64>::new();
        let bytes = [vec![0; 3], line(&[b"a"]), vec![0; 2], line(&[b"b"])].concat();
        assert_eq!(frames(&mut reader, &bytes), [b"a", b"b"]);
        assert_eq!(reader.rejected(), 0);
    }
}
