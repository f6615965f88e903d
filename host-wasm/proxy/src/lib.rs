//! surgetank as a plugin of Envoy (proxy-wasm): each request becomes a span (OTLP), each failed one an event (Sentry),
//! and the engine inside the proxy delivers them, without a sidecar.
//!
//! What the best there is, Envoy's own OpenTelemetry tracer, does that a quick plugin would not: it decides before the
//! request goes on and passes the decision along, continues foreign traces by their own flags, and names spans by the
//! stable conventions. What it does not, and this does: obey a collector's 429 and `Retry-After`, send again, tell a
//! collector's 503 from one that the proxy made itself, and count what it could not deliver, by reason.
//!
//! ```text
//!  request --on_request_headers--> take the trace over, decide, pass it on --> upstream
//!     |                                      |
//!     |                               slot in `requests`
//!     '------------on_log--------> `span`, `event` --record--> [ Engine ] --Send--> proxy_http_call --> collector
//!                                                    on_tick --poll--^  ^--on_http_call_response------------'
//! ```
//!
//! In front of an ingestion service it is a [`guard`], too: what the service's answers said of limits and overload is
//! answered to the next request without the service. What one worker learned goes to the others over a [`board`].
//!
//! One instance for each worker, with an engine of its own, in memory that is fixed (`abi.rs` and the static in
//! `callbacks`). No allocator is linked and no panic can be reached: the panic handler is an import that Envoy does not
//! have, and `cargo xtask wasm` refuses a module in which it is left. For other targets than wasm32 the crate is a
//! library of the parts that know no host, so that they can be tested.
//!
//! What it does not do: compress (a proxy's worker has better things to do), hold a request back, or look into bodies.
#![no_std]
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

#[cfg(not(target_arch = "wasm32"))]
extern crate std;

#[cfg(target_arch = "wasm32")]
pub mod abi;
pub mod board;
#[cfg(target_arch = "wasm32")]
mod callbacks;
pub mod calls;
pub mod config;
pub mod context;
pub mod event;
pub mod guard;
pub mod headers;
#[cfg(target_arch = "wasm32")]
mod metrics;
#[cfg(target_arch = "wasm32")]
mod plugin;
pub mod refusal;
pub mod requests;
pub mod route;
pub mod span;
