//! What every Sentry item of a client says alike, encoded once when the client is built.

use surgetank_core::wire::otlp::encode::AnyValue;

use crate::json::{Collected, Json, name};

/// Encoded members of JSON objects, without braces.
#[derive(Default)]
pub(crate) struct SentryContext {
    /// Of events, transactions: release, environment, server name, platform, SDK.
    pub(crate) event: Vec<u8>,
    /// Of check-ins, and of a session's `attrs`: release, environment.
    pub(crate) release: Vec<u8>,
    /// Of the `trace` header of an envelope, for a trace begun here: public key, organization, release,
    /// environment.
    pub(crate) trace: Vec<u8>,
    /// Attributes of every log.
    pub(crate) log: Vec<u8>,
    /// What those attributes count in the `log_byte` category.
    pub(crate) log_bytes: usize,
    /// Of an envelope's headers: `sdk`.
    pub(crate) sdk: Vec<u8>,
    /// Number of the organization, if the DSN tells.
    #[cfg(feature = "opentelemetry")]
    pub(crate) org_id: String,
    /// A release is known, without which Sentry has no use for sessions.
    pub(crate) has_release: bool,
}

/// What a [`SentryContext`] is made of; empty text is absent.
#[derive(Clone, Copy, Default)]
pub(crate) struct SentryFacts<'a> {
    pub(crate) release: &'a str,
    pub(crate) environment: &'a str,
    pub(crate) server_name: &'a str,
    pub(crate) public_key: &'a str,
    pub(crate) org_id: &'a str,
    pub(crate) sdk_name: &'a str,
    pub(crate) sdk_version: &'a str,
}

impl SentryContext {
    pub(crate) fn new(facts: SentryFacts<'_>) -> Self {
        let sdk = members(|json| {
            json.name(name!("sdk"));
            json.begin_object();
            super::text(json, name!("name"), facts.sdk_name);
            super::text(json, name!("version"), facts.sdk_version);
            json.end_object();
        });
        let release = members(|json| {
            super::text(json, name!("release"), facts.release);
            super::text(json, name!("environment"), facts.environment)
        });
        let event = members(|json| {
            json.members(&release);
            super::text(json, name!("server_name"), facts.server_name);
            json.name(name!("platform"));
            json.str("native");
            json.members(&sdk)
        });
        let trace = members(|json| {
            super::text(json, name!("public_key"), facts.public_key);
            super::text(json, name!("org_id"), facts.org_id);
            json.members(&release)
        });
        // Names of the logs protocol ("Default Attributes").
        let attributes = [
            ("sentry.release", facts.release),
            ("sentry.environment", facts.environment),
            ("server.address", facts.server_name),
            ("sentry.sdk.name", facts.sdk_name),
            ("sentry.sdk.version", facts.sdk_version),
        ];
        let present = || attributes.iter().filter(|(_, value)| !value.is_empty());
        let log = members(|json| {
            for (key, value) in present() {
                super::log::attribute(json, key, &AnyValue::String(value));
            }
        });
        Self {
            event,
            release,
            trace,
            log,
            log_bytes: present().map(|(key, value)| key.len() + value.len()).sum(),
            sdk,
            #[cfg(feature = "opentelemetry")]
            org_id: facts.org_id.to_owned(),
            has_release: !facts.release.is_empty(),
        }
    }
}

/// The members that `write` writes, as bytes.
fn members(write: impl Fn(&mut Json<'_, Collected>)) -> Vec<u8> {
    let mut collected = Collected(Vec::new());
    write(&mut Json::new(&mut collected));
    collected.0
}
