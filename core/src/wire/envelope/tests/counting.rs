//! What items and envelopes count for.

use super::super::{ItemType, describe, describe_item};
use crate::item::{Category, CategorySet, DestinationId, Form, Priority, TraceKey};
use std::format;
use std::string::String;
use std::vec::Vec;

/// The counts of one item with these header members and this payload.
fn count(header: &str, payload: &str) -> Vec<(Category, u32)> {
    let item = format!("{{\"length\":{},{header}}}\n{payload}", payload.len());
    let summary = describe_item(item.as_bytes()).unwrap();
    summary
        .quantities()
        .iter()
        .map(|count| (count.category, count.quantity))
        .collect()
}

fn logs(logs: &str) -> Vec<(Category, u32)> {
    count(
        "\"type\":\"log\"",
        &format!("{{\"version\":2,\"items\":[{logs}]}}"),
    )
}

#[test]
fn a_transaction_counts_its_spans_and_itself() {
    let spans = |payload: &str| count("\"type\":\"transaction\"", payload)[1];
    assert_eq!(
        count(
            "\"type\":\"transaction\"",
            r#"{"spans":[{"spans":[1,2]},{}],"x":[1]}"#
        ),
        [(Category::Transaction, 1), (Category::Span, 3)]
    );
    assert_eq!(spans("{}"), (Category::Span, 1));
    assert_eq!(spans(r#"{"spans":null}"#), (Category::Span, 1));
    assert_eq!(spans(r#"{"spans":{"a":1,"b":{}}}"#), (Category::Span, 1));
    assert_eq!(spans(r#"{"x":{"spans":[1,2]}}"#), (Category::Span, 1));
    assert_eq!(spans(r#"{"spans":[{},{}],"spans":[{}]}"#), (Category::Span, 2));
    assert_eq!(spans(r#"{"spans":[[],"a",1,true,null]}"#), (Category::Span, 6));
}

#[test]
fn broken_json_counts_as_far_as_it_can_be_read() {
    assert_eq!(
        count("\"type\":\"transaction\"", r#"{"spans":[{},{},x"#)[1],
        (Category::Span, 3)
    );
    assert_eq!(
        count("\"type\":\"transaction\"", "\u{1f}\u{8b}\u{8}")[1],
        (Category::Span, 1)
    );
    assert_eq!(
        logs(r#"{"body":"abc"},{"body":"def","attributes":{"k":{"value":1"#),
        [(Category::LogItem, 2), (Category::LogByte, 3 + 3 + 1 + 8)]
    );
}

#[test]
fn an_attachment_counts_bytes_and_itself() {
    let attachment = |header: &str, payload| count(&format!("\"type\":\"attachment\"{header}"), payload);
    assert_eq!(
        attachment("", "four"),
        [(Category::Attachment, 4), (Category::AttachmentItem, 1)]
    );
    assert_eq!(attachment("", "")[0], (Category::Attachment, 1));
    let trace = r#","content_type":"application/vnd.sentry.trace-attachment","meta_length":3"#;
    assert_eq!(attachment(trace, "meta bytes")[0], (Category::Attachment, 7));
    assert_eq!(attachment(trace, "m")[0], (Category::Attachment, 1));
    let placeholder =
        r#","content_type":"application/vnd.sentry.attachment-ref+json","attachment_length":5000"#;
    assert_eq!(attachment(placeholder, "{}")[0], (Category::Attachment, 5000));
}

#[test]
fn session_aggregates_count_their_four_sums() {
    let sessions = |payload: &str| count("\"type\":\"sessions\"", payload)[0].1;
    assert_eq!(
        sessions(
            r#"{"aggregates":[{"started":"x","exited":50,"errored":2},{"abnormal":3,"crashed":4,"did":{"exited":9}}],"attrs":{"exited":7}}"#
        ),
        59
    );
    assert_eq!(sessions("{}"), 1);
    assert_eq!(sessions(r#"{"aggregates":[{"exited":-1,"errored":"5"}]}"#), 1);
    assert_eq!(
        sessions(r#"{"aggregates":[{"exited":18446744073709551615},{"exited":1}]}"#),
        u32::MAX
    );
    assert_eq!(count("\"type\":\"session\"", "{}"), [(Category::Session, 1)]);
}

#[test]
fn a_log_counts_its_body_and_attributes() {
    assert_eq!(
        logs(
            r#"{"timestamp":946684800.0,"body":"7 bytes","some other":"fields","attributes":{"k1":{"value":"string value","type":"string"},"k2":{"value":18446744073709551615,"type":"integer"},"k3":{"value":42.01,"type":"double"},"k4":{"value":false,"type":"boolean"},"k5":{"value":{"nested":{"array":[1.0,2,-12,"7 bytes",false]}},"type":"other"}}}"#
        ),
        // 7 for the body, 82 for the attributes: the example of Relay's own tests.
        [(Category::LogItem, 1), (Category::LogByte, 89)]
    );
}

#[test]
fn a_log_counts_at_least_one_byte() {
    assert_eq!(
        logs(r#"{},{"body":""},{"body":5},{"attributes":[]}"#),
        [(Category::LogItem, 4), (Category::LogByte, 4)]
    );
    assert_eq!(logs(""), [(Category::LogItem, 1), (Category::LogByte, 1)]);
}

#[test]
fn strings_count_by_what_they_mean_not_how_they_are_written() {
    assert_eq!(
        logs(r#"{"body":"\u0041\n\ud83d\ude00"}"#)[1],
        (Category::LogByte, 6)
    );
    assert_eq!(
        logs(r#"{"b\u006fdy":"ab","attributes":{"\u0061":{"v\u0061lue":"x"}}}"#)[1].1,
        4
    );
}

#[test]
fn of_two_equal_names_the_last_one_counts() {
    assert_eq!(logs(r#"{"body":"abcd","body":"a"}"#)[1].1, 1);
    assert_eq!(
        logs(r#"{"attributes":{"k":{"value":"abcdef"}},"attributes":{"k":{"value":"ab","value":"abc"}}}"#)[1]
            .1,
        4
    );
}

#[test]
fn attributes_that_are_none_count_their_name_only() {
    assert_eq!(
        logs(r#"{"attributes":{"ab":"plain","cd":[{"value":"x"}],"ef":null,"g":{"type":"string"},"h":{"value":null}}}"#)[1].1,
        8
    );
}

#[test]
fn the_header_says_how_many_when_it_says_so() {
    let header = "\"type\":\"log\",\"item_count\":7";
    assert_eq!(
        count(header, r#"{"items":[{"body":"a"}]}"#),
        [(Category::LogItem, 7), (Category::LogByte, 1)]
    );
    assert_eq!(
        count("\"type\":\"span\",\"item_count\":30", "{}"),
        [(Category::Span, 30)]
    );
    assert_eq!(
        count("\"type\":\"event\",\"item_count\":30", "{}"),
        [(Category::Error, 1)]
    );
}

#[test]
fn a_container_may_have_its_version_behind_its_items_or_none() {
    for payload in [
        r#"{"items":[{"body":"abc"},{"body":"de"}],"version":2}"#,
        r#"{"version":2,"ingest_settings":{"items":[1]},"items":[{"body":"abc"},{"body":"de"}]}"#,
        r#"{"items":[{"body":"abc"},{"body":"de"}],"meta":[{"body":"not a log"}]}"#,
    ] {
        assert_eq!(
            count("\"type\":\"log\"", payload),
            [(Category::LogItem, 2), (Category::LogByte, 5)],
            "{payload}"
        );
    }
    assert_eq!(
        count("\"type\":\"log\"", r#"{"body":"one log, no container"}"#),
        [(Category::LogItem, 1), (Category::LogByte, 21)]
    );
}

#[test]
fn a_metric_counts_its_name_its_value_and_attributes() {
    let payload =
        r#"{"items":[{"name":"abc","value":1,"body":"no"},{"attributes":{"k":{"value":true}},"name":"d"}]}"#;
    assert_eq!(
        count("\"type\":\"trace_metric\",\"item_count\":2", payload),
        [
            (Category::TraceMetric, 2),
            (Category::TraceMetricByte, 3 + 8 + 1 + 8 + 2)
        ]
    );
}

#[test]
fn profiles_count_by_platform() {
    assert_eq!(count("\"type\":\"profile\"", "{}"), [(Category::Profile, 1)]);
    assert_eq!(
        count("\"type\":\"profile\",\"platform\":\"android\"", "{}"),
        [(Category::Profile, 1), (Category::ProfileUi, 1)]
    );
    assert_eq!(
        count("\"type\":\"profile_chunk\",\"platform\":\"python\"", "{}"),
        [(Category::ProfileChunk, 1), (Category::ProfileDuration, 0)]
    );
    let ui = [(Category::ProfileChunkUi, 1), (Category::ProfileDurationUi, 0)];
    assert_eq!(
        count("\"type\":\"profile_chunk\",\"platform\":\"cocoa\"", "{}"),
        ui
    );
    assert_eq!(count("\"type\":\"profile_chunk_ui\"", "{}"), ui);
}

#[test]
fn everything_else_counts_one() {
    for (item_type, category) in [
        (ItemType::Event, Category::Error),
        (ItemType::UnrealReport, Category::Error),
        (ItemType::ReplayEvent, Category::Replay),
        (ItemType::ReplayRecording, Category::Replay),
        (ItemType::ReplayVideo, Category::Replay),
        (ItemType::CheckIn, Category::Monitor),
        (ItemType::Feedback, Category::Feedback),
        (ItemType::UserReport, Category::Feedback),
        (ItemType::Security, Category::Security),
        (ItemType::RawSecurity, Category::Security),
        (ItemType::MetricBuckets, Category::MetricBucket),
        (ItemType::ClientReport, Category::Internal),
        (ItemType::FormData, Category::Default),
    ] {
        let header = format!("\"type\":\"{}\"", item_type.as_str());
        assert_eq!(count(&header, "{}"), [(category, 1)], "{item_type:?}");
    }
    assert_eq!(count("\"type\":\"statsd\"", "x"), [(Category::Default, 1)]);
}

#[test]
fn a_plain_envelope_is_recorded_with_exact_counts() {
    let envelope = "{\"trace\":{\"trace_id\":\"00000000000000000000000000000abc\"}}\n{\"type\":\"transaction\"}\n{\"spans\":[1]}\n{\"type\":\"transaction\"}\n{}\n";
    let summary = describe(envelope.as_bytes()).unwrap();
    assert_eq!(summary.items(), 2);
    let header = summary.record_header(DestinationId::new(3, 4)).unwrap();
    assert!(!header.is_mixed());
    assert_eq!(
        (header.count.category, header.count.quantity),
        (Category::Transaction, 2)
    );
    let also = header.also.unwrap();
    assert_eq!((also.category, also.quantity), (Category::Span, 3));
    assert_eq!(header.priority, Priority::Medium);
    assert_eq!(header.form, Form::Envelope);
    assert_eq!(header.trace, TraceKey(0xabc));
    assert_eq!(header.destination, DestinationId::new(3, 4));
}

/// Category, priority and mixedness of the header for an envelope of these types.
fn record(types: &[&str]) -> (Category, Priority, bool) {
    let items: String = types
        .iter()
        .map(|item_type| format!("{{\"type\":\"{item_type}\"}}\n{{}}\n"))
        .collect();
    let summary = describe(format!("{{}}\n{items}").as_bytes()).unwrap();
    let header = summary.record_header(DestinationId::default()).unwrap();
    (header.count.category, header.priority, header.is_mixed())
}

#[test]
fn a_mixed_envelope_goes_by_its_most_important_item() {
    assert_eq!(
        record(&["attachment", "session", "event"]),
        (Category::Error, Priority::Critical, true)
    );
    assert_eq!(
        record(&["replay_recording", "log"]),
        (Category::LogItem, Priority::Low, true)
    );
    assert_eq!(
        record(&["span", "transaction"]),
        (Category::Transaction, Priority::Medium, true)
    );
    assert_eq!(
        record(&["session", "sessions"]),
        (Category::Session, Priority::High, false)
    );
}

#[test]
fn a_client_report_that_rides_along_decides_nothing() {
    assert_eq!(
        record(&["client_report", "log"]),
        (Category::LogItem, Priority::Low, true)
    );
    assert_eq!(
        record(&["client_report"]),
        (Category::Internal, Priority::Medium, false)
    );
}

#[test]
fn a_crash_dump_counts_as_the_error_it_becomes() {
    let dump = "{\"type\":\"attachment\",\"length\":2,\"attachment_type\":\"event.minidump\"}\nMD\n";
    let alone = describe(format!("{{}}\n{dump}{dump}").as_bytes()).unwrap();
    assert_eq!(alone.total(Category::Error), 1);
    assert_eq!(alone.total(Category::Attachment), 4);
    let header = alone.record_header(DestinationId::default()).unwrap();
    assert_eq!(header.priority, Priority::Critical);
    assert!(header.is_mixed());
    let with_event = describe(format!("{{}}\n{dump}{{\"type\":\"event\"}}\n{{}}").as_bytes()).unwrap();
    assert_eq!(with_event.total(Category::Error), 1);
}

#[test]
fn an_envelope_without_items_is_not_recorded() {
    let summary = describe(b"{}").unwrap();
    assert_eq!(summary.record_header(DestinationId::default()), None);
    assert_eq!(summary.categories(), CategorySet::EMPTY);
}

#[test]
fn sums_saturate() {
    let item = "{\"type\":\"span\",\"item_count\":4294967295}\n{}\n";
    let summary = describe(format!("{{}}\n{item}{item}").as_bytes()).unwrap();
    assert_eq!(summary.total(Category::Span), u32::MAX);
}

#[test]
fn a_single_item_is_its_header_and_payload_and_nothing_else() {
    for good in [
        "{\"type\":\"event\"}\nab",
        "{\"type\":\"event\"}\n",
        "{\"type\":\"event\",\"length\":2}\n\n\n",
    ] {
        assert!(describe_item(good.as_bytes()).is_ok(), "{good:?}");
    }
    for bad in [
        "{\"type\":\"event\"}",
        "{\"type\":\"event\",\"length\":0}",
        "{\"type\":\"event\"}\nab\n",
        "{\"type\":\"event\",\"length\":2}\nab\n",
        " {\"type\":\"event\"}\nab",
        "{\"type\":\"event\"}\nab\n{\"type\":\"event\"}\ncd",
        "",
    ] {
        let error = describe_item(bad.as_bytes()).unwrap_err();
        assert_eq!(error.kind, super::super::EnvelopeErrorKind::NotOneItem, "{bad:?}");
    }
    assert!(describe_item(b"{}\n").is_err());
    let header = describe_item(b"{\"type\":\"session\"}\n{}")
        .unwrap()
        .record_header(DestinationId::default());
    assert_eq!(header.form, Form::Item);
    assert_eq!(
        (header.count.category, header.count.quantity),
        (Category::Session, 1)
    );
}
