//! Digits without `core::fmt`, which takes some hundred instructions for each number.

/// Most digits of a `u64`.
pub(super) const MAX_DIGITS: usize = 20;

/// Eight decimal digits of a number below 10⁸. All digits at once: the number is split into halves, quarters and eighths
/// that lie side by side in one word, each division being a multiplication that is exact for its range.
const fn eight_digits(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x7f_0000_007f;
    let quarters = hundreds | ((halves - hundreds * 100) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((quarters - tens * 10) << 8)
}

/// The text of eight digits.
const fn text(digits: u64) -> [u8; 8] {
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The digits of a number below 10⁸, at the front, and how many they are.
#[inline(always)]
pub(super) fn up_to_eight(number: u64) -> Option<([u8; 8], usize)> {
    if number >= 100_000_000 {
        return None;
    }
    let digits = eight_digits(number);
    // The first digit is the lowest byte. Zero itself has one digit.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    let text = (digits | 0x3030_3030_3030_3030) >> (zeros * 8);
    Some((text.to_le_bytes(), 8_usize.saturating_sub(zeros as usize)))
}

/// The decimal digits of `number`, at the end of the array, and how many they are.
#[inline]
pub(super) fn decimal(number: u64) -> ([u8; MAX_DIGITS], usize) {
    let mut digits = [b'0'; MAX_DIGITS];
    let mut rest = number;
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    (digits, count)
}

/// The first eight digits of a moment in seconds, which are those of every other within the same 100 seconds.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Front {
    hundreds: u64,
    text: [u8; 8],
}

impl Front {
    #[inline(always)]
    fn text(&mut self, hundreds: u64) -> [u8; 8] {
        if hundreds != self.hundreds {
            *self = Self {
                hundreds,
                text: text(eight_digits(hundreds)),
            };
        }
        self.text
    }
}

/// Microseconds as seconds with six decimals, for moments from 2001 to 2286: ten digits before the point. `last` is of the
/// moment written before, if one was.
#[inline(always)]
pub(super) fn ten_digit_seconds(micros: u64, last: &mut Front) -> Option<[u8; 17]> {
    const RANGE: core::ops::Range<u64> = 1_000_000_000_000_000..10_000_000_000_000_000;
    if !RANGE.contains(&micros) {
        return None;
    }
    let front = last.text(micros / 100_000_000);
    // Two digits, the point, and six digits: one byte more than a word.
    let back = u64::from_le_bytes(text(eight_digits(micros % 100_000_000)));
    let middle = back & 0xffff | (b'.' as u64) << 16 | (back & !0xffff) << 8;
    let mut seconds = [(back >> 56) as u8; 17];
    let (words, _) = seconds.as_chunks_mut();
    for (target, word) in words.iter_mut().zip([front, middle.to_le_bytes()]) {
        *target = word;
    }
    Some(seconds)
}

/// A fraction in lowest decimal terms: `whole` and `decimals` digits of `fraction`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Short {
    pub(super) negative: bool,
    pub(super) whole: u64,
    /// The point and the digits behind it, at the front.
    pub(super) fraction: [u8; 8],
    /// How many characters these are: two to seven.
    pub(super) length: usize,
}

/// The shortest text of `number` that reads back equal, where that has at most 15 digits, at most six of them behind the
/// point, and no exponent.
///
/// A double tells all decimal numbers of up to 15 digits apart. So when the millionths of the number are a whole number
/// below 10¹⁵ that, divided again, gives the number (division rounds correctly), that decimal number is the only one of
/// up to 15 digits that reads back equal; without its trailing zeros it is the shortest.
#[inline]
pub(super) fn short(number: f64) -> Option<Short> {
    const SMALLEST: f64 = 1e-4;
    const LARGEST: f64 = 999_999_999.0;
    let size = number.abs();
    if !(SMALLEST..LARGEST).contains(&size) {
        return None;
    }
    // Below 10¹⁵: a signed number of 64 bits, which the processor converts to.
    let millionths = (size * 1e6 + 0.5) as i64;
    if millionths as f64 / 1e6 != size {
        return None;
    }
    let millionths = millionths as u64;
    let digits = eight_digits(millionths % 1_000_000);
    // Of the eight digits the first two are zero: the point takes the place of the second. The last digit is the highest
    // byte; one digit stands behind the point, also when that is zero.
    let zeros = (digits | 1 << 16).leading_zeros() / 8;
    let fraction = (digits | 0x3030_3030_3030_3030) & !0xff00 | (b'.' as u64) << 8;
    Some(Short {
        negative: number < 0.0,
        whole: millionths / 1_000_000,
        fraction: (fraction >> 8).to_le_bytes(),
        length: 7_usize.saturating_sub(zeros as usize),
    })
}

