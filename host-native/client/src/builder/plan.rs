//! What follows from the settings: destinations, headers, TLS, the resource, the split of memory.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Proxy, Url};
use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::item::Signal;
use surgetank_core::wire::auth::Credentials;
use surgetank_core::wire::dsn::{self, Dsn};
use surgetank_core::wire::otlp::encode::{AnyValue, KeyValue, Resource};

use super::{BuildError, ClientBuilder, LONGEST_TIMEOUT, SDK_NAME, SDK_VERSION};
use crate::body::Compression;
use crate::client::PlannedDestination;
use crate::delivery::http::{HttpRoute, HttpTarget, TlsFiles};
use crate::delivery::{DeliveryConfig, Endpoint};
use crate::environment::{RESERVED_HEADERS, SignalEnvironment};
use crate::json::collected;
use crate::sentry::{SentryContext, SentryFacts};

/// The `service.name` of a program that says nothing about itself, before its file name.
const UNKNOWN_SERVICE: &str = "unknown_service";

impl ClientBuilder {
    /// The Sentry destination, and what its items say alike.
    pub(super) fn sentry(
        &self,
        otlp_on: bool,
    ) -> Result<Option<(PlannedDestination, SentryContext)>, BuildError> {
        let Some((text, setting)) = &self.dsn else {
            return Ok(None);
        };
        let dsn = Dsn::parse_optional(text).map_err(|error| BuildError::Dsn { setting, error })?;
        let Some(dsn) = dsn else { return Ok(None) };
        let mut url = String::new();
        let mut auth = String::new();
        let own = format!("{SDK_NAME}/{SDK_VERSION}");
        let client = self.sentry_client.as_ref().unwrap_or(&own);
        let written = dsn
            .write_url(&mut url, dsn::Endpoint::Envelope)
            .and_then(|()| Credentials::of_dsn(&dsn, Some(client)).write_header(&mut auth));
        let url = Url::parse(&url)
            .ok()
            .filter(|_| written.is_ok())
            .ok_or(BuildError::Url {
                setting,
                problem: "does not give a URL that can be sent to",
            })?;
        let route = HttpRoute {
            headers: headers(setting, &[("x-sentry-auth".to_owned(), auth)])?,
            tls: self.tls.clone(),
            compression: self.compression.unwrap_or_default(),
            ..HttpRoute::to(url)
        };
        let server_name = self.server_name.clone().unwrap_or_else(host_name);
        let context = SentryContext::new(SentryFacts {
            release: &self.release,
            environment: &self.environment,
            server_name: &server_name,
            public_key: dsn.public_key(),
            org_id: dsn.org_id().unwrap_or_default(),
            sdk_name: SDK_NAME,
            sdk_version: SDK_VERSION,
        });
        let planned = PlannedDestination {
            config: DestinationConfig {
                share_permille: self.sentry_share.unwrap_or(if otlp_on { 500 } else { 1000 }),
                timeout: self.sentry_timeout.into(),
                client_reports: self.client_reports,
                ..DestinationConfig::SENTRY
            },
            target: HttpTarget::default().with(Endpoint::Envelope, route),
            public_key: dsn.public_key().to_owned(),
            resource: Vec::new(),
            scope: Vec::new(),
            origins: Arc::default(),
            log_attributes: context.log.clone(),
        };
        Ok(Some((planned, context)))
    }

    /// The proxies that were set, checked here so that a slip shows when the client is built.
    pub(super) fn checked_proxies(&self) -> Result<Vec<Proxy>, BuildError> {
        let wrong = |setting| BuildError::Url {
            setting,
            problem: "is no URL of a proxy, such as http://proxy.example:3128",
        };
        let [http, https] = &self.proxies;
        let http = http
            .as_ref()
            .map(|url| Proxy::http(url).map_err(|_| wrong("http_proxy")));
        let https = https
            .as_ref()
            .map(|url| Proxy::https(url).map_err(|_| wrong("https_proxy")));
        http.into_iter().chain(https).collect()
    }

