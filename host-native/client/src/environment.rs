//! Settings from environment variables: `SENTRY_*` and the `OTEL_*` variables of the OpenTelemetry specification.
//!
//! Reading is a pure function of a lookup, so a test (or a program with its own configuration) needs no process
//! environment. The rules are those of "OpenTelemetry Environment Variable Specification" and of "OpenTelemetry
//! Protocol Exporter":
//!
//! - an empty value is an unset one;
//! - a boolean is true only for `true` in any case;
//! - numbers and timeouts that cannot be read, and names that are not known, are ignored with a warning;
//! - `OTEL_EXPORTER_OTLP_<SIGNAL>_X` wins over `OTEL_EXPORTER_OTLP_X`;
//! - when `OTEL_CONFIG_FILE` is set, every other `OTEL_*` variable is ignored.
//!
//! Warnings are collected, and printed only with [`ClientBuilder::debug`](crate::ClientBuilder::debug): telemetry settings
//! are no reason to write to somebody's terminal. Neither
//! warnings nor errors ever repeat a value, which may hold a key or a token; they name the variable and the fix.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

use surgetank_core::item::Signal;
use surgetank_core::wire::otlp::encode::Limits;

use crate::body::Compression;

mod lists;
#[cfg(test)]
mod tests;

pub use lists::ListError;
pub(crate) use lists::RESERVED as RESERVED_HEADERS;

/// Default of `OTEL_EXPORTER_OTLP_ENDPOINT`.
pub const DEFAULT_OTLP_ENDPOINT: &str = "http://localhost:4318";

/// Default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
pub const DEFAULT_OTLP_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of OTLP signals; tables are indexed by `Signal as usize`.
pub(crate) const SIGNALS: usize = 3;

const SIGNAL_NAMES: [(Signal, &str); SIGNALS] = [
    (Signal::Traces, "TRACES"),
    (Signal::Logs, "LOGS"),
    (Signal::Metrics, "METRICS"),
];

/// Everything the environment says about telemetry, read once.
///
/// `Debug` shows neither the DSN nor header values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `SENTRY_DSN`.
    pub sentry_dsn: Option<String>,
    /// `SENTRY_RELEASE`.
    pub release: Option<String>,
    /// `SENTRY_ENVIRONMENT`.
    pub environment: Option<String>,
    /// `OTEL_SDK_DISABLED`: true turns the OTLP side off, and the drop-ins for that SDK; an endpoint that is set in code does
    /// not turn it on again.
    pub otel_disabled: bool,
    /// The OTLP exporter's settings, `None` when the environment names only Sentry or turns OTLP off.
    pub otlp: Option<OtlpEnvironment>,
    /// `OTEL_RESOURCE_ATTRIBUTES` with `OTEL_SERVICE_NAME` merged in; `service.name` is there only if one of them
    /// gave it.
    pub resource: Vec<(String, String)>,
    /// `OTEL_*_LIMIT`: how many attributes, events and links a record keeps, and how long values are.
    pub limits: RecordLimits,
    /// `OTEL_BSP_*` and `OTEL_BLRP_*`.
    pub batch: BatchEnvironment,
    /// `OTEL_TRACES_SAMPLER_ARG` where `OTEL_TRACES_SAMPLER` is a ratio sampler: parts per million of the traces begun here
    /// that are kept. A span with a parent follows it, whatever the sampler's name.
    pub trace_ratio_ppm: Option<u32>,
    /// What was ignored and why, in the order of reading.
    pub warnings: Vec<Warning>,
}

/// OTLP exporter settings per signal.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OtlpEnvironment {
    signals: [Option<SignalEnvironment>; SIGNALS],
}

impl OtlpEnvironment {
    /// Settings of one signal; `None` when its exporter is turned off (`OTEL_<SIGNAL>_EXPORTER=none`).
    #[must_use]
    pub fn signal(&self, signal: Signal) -> Option<&SignalEnvironment> {
        self.signals.get(signal as usize).and_then(Option::as_ref)
    }
}

