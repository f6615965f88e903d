//! A WebAssembly module that drives the core with bytes the optimiser knows nothing about.
//!
//! It has no allocator, so linking it shows that the core does not allocate. Its panic handler calls an import, so an
//! empty import list shows that no panic can be reached from any function exported here. `cargo xtask test --only
//! panic-free` builds it and looks.
//!
//! Everything a host may call on a path that must not panic has an exported function here. Inputs are read from
//! memory whose address the module gives away, so the compiler must assume that any host wrote anything there.
//!
//! For any other target the crate is an ordinary library with the same functions, so that everyday builds and lints
//! see it.
#![no_std]
#![allow(unsafe_code, reason = "exports, an import, and memory shared with the host")]

mod answers;
mod encoding;
mod engine;
mod envelopes;
mod input;
mod intake;
mod otlp;
mod output;
mod record;
mod requests;
mod settings;
mod trace_headers;

#[cfg(not(target_arch = "wasm32"))]
extern crate std;

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "must_not_link")]
unsafe extern "C" {
    fn panic_reachable() -> !;
}

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the import takes nothing and never returns; no linked module has it (see the crate's documentation).
    unsafe { panic_reachable() }
}
