//! What the program takes from the board: two UARTs, a tick, and figures about memory. The only file that knows it, and the
//! only one with unsafe code.
//!
//! The board is Arm's MPS2 with the image AN386, as QEMU emulates it: its UARTs are the CMSDK's ("Cortex-M System Design Kit
//! Technical Reference Manual", 4.3), without a FIFO, so received bytes are moved into a queue by an interrupt.

use core::cell::RefCell;
use core::ptr::{addr_of, read_volatile, write_volatile};
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, Peripherals};
use cortex_m_rt::exception;
use critical_section::Mutex;
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use heapless::Deque;
use surgetank_core::time::Instant;

/// The processor's clock, which also drives the UARTs and SysTick.
const CLOCK_HZ: u32 = 25_000_000;
/// Ticks of the timer interrupt a second.
pub(crate) const TICKS_PER_SECOND: u32 = 100;
const BAUD: u32 = 115_200;
/// Ticks that a byte may take to leave: at 115 200 baud it takes 87 us, so the line is held by its other end.
const SEND_TICKS: u32 = 10;

/// Bytes that may wait to be read: an answer of full length, and confirmations.
const RECEIVED_BYTES: usize = 640;

const UART0: usize = 0x4000_4000;
const UART1: usize = 0x4000_5000;
const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CONTROL: usize = 0x08;
const INTERRUPTS: usize = 0x0C;
const DIVISOR: usize = 0x10;
const SEND_FULL: u32 = 1;
const RECEIVE_FULL: u32 = 1 << 1;
const SEND: u32 = 1;
const RECEIVE: u32 = 1 << 1;
const RECEIVE_INTERRUPT: u32 = 1 << 3;

/// Interrupt of UART 0's receiver.
#[derive(Clone, Copy)]
struct LineReceived;

// SAFETY: it is one number, and the board has that interrupt.
unsafe impl InterruptNumber for LineReceived {
    fn number(self) -> u16 {
        0
    }
}

static TICKS: AtomicU32 = AtomicU32::new(0);
static RECEIVED: Mutex<RefCell<Deque<u8, RECEIVED_BYTES>>> = Mutex::new(RefCell::new(Deque::new()));

fn read(uart: usize, register: usize) -> u32 {
    // SAFETY: both are constants of this file: the address of a register that the board has.
    unsafe { read_volatile((uart + register) as *const u32) }
}

fn write(uart: usize, register: usize, value: u32) {
    // SAFETY: as above; the values are the register's.
    unsafe { write_volatile((uart + register) as *mut u32, value) };
}

/// Starts timer and UARTs: the line to the gateway, and the console. `None` the second time.
pub(crate) fn start() -> Option<(Line, Console)> {
    let mut timer = Peripherals::take()?.SYST;
    for (uart, control) in [
        (UART0, SEND | RECEIVE | RECEIVE_INTERRUPT),
        (UART1, SEND | RECEIVE),
    ] {
        write(uart, DIVISOR, CLOCK_HZ / BAUD);
        write(uart, CONTROL, control);
    }
    // SAFETY: no critical section relies on it being masked.
    unsafe { NVIC::unmask(LineReceived) };
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK_HZ / TICKS_PER_SECOND - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
    Some((Line(()), Console(())))
}

/// Ticks since the start; 497 days fit.
pub(crate) fn ticks() -> u32 {
    TICKS.load(Ordering::Relaxed)
}

/// The moment of a tick.
pub(crate) const fn instant(ticks: u32) -> Instant {
    Instant::from_micros(ticks as u64 * (1_000_000 / TICKS_PER_SECOND) as u64)
}

#[exception]
fn SysTick() {
    // No other code writes it, so a load and a store are as good as an addition, and every target has them.
    let ticks = TICKS.load(Ordering::Relaxed).wrapping_add(1);
    TICKS.store(ticks, Ordering::Relaxed);
    crate::sensor::on_tick(ticks);
}

