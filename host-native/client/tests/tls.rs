//! TLS: HTTP/2 where it is negotiated, trust, and client certificates.

mod support;
#[path = "support/tls_server.rs"]
mod tls_server;

use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use surgetank::sentry::Level;
use surgetank::{Client, Outcome, PemError, TlsFiles};
use surgetank_core::response::Failure;

use support::envelope;
use tls_server::{Authority, TlsServer};

const PATIENT: Duration = Duration::from_secs(60);

fn client_of(server: &TlsServer, files: Option<TlsFiles>) -> Client {
    let mut builder = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .compression(surgetank::Compression::None);
    if let Some(files) = files {
        builder = builder.tls(files);
    }
    builder.build().unwrap()
}

#[test]
fn several_requests_share_one_connection_of_http_2() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.server_config(false));
    let files = TlsFiles::from_pem(Some(authority.root.as_bytes()), None, None).unwrap();
    let client = client_of(&server, Some(files));
    // Until a first connection has settled on HTTP/2 each request tries its own.
    let _ = client.message(Level::Error, "first");
    assert!(client.flush(PATIENT).complete);
    for _ in 0..19 {
        assert_eq!(client.message(Level::Error, "over TLS").outcome, Outcome::Queued);
    }
    assert!(client.close(PATIENT).complete);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 20);
    for (version, body) in requests.iter() {
        assert_eq!(*version, Version::HTTP_2);
        assert_eq!(envelope::parse(body).items[0].kind(), "event");
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
}

#[test]
fn a_server_that_is_not_trusted_gets_nothing() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.server_config(false));
    let client = client_of(&server, None);
    let _ = client.message(Level::Error, "secret");
    assert!(!client.close(Duration::from_secs(2)).complete);
    assert_eq!(server.requests.lock().unwrap().len(), 0);
}

#[test]
fn a_handshake_that_fails_is_told_as_such() {
    use surgetank::delivery::http::{HttpExporter, HttpRoute, HttpSettings, HttpTarget};
    use surgetank::delivery::{Endpoint, Exporter as _, Outgoing};

    let authority = Authority::new();
    let server = TlsServer::start(authority.server_config(false));
    let exporter = HttpExporter::new(HttpSettings {
        environment_proxies: false,
        ..HttpSettings::default()
    });
    let url = format!("https://localhost:{}/", server.address.port());
    let target = HttpTarget::default().with(Endpoint::Envelope, HttpRoute::to(url.parse().unwrap()));
    let answer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(exporter.export(Outgoing {
            target: Arc::new(target),
            endpoint: Endpoint::Envelope,
            attempt: 1,
            timeout: PATIENT,
            content_type: "text/plain",
            content_encoding: None,
            body: Vec::new(),
        }));
    assert_eq!(answer, Err(Failure::Tls));
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.server_config(true));
    let (chain, key) = &authority.client;
    let root = Some(authority.root.as_bytes());
    let files = TlsFiles::from_pem(root, Some(chain.as_bytes()), Some(key.as_bytes())).unwrap();
    let client = client_of(&server, Some(files));
    let _ = client.message(Level::Error, "known");
    assert!(client.close(PATIENT).complete);
    assert_eq!(server.requests.lock().unwrap().len(), 1);

    let stranger = client_of(&server, Some(TlsFiles::from_pem(root, None, None).unwrap()));
    let _ = stranger.message(Level::Error, "unknown");
    assert!(!stranger.close(Duration::from_secs(2)).complete);
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[test]
fn pem_text_without_what_it_should_have_is_refused() {
    let authority = Authority::new();
    let (chain, key) = &authority.client;
    let error = |roots, chain, key| TlsFiles::from_pem(roots, chain, key).unwrap_err();
    assert_eq!(error(Some(key.as_bytes()), None, None), PemError::NoCertificate);
    assert_eq!(
        error(None, Some(chain.as_bytes()), None),
        PemError::HalfAnIdentity
    );
    assert_eq!(
        error(None, Some(chain.as_bytes()), Some(chain.as_bytes())),
        PemError::NoKey
    );
}
