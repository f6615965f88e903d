//! Trace headers, which producers read while they record.

use core::fmt::Write as _;

use surgetank_core::wire::trace_context::{
    Baggage, BaggageWriter, Entry, SamplingContext, SentryTrace, Traceparent, Tracestate,
};

use crate::input::Tape;
use crate::output::{Sum, keep};

/// `tracestate`, read, shortened and written again.
#[unsafe(no_mangle)]
extern "C" fn trace_state() {
    let mut tape = Tape::new();
    let mut out = Sum::default();
    let lines = [tape.bytes(), tape.bytes()];
    if let Ok(state) = Tracestate::parse(&lines) {
        let own = Entry::new(tape.text(), tape.text()).ok();
        keep(state.get(tape.text()));
        keep(state.write(&mut out, own, usize::from(u16::from_le_bytes(tape.array()))));
    }
    keep(out.value());
}

/// `traceparent`, `sentry-trace` and `baggage`, read and written again.
#[unsafe(no_mangle)]
extern "C" fn trace_headers() {
    let mut tape = Tape::new();
    let mut out = Sum::default();
    let lines = [tape.bytes(), tape.bytes()];
    if let Ok(parent) = Traceparent::parse(&lines) {
        keep(write!(out, "{parent}"));
    }
    if let Ok(trace) = SentryTrace::parse(&lines) {
        keep(write!(out, "{trace}"));
    }
    if let Ok(baggage) = Baggage::parse(&lines) {
        let mut writer = BaggageWriter::new(&mut out);
        for member in baggage.members() {
            member.properties().for_each(keep);
            keep(writer.push_member(&member));
        }
        keep(writer.push(tape.text(), tape.text()));
        if let Some(context) = SamplingContext::of(baggage) {
            keep((context.trace_id(), context.sampled()));
            for (name, value) in context.entries() {
                keep(name);
                value.chars().for_each(keep);
            }
        }
    }
    keep(out.value());
}
