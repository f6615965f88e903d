//! What is recorded: a measurement by the timer's interrupt every half second, and errors by the main loop.
//!
//! An interrupt has to be short, so a record enters the intake as the dozen bytes that it is about. The main loop makes
//! text of it when it takes it out, and by then knows the wall clock: the gateway says it in its greeting. Records that come
//! before the first greeting wait in the intake.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use embedded_io::SliceWriteError;
use surgetank_core::intake::{Intake, Word};
use surgetank_core::item::{Category, DestinationId, Form, Header};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::WriteError;
use surgetank_core::wire::json::Writer;

use crate::board;

/// Ticks between two measurements.
const MEASURE_TICKS: u32 = board::TICKS_PER_SECOND / 2;

/// 1 KiB for what was just recorded; 64 bytes a record.
pub(crate) static INTAKE: Intake<[Word; 128]> = Intake::fixed();

static PAUSED: AtomicBool = AtomicBool::new(false);
static MEASUREMENTS: AtomicU32 = AtomicU32::new(0);

/// Stops or continues measuring; whether it was stopped.
pub(crate) fn pause(paused: bool) -> bool {
    let before = PAUSED.load(Ordering::Relaxed);
    PAUSED.store(paused, Ordering::Relaxed);
    before
}

/// Measurements so far.
pub(crate) fn measurements() -> u32 {
    MEASUREMENTS.load(Ordering::Relaxed)
}

/// Called by the timer's interrupt.
pub(crate) fn on_tick(ticks: u32) {
    if ticks.is_multiple_of(MEASURE_TICKS) && !PAUSED.load(Ordering::Relaxed) {
        measure(ticks);
    }
}

/// Records a measurement. Only one context at a time calls it: the interrupt, or the main loop while measuring is paused.
pub(crate) fn measure(ticks: u32) {
    let number = measurements();
    MEASUREMENTS.store(number.wrapping_add(1), Ordering::Relaxed);
    Record {
        category: Category::LogItem,
        number,
        ticks,
    }
    .push();
}

/// What the intake holds.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) category: Category,
    /// Counts the records of a category.
    pub(crate) number: u32,
    /// When.
    pub(crate) ticks: u32,
}

impl Record {
    /// Puts it into the intake, from anywhere. What finds no room is counted there.
    pub(crate) fn push(self) {
        let header = Header::new(DestinationId::default(), Form::Element, self.category, 1);
        if INTAKE.admit(&header).is_err() {
            return;
        }
        let mut payload = [0; 8];
        let (number, ticks) = payload.split_at_mut(4);
        number.copy_from_slice(&self.number.to_le_bytes());
        ticks.copy_from_slice(&self.ticks.to_le_bytes());
        // Nobody sleeps on the intake: the next tick wakes the main loop.
        let _ = INTAKE.push(&header, &payload);
    }

    /// Reads what [`Record::push`] wrote.
    pub(crate) fn read(category: Category, payload: &[u8]) -> Option<Self> {
        let (number, rest) = payload.split_first_chunk()?;
        Some(Self {
            category,
            number: u32::from_le_bytes(*number),
            ticks: u32::from_le_bytes(*rest.first_chunk()?),
        })
    }

    /// As the server wants it: header and payload, written into `buffer`. `session` is unique among all devices and starts.
    pub(crate) fn write<'b>(
        &self,
        destination: DestinationId,
        session: u64,
        at: UnixTime,
        buffer: &'b mut [u8],
    ) -> Result<(Header, &'b [u8]), WriteError<SliceWriteError>> {
        let mut out = &mut *buffer;
        let header = if self.category == Category::Error {
            self.write_event(session, at, &mut out)?;
            Header::new(destination, Form::Envelope, Category::Error, 1)
        } else {
            let billed = self.write_log(session, at, &mut out)?;
            Header::new(destination, Form::Element, Category::LogItem, 1).also(Category::LogByte, billed)
        };
        let left = out.len();
        let length = buffer.len() - left;
        Ok((header, buffer.get(..length).unwrap_or_default()))
    }

    /// An envelope with an error event.
    fn write_event(
        &self,
        session: u64,
        at: UnixTime,
        out: &mut &mut [u8],
    ) -> Result<(), WriteError<SliceWriteError>> {
        let mut id = [0; 16];
        let (first, last) = id.split_at_mut(8);
        first.copy_from_slice(&session.to_be_bytes());
        last.copy_from_slice(&u64::from(self.number).to_be_bytes());
        Writer::new(out)
            .begin_object()?
            .key("event_id")?
            .hex(&id)?
            .end_object()?;
        // Not part of any JSON text, so not the writer's.
        Writer::new(out).raw(b"\n{\"type\":\"event\"}\n")?;
        Writer::new(out)
            .begin_object()?
            .key("event_id")?
            .hex(&id)?
            .key("timestamp")?
            .time(at)?
            .key("platform")?
            .text("native")?
            .key("level")?
            .text("error")?
            .key("message")?
            .text("the valve does not close")?
            .key("extra")?
            .begin_object()?
            .key("number")?
            .unsigned(u64::from(self.number))?
            .end_object()?
            .end_object()?;
        Writer::new(out).raw(b"\n")?;
        Ok(())
    }

    /// A log, to stand with others in a container; its quantity in bytes: body, keys and values.
    fn write_log(
        &self,
        session: u64,
        at: UnixTime,
        out: &mut &mut [u8],
    ) -> Result<u32, WriteError<SliceWriteError>> {
        const BODY: &str = "temperature";
        let mut trace = [0; 16];
        let (first, last) = trace.split_at_mut(8);
        first.copy_from_slice(&session.to_be_bytes());
        last.copy_from_slice(&session.to_be_bytes());
        let mut writer = Writer::new(out);
        writer
            .begin_object()?
            .key("timestamp")?
            .time(at)?
            .key("trace_id")?
            .hex(&trace)?
            .key("level")?
            .text("info")?
            .key("body")?
            .text(BODY)?
            .key("attributes")?
            .begin_object()?;
        // There is no thermometer in the emulator.
        let celsius = 20 + self.number % 5;
        for (key, value) in [("number", self.number), ("celsius", celsius)] {
            writer
                .key(key)?
                .begin_object()?
                .key("value")?
                .unsigned(u64::from(value))?
                .key("type")?
                .text("integer")?
                .end_object()?;
        }
        writer.end_object()?.end_object()?;
        Ok((BODY.len() + "number".len() + "celsius".len() + 2 * 8) as u32)
    }
}
