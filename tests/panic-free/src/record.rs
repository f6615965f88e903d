//! Record headers, and what producers ask before they encode.

use core::fmt;

use surgetank_core::gate::GateState;
use surgetank_core::item::TraceKey;
use surgetank_core::record::{decode, encode};
use surgetank_core::sampling;
use surgetank_core::wire::trace_context::Probability;

use crate::input::Tape;
use crate::output::{Sum, keep};

/// Decodes a header from any bytes and encodes it again.
#[unsafe(no_mangle)]
extern "C" fn record_round_trip() {
    let mut tape = Tape::new();
    if let Some(header) = decode(&tape.array()) {
        keep(encode(&header));
    }
}

/// Reads the gate's word and asks it.
#[unsafe(no_mangle)]
extern "C" fn gate_and_sampling() {
    let mut tape = Tape::new();
    let gate = GateState::from_bits(tape.long()).with_factor(tape.byte());
    let trace = TraceKey(tape.long());
    if let Some(header) = decode(&tape.array()) {
        keep(gate.admits(header.categories, header.priority));
    }
    keep((
        gate.keeps_trace(trace),
        gate.threshold(tape.long()),
        gate.pressure(),
        sampling::keeps(trace, tape.byte()),
    ));
}

/// Reads the `ot` entry of a trace state, and writes it anew.
#[unsafe(no_mangle)]
extern "C" fn probability() {
    let mut tape = Tape::new();
    let probability = Probability::of(tape.text());
    keep((probability.threshold(), probability.randomness()));
    let mut sum = Sum::default();
    keep(fmt::Write::write_fmt(
        &mut sum,
        format_args!("{}", probability.with_threshold(tape.long())),
    ));
    keep(sum.value());
}
