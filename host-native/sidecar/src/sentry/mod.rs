//! Sentry's side of a request: which project and key, what is in the envelope, and is it within the limits.

mod auth;
mod envelope;
mod legacy;
mod size_limits;

pub(crate) use auth::{AuthRefusal, Sender, credentials, sender_of_dsn};
pub(crate) use envelope::{BadEnvelope, inspect, with_event_id};
pub(crate) use legacy::{EVENT_BYTES, envelope_of_event};

/// A random event id: a version 4 UUID as 32 hexadecimal digits.
fn new_event_id() -> String {
    let mut bytes = [0; 16];
    // Without the system's randomness an id of zeros would collide; time and address do not. It fails on no system that
    // this program runs on.
    if getrandom::fill(&mut bytes).is_err() {
        let here = std::ptr::from_ref(&bytes).addr() as u64;
        let [high, low] = [here, std::process::id().into()];
        bytes = u128::to_be_bytes(u128::from(high) << 64 | u128::from(low));
    }
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    hex(&bytes)
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}
