//! Envelopes written from items and elements, and client reports.

use super::super::{
    ContainerKind, EnvelopeFields, Trace, describe, element_trace_id, items, write_container, write_header,
    write_items,
};
use super::{Sink, naive, text};
use crate::item::{Category, DestinationId, DropReason};
use crate::limits::{MAX_CLIENT_REPORT_BYTES, MAX_REPORT_ENTRIES};
use crate::time::UnixTime;
use crate::wire::WriteError;
use crate::wire::client_report::{self, Entry};
use std::vec;
use std::vec::Vec;

const NOW: UnixTime = UnixTime::from_micros(1_767_323_045_678_901);

const PLAIN: EnvelopeFields<'static> = EnvelopeFields {
    sent_at: NOW,
    sdk_name: "sentry.test",
    sdk_version: "1.0",
    dsn: None,
    event_id: None,
    trace: None,
};

#[test]
fn the_header_has_what_it_was_given() {
    let mut out = Sink::default();
    write_header(&PLAIN, &mut out).unwrap();
    assert_eq!(
        text(&out.0),
        "{\"sent_at\":\"2026-01-02T03:04:05.678901Z\",\"sdk\":{\"name\":\"sentry.test\",\"version\":\"1.0\"}}\n"
    );
    let mut out = Sink::default();
    let fields = EnvelopeFields {
        dsn: Some("https://k@h/1"),
        event_id: Some([0xAB; 16]),
        trace: Some(Trace {
            trace_id: [1; 16],
            public_key: "k",
            release: Some("a\"b"),
            environment: None,
        }),
        ..PLAIN
    };
    write_header(&fields, &mut out).unwrap();
    assert_eq!(
        text(&out.0),
        "{\"event_id\":\"abababababababababababababababab\",\"sent_at\":\"2026-01-02T03:04:05.678901Z\",\"sdk\":{\"name\":\"sentry.test\",\"version\":\"1.0\"},\"dsn\":\"https://k@h/1\",\"trace\":{\"trace_id\":\"01010101010101010101010101010101\",\"public_key\":\"k\",\"release\":\"a\\\"b\"}}\n"
    );
    let (header, _) = items(&out.0).unwrap();
    assert_eq!(header.event_id, Some([0xAB; 16]));
    assert_eq!(header.trace_id, Some([1; 16]));
}

#[test]
fn items_follow_each_other() {
    let mut out = Sink::default();
    write_header(&PLAIN, &mut out).unwrap();
    let sessions: [&[&[u8]]; 2] = [
        &[b"{\"type\":\"ses", b"sion\"}\n{", b"}"],
        &[b"{\"type\":\"session\",\"length\":1}\n\n"],
    ];
    let written = write_items(sessions.iter().map(|item| item.iter().copied()), &mut out);
    assert_eq!(written, Ok(2));
    let summary = describe(&out.0).unwrap();
    assert_eq!(summary.total(Category::Session), 2);
    assert!(out.0.ends_with(b"\n\n\n"));
}

#[test]
fn a_container_announces_exactly_what_it_holds() {
    for (kind, category) in [
        (ContainerKind::Log, Category::LogItem),
        (ContainerKind::TraceMetric, Category::TraceMetric),
        (ContainerKind::Span, Category::Span),
    ] {
        assert_eq!(ContainerKind::of(category), Some(kind));
        let mut out = Sink::default();
        write_header(&PLAIN, &mut out).unwrap();
        let elements: [&[&[u8]]; 3] = [&[b"{\"a\"", b":1}"], &[b"{}"], &[b"{\"b\":[]}"]];
        let elements = elements.iter().map(|element| element.iter().copied());
        write_container(kind, 3, 17, elements, &mut out).unwrap();
        let envelope = naive::parse(&out.0).unwrap_or_else(|error| panic!("{error} {}", text(&out.0)));
        let [item] = &envelope.items[..] else {
            panic!("one item")
        };
        assert_eq!(item.item_type(), kind.item_type());
        assert_eq!(item.header["item_count"], 3);
        assert_eq!(item.header["content_type"], kind.content_type());
        assert_eq!(
            text(&item.payload),
            r#"{"version":2,"items":[{"a":1},{},{"b":[]}]}"#
        );
        let header = describe(&out.0)
            .unwrap()
            .record_header(DestinationId::default())
            .unwrap();
        assert_eq!((header.count.category, header.count.quantity), (category, 3));
    }
    assert_eq!(ContainerKind::of(Category::Error), None);
}

#[test]
fn a_container_of_other_elements_than_announced_is_refused() {
    for (count, bytes) in [(2, 4), (1, 3), (0, 0)] {
        let elements: [[&[u8]; 1]; 1] = [[b"{}"]];
        let mut out = Sink::default();
        let written = write_container(ContainerKind::Log, count, bytes, elements, &mut out);
        assert!(matches!(written, Err(WriteError::Invalid(_))), "{count} {bytes}");
    }
}

#[test]
fn the_trace_id_of_an_element_is_its_own() {
    let id = |element: &str| element_trace_id(element.as_bytes().chunks(3));
    assert_eq!(
        id(
            r#"{"links":[{"trace_id":"ffffffffffffffffffffffffffffffff"}],"trace_id":"0123456789abcdef0123456789abcdef","#
        ),
        Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes())
    );
    for none in [
        "{}",
        "{\"trace_id\":5}",
        "{\"trace_id\":\"5\"}",
        "[\"trace_id\"]",
        "",
        "x",
    ] {
        assert_eq!(id(none), None, "{none}");
    }
}

