//! A server over TLS on loopback, HTTP/2 where it is negotiated, and the authority that vouches for it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by test programs, each of which uses its own part"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// An authority with a server's and a client's certificate.
pub struct Authority {
    pub root: String,
    server: (String, String),
    pub client: (String, String),
}

impl Authority {
    pub fn new() -> Self {
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

    pub fn server_config(&self, ask_client: bool) -> ServerConfig {
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
pub type Requests = Arc<Mutex<Vec<(Version, Vec<u8>)>>>;

/// Takes envelopes over TLS, on a thread and runtime of its own.
pub struct TlsServer {
    pub address: SocketAddr,
    pub requests: Requests,
    pub connections: Arc<Mutex<usize>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TlsServer {
    pub fn start(config: ServerConfig) -> Self {
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

    pub fn dsn(&self) -> String {
        format!(
            "https://0123456789abcdef0123456789abcdef@localhost:{}/42",
            self.address.port()
        )
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
