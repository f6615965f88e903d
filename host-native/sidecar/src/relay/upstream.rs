//! Where each place's requests go: URLs and headers of an upstream, or the store.

use super::Place;
use crate::exporter::Target;
use crate::sentry::Sender;
use crate::store::{Source, StoreTarget};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use surgetank::Compression;
use surgetank::delivery::Endpoint;
use surgetank::delivery::http::{HttpRoute, HttpTarget};
use surgetank_core::item::Signal;
use url::{Host, Url};

const X_SENTRY_AUTH: HeaderName = HeaderName::from_static("x-sentry-auth");

/// The configured upstreams; what has none is stored.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams {
    pub(crate) sentry: Option<Url>,
    pub(crate) otlp: Option<Url>,
}

impl Upstreams {
    /// `place` without what does not matter where it goes: the store asks nobody for a key.
    pub(super) fn simplified(&self, place: Place) -> Place {
        match place {
            Place::Envelopes(sender) if self.sentry.is_none() => Place::Envelopes(sender.without_key()),
            Place::ProjectOtlp(sender) if self.sentry.is_none() => Place::ProjectOtlp(sender.without_key()),
            Place::Otlp(_) if self.otlp.is_none() => Place::Otlp(Default::default()),
            other => other,
        }
    }

    pub(super) fn target(&self, place: &Place) -> Target {
        match (place, &self.sentry, &self.otlp) {
            (Place::Envelopes(sender), Some(base), _) => {
                let route = route(
                    base,
                    &format!("api/{}/envelope/", sender.project),
                    key_header(sender),
                );
                Target::Http(Arc::new(
                    HttpTarget::default().with(Endpoint::Envelope, zstd_unless_near(route)),
                ))
            }
            (Place::ProjectOtlp(sender), Some(base), _) => http([Signal::Traces, Signal::Logs], |signal| {
                let path = format!("api/{}/integration/otlp/v1/{}/", sender.project, signal.as_str());
                zstd_unless_near(route(base, &path, key_header(sender)))
            }),
            (Place::Otlp(headers), _, Some(base)) => {
                http([Signal::Traces, Signal::Logs, Signal::Metrics], |signal| {
                    let route = route(base, &format!("v1/{}", signal.as_str()), headers.to_map());
                    // The one coding that every receiver must take.
                    let compression = if is_near(&route.url) {
                        Compression::None
                    } else {
                        Compression::Gzip
                    };
                    HttpRoute { compression, ..route }
                })
            }
            (Place::Envelopes(sender), None, _) => stored(Source::Sentry, Some(sender.project)),
            (Place::ProjectOtlp(sender), None, _) => stored(Source::Otlp, Some(sender.project)),
            (Place::Otlp(_), _, None) => stored(Source::Otlp, None),
        }
    }
}

fn http<const N: usize>(signals: [Signal; N], route: impl Fn(Signal) -> HttpRoute) -> Target {
    let with = |target: HttpTarget, signal| target.with(Endpoint::Otlp(signal), route(signal));
    Target::Http(Arc::new(signals.into_iter().fold(HttpTarget::default(), with)))
}

fn stored(source: Source, project: Option<u64>) -> Target {
    let project = project.map(|project| project.to_string()).unwrap_or_default();
    Target::Store(StoreTarget { source, project })
}

/// `base` with `path` behind its own.
fn route(base: &Url, path: &str, headers: HeaderMap) -> HttpRoute {
    let mut url = base.clone();
    let prefix = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{prefix}/{path}"));
    HttpRoute {
        headers,
        ..HttpRoute::to(url)
    }
}

fn key_header(sender: &Sender) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // What is not printable was replaced when the header was composed.
    if let Ok(mut value) = HeaderValue::from_str(&sender.auth_header) {
        value.set_sensitive(true);
        headers.insert(X_SENTRY_AUTH, value);
    }
    headers
}

/// Sentry takes zstd, which costs less than gzip and saves more.
fn zstd_unless_near(route: HttpRoute) -> HttpRoute {
    let compression = if is_near(&route.url) {
        Compression::None
    } else {
        Compression::Zstd
    };
    HttpRoute { compression, ..route }
}

/// True for an upstream on this machine, where compressing costs more than it saves.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}