/// How one signal is exported.
#[derive(Clone, PartialEq, Eq)]
pub struct SignalEnvironment {
    /// Whole URL that requests are posted to.
    pub endpoint: String,
    /// Name of the variable `endpoint` came from, or of the one that would change the default.
    pub endpoint_variable: &'static str,
    /// Extra request headers, percent-decoded. Values are secrets.
    pub headers: Vec<(String, String)>,
    /// Deadline of one export; `None` (a variable of 0) means that only the client's own limit holds.
    pub timeout: Option<Duration>,
    /// Compression of request bodies; `None` when no variable says.
    pub compression: Option<Compression>,
    /// PEM file with the certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM file with the client's private key.
    pub client_key: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub client_certificate: Option<PathBuf>,
}

/// Bounds on what one OTLP record carries ("Attribute Limits", "Span Limits", "LogRecord Limits").
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RecordLimits {
    /// Of spans.
    pub spans: Limits,
    /// Of log records; only attributes and value length matter.
    pub logs: Limits,
}

/// How records are gathered into requests (`OTEL_BSP_*`, `OTEL_BLRP_*`); absent where no variable says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BatchEnvironment {
    /// The shorter one of the two schedule delays.
    pub delay: Option<Duration>,
    /// The smaller one of the two batch sizes.
    pub max_records: Option<u32>,
}

/// A variable that was ignored, or that means less than it seems to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Warning {
    /// Name of the variable.
    pub variable: String,
    /// What is wrong and what would be right; never the value.
    pub problem: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.problem)
    }
}

/// A variable that asks for what this client cannot do.
///
/// Not exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The variable asks for OTLP over gRPC.
    GrpcProtocol(&'static str),
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GrpcProtocol(variable) => write!(
                f,
                "{variable} is `grpc`, which this client does not speak: set it to `http/protobuf` and the endpoint \
                 to the collector's HTTP port (4318 by default)"
            ),
        }
    }
}

impl core::error::Error for EnvironmentError {}

impl Environment {
    /// Reads the variables of this process. Values that are not UTF-8 are read with replacement characters.
    ///
    /// # Errors
    /// As [`Environment::read`].
    pub fn of_process() -> Result<Self, EnvironmentError> {
        Self::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the variables that `lookup` knows.
    ///
    /// The OTLP side is on when any `OTEL_EXPORTER_OTLP_*` or `OTEL_*_EXPORTER` variable is set, and also, with the
    /// specification's default endpoint, when `SENTRY_DSN` is not set: a program told about Sentry alone must not
    /// start to send to `localhost:4318`.
    ///
    /// # Errors
    /// When a variable asks for OTLP over gRPC for a signal that is not turned off: what a collector takes as gRPC is not
    /// HTTP, so there is nothing to fall back on.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let mut reader = Reader {
            lookup: &lookup,
            config_file: false,
            asked: false,
            warnings: Vec::new(),
        };
        let config_file = reader.text("OTEL_CONFIG_FILE").is_some();
        let mut environment = Self {
            sentry_dsn: reader.text("SENTRY_DSN"),
            release: reader.text("SENTRY_RELEASE"),
            environment: reader.text("SENTRY_ENVIRONMENT"),
            ..Self::default()
        };
        if config_file {
            reader.config_file = true;
            reader.warn(
                "OTEL_CONFIG_FILE",
                "configuration files are not read by this client; as the specification asks, every other OTEL_* \
                 variable is ignored while it is set: unset it to use them",
            );
        }
        environment.otel_disabled = reader.boolean("OTEL_SDK_DISABLED");
        environment.resource = reader.resource();
        environment.limits = reader.limits();
        environment.batch = reader.batch();
        environment.trace_ratio_ppm = reader.trace_ratio();
        reader.asked = false;
        if !environment.otel_disabled {
            let otlp = reader.otlp()?;
            let wanted = reader.asked || environment.sentry_dsn.is_none();
            environment.otlp = Some(otlp).filter(|otlp| wanted && otlp.signals.iter().any(Option::is_some));
        }
        environment.warnings = reader.warnings;
        Ok(environment)
    }
}

