//! Filtering and sending ready-made envelopes.

use super::super::{Filtered, counts_of, write_filtered};
use super::{Sink, text};
use crate::item::{Category, CategorySet};
use crate::time::UnixTime;
use crate::wire::WriteError;
use std::format;
use std::string::String;
use std::vec::Vec;

const NOW: UnixTime = UnixTime::from_micros(1_767_323_045_678_901);
const SENT_AT: &str = r#""sent_at":"2026-01-02T03:04:05.678901Z""#;

/// What is sent of `envelope`, whatever pieces it lies in.
fn filtered(envelope: &str, removed: CategorySet) -> String {
    let mut outputs = Vec::new();
    for size in [1, 2, 3, 7, 256, envelope.len().max(1)] {
        let mut out = Sink::default();
        write_filtered(envelope.as_bytes().chunks(size), removed, NOW, &mut out).unwrap();
        outputs.push(text(&out.0));
    }
    assert!(outputs.windows(2).all(|two| two[0] == two[1]), "{outputs:?}");
    outputs.swap_remove(0)
}

fn sent(envelope: &str) -> String {
    filtered(envelope, CategorySet::EMPTY)
}

fn counts(envelope: &str, removed: CategorySet) -> Vec<(Category, u32)> {
    let mut found = Vec::new();
    let chunks = envelope.as_bytes().chunks(5);
    counts_of(chunks, removed, |count| {
        found.push((count.category, count.quantity))
    })
    .unwrap();
    found
}

/// An item of `item_type` whose payload is that word again.
fn item(item_type: &str) -> String {
    format!("{{\"type\":\"{item_type}\"}}\n{item_type}\n")
}

