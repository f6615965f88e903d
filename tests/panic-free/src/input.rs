//! Memory shared with the host: what it wrote there decides what the core is given.

use core::cell::UnsafeCell;

/// Bytes of the shared memory.
const INPUT_BYTES: usize = 4096;

/// Memory that a host writes through its address, which [`input_address`] gives away.
struct Shared(UnsafeCell<[u8; INPUT_BYTES]>);

// SAFETY: nothing calls the exported functions but the host of a WebAssembly module, which has one thread, so no two
// accesses overlap.
unsafe impl Sync for Shared {}

static INPUT: Shared = Shared(UnsafeCell::new([0; INPUT_BYTES]));

/// Where the host writes.
#[unsafe(no_mangle)]
extern "C" fn input_address() -> *mut u8 {
    INPUT.0.get().cast()
}

/// What the host wrote, taken from the front; zeros once it is used up.
pub(crate) struct Tape {
    rest: &'static [u8],
}

impl Tape {
    /// The whole input.
    pub(crate) fn new() -> Self {
        // SAFETY: one thread, and the host writes only between two calls, so nothing changes while this is in use.
        let rest: &'static [u8; INPUT_BYTES] = unsafe { &*INPUT.0.get() };
        Self { rest }
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Whether the next byte is odd.
    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// The next four bytes as a number.
    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// The next eight bytes as a number.
    pub(crate) fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// As many bytes as the next two say, or all that are left.
    pub(crate) fn bytes(&mut self) -> &'static [u8] {
        let len = usize::from(u16::from_le_bytes(self.array()));
        let (bytes, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        bytes
    }

    /// Bytes, when the next one is odd.
    pub(crate) fn maybe_bytes(&mut self) -> Option<&'static [u8]> {
        self.flag().then(|| self.bytes())
    }

    /// Text; empty when the bytes are none.
    pub(crate) fn text(&mut self) -> &'static str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}