// SAFETY: it does what an interrupt may do: reads registers, and a queue behind a critical section.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    if number != LineReceived.number() as i16 {
        return;
    }
    // First, for a byte that comes after this is told anew.
    write(UART0, INTERRUPTS, RECEIVE);
    while read(UART0, STATE) & RECEIVE_FULL != 0 {
        let byte = read(UART0, DATA) as u8;
        // What finds no room is lost as on the line: its frame is asked for again.
        critical_section::with(|token| RECEIVED.borrow_ref_mut(token).push_back(byte)).ok();
    }
}

/// The other end takes no bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held;

impl core::fmt::Display for Held {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the line takes no bytes")
    }
}

impl core::error::Error for Held {}

impl embedded_io::Error for Held {
    fn kind(&self) -> ErrorKind {
        ErrorKind::TimedOut
    }
}

fn send(uart: usize, bytes: &[u8]) -> Result<usize, Held> {
    for byte in bytes {
        let since = ticks();
        while read(uart, STATE) & SEND_FULL != 0 {
            if ticks().wrapping_sub(since) > SEND_TICKS {
                return Err(Held);
            }
        }
        write(uart, DATA, u32::from(*byte));
    }
    Ok(bytes.len())
}

/// UART 0: the line to the gateway.
pub(crate) struct Line(());

impl ErrorType for Line {
    type Error = Held;
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Held> {
        send(UART0, bytes)
    }

    fn flush(&mut self) -> Result<(), Held> {
        Ok(())
    }
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Held> {
        Ok(critical_section::with(|token| {
            !RECEIVED.borrow_ref(token).is_empty()
        }))
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Held> {
        while !buffer.is_empty() && !self.read_ready()? {
            cortex_m::asm::wfi();
        }
        let mut count = 0;
        for place in buffer {
            match critical_section::with(|token| RECEIVED.borrow_ref_mut(token).pop_front()) {
                Some(byte) => *place = byte,
                None => break,
            }
            count += 1;
        }
        Ok(count)
    }
}

/// UART 1: a person, or a test.
pub(crate) struct Console(());

impl Console {
    /// A byte that was typed.
    pub(crate) fn typed(&mut self) -> Option<u8> {
        (read(UART1, STATE) & RECEIVE_FULL != 0).then(|| read(UART1, DATA) as u8)
    }
}

impl ErrorType for Console {
    type Error = Held;
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Held> {
        send(UART1, bytes)
    }

    fn flush(&mut self) -> Result<(), Held> {
        Ok(())
    }
}

/// Bytes of memory.
pub(crate) struct Memory {
    /// Of flash, all of it: vectors, code, constants, and what statics begin with.
    pub(crate) flash: usize,
    /// Of all statics.
    pub(crate) statics: usize,
    /// The most that the stack ever had.
    pub(crate) stack: usize,
}

unsafe extern "C" {
    static _ram_start: u32;
    static _stack_start: u32;
    static _stack_end: u32;
    static __sdata: u32;
    static __edata: u32;
    static __sidata: u32;
}

/// Figures about memory. The stack was painted before the program began; what still has its colour was never used.
pub(crate) fn memory() -> Memory {
    let [ram, top, bottom, data, data_end, image] = [
        addr_of!(_ram_start),
        addr_of!(_stack_start),
        addr_of!(_stack_end),
        addr_of!(__sdata),
        addr_of!(__edata),
        addr_of!(__sidata),
    ]
    .map(|symbol| symbol as usize);
    let mut unused = bottom;
    // SAFETY: between the end of the statics and the top of the stack there is memory, in words.
    while unused < top && unsafe { read_volatile(unused as *const u32) } == cortex_m_rt::STACK_PAINT_VALUE {
        unused += 4;
    }
    Memory {
        flash: image + (data_end - data),
        statics: bottom - ram,
        stack: top - unused,
    }
}
