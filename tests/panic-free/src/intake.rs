//! The intake: what producers and the worker call.

use surgetank_core::gate::GateState;
use surgetank_core::intake::{Budget, Intake, Word};
use surgetank_core::item::{Category, Count, DropReason};
use surgetank_core::record::decode;

use crate::input::Tape;
use crate::output::keep;

static INTAKE: Intake<[Word; 512]> = Intake::fixed();

/// Records any bytes under any header, whole.
#[unsafe(no_mangle)]
extern "C" fn intake_push() {
    let mut tape = Tape::new();
    if let Some(header) = decode(&tape.array()) {
        keep((INTAKE.admit(&header), INTAKE.push(&header, tape.bytes())));
    }
}

/// Records in pieces, and commits, discards or drops the slot.
#[unsafe(no_mangle)]
extern "C" fn intake_slot() {
    let mut tape = Tape::new();
    let (Some(header), Some(better)) = (decode(&tape.array()), decode(&tape.array())) else {
        return;
    };
    let Ok(mut slot) = INTAKE.reserve(&header, tape.word() as usize) else {
        return;
    };
    keep((
        slot.append(tape.bytes()),
        slot.append(tape.bytes()),
        slot.remaining(),
    ));
    slot.written_mut().reverse();
    if tape.byte() == 0 {
        keep(slot.fill(|room| {
            room.reverse();
            Some(tape.word() as usize)
        }));
    }
    slot.set_header(&better);
    match tape.byte() {
        0 => drop(slot),
        1 => keep(slot.discard(DropReason::BeforeSend)),
        _ => keep(slot.commit()),
    }
}

/// What is refused without a slot.
#[unsafe(no_mangle)]
extern "C" fn intake_refuse() {
    let mut tape = Tape::new();
    if let (Some(header), Some(category)) = (decode(&tape.array()), Category::from_number(tape.byte())) {
        INTAKE.refuse(&header, DropReason::SampleRate);
        let count = Count {
            category,
            quantity: tape.word(),
        };
        INTAKE.refuse_count(tape.word() as usize, count, DropReason::QueueOverflow);
    }
}

/// Drains, sleeps, and takes the losses.
#[unsafe(no_mangle)]
extern "C" fn intake_consume() {
    let mut tape = Tape::new();
    if let Some(mut consumer) = INTAKE.consumer() {
        let budget = Budget {
            records: tape.word() as usize,
            bytes: tape.word() as usize,
        };
        keep(consumer.drain(budget, |item| keep((item.header, item.payload))));
        consumer.take_losses(|gate, category, reason, quantity| keep((gate, category, reason, quantity)));
        keep((
            consumer.skip_interrupted(),
            consumer.stuck_position(),
            consumer.sleep(),
        ));
    }
    INTAKE
        .gate(tape.word() as usize)
        .publish(GateState::from_bits(tape.long()));
    keep((INTAKE.fill_bytes(), INTAKE.max_payload()));
}

/// Closes.
#[unsafe(no_mangle)]
extern "C" fn intake_close() {
    INTAKE.close();
}
