//! Record headers, and what producers ask before they encode.

use surgetank_core::gate::GateState;
use surgetank_core::item::TraceKey;
use surgetank_core::record::{decode, encode};
use surgetank_core::sampling;

use crate::input::Tape;
use crate::output::keep;

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
        gate.pressure(),
        sampling::keeps(trace, tape.byte()),
    ));
}
