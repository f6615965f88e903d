//! Authentication of requests.

use proptest::prelude::*;
use surgetank_core::limits::MAX_AUTH_CLIENT_BYTES;
use surgetank_core::wire::auth::{Auth, Credentials, Places};

use crate::{hostile, written};

/// The header that passes `auth` on is one line, and is read as the same.
fn check_passed_on(auth: &Auth) -> Result<(), TestCaseError> {
    let credentials = auth.credentials();
    let header = written(|out| credentials.write_header(out));
    prop_assert!(
        header.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{}",
        header
    );
    let places = Places {
        x_sentry_auth: Some(header.as_bytes()),
        ..Places::default()
    };
    let again = places
        .read()
        .map_err(|error| TestCaseError::fail(format!("{header}: {error}")))?;
    prop_assert_eq!(again.public_key(), auth.public_key());
    // White space at the ends of a name does not survive a header.
    prop_assert_eq!(again.client().map(str::trim), auth.client().map(str::trim));
    Ok(())
}

proptest! {
    #[test]
    fn any_request_is_survived(
        x_sentry_auth in prop::option::of(hostile()),
        authorization in prop::option::of(hostile()),
        query in hostile(),
        path_key in prop::option::of(hostile()),
    ) {
        let places = Places {
            x_sentry_auth: x_sentry_auth.as_deref(),
            authorization: authorization.as_deref(),
            query: &query,
            path_key: path_key.as_deref(),
        };
        if let Ok(auth) = places.read() {
            check_passed_on(&auth)?;
        }
    }

    #[test]
    fn any_single_place_is_survived(
        place in prop_oneof![
            r"[Ss]entry (sentry_(key|version|client|secret) ?= ?[a-f0-9./ %]{0,9},? ?){0,5}",
            r"(sentry_(key|version|client|secret)=[a-f0-9./+%]{0,9}&?){0,5}",
            r"Basic [A-Za-z0-9+/]{0,8}={0,2}",
        ],
        which in 0..4,
    ) {
        let place = place.as_bytes();
        let places = match which {
            0 => Places { x_sentry_auth: Some(place), ..Places::default() },
            1 => Places { authorization: Some(place), ..Places::default() },
            2 => Places { query: place, ..Places::default() },
            _ => Places { path_key: Some(place), ..Places::default() },
        };
        if let Ok(auth) = places.read() {
            check_passed_on(&auth)?;
        }
    }

    #[test]
    fn what_is_written_is_read_in_either_form(
        public_key in r"[A-Za-z0-9_-]{1,40}(\.[a-z-]{1,8}){0,2}",
        secret_key in prop::option::of("[A-Za-z0-9_]{1,40}"),
        client in prop::option::of("[!-+.-~]([ -+.-~]{0,20}[!-+.-~])?"),
    ) {
        let credentials = Credentials {
            public_key: &public_key,
            secret_key: secret_key.as_deref(),
            client: client.as_deref(),
        };
        let header = written(|out| credentials.write_header(out));
        let query = written(|out| credentials.write_query(out));
        let in_header = Places { x_sentry_auth: Some(header.as_bytes()), ..Places::default() };
        let in_query = Places { query: query.as_bytes(), ..Places::default() };
        for places in [in_header, in_query] {
            let auth = places.read().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(auth.credentials(), credentials);
        }
    }

    #[test]
    fn any_client_name_is_passed_on_safely(client in ".{0,200}") {
        let credentials = Credentials { public_key: "k", secret_key: None, client: Some(&client) };
        let query = written(|out| credentials.write_query(out));
        let places = Places { query: query.as_bytes(), ..Places::default() };
        let auth = places.read().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(auth.client().is_some_and(|client| client.len() <= MAX_AUTH_CLIENT_BYTES));
        check_passed_on(&auth)?;
    }
}
