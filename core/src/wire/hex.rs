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
    fn other_lengths_and_letters_are_refused() {
        assert_eq!(decode_lower::<2>(b"0a0b"), Some([10, 11]));
        for text in ["", "0a", "0a0", "0a0b0", "0a0b0c", "0A0b", "0g0b", "0a-b"] {
            assert_eq!(decode_lower::<2>(text.as_bytes()), None, "{text}");
        }
    }
}
