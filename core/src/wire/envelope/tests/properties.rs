//! The reader, the counts and the filter against the naive parser, on well-formed and damaged envelopes in pieces.

use super::super::{Event, Filtered, Reader, counts_of, describe, items, write_filtered};
use super::{Sink, naive, text};
use crate::item::{Category, CategorySet, DestinationId};
use crate::time::UnixTime;
use crate::wire::json::tests::json_value;
use crate::wire::{WriteError, timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

const TYPES: [&str; 25] = [
    "event",
    "transaction",
    "span",
    "attachment",
    "session",
    "sessions",
    "log",
    "trace_metric",
    "profile",
    "profile_chunk",
    "profile_chunk_ui",
    "replay_event",
    "replay_recording",
    "replay_video",
    "check_in",
    "feedback",
    "user_report",
    "security",
    "raw_security",
    "unreal_report",
    "form_data",
    "metric_buckets",
    "client_report",
    "statsd",
    "made_up",
];

fn attributes() -> impl Strategy<Value = Value> {
    let attribute = prop_oneof![
        4 => json_value().prop_map(|value| json!({"value": value, "type": "string"})),
        2 => any::<i64>().prop_map(|value| json!({"type": "integer", "value": value})),
        1 => json_value(),
    ];
    prop::collection::btree_map(".{0,6}", attribute, 0..4).prop_map(|members| json!(members))
}

fn record() -> impl Strategy<Value = Value> {
    (".{0,12}", ".{0,12}", attributes(), json_value()).prop_map(|(body, name, attributes, other)| {
        json!({"attributes": attributes, "body": body, "name": name, "x": other})
    })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let records = prop::collection::vec(record(), 0..4);
    let spans = prop::collection::vec(json_value(), 0..4);
    let sums = prop::collection::vec((0..100_u32, 0..100_u32), 0..4);
    prop_oneof![
        // Compressed or otherwise no JSON from the first byte on.
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| [&[0x1F], &bytes[..]].concat()),
        Just(Vec::new()),
        json_value().prop_map(|value| value.to_string().into_bytes()),
        record().prop_map(|value| value.to_string().into_bytes()),
        records.prop_map(|records| json!({"version": 2, "items": records}).to_string().into_bytes()),
        spans.prop_map(|spans| json!({"a": [1], "spans": spans, "z": {"spans": [1]}})
            .to_string()
            .into_bytes()),
        sums.prop_map(|sums| {
            let sums: Vec<_> = sums
                .iter()
                .map(|(ok, bad)| json!({"exited": ok, "crashed": bad}))
                .collect();
            json!({"aggregates": sums}).to_string().into_bytes()
        }),
    ]
}

fn item() -> impl Strategy<Value = Vec<u8>> {
    let platform = prop::option::of(prop::sample::select(vec!["python", "cocoa"]));
    let count = prop::option::of(0..5_u32);
    let extra = prop::option::of(json_value());
    (
        prop::sample::select(TYPES.to_vec()),
        payload(),
        any::<bool>(),
        platform,
        count,
        extra,
    )
        .prop_map(|(item_type, payload, length, platform, count, extra)| {
            let mut header = Map::new();
            header.insert("type".into(), item_type.into());
            if length || payload.contains(&b'\n') {
                header.insert("length".into(), payload.len().into());
            }
            if let Some(platform) = platform {
                header.insert("platform".into(), platform.into());
            }
            if let Some(count) = count {
                header.insert("item_count".into(), count.into());
            }
            if let Some(extra) = extra {
                header.insert("extra".into(), extra);
            }
            let mut item = Value::from(header).to_string().into_bytes();
            item.push(b'\n');
            item.extend(payload);
            item
        })
}

fn header() -> impl Strategy<Value = Value> {
    let id = prop::option::of("[0-9a-f]{32}");
    let sent_at = prop::option::of(json_value());
    let trace = prop::option::of("[0-9a-f]{32}");
    (id.clone(), sent_at, trace, prop::option::of(json_value())).prop_map(|(id, sent_at, trace, other)| {
        let mut header = Map::new();
        if let Some(id) = id {
            header.insert("event_id".into(), id.into());
        }
        if let Some(sent_at) = sent_at {
            header.insert("sent_at".into(), sent_at);
        }
        if let Some(trace) = trace {
            header.insert("trace".into(), json!({"trace_id": trace, "public_key": "k"}));
        }
        if let Some(other) = other {
            header.insert("other".into(), other);
        }
        Value::from(header)
    })
}

