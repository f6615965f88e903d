//! Plays the file `tape` on the engine of this board and writes `results` (`tests/hosts/src/tape.rs` has both formats).
//! The host's files are reached through semihosting, so nothing but the calls themselves is taken from the board.
#![no_std]
#![no_main]

mod files;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use surgetank_module::set_aside;
use surgetank_player::{Deck, play};

use files::File;

/// What the instance of a scenario takes: two windows of a megabyte, and the queue.
const ARENA_BYTES: usize = 2_500_000;

static mut ARENA: [u8; ARENA_BYTES] = [0; ARENA_BYTES];

#[entry]
fn main() -> ! {
    // SAFETY: `main` is entered once, and nothing else names it.
    set_aside(unsafe { &mut *core::ptr::addr_of_mut!(ARENA) });
    debug::exit(match play_files() {
        Some(()) => EXIT_SUCCESS,
        None => EXIT_FAILURE,
    });
    loop {
        cortex_m::asm::wfi();
    }
}

/// Plays the file `tape` into the file `results`; `None` when a file fails or the tape is no tape.
fn play_files() -> Option<()> {
    play(&mut Files {
        tape: File::open(b"tape\0", files::READ)?,
        results: File::open(b"results\0", files::WRITE)?,
    })
}

struct Files {
    tape: File,
    results: File,
}

impl Deck for Files {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        self.tape.fill(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.results.write(bytes)
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        debug::exit(EXIT_FAILURE);
    }
}
