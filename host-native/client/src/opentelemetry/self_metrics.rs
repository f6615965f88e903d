//! The client's account as metrics of OpenTelemetry's own ("Semantic conventions for OpenTelemetry SDK metrics").

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider};
use surgetank_core::item::{Category, DropReason, Signal};

use crate::client::{Client, WeakClient};
use crate::delivery::{PUBLISH_INTERVAL, Status, wall_nanos};

/// Number of clients that report, for their names.
static REPORTING: AtomicUsize = AtomicUsize::new(0);

/// Reports how `client` does to the meters of `provider`, each time they are read. Nothing of it goes through the client
/// itself, unless the provider's exporter does.
///
/// ```
/// # let client = surgetank::Client::builder().build()?;
/// # let provider = opentelemetry_sdk::metrics::SdkMeterProvider::default();
/// surgetank::opentelemetry::report_metrics(&client, &provider);
/// # Ok::<(), surgetank::BuildError>(())
/// ```
///
/// | metric | kind, unit | what it counts |
/// |---|---|---|
/// | `otel.sdk.processor.span.queue.size`, `otel.sdk.processor.log.queue.size` | up-down counter, `{span}`, `{log_record}` | recorded, not settled, and not in flight |
/// | `otel.sdk.exporter.span.inflight`, `otel.sdk.exporter.log.inflight` | up-down counter | in requests that have no answer yet; back in the queue while a request waits for another attempt |
/// | `otel.sdk.processor.span.processed`, `otel.sdk.processor.log.processed` | counter | without `error.type`: everything that was exported, well or not; with it: what was dropped before |
/// | `otel.sdk.exporter.span.exported`, `otel.sdk.exporter.log.exported` | counter | without `error.type`: delivered; with it: what the server or the way to it cost |
/// | `surgetank.queue.size`, `surgetank.queue.capacity` | up-down counter, `By` | the queue's memory |
/// | `surgetank.delivered`, `surgetank.dropped` | counter, `{item}` | every category, as in [`Status::totals`], by `surgetank.category` and `surgetank.reason` |
///
/// Each item is counted once, when what became of it is certain: a retry counts nothing. Where a loss is
/// counted, by its reason ([`DropReason`]):
///
/// | reason | metric | `error.type` |
/// |---|---|---|
/// | `queue_overflow`, `buffer_overflow`, `cache_overflow` | `processed` | `queue_full` |
/// | `closed` | `processed` | `already_shutdown` |
/// | `ratelimit_backoff`, `too_large`, `invalid`, `insufficient_data`, `no_parent_span`, `reentrant`, `internal_sdk_error`, `ignored`, `before_send`, `event_processor` | `processed` | the reason |
/// | `network_error`, `send_error`, `rejected` | `exported` | the reason |
/// | `server_rate_limited` | `exported` | `429` |
/// | `sample_rate`, `backpressure` | neither: the span was never begun | |
///
/// Not reported: `queue.capacity` in spans, since one memory, in bytes, holds everything; `operation.duration`, since the engine does not keep it; `otel.sdk.span.*` and `otel.sdk.log.created`, which are
/// the SDK's. A client with both protocols has one account, in which spans in transactions and Sentry's logs count, too.
///
/// Reading costs a look at [`Client::status`], once for all instruments. They do not keep the client alive; after its
/// last handle is gone they report nothing.
pub fn report_metrics(client: &Client, provider: &(impl MeterProvider + ?Sized)) {
    let meter = provider.meter("surgetank");
    let number = REPORTING.fetch_add(1, Ordering::Relaxed);
    let account = Arc::new(Account {
        client: client.downgrade(),
        seen: Mutex::new(None),
    });
    for kind in [SPANS, LOGS] {
        kind.report(&meter, client, number, &account);
    }
    let name = component("surgetank::Client", number);
    for (metric, used) in [
        ("surgetank.queue.size", true),
        ("surgetank.queue.capacity", false),
    ] {
        let (account, name) = (Arc::clone(&account), name.clone());
        meter
            .i64_observable_up_down_counter(metric)
            .with_unit("By")
            .with_callback(move |observer| {
                account.look(|status| {
                    let fill = status.queue;
                    let bytes = if used {
                        fill.used_bytes
                    } else {
                        fill.capacity_bytes
                    };
                    observer.observe(signed(bytes), &name);
                });
            })
            .build();
    }
    let (seen, common) = (Arc::clone(&account), name.clone());
    meter
        .u64_observable_counter("surgetank.delivered")
        .with_unit("{item}")
        .with_callback(move |observer| {
            seen.look(|status| {
                for (category, totals) in status.totals.categories() {
                    let attributes = with(&common, [("surgetank.category", category.as_str())]);
                    observer.observe(totals.delivered, &attributes);
                }
            });
        })
        .build();
    meter
        .u64_observable_counter("surgetank.dropped")
        .with_unit("{item}")
        .with_callback(move |observer| {
            account.look(|status| {
                for lost in status.totals.reasons() {
                    let attributes = [
                        ("surgetank.category", lost.category.as_str()),
                        ("surgetank.reason", lost.reason.as_str()),
                    ];
                    observer.observe(lost.quantity, &with(&name, attributes));
                }
            });
        })
        .build();
}

