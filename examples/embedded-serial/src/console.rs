//! The console on UART 1: what a person can type, and the account as a line of JSON.

use core::mem::size_of_val;

use embedded_io::Write as _;
use surgetank_core::engine::Engine;
use surgetank_core::item::Category;
use surgetank_core::wire::WriteError;
use surgetank_core::wire::json::Writer;
use surgetank_serial::link::Link;

use crate::board::{self, Console, Held};
use crate::sensor::{self, INTAKE, Record};
use crate::{ENGINE_BYTES, ROOM, Storage};

/// Records of a burst.
const BURST: u32 = 100;

/// `e` records an error, `b` a burst of measurements, `p` pauses measuring and `r` resumes it, `s` prints the account.
pub(crate) fn obey(
    command: u8,
    errors: &mut u32,
    engine: &Engine<Storage>,
    link: &Link<ROOM>,
    console: &mut Console,
) {
    match command {
        b'e' => {
            let record = Record {
                category: Category::Error,
                number: *errors,
                ticks: board::ticks(),
            };
            *errors = errors.wrapping_add(1);
            record.push();
        }
        b'b' => {
            let paused = sensor::pause(true);
            for _ in 0..BURST {
                sensor::measure(board::ticks());
            }
            sensor::pause(paused);
        }
        b'p' | b'r' => {
            sensor::pause(command == b'p');
        }
        b's' => {
            // Nobody may be listening.
            let _ = account(*errors, engine, link, console);
        }
        _ => {}
    }
}

fn account(
    errors: u32,
    engine: &Engine<Storage>,
    link: &Link<ROOM>,
    console: &mut Console,
) -> Result<(), WriteError<Held>> {
    let memory = board::memory();
    let counters = link.counters();
    let mut writer = Writer::new(console);
    writer.begin_object()?;
    for (name, count, category) in [
        ("errors", errors, Category::Error),
        ("measurements", sensor::measurements(), Category::LogItem),
    ] {
        let sums = engine.totals().of(category);
        writer
            .key(name)?
            .begin_object()?
            .key("made")?
            .unsigned(u64::from(count))?;
        for (name, sum) in [
            ("recorded", sums.recorded),
            ("delivered", sums.delivered),
            ("dropped", sums.dropped),
            ("queued", sums.queued()),
        ] {
            writer.key(name)?.unsigned(sum)?;
        }
        writer.end_object()?;
    }
    writer.key("dropped")?.begin_object()?;
    for total in engine.totals().reasons() {
        if total.category == Category::LogItem || total.category == Category::Error {
            writer.key(total.reason.as_str())?.unsigned(total.quantity)?;
        }
    }
    writer.end_object()?;
    writer.key("up")?.bool(link.is_up())?;
    for (name, figure) in [
        ("sessions", counters.sessions as usize),
        ("resumed", counters.resumed as usize),
        ("in_intake", INTAKE.fill_bytes()),
        ("queue_blocks", engine.fill().capacity_blocks as usize),
        ("engine_bytes", ENGINE_BYTES),
        ("intake_bytes", size_of_val(&INTAKE)),
        ("link_bytes", size_of_val(link)),
        ("flash_bytes", memory.flash),
        ("static_bytes", memory.statics),
        ("stack_bytes", memory.stack),
    ] {
        writer.key(name)?.unsigned(figure as u64)?;
    }
    writer.end_object()?;
    Writer::new(console).raw(b"\n")?;
    console.flush().map_err(WriteError::Sink)
}
