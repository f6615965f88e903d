//! HTTP-dates: a moment in one of the three forms that a recipient has to accept (RFC 9110, section 5.6.7).
//!
//! ```text
//! Sun, 06 Nov 1994 08:49:37 GMT    IMF-fixdate
//! Sunday, 06-Nov-94 08:49:37 GMT   RFC 850, with a two-digit year
//! Sun Nov  6 08:49:37 1994         asctime
//! ```
//!
//! All three are UTC, and names are case-sensitive. The weekday must be a weekday's name but need not be the right one:
//! nothing depends on it.

use super::calendar::{self, Date, SECONDS_A_DAY};
use super::hex::decimal_digit;
use crate::time::UnixTime;

/// The moment an HTTP-date names, at least the epoch; `None` when it is none of the three forms or no real date.
///
/// `wall` decides the century of a two-digit year: a date that appears to be more than 50 years in the future is the
/// most recent one in the past with the same last two digits (RFC 9110, section 5.6.7). A leap second (60) is accepted.
///
/// Cost: reads the value at most three times, to its 33rd byte.
#[must_use]
pub fn parse(value: &[u8], wall: UnixTime) -> Option<UnixTime> {
    let (date, second) = imf_fixdate(value)
        .or_else(|| rfc_850(value, wall))
        .or_else(|| asctime(value))?;
    let seconds = calendar::days(date)?.saturating_mul(SECONDS_A_DAY);
    Some(UnixTime::from_secs(seconds.saturating_add(second)))
}

/// `day-name "," SP date1 SP time-of-day SP GMT`
fn imf_fixdate(value: &[u8]) -> Option<(Date, u64)> {
    let mut text = Text(value);
    text.short_weekday()?;
    text.literal(b", ")?;
    let day = text.two_digits()?;
    text.literal(b" ")?;
    let month = text.month()?;
    text.literal(b" ")?;
    let year = text.four_digits()?;
    text.literal(b" ")?;
    let second = text.time_of_day()?;
    text.literal(b" GMT")?;
    text.end()?;
    Some((Date { year, month, day }, second))
}

/// `day-name-l "," SP date2 SP time-of-day SP GMT`
fn rfc_850(value: &[u8], wall: UnixTime) -> Option<(Date, u64)> {
    let mut text = Text(value);
    text.long_weekday()?;
    text.literal(b", ")?;
    let day = text.two_digits()?;
    text.literal(b"-")?;
    let month = text.month()?;
    text.literal(b"-")?;
    let two_digits = text.two_digits()?;
    text.literal(b" ")?;
    let second = text.time_of_day()?;
    text.literal(b" GMT")?;
    text.end()?;
    let date = |year| Date { year, month, day };
    Some((within_fifty_years(two_digits, date, second, wall), second))
}

/// `day-name SP date3 SP time-of-day SP year`
fn asctime(value: &[u8]) -> Option<(Date, u64)> {
    let mut text = Text(value);
    text.short_weekday()?;
    text.literal(b" ")?;
    let month = text.month()?;
    text.literal(b" ")?;
    let day = match text.literal(b" ") {
        Some(()) => text.digit()?,
        None => text.two_digits()?,
    };
    text.literal(b" ")?;
    let second = text.time_of_day()?;
    text.literal(b" ")?;
    let year = text.four_digits()?;
    text.end()?;
    Some((Date { year, month, day }, second))
}

/// The date in the latest year ending in `two_digits` that is at most 50 years after `wall`.
fn within_fifty_years(two_digits: u64, date: impl Fn(u64) -> Date, second: u64, wall: UnixTime) -> Date {
    let now = calendar::date(wall.as_secs() / SECONDS_A_DAY);
    let horizon = Date {
        year: now.year.saturating_add(50),
        ..now
    };
    let year = (horizon.year / 100)
        .saturating_mul(100)
        .saturating_add(two_digits);
    let latest = date(year);
    if (latest, second) > (horizon, wall.as_secs() % SECONDS_A_DAY) {
        date(year.saturating_sub(100))
    } else {
        latest
    }
}