/// What is reported of one kind of records.
struct Kind {
    category: Category,
    signal: Signal,
    unit: &'static str,
    queue_size: &'static str,
    processed: &'static str,
    exported: &'static str,
    inflight: &'static str,
    in_flight: fn(&Status) -> u64,
    processor: &'static str,
    /// Where the records go over OTLP alone.
    exporter: &'static str,
}

const SPANS: Kind = Kind {
    category: Category::Span,
    signal: Signal::Traces,
    unit: "{span}",
    queue_size: "otel.sdk.processor.span.queue.size",
    processed: "otel.sdk.processor.span.processed",
    exported: "otel.sdk.exporter.span.exported",
    inflight: "otel.sdk.exporter.span.inflight",
    in_flight: |status| status.in_flight.spans,
    processor: "surgetank::opentelemetry::SpanProcessor",
    exporter: "otlp_http_span_exporter",
};

const LOGS: Kind = Kind {
    category: Category::LogItem,
    signal: Signal::Logs,
    unit: "{log_record}",
    queue_size: "otel.sdk.processor.log.queue.size",
    processed: "otel.sdk.processor.log.processed",
    exported: "otel.sdk.exporter.log.exported",
    inflight: "otel.sdk.exporter.log.inflight",
    in_flight: |status| status.in_flight.logs,
    processor: "surgetank::opentelemetry::LogProcessor",
    exporter: "otlp_http_log_exporter",
};

impl Kind {
    fn report(self, meter: &Meter, client: &Client, number: usize, account: &Arc<Account>) {
        let processor = component(self.processor, number);
        let exporter = match client.has_otlp(self.signal) && !client.has_sentry() {
            true => component(self.exporter, number),
            false => component("surgetank::Client", number),
        };
        let (category, unit, in_flight) = (self.category, self.unit, self.in_flight);
        let (seen, name) = (Arc::clone(account), processor.clone());
        meter
            .i64_observable_up_down_counter(self.queue_size)
            .with_unit(unit)
            .with_callback(move |observer| {
                seen.look(|status| {
                    let waiting = status
                        .totals
                        .of(category)
                        .queued()
                        .saturating_sub(in_flight(status));
                    observer.observe(signed(waiting), &name);
                });
            })
            .build();
        let (seen, name) = (Arc::clone(account), exporter.clone());
        meter
            .i64_observable_up_down_counter(self.inflight)
            .with_unit(unit)
            .with_callback(move |observer| {
                seen.look(|status| observer.observe(signed(in_flight(status)), &name));
            })
            .build();
        let seen = Arc::clone(account);
        meter
            .u64_observable_counter(self.processed)
            .with_unit(unit)
            .with_callback(move |observer| {
                seen.look(|status| {
                    let errors = Errors::of(status, category);
                    let exported = status.totals.of(category).delivered + errors.exporter_sum();
                    observer.observe(exported, &processor);
                    errors.observe(observer, &processor, |place| match place {
                        Place::Processor(error) => Some(error),
                        _ => None,
                    });
                });
            })
            .build();
        let seen = Arc::clone(account);
        meter
            .u64_observable_counter(self.exported)
            .with_unit(unit)
            .with_callback(move |observer| {
                seen.look(|status| {
                    observer.observe(status.totals.of(category).delivered, &exporter);
                    Errors::of(status, category).observe(observer, &exporter, |place| match place {
                        Place::Exporter(error) => Some(error),
                        _ => None,
                    });
                });
            })
            .build();
    }
}

