//! Wall-clock times as text: RFC 3339 in UTC with microseconds, the form Sentry uses for `sent_at` and `timestamp`.

use super::calendar::{self, Date, SECONDS_A_DAY};
use crate::time::UnixTime;

/// Bytes of a written timestamp.
pub const TIMESTAMP_BYTES: usize = 27;

/// The last moment with a four-digit year, in seconds since the epoch.
const LAST_SECOND: u64 = 253_402_300_799;

/// `2026-01-02T03:04:05.678901Z`. Years beyond 9999 are written as the last second of 9999.
#[must_use]
pub fn timestamp(time: UnixTime) -> [u8; TIMESTAMP_BYTES] {
    let seconds = time.as_secs().min(LAST_SECOND);
    let micros = time.as_micros() % 1_000_000;
    let Date { year, month, day } = calendar::date(seconds / SECONDS_A_DAY);
    let clock = seconds % SECONDS_A_DAY;
    let [year_high, year_low] = [year / 100, year % 100].map(two_digits);
    let [mo, da] = [month, day].map(two_digits);
    let [h, mi, s] = [clock / 3_600, clock / 60 % 60, clock % 60].map(two_digits);
    let [u0, u1, u2] = [micros / 10_000, micros / 100 % 100, micros % 100].map(two_digits);
    let [y0, y1] = year_high;
    let [y2, y3] = year_low;
    [
        y0, y1, y2, y3, b'-', mo[0], mo[1], b'-', da[0], da[1], b'T', h[0], h[1], b':', mi[0], mi[1], b':',
        s[0], s[1], b'.', u0[0], u0[1], u1[0], u1[1], u2[0], u2[1], b'Z',
    ]
}

const fn two_digits(value: u64) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn text(time: UnixTime) -> String {
        String::from_utf8(timestamp(time).to_vec()).unwrap()
    }

    #[test]
    fn known_moments_read_as_they_should() {
        assert_eq!(text(UnixTime::from_micros(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            text(UnixTime::from_micros(1_767_323_045_678_901)),
            "2026-01-02T03:04:05.678901Z"
        );
        assert_eq!(
            text(UnixTime::from_secs(951_782_399)),
            "2000-02-28T23:59:59.000000Z"
        );
        assert_eq!(
            text(UnixTime::from_secs(LAST_SECOND)),
            "9999-12-31T23:59:59.000000Z"
        );
        assert_eq!(
            &text(UnixTime::from_micros(u64::MAX))[..19],
            "9999-12-31T23:59:59"
        );
    }
}