struct Reader<'l> {
    lookup: &'l dyn Fn(&str) -> Option<String>,
    /// `OTEL_CONFIG_FILE` is set: no other `OTEL_*` variable counts.
    config_file: bool,
    /// A variable that was read since this was cleared had a value.
    asked: bool,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    /// The value without surrounding white space; an empty one is an unset one.
    fn text(&mut self, name: &str) -> Option<String> {
        if self.config_file && name.starts_with("OTEL_") {
            return None;
        }
        let value = (self.lookup)(name)?;
        let value = value.trim();
        if value.is_empty() {
            return None;
        }
        self.asked = true;
        Some(value.to_owned())
    }

    fn warn(&mut self, variable: &str, problem: impl Into<String>) {
        self.warnings.push(Warning {
            variable: variable.to_owned(),
            problem: problem.into(),
        });
    }

    fn boolean(&mut self, name: &str) -> bool {
        let Some(value) = self.text(name) else {
            return false;
        };
        if value.eq_ignore_ascii_case("true") {
            return true;
        }
        if !value.eq_ignore_ascii_case("false") {
            self.warn(name, "is neither `true` nor `false`; taken as false");
        }
        false
    }

    /// A whole number from `least` to 2^31 - 1; `what` it is, for the warning.
    fn ranged(&mut self, name: &str, what: &str, least: u32) -> Option<u32> {
        let value = self.text(name)?;
        let allowed = least..=i32::MAX as u32;
        let number = value.parse().ok().filter(|number| allowed.contains(number));
        if number.is_none() {
            let (least, most) = allowed.into_inner();
            self.warn(name, format!("is not {what} from {least} to {most}; ignored"));
        }
        number
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        self.ranged(name, "a whole number", 0)
    }

    /// A time-out of 0 means no limit.
    fn millis(&mut self, name: &str) -> Option<u32> {
        self.ranged(name, "a number of milliseconds, without a unit,", 0)
    }

    fn compression(&mut self, name: &str) -> Option<Compression> {
        let value = self.text(name)?;
        match value.to_ascii_lowercase().as_str() {
            "gzip" => Some(Compression::Gzip),
            "none" => Some(Compression::None),
            "zstd" => Some(Compression::Zstd),
            _ => {
                self.warn(name, "is none of `gzip`, `zstd` and `none`; ignored");
                None
            }
        }
    }

    fn headers(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        let value = self.text(name)?;
        let (headers, errors) = lists::headers(&value);
        for error in errors {
            self.warn(name, format!("{error}; that header is ignored"));
        }
        Some(headers)
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let mut attributes = Vec::new();
        if let Some(value) = self.text("OTEL_RESOURCE_ATTRIBUTES") {
            match lists::attributes(&value) {
                Ok(list) => attributes = list,
                Err(error) => self.warn(
                    "OTEL_RESOURCE_ATTRIBUTES",
                    format!("{error}; the whole value is ignored, as the specification asks"),
                ),
            }
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), name));
        }
        attributes
    }

    fn limits(&mut self) -> RecordLimits {
        let mut limit = |name: &str| self.number(name);
        let general = limit("OTEL_ATTRIBUTE_COUNT_LIMIT");
        let general_length = limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT");
        let default = Limits::default();
        let attributes = |own: Option<u32>| own.or(general).unwrap_or(default.attributes);
        let length = |own: Option<u32>| own.or(general_length).unwrap_or(default.value_length);
        RecordLimits {
            spans: Limits {
                attributes: attributes(limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")),
                value_length: length(limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")),
                events: limit("OTEL_SPAN_EVENT_COUNT_LIMIT").unwrap_or(default.events),
                links: limit("OTEL_SPAN_LINK_COUNT_LIMIT").unwrap_or(default.links),
                event_attributes: attributes(limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")),
                link_attributes: attributes(limit("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT")),
            },
            logs: Limits {
                attributes: attributes(limit("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT")),
                value_length: length(limit("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT")),
                ..default
            },
        }
    }

    /// Spans and logs of one server are gathered by one clock here, so the shorter delay holds for both.
    fn batch(&mut self) -> BatchEnvironment {
        let mut batch = BatchEnvironment::default();
        for processor in ["OTEL_BSP", "OTEL_BLRP"] {
            let delay = self.millis(&format!("{processor}_SCHEDULE_DELAY"));
            let delay = delay.map(|millis| Duration::from_millis(u64::from(millis)));
            batch.delay = [batch.delay, delay].into_iter().flatten().min();
            let name = format!("{processor}_MAX_EXPORT_BATCH_SIZE");
            let size = self.ranged(&name, "a number of records", 1);
            batch.max_records = [batch.max_records, size].into_iter().flatten().min();
            for (suffix, problem) in [
                (
                    "MAX_QUEUE_SIZE",
                    "is a number of records; the queue here is measured in bytes: ignored, set the client's memory instead",
                ),
                (
                    "EXPORT_TIMEOUT",
                    "is not used; OTEL_EXPORTER_OTLP_TIMEOUT bounds each attempt",
                ),
            ] {
                let name = format!("{processor}_{suffix}");
                if self.text(&name).is_some() {
                    self.warn(&name, problem);
                }
            }
        }
        batch
    }

    /// Parts per million of traces to keep; `None` for "all of them".
    fn trace_ratio(&mut self) -> Option<u32> {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let sampler = self.text(SAMPLER)?.to_ascii_lowercase();
        if matches!(sampler.as_str(), "always_on" | "always_off" | "traceidratio") {
            self.warn(
                SAMPLER,
                "decides against parents, which this client does not: spans with a parent follow it, and the rest is as \
                 with `parentbased_` before the name",
            );
        }
        match sampler.as_str() {
            "always_on" | "parentbased_always_on" => None,
            "always_off" | "parentbased_always_off" => Some(0),
            "traceidratio" | "parentbased_traceidratio" => {
                let value = self.text(ARGUMENT)?;
                let ratio = value
                    .parse::<f64>()
                    .ok()
                    .filter(|ratio| (0.0..=1.0).contains(ratio));
                if ratio.is_none() {
                    self.warn(
                        ARGUMENT,
                        "is not a number from 0 to 1; ignored, every trace is kept",
                    );
                }
                // In range by the filter above.
                ratio.map(|ratio| (ratio * 1_000_000.0).round() as u32)
            }
            _ => {
                self.warn(
                    SAMPLER,
                    "names a sampler this client does not have; ignored, every trace is kept",
                );
                None
            }
        }
    }

    fn otlp(&mut self) -> Result<OtlpEnvironment, EnvironmentError> {
        let base_headers = self.headers("OTEL_EXPORTER_OTLP_HEADERS");
        let base_timeout = self.millis("OTEL_EXPORTER_OTLP_TIMEOUT");
        let base_compression = self.compression("OTEL_EXPORTER_OTLP_COMPRESSION");
        let base_endpoint = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let base_certificate = self.text("OTEL_EXPORTER_OTLP_CERTIFICATE");
        let base_key = self.text("OTEL_EXPORTER_OTLP_CLIENT_KEY");
        let base_chain = self.text("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
        let mut otlp = OtlpEnvironment::default();
        let mut base_protocol_used = false;
        for ((signal, name), slot) in SIGNAL_NAMES.into_iter().zip(&mut otlp.signals) {
            if !self.exporter_is_otlp(name) {
                continue;
            }
            let own = |suffix: &str| format!("OTEL_EXPORTER_OTLP_{name}_{suffix}");
            match self.text(&own("PROTOCOL")) {
                Some(protocol) => self.protocol(own_protocol_name(signal), &protocol)?,
                None => base_protocol_used = true,
            }
            let own_endpoint = self.text(&own("ENDPOINT"));
            let (endpoint, endpoint_variable) = match (own_endpoint, &base_endpoint) {
                (Some(url), _) => (url, own_endpoint_name(signal)),
                (None, Some(base)) => (signal_url(base, signal), "OTEL_EXPORTER_OTLP_ENDPOINT"),
                (None, None) => (
                    signal_url(DEFAULT_OTLP_ENDPOINT, signal),
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                ),
            };
            if is_port_of_grpc(&endpoint)
                && !self
                    .warnings
                    .iter()
                    .any(|known| known.variable == endpoint_variable)
            {
                self.warn(
                    endpoint_variable,
                    "names port 4317, where collectors take gRPC; this client speaks HTTP, which they take on port 4318",
                );
            }
            let millis = self.millis(&own("TIMEOUT")).or(base_timeout);
            let timeout = match millis {
                Some(0) => None,
                Some(millis) => Some(Duration::from_millis(u64::from(millis))),
                None => Some(DEFAULT_OTLP_TIMEOUT),
            };
            *slot = Some(SignalEnvironment {
                endpoint,
                endpoint_variable,
                headers: merged(base_headers.as_deref(), self.headers(&own("HEADERS"))),
                timeout,
                compression: self.compression(&own("COMPRESSION")).or(base_compression),
                certificate: self.path(&own("CERTIFICATE"), &base_certificate),
                client_key: self.path(&own("CLIENT_KEY"), &base_key),
                client_certificate: self.path(&own("CLIENT_CERTIFICATE"), &base_chain),
            });
        }
        if base_protocol_used && let Some(protocol) = self.text("OTEL_EXPORTER_OTLP_PROTOCOL") {
            self.protocol("OTEL_EXPORTER_OTLP_PROTOCOL", &protocol)?;
        }
        Ok(otlp)
    }

    /// `OTEL_<SIGNAL>_EXPORTER`: only `otlp` (the default) exports here.
    fn exporter_is_otlp(&mut self, signal: &str) -> bool {
        let name = format!("OTEL_{signal}_EXPORTER");
        let Some(value) = self.text(&name) else {
            return true;
        };
        let mut otlp = false;
        for exporter in value.split(',').map(str::trim) {
            match exporter.to_ascii_lowercase().as_str() {
                "otlp" => otlp = true,
                "none" => {}
                _ => self.warn(
                    &name,
                    "names an exporter this client does not have; it knows `otlp` and `none`",
                ),
            }
        }
        otlp
    }

    fn protocol(&mut self, name: &'static str, value: &str) -> Result<(), EnvironmentError> {
        match value.to_ascii_lowercase().as_str() {
            "http/protobuf" => {}
            "grpc" => return Err(EnvironmentError::GrpcProtocol(name)),
            "http/json" => self.warn(
                name,
                "is `http/json`; this client writes protobuf to the same endpoint",
            ),
            _ => self.warn(name, "is no known protocol; ignored, `http/protobuf` is used"),
        }
        Ok(())
    }

    fn path(&mut self, name: &str, base: &Option<String>) -> Option<PathBuf> {
        self.text(name).or_else(|| base.clone()).map(PathBuf::from)
    }
}

/// `base` with a slash at its end and `v1/<signal>` after it ("Endpoint URLs for OTLP/HTTP").
#[must_use]
pub fn signal_url(base: &str, signal: Signal) -> String {
    let slash = if base.ends_with('/') { "" } else { "/" };
    format!("{base}{slash}v1/{}", signal.as_str())
}

fn is_port_of_grpc(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| url.port() == Some(4317))
}

const fn own_endpoint_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        Signal::Logs => "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        Signal::Metrics => "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    }
}

