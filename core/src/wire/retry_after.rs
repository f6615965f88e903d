//! `Retry-After`: how long a server wants to be left alone (RFC 9110, section 10.2.3).
//!
//! The value is either whole seconds or an HTTP-date. The wall clock serves only to turn a date into a delay; what
//! follows is counted on the monotonic clock.

use super::split::trimmed;
use super::{hex, http_date};
use crate::limits::MAX_RETRY_AFTER_BYTES;
use crate::time::{Duration, UnixTime};

/// The delay a `Retry-After` value asks for; `None` when it is neither whole seconds nor an HTTP-date.
///
/// A date in the past is a delay of zero, as are zero seconds. Seconds beyond what [`Duration`] holds become its
/// maximum; a caller caps them. A date is unusable, hence `None`, when the host has no wall clock, which it says with a
/// `wall` of zero. Signs, fractions and values longer than [`MAX_RETRY_AFTER_BYTES`] after trimming are refused, as
/// the grammar is `1*DIGIT`.
///
/// Cost: reads the value once.
#[must_use]
pub fn parse(value: &[u8], wall: UnixTime) -> Option<Duration> {
    let value = trimmed(value);
    if value.len() > MAX_RETRY_AFTER_BYTES {
        return None;
    }
    if value.first().is_some_and(u8::is_ascii_digit) {
        return whole_seconds(value).map(Duration::from_secs);
    }
    if wall == UnixTime::default() {
        return None;
    }
    let moment = http_date::parse(value, wall)?;
    Some(moment.since(wall))
}

/// `1*DIGIT`, saturating.
fn whole_seconds(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |seconds, byte| {
        let digit = hex::decimal_digit(*byte)?;
        Some(seconds.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tue, 14 Nov 2023 22:13:20 GMT
    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn seconds(value: &str) -> Option<u64> {
        parse(value.as_bytes(), NOW).map(Duration::as_secs)
    }

    #[test]
    fn whole_seconds_are_read_with_space_around_them() {
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(" \t007 "), Some(7));
    }

    #[test]
    fn enormous_seconds_saturate() {
        assert_eq!(parse(b"99999999999999999999", NOW), Some(Duration::MAX));
    }

    #[test]
    fn what_is_neither_digits_nor_a_date_is_refused() {
        for value in [
            "", " ", "-5", "+5", "1.5", "1e3", "soon", "12 s", "0x10", "1,2", "NaN",
        ] {
            assert_eq!(seconds(value), None, "{value}");
        }
        let long = [b'0'; MAX_RETRY_AFTER_BYTES + 1];
        assert_eq!(parse(&long, NOW), None);
    }

    #[test]
    fn the_three_forms_name_the_same_moment() {
        for value in [
            "Tue, 14 Nov 2023 22:13:50 GMT",
            "Tuesday, 14-Nov-23 22:13:50 GMT",
            "Tue Nov 14 22:13:50 2023",
        ] {
            assert_eq!(seconds(value), Some(30), "{value}");
        }
    }

    #[test]
    fn a_date_counts_from_the_very_moment_of_the_answer() {
        let now = UnixTime::from_micros(1_700_000_000_250_000);
        assert_eq!(
            parse(b"Tue, 14 Nov 2023 22:13:21 GMT", now),
            Some(Duration::from_millis(750))
        );
    }

    #[test]
    fn a_past_date_is_no_delay() {
        assert_eq!(seconds("Tue, 14 Nov 2023 22:12:50 GMT"), Some(0));
        assert_eq!(seconds("Thu, 01 Jan 1903 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn without_a_wall_clock_a_date_says_nothing() {
        assert_eq!(parse(b"Tue, 14 Nov 2023 22:13:50 GMT", UnixTime::default()), None);
        assert_eq!(parse(b"5", UnixTime::default()), Some(Duration::from_secs(5)));
    }
}
