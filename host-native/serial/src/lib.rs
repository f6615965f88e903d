//! Telemetry over a serial line, for devices that have no network: frames, messages, and the device's end of the line.
//!
//! A device runs the engine of `surgetank-core`, which decides everything. Its requests leave over a UART through
//! [`embedded_io::Write`], and a gateway (`surgetank serial`) posts them and brings the servers' answers back, so that rate
//! limits, `Retry-After` and back-off are obeyed by the same code as everywhere. Keys and addresses stay in the gateway.
//!
//! ```text
//!  interrupts, main loop -> [ Intake ] -> [ Engine ] -Request-> [ Link ] =UART= gateway -HTTP-> Sentry, OTLP
//!                                             ^------ answer -----'
//! ```
//!
//! | module | is about |
//! |---|---|
//! | [`frame`] | bytes on the line: stuffing and checksum |
//! | [`message`] | what the two ends say |
//! | [`link`] | the device's end: a body at a time, each delivered once |
//!
//! `FRAMING.md` beside the manifest has the protocol to the byte, for who writes another device or gateway.
//! `examples/embedded-serial` is a program for Cortex-M. No allocation, no clock, no interrupt of its own: time is an
//! argument and bytes are handed in.
#![no_std]
#![deny(unsafe_code)]
#![deny(clippy::std_instead_of_core)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

#[cfg(test)]
extern crate std;

pub mod frame;
pub mod link;
pub mod message;
