//! Propagation headers: what is read can be written, is then within its bounds, and reads as the same.

use surgetank_core::limits::{MAX_BAGGAGE_BYTES, MAX_TRACESTATE_BYTES, MAX_TRACESTATE_MEMBERS};
use surgetank_core::wire::trace_context::{
    Baggage, BaggageWriter, Entry, OT, Probability, SamplingContext, SentryTrace, Traceparent, Tracestate,
};

use super::tape::Tape;

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let max_bytes = usize::from(tape.short());
    let threshold = tape.long() >> 8;
    let lines: Vec<&[u8]> = tape.rest().split(|byte| *byte == b'\n').collect();
    traceparent(&lines);
    sentry_trace(&lines);
    if let Ok(state) = Tracestate::parse(&lines) {
        tracestate(state, max_bytes, threshold);
    }
    if let Ok(baggage) = Baggage::parse(&lines) {
        members(baggage);
    }
}

fn traceparent(lines: &[&[u8]]) {
    let Ok(parent) = Traceparent::parse(lines) else {
        return;
    };
    let text = parent.to_string();
    assert_eq!(text.len(), 55);
    let again = Traceparent::parse(&[text.as_bytes()]).expect("what was written is read");
    assert_eq!(
        (again.trace_id, again.parent_id),
        (parent.trace_id, parent.parent_id)
    );
    assert_eq!(
        (again.version, again.flags, again.sampled(), again.random()),
        (0, parent.known_flags(), parent.sampled(), parent.random())
    );
}

fn sentry_trace(lines: &[&[u8]]) {
    if let Ok(trace) = SentryTrace::parse(lines) {
        assert_eq!(SentryTrace::parse(&[trace.to_string().as_bytes()]), Ok(trace));
    }
}

fn tracestate(state: Tracestate<'_>, max_bytes: usize, threshold: u64) {
    let entries: Vec<_> = state.entries().collect();
    assert!(entries.len() <= MAX_TRACESTATE_MEMBERS);
    let value = Probability::of(state.get(OT).unwrap_or_default())
        .with_threshold(threshold)
        .to_string();
    assert_eq!(Probability::of(&value).threshold(), Some(threshold));
    let own = Entry::new(OT, &value).expect("a legal entry stays one");
    for own in [None, Some(own)] {
        let mut text = String::new();
        state
            .write(&mut text, own, max_bytes)
            .expect("a string takes every text");
        let own_bytes = own.map_or(0, |own| own.to_string().len());
        assert!(text.len() <= max_bytes.min(MAX_TRACESTATE_BYTES).max(own_bytes));
        let lines = [text.as_bytes()];
        let again = Tracestate::parse(&lines).expect("what was written is read");
        let mut kept = again.entries();
        if own.is_some() {
            assert_eq!(kept.next(), own);
        }
        let mut all = entries.iter();
        assert!(
            kept.all(|entry| all.any(|one| *one == entry)),
            "{text:?} has another order or more"
        );
    }
}

fn members(baggage: Baggage<'_>) {
    let mut text = String::new();
    let mut writer = BaggageWriter::new(&mut text);
    for member in baggage.members() {
        assert_eq!(writer.push_member(&member), Ok(true), "what came fits");
    }
    assert!(text.len() <= MAX_BAGGAGE_BYTES);
    let lines = [text.as_bytes()];
    let again = Baggage::parse(&lines).expect("what was written is read");
    assert!(
        again
            .members()
            .map(|member| (member.key, member.value))
            .eq(baggage.members().map(|member| (member.key, member.value)))
    );
    let properties = |baggage: Baggage<'_>| -> Vec<(String, Option<String>)> {
        let each = baggage.members().flat_map(|member| member.properties());
        each.map(|one| (one.key.to_owned(), one.value.map(|value| value.to_string())))
            .collect()
    };
    assert_eq!(properties(again), properties(baggage));
    if let Some(context) = SamplingContext::of(baggage) {
        assert_eq!(
            context.entries().count(),
            baggage
                .members()
                .filter(|member| member.key.starts_with("sentry-"))
                .count()
        );
        let trace_id = context.trace_id().map(|id| id.to_string());
        assert!(trace_id.is_none_or(|id| context.get("trace_id").is_some_and(|text| text == *id)));
    }
}