const fn own_protocol_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        Signal::Logs => "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        Signal::Metrics => "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    }
}

/// The general headers with the signal's own over them.
fn merged(base: Option<&[(String, String)]>, own: Option<Vec<(String, String)>>) -> Vec<(String, String)> {
    let own = own.unwrap_or_default();
    let mut all: Vec<_> = base
        .unwrap_or_default()
        .iter()
        .filter(|(name, _)| !own.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)))
        .cloned()
        .collect();
    all.extend(own);
    all
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("sentry_dsn", &self.sentry_dsn.as_ref().map(|_| "(set)"))
            .field("release", &self.release)
            .field("environment", &self.environment)
            .field("otel_disabled", &self.otel_disabled)
            .field("otlp", &self.otlp)
            .field("resource", &self.resource)
            .field("limits", &self.limits)
            .field("batch", &self.batch)
            .field("trace_ratio_ppm", &self.trace_ratio_ppm)
            .field("warnings", &self.warnings)
            .finish()
    }
}

impl fmt::Debug for OtlpEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.signals.iter().flatten()).finish()
    }
}

impl fmt::Debug for SignalEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("SignalEnvironment")
            .field("endpoint_variable", &self.endpoint_variable)
            .field("headers", &names)
            .field("timeout", &self.timeout)
            .field("compression", &self.compression)
            .field("certificate", &self.certificate)
            .field("client_certificate", &self.client_certificate)
            .finish_non_exhaustive()
    }
}