prop_compose! {
    fn envelope()(
        header in header(),
        items in prop::collection::vec((item(), prop::sample::select(vec!["", "\n", " \r\n"])), 0..6),
        ended: bool,
    ) -> Vec<u8> {
        let mut bytes = header.to_string().into_bytes();
        for (item, blank) in items {
            bytes.push(b'\n');
            bytes.extend(blank.as_bytes());
            bytes.extend(item);
        }
        if ended {
            bytes.push(b'\n');
        }
        bytes
    }
}

prop_compose! {
    fn damaged()(
        mut bytes in envelope(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 0..3),
    ) -> Vec<u8> {
        for (place, what, byte) in changes {
            let at = place.index(bytes.len().max(1));
            match what {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, b'\n'),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    }
}

/// Everything the reader says about `chunks`, payload pieces joined.
fn transcript<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut reader = Reader::new();
    let (mut lines, mut payload) = (Vec::new(), Vec::new());
    let mut note = |event: Event<'_>| {
        if let Event::Payload(piece) = event {
            assert!(!piece.is_empty());
            payload.extend_from_slice(piece);
        } else {
            lines.push(format!("{:?} {event:?}", core::mem::take(&mut payload)));
        }
    };
    let mut error = None;
    'chunks: for chunk in chunks {
        let mut input = chunk;
        loop {
            match reader.next(&mut input) {
                Ok(Some(event)) => note(event),
                Ok(None) => break,
                Err(found) => {
                    error = Some(found);
                    break 'chunks;
                }
            }
        }
        assert!(input.is_empty());
    }
    while error.is_none() {
        match reader.finish() {
            Ok(Some(event)) => note(event),
            Ok(None) => break,
            Err(found) => error = Some(found),
        }
    }
    lines.push(format!("{error:?} {} {}", reader.offset(), reader.items()));
    lines
}

/// Counts of some items by category name.
fn naive_totals<'a>(items: impl IntoIterator<Item = &'a naive::Item>) -> BTreeMap<&'static str, u64> {
    let mut totals = BTreeMap::new();
    for item in items {
        for (category, quantity) in naive::quantities(item) {
            *totals.entry(category).or_default() += quantity;
        }
    }
    totals
}

/// The rule for mixed envelopes, by names.
fn naive_kept(envelope: &naive::Envelope, removed: CategorySet) -> Vec<&naive::Item> {
    let limited = |item: &naive::Item| {
        let mut names: Vec<_> = naive::quantities(item)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        if names[0] == "profile_chunk" {
            names.push("profile_duration");
        }
        if names[0] == "profile_chunk_ui" {
            names.push("profile_duration_ui");
        }
        names
            .iter()
            .any(|name| removed.iter().any(|category| category.as_str() == *name))
    };
    let events = [
        "event",
        "transaction",
        "security",
        "raw_security",
        "unreal_report",
        "feedback",
    ];
    let dependents = [
        "attachment",
        "form_data",
        "user_report",
        "replay_event",
        "profile",
    ];
    let event = envelope
        .items
        .iter()
        .find(|item| events.contains(&item.item_type()));
    let event_limited = event.is_some_and(limited);
    let kept = envelope.items.iter().filter(|item| {
        let name = item.item_type();
        let falls = event_limited && (events.contains(&name) || dependents.contains(&name));
        !limited(item) && !falls
    });
    kept.collect()
}

fn lenient(error: &str) -> bool {
    // Serde reads numbers and surrogates in pairs only; headers nest deeper than 32 only when damaged.
    error.contains("out of range") || error.contains("surrogate") || error.contains("hex escape")
}

