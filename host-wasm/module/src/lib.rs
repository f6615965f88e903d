//! surgetank as a plain WebAssembly module: no import, no allocator, one instance is one engine.
//!
//! ```text
//!  host                                   instance
//!  bytes in ----copied into----> [ input window  ]        nothing but numbers passes as arguments;
//!  call(len, numbers) ---------> exports -> Instance -> Engine   no address ever goes in
//!  bytes out <---copied from---- [ output window ]
//! ```
//!
//! The interface is described in `ABI.md`, beside this crate's manifest. Whatever a host passes, in whatever order, a
//! call returns: an answer, or an error by number. The panic handler is an import, as in the proof of the core, so a
//! module that links without imports has no path to a panic.
//!
//! For other targets the crate is a library with the same functions: what speaks the interface (tests, firmware) finds
//! the numbers in [`codes`].
#![no_std]
#![deny(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod answers;
pub mod codes;
mod context;
mod error;
#[allow(unsafe_code)]
mod exports;
mod fields;
mod instance;
#[allow(unsafe_code)]
mod memory;
mod output;
mod settings;
mod state;
mod status;

pub use error::Code;
pub use exports::*;
#[cfg(target_os = "none")]
pub use memory::aside::set_aside;

#[cfg(not(any(target_arch = "wasm32", target_os = "none")))]
extern crate std;

#[cfg(target_arch = "wasm32")]
mod handler {
    #[link(wasm_import_module = "must_not_link")]
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn panic_reachable() -> !;
    }

    #[panic_handler]
    #[allow(unsafe_code)]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        // SAFETY: the import takes nothing and never returns; no linked module has it (see the crate's documentation).
        unsafe { panic_reachable() }
    }
}
