//! DSNs: what is read is safe in a request line and a header, and reads as the same when it is written again.

use surgetank_core::limits::MAX_AUTH_KEY_BYTES;
use surgetank_core::wire::auth::{Credentials, Places};
use surgetank_core::wire::dsn::{Dsn, Endpoint};

pub(super) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(dsn) = Dsn::parse(&text) else { return };
    let mut url = String::new();
    dsn.write_url(&mut url, Endpoint::Envelope)
        .expect("a string takes every text");
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?}");
    assert!(dsn.path().starts_with('/') && dsn.path().ends_with('/'));
    assert!(dsn.port() != 0 && dsn.project_id().parse::<u64>().is_ok());
    assert!(
        dsn.org_id()
            .is_none_or(|org| org.bytes().all(|byte| byte.is_ascii_digit()))
    );

    let secret_key = dsn.secret_key().map(|key| format!(":{key}")).unwrap_or_default();
    let again = format!(
        "{}://{}{secret_key}@{}:{}{}{}",
        dsn.scheme().as_str(),
        dsn.public_key(),
        dsn.host(),
        dsn.port(),
        dsn.path(),
        dsn.project_id()
    );
    // The port is written out, which may be too much for a text that only just fits.
    if again.len() <= text.len() {
        assert_eq!(Dsn::parse(&again), Ok(dsn), "{again:?}");
    }

    let credentials = Credentials::of_dsn(&dsn, Some("fuzz/1"));
    let mut header = String::new();
    credentials
        .write_header(&mut header)
        .expect("a string takes every text");
    let places = Places {
        x_sentry_auth: Some(header.as_bytes()),
        ..Places::default()
    };
    // A server refuses a longer key and passes over a longer secret; which one the DSN has is its owner's business.
    let is_short = dsn.secret_key().is_none_or(|key| key.len() <= MAX_AUTH_KEY_BYTES);
    if is_short && let Ok(auth) = places.read() {
        assert_eq!(auth.credentials(), credentials);
    }
}
