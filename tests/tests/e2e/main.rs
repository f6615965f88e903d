//! The sidecar end to end: the real program, the real Sentry and OpenTelemetry SDKs as its clients, and an upstream
//! that behaves well or badly.
//!
//! Between the clients and the sidecar stands a server that passes requests on and records them, so what was sent is
//! known to the byte, whatever the SDKs made of it. What arrives at the upstream, or in the embedded store, is compared
//! with that.
//!
//! Everything happens on loopback. Nothing waits for a fixed time: each wait is for an event, with a deadline.

mod client;
mod compare;
mod embedded;
mod example;
mod forward;
mod full;
mod hour;
mod limits;
mod outages;
mod scene;
mod sidecar;
mod stop;
