//! Drop-ins for the OpenTelemetry SDK (crate `opentelemetry_sdk`): a span processor, a log processor, a sampler, a
//! propagator, and the client's account as metrics.
//!
//! The providers stay as they are but for the processor, in place of a batch processor with an OTLP exporter:
//!
//! ```
//! use std::time::Duration;
//! use opentelemetry::trace::{Tracer as _, TracerProvider as _};
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//!
//! # let endpoint = "http://127.0.0.1:9";
//! let client = surgetank::Client::builder().otlp_endpoint(endpoint).build()?; // or ClientBuilder::from_env()?.build()?
//! let provider = SdkTracerProvider::builder()
//!     .with_span_processor(surgetank::opentelemetry::SpanProcessor::new(&client))
//!     .with_sampler(surgetank::opentelemetry::Sampler::new(&client)) // optional: fewer traces under pressure
//!     .build();
//!
//! provider.tracer("shop").in_span("checkout", |_| {});
//!
//! // At the end of the program. Nobody listens at that address, so this takes the time it is given, and no more.
//! let delivered = provider.shutdown_with_timeout(Duration::from_millis(200));
//! # assert!(delivered.is_err());
//! # let _ = client.close(Duration::ZERO);
//! # Ok::<(), surgetank::BuildError>(())
//! ```
//!
//! Logs go the same way: `SdkLoggerProvider::builder().with_log_processor(LogProcessor::new(&client))`. One client serves
//! both, and any number of providers; it ends when its last handle is dropped, or by [`Client::close`].
//!
//! # What differs from the SDK's batch processors
//!
//! | | `BatchSpanProcessor`, `BatchLogProcessor` | these |
//! |---|---|---|
//! | ending a span, emitting a log | copied to the heap and sent to a thread | encoded into fixed memory, on the spot |
//! | capacity | 2048 records of any size | bytes: [`memory`](crate::ClientBuilder::memory) for everything |
//! | when full | newest dropped, number told at shutdown | by priority and whole trace, counted by reason at once |
//! | failed request | dropped, or retried while the queue fills | waits its back-off while others go on, up to 10 minutes |
//! | `force_flush` | at most 5 s | at most [`FLUSH_TIMEOUT`] or what is set; also sends logs and spans of other providers |
//! | `shutdown` | gives up after its time-out, what is queued is lost | keeps its time-out; what is left is delivered as long as the client lives |
//! | `fork` | the child has no thread, its queue fills | the child has a client of its own |
//! | telemetry of the sending itself | suppressed on the SDK's thread | refused on the delivery thread and counted as `reentrant` |
//! | limits | counts of spans | also value lengths, and logs: the stricter of the SDK's and [`limits`](crate::ClientBuilder::limits) |
//! | links to an invalid span | sent with zeros | left out and counted in `dropped_links_count` |
//! | gRPC | by feature | no: OTLP over HTTP with protobuf; `OTEL_EXPORTER_OTLP_PROTOCOL=grpc` is an error of [`from_env`](crate::ClientBuilder::from_env) |
//! | `OTEL_SDK_DISABLED` | without effect | both take nothing, even where the program sets an endpoint |
//! | a variable that cannot be read | ignored, some with a log | ignored, with a [warning](crate::Client::warnings) |
//! | `OTEL_BSP_*`, `OTEL_BLRP_*` | each its own | one server has one batch for both: the shorter delay and the smaller size hold, and without them 5 s and 512 (logs of the SDK wait 1 s); queue sizes and `EXPORT_TIMEOUT` are ignored, with a warning |
//! | metrics of its own | none | [`report_metrics`] |
//!
//! Resource and instrumentation scopes are the provider's and the tracers' own: each stands once per request, in front of
//! its records. After 63 scopes in one client, records of further ones carry theirs themselves, which is as true and only
//! longer. A provider's resource takes the place of what [`resource_attribute`](crate::ClientBuilder::resource_attribute)
//! and the like give to records of the client's own methods.
//!
//! # To Sentry
//!
//! With a DSN in place of an OTLP endpoint the same processor makes Sentry's transactions, and the propagator lets traces
//! go on to and from programs with Sentry's SDKs:
//!
//! ```
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//! use surgetank::opentelemetry::{Propagator, Sampler, SpanProcessor};
//!
//! # let dsn = "http://0123456789abcdef0123456789abcdef@127.0.0.1:9/42";
//! let client = surgetank::Client::builder().sentry_dsn(dsn).release("shop@1.4.2").build()?;
//! let provider = SdkTracerProvider::builder()
//!     .with_span_processor(SpanProcessor::new(&client))
//!     .with_sampler(Sampler::new(&client))
//!     .build();
//! opentelemetry::global::set_text_map_propagator(Propagator::new(&client));
//! # let _ = client.close(std::time::Duration::ZERO);
//! # Ok::<(), surgetank::BuildError>(())
//! ```
//!
//! | OpenTelemetry | Sentry |
//! |---|---|
//! | span without a parent in this program | transaction, with the span's name; its `parent_span_id` is the caller's |
//! | span below it | span of the transaction |
//! | HTTP, database, RPC, messaging and FaaS attributes; `sentry.op` | `op`, `description`, `transaction_info.source` as in Sentry's SDKs |
//! | status; HTTP and gRPC status codes | `status` |
//! | attributes, kind | `data`, `otel.kind` in it |
//! | links | `links` |
//! | resource | context `otel` |
//! | event `exception` | error event on that span, unless [`with_exceptions`](SpanProcessor::with_exceptions) says no |
//! | event with `sentry.measurement_value` and `sentry.measurement_unit` | measurement of the transaction |
//! | other events; scopes | not sent |
//! | `ot=th` of the trace state | `sample_rate` and `sample_rand` |
//! | caller's `baggage` with `sentry-*` ([`Propagator`]) | the envelope's `trace` header, as it came |
//!
//! What differs from the span processors of Sentry's own SDKs:
//!
//! | | `SentrySpanProcessor` | this one |
//! |---|---|---|
//! | starting and ending a span | one lock for the program, spans kept on the heap | no lock; a span is kept when it has ended, as bytes |
//! | memory | open spans, without a bound | fixed; the oldest that wait make room, counted as `buffer_overflow` |
//! | a root that never ends | held for 10 minutes, or for ever | what is below it is counted as `no_parent_span` after 10 minutes |
//! | a span that ends after its root | lost (Python), or a transaction of its own (JavaScript) | lost, and counted as `no_parent_span` |
//! | more than 1000 spans, or 1 MB | cut, or refused by the server whole | spans farthest from the root left out, counted as `too_large` |
//! | requests to Sentry itself | left out (Python), or sent (Rust) | left out, counted as `ignored` |
//! | name, operation, status | the span's name as `op` (Rust) | from the semantic conventions |
//!
//! A span that ends after its root makes no transaction of its own, because what it leaves when it ends are the bytes of a
//! span, and that its root has gone is known only later, on the delivery thread. With `tracing-opentelemetry` there are no
//! such spans: a span of `tracing` ends after those below it. Work that is to outlive a request is better begun as a root
//! with a link to it, here and in other tools:
//!
//! ```
//! # use opentelemetry::Context;
//! # use opentelemetry::trace::{Link, TraceContextExt as _, Tracer as _, TracerProvider as _};
//! # let tracer = opentelemetry_sdk::trace::SdkTracerProvider::default().tracer("shop");
//! let request = Context::current().span().span_context().clone();
//! let builder = tracer.span_builder("send the mail").with_links(vec![Link::new(request, Vec::new(), 0)]);
//! let span = tracer.build_with_context(builder, &Context::new());
//! # let _ = span;
//! ```
//!
//! Logs of the SDK do not go to Sentry: [`LogProcessor`] needs an OTLP destination. Sentry takes OTLP logs at an address of
//! its own, which `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` may name, with the key in `OTEL_EXPORTER_OTLP_LOGS_HEADERS`.
//!
//! # How to see that it works
//!
//! ```
//! # let client = surgetank::Client::builder().build()?;
//! let status = client.status();
//! let spans = status.totals.of(surgetank::Category::Span);
//! println!("{:?}: {} recorded, {} delivered", status.health.level, spans.recorded, spans.delivered);
//! for lost in status.totals.reasons() {
//!     println!("lost {} {}: {}", lost.quantity, lost.category.as_str(), lost.reason.as_str());
//! }
//! println!("{} bytes of spans wait for their root", status.assembly.used_bytes);
//! # Ok::<(), surgetank::BuildError>(())
//! ```
//!
//! [`report_metrics`] gives the same to a meter provider, under the names of the semantic conventions.
//! [`ClientBuilder::debug`](crate::ClientBuilder::debug) writes what happens (refused requests, retries, health) to
//! standard error.

mod head;
mod incoming;
mod log;
mod moment;
mod propagator;
mod sampler;
mod self_metrics;
mod semantics;
mod source;
mod span;
mod transaction;
mod value;
mod value_json;

use core::time::Duration;

#[cfg(doc)]
use crate::Client;

pub use log::LogProcessor;
pub use propagator::Propagator;
pub use sampler::Sampler;
pub use self_metrics::report_metrics;
pub use span::SpanProcessor;

/// How long a processor's `force_flush` may take unless that is set: 5 s, as in the SDK.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
