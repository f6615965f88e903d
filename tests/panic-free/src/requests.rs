//! What a request to Sentry says about its sender: DSN and authentication.

use core::fmt::Write as _;

use surgetank_core::wire::auth::{Credentials, Places};
use surgetank_core::wire::dsn::{Dsn, Endpoint};

use crate::input::Tape;
use crate::output::{Sum, keep};

/// A DSN, and what is written from it.
#[unsafe(no_mangle)]
extern "C" fn dsn() {
    let mut tape = Tape::new();
    let mut out = Sum::default();
    match Dsn::parse(tape.text()) {
        Ok(dsn) => {
            keep((dsn.org_id(), dsn.path(), dsn.port()));
            for endpoint in [Endpoint::Envelope, Endpoint::OtlpTraces, Endpoint::OtlpLogs] {
                keep(dsn.write_url(&mut out, endpoint));
            }
            let credentials = Credentials::of_dsn(&dsn, Some(tape.text()));
            keep(credentials.write_header(&mut out));
            keep(credentials.write_query(&mut out));
        }
        Err(error) => keep(write!(out, "{error}")),
    }
    keep(out.value());
}

/// Authentication in any of its places, and what is passed on.
#[unsafe(no_mangle)]
extern "C" fn authentication() {
    let mut tape = Tape::new();
    let mut out = Sum::default();
    let places = Places {
        x_sentry_auth: tape.maybe_bytes(),
        authorization: tape.maybe_bytes(),
        query: tape.bytes(),
        path_key: tape.maybe_bytes(),
    };
    match places.read() {
        Ok(auth) => {
            keep((auth.project_key(), auth.version()));
            auth.flags().for_each(keep);
            keep(auth.credentials().write_header(&mut out));
        }
        Err(error) => keep((write!(out, "{error}"), error.status(), error.cause())),
    }
    keep(out.value());
}
