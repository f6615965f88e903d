//! Plays a tape (`tests/hosts/src/tape.rs` has its format and that of the results) on the engine that is linked in, behind the
//! module's interface. Who plays has no system: a board ([`Deck`] is the host's files), or Envoy's virtual machine ([`plugin`]).
#![no_std]
#![allow(
    unsafe_code,
    reason = "windows of the module's interface, and calls of the proxy"
)]

#[cfg(target_arch = "wasm32")]
mod plugin;

use surgetank_module as it;

/// Most arguments that a function has.
const MOST_NUMBERS: usize = 5;

/// Where the tape comes from, and where the results go.
pub trait Deck {
    /// The next bytes of the tape, exactly as many; false when there are none left.
    fn fill(&mut self, bytes: &mut [u8]) -> bool;

    /// Takes these bytes of the results; `None` when it cannot.
    fn write(&mut self, bytes: &[u8]) -> Option<()>;
}

/// Plays the whole tape; `None` when the deck fails or the tape is no tape.
pub fn play(deck: &mut impl Deck) -> Option<()> {
    loop {
        let mut head = [0; 2];
        if !deck.fill(&mut head) {
            return Some(());
        }
        let [function, count] = head;
        let mut numbers = [0; MOST_NUMBERS];
        for number in numbers.get_mut(..usize::from(count))? {
            let mut bytes = [0; 9];
            deck.fill(&mut bytes).then_some(())?;
            *number = i64::from_le_bytes(*bytes.last_chunk()?);
        }
        let mut sizes = [[0; 4]; 2];
        for size in &mut sizes {
            deck.fill(size).then_some(())?;
        }
        let [taken, length] = sizes.map(u32::from_le_bytes);
        if length > it::surgetank_input_size() {
            return None;
        }
        // SAFETY: the window has that many bytes, and is the host's between two calls.
        let input = unsafe { core::slice::from_raw_parts_mut(it::surgetank_input(), length as usize) };
        if length > 0 {
            deck.fill(input).then_some(())?;
        }
        let value = call(function, &numbers)?;
        let length = if taken == u32::MAX {
            u32::try_from(value).unwrap_or(0)
        } else {
            taken
        };
        let length = length.min(it::surgetank_output_size());
        // SAFETY: as above.
        let output = unsafe { core::slice::from_raw_parts(it::surgetank_output(), length as usize) };
        deck.write(&value.to_le_bytes())?;
        deck.write(&length.to_le_bytes())?;
        deck.write(output)?;
    }
}

/// Calls the function with that number in `FUNCTIONS` of `tests/hosts/src/frame.rs`.
fn call(function: u8, &[a, b, c, d, e]: &[i64; MOST_NUMBERS]) -> Option<i64> {
    let short = |number: i64| number as u32;
    let long = |number: i64| number as u64;
    Some(match function {
        0 => it::surgetank_init(short(a), long(b), long(c)).into(),
        1 => it::surgetank_open(short(a), long(b)),
        2 => it::surgetank_record(short(a), long(b)).into(),
        3 => it::surgetank_record_whole(short(a), short(b), short(c), short(d), long(e)).into(),
        4 => it::surgetank_losses(a, short(b), short(c), long(d), long(e)).into(),
        5 => it::surgetank_poll(long(a)).into(),
        6 => it::surgetank_body(long(a), long(b), long(c), short(d)).into(),
        7 => it::surgetank_response(long(a), short(b), long(c)).into(),
        8 => it::surgetank_failure(long(a), short(b), long(c)).into(),
        9 => it::surgetank_probe(a as i32, long(b), long(c)).into(),
        10 => it::surgetank_flush(long(a)),
        11 => it::surgetank_is_flushed(long(a)).into(),
        12 => it::surgetank_close(long(a), long(b)).into(),
        13 => it::surgetank_gate(short(a), long(b)),
        14 => it::surgetank_health().into(),
        15 => it::surgetank_status().into(),
        16 => it::surgetank_figures().into(),
        17 => it::surgetank_totals().into(),
        18 => it::surgetank_held().into(),
        19 => it::surgetank_destination(short(a)).into(),
        20 => it::surgetank_explain().into(),
        21 => it::surgetank_export().into(),
        22 => it::surgetank_export_cancel().into(),
        23 => it::surgetank_import(short(a), long(b)).into(),
        24 => it::surgetank_import_end(long(a)),
        _ => return None,
    })
}
