//! What a span's attributes say in Sentry's words: operation, description, status, source of the name.
//!
//! Names are those of the OpenTelemetry semantic conventions, the present and the former ones, since libraries move
//! slowly. The mapping is the one of Sentry's own SDKs, so that the same program looks alike with either.

use ::opentelemetry::Value;
use ::opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

use crate::sentry::SpanStatus;

/// Statuses by their number in gRPC.
const STATUSES: [SpanStatus; 17] = [
    SpanStatus::Ok,
    SpanStatus::Cancelled,
    SpanStatus::Unknown,
    SpanStatus::InvalidArgument,
    SpanStatus::DeadlineExceeded,
    SpanStatus::NotFound,
    SpanStatus::AlreadyExists,
    SpanStatus::PermissionDenied,
    SpanStatus::ResourceExhausted,
    SpanStatus::FailedPrecondition,
    SpanStatus::Aborted,
    SpanStatus::OutOfRange,
    SpanStatus::Unimplemented,
    SpanStatus::InternalError,
    SpanStatus::Unavailable,
    SpanStatus::DataLoss,
    SpanStatus::Unauthenticated,
];

/// The attributes that matter, found in one pass.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    /// Given by hand.
    op: &'a str,
    source: &'a str,
    http_method: &'a str,
    http_route: &'a str,
    http_status: Option<i64>,
    /// Of the request that a client makes.
    pub(super) url: &'a str,
    url_path: &'a str,
    grpc_status: Option<i64>,
    db_system: &'a str,
    db_text: &'a str,
    rpc: &'a str,
    messaging: &'a str,
    faas_trigger: &'a str,
}

impl<'a> Facts<'a> {
    pub(super) fn of(span: &'a SpanData) -> Self {
        let mut facts = Self::default();
        for attribute in &span.attributes {
            let value = &attribute.value;
            match attribute.key.as_str() {
                "sentry.op" => facts.op = text(value),
                "sentry.source" => facts.source = text(value),
                "http.request.method" | "http.method" => facts.http_method = text(value),
                "http.route" => facts.http_route = text(value),
                "http.response.status_code" | "http.status_code" => facts.http_status = number(value),
                "url.full" | "http.url" => facts.url = text(value),
                "url.path" | "http.target" => facts.url_path = without_query(text(value)),
                "rpc.grpc.status_code" => facts.grpc_status = number(value),
                "db.system.name" | "db.system" => facts.db_system = text(value),
                "db.query.text" | "db.statement" => facts.db_text = text(value),
                "rpc.service" | "rpc.system" | "rpc.system.name" => facts.rpc = text(value),
                "messaging.system" => facts.messaging = text(value),
                "faas.trigger" => facts.faas_trigger = text(value),
                _ => {}
            }
        }
        facts
    }

    /// What kind of work it is; empty if nothing says so.
    pub(super) fn op(&self, kind: &SpanKind) -> &'a str {
        if !self.op.is_empty() {
            self.op
        } else if !self.http_method.is_empty() {
            match kind {
                SpanKind::Client => "http.client",
                SpanKind::Server => "http.server",
                _ => "http",
            }
        } else if !self.db_system.is_empty() {
            "db"
        } else if !self.rpc.is_empty() {
            "rpc"
        } else if !self.messaging.is_empty() {
            "message"
        } else {
            self.faas_trigger
        }
    }

    /// The work itself, in up to three pieces.
    pub(super) fn description(&self, span: &'a SpanData) -> [&'a str; 3] {
        if !self.http_method.is_empty() {
            let place = match span.span_kind {
                SpanKind::Client => without_query(self.url),
                _ if !self.http_route.is_empty() => self.http_route,
                _ => self.url_path,
            };
            if !place.is_empty() {
                return [self.http_method, " ", place];
            }
        } else if !self.db_system.is_empty() && !self.db_text.is_empty() {
            return [self.db_text, "", ""];
        }
        [&span.name, "", ""]
    }

    /// Where a transaction has its name from.
    pub(super) fn source(&self) -> &'a str {
        if !self.source.is_empty() {
            self.source
        } else if !self.http_route.is_empty() || !self.rpc.is_empty() || !self.messaging.is_empty() {
            "route"
        } else if !self.http_method.is_empty() {
            "url"
        } else if !self.db_system.is_empty() {
            "task"
        } else {
            "custom"
        }
    }

    /// How it ended: what the span says, made more exact by the status codes of its protocol.
    pub(super) fn status(&self, status: &Status) -> SpanStatus {
        let by_code = || {
            let grpc = self
                .grpc_status
                .and_then(|code| STATUSES.get(usize::try_from(code).ok()?).copied());
            grpc.or_else(|| self.http_status.map(of_http))
        };
        match status {
            Status::Ok => SpanStatus::Ok,
            Status::Unset => by_code().unwrap_or(SpanStatus::Ok),
            Status::Error { description } => STATUSES
                .into_iter()
                .find(|status| status.as_str() == description)
                .or_else(by_code)
                .filter(|status| *status != SpanStatus::Ok)
                .unwrap_or(SpanStatus::InternalError),
        }
    }
}

