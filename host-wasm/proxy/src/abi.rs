//! The raw proxy-wasm ABI 0.2.1 as Envoy has it: imports, the memory that the host writes results into, and the cell
//! that holds the plugin's state. All of the crate's unsafe code but the exports themselves.
//!
//! **Results.** For each result of more than a few bytes the host asks the module for memory
//! (`proxy_on_memory_allocate`) and writes there. Results are used within the callback that asked for them only, so
//! this memory is one arena from which is taken in order, and which every callback empties at its beginning
//! ([`Host::enter`]). When it is full the host's call fails, which is an error like any other.
//!
//! **One thread.** Each worker of the proxy has its own instance of the module and calls one callback at a time. While
//! a callback runs, the host calls back for memory only; everything else that it has to tell (the failure of a call
//! just made, a local answer) it defers until the callback returned.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ptr::null_mut;

/// Bytes of the arena: the largest set of headers that Envoy accepts by default (60 KiB) and something beside it.
const ARENA_BYTES: usize = 80 * 1024;

mod import {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, text: *const u8, bytes: usize) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            kind: u32,
            start: usize,
            most: usize,
            data: *mut *mut u8,
            bytes: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, bytes: *mut usize) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_bytes: usize,
            data: *mut *mut u8,
            bytes: *mut usize,
        ) -> u32;
        pub(super) fn proxy_add_header_map_value(
            map: u32,
            name: *const u8,
            name_bytes: usize,
            value: *const u8,
            value_bytes: usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_bytes: usize,
            value: *const u8,
            value_bytes: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_bytes: usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_bytes: usize,
            data: *mut *mut u8,
            bytes: *mut usize,
        ) -> u32;
        pub(super) fn proxy_http_call(
            cluster: *const u8,
            cluster_bytes: usize,
            headers: *const u8,
            headers_bytes: usize,
            body: *const u8,
            body_bytes: usize,
            trailers: *const u8,
            trailers_bytes: usize,
            timeout_ms: u32,
            token: *mut u32,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_bytes: usize,
            body: *const u8,
            body_bytes: usize,
            headers: *const u8,
            headers_bytes: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            name: *const u8,
            name_bytes: usize,
            data: *mut *mut u8,
            bytes: *mut usize,
            version: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            name: *const u8,
            name_bytes: usize,
            data: *const u8,
            bytes: usize,
            version: u32,
        ) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_done() -> u32;
        pub(super) fn proxy_define_metric(
            kind: u32,
            name: *const u8,
            name_bytes: usize,
            metric: *mut u32,
        ) -> u32;
        pub(super) fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
        pub(super) fn random_get(data: *mut u8, bytes: usize) -> u32;
    }
}

/// A set of headers. Exhaustive of those used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Map {
    /// Of the request that passes through.
    Request = 0,
    /// Of its answer.
    Response = 2,
    /// Of the answer to a call of our own.
    Call = 6,
}

/// Bytes that the host holds. Exhaustive of those used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Buffer {
    /// The body of the answer to a call of our own.
    Call = 4,
    /// The virtual machine's configuration.
    Machine = 6,
    /// The plugin's configuration.
    Configuration = 7,
}

/// How important a line in the proxy's log is. Exhaustive of those used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Level {
    /// Says what was set up.
    Info = 2,
    /// Something that an operator may want to mend.
    Warn = 3,
    /// The plugin does not work.
    Error = 4,
}

/// Kind of a statistic. Exhaustive of those used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Metric {
    /// Only goes up.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
}

/// Why a call was not made, in the host's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallError(pub u32);

impl CallError {
    /// The proxy has no cluster of that name.
    pub const UNKNOWN_CLUSTER: Self = Self(2);
}

/// Memory that is used by one callback at a time.
struct Arena {
    bytes: UnsafeCell<[u8; ARENA_BYTES]>,
    used: Cell<usize>,
}

// SAFETY: an instance has one thread (see the module's documentation).
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena {
    bytes: UnsafeCell::new([0; ARENA_BYTES]),
    used: Cell::new(0),
};

/// Gives the host memory for a result; null when there is none left.
pub(crate) fn allocate(bytes: usize) -> *mut u8 {
    let start = ARENA.used.get();
    let end = start.saturating_add(bytes).saturating_add(7) & !7;
    if end > ARENA_BYTES {
        return null_mut();
    }
    ARENA.used.set(end);
    // In bounds: `start` is at most the arena's size.
    ARENA.bytes.get().cast::<u8>().wrapping_add(start)
}