/// Types that are left of an envelope with these when `category` is limited.
fn left(types: &[&'static str], category: Category) -> Vec<&'static str> {
    let items: String = types.iter().map(|item_type| item(item_type)).collect();
    let output = filtered(&format!("{{}}\n{items}"), CategorySet::of(category));
    let kept: Vec<_> = types
        .iter()
        .copied()
        .filter(|item_type| output.contains(&item(item_type)))
        .collect();
    let expected: String = kept.iter().map(|item_type| item(item_type)).collect();
    assert_eq!(output, format!("{{{SENT_AT}}}\n{expected}"));
    kept
}

#[test]
fn the_time_of_sending_comes_first_when_there_was_none() {
    assert_eq!(sent("{}"), format!("{{{SENT_AT}}}\n"));
    assert_eq!(
        sent("{\"dsn\":\"x\"}\n{\"type\":\"event\"}\nab"),
        format!("{{{SENT_AT},\"dsn\":\"x\"}}\n{{\"type\":\"event\"}}\nab\n")
    );
    assert_eq!(sent("\n { }\n"), format!("\n {{{SENT_AT} }}\n"));
}

#[test]
fn the_time_of_sending_takes_the_place_of_the_old_one() {
    for old in [
        "\"2020-01-01T00:00:00Z\"",
        "null",
        "5",
        "[{\"a\":[1]}]",
        "\"\\\"}\"",
    ] {
        assert_eq!(
            sent(&format!("{{\"a\":1,\"sent_at\" : {old} ,\"b\":2}}\n")),
            format!(
                "{{\"a\":1,\"sent_at\" : {} ,\"b\":2}}\n",
                &SENT_AT["\"sent_at\":".len()..]
            )
        );
    }
    assert_eq!(
        sent("{\"trace\":{\"sent_at\":\"no\"}}"),
        format!("{{{SENT_AT},\"trace\":{{\"sent_at\":\"no\"}}}}\n")
    );
}

#[test]
fn line_feeds_the_last_item_may_lack_are_put_in() {
    let header = format!("{{{SENT_AT}}}\n");
    for (envelope, expected) in [
        ("{}\n{\"type\":\"event\"}", "{\"type\":\"event\"}\n\n"),
        ("{}\n{\"type\":\"event\"}\n", "{\"type\":\"event\"}\n\n"),
        (
            "{}\n{\"type\":\"event\",\"length\":0}",
            "{\"type\":\"event\",\"length\":0}\n\n",
        ),
        (
            "{}\n{\"type\":\"event\",\"length\":2}\na\n",
            "{\"type\":\"event\",\"length\":2}\na\n\n",
        ),
        ("{}\n{\"type\":\"event\"}\nab", "{\"type\":\"event\"}\nab\n"),
        ("{}\n{\"type\":\"event\"}\nab\n", "{\"type\":\"event\"}\nab\n"),
    ] {
        assert_eq!(sent(envelope), format!("{header}{expected}"), "{envelope:?}");
    }
}

#[test]
fn blank_lines_and_carriage_returns_are_passed_on() {
    let items = "\r\n\n{\"type\":\"event\"}\nab\r\n\n {\"type\":\"event\"}\n\n";
    assert_eq!(sent(&format!("{{}}\n{items}")), format!("{{{SENT_AT}}}\n{items}"));
}

#[test]
fn only_limited_items_are_left_out() {
    let types = ["session", "log", "check_in", "made_up", "client_report"];
    assert_eq!(
        left(&types, Category::LogByte),
        ["session", "check_in", "made_up", "client_report"]
    );
    assert_eq!(
        left(&types, Category::Default),
        ["session", "log", "check_in", "client_report"]
    );
    assert_eq!(left(&types, Category::Error), types);
}

#[test]
fn what_needs_an_event_goes_with_it_wherever_it_stands() {
    let types = [
        "attachment",
        "profile",
        "event",
        "user_report",
        "feedback",
        "form_data",
        "replay_event",
        "replay_recording",
        "session",
        "sessions",
        "log",
        "trace_metric",
        "span",
        "check_in",
        "client_report",
        "profile_chunk",
        "made_up",
    ];
    assert_eq!(left(&types, Category::Error), types[7..]);
}

#[test]
fn an_event_that_stays_keeps_what_needs_it() {
    let types = ["event", "attachment", "user_report", "profile"];
    assert_eq!(
        left(&types, Category::Attachment),
        ["event", "user_report", "profile"]
    );
    assert_eq!(
        left(&types, Category::Feedback),
        ["event", "attachment", "profile"]
    );
    // The first item that makes an event decides.
    assert_eq!(
        left(&["event", "feedback", "attachment"], Category::Feedback),
        ["event", "attachment"]
    );
}

#[test]
fn a_limit_on_spans_covers_transactions() {
    assert_eq!(
        left(&["transaction", "attachment", "session"], Category::Span),
        ["session"]
    );
    assert_eq!(left(&["span", "transaction"], Category::Transaction), ["span"]);
}

#[test]
fn crash_dumps_go_where_errors_go() {
    let dump = "{\"type\":\"attachment\",\"attachment_type\":\"event.minidump\"}\nMDMP\n";
    let envelope = format!("{{}}\n{dump}{}", item("attachment"));
    let header = format!("{{{SENT_AT}}}\n");
    assert_eq!(
        filtered(&envelope, CategorySet::of(Category::Attachment)),
        format!("{header}{dump}")
    );
    assert_eq!(filtered(&envelope, CategorySet::of(Category::Error)), header);
    assert_eq!(
        counts(&envelope, CategorySet::of(Category::Attachment)),
        [
            (Category::Error, 1),
            (Category::Attachment, 4),
            (Category::AttachmentItem, 1)
        ]
    );
    assert_eq!(counts(&envelope, CategorySet::of(Category::Error)), []);
}

#[test]
fn attachments_of_a_trace_outlive_the_event() {
    let attachment =
        "{\"type\":\"attachment\",\"content_type\":\"application/vnd.sentry.trace-attachment\"}\n{}\n";
    assert_eq!(
        filtered(
            &format!("{{}}\n{}{attachment}", item("event")),
            CategorySet::of(Category::Error)
        ),
        format!("{{{SENT_AT}}}\n{attachment}")
    );
}

#[test]
fn a_limit_on_durations_covers_profile_chunks() {
    assert_eq!(
        left(&["profile_chunk", "profile_chunk_ui"], Category::ProfileDuration),
        ["profile_chunk_ui"]
    );
}

#[test]
fn what_is_left_is_counted() {
    let envelope = format!("{{}}\n{}{}{}", item("attachment"), item("event"), item("session"));
    assert_eq!(
        counts(&envelope, CategorySet::EMPTY),
        [
            (Category::Error, 1),
            (Category::Attachment, 10),
            (Category::Session, 1),
            (Category::AttachmentItem, 1)
        ]
    );
    assert_eq!(
        counts(&envelope, CategorySet::of(Category::Error)),
        [(Category::Session, 1)]
    );
    assert_eq!(counts(&envelope, CategorySet::ALL), []);
}

#[test]
fn nothing_is_counted_of_what_is_no_envelope() {
    let broken = b"{}\n{\"type\":\"event\"}\nab\nx";
    let counted = counts_of([&broken[..]].into_iter(), CategorySet::EMPTY, |_| {
        panic!("counted")
    });
    assert!(counted.is_err());
    let mut out = Sink::default();
    let written = write_filtered([&broken[..]].into_iter(), CategorySet::EMPTY, NOW, &mut out);
    assert!(matches!(written, Err(WriteError::Invalid(_))));
}

#[test]
fn five_hundred_items_can_be_told_apart() {
    let items: String = (0..250).map(|_| item("session") + &item("log")).collect();
    let envelope = format!("{{}}\n{items}");
    let mut out = Sink::default();
    let removed = CategorySet::of(Category::LogItem);
    let written = write_filtered(envelope.as_bytes().chunks(256), removed, NOW, &mut out);
    let expected = Filtered {
        items: 250,
        left_out: 250,
    };
    assert_eq!(written, Ok(expected));
    assert_eq!(
        text(&out.0),
        format!("{{{SENT_AT}}}\n{}", item("session").repeat(250))
    );
}

#[test]
fn a_sink_that_fails_says_so() {
    let mut memory = [0; 40];
    let mut out = &mut memory[..];
    let written = write_filtered([&b"{}\n"[..]].into_iter(), CategorySet::EMPTY, NOW, &mut out);
    assert_eq!(written, Err(WriteError::Sink(embedded_io::SliceWriteError::Full)));
}
