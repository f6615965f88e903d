//! The telemetry delivery engine of surgetank: every decision, no clock, no threads, no allocation.
//!
//! ```text
//!  threads, handlers, interrupts           one owner                              host
//!  gate -> encode -> [ Intake ] -drain-> [ Engine: lanes, limits, breaker, -Action-> clock, wake-ups, HTTP
//!   ^                                              batches, ledger        ] <-outcome-'
//!   '-------------------- GateState (one word) <------publish-----'
//! ```
//!
//! Records enter through the [`intake`] from any thread, or through [`Engine::record`](engine::Engine::record)
//! directly where there is one thread only. The engine keeps them in a [queue] of fixed blocks, says when which
//! [request] is to be sent, and is told what came of it. Everything it decides follows from its inputs and one seed.
//!
//! A host is a clock, a way to send bytes, and this loop (the whole contract is in [`engine`]):
//!
//! ```
//! use surgetank_core::config::{Config, DestinationConfig};
//! use surgetank_core::engine::Engine;
//! use surgetank_core::item::{Category, Form, Header, Item, Outcome};
//! use surgetank_core::notice::Action;
//! use surgetank_core::response::Response;
//! use surgetank_core::storage::FixedStorage;
//! use surgetank_core::time::Instant;
//!
//! // 64 blocks of 256 bytes, one destination, four requests in flight: all the memory there will ever be.
//! let storage = FixedStorage::<64, 1, 4, 16>::new();
//! let now = Instant::from_micros(0);
//! let mut engine = Engine::new(Config::DEFAULT, storage, 42, now)?;
//! let sentry = engine.open_destination(now, DestinationConfig::SENTRY)?;
//!
//! let header = Header::new(sentry, Form::Envelope, Category::Error, 1);
//! let payload = b"{}\n{\"type\":\"event\"}\n{\"message\":\"it broke\"}\n";
//! assert_eq!(engine.record(now, &Item { header, payload }), Outcome::Queued);
//!
//! loop {
//!     match engine.poll(now) {
//!         // Write the body, make the attempt, then say what came of it.
//!         Action::Send(request) => {
//!             let id = request.id();
//!             engine.on_response(now, id, &Response { status: 200, ..Response::default() });
//!         }
//!         Action::Notice(notice) => println!("{notice:?}"),
//!         // Sleep until the deadline or the next input.
//!         Action::Idle(_deadline) => break,
//!         Action::Closed => break,
//!     }
//! }
//! assert_eq!(engine.totals().of(Category::Error).delivered, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: read a clock, open a socket, compress, sample spans by rules, aggregate metrics, or interpret a
//! payload beyond what its protocol needs for counting.
#![no_std]
#![deny(unsafe_code)]
#![deny(
    clippy::std_instead_of_core,
    clippy::alloc_instead_of_core,
    clippy::float_arithmetic
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(any(test, surgetank_loom))]
extern crate std;

pub mod backoff;
pub mod breaker;
mod check;
pub mod concurrency;
pub mod config;
pub mod config_error;
pub mod destination;
pub mod downsample;
pub mod engine;
pub mod gate;
pub mod health;
#[allow(unsafe_code)]
pub mod intake;
pub mod item;
pub mod ledger;
pub mod limits;
pub mod notice;
pub mod pressure;
pub mod queue;
pub mod ratelimit;
pub mod record;
pub mod request;
pub mod response;
mod ring;
pub mod rng;
pub mod sampling;
pub mod status;
pub mod storage;
pub mod time;
pub mod wire;
