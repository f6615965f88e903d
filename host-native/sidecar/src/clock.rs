//! The wall clock, read in one place.

/// Microseconds since 1970-01-01 UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn unix_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
