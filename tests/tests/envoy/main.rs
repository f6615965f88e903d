//! The plugin in the real Envoy: traffic through it, and collectors that behave well or badly.
//!
//! What matters most is tested everywhere: no proxied request fails or waits because of the plugin, whatever the
//! collector does; and what the statistics say equals what the collector counted.
//!
//! Everything happens on loopback. Nothing waits for a fixed time: each wait is for an event, with a deadline.

mod configuration;
mod delivery;
mod envoy;
mod example;
mod guard;
mod reload;
mod spans;
mod traces;