/// The sixteen lower-case hexadecimal digits of eight bytes, in quotes.
#[inline(always)]
pub(super) fn quoted_hex_8(bytes: [u8; 8]) -> [u8; 18] {
    let mut text = [b'"'; 18];
    let [_, digits @ .., _] = &mut text;
    *digits = hex(bytes);
    text
}

/// The 32 lower-case hexadecimal digits of sixteen bytes, in quotes.
#[inline(always)]
pub(crate) fn quoted_hex_16(bytes: &[u8; 16]) -> [u8; 34] {
    let mut text = [b'"'; 34];
    let [_, digits @ .., _] = &mut text;
    *digits = hex(*bytes);
    text
}

/// The lower-case hexadecimal digits of `N` bytes, which are twice as many. Side by side in the lanes of vectors.
#[inline(always)]
fn hex<const N: usize, const DIGITS: usize>(bytes: [u8; N]) -> [u8; DIGITS] {
    let mut text = [0; DIGITS];
    let (pairs, _) = text.as_chunks_mut();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        // The first digit in the low byte.
        let byte = u16::from(byte);
        let digits = (byte >> 4 | byte << 8) & 0x0f0f;
        // One in each byte whose digit is a letter.
        let letters = (digits + 0x0606) >> 4 & 0x0101;
        const TO_LETTER: u16 = (b'a' - b'0' - 10) as u16;
        *pair = (digits + 0x3030 + letters * TO_LETTER).to_le_bytes();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_those_of_the_formatter() {
        // The halves do not touch each other: every value of each, with the ends of the other.
        for half in 0..10_000 {
            for other in [0, 1, 4_999, 9_999] {
                for number in [half * 10_000 + other, other * 10_000 + half] {
                    let expected = format!("{number:08}");
                    assert_eq!(text(eight_digits(number)), expected.as_bytes());
                }
            }
        }
    }

    #[test]
    fn decimals_are_those_of_the_formatter() {
        let powers = (0..=19).map(|exponent| 10_u64.pow(exponent));
        for power in powers {
            for number in [power - 1, power, power + 1, u64::MAX / power] {
                let (digits, count) = decimal(number);
                let expected = number.to_string();
                assert_eq!(&digits[MAX_DIGITS - count..], expected.as_bytes());
                match up_to_eight(number) {
                    Some((digits, count)) => assert_eq!(&digits[..count], expected.as_bytes()),
                    None => assert!(number >= 100_000_000, "{number}"),
                }
            }
        }
    }

    #[test]
    fn seconds_are_those_of_the_formatter() {
        let mut last = Front::default();
        for micros in [
            1_000_000_000_000_000,
            1_700_000_000_000_042,
            1_700_000_099_999_999,
            1_700_000_100_000_000,
            1_700_000_000_000_042,
            1_234_567_890_987_654,
            9_999_999_999_999_999,
        ] {
            let expected = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            assert_eq!(ten_digit_seconds(micros, &mut last).unwrap(), expected.as_bytes());
            let alone = ten_digit_seconds(micros, &mut Front::default());
            assert_eq!(alone.unwrap(), expected.as_bytes());
        }
        for micros in [0, 999_999_999_999_999, 10_000_000_000_000_000, u64::MAX] {
            assert_eq!(ten_digit_seconds(micros, &mut last), None);
        }
    }

    #[test]
    fn hexadecimal_digits_are_those_of_the_formatter() {
        for byte in 0..=255_u8 {
            let bytes = [byte, 0, !byte, 255, 16, byte, 159, byte.wrapping_add(1)];
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(quoted_hex_8(bytes), format!("\"{expected}\"").as_bytes());
            let mut twice = [byte; 16];
            twice[..8].copy_from_slice(&bytes);
            let repeated = format!("{byte:02x}").repeat(8);
            assert_eq!(
                quoted_hex_16(&twice),
                format!("\"{expected}{repeated}\"").as_bytes()
            );
        }
    }
}
