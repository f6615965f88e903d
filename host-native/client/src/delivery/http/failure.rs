//! The engine's word for what went wrong, found in the chain of causes of an error.

use core::error::Error;
use std::io;

use surgetank_core::response::Failure;

use super::lookup::NotResolved;

/// Of a request over `reqwest`.
pub(super) fn of_request(error: &reqwest::Error) -> Failure {
    let causes = Causes::of(error);
    if let Some(failure) = causes.plain {
        failure
    } else if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect
    } else if causes.malformed {
        Failure::MalformedResponse
    } else if causes.disconnected || error.is_body() || error.is_request() {
        Failure::Disconnected
    } else {
        Failure::Internal
    }
}

/// Of a connection that was not made.
pub(super) fn of_connecting(error: &(dyn Error + 'static)) -> Failure {
    let causes = Causes::of(error);
    match causes.plain {
        Some(failure) => failure,
        None if causes.timed_out => Failure::Timeout,
        None => Failure::Connect,
    }
}

/// Of a request over a connection that was made.
pub(super) fn of_exchange(error: &hyper::Error) -> Failure {
    if Causes::of(error).malformed {
        Failure::MalformedResponse
    } else {
        Failure::Disconnected
    }
}

/// What is among the causes of an error.
#[derive(Default)]
struct Causes {
    /// One that says all.
    plain: Option<Failure>,
    malformed: bool,
    disconnected: bool,
    timed_out: bool,
}

impl Causes {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut found = Self::default();
        let mut cause = Some(error);
        while let Some(error) = cause {
            let tls = error.is::<rustls::Error>() || error.downcast_ref::<io::Error>().is_some_and(is_tls);
            if error.is::<NotResolved>() || tls {
                found.plain = Some(if tls { Failure::Tls } else { Failure::Dns });
                return found;
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                found.timed_out |= io.kind() == io::ErrorKind::TimedOut;
                found.disconnected |= matches!(
                    io.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::BrokenPipe
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::NotConnected
                );
            }
            if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
                found.malformed |= hyper.is_parse();
                found.disconnected |=
                    hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed();
            }
            cause = error.source();
        }
        found
    }
}

/// True when a TLS error is wrapped in it, however often: what an I/O error wraps is not among its causes.
fn is_tls(error: &io::Error) -> bool {
    let mut inner = error.get_ref();
    while let Some(error) = inner {
        if error.is::<rustls::Error>() {
            return true;
        }
        inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    }
    false
}
