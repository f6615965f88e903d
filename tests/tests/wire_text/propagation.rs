//! `traceparent`, `tracestate`, `baggage`, `sentry-trace`, and percent-encoding.

use proptest::prelude::*;
use surgetank_core::limits::{MAX_BAGGAGE_BYTES, MAX_TRACESTATE_BYTES, MAX_TRACESTATE_MEMBERS};
use surgetank_core::wire::percent::{self, PercentText};
use surgetank_core::wire::trace_context::{
    Baggage, BaggageWriter, Entry, SamplingContext, SentryTrace, SpanId, TraceId, Traceparent, Tracestate,
};

use crate::{borrowed, hostile, hostile_lines, written};

fn trace_id() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_filter_map("not zero", TraceId::new)
}

fn span_id() -> impl Strategy<Value = SpanId> {
    any::<[u8; 8]>().prop_filter_map("not zero", SpanId::new)
}

fn entry() -> impl Strategy<Value = (String, String)> {
    let value = prop_oneof![4 => "[ -+.-<>-~]{0,8}[!-+.-<>-~]", 1 => "[a-z]{100,200}"];
    ("[a-z0-9][a-z0-9_*/@-]{0,6}", value)
}

fn joined(entries: &[(String, String)]) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    entries.join(" , ")
}

/// Percent-decoding in the plainest way.
fn decoded(raw: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let digits = raw
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let octet = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match octet.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) if raw[at] == b'%' => {
                octets.push(octet);
                at += 3;
            }
            _ => {
                octets.push(raw[at]);
                at += 1;
            }
        }
    }
    octets
}

proptest! {
    #[test]
    fn any_lines_are_survived(lines in hostile_lines()) {
        let lines = borrowed(&lines);
        if let Ok(parent) = Traceparent::parse(&lines) {
            let text = parent.to_string();
            prop_assert_eq!(Traceparent::parse(&[text.as_bytes()]).map(|parent| parent.trace_id), Ok(parent.trace_id));
        }
        if let Ok(trace) = SentryTrace::parse(&lines) {
            let text = trace.to_string();
            prop_assert_eq!(SentryTrace::parse(&[text.as_bytes()]), Ok(trace));
        }
        if let Ok(state) = Tracestate::parse(&lines) {
            let text = written(|out| state.write(out, None, MAX_TRACESTATE_BYTES));
            prop_assert!(Tracestate::parse(&[text.as_bytes()]).is_ok());
        }
        if let Ok(baggage) = Baggage::parse(&lines) {
            for member in baggage.members() {
                let _ = (member.value.to_string(), member.properties().count());
            }
            if let Some(context) = SamplingContext::of(baggage) {
                let _ = (context.trace_id(), context.sampled(), context.entries().count());
            }
        }
    }

    #[test]
    fn traceparents_survive_being_written_and_read(trace_id in trace_id(), parent_id in span_id(), flags in 0_u8..4) {
        let parent = Traceparent { version: 0, trace_id, parent_id, flags };
        let text = parent.to_string();
        prop_assert_eq!(text.len(), 55);
        prop_assert_eq!(Traceparent::parse(&[text.as_bytes()]), Ok(parent));
    }

    #[test]
    fn one_changed_byte_changes_or_spoils_a_traceparent(
        trace_id in trace_id(), parent_id in span_id(), at in 0_usize..55, byte in any::<u8>(),
    ) {
        let parent = Traceparent { version: 0, trace_id, parent_id, flags: 1 };
        let mut text = parent.to_string().into_bytes();
        prop_assume!(text[at] != byte);
        text[at] = byte;
        prop_assert_ne!(Traceparent::parse(&[&text]), Ok(parent));
    }

    #[test]
    fn sentry_traces_survive_being_written_and_read(
        trace_id in trace_id(), parent_id in span_id(), sampled in any::<Option<bool>>(),
    ) {
        let trace = SentryTrace { trace_id, parent_id, sampled };
        let text = trace.to_string();
        prop_assert_eq!(SentryTrace::parse(&[text.as_bytes()]), Ok(trace));
    }

    #[test]
    fn a_shortened_tracestate_is_a_part_of_the_whole_in_order(
        entries in prop::collection::vec(entry(), 0..=MAX_TRACESTATE_MEMBERS),
        own in prop::option::of(entry()),
        max_bytes in 0_usize..2000,
    ) {
        let line = joined(&entries);
        let lines = [line.as_bytes()];
        let state = Tracestate::parse(&lines).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let own = own.as_ref().map(|(key, value)| Entry::new(key, value).expect("made legal"));
        let text = written(|out| state.write(out, own, max_bytes));
        let own_bytes = own.map_or(0, |own| own.to_string().len());
        prop_assert!(text.len() <= max_bytes.max(own_bytes), "{} bytes", text.len());

        let lines = [text.as_bytes()];
        let short = Tracestate::parse(&lines).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut kept = short.entries();
        if own.is_some() {
            prop_assert_eq!(kept.next(), own);
        }
        let mut all = state.entries();
        for entry in kept {
            prop_assert!(all.any(|one| one == entry), "{} is out of order or new", entry);
        }

        let whole = written(|out| state.write(out, own, MAX_TRACESTATE_BYTES));
        if whole.len() <= max_bytes {
            prop_assert_eq!(&text, &whole);
        }
    }

    #[test]
    fn baggage_survives_being_written_and_read(
        members in prop::collection::vec(("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,8}", ".{0,20}"), 0..40),
    ) {
        let mut text = String::new();
        let mut writer = BaggageWriter::new(&mut text);
        for (key, value) in &members {
            prop_assert_eq!(writer.push(key, value), Ok(true));
        }
        let lines = [text.as_bytes()];
        let baggage = Baggage::parse(&lines).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read: Vec<_> = baggage
            .members()
            .map(|member| (member.key.to_owned(), member.value.to_string()))
            .collect();
        prop_assert_eq!(read, members);
    }

    #[test]
    fn foreign_members_are_passed_on_as_they_came(lines in hostile_lines(), more in ".{0,3000}") {
        let lines = borrowed(&lines);
        if let Ok(baggage) = Baggage::parse(&lines) {
            let mut text = String::new();
            let mut writer = BaggageWriter::new(&mut text);
            for member in baggage.members() {
                prop_assert_eq!(writer.push_member(&member), Ok(true), "what came fits");
            }
            let _ = writer.push("more", &more);
            prop_assert!(text.len() <= MAX_BAGGAGE_BYTES);
            let lines = [text.as_bytes()];
            let again = Baggage::parse(&lines).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let raw = |baggage: Baggage<'_>| -> Vec<(String, Vec<u8>, usize)> {
                baggage
                    .members()
                    .map(|member| (member.key.to_owned(), member.value.raw().to_vec(), member.properties().count()))
                    .collect()
            };
            prop_assert!(raw(again).starts_with(&raw(baggage)));
        }
    }

    #[test]
    fn percent_encoding_is_decoded_as_the_plain_way_does(raw in prop_oneof![hostile(), "[%0-9A-Fa-f\u{e9}+x]{0,40}".prop_map(String::into_bytes)]) {
        let expected = decoded(&raw);
        let text = PercentText::new(&raw);
        prop_assert_eq!(text.octets().collect::<Vec<_>>(), expected.clone());
        prop_assert_eq!(text.to_string(), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn encoding_is_undone_by_decoding(text in "\\PC{0,40}") {
        let raw = written(|out| percent::write_encoded(out, &text));
        prop_assert_eq!(raw.len(), percent::encoded_len(&text));
        prop_assert_eq!(PercentText::new(raw.as_bytes()).to_string(), text);
    }
}
