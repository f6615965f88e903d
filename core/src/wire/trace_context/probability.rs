//! The entry `ot` of `tracestate`: with which probability a trace was kept.
//!
//! ```text
//! tracestate: ot=th:c;rv:d29d6a7215ced0,vendor=x
//!                |    '- explicit randomness R, 14 hexadecimal digits; the low 56 bits of the trace id without it
//!                '- rejection threshold T, 1 to 14 digits with trailing zeros left out: kept when R >= T
//! ```
//!
//! A backend counts a span that carries T for 2^56 / (2^56 - T) of its kind. Follows the OpenTelemetry specification
//! "TraceState: Probability Sampling".

use core::fmt::{self, Write as _};

use crate::wire::split;

/// Key of the entry.
pub const OT: &str = "ot";

/// Digits of a 56-bit number.
const DIGITS: usize = 14;

/// Most bytes of an entry's value (W3C Trace Context, section 3.3.1.3.2).
const MAX_VALUE_BYTES: usize = 256;

/// The value of the entry `ot`. Members that are malformed count as not there.
#[derive(Clone, Copy, Default, Debug)]
pub struct Probability<'a> {
    value: &'a str,
}

impl<'a> Probability<'a> {
    /// Looks into the value of `ot`; empty for none. Every call costs one pass over it.
    #[must_use]
    pub const fn of(value: &'a str) -> Self {
        Self { value }
    }

    /// The rejection threshold `th`, below 2^56; `None` when the probability is not known.
    #[must_use]
    pub fn threshold(&self) -> Option<u64> {
        let digits = self.member("th")?;
        let left_out = DIGITS.checked_sub(digits.len())?;
        Some(hexadecimal(digits)? << (4 * left_out))
    }

    /// The explicit randomness `rv`, below 2^56.
    #[must_use]
    pub fn randomness(&self) -> Option<u64> {
        let digits = self.member("rv")?;
        if digits.len() == DIGITS {
            hexadecimal(digits)
        } else {
            None
        }
    }

    /// The value with this threshold (its low 56 bits) in place of its own. Other members stay, from the left as many as fit
    /// [256 bytes](https://www.w3.org/TR/trace-context-2/#value).
    #[must_use]
    pub const fn with_threshold(self, threshold: u64) -> impl fmt::Display + use<'a> {
        WithThreshold {
            others: self,
            threshold,
        }
    }

    fn members(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.value;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (member, others) = split::at_first(rest, b';').unwrap_or((rest, ""));
            rest = others;
            Some(member)
        })
        .filter(|member| !member.is_empty())
    }

    fn member(self, key: &str) -> Option<&'a str> {
        self.members()
            .find_map(|member| member.strip_prefix(key)?.strip_prefix(':'))
    }
}

struct WithThreshold<'a> {
    others: Probability<'a>,
    threshold: u64,
}

impl fmt::Display for WithThreshold<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("th:")?;
        let mut written = 3_usize;
        let mut rest = self.threshold << 8;
        loop {
            let digit = (rest >> 60) as u8;
            let digit = if digit < 10 {
                b'0'.wrapping_add(digit)
            } else {
                b'a'.wrapping_add(digit).wrapping_sub(10)
            };
            f.write_char(char::from(digit))?;
            written = written.saturating_add(1);
            rest <<= 4;
            if rest == 0 {
                break;
            }
        }
        let others = self.others.members();
        for member in others.filter(|member| !member.starts_with("th:")) {
            written = written.saturating_add(member.len()).saturating_add(1);
            if written > MAX_VALUE_BYTES {
                break;
            }
            f.write_char(';')?;
            f.write_str(member)?;
        }
        Ok(())
    }
}

/// 1 to 14 lower-case hexadecimal digits.
fn hexadecimal(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    digits.bytes().try_fold(0_u64, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn thresholds_are_padded_on_the_right() {
        for (value, threshold) in [
            ("th:8", 0x80_0000_0000_0000),
            ("th:c", 0xc0_0000_0000_0000),
            ("rv:00000000000001;th:0", 0),
            ("x:y;th:ffffffffffffff", 0xff_ffff_ffff_ffff),
        ] {
            assert_eq!(Probability::of(value).threshold(), Some(threshold), "{value}");
        }
    }

    #[test]
    fn malformed_members_count_as_not_there() {
        for value in [
            "",
            "th",
            "th:",
            "th:8g",
            "th:C",
            "th:000000000000000",
            "ath:8",
            "th=8",
        ] {
            assert_eq!(Probability::of(value).threshold(), None, "{value}");
        }
        for value in ["rv:8", "rv:0000000000000g", "rv:000000000000000"] {
            assert_eq!(Probability::of(value).randomness(), None, "{value}");
        }
        let value = Probability::of("th:8;rv:9b8233f7e3a151");
        assert_eq!(value.randomness(), Some(0x9b_8233_f7e3_a151));
    }

    #[test]
    fn a_new_threshold_takes_the_place_of_the_old_one_and_the_rest_stays() {
        for (value, threshold, written) in [
            ("", 0, "th:0"),
            ("", 0x80_0000_0000_0000, "th:8"),
            ("", 0xff_c000_0000_0000, "th:ffc"),
            (
                "th:8;rv:9b8233f7e3a151;x:y",
                0xc0_0000_0000_0001,
                "th:c0000000000001;rv:9b8233f7e3a151;x:y",
            ),
        ] {
            let value = Probability::of(value).with_threshold(threshold).to_string();
            assert_eq!(value, written);
            assert_eq!(Probability::of(&value).threshold(), Some(threshold));
        }
    }

    #[test]
    fn members_that_do_not_fit_are_left_out() {
        let value = std::format!("a:{};b:{}", "x".repeat(200), "y".repeat(60));
        let written = Probability::of(&value).with_threshold(0).to_string();
        assert_eq!(written, std::format!("th:0;a:{}", "x".repeat(200)));
    }
}
