//! The engine of surgetank in a browser: [`surgetank_core`] behind calls that take and give numbers, and bytes in two
//! windows of memory. Every decision is the core's; the JavaScript around it (`js/`) owns the clock, the one timer,
//! `fetch`, the page's events and the store. `README.md` is the manual of the npm package.
//!
//! ```text
//!  captureException, spans, logs ----admit, encode, record----> [ engine ] --poll--> fetch, sendBeacon
//!  @sentry/browser, OpenTelemetry --'                               ^------respond, fail, time----'
//! ```
//!
//! What the best of today's browser clients do that a quick one would not, and what is done here:
//!
//! - They count the bytes of their own requests with `keepalive`, because all of them share 64 KiB and the one that goes
//!   over it fails like a broken network (Sentry counts and falls back to a plain request). Here such a request waits its
//!   turn; and what a dying page cannot hand over is known, not guessed.
//! - They hand over what is left when the page is *hidden*, the last event that a mobile browser reliably fires, and not
//!   on `unload`, which also spoils the back/forward cache (Datadog, OpenTelemetry).
//! - They send around wrappers of `fetch`, so that an instrumentation that records requests does not record, and so
//!   cause, the client's own (Sentry takes an untouched `fetch` from a new frame).
//! - They keep what an outage holds back for the next visit, and mind that several tabs do (Sentry's offline transport keeps
//!   30 envelopes, uncounted beyond, for all tabs without an owner). Here each tab owns its part, until it ends.
//! - None of them bounds the time that recording takes from the page. Here it is an [`allowance`].
//!
//! One engine serves the page: each client, transport or exporter is a destination in it. Memory is taken once, when it
//! starts; the JavaScript side keeps nothing but requests in flight.
#![cfg_attr(all(target_arch = "wasm32", not(test)), no_std)]

extern crate alloc;

pub mod allowance;
pub mod bindings;
pub mod host;
#[cfg(target_arch = "wasm32")]
mod memory;
mod page;
mod status;
mod store;
mod window;

// What is tested natively is tested in a browser, too.
#[cfg(all(test, target_arch = "wasm32"))]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
