//! The scenarios on other hosts than this process: the same calls, carried as bytes through the module's interface
//! (`host-wasm/module/ABI.md`), and the same traces back.
//!
//! ```text
//!  script --player--> Call --Guest--> Frame --Door--> an instance, right here (wasmtime)
//!                                       |
//!                                       '--> Tape --> a host elsewhere (Node.js, a browser, a board) --> results
//!                                                     results --Playback--> the trace, as that host would give it
//! ```
//!
//! A host elsewhere needs no player: it is given the frames that were carried out here, one after the other, and writes
//! down what each returned. Playing the script once more with those results gives its trace, up to the first line in
//! which it differs.

pub mod door;
pub mod frame;
pub mod guest;
mod replies;
pub mod tape;
mod writing;

pub use door::Wasmtime;
pub use guest::Guest;