/// The host, during one callback. Results of its calls live as long as it.
#[derive(Debug)]
pub struct Host {
    /// Made by `enter` alone, one at a time.
    alone: PhantomData<*mut ()>,
}

impl Host {
    /// At the beginning of each callback: what the last one was given is over.
    ///
    /// # Safety
    /// Only exported callbacks call it, and only once: no result of an earlier call is used any more.
    pub(crate) unsafe fn enter() -> Self {
        ARENA.used.set(0);
        Self { alone: PhantomData }
    }

    /// Calls `ask` with two places for a result in the arena, and gives that result.
    fn result(&self, ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<&[u8]> {
        let (mut data, mut bytes) = (null_mut::<u8>(), 0_usize);
        if ask(&raw mut data, &raw mut bytes) != 0 || data.is_null() {
            return None;
        }
        // SAFETY: the host wrote `bytes` bytes into memory that `allocate` gave it for this result alone; it stays as it is
        // until the next `enter`, which the borrow of `self` does not outlive.
        Some(unsafe { core::slice::from_raw_parts(data, bytes) })
    }

    /// Writes a line into the proxy's log.
    pub fn log(&self, level: Level, text: &str) {
        // SAFETY: the host reads `text` during the call.
        unsafe { import::proxy_log(level as u32, text.as_ptr(), text.len()) };
    }

    /// Nanoseconds on the monotonic clock, which all workers share.
    pub fn monotonic_nanos(&self) -> u64 {
        let mut time = 0;
        // SAFETY: the host writes eight bytes to `time`.
        unsafe { import::clock_time_get(1, 0, &raw mut time) };
        time
    }

    /// Nanoseconds since 1970.
    pub fn wall_nanos(&self) -> u64 {
        let mut time = 0;
        // SAFETY: the host writes eight bytes to `time`.
        unsafe { import::proxy_get_current_time_nanoseconds(&raw mut time) };
        time
    }

    /// Random bytes, different in each worker.
    pub fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: the host writes as many bytes as it is told.
        unsafe { import::random_get(bytes.as_mut_ptr(), bytes.len()) };
        u64::from_le_bytes(bytes)
    }

    /// Has `on_tick` of the present root context called this often; 0 for never.
    pub fn tick_every(&self, milliseconds: u32) {
        // SAFETY: takes a number.
        unsafe { import::proxy_set_tick_period_milliseconds(milliseconds) };
    }

    /// The first `most` bytes of a buffer.
    pub fn buffer(&self, buffer: Buffer, most: usize) -> Option<&[u8]> {
        self.result(|data, bytes| {
            // SAFETY: the host writes to both places.
            unsafe { import::proxy_get_buffer_bytes(buffer as u32, 0, most, data, bytes) }
        })
    }

    /// All headers, serialised; see [`Pairs`](crate::headers::Pairs).
    pub fn headers(&self, map: Map) -> Option<&[u8]> {
        self.result(|data, bytes| {
            // SAFETY: the host writes to both places.
            unsafe { import::proxy_get_header_map_pairs(map as u32, data, bytes) }
        })
    }