    /// Signals that go to the same server with the same patience share a destination: what is learned about a server
    /// from its answers to one signal holds for the others.
    pub(super) fn otlp_groups(&self) -> Result<Vec<Group>, BuildError> {
        let mut groups: Vec<Group> = Vec::new();
        let signals = [Signal::Traces, Signal::Logs, Signal::Metrics];
        let settings = self.otlp.iter().flatten().zip(signals);
        for (settings, signal) in settings.filter_map(|(settings, signal)| Some((settings.as_ref()?, signal)))
        {
            let setting = settings.endpoint_variable;
            let url = http_url(setting, &settings.endpoint)?;
            let mut pairs = settings.headers.clone();
            pairs.extend(self.otlp_headers.iter().cloned());
            let route = HttpRoute {
                headers: headers("otlp_header", &pairs)?,
                tls: self.otlp_tls(settings, &groups)?,
                compression: self
                    .compression
                    .or(settings.compression)
                    .unwrap_or(Compression::None),
                url: url.clone(),
            };
            let timeout = self
                .otlp_timeout
                .or(settings.timeout)
                .unwrap_or(LONGEST_TIMEOUT)
                .min(LONGEST_TIMEOUT);
            let origin = (
                url.scheme().to_owned(),
                url.host_str().map(str::to_owned),
                url.port_or_known_default(),
            );
            let known = groups
                .iter_mut()
                .find(|group| group.origin == origin && group.timeout == timeout);
            let group = match known {
                Some(group) => group,
                None => {
                    groups.push(Group {
                        origin,
                        timeout,
                        signals: Vec::new(),
                        target: HttpTarget::default(),
                        files: files_of(settings),
                    });
                    let Some(group) = groups.last_mut() else { continue };
                    group
                }
            };
            group.signals.push(signal);
            let target = core::mem::take(&mut group.target);
            group.target = target.with(Endpoint::Otlp(signal), route);
        }
        Ok(groups)
    }

