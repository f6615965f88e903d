//! The exported functions: numbers in, a number out. Each is one line to the [`Instance`].
//!
//! A negative result is an error (`ABI.md`); 64-bit times, ids and sums travel as they are.

use core::cell::UnsafeCell;

use crate::codes::ABI;
use crate::instance::{Instance, Work};
use crate::memory::Window;

/// Bytes of the input window before an instance is initialized: all settings once, and room for a text.
const FIRST_BYTES: usize = 1024;

struct The(UnsafeCell<Instance>);

// SAFETY: a WebAssembly instance without the atomics feature has one thread, firmware calls from one, and no function here
// calls another, so there is never more than one reference to what is in the cell. (In a native library, which only
// exists so that lints and firmware see this code, callers owe the same.)
unsafe impl Sync for The {}

static THE: The = The(UnsafeCell::new(Instance::new()));

struct First(UnsafeCell<[u8; FIRST_BYTES]>);

// SAFETY: as above; a window over it is made once for each direction, and they are used one after the other.
unsafe impl Sync for First {}

static FIRST_INPUT: First = First(UnsafeCell::new([0; FIRST_BYTES]));
static FIRST_OUTPUT: First = First(UnsafeCell::new([0; FIRST_BYTES]));

/// The instance; its first windows are opened when it is first asked for.
#[inline(never)]
fn the() -> *mut Instance {
    // SAFETY: see `The`; the reference ends with this call.
    let instance = unsafe { &mut *THE.0.get() };
    if instance.input.size() == 0 {
        // SAFETY: see `First`; nothing else refers to these bytes.
        instance.input = Window::over(unsafe { &mut *FIRST_INPUT.0.get() });
        // SAFETY: as above.
        instance.output = Window::over(unsafe { &mut *FIRST_OUTPUT.0.get() });
    }
    THE.0.get()
}

fn with<T>(work: impl FnOnce(&mut Instance) -> T) -> T {
    // SAFETY: see `The`; the reference ends with this call.
    work(unsafe { &mut *the() })
}

#[inline(never)]
fn long(work: Work<'_>) -> i64 {
    with(|instance| instance.call(false, work))
}

/// For answers that fit, as all of these do: lengths of a window, small numbers, errors.
#[inline(never)]
fn short(work: Work<'_>) -> i32 {
    long(work) as i32
}

/// Version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_abi() -> i32 {
    ABI
}

/// Address of the input window; another one once the instance is initialized.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_input() -> *mut u8 {
    with(|instance| instance.input.start())
}

/// Bytes of the input window.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_input_size() -> u32 {
    with(|instance| instance.input.size() as u32)
}

/// Address of the output window; another one once the instance is initialized.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_output() -> *mut u8 {
    with(|instance| instance.output.start())
}

/// Bytes of the output window.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_output_size() -> u32 {
    with(|instance| instance.output.size() as u32)
}

/// Reserves memory and makes the engine. Input: settings.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_init(length: u32, now: u64, seed: u64) -> i32 {
    short(&mut |it| it.init(length, now, seed))
}

/// Opens a destination; returns its id. Input: settings.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_open(length: u32, now: u64) -> i64 {
    long(&mut |it| it.open(length, now))
}

/// Offers a record. Input: header and payload.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_record(length: u32, now: u64) -> i32 {
    short(&mut |it| it.record(length, now))
}

/// Offers a payload that says itself what it holds. Input: the payload.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_record_whole(
    destination: u32,
    form: u32,
    signal: u32,
    length: u32,
    now: u64,
) -> i32 {
    short(&mut |it| it.record_whole(destination, form, signal, length, now))
}

/// Counts what was dropped before it was offered.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_losses(
    destination: i64,
    category: u32,
    reason: u32,
    quantity: u64,
    now: u64,
) -> i32 {
    short(&mut |it| it.losses(destination, category, reason, quantity, now))
}

/// The next thing to do. Output: what goes with it.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_poll(now: u64) -> i32 {
    short(&mut |it| it.poll(now))
}

/// A piece of a request's body, from `offset` on; 0 at its end. Input: context. Output: the piece.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_body(request: u64, wall: u64, offset: u64, length: u32) -> i32 {
    short(&mut |it| it.body(request, wall, offset, length))
}

/// An answer to a request came. Input: its fields. Output: what became of the request.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_response(request: u64, length: u32, now: u64) -> i32 {
    short(&mut |it| it.response(request, length, now))
}

/// No answer to a request came. Output: what became of the request.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_failure(request: u64, failure: u32, now: u64) -> i32 {
    short(&mut |it| it.failure(request, failure, now))
}

/// How the host is doing.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_probe(memory_permille: i32, open_slot: u64, now: u64) -> i32 {
    short(&mut |it| it.probe(memory_permille, open_slot, now))
}

/// Asks that everything recorded before is sent without waiting; returns the flush's id.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_flush(now: u64) -> i64 {
    long(&mut |it| it.flush(now))
}

/// 1 when that flush is done, 0 when not.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_is_flushed(flush: u64) -> i32 {
    short(&mut |it| it.is_flushed(flush))
}

/// Accepts nothing more, and sends what is queued until then.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_close(until: u64, now: u64) -> i32 {
    short(&mut |it| it.close(until, now))
}

/// The gate word of a destination.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_gate(destination: u32, now: u64) -> i64 {
    long(&mut |it| it.gate(destination, now))
}

/// Level and causes of health.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_health() -> i32 {
    short(&mut |it| it.health())
}

/// The status. Output: JSON.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_status() -> i32 {
    short(&mut Instance::status)
}

/// Fill, requests in flight, factor, counters. Output: eight words.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_figures() -> i32 {
    short(&mut Instance::figures)
}

/// Sums per category, and by reason. Output: rows.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_totals() -> i32 {
    short(&mut Instance::totals)
}

/// What is queued or in flight, counted one by one. Output: a number for each category.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_held() -> i32 {
    short(&mut Instance::held)
}

/// One destination's state. Output: 64 bytes.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_destination(destination: u32) -> i32 {
    short(&mut |it| it.destination(destination))
}

/// Why the last failed call failed. Output: text.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_explain() -> i32 {
    short(&mut Instance::explain)
}

/// The next piece of the state; 0 at its end. Output: the piece.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_export() -> i32 {
    with(|instance| instance.call(true, &mut Instance::export)) as i32
}

/// Goes on after an export.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_export_cancel() -> i32 {
    short(&mut Instance::export_cancel)
}

/// Takes over a piece of another instance's state. Input: the piece.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_import(length: u32, now: u64) -> i32 {
    short(&mut |it| it.import(length, now))
}

/// Ends taking over; returns the quantity that was queued there and did not arrive.
#[unsafe(no_mangle)]
pub extern "C" fn surgetank_import_end(now: u64) -> i64 {
    long(&mut |it| it.import_end(now))
}
