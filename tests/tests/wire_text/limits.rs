//! `Retry-After` and `X-Sentry-Rate-Limits`.

use std::time::{Duration as StdDuration, SystemTime};

use proptest::prelude::*;
use surgetank_core::item::{Category, CategorySet};
use surgetank_core::limits::{DEFAULT_RATE_LIMIT, MAX_RATE_LIMIT_GROUPS};
use surgetank_core::response::Response;
use surgetank_core::time::{Duration, UnixTime};
use surgetank_core::wire::rate_limits::{self, Target};
use surgetank_core::wire::{http_date, retry_after};

use crate::{borrowed, hostile, hostile_lines};

/// The end of the year 9999, the last that an HTTP-date can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// Seconds of a group that says `text`; `None` when it is no group.
fn seconds_of(text: &str) -> Option<u64> {
    let header = format!("{text}:error:key");
    rate_limits::groups(&[header.as_bytes()])
        .next()
        .map(|limit| limit.duration.as_secs())
}

fn group() -> impl Strategy<Value = String> {
    let names: Vec<&str> = Category::ALL
        .map(Category::as_str)
        .into_iter()
        .chain(["foo", ""])
        .collect();
    let categories =
        prop::collection::vec(prop::sample::select(names), 0..4).prop_map(|names| names.join(";"));
    let scope = prop::sample::select(vec!["", "organization", "project", "key", "galaxy"]);
    let space = prop::sample::select(vec!["", " ", "\t"]);
    (
        0_u32..100_000,
        categories,
        scope,
        "[a-z_]{0,8}",
        "([a-z]{1,6}(;[a-z]{1,6}){0,2})?",
        space,
    )
        .prop_map(|(seconds, categories, scope, reason, namespaces, space)| {
            format!(
                "{space}{seconds}{space}:{categories}{space}:{space}{scope}:{reason}{space}:{namespaces}:more"
            )
        })
}

proptest! {
    #[test]
    fn any_header_is_survived(lines in hostile_lines(), retry_after in prop::option::of(hostile()), status in 100_u16..600) {
        let lines = borrowed(&lines);
        let response = Response {
            status,
            retry_after: retry_after.as_deref(),
            rate_limits: &lines,
            wall: UnixTime::from_secs(1_700_000_000),
            ..Response::default()
        };
        let limits: Vec<_> = rate_limits::limits(&response).collect();
        prop_assert!(limits.len() <= MAX_RATE_LIMIT_GROUPS);
        prop_assert!(limits.iter().all(|limit| limit.is_effective() && limit.duration < Duration::MAX));
        let said_nothing = rate_limits::groups(&lines).next().is_none() && retry_after.is_none();
        if said_nothing && status == 429 {
            prop_assert_eq!(limits[0].duration, DEFAULT_RATE_LIMIT);
        }
    }

    #[test]
    fn decimal_seconds_round_up_as_floats_do(text in r"[+]?[0-9]{0,7}(\.[0-9]{0,6})?([eE][+-]?0?[0-6])?") {
        // So few digits stay exact in a float, whole or not.
        let expected = text.parse::<f64>().ok().map(|float| float.ceil() as u64);
        prop_assert_eq!(seconds_of(&text), expected);
    }

    #[test]
    fn a_text_is_a_number_when_floats_say_so(text in r"[+-]?(inf|nan|infinity|[0-9.eE+-]{0,8})") {
        prop_assert_eq!(seconds_of(&text).is_some(), text.parse::<f64>().is_ok());
    }

    #[test]
    fn groups_survive_being_written_and_read(texts in prop::collection::vec(group(), 1..6)) {
        let header = texts.join(",");
        let lines = [header.as_bytes()];
        let read: Vec<_> = rate_limits::groups(&lines).collect();
        prop_assert_eq!(read.len(), texts.len());
        let again = read.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let lines = [again.as_bytes()];
        let reread: Vec<_> = rate_limits::groups(&lines).collect();
        prop_assert_eq!(reread, read);
    }

    #[test]
    fn a_group_blocks_what_it_names(set in any::<u64>(), seconds in 1_u64..1_000_000) {
        let set = CategorySet::from_bits(set);
        let names: Vec<_> = set.iter().map(Category::as_str).collect();
        let header = format!("{seconds}:{}:key", names.join(";"));
        let limit = rate_limits::groups(&[header.as_bytes()]).next().map(|limit| limit.target);
        // `internal` is no name that a server knows.
        let known = set.without(CategorySet::of(Category::Internal));
        let expected = if set.is_empty() { Target::All } else { Target::Categories(known) };
        prop_assert_eq!(limit, Some(expected));
    }

    #[test]
    fn any_retry_after_is_survived(value in hostile(), wall in any::<u64>()) {
        let _ = retry_after::parse(&value, UnixTime::from_micros(wall));
    }

    #[test]
    fn dates_are_read_as_they_are_written(moment in 0..=LAST_SECOND, now in 1..=LAST_SECOND) {
        let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + StdDuration::from_secs(moment));
        let wall = UnixTime::from_secs(now);
        prop_assert_eq!(
            retry_after::parse(text.as_bytes(), wall),
            Some(Duration::from_secs(moment.saturating_sub(now)))
        );
    }

    #[test]
    fn the_other_forms_name_the_same_moment(moment in 0..=LAST_SECOND, away in -49_i64 * 31_557_600..49 * 31_557_600) {
        let imf = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + StdDuration::from_secs(moment));
        // Tue, 14 Nov 2023 22:13:50 GMT
        let fields: Vec<&str> = imf.split([' ', ',']).filter(|field| !field.is_empty()).collect();
        let [weekday, day, month, year, time, "GMT"] = fields[..] else { panic!("{imf}") };
        let weekday_long = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
            .into_iter()
            .find(|long| long.starts_with(weekday))
            .expect("one of seven");
        let near = UnixTime::from_secs(moment.saturating_add_signed(away));
        let rfc_850 = format!("{weekday_long}, {day}-{month}-{} {time} GMT", &year[2..]);
        let asctime = format!("{weekday} {month} {:>2} {time} {year}", day.trim_start_matches('0'));
        for text in [rfc_850, asctime] {
            prop_assert_eq!(
                http_date::parse(text.as_bytes(), near),
                Some(UnixTime::from_secs(moment)),
                "{}", text
            );
        }
    }

    #[test]
    fn what_another_parser_reads_as_a_date_is_read_the_same(
        text in "(Mon|Tue|Fri)(, [0-3][0-9] (Nov|Feb|Dec) [12][0-9]{3} | (Nov|Feb|Dec) [ 0-3][0-9] )[0-2][0-9]:[0-6][0-9]:[0-6][0-9] (GMT|[12][0-9]{3})"
    ) {
        if let Ok(date) = httpdate::parse_http_date(&text) {
            let seconds = date.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let wall = UnixTime::from_secs(1_700_000_000);
            prop_assert_eq!(http_date::parse(text.as_bytes(), wall), Some(UnixTime::from_secs(seconds)));
        }
    }
}
