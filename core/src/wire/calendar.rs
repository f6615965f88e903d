//! The Gregorian calendar: from days since the epoch to a date, and back.

/// Seconds of a day without leap second.
pub(super) const SECONDS_A_DAY: u64 = 86_400;

const DAYS_IN_400_YEARS: u64 = 146_097;
/// From 0000-03-01, where the 400-year cycle of the calendar starts most simply, to 1970-01-01.
const DAYS_BEFORE_EPOCH: u64 = 719_468;

/// A day in the Gregorian calendar, extended to all times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Date {
    pub(super) year: u64,
    /// From 1.
    pub(super) month: u64,
    /// From 1.
    pub(super) day: u64,
}

/// The date `days` after 1970-01-01. Years are counted from March, so that the leap day is the last day of one.
pub(super) const fn date(days: u64) -> Date {
    let days = days.saturating_add(DAYS_BEFORE_EPOCH);
    let cycle = days / DAYS_IN_400_YEARS;
    let day = days % DAYS_IN_400_YEARS;
    // Leap days so far in the cycle: every 4 years, not every 100, and once at its very end.
    let leap_days = (day / 1_460)
        .wrapping_sub(day / 36_524)
        .wrapping_add(day / 146_096);
    let year = day.wrapping_sub(leap_days) / 365;
    let day = day.wrapping_sub(first_day(year));
    let month = (day * 5).wrapping_add(2) / 153;
    let day = day.wrapping_sub(first_day_of_month(month)).wrapping_add(1);
    let year = (cycle * 400).wrapping_add(year);
    if month < 10 {
        Date {
            year,
            month: month.wrapping_add(3),
            day,
        }
    } else {
        Date {
            year: year.wrapping_add(1),
            month: month.wrapping_sub(9),
            day,
        }
    }
}

/// Days from 1970-01-01 to a date of the years 0 to 9999; zero for earlier ones, `None` for those that do not exist.
pub(super) const fn days(date: Date) -> Option<u64> {
    if date.year > 9_999 || date.day == 0 || date.day > days_in_month(date.year, date.month) {
        return None;
    }
    let (year, month) = if date.month > 2 {
        (date.year, date.month.wrapping_sub(3))
    } else {
        // Before March of year 0 this is a year too late, and still long before the epoch.
        (date.year.saturating_sub(1), date.month.wrapping_add(9))
    };
    let days = (year / 400 * DAYS_IN_400_YEARS)
        .wrapping_add(first_day(year % 400))
        .wrapping_add(first_day_of_month(month))
        .wrapping_add(date.day.wrapping_sub(1));
    Some(days.saturating_sub(DAYS_BEFORE_EPOCH))
}

/// Days of the cycle before `year` of it, both counted from March.
const fn first_day(year: u64) -> u64 {
    (year * 365).wrapping_add(year / 4).wrapping_sub(year / 100)
}

/// Days of the year before `month`, both counted from March.
const fn first_day_of_month(month: u64) -> u64 {
    (month * 153).wrapping_add(2) / 5
}

/// Zero for a month that does not exist.
const fn days_in_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts days one by one with the calendar's own rule, for more than its cycle of 400 years.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..DAYS_IN_400_YEARS + 1_000 {
            let expected = Date { year, month, day };
            assert_eq!(date(number), expected);
            assert_eq!(days(expected), Some(number));
            day += 1;
            if day > days_in_month(year, month) {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn both_ways_agree_up_to_year_9999() {
        for number in (0..2_932_897).step_by(13) {
            assert_eq!(days(date(number)), Some(number));
        }
    }

    #[test]
    fn earlier_dates_are_the_epoch() {
        for (year, month) in [(0, 1), (0, 3), (1600, 2), (1969, 12)] {
            assert_eq!(days(Date { year, month, day: 28 }), Some(0));
        }
    }

    #[test]
    fn dates_that_do_not_exist_have_no_day() {
        for (year, month, day) in [
            (2023, 0, 1),
            (2023, 13, 1),
            (2023, 1, 0),
            (2023, 1, 32),
            (2023, 4, 31),
            (2023, 2, 29),
            (2100, 2, 29),
            (10_000, 1, 1),
        ] {
            assert_eq!(days(Date { year, month, day }), None, "{year}-{month}-{day}");
        }
        assert!(
            days(Date {
                year: 2000,
                month: 2,
                day: 29
            })
            .is_some()
        );
    }
}