/// Sentry's reading of HTTP's status codes.
fn of_http(code: i64) -> SpanStatus {
    match code {
        100..=399 => SpanStatus::Ok,
        401 => SpanStatus::Unauthenticated,
        403 => SpanStatus::PermissionDenied,
        404 => SpanStatus::NotFound,
        409 => SpanStatus::AlreadyExists,
        413 => SpanStatus::FailedPrecondition,
        429 => SpanStatus::ResourceExhausted,
        499 => SpanStatus::Cancelled,
        400..=498 => SpanStatus::InvalidArgument,
        501 => SpanStatus::Unimplemented,
        503 => SpanStatus::Unavailable,
        504 => SpanStatus::DeadlineExceeded,
        500..=599 => SpanStatus::InternalError,
        _ => SpanStatus::Unknown,
    }
}

pub(super) fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text.as_str(),
        _ => "",
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::I64(number) => Some(*number),
        Value::String(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

/// A URL or path up to its query or fragment.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use ::opentelemetry::trace::{SpanContext, SpanId};
    use ::opentelemetry::{InstrumentationScope, KeyValue};
    use std::time::UNIX_EPOCH;

    use super::*;

    fn span(kind: SpanKind, attributes: Vec<KeyValue>) -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: kind,
            name: "name".into(),
            start_time: UNIX_EPOCH,
            end_time: UNIX_EPOCH,
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("t").build(),
        }
    }

    type Attributes = &'static [(&'static str, &'static str)];

    fn words(kind: SpanKind, attributes: Attributes) -> [String; 3] {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
        let span = span(kind, attributes.collect());
        let facts = Facts::of(&span);
        [
            facts.op(&span.span_kind).to_owned(),
            facts.description(&span).concat(),
            facts.source().to_owned(),
        ]
    }

    #[test]
    fn operations_descriptions_and_sources_are_those_of_the_sdks() {
        let cases: [(SpanKind, Attributes, [&str; 3]); 12] = [
            (SpanKind::Internal, &[], ["", "name", "custom"]),
            (
                SpanKind::Server,
                &[
                    ("http.request.method", "GET"),
                    ("http.route", "/a/{id}"),
                    ("url.path", "/a/1"),
                ],
                ["http.server", "GET /a/{id}", "route"],
            ),
            (
                SpanKind::Server,
                &[("http.method", "GET"), ("http.target", "/a/1?b=c")],
                ["http.server", "GET /a/1", "url"],
            ),
            (
                SpanKind::Client,
                &[
                    ("http.request.method", "PUT"),
                    ("url.full", "https://a.b/c?d=e#f"),
                ],
                ["http.client", "PUT https://a.b/c", "url"],
            ),
            (
                SpanKind::Client,
                &[("http.method", "PUT")],
                ["http.client", "name", "url"],
            ),
            (
                SpanKind::Internal,
                &[("http.method", "PUT")],
                ["http", "name", "url"],
            ),
            (
                SpanKind::Client,
                &[("db.system", "postgresql"), ("db.statement", "SELECT 1")],
                ["db", "SELECT 1", "task"],
            ),
            (
                SpanKind::Client,
                &[("db.system.name", "redis")],
                ["db", "name", "task"],
            ),
            (
                SpanKind::Client,
                &[("rpc.service", "Cart")],
                ["rpc", "name", "route"],
            ),
            (
                SpanKind::Consumer,
                &[("messaging.system", "kafka")],
                ["message", "name", "route"],
            ),
            (
                SpanKind::Server,
                &[("faas.trigger", "timer")],
                ["timer", "name", "custom"],
            ),
            (
                SpanKind::Server,
                &[
                    ("sentry.op", "queue.process"),
                    ("sentry.source", "task"),
                    ("http.method", "GET"),
                ],
                ["queue.process", "name", "task"],
            ),
        ];
        for (kind, attributes, expected) in cases {
            assert_eq!(
                words(kind.clone(), attributes),
                expected,
                "{kind:?} {attributes:?}"
            );
        }
    }

    #[test]
    fn the_status_is_what_the_span_and_its_protocol_say() {
        let error = |text: &'static str| Status::error(text);
        let cases = [
            (Status::Unset, None, None, "ok"),
            (Status::Unset, Some(404), None, "not_found"),
            (Status::Unset, Some(204), None, "ok"),
            (Status::Unset, Some(418), None, "invalid_argument"),
            (Status::Unset, Some(599), None, "internal_error"),
            (Status::Unset, Some(7), None, "unknown"),
            (Status::Unset, Some(200), Some(14), "unavailable"),
            (Status::Unset, None, Some(99), "ok"),
            (Status::Unset, None, Some(-1), "ok"),
            (Status::Ok, Some(500), None, "ok"),
            (error(""), None, None, "internal_error"),
            (error("deadline_exceeded"), Some(500), None, "deadline_exceeded"),
            (error("it broke"), Some(503), None, "unavailable"),
            (error("it broke"), Some(200), None, "internal_error"),
            (error("ok"), None, None, "internal_error"),
        ];
        for (status, http_status, grpc_status, expected) in cases {
            let facts = Facts {
                http_status,
                grpc_status,
                ..Facts::default()
            };
            assert_eq!(
                facts.status(&status).as_str(),
                expected,
                "{status:?} {http_status:?} {grpc_status:?}"
            );
        }
    }
}
