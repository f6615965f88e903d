use super::*;
use std::format;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

fn header(text: &str) -> Vec<Limit<'_>> {
    let lines: &[&[u8]] = vec![text.as_bytes()].leak();
    groups(lines).collect()
}

fn of(categories: &[Category]) -> Target {
    Target::Categories(
        categories
            .iter()
            .fold(CategorySet::EMPTY, |set, category| set.with(*category)),
    )
}

fn answer(
    status: u16,
    rate_limits: &'static [&'static [u8]],
    retry_after: Option<&'static str>,
) -> Vec<Limit<'static>> {
    limits(&Response {
        status,
        rate_limits,
        retry_after: retry_after.map(str::as_bytes),
        wall: UnixTime::from_secs(1_700_000_000),
        ..Response::default()
    })
    .collect()
}

#[test]
fn a_group_carries_every_field() {
    let limits = header("60:transaction;error:organization:quota_exceeded:custom;spans:future");
    let [limit] = limits.as_slice() else {
        panic!("{limits:?}")
    };
    assert_eq!(limit.target, of(&[Category::Error, Category::Transaction]));
    assert_eq!(limit.duration, Duration::from_secs(60));
    assert_eq!(limit.scope, Scope::Organization);
    assert_eq!(limit.reason, Some("quota_exceeded"));
    assert!(limit.namespaces.contains(b"custom") && limit.namespaces.contains(b"spans"));
    assert!(!limit.namespaces.contains(b"sessions"));
}

#[test]
fn missing_fields_have_their_defaults() {
    for text in ["60", "60:", "60::", "60:::", "60::::", "60::galaxy", "60:;;:"] {
        let limits = header(text);
        assert_eq!(limits, [Limit::everything(Duration::from_secs(60))], "{text}");
        assert!(limits[0].namespaces.is_all());
    }
}

