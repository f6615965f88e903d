//! TLS: HTTP/2 where it is negotiated, trust, and client certificates.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use surgetank::sentry::Level;
use surgetank::{Client, Outcome, PemError, TlsFiles};
use surgetank_core::response::Failure;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use support::envelope;

const PATIENT: Duration = Duration::from_secs(60);

/// An authority with a server's and a client's certificate.
struct Authority {
    root: String,
    server: (String, String),
    client: (String, String),
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        Self {
            server: issue("localhost"),
            client: issue("client"),
            root: issuer.pem(),
        }
    }

    fn server_config(&self, ask_client: bool) -> ServerConfig {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let root = CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap();
        let builder = if ask_client {
            let mut roots = RootCertStore::empty();
            roots.add(root).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = &self.server;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// Version of HTTP and body of each request.
type Requests = Arc<Mutex<Vec<(Version, Vec<u8>)>>>;

/// Takes envelopes over TLS, on a thread and runtime of its own.
struct TlsServer {
    address: SocketAddr,
    requests: Requests,
    connections: Arc<Mutex<usize>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TlsServer {
    fn start(config: ServerConfig) -> Self {
        let requests = Requests::default();
        let connections = Arc::new(Mutex::new(0));
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (sink, count) = (Arc::clone(&requests), Arc::clone(&connections));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let acceptor = TlsAcceptor::from(Arc::new(config));
                let serve = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let (acceptor, sink, count) =
                            (acceptor.clone(), Arc::clone(&sink), Arc::clone(&count));
                        tokio::spawn(async move {
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            *count.lock().unwrap() += 1;
                            let service = service_fn(move |request: Request<Incoming>| {
                                let sink = Arc::clone(&sink);
                                async move {
                                    let version = request.version();
                                    let body = request.into_body().collect().await.unwrap().to_bytes();
                                    sink.lock().unwrap().push((version, body.to_vec()));
                                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                                }
                            });
                            let _ = Builder::new(TokioExecutor::new())
                                .serve_connection(TokioIo::new(stream), service)
                                .await;
                        });
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            requests,
            connections,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn client(&self, files: Option<TlsFiles>) -> Client {
        let dsn = format!(
            "https://0123456789abcdef0123456789abcdef@localhost:{}/42",
            self.address.port()
        );
        let mut builder = Client::builder()
            .sentry_dsn(&dsn)
            .environment_proxies(false)
            .compression(surgetank::Compression::None);
        if let Some(files) = files {
            builder = builder.tls(files);
        }
        builder.build().unwrap()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn several_requests_share_one_connection_of_http_2() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.server_config(false));
    let files = TlsFiles::from_pem(Some(authority.root.as_bytes()), None, None).unwrap();
    let client = server.client(Some(files));
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
    let client = server.client(None);
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
    let client = server.client(Some(files));
    let _ = client.message(Level::Error, "known");
    assert!(client.close(PATIENT).complete);
    assert_eq!(server.requests.lock().unwrap().len(), 1);

    let stranger = server.client(Some(TlsFiles::from_pem(root, None, None).unwrap()));
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
