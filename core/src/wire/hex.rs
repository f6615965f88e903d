//! Hexadecimal and decimal digits, byte by byte: what several text formats share.

use core::fmt;

/// Value of `0`..`9`.
pub(crate) const fn decimal_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        _ => None,
    }
}

/// Value of `0`..`9`, `a`..`f`.
pub(crate) const fn lower_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

/// Value of a hexadecimal digit in either case.
pub(crate) const fn digit(byte: u8) -> Option<u8> {
    lower_digit(byte.to_ascii_lowercase())
}

/// The byte that two digits of either case stand for.
pub(crate) fn byte(high: u8, low: u8) -> Option<u8> {
    Some((digit(high)? << 4) | digit(low)?)
}

/// The four bytes that eight digits of either case stand for, all at once.
pub(crate) const fn eight(digits: [u8; 8]) -> Option<[u8; 4]> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    /// Sets the high bit of every byte from `first` to `last`; the bytes of `word` are ASCII.
    const fn within(word: u64, first: u8, last: u8) -> u64 {
        let from = word.wrapping_add(ONES * (0x80 - first as u64));
        let beyond = word.wrapping_add(ONES * (0x7F - last as u64));
        from & !beyond & HIGH
    }
    let word = u64::from_le_bytes(digits);
    let letters = within(word & !HIGH | (ONES << 5), b'a', b'f');
    let numbers = within(word & !HIGH, b'0', b'9');
    if (letters | numbers) & !word != HIGH {
        return None;
    }
    let nibbles = (word & (ONES * 15)).wrapping_add((letters >> 7) * 9);
    // The first digit of two is the upper half of their byte.
    let bytes = ((nibbles << 4) | (nibbles >> 8)) & 0x00FF_00FF_00FF_00FF;
    let [first, _, second, _, third, _, fourth, _] = bytes.to_le_bytes();
    Some([first, second, third, fourth])
}

/// `N` bytes from exactly `2 * N` lower-case digits.
pub(crate) fn decode_lower<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (lower_digit(*high)? << 4) | lower_digit(*low)?;
    }
    Some(bytes)
}

/// Writes two lower-case digits a byte.
pub(crate) fn write_lower(out: &mut (impl fmt::Write + ?Sized), bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        out.write_char(lower_char(byte >> 4))?;
        out.write_char(lower_char(byte & 15))?;
    }
    Ok(())
}

/// The two lower-case digits of a byte.
pub(crate) const fn lower_pair(byte: u8) -> [u8; 2] {
    [lower_char(byte >> 4) as u8, lower_char(byte & 15) as u8]
}

const fn lower_char(nibble: u8) -> char {
    match nibble {
        0..10 => b'0'.wrapping_add(nibble) as char,
        _ => b'a'.wrapping_add(nibble.wrapping_sub(10)) as char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for value in 0..=u8::MAX {
            let mut text = String::new();
            write_lower(&mut text, &[value]).unwrap();
            assert_eq!(decode_lower(text.as_bytes()), Some([value]));
            let [high, low] = *text.to_uppercase().as_bytes() else {
                panic!()
            };
            assert_eq!(byte(high, low), Some(value));
        }
    }

    #[test]
    fn eight_digits_are_what_they_are_in_pairs() {
        for place in 0..8 {
            for digit in 0..=u8::MAX {
                let mut digits = *b"0fF9aA7b";
                digits[place] = digit;
                let pairs = digits.as_chunks::<2>().0.iter();
                let expected: Option<std::vec::Vec<u8>> =
                    pairs.map(|[high, low]| byte(*high, *low)).collect();
                assert_eq!(eight(digits).map(|bytes| bytes.to_vec()), expected, "{digits:?}");
            }
        }
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        assert_eq!(decode_lower::<2>(b"0a0b"), Some([10, 11]));
        for text in ["", "0a", "0a0", "0a0b0", "0a0b0c", "0A0b", "0g0b", "0a-b"] {
            assert_eq!(decode_lower::<2>(text.as_bytes()), None, "{text}");
        }
    }
}