const WEEKDAYS: [&[u8]; 7] = [
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
];

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// What is left to read of a date.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    #[inline(never)]
    fn literal(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn short_weekday(&mut self) -> Option<()> {
        let (name, rest) = self.0.split_first_chunk::<3>()?;
        self.0 = rest;
        WEEKDAYS
            .iter()
            .any(|weekday| weekday.starts_with(name))
            .then_some(())
    }

    fn long_weekday(&mut self) -> Option<()> {
        self.0 = WEEKDAYS
            .iter()
            .find_map(|weekday| self.0.strip_prefix(*weekday))?;
        Some(())
    }

    #[inline(never)]
    fn month(&mut self) -> Option<u64> {
        let (name, rest) = self.0.split_first_chunk::<3>()?;
        self.0 = rest;
        let before = MONTHS.iter().position(|month| *month == name)?;
        Some((before as u64).saturating_add(1))
    }

    fn digit(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        decimal_digit(*first).map(u64::from)
    }

    #[inline(never)]
    fn two_digits(&mut self) -> Option<u64> {
        let tens = self.digit()?;
        let units = self.digit()?;
        Some(tens.saturating_mul(10).saturating_add(units))
    }

    fn four_digits(&mut self) -> Option<u64> {
        let hundreds = self.two_digits()?;
        Some(hundreds.saturating_mul(100).saturating_add(self.two_digits()?))
    }

    /// `hour ":" minute ":" second`, as seconds of the day.
    fn time_of_day(&mut self) -> Option<u64> {
        let hour = self.two_digits()?;
        self.literal(b":")?;
        let minute = self.two_digits()?;
        self.literal(b":")?;
        let second = self.two_digits()?;
        let minutes = hour.saturating_mul(60).saturating_add(minute);
        (hour < 24 && minute < 60 && second <= 60).then(|| minutes.saturating_mul(60).saturating_add(second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tue, 14 Nov 2023 22:13:20 GMT
    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn seconds(value: &str) -> Option<u64> {
        parse(value.as_bytes(), NOW).map(UnixTime::as_secs)
    }

    #[test]
    fn the_three_forms_name_the_same_moment() {
        for value in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(seconds(value), Some(784_111_777), "{value}");
        }
        assert_eq!(seconds("Tue Nov 14 22:13:20 2023"), Some(1_700_000_000));
    }

    #[test]
    fn moments_before_the_epoch_are_the_epoch() {
        assert_eq!(seconds("Thu, 01 Jan 1903 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sat, 01 Jan 0000 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for value in [
            "Tue, 99 Nov 2023 99:99:99 GMT",
            "Tue, 00 Nov 2023 22:13:50 GMT",
            "Fri, 31 Nov 2023 22:13:50 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Thu, 29 Feb 2100 00:00:00 GMT",
            "Tue, 14 Nov 2023 24:00:00 GMT",
            "Tue, 14 Nov 2023 22:60:00 GMT",
            "Tue, 14 Nov 2023 22:00:61 GMT",
        ] {
            assert_eq!(seconds(value), None, "{value}");
        }
        assert!(seconds("Thu, 29 Feb 2024 00:00:00 GMT").is_some());
        assert!(seconds("Tue, 29 Feb 2400 00:00:00 GMT").is_some());
        assert!(seconds("Sat, 31 Dec 2016 23:59:60 GMT").is_some());
    }

    #[test]
    fn near_dates_are_refused() {
        for value in [
            "Tue, 14 Nov 2023 22:13:50 UTC",
            "Tue, 14 Nov 2023 22:13:50",
            "Tue, 14 Nov 2023 22:13:50 GMT+1",
            "Tue, 4 Nov 2023 22:13:50 GMT",
            "tue, 14 nov 2023 22:13:50 gmt",
            "Tuesday, 14 Nov 2023 22:13:50 GMT",
            "Tue, 14-Nov-23 22:13:50 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Foo, 14 Nov 2023 22:13:50 GMT",
            "2023-11-14T22:13:50Z",
        ] {
            assert_eq!(seconds(value), None, "{value}");
        }
    }

    #[test]
    fn two_digit_years_lie_within_fifty_years_of_now() {
        let year = |value: &str| calendar::date(seconds(value).unwrap() / SECONDS_A_DAY).year;
        assert_eq!(year("Tuesday, 14-Nov-73 22:13:20 GMT"), 2073);
        assert_eq!(year("Tuesday, 14-Nov-73 22:13:21 GMT"), 1973);
        assert_eq!(year("Tuesday, 01-Jan-00 00:00:00 GMT"), 2000);
        assert_eq!(year("Tuesday, 29-Feb-72 00:00:00 GMT"), 2072);
        assert_eq!(year("Tuesday, 31-Dec-99 00:00:00 GMT"), 1999);
        let later = UnixTime::from_secs(4_000_000_000);
        let date = parse(b"Tuesday, 01-Jan-00 00:00:00 GMT", later).unwrap();
        assert_eq!(calendar::date(date.as_secs() / SECONDS_A_DAY).year, 2100);
    }
}
