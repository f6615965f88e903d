//! Health as Relay shows it, so that whatever looks at a Relay can look at this.

use super::Front;
use crate::answers::{self, Answer};
use hyper::StatusCode;
use std::sync::atomic::Ordering;

/// The process answers.
pub(super) fn live() -> Answer {
    healthy()
}

/// New telemetry is taken.
pub(super) fn ready(front: &Front) -> Answer {
    if front.stopping.load(Ordering::Relaxed) || !front.relay.takes_errors() {
        return answers::json(StatusCode::SERVICE_UNAVAILABLE, &b"{\"is_healthy\":false}"[..]);
    }
    healthy()
}

fn healthy() -> Answer {
    answers::json(StatusCode::OK, &b"{\"is_healthy\":true}"[..])
}
