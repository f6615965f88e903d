//! Log records that are emitted become records.

use core::fmt;
use core::time::Duration;

use ::opentelemetry::InstrumentationScope;
use ::opentelemetry::logs;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLogRecord;
use surgetank_core::item::{Category, Form, Header, Signal};
use surgetank_core::wire::otlp::encode::{AnyValue, Limits, LogRecord, Severity, SpanId, TraceId};
use surgetank_core::wire::otlp::protobuf::Out;

use super::FLUSH_TIMEOUT;
use super::moment::nanos;
use super::source::Source;
use super::value::{Nested, fill_list, fill_map, plain_log};
use crate::client::Client;
use crate::delivery::wall_nanos;
use crate::json::Encode;

/// Takes the log records of a logger provider to a [`Client`], in place of the SDK's `BatchLogProcessor` and OTLP
/// exporter.
///
/// A record is encoded straight into the client's memory on the thread that emits it: no lock, no allocation beside the
/// SDK's own, no waiting. What cannot be taken is dropped and counted in [`Client::status`]. A record's target stands as
/// the name of its scope, as the SDK's exporter does it.
pub struct LogProcessor {
    source: Source,
}

impl LogProcessor {
    /// A processor that records to `client`, which should have an OTLP destination for logs; without one, and where
    /// `OTEL_SDK_DISABLED` turned it off, records are ignored, and the SDK is told that no log is enabled.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            source: Source::new(client, Signal::Logs, FLUSH_TIMEOUT),
        }
    }

    /// How long `force_flush` may take, which has no time-out of its own in the SDK. Default [`FLUSH_TIMEOUT`].
    #[must_use]
    pub fn with_flush_timeout(mut self, timeout: Duration) -> Self {
        self.source.flush_timeout = timeout;
        self
    }
}

impl fmt::Debug for LogProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogProcessor")
            .field("client", &self.source.client)
            .finish_non_exhaustive()
    }
}

impl opentelemetry_sdk::logs::LogProcessor for LogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        let client = &self.source.client;
        let Some(destination) = client.otlp(Signal::Logs) else {
            return;
        };
        let encoded = EncodedLog {
            record,
            observed_unix_nanos: record.observed_timestamp().map_or_else(wall_nanos, nanos),
            limits: &client.limits().logs,
        };
        let header = Header::new(destination, Form::OtlpRecord, Category::LogItem, 1);
        // What became of it is counted.
        let _ = self.source.record(header, scope, record.target(), &encoded);
    }

    /// Sends what was recorded and waits for it, at most the time of [`LogProcessor::with_flush_timeout`].
    fn force_flush(&self) -> OTelSdkResult {
        self.source.flush(self.source.flush_timeout)
    }

    /// Takes no more records, sends what was recorded and waits for it, at most `timeout`. The client stays open: other
    /// providers may use it, and what is left goes on being delivered.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.source.shut_down(timeout)
    }

    fn event_enabled(&self, _level: logs::Severity, _target: &str, _name: Option<&str>) -> bool {
        self.source.client.has_otlp(Signal::Logs)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.source.set_resource(resource);
    }
}

struct EncodedLog<'a> {
    record: &'a SdkLogRecord,
    /// Read once, so that a record is encoded alike each time.
    observed_unix_nanos: u64,
    limits: &'a Limits,
}

impl Encode for EncodedLog<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        let record = self.record;
        let trace = record.trace_context();
        let (body, nested_body) = match record.body().map(plain_log) {
            None => (AnyValue::Empty, None),
            Some(Ok(body)) => (body, None),
            Some(Err(nested)) => (AnyValue::Empty, Some(nested)),
        };
        let flags = trace.and_then(|trace| trace.trace_flags).unwrap_or_default();
        let wire = LogRecord {
            time_unix_nanos: record.timestamp().map_or(0, nanos),
            observed_unix_nanos: self.observed_unix_nanos,
            // The API's numbers are those of OTLP.
            severity: record
                .severity_number()
                .and_then(|severity| Severity::new(severity as u8)),
            severity_text: record.severity_text().unwrap_or_default(),
            body,
            flags: u32::from(flags.to_u8()),
            trace_id: trace.and_then(|trace| TraceId::new(trace.trace_id.to_bytes())),
            span_id: trace.and_then(|trace| SpanId::new(trace.span_id.to_bytes())),
            event_name: record.event_name().unwrap_or_default(),
            ..LogRecord::default()
        };
        wire.encode_with(out, self.limits, |parts| {
            match nested_body {
                None => {}
                Some(Nested::List(list)) => parts.array_body(|values| fill_list(values, list)),
                Some(Nested::Map(map)) => parts.map_body(|entries| fill_map(entries, map)),
            }
            for (key, value) in record.attributes_iter() {
                let key = key.as_str();
                // Most values are texts, and these need to be told apart once only.
                if let logs::AnyValue::String(text) = value {
                    parts.attribute(key, AnyValue::String(text.as_str()));
                    continue;
                }
                match plain_log(value) {
                    Ok(value) => parts.attribute(key, value),
                    Err(Nested::List(list)) => parts.array_attribute(key, |values| fill_list(values, list)),
                    Err(Nested::Map(map)) => parts.map_attribute(key, |entries| fill_map(entries, map)),
                }
            }
        });
    }
}
