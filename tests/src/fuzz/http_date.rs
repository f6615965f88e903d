//! HTTP-dates and `Retry-After`: no date is before the epoch or after its year, and a delay is what lies between.

use surgetank_core::time::{Duration, UnixTime};
use surgetank_core::wire::{http_date, retry_after};

use super::tape::Tape;

/// The end of the year 9999, the last that an HTTP-date can name, with a leap second.
const LAST: u64 = 253_402_300_800;

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let wall = UnixTime::from_secs(u64::from(u32::from_le_bytes(tape.array())));
    let value = tape.rest();
    let moment = http_date::parse(value, wall);
    if let Some(moment) = moment {
        assert!(moment <= UnixTime::from_secs(LAST));
    }
    let delay = retry_after::parse(value, wall);
    let digits = value.trim_ascii().iter().all(u8::is_ascii_digit);
    match (delay, moment) {
        (Some(delay), Some(moment)) => assert_eq!(delay, moment.since(wall)),
        (Some(_), None) => assert!(digits || value != value.trim_ascii(), "{value:?}"),
        (None, Some(_)) => assert_eq!(wall, UnixTime::default(), "a date says nothing without a clock"),
        (None, None) => {}
    }
    if let (true, Ok(text)) = (digits, std::str::from_utf8(value.trim_ascii()))
        && let Ok(seconds) = text.parse::<u64>()
        && let Some(delay) = delay
    {
        assert_eq!(delay, Duration::from_secs(seconds));
    }
}
