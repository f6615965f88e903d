//! The program from outside: real requests on loopback, a real upstream, real signals.

mod answers;
mod bodies;
mod connections;
mod forward;
mod full;
mod keep;
mod limits;
mod otlp;
mod replay;
mod serial;
mod sidecar;
mod stop;
mod upstream;

use std::time::{Duration, Instant};

/// A key as Sentry issues them.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// How long anything that should happen at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// An envelope with one item.
fn envelope(item_type: &str, payload: &str) -> Vec<u8> {
    format!(
        "{{\"event_id\":\"{}\"}}\n{{\"type\":\"{item_type}\",\"length\":{}}}\n{payload}\n",
        event_id(1),
        payload.len()
    )
    .into_bytes()
}

fn event_id(number: u32) -> String {
    format!("{number:032x}")
}

/// Waits until there is a value.
#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}");
        pause(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "tests measure the real program")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "another process has nothing to wait on")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