    /// The first header of that name.
    pub fn header(&self, map: Map, name: &str) -> Option<&[u8]> {
        self.result(|data, bytes| {
            // SAFETY: the host reads `name` during the call and writes to both places.
            unsafe { import::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, bytes) }
        })
    }

    /// Adds a header. Where there is none of that name it costs the proxy less than [`Host::set_header`], which looks for one.
    pub fn add_header(&self, map: Map, name: &str, value: &[u8]) {
        // SAFETY: the host reads `name` and `value` during the call.
        unsafe {
            import::proxy_add_header_map_value(
                map as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
    }

    /// Sets a header, in place of all of that name.
    pub fn set_header(&self, map: Map, name: &str, value: &[u8]) {
        // SAFETY: the host reads `name` and `value` during the call.
        unsafe {
            import::proxy_replace_header_map_value(
                map as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
    }

    /// Removes every header of that name.
    pub fn remove_header(&self, map: Map, name: &str) {
        // SAFETY: the host reads `name` during the call.
        unsafe { import::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
    }

    /// A property of the request; the parts of `path` are joined by zero bytes.
    pub fn property(&self, path: &str) -> Option<&[u8]> {
        self.result(|data, bytes| {
            // SAFETY: the host reads `path` during the call and writes to both places.
            unsafe { import::proxy_get_property(path.as_ptr(), path.len(), data, bytes) }
        })
    }

    /// Sends a request to a cluster. The answer comes to the present (or effective) context, under the token given here.
    ///
    /// # Errors
    /// The host's reason; then no answer comes.
    pub fn call(
        &self,
        cluster: &str,
        headers: &[u8],
        body: &[u8],
        timeout_ms: u32,
    ) -> Result<u32, CallError> {
        // An empty list of trailers: a count of zero.
        let trailers = [0_u8; 4];
        let mut token = 0;
        // SAFETY: the host reads the four ranges during the call and writes four bytes to `token`.
        let result = unsafe {
            import::proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                trailers.as_ptr(),
                trailers.len(),
                timeout_ms,
                &raw mut token,
            )
        };
        if result == 0 {
            Ok(token)
        } else {
            Err(CallError(result))
        }
    }

    /// Answers the present request in the server's place; it goes no further. `details` is for the proxy's logs.
    pub fn respond(&self, status: u16, details: &str, headers: &[u8], body: &[u8]) {
        // SAFETY: the host reads the three ranges during the call.
        unsafe {
            import::proxy_send_local_response(
                u32::from(status),
                details.as_ptr(),
                details.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                -1,
            )
        };
    }

    /// What all workers share under that name, and its version; nothing and 0 before it is first set.
    pub fn shared(&self, name: &str) -> (Option<&[u8]>, u32) {
        let mut version = 0;
        let place = &raw mut version;
        let data = self.result(|data, bytes| {
            // SAFETY: the host reads `name` during the call and writes to the three places.
            unsafe { import::proxy_get_shared_data(name.as_ptr(), name.len(), data, bytes, place) }
        });
        (data, version)
    }

    /// Sets it, if its version is still that one (0: whatever it is).
    pub fn set_shared(&self, name: &str, data: &[u8], version: u32) -> bool {
        // SAFETY: the host reads both ranges during the call.
        let result = unsafe {
            import::proxy_set_shared_data(name.as_ptr(), name.len(), data.as_ptr(), data.len(), version)
        };
        result == 0
    }

    /// Acts for another context until the callback ends: a request's context is gone before an answer could come to it.
    pub fn act_for(&self, context: u32) {
        // SAFETY: takes a number.
        unsafe { import::proxy_set_effective_context(context) };
    }

    /// The present context, whose end was put off, may end now.
    pub fn done(&self) {
        // SAFETY: takes nothing.
        unsafe { import::proxy_done() };
    }

    /// The number of a statistic, which all workers share by its name.
    pub fn metric(&self, kind: Metric, name: &str) -> Option<u32> {
        let mut metric = 0;
        // SAFETY: the host reads `name` during the call and writes four bytes to `metric`.
        let result =
            unsafe { import::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut metric) };
        (result == 0).then_some(metric)
    }

    /// Adds to a statistic.
    pub fn add(&self, metric: u32, amount: i64) {
        // SAFETY: takes numbers.
        unsafe { import::proxy_increment_metric(metric, amount) };
    }
}

/// A static that callbacks use one at a time.
pub(crate) struct Global<T>(UnsafeCell<T>);

// SAFETY: an instance has one thread (see the module's documentation).
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value.
    ///
    /// # Safety
    /// Only exported callbacks call it, once each, and let go of it when they return: no two run at once, and what the host
    /// may call in between ([`allocate`]) does not touch it.
    #[allow(clippy::mut_from_ref, reason = "the caller warrants that there is one")]
    pub(crate) unsafe fn get(&'static self) -> &'static mut T {
        // SAFETY: the caller warrants that there is no other reference.
        unsafe { &mut *self.0.get() }
    }
}

/// Memory that is handed out once, for as long as the instance lives.
pub(crate) struct Once<T> {
    value: UnsafeCell<T>,
    taken: Cell<bool>,
}

// SAFETY: an instance has one thread (see the module's documentation).
unsafe impl<T> Sync for Once<T> {}

impl<T> Once<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            value: UnsafeCell::new(value),
            taken: Cell::new(false),
        }
    }

    /// The value, the first time.
    #[allow(clippy::mut_from_ref, reason = "there is one, as it is handed out once")]
    pub(crate) fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.replace(true) {
            return None;
        }
        // SAFETY: this line is reached once, so there is no other reference.
        Some(unsafe { &mut *self.value.get() })
    }
}

#[link(wasm_import_module = "must_not_link")]
unsafe extern "C" {
    fn panic_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the import takes nothing and never returns; no module that is loaded has it (see the crate's documentation).
    unsafe { panic_reachable() }
}
