//! Where bodies from the line go: a Sentry project, an OTLP receiver, or both. The device knows neither.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use surgetank::delivery::http::{HttpExporter, HttpRoute, HttpSettings, HttpTarget};
use surgetank::delivery::{Answer, Endpoint, Exporter as _, Outgoing};
use surgetank::environment::{Environment, SignalEnvironment};
use surgetank::{Compression, TlsFiles};
use surgetank_core::item::Signal;
use surgetank_core::response::Failure;
use surgetank_core::wire::auth::Credentials;
use surgetank_core::wire::dsn::{self, Dsn};
use surgetank_serial::message::BodyKind;
use url::Url;

const X_SENTRY_AUTH: &str = "x-sentry-auth";

/// Name and version under which Sentry sees the gateway.
const CLIENT: &str = concat!("surgetank-serial/", env!("CARGO_PKG_VERSION"));

/// Variables that turn OTLP on here. A default endpoint would be a guess, and a device's telemetry would wait for it.
const OTLP_ENDPOINTS: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];

/// The servers. Their keys show in no output.
#[derive(Debug)]
pub(super) struct Upstreams {
    http: HttpExporter,
    target: Arc<HttpTarget>,
    timeout: Duration,
}

impl Upstreams {
    /// Of the variables that clients know (`SENTRY_DSN`, `OTEL_EXPORTER_OTLP_*`), as `lookup` has them. What is wrong with them
    /// is said without showing any of it.
    pub(super) fn read(lookup: impl Fn(&str) -> Option<String>, timeout: Duration) -> Result<Self, String> {
        let is_set = |name: &&str| lookup(name).is_some_and(|value| !value.trim().is_empty());
        let otlp_on = OTLP_ENDPOINTS.iter().any(is_set);
        let environment = Environment::read(&lookup).map_err(|error| error.to_string())?;
        let mut target = HttpTarget::default();
        let dsn = environment.sentry_dsn.as_deref().unwrap_or_default();
        let dsn = Dsn::parse_optional(dsn).map_err(|error| format!("--dsn (SENTRY_DSN): {error}"))?;
        if let Some(dsn) = &dsn {
            target = target.with(Endpoint::Envelope, sentry(dsn)?);
        }
        let signals = [Signal::Traces, Signal::Logs, Signal::Metrics];
        let otlp = environment.otlp.filter(|_| otlp_on);
        let of_signals = signals
            .iter()
            .filter_map(|signal| Some((*signal, otlp.as_ref()?.signal(*signal)?)));
        for (signal, settings) in of_signals {
            target = target.with(Endpoint::Otlp(signal), receiver(settings)?);
        }
        if dsn.is_none() && otlp.is_none() {
            return Err(
                "nowhere to send to: give a DSN with --dsn or SENTRY_DSN, or an OTLP receiver with \
                 --otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT"
                    .to_owned(),
            );
        }
        let http = HttpExporter::new(HttpSettings::default());
        http.prepare();
        Ok(Self {
            http,
            target: Arc::new(target),
            timeout,
        })
    }

    /// Makes one attempt. A body for which there is no server fails as if that server were away: the device keeps it, and
    /// the gateway can be set right.
    pub(super) fn post(
        &self,
        kind: BodyKind,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let endpoint = match kind {
            BodyKind::Envelope => Endpoint::Envelope,
            BodyKind::Protobuf(signal) | BodyKind::Json(signal) => Endpoint::Otlp(signal),
        };
        let posted = self.target.route(endpoint).is_some().then(|| {
            self.http.export(Outgoing {
                target: Arc::clone(&self.target),
                endpoint,
                attempt: 1,
                timeout: self.timeout,
                content_type: kind.content_type(),
                content_encoding: None,
                body,
            })
        });
        async move {
            match posted {
                Some(posted) => posted.await,
                None => Err(Failure::Connect),
            }
        }
    }
}

fn sentry(dsn: &Dsn<'_>) -> Result<HttpRoute, String> {
    const OPTION: &str = "--dsn (SENTRY_DSN)";
    let mut url = String::new();
    let mut auth = String::new();
    let written = dsn
        .write_url(&mut url, dsn::Endpoint::Envelope)
        .and_then(|()| Credentials::of_dsn(dsn, Some(CLIENT)).write_header(&mut auth));
    let url = Url::parse(&url).ok().filter(|_| written.is_ok());
    let url = url.ok_or_else(|| format!("{OPTION}: gives no URL that can be sent to"))?;
    Ok(HttpRoute {
        headers: headers(OPTION, &[(X_SENTRY_AUTH.to_owned(), auth)])?,
        compression: Compression::None,
        ..HttpRoute::to(url)
    })
}

fn receiver(settings: &SignalEnvironment) -> Result<HttpRoute, String> {
    let option = settings.endpoint_variable;
    let url = Url::parse(&settings.endpoint).map_err(|error| format!("{option}: not a URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{option}: the scheme must be http or https"));
    }
    let read = |path: &Option<_>| path.as_ref().map(std::fs::read).transpose();
    let files = [
        &settings.certificate,
        &settings.client_certificate,
        &settings.client_key,
    ];
    let tls = if files.iter().all(|path| path.is_none()) {
        None
    } else {
        let [roots, chain, key] = files.map(read);
        let wrong =
            |error: &dyn std::fmt::Display| format!("OTEL_EXPORTER_OTLP_CERTIFICATE and its kin: {error}");
        let files = [roots, chain, key].map(|file| file.map_err(|error| wrong(&error)));
        let [roots, chain, key] = files;
        let files = TlsFiles::from_pem(roots?.as_deref(), chain?.as_deref(), key?.as_deref());
        Some(Arc::new(files.map_err(|error| wrong(&error))?))
    };
    Ok(HttpRoute {
        headers: headers("OTEL_EXPORTER_OTLP_HEADERS", &settings.headers)?,
        tls,
        compression: Compression::None,
        ..HttpRoute::to(url)
    })
}

fn headers(option: &str, pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let wrong = || format!("{option}: holds what cannot be a header");
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