#[test]
fn white_space_around_tokens_is_ignored() {
    assert_eq!(
        header(" 60 : error ;\ttransaction : project : why : a ; b "),
        header("60:error;transaction:project:why:a;b")
            .iter()
            .map(|limit| Limit {
                namespaces: Namespaces(b"a ; b"),
                ..*limit
            })
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_number_that_is_none_drops_only_its_group() {
    let limits = header("x:error:key, :error:key, 60:span:key, 0x3c:error, 6 0:error");
    assert_eq!(limits.len(), 1);
    assert_eq!(limits[0].target, of(&[Category::Span]));
}

#[test]
fn unknown_categories_are_left_out_and_never_mean_all() {
    assert_eq!(header("60:foobar;;error:key")[0].target, of(&[Category::Error]));
    assert_eq!(header("60:foo;bar:key")[0].target, of(&[]));
    assert_eq!(header("60:Error;log;event:key")[0].target, of(&[]));
    assert_eq!(
        header("60:user_report_v2:key")[0].target,
        of(&[Category::Feedback])
    );
}

#[test]
fn every_category_is_known_by_its_name() {
    for category in Category::ALL {
        let text = format!("1:{}", category.as_str());
        let line: &[&[u8]] = &[text.as_bytes()];
        // No server counts in `internal`.
        let expected: &[_] = if category == Category::Internal {
            &[]
        } else {
            &[category]
        };
        assert_eq!(groups(line).next().unwrap().target, of(expected));
    }
}

#[test]
fn lines_are_one_list() {
    let lines: &[&[u8]] = &[b"60:error:key", b"", b",", b"120:transaction:key,5"];
    assert_eq!(groups(lines).count(), 3);
}

#[test]
fn at_most_so_many_groups_and_bytes_are_read() {
    let many = "1,".repeat(MAX_RATE_LIMIT_GROUPS + 1);
    assert_eq!(groups(&[many.as_bytes()]).count(), MAX_RATE_LIMIT_GROUPS);

    let mut long = "1:error:key:".to_string();
    long.push_str(&"r".repeat(MAX_RATE_LIMIT_HEADER_BYTES - 20));
    long.push_str(",2:span:key,3:session:key");
    assert!(long.len() > MAX_RATE_LIMIT_HEADER_BYTES);
    let lines: &[&[u8]] = &[long.as_bytes(), b"4:error:key"];
    let read: Vec<_> = groups(lines).map(|limit| limit.duration.as_secs()).collect();
    assert_eq!(
        read,
        [1],
        "the group cut by the bound and everything after it is left out"
    );
}

#[test]
fn the_header_counts_on_every_status_and_hides_retry_after() {
    for status in [200, 202, 400, 413, 429, 503] {
        let limits = answer(status, &[b"60:error:key"], Some("30"));
        assert_eq!(limits.len(), 1);
        assert_eq!(limits[0].target, of(&[Category::Error]), "{status}");
    }
}

#[test]
fn a_well_formed_group_without_effect_still_hides_retry_after_and_the_default() {
    for line in [
        &b"42:foo;bar:organization"[..],
        b"0:error:key",
        b"-2:error:key",
        b"inf:error:key",
        b"100000000000000000000:error:key",
    ] {
        let lines: &'static [&'static [u8]] = vec![line].leak();
        assert_eq!(answer(429, lines, Some("30")), [], "{}", line.escape_ascii());
    }
}

#[test]
fn retry_after_is_read_when_no_group_is_usable() {
    const UNUSABLE: [&[&[u8]]; 4] = [&[], &[b""], &[b"invalid"], &[b" ,, "]];
    for lines in UNUSABLE {
        for status in [200, 429, 503] {
            let limits = answer(status, lines, Some("30"));
            assert_eq!(limits, [Limit::everything(Duration::from_secs(30))]);
        }
    }
}

#[test]
fn retry_after_may_be_a_fraction_or_a_date() {
    let seconds = |value| {
        answer(429, &[], Some(value))
            .first()
            .map(|limit| limit.duration.as_secs())
    };
    assert_eq!(seconds("1.5"), Some(2));
    assert_eq!(seconds("Tue, 14 Nov 2023 22:13:50 GMT"), Some(30));
    assert_eq!(seconds(" 7 "), Some(7));
}

#[test]
fn retry_after_that_is_over_is_no_limit() {
    for value in ["0", "-10", "1e99", "Tue, 14 Nov 2023 22:12:50 GMT"] {
        assert_eq!(answer(429, &[], Some(value)), [], "{value}");
    }
}

#[test]
fn a_429_that_says_nothing_usable_limits_everything_for_the_default() {
    for retry_after in [
        None,
        Some("soon"),
        Some(""),
        Some("Tue, 99 Nov 2023 99:99:99 GMT"),
    ] {
        assert_eq!(
            answer(429, &[], retry_after),
            [Limit::everything(DEFAULT_RATE_LIMIT)]
        );
        assert_eq!(answer(503, &[], retry_after), []);
    }
}

#[test]
fn limits_beyond_the_clock_are_over_on_arrival() {
    assert_eq!(
        header("18446744073709551615:error:key")[0].duration,
        Duration::ZERO
    );
    assert_eq!(
        header("18446744073709:error:key")[0].duration,
        Duration::from_secs(18_446_744_073_709)
    );
}

#[test]
fn a_limit_is_written_as_relay_writes_it() {
    for text in [
        "60:error;transaction:project",
        "42::organization:my_limit",
        "42:metric_bucket:organization:my_limit:custom",
        "42:metric_bucket:organization::custom;spans",
        "5::key",
    ] {
        assert_eq!(header(text)[0].to_string(), text);
    }
}

#[test]
fn a_limit_of_unknown_categories_is_never_written_as_one_of_all() {
    let text = header("60:foo:key")[0].to_string();
    assert_eq!(header(text.clone().leak())[0].target, of(&[]), "{text}");
}

#[test]
fn bytes_that_are_no_text_do_not_spoil_the_limit() {
    let lines: &[&[u8]] = &[b"60:error;\xff:key:\xff\xfe:\xfd"];
    let limit = groups(lines).next().unwrap();
    assert_eq!(limit.target, of(&[Category::Error]));
    assert_eq!(limit.reason, None);
    assert!(limit.namespaces.contains(b"\xfd"));
}
