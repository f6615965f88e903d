//! Authentication of requests: whatever is let in can be passed on in one header, and reads as the same there.

use surgetank_core::limits::MAX_AUTH_CLIENT_BYTES;
use surgetank_core::wire::auth::{Auth, AuthError, Places};

use super::tape::Tape;

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let x_sentry_auth = tape.flag().then(|| tape.bytes());
    let authorization = tape.flag().then(|| tape.bytes());
    let path_key = tape.flag().then(|| tape.bytes());
    let places = Places {
        x_sentry_auth,
        authorization,
        path_key,
        query: tape.rest(),
    };
    match places.read() {
        Ok(auth) => passed_on(&auth),
        Err(AuthError::UnsupportedVersion(version)) => assert!(version > 7),
        Err(error) => assert!(matches!(error.status(), 400 | 401)),
    }
}

fn passed_on(auth: &Auth) {
    let mut header = String::new();
    auth.credentials()
        .write_header(&mut header)
        .expect("a string takes every text");
    assert!(
        header.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{header:?}"
    );
    assert!(
        auth.client()
            .is_none_or(|client| client.len() <= MAX_AUTH_CLIENT_BYTES)
    );
    let mut query = String::new();
    auth.credentials()
        .write_query(&mut query)
        .expect("a string takes every text");
    for places in [
        Places {
            x_sentry_auth: Some(header.as_bytes()),
            ..Places::default()
        },
        Places {
            query: query.as_bytes(),
            ..Places::default()
        },
    ] {
        let again = places.read().expect("what was written is read");
        assert_eq!(again.credentials().public_key, auth.credentials().public_key);
        assert_eq!(again.credentials().secret_key, auth.credentials().secret_key);
        // White space at the ends of a name does not survive a header.
        assert_eq!(again.client().map(str::trim), auth.client().map(str::trim));
    }
}
