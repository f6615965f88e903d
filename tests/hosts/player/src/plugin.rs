//! The player as a plugin of Envoy (proxy-wasm ABI 0.2.1), for tests alone: a `POST` to the path that is the plugin's
//! configuration brings the tape, and its answer is the results. Each tape wants a fresh instance, so the tests load the plugin
//! once for each, in a virtual machine of its own.
//!
//! What the proxy has for the plugin it writes to memory that it asks for here. There is one region for that: a path is read
//! and forgotten, a body is left there, piece behind piece, until the tape is whole. One request is under way at a time.

use core::cell::UnsafeCell;
use core::ptr::null_mut;

use crate::{Deck, play};

/// Bytes of a path.
const NAME_BYTES: usize = 128;

/// Bytes of the longest tape and of its results: address space, of which only what is written to becomes memory.
const REGION_BYTES: usize = 48 << 20;

/// `BufferType::HttpRequestBody`, `BufferType::PluginConfiguration`, `MapType::HttpRequestHeaders`.
const REQUEST_BODY: u32 = 0;
const CONFIGURATION: u32 = 7;
const REQUEST_HEADERS: u32 = 0;

/// `FilterHeadersStatus` and `FilterDataStatus`: go on; hold this back; hold it back and forget it.
const CONTINUE: u32 = 0;
const STOP: u32 = 1;
const STOP_WITHOUT_BUFFER: u32 = 3;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        bytes: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_bytes: usize,
        data: *mut *mut u8,
        bytes: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_bytes: usize,
        body: *const u8,
        body_bytes: usize,
        headers: *const u8,
        headers_bytes: usize,
        grpc_status: i32,
    ) -> u32;
}

/// Memory that is filled from its front.
struct Region {
    start: *mut u8,
    used: usize,
}

impl Region {
    const NONE: Self = Self {
        start: null_mut(),
        used: REGION_BYTES,
    };

    /// Adds whole pages to the instance's memory.
    fn reserve(&mut self) -> bool {
        const PAGE: usize = 65_536;
        let before = core::arch::wasm32::memory_grow::<0>(REGION_BYTES / PAGE);
        if before != usize::MAX {
            self.start = core::ptr::with_exposed_provenance_mut(before.wrapping_mul(PAGE));
            self.used = 0;
        }
        before != usize::MAX
    }

    /// The next `bytes` bytes; null when there are not as many.
    fn take(&mut self, bytes: usize) -> *mut u8 {
        if bytes > REGION_BYTES - self.used {
            return null_mut();
        }
        // In bounds: `used` is at most the region's size.
        let taken = self.start.wrapping_add(self.used);
        self.used += bytes;
        taken
    }

    fn filled(&self) -> &[u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: the region was reserved, is zero at first, belongs to `self` alone, and `used` is at most its size.
        unsafe { core::slice::from_raw_parts(self.start, self.used) }
    }
}

struct State {
    /// What the proxy writes.
    given: Region,
    results: Region,
    name: [u8; NAME_BYTES],
    name_bytes: usize,
    /// Context of the request with the tape.
    request: u32,
}

struct The(UnsafeCell<State>);

// SAFETY: an instance has one thread.
unsafe impl Sync for The {}

static THE: The = The(UnsafeCell::new(State {
    given: Region::NONE,
    results: Region::NONE,
    name: [0; NAME_BYTES],
    name_bytes: 0,
    request: 0,
}));

/// The state. References end before the proxy is called, which may call `proxy_on_memory_allocate` meanwhile.
fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    // SAFETY: no `work` below calls the proxy or this function, so there is one reference at a time.
    work(unsafe { &mut *THE.0.get() })
}

/// Has the proxy put what `ask` asks for behind what it gave before.
fn ask(ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> bool {
    let (mut data, mut bytes) = (null_mut(), 0);
    ask(&raw mut data, &raw mut bytes) == 0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(bytes: usize) -> *mut u8 {
    with(|state| state.given.take(bytes))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _bytes: usize) -> u32 {
    with(|state| u32::from(state.given.reserve() && state.results.reserve()))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root: u32, bytes: usize) -> u32 {
    with(|state| state.given.used = 0);
    // SAFETY: the proxy writes to both places.
    let got = ask(|data, size| unsafe { proxy_get_buffer_bytes(CONFIGURATION, 0, bytes, data, size) });
    let kept = with(|state| {
        let given = state.given.filled();
        let place = state.name.get_mut(..given.len())?;
        copy(given, place);
        state.name_bytes = given.len();
        Some(())
    });
    u32::from(got && kept.is_some())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end: u32) -> u32 {
    const PATH: &[u8] = b":path";
    with(|state| state.given.used = 0);
    ask(|data, size| {
        // SAFETY: the proxy reads the name and writes to both places.
        unsafe { proxy_get_header_map_value(REQUEST_HEADERS, PATH.as_ptr(), PATH.len(), data, size) }
    });
    with(|state| {
        let is_mine = state.name.get(..state.name_bytes) == Some(state.given.filled());
        state.given.used = 0;
        if !is_mine {
            return CONTINUE;
        }
        state.request = context;
        STOP
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, bytes: usize, end: u32) -> u32 {
    if with(|state| state.request != context) {
        return CONTINUE;
    }
    if bytes > 0 {
        // SAFETY: the proxy writes to both places.
        ask(|data, size| unsafe { proxy_get_buffer_bytes(REQUEST_BODY, 0, bytes, data, size) });
    }
    if end != 0 {
        let played = with(|state| {
            state.results.used = 0;
            play(&mut Memory {
                tape: state.given.filled(),
                results: &mut state.results,
            })
        });
        match played {
            Some(()) => answer(200, with(|state| (state.results.start, state.results.used))),
            None => {
                const TEXT: &[u8] = b"this is no tape, or its results are too long";
                answer(500, (TEXT.as_ptr().cast_mut(), TEXT.len()));
            }
        }
    }
    STOP_WITHOUT_BUFFER
}

fn answer(status: u32, (body, bytes): (*mut u8, usize)) {
    const DETAILS: &[u8] = b"played";
    // A list of no headers.
    let headers = [0_u8; 4];
    // SAFETY: the proxy reads the three ranges; the body is a text or what was filled of a region.
    unsafe {
        proxy_send_local_response(
            status,
            DETAILS.as_ptr(),
            DETAILS.len(),
            body,
            bytes,
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    };
}

/// Copies as much as both have; the standard library's copy panics when they differ, and here is nobody to hear that.
fn copy(from: &[u8], to: &mut [u8]) {
    let bytes = from.len().min(to.len());
    // SAFETY: both have that many bytes, and `to` is borrowed alone.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), bytes) };
}

struct Memory<'a> {
    tape: &'a [u8],
    results: &'a mut Region,
}

impl Deck for Memory<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        let Some((taken, rest)) = self.tape.split_at_checked(bytes.len()) else {
            return false;
        };
        copy(taken, bytes);
        self.tape = rest;
        true
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        let place = self.results.take(bytes.len());
        if place.is_null() {
            return None;
        }
        // SAFETY: `take` just gave that many bytes, which nothing else refers to.
        copy(bytes, unsafe {
            core::slice::from_raw_parts_mut(place, bytes.len())
        });
        Some(())
    }
}