/// The entries that a report of `entries` tells, and how many it took, read back in pieces of `size` bytes.
fn told(entries: &[Entry], size: usize) -> (Vec<Entry>, usize) {
    let mut out = Sink(b"{}\n".to_vec());
    let taken = client_report::write_item(entries.iter().copied(), NOW, &mut out).unwrap();
    let envelope = naive::parse(&out.0).unwrap_or_else(|error| panic!("{error} {}", text(&out.0)));
    for item in &envelope.items {
        assert!(item.payload.len() <= MAX_CLIENT_REPORT_BYTES);
        assert!(item.header.contains_key("length"));
    }
    let mut seen = Vec::new();
    client_report::each_in_envelope(out.0.chunks(size), |entry| seen.push(entry));
    (seen, taken)
}

fn entry(reason: DropReason, category: Category, quantity: u64) -> Entry {
    Entry {
        category,
        reason,
        quantity,
    }
}

#[test]
fn a_report_reads_back_as_it_was_written() {
    let entries = [
        entry(DropReason::QueueOverflow, Category::Error, 5),
        entry(DropReason::NetworkError, Category::LogByte, u64::MAX),
    ];
    for size in [1, 5, 1000] {
        assert_eq!(told(&entries, size), (entries.to_vec(), 2));
    }
    let mut out = Sink::default();
    client_report::write_item(entries.into_iter(), NOW, &mut out).unwrap();
    assert_eq!(
        text(&out.0),
        "{\"type\":\"client_report\",\"length\":205}\n{\"timestamp\":\"2026-01-02T03:04:05.678901Z\",\"discarded_events\":[{\"reason\":\"queue_overflow\",\"category\":\"error\",\"quantity\":5},{\"reason\":\"network_error\",\"category\":\"log_byte\",\"quantity\":18446744073709551615}]}\n"
    );
}

#[test]
fn what_must_not_be_told_upstream_is_passed_over() {
    let entries = [
        entry(DropReason::ServerRateLimited, Category::Error, 5),
        entry(DropReason::Closed, Category::Internal, 5),
        entry(DropReason::Closed, Category::Error, 0),
        entry(DropReason::Closed, Category::Error, 1),
    ];
    let queue_overflow = entry(DropReason::QueueOverflow, Category::Error, 1);
    assert_eq!(told(&entries, 64), (vec![queue_overflow], 4));
    let mut out = Sink::default();
    let taken = client_report::write_item(entries[..3].iter().copied(), NOW, &mut out);
    assert_eq!((taken, out.0.len()), (Ok(3), 0));
}

#[test]
fn a_report_of_the_longest_entries_stays_within_its_bound() {
    let longest = entry(
        DropReason::InternalSdkError,
        Category::TransactionProcessed,
        u64::MAX,
    );
    let (seen, taken) = told(&[longest; MAX_REPORT_ENTRIES + 1], 4096);
    assert_eq!((seen.len(), taken), (MAX_REPORT_ENTRIES, MAX_REPORT_ENTRIES));
    let names = DropReason::ALL
        .iter()
        .filter_map(|reason| reason.client_report_name());
    assert_eq!(names.map(str::len).max(), Some("internal_sdk_error".len()));
    let names = Category::ALL.iter().map(|category| category.as_str().len());
    assert_eq!(names.max(), Some("transaction_processed".len()));
}

#[test]
fn reports_of_other_clients_are_read_as_far_as_they_make_sense() {
    let report = r#"{"discarded_events":{"reason":"x"},"rate_limited_events":[{"reason":"a","category":"error","quantity":9}],"discarded_events":[{"quantity":3,"category":"error","reason":"before_send","extra":{"quantity":8}},{"category":"error","quantity":2,"reason":"some new word"},{"category":"made_up","quantity":1,"reason":"ignored"},{"category":"span","quantity":0,"reason":"ignored"},{"category":"span","reason":"ignored"},{"category":"span","quantity":-1,"reason":"ignored"},5,{"category":"span","quantity":4,"reason":"ratelimit_backoff"}],"timestamp":5}"#;
    for size in [1, 7, 1000] {
        let mut reader = client_report::Reader::new();
        let mut seen = Vec::new();
        for piece in report.as_bytes().chunks(size) {
            reader.feed(piece, |entry| seen.push(entry));
        }
        assert_eq!(
            seen,
            [
                entry(DropReason::BeforeSend, Category::Error, 3),
                entry(DropReason::InternalSdkError, Category::Error, 2),
                entry(DropReason::RatelimitBackoff, Category::Span, 4),
            ]
        );
    }
}

#[test]
fn a_broken_report_is_read_up_to_the_mistake() {
    let mut reader = client_report::Reader::new();
    let mut seen = 0;
    let report = br#"{"discarded_events":[{"category":"span","quantity":4,"reason":"ignored"},x{"category":"span","quantity":4,"reason":"ignored"}]}"#;
    reader.feed(report, |_| seen += 1);
    reader.feed(report, |_| seen += 1);
    assert_eq!(seen, 1);
}
