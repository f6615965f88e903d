//! Building a client: settings, their checks, and what follows from them.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::downsample::Policy;
use surgetank_core::item::Signal;
use surgetank_core::wire::otlp::encode::Scope;

use crate::body::Compression;
use crate::client::{Client, Plan, PlannedDestination};
use crate::delivery::http::{HttpSettings, TlsFiles};
use crate::diagnostics::{self, Diagnostic, DiagnosticCallback};
use crate::environment::{self, Environment, RecordLimits, SIGNALS, SignalEnvironment, Warning};
use crate::json::collected;

mod error;
mod plan;
#[cfg(test)]
mod tests;

pub use error::BuildError;

/// Name under which this client presents itself.
pub(crate) const SDK_NAME: &str = "surgetank";
/// Its version.
pub(crate) const SDK_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Memory of a client unless it is set: 4 MiB.
pub const DEFAULT_MEMORY: usize = 4 * 1024 * 1024;

/// The least memory a client works with: 64 KiB.
pub const MIN_MEMORY: usize = 64 * 1024;

/// The most: 1 GiB.
pub const MAX_MEMORY: usize = 1024 * 1024 * 1024;

/// How long one attempt may take where a setting says "without limit": every attempt ends.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Collects the settings of a [`Client`].
///
/// ```no_run
/// use surgetank::Client;
///
/// let client = Client::builder()
///     .sentry_dsn("https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/42")
///     .release("shop@1.4.2")
///     .environment("production")
///     .build()?;
/// # Ok::<(), surgetank::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing happens before `build`"]
pub struct ClientBuilder {
    dsn: Option<(String, &'static str)>,
    otlp: Option<[Option<SignalEnvironment>; SIGNALS]>,
    /// `OTEL_SDK_DISABLED`: no OTLP, and nothing is taken from the OpenTelemetry SDK.
    otel_disabled: bool,
    #[cfg(feature = "opentelemetry")]
    active_span: bool,
    otlp_headers: Vec<(String, String)>,
    otlp_delay: Option<Duration>,
    otlp_batch: Option<u32>,
    memory: usize,
    release: String,
    environment: String,
    server_name: Option<String>,
    service_name: String,
    resource: Vec<(String, String)>,
    scope: (String, String),
    compression: Option<Compression>,
    connect_timeout: Duration,
    sentry_timeout: Duration,
    otlp_timeout: Option<Duration>,
    retry_for: Duration,
    sentry_share: Option<u16>,
    otlp_share: Option<u16>,
    limits: RecordLimits,
    sample_rate: f64,
    downsampling: Policy,
    client_reports: bool,
    environment_proxies: bool,
    tls: Option<Arc<TlsFiles>>,
    /// Of the SDK that captures, as servers see it; this crate unless it is set.
    sentry_client: Option<String>,
    proxies: [Option<String>; 2],
    accept_invalid_certs: bool,
    seed: Option<[u64; 3]>,
    diagnostics: Option<DiagnosticCallback>,
    debug: bool,
    warnings: Vec<Warning>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            dsn: None,
            otlp: None,
            otel_disabled: false,
            #[cfg(feature = "opentelemetry")]
            active_span: false,
            otlp_headers: Vec::new(),
            otlp_delay: None,
            otlp_batch: None,
            memory: DEFAULT_MEMORY,
            release: String::new(),
            environment: String::new(),
            server_name: None,
            service_name: String::new(),
            resource: Vec::new(),
            scope: (SDK_NAME.to_owned(), SDK_VERSION.to_owned()),
            compression: None,
            connect_timeout: HttpSettings::default().connect_timeout,
            sentry_timeout: DestinationConfig::SENTRY.timeout.into(),
            otlp_timeout: None,
            retry_for: Config::DEFAULT.max_age.into(),
            sentry_share: None,
            otlp_share: None,
            limits: RecordLimits::default(),
            sample_rate: 1.0,
            downsampling: Config::DEFAULT.monitor.policy,
            client_reports: true,
            environment_proxies: true,
            tls: None,
            sentry_client: None,
            proxies: [None, None],
            accept_invalid_certs: false,
            seed: None,
            diagnostics: None,
            debug: false,
            warnings: Vec::new(),
        }
    }
}