/// Where a loss is counted, and as what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Processor(&'static str),
    Exporter(&'static str),
    /// It never was a span of the SDK that is kept.
    Sampler,
}

const fn place(reason: DropReason) -> Place {
    match reason {
        DropReason::QueueOverflow | DropReason::BufferOverflow | DropReason::CacheOverflow => {
            Place::Processor("queue_full")
        }
        DropReason::Closed => Place::Processor("already_shutdown"),
        DropReason::RatelimitBackoff
        | DropReason::TooLarge
        | DropReason::Invalid
        | DropReason::InsufficientData
        | DropReason::NoParentSpan
        | DropReason::Reentrant
        | DropReason::InternalSdkError
        | DropReason::Ignored
        | DropReason::BeforeSend
        | DropReason::EventProcessor => Place::Processor(reason.as_str()),
        DropReason::NetworkError | DropReason::SendError | DropReason::Rejected => {
            Place::Exporter(reason.as_str())
        }
        DropReason::ServerRateLimited => Place::Exporter("429"),
        DropReason::SampleRate | DropReason::Backpressure => Place::Sampler,
    }
}

/// Losses of a category by where they are counted. Several reasons share an `error.type`, which is observed once.
struct Errors(Vec<(Place, u64)>);

impl Errors {
    fn of(status: &Status, category: Category) -> Self {
        let mut sums: Vec<(Place, u64)> = Vec::new();
        let reasons = status.totals.reasons().iter();
        for lost in reasons.filter(|lost| lost.category == category) {
            let place = place(lost.reason);
            match sums.iter_mut().find(|(known, _)| *known == place) {
                Some((_, sum)) => *sum += lost.quantity,
                None => sums.push((place, lost.quantity)),
            }
        }
        Self(sums)
    }

    fn exporter_sum(&self) -> u64 {
        let exporter = self
            .0
            .iter()
            .filter(|(place, _)| matches!(place, Place::Exporter(_)));
        exporter.map(|(_, sum)| sum).sum()
    }

    fn observe(
        &self,
        observer: &dyn AsyncInstrument<u64>,
        common: &[KeyValue],
        error: impl Fn(Place) -> Option<&'static str>,
    ) {
        for (place, sum) in &self.0 {
            if let Some(error) = error(*place) {
                observer.observe(*sum, &with(common, [("error.type", error)]));
            }
        }
    }
}

/// What all instruments read.
struct Account {
    client: WeakClient,
    /// The newest status, and when it was read. Only readers of metrics meet here, and whoever meets another reads for himself: a
    /// fork's child might wait for a reader that it does not have.
    seen: Mutex<Option<(u64, Status)>>,
}

impl Account {
    fn look(&self, see: impl FnOnce(&Status)) {
        let Some(client) = self.client.upgrade() else {
            return;
        };
        let now = wall_nanos();
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(seen)) => seen.into_inner(),
            Err(TryLockError::WouldBlock) => return see(&client.status()),
        };
        let fresh = |(read, _): &(u64, Status)| u128::from(now.abs_diff(*read)) < PUBLISH_INTERVAL.as_nanos();
        let (_, status) = match seen.take().filter(fresh) {
            Some(known) => seen.insert(known),
            None => seen.insert((now, client.status())),
        };
        see(status);
    }
}

/// Attributes that name the component.
fn component(kind: &'static str, number: usize) -> Vec<KeyValue> {
    vec![
        KeyValue::new("otel.component.type", kind),
        KeyValue::new("otel.component.name", format!("{kind}/{number}")),
    ]
}

fn with<const N: usize>(common: &[KeyValue], others: [(&'static str, &'static str); N]) -> Vec<KeyValue> {
    let others = others.into_iter().map(|(key, value)| KeyValue::new(key, value));
    common.iter().cloned().chain(others).collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_another_one_never_lets_in_reads_for_itself() {
        let client = crate::Client::builder()
            .otlp_endpoint("http://127.0.0.1:9")
            .build()
            .unwrap();
        let account = Account {
            client: client.downgrade(),
            seen: Mutex::new(None),
        };
        let _held = account.seen.lock().unwrap();
        let mut looked = 0;
        account.look(|status| looked = status.queue.capacity_bytes);
        assert!(looked > 0);
    }
}