    /// The TLS files of a signal, read from disk; those of an earlier signal with the same paths.
    fn otlp_tls(
        &self,
        settings: &SignalEnvironment,
        groups: &[Group],
    ) -> Result<Option<Arc<TlsFiles>>, BuildError> {
        let files = files_of(settings);
        if files.iter().all(Option::is_none) {
            return Ok(self.tls.clone());
        }
        let known = groups
            .iter()
            .find(|group| group.files == files)
            .and_then(|group| {
                let route = |signal: &Signal| group.target.route(Endpoint::Otlp(*signal));
                group
                    .signals
                    .iter()
                    .filter_map(route)
                    .find_map(|route| route.tls.clone())
            });
        if known.is_some() {
            return Ok(known);
        }
        let [roots, chain, key] = files;
        let read = |path: Option<PathBuf>, setting| path.map(|path| read_file(setting, &path)).transpose();
        let roots = read(roots, "OTEL_EXPORTER_OTLP_CERTIFICATE")?;
        let chain = read(chain, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?;
        let key = read(key, "OTEL_EXPORTER_OTLP_CLIENT_KEY")?;
        let files =
            TlsFiles::from_pem(roots.as_deref(), chain.as_deref(), key.as_deref()).map_err(|error| {
                BuildError::Pem {
                    setting: "OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE or _CLIENT_KEY",
                    error,
                }
            })?;
        Ok(Some(Arc::new(files)))
    }

    /// Attributes of the resource: those that were set, and for what they leave open the settings that say the same.
    pub(super) fn encoded_resource(&self) -> Vec<u8> {
        let set = |key: &str| self.resource.iter().any(|(known, _)| known == key);
        let server_name = self.server_name.clone().unwrap_or_else(host_name);
        let service = match &self.service_name {
            name if name.is_empty() => unknown_service(),
            name => name.clone(),
        };
        // Names of the semantic conventions for resources.
        let known = [
            ("service.name", service.as_str()),
            ("service.version", &self.release),
            ("deployment.environment.name", &self.environment),
            ("host.name", &server_name),
            ("telemetry.sdk.name", SDK_NAME),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", SDK_VERSION),
        ];
        // A name that was set by its own method wins over the attribute of that name.
        let named = |key: &str| key == "service.name" && !self.service_name.is_empty();
        let own = self
            .resource
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(|(key, _)| !named(key));
        let filled = known
            .into_iter()
            .filter(|(key, value)| !value.is_empty() && (named(key) || !set(key)));
        let attributes: Vec<KeyValue<'_>> = own
            .chain(filled)
            .map(|(key, value)| KeyValue::new(key, AnyValue::String(value)))
            .collect();
        collected(|out| {
            Resource {
                attributes: &attributes,
            }
            .encode(out);
        })
    }

    pub(super) fn delivery_config(&self, destinations: &[PlannedDestination]) -> DeliveryConfig {
        // The intake's size is a power of two; a quarter of the memory, or up to half of that less.
        let intake_bytes = (self.memory / 4 + 1).next_power_of_two() / 2;
        let requests: usize = destinations
            .iter()
            .map(|planned| usize::from(planned.config.concurrency.max))
            .sum();
        let mut engine = Config::DEFAULT;
        engine.max_age = self.retry_for.into();
        engine.monitor.policy = self.downsampling;
        DeliveryConfig {
            intake_bytes,
            queue_bytes: self.memory - intake_bytes,
            max_destinations: destinations.len().max(1),
            max_requests: requests.max(1),
            engine,
            seed: 0,
            thread_name: "surgetank-delivery",
            diagnostics: self.diagnostics.clone(),
        }
    }
}

/// Signals of one destination.
pub(super) struct Group {
    /// Scheme, host and port.
    origin: (String, Option<String>, Option<u16>),
    pub(super) timeout: Duration,
    pub(super) signals: Vec<Signal>,
    pub(super) target: HttpTarget,
    files: [Option<PathBuf>; 3],
}

/// Roots, chain, key.
fn files_of(settings: &SignalEnvironment) -> [Option<PathBuf>; 3] {
    [
        settings.certificate.clone(),
        settings.client_certificate.clone(),
        settings.client_key.clone(),
    ]
}

fn read_file(setting: &'static str, path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|error| BuildError::File {
        setting,
        path: path.to_owned(),
        kind: error.kind(),
    })
}

fn http_url(setting: &'static str, text: &str) -> Result<Url, BuildError> {
    let problem = match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "has a scheme other than `http` and `https`",
        Ok(url) if url.host_str().is_none_or(str::is_empty) => "has no host",
        Ok(url) => return Ok(url),
        Err(_) => "is no URL; write `http://host:4318`",
    };
    Err(BuildError::Url { setting, problem })
}

fn headers(setting: &'static str, pairs: &[(String, String)]) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BuildError::Header { setting })?;
        if RESERVED_HEADERS.contains(&name.as_str()) {
            return Err(BuildError::Header { setting });
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| BuildError::Header { setting })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Traces whose 56 random bits are below this are not kept (OpenTelemetry, "Consistent probability sampling").
pub(super) fn rejection_threshold(rate: f64) -> u64 {
    const SPACE: f64 = (1u64 << 56) as f64;
    // In range: the rate is from 0 to 1.
    ((1.0 - rate) * SPACE) as u64
}

/// `unknown_service:` and the name of the program's file (semantic conventions, `service.name`).
fn unknown_service() -> String {
    let program = std::env::current_exe().ok();
    match program.as_deref().and_then(Path::file_name) {
        Some(name) => format!("{UNKNOWN_SERVICE}:{}", name.to_string_lossy()),
        None => UNKNOWN_SERVICE.to_owned(),
    }
}

/// Name of the machine; empty where it has none.
fn host_name() -> String {
    hostname::get()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
