//! Text inside a JSON string (RFC 8259, section 7), most of which needs no escape.

use surgetank_core::wire::otlp::protobuf::Out;

/// True for a byte that a string cannot hold as it is.
#[inline]
const fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// `byte` in each of the eight bytes of a word.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// True if one of eight bytes is special. What is left of `x - 1` and not of `x` in a byte's highest bit was borrowed, so
/// the byte was zero; or one below it was, and then there is one.
#[inline]
const fn word_has_special(word: u64) -> bool {
    let quote = word ^ eight(b'"');
    let backslash = word ^ eight(b'\\');
    let found = quote.wrapping_sub(eight(1)) & !quote
        | backslash.wrapping_sub(eight(1)) & !backslash
        | word.wrapping_sub(eight(0x20)) & !word;
    found & eight(0x80) != 0
}

/// Zero for each special byte. In a form that the compiler has vector instructions for, each one operation.
#[inline]
fn marks(bytes: &[u8; 16]) -> [u8; 16] {
    bytes.map(|byte| {
        let quotes = (byte ^ b'"').min(byte ^ b'\\');
        quotes.min(byte.saturating_sub(0x1f))
    })
}

#[inline]
fn has_zero(marks: &[u8; 16]) -> bool {
    marks.iter().fold(false, |found, mark| found | (*mark == 0))
}

/// True if a string can hold `text` as it is. From both ends, with an overlap: then all lengths from 8 to 32 take the
/// same few steps.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    if let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        let mut both = marks(first);
        for (mark, other) in both.iter_mut().zip(marks(last)) {
            *mark = other.min(*mark);
        }
        !has_zero(&both) && (text.len() <= 32 || is_plain_inside(text))
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        !(word_has_special(u64::from_ne_bytes(*first)) | word_has_special(u64::from_ne_bytes(*last)))
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let both = u64::from(u32::from_ne_bytes(*first)) | u64::from(u32::from_ne_bytes(*last)) << 32;
        !word_has_special(both)
    } else {
        !text.iter().any(|byte| is_special(*byte))
    }
}

#[inline(never)]
fn is_plain_inside(text: &[u8]) -> bool {
    let (blocks, _) = text.as_chunks::<16>();
    !blocks.iter().any(|block| has_zero(&marks(block)))
}

/// Writes `text`, which is UTF-8, with its escapes.
#[cold]
#[inline(never)]
pub(super) fn write<O: Out>(text: &[u8], out: &mut O) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        let (plain, tail) = rest.split_at(at);
        out.raw(plain);
        let Some((&byte, tail)) = tail.split_first() else {
            break;
        };
        match byte {
            b'"' => out.raw(b"\\\""),
            b'\\' => out.raw(b"\\\\"),
            b'\n' => out.raw(b"\\n"),
            b'\r' => out.raw(b"\\r"),
            b'\t' => out.raw(b"\\t"),
            _ => {
                let low = byte & 15;
                let digit = if low < 10 { b'0' + low } else { b'a' + (low - 10) };
                out.array([b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            }
        }
        rest = tail;
    }
    out.raw(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_character_is_found_wherever_it_stands() {
        for length in 0..70 {
            for special in [0, 1, 0x1f, b'"', b'\\', 0x20, 0x7f, 0x80, 0x9f, 0xff, 0xa2, 0xdc] {
                for at in 0..length {
                    for filler in [b'a', 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x80, 0xff] {
                        let mut text = vec![filler; length];
                        text[at] = special;
                        let plain = !matches!(special, b'"' | b'\\' | 0..0x20);
                        assert_eq!(is_plain(&text), plain, "{text:?}");
                    }
                }
            }
        }
        assert!(is_plain(b""));
    }

    #[test]
    fn every_pair_of_neighbours_is_judged_rightly() {
        for pair in 0..=u16::MAX {
            let [low, high] = pair.to_le_bytes();
            let text = [b'a', low, high, b'a', b'a', b'a', b'a', b'a'];
            assert_eq!(is_plain(&text), !is_special(low) && !is_special(high), "{text:?}");
        }
    }
}
