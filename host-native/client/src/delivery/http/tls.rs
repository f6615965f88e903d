//! TLS: whom to trust, and whom to be.
//!
//! Trust is the machine's own store, as its administrator set it up, unless there are roots of one's own.

use core::error::Error;
use core::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// Certificates to trust and an identity to show, parsed.
pub struct TlsFiles {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// What is wrong with PEM text.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PemError {
    /// No certificate is in it, or one that cannot be read.
    NoCertificate,
    /// No private key is in it, or one that cannot be read.
    NoKey,
    /// A certificate without its key, or a key without its certificate.
    HalfAnIdentity,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no readable certificate (PEM, `BEGIN CERTIFICATE`)",
            Self::NoKey => "no readable private key (PEM, PKCS #8, PKCS #1 or SEC 1, without a passphrase)",
            Self::HalfAnIdentity => "a client certificate and its key must be given together",
        })
    }
}

impl Error for PemError {}

impl TlsFiles {
    /// Parses PEM text: certificates to trust instead of the system's, and the client's chain with its key.
    ///
    /// # Errors
    /// When a text has none of what it should have, or only half of an identity is given.
    pub fn from_pem(
        roots: Option<&[u8]>,
        chain: Option<&[u8]>,
        key: Option<&[u8]>,
    ) -> Result<Self, PemError> {
        let identity = match (chain, key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some((
                certificates(chain)?,
                PrivateKeyDer::from_pem_slice(key).map_err(|_| PemError::NoKey)?,
            )),
            _ => return Err(PemError::HalfAnIdentity),
        };
        Ok(Self {
            roots: roots.map(certificates).transpose()?.unwrap_or_default(),
            identity,
        })
    }
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles")
            .field("roots", &self.roots.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| PemError::NoCertificate)?;
    if all.is_empty() {
        Err(PemError::NoCertificate)
    } else {
        Ok(all)
    }
}
/// What connections are made with.
pub(super) fn config(
    files: Option<&TlsFiles>,
    accept_invalid_certs: bool,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let own_roots = files.map(|files| files.roots.as_slice()).unwrap_or_default();
    let builder = if accept_invalid_certs {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
    } else if own_roots.is_empty() {
        match rustls_platform_verifier::Verifier::new(provider) {
            Ok(verifier) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier)),
            // The machine has no trust store.
            Err(_) => builder.with_root_certificates(rustls::RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
        }
    } else {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in own_roots {
            roots.add(certificate.clone())?;
        }
        builder.with_root_certificates(roots)
    };
    let mut config = match files.and_then(|files| files.identity.as_ref()) {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes every certificate, and checks only that the server has its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
