//! Decimal seconds, rounded up, without floating point.
//!
//! Sentry's rate limits count in "seconds as an integer or a floating point number" (rate-limiting specification), and
//! Relay reads them as a 64-bit float and rounds up. Reading the digits themselves gives the same answers wherever a
//! float is exact, and the right ones where it is not; targets without a floating point unit need no soft float.

use super::hex::decimal_digit;

/// Whole seconds, at least the number in `text`; `None` when `text` is not a decimal number.
///
/// Accepted is what a float parser accepts: an optional sign, digits with an optional point (at least one digit), an
/// optional exponent; and `inf`, `infinity`, `nan` in any case. Negative, infinite, undefined and unrepresentable
/// (beyond 64 bits) numbers are all zero: a limit that is over on arrival, never one without end.
///
/// Cost: reads the text once.
pub(super) fn rounded_up(text: &[u8]) -> Option<u64> {
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let words: [&[u8]; 3] = [b"inf", b"infinity", b"nan"];
    if words.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(0);
    }
    let number = Number::read(text)?;
    Some(if negative { 0 } else { number.ceil().unwrap_or(0) })
}

/// `whole` `.` `fraction` `e` `exponent`
struct Number<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Number<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let (whole, rest) = leading_digits(text);
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => leading_digits(rest),
            _ => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => exponent(rest)?,
            Some(_) => return None,
        };
        Some(Self {
            whole,
            fraction,
            exponent,
        })
    }

    /// The number rounded up; `None` when that is beyond 64 bits.
    fn ceil(&self) -> Option<u64> {
        // Position of the decimal point among all digits, once the exponent has moved it.
        let point = i64::try_from(self.whole.len())
            .unwrap_or(i64::MAX)
            .saturating_add(self.exponent);
        let mut value = 0_u64;
        let mut rest_is_zero = true;
        let mut position = 0_i64;
        for byte in self.whole.iter().chain(self.fraction) {
            let digit = decimal_digit(*byte)?;
            if position < point {
                value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
            } else {
                rest_is_zero &= digit == 0;
            }
            position = position.saturating_add(1);
        }
        // Zeros that stand between the last digit and the point. More than 20 of them overflow any value but zero.
        while value != 0 && position < point {
            value = value.checked_mul(10)?;
            position = position.saturating_add(1);
        }
        if rest_is_zero {
            Some(value)
        } else {
            value.checked_add(1)
        }
    }
}

/// `[sign] 1*DIGIT`, saturating.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let size = digits.iter().try_fold(0_i64, |size, byte| {
        let digit = decimal_digit(*byte)?;
        Some(size.saturating_mul(10).saturating_add(i64::from(digit)))
    })?;
    Some(if negative { size.saturating_neg() } else { size })
}

#[inline(never)]
fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(length).unwrap_or((text, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        rounded_up(text.as_bytes())
    }

    #[test]
    fn integers_stay_and_fractions_go_up() {
        assert_eq!(seconds("60"), Some(60));
        assert_eq!(seconds("+60"), Some(60));
        assert_eq!(seconds("007"), Some(7));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("17.0"), Some(17));
        assert_eq!(seconds("17."), Some(17));
        assert_eq!(seconds("17.1"), Some(18));
        assert_eq!(seconds("17.7"), Some(18));
        assert_eq!(seconds(".5"), Some(1));
        assert_eq!(seconds("0.000000000000000000000000000001"), Some(1));
        assert_eq!(seconds("17.0000000000000000000000000000001"), Some(18));
    }

    #[test]
    fn exponents_move_the_point() {
        assert_eq!(seconds("1e3"), Some(1_000));
        assert_eq!(seconds("1E+3"), Some(1_000));
        assert_eq!(seconds("1.5e1"), Some(15));
        assert_eq!(seconds("1.55e1"), Some(16));
        assert_eq!(seconds("600e-1"), Some(60));
        assert_eq!(seconds("601e-1"), Some(61));
        assert_eq!(seconds("1e-99999999999999999999"), Some(1));
        assert_eq!(seconds("0e99999999999999999999"), Some(0));
        assert_eq!(seconds("0.00001e6"), Some(10));
    }

    #[test]
    fn what_does_not_fit_or_is_not_positive_is_over() {
        for text in [
            "-1",
            "-0",
            "-1e3",
            "-inf",
            "inf",
            "+inf",
            "Infinity",
            "-infinity",
            "nan",
            "NaN",
            "-NaN",
            "1e20",
            "100000000000000000000",
            "1e999999999999999999999",
        ] {
            assert_eq!(seconds(text), Some(0), "{text}");
        }
        assert_eq!(seconds("18446744073709551615"), Some(u64::MAX));
        assert_eq!(seconds("18446744073709551615.1"), Some(0));
    }

    #[test]
    fn other_text_is_no_number() {
        for text in [
            "", "+", "-", ".", "e3", ".e3", "1e", "1e+", "1.2.3", "0x3c", "6_0", "6 0", " 60", "60s",
            "infinite", "--1", "1e1.5", "\u{0661}",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