proptest! {
    // A quarter of what `PROPTEST_CASES` says: the values are large.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn cutting_an_envelope_changes_nothing(bytes in damaged(), size in 1..40_usize) {
        let whole = transcript([&bytes[..]]);
        prop_assert_eq!(&transcript(bytes.chunks(size)), &whole);
        prop_assert_eq!(&transcript(bytes.chunks(1)), &whole);
    }

    #[test]
    fn the_reader_agrees_with_the_naive_one(bytes in damaged()) {
        let ours: Result<Vec<_>, _> = items(&bytes).and_then(|(_, items)| items.collect());
        match (ours, naive::parse(&bytes)) {
            (Ok(ours), Ok(theirs)) => {
                let ours: Vec<_> = ours.iter().map(|item| (item.header.length.map(|length| length as usize), item.payload)).collect();
                let theirs: Vec<_> = theirs.items.iter().map(|item| {
                    let length = item.header.get("length").and_then(Value::as_u64);
                    (length.map(|length| length as usize), &item.payload[..])
                }).collect();
                prop_assert_eq!(ours, theirs);
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) if lenient(&error) => {}
            (ours, theirs) => prop_assert!(false, "{:?} {:?} {}", ours.err(), theirs.err(), text(&bytes)),
        }
    }

    #[test]
    fn the_header_agrees_with_the_naive_one(bytes in envelope()) {
        let (ours, _) = items(&bytes).unwrap();
        let theirs = naive::parse(&bytes).unwrap().header;
        let hex = |id: [u8; 16]| format!("{:032x}", u128::from_be_bytes(id));
        prop_assert_eq!(ours.event_id.map(hex), theirs.get("event_id").map(|id| id.as_str().unwrap().to_string()));
        prop_assert_eq!(ours.trace_id.map(hex), theirs.get("trace").map(|trace| trace["trace_id"].as_str().unwrap().to_string()));
        let sent_at = ours.sent_at.map(|place| serde_json::from_slice::<Value>(place.of(&bytes).unwrap()).unwrap().to_string());
        prop_assert_eq!(sent_at, theirs.get("sent_at").map(Value::to_string));
        prop_assert_eq!(ours.is_empty, theirs.is_empty());
    }

    #[test]
    fn counts_agree_with_the_naive_ones(bytes in envelope(), size in 1..300_usize) {
        let envelope = naive::parse(&bytes).unwrap();
        let expected = naive_totals(&envelope.items);
        let mut found = BTreeMap::new();
        counts_of(bytes.chunks(size), CategorySet::EMPTY, |count| {
            found.insert(count.category.as_str(), u64::from(count.quantity));
        }).unwrap();
        prop_assert_eq!(&found, &expected);
        let summary = describe(&bytes).unwrap();
        for category in Category::ALL {
            let expected = expected.get(category.as_str()).copied().unwrap_or(0);
            prop_assert_eq!(u64::from(summary.total(category)), expected);
        }
        prop_assert_eq!(usize::from(summary.items()), envelope.items.len());
        match summary.record_header(DestinationId::default()) {
            None => prop_assert!(envelope.items.is_empty()),
            Some(header) if header.is_mixed() => {
                let first = summary.total(header.count.category);
                prop_assert_eq!(header.count.quantity, first);
            }
            Some(header) => {
                let mut named = BTreeMap::from([(header.count.category.as_str(), u64::from(header.count.quantity))]);
                if let Some(also) = header.also && also.quantity > 0 {
                    named.insert(also.category.as_str(), u64::from(also.quantity));
                }
                prop_assert_eq!(named, expected);
            }
        }
    }

    #[test]
    fn filtering_keeps_what_it_should_byte_for_byte(bytes in envelope(), bits: u64, few: bool, size in 1..300_usize) {
        let removed = if few { CategorySet::from_bits(1 << (bits % 40)) } else { CategorySet::from_bits(bits & bits.rotate_left(7)) };
        let before = naive::parse(&bytes).unwrap();
        let kept = naive_kept(&before, removed);
        let mut out = Sink::default();
        let now = UnixTime::from_micros(bits >> 8);
        let filtered = write_filtered(bytes.chunks(size), removed, now, &mut out).unwrap();
        let items = kept.len() as u16;
        prop_assert_eq!(filtered, Filtered { items, left_out: before.items.len() as u16 - items });
        prop_assert!(out.0.ends_with(b"\n"));

        // Further items may follow.
        out.0.extend(b"{\"type\":\"client_report\"}\n{}\n");
        let after = naive::parse(&out.0).map_err(|error| TestCaseError::fail(format!("{error}: {}", text(&out.0))))?;
        let (last, rest) = after.items.split_last().unwrap();
        prop_assert_eq!(last.item_type(), "client_report");
        prop_assert_eq!(rest.len(), kept.len());
        for (ours, theirs) in rest.iter().zip(&kept) {
            // The last item may have gained the line feed behind its header.
            let wholes = [&ours.whole, &theirs.whole].map(|whole| text(whole).trim_end_matches('\n').to_string());
            prop_assert_eq!(&wholes[0], &wholes[1]);
            prop_assert_eq!(&ours.payload, &theirs.payload);
        }
        let mut header = before.header.clone();
        header.insert("sent_at".into(), text(&timestamp::timestamp(now)).into());
        prop_assert_eq!(&after.header, &header);

        let mut left = BTreeMap::new();
        counts_of(bytes.chunks(size), removed, |count| { left.insert(count.category.as_str(), u64::from(count.quantity)); }).unwrap();
        prop_assert_eq!(left, naive_totals(kept));
    }

    #[test]
    fn filtering_something_else_is_an_error_not_a_panic(bytes in damaged(), bits: u64, size in 1..40_usize) {
        let removed = CategorySet::from_bits(bits);
        let mut out = Sink::default();
        let written = write_filtered(bytes.chunks(size), removed, UnixTime::default(), &mut out);
        prop_assert!(matches!(written, Ok(_) | Err(WriteError::Invalid(_))));
        prop_assert_eq!(written.is_ok(), describe(&bytes).is_ok());
    }
}