impl ClientBuilder {
    /// A builder with the settings that the environment variables of this process give (see [`environment`]).
    /// Settings made after it win over them.
    ///
    /// # Errors
    /// A variable asks for what this client cannot do.
    pub fn from_env() -> Result<Self, BuildError> {
        Ok(Self::default().with_environment(Environment::of_process()?))
    }

    /// Takes over what an [`Environment`] says.
    pub fn with_environment(mut self, environment: Environment) -> Self {
        if let Some(dsn) = environment.sentry_dsn {
            self.dsn = Some((dsn, "SENTRY_DSN"));
        }
        if let Some(release) = environment.release {
            self.release = release;
        }
        if let Some(name) = environment.environment {
            self.environment = name;
        }
        if let Some(otlp) = environment.otlp {
            self.otlp = Some(
                [Signal::Traces, Signal::Logs, Signal::Metrics].map(|signal| otlp.signal(signal).cloned()),
            );
        }
        self.otel_disabled = environment.otel_disabled;
        for (key, value) in environment.resource {
            self = self.resource_attribute(&key, &value);
        }
        self.limits = environment.limits;
        self.otlp_delay = environment.batch.delay.or(self.otlp_delay);
        self.otlp_batch = environment.batch.max_records.or(self.otlp_batch);
        if let Some(ppm) = environment.trace_ratio_ppm {
            self.sample_rate = f64::from(ppm) / 1e6;
        }
        self.warnings.extend(environment.warnings);
        self
    }

    /// Sends to the Sentry project of this DSN. An empty one turns Sentry off.
    pub fn sentry_dsn(mut self, dsn: &str) -> Self {
        self.dsn = Some((dsn.to_owned(), "sentry_dsn"));
        self
    }

    /// Sends OTLP over HTTP to `base`, to which `v1/traces` and so on are added. `OTEL_SDK_DISABLED` in an environment that
    /// was taken over wins.
    pub fn otlp_endpoint(mut self, base: &str) -> Self {
        self.otlp = Some([Signal::Traces, Signal::Logs, Signal::Metrics].map(|signal| {
            Some(SignalEnvironment {
                endpoint: environment::signal_url(base, signal),
                endpoint_variable: "otlp_endpoint",
                headers: Vec::new(),
                timeout: Some(environment::DEFAULT_OTLP_TIMEOUT),
                compression: None,
                certificate: None,
                client_key: None,
                client_certificate: None,
            })
        }));
        self
    }

    /// Adds a header to every OTLP request. Its value is taken as a secret.
    pub fn otlp_header(mut self, name: &str, value: &str) -> Self {
        self.otlp_headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Memory for records, in bytes: intake and queue together, reserved when the client is built. [`MIN_MEMORY`] to
    /// [`MAX_MEMORY`], default [`DEFAULT_MEMORY`]. The largest single record is between a sixteenth and an eighth of it.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Version of the application. Sentry takes no sessions without it.
    pub fn release(mut self, release: &str) -> Self {
        release.clone_into(&mut self.release);
        self
    }

    /// Where the application runs (`production`, `staging`).
    pub fn environment(mut self, environment: &str) -> Self {
        environment.clone_into(&mut self.environment);
        self
    }

    /// Name of the machine; the host name unless it is set, nothing if empty.
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.to_owned());
        self
    }

    /// `service.name` of OTLP's resource.
    pub fn service_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.service_name);
        self
    }

    /// Adds an attribute to OTLP's resource, in place of one of the same name.
    pub fn resource_attribute(mut self, key: &str, value: &str) -> Self {
        self.resource.retain(|(known, _)| known != key);
        self.resource.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Name and version of the OTLP instrumentation scope; this client's own unless they are set.
    pub fn scope(mut self, name: &str, version: &str) -> Self {
        self.scope = (name.to_owned(), version.to_owned());
        self
    }

    /// Compression of every request body, in place of what the environment says. Default: gzip for Sentry, none for
    /// OTLP (the specification's default).
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// How long name resolution, TCP, proxy and TLS may take together. Default 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one attempt to send to Sentry may take in all. Default 30 s.
    pub fn sentry_timeout(mut self, timeout: Duration) -> Self {
        self.sentry_timeout = timeout;
        self
    }

    /// How long one attempt to send OTLP may take in all, in place of what the environment says. Default 10 s.
    pub fn otlp_timeout(mut self, timeout: Duration) -> Self {
        self.otlp_timeout = Some(timeout);
        self
    }

    /// How long after it was recorded a record may still be retried. Default 10 min.
    pub fn retry_for(mut self, age: Duration) -> Self {
        self.retry_for = age;
        self
    }

    /// Most of the queue that records for Sentry may fill, in permille. Default: all of it, or half if OTLP is on, too.
    pub fn sentry_share(mut self, permille: u16) -> Self {
        self.sentry_share = Some(permille);
        self
    }

    /// Most of the queue that OTLP records may fill, in permille. Default: all of it, or half if Sentry is on, too.
    pub fn otlp_share(mut self, permille: u16) -> Self {
        self.otlp_share = Some(permille);
        self
    }

    /// How many attributes, events and links an OTLP record keeps.
    pub fn limits(mut self, limits: RecordLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The share of traces begun here that is kept, 0 to 1. Default 1. Decided by trace id, so that every program with
    /// the same rate decides alike.
    pub fn traces_sample_rate(mut self, rate: f64) -> Self {
        self.sample_rate = rate;
        self
    }

    /// When to keep fewer traces because the client is under pressure.
    pub fn downsampling(mut self, policy: Policy) -> Self {
        self.downsampling = policy;
        self
    }

    /// Whether Sentry is told what was lost. Default true.
    pub fn client_reports(mut self, send: bool) -> Self {
        self.client_reports = send;
        self
    }

    /// Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are honoured, for servers on other machines.
    /// Default true.
    pub fn environment_proxies(mut self, honour: bool) -> Self {
        self.environment_proxies = honour;
        self
    }

    /// Certificates of one's own for every destination.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(Arc::new(files));
        self
    }

    /// Whether events, messages, logs and OTLP log records that name neither trace nor span belong to the span of
    /// OpenTelemetry that is active on the thread that records them. Default false.
    ///
    /// Not for programs that record in signal handlers or in destructors of thread-locals: there the thread's context may
    /// be out of reach, and OpenTelemetry's way to say so is a panic.
    #[cfg(feature = "opentelemetry")]
    pub fn active_span(mut self, link: bool) -> Self {
        self.active_span = link;
        self
    }

    /// Name and version of the SDK that captures, for the authentication header.
    #[cfg(feature = "sentry")]
    pub(crate) fn sentry_client(mut self, client: &str) -> Self {
        self.sentry_client = Some(client.to_owned());
        self
    }

    /// Proxies for `http://` and `https://` servers, in place of the environment's.
    #[cfg(feature = "sentry")]
    pub(crate) fn proxies(mut self, http: Option<&str>, https: Option<&str>) -> Self {
        self.proxies = [http.map(str::to_owned), https.map(str::to_owned)];
        self
    }

    /// Takes whatever certificate a server shows.
    #[cfg(feature = "sentry")]
    pub(crate) fn accept_invalid_certs(mut self, accept: bool) -> Self {
        self.accept_invalid_certs = accept;
        self
    }

    /// Makes identifiers and jitter follow from `seed` instead of the operating system's randomness, for tests.
    pub fn seed(mut self, seed: [u64; 3]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells `callback` what happens, on the delivery thread, at a bounded rate (see [`diagnostics`]).
    pub fn on_diagnostic(mut self, callback: impl Fn(&Diagnostic) + Send + Sync + 'static) -> Self {
        self.diagnostics = Some(Arc::new(callback));
        self
    }

    /// Writes diagnostics to standard error, in place of a callback, and [warnings](Client::warnings) when the client is
    /// built.
    pub fn debug(mut self, on: bool) -> Self {
        self.debug = on;
        self.diagnostics = on.then(|| Arc::new(diagnostics::to_stderr) as DiagnosticCallback);
        self
    }

    /// What was ignored of the environment, and why.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Checks every setting and reserves the memory. No thread is started and nothing is sent.
    ///
    /// # Errors
    /// The first setting that is wrong, by its name or variable, and what would be right.
    pub fn build(mut self) -> Result<Client, BuildError> {
        self.check_ranges()?;
        self.otlp = self.otlp.filter(|_| !self.otel_disabled);
        if self.debug {
            self.warnings.iter().for_each(diagnostics::line_to_stderr);
        }
        let mut destinations = Vec::new();
        let resource = self.encoded_resource();
        let scope = collected(|out| {
            Scope {
                name: &self.scope.0,
                version: &self.scope.1,
                attributes: &[],
            }
            .encode(out);
        });
        let otlp_on = self
            .otlp
            .as_ref()
            .is_some_and(|otlp| otlp.iter().any(Option::is_some));
        let sentry = self.sentry(otlp_on)?;
        let sentry_on = sentry.is_some();
        let sentry = sentry.map(|(planned, context)| {
            destinations.push(planned);
            context
        });
        let mut signals = [None; SIGNALS];
        let groups = self.otlp_groups()?;
        let share = self.otlp_share.unwrap_or(if sentry_on { 500 } else { 1000 });
        let each = (usize::from(share) / groups.len().max(1)).max(1);
        for group in groups {
            for signal in &group.signals {
                if let Some(place) = signals.get_mut(*signal as usize) {
                    *place = Some(destinations.len());
                }
            }
            let mut config = DestinationConfig {
                // At most 1000 by the check of ranges.
                share_permille: each as u16,
                timeout: group.timeout.into(),
                ..DestinationConfig::OTLP
            };
            if let Some(delay) = self.otlp_delay {
                config.batch.max_delay = delay.into();
            }
            if let Some(records) = self.otlp_batch {
                config.batch.max_records = records;
            }
            destinations.push(PlannedDestination {
                config,
                target: group.target,
                public_key: String::new(),
                resource: resource.clone(),
                scope: scope.clone(),
                origins: Arc::default(),
                log_attributes: Vec::new(),
            });
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => crate::client::entropy().map_err(|_| BuildError::Entropy)?,
        };
        let plan = Plan {
            delivery: self.delivery_config(&destinations),
            http: HttpSettings {
                connect_timeout: self.connect_timeout,
                environment_proxies: self.environment_proxies,
                proxies: self.checked_proxies()?,
                accept_invalid_certs: self.accept_invalid_certs,
                ..HttpSettings::default()
            },
            destinations,
            sentry,
            signals,
            #[cfg(feature = "opentelemetry")]
            otel_disabled: self.otel_disabled,
            #[cfg(feature = "opentelemetry")]
            active_span: self.active_span,
            limits: self.limits,
            release: self.release,
            environment: self.environment,
            reject_below: plan::rejection_threshold(self.sample_rate),
            reseed: self.seed.is_none(),
            warnings: self.warnings,
        };
        Client::new(plan, seed).map_err(BuildError::Delivery)
    }

    fn check_ranges(&self) -> Result<(), BuildError> {
        let positive = |setting, timeout: Duration| {
            if timeout.is_zero() {
                Err(BuildError::Range {
                    setting,
                    allowed: "longer than zero",
                })
            } else {
                Ok(())
            }
        };
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&self.memory) {
            return Err(BuildError::Range {
                setting: "memory",
                allowed: "65536 to 1073741824 bytes",
            });
        }
        if !(0.0..=1.0).contains(&self.sample_rate) {
            return Err(BuildError::Range {
                setting: "traces_sample_rate",
                allowed: "a number from 0 to 1",
            });
        }
        for (setting, share) in [
            ("sentry_share", self.sentry_share),
            ("otlp_share", self.otlp_share),
        ] {
            if share.is_some_and(|share| share == 0 || share > 1000) {
                return Err(BuildError::Range {
                    setting,
                    allowed: "1 to 1000 permille",
                });
            }
        }
        positive("connect_timeout", self.connect_timeout)?;
        positive("sentry_timeout", self.sentry_timeout)?;
        positive("retry_for", self.retry_for)?;
        self.otlp_timeout
            .map_or(Ok(()), |timeout| positive("otlp_timeout", timeout))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("sentry_dsn", &self.dsn.as_ref().map(|_| "(set)"))
            .field("otlp", &self.otlp)
            .field("memory", &self.memory)
            .field("release", &self.release)
            .field("environment", &self.environment)
            .field("service_name", &self.service_name)
            .finish_non_exhaustive()
    }
}
