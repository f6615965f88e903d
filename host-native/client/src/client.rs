//! The client: what an application holds.

mod active;
#[cfg(any(feature = "sentry", feature = "opentelemetry"))]
mod drop_in;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use surgetank_core::config::DestinationConfig;
use surgetank_core::item::{Category, Count, DestinationId, DropReason, Form, Header, Outcome, Signal};
use surgetank_core::sampling;
use surgetank_core::wire::envelope::{EnvelopeError, describe, describe_item};
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};

use crate::builder::{ClientBuilder, SDK_NAME, SDK_VERSION};
use crate::delivery::fork::{self, PerProcess};
use crate::delivery::http::{HttpExporter, HttpSettings, HttpTarget};
use crate::delivery::{
    Delivery, DeliveryConfig, DeliveryError, DestinationSpec, FlushReport, Origins, Status, wall, wall_nanos,
};
use crate::environment::{RecordLimits, SIGNALS, Warning};
use crate::ids::{EventId, IdGenerator};
use crate::json::Encode;
use crate::sentry::{self, SentryContext};

mod otlp;
#[cfg(all(test, unix))]
pub(crate) mod tests;

#[cfg(all(feature = "sentry", feature = "opentelemetry"))]
pub(crate) use active::Active;
#[cfg(feature = "opentelemetry")]
pub(crate) use drop_in::WeakClient;
pub(crate) use otlp::span_header;

/// How long dropping the last handle of a client may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Records telemetry and delivers it. Cheap to clone; every method takes `&self` and may be called from any thread.
///
/// **Recording** never blocks: no lock, no allocation, at most one non-blocking system call (and once per process the
/// start of the delivery thread). What cannot be taken is dropped at once, counted, and the call says why. A record for
/// a protocol that has no destination is not counted: the call returns `Dropped(Ignored)`.
///
/// **After `fork`** the child gets an intake, a queue and a thread of its own with its first record; what the parent
/// had queued stays the parent's to deliver. The order of building and forking does not matter. A child does not know what
/// servers told the parent: it hears of a rate limit with its first refused request, and begins without downsampling.
///
/// A fork waits while the client does what a child must not be forked amid: a second at most for what libraries make once in
/// a process, a quarter of one for a name lookup; most forks wait for nothing. Lookups of others are not known here: a child
/// that is forked amid one may, with glibc, be unable to look up names, and then delivers to addresses alone; its calls keep
/// their deadlines. A child that was not made by `fork` (a bare `clone`, `_Fork`) must not use the client; one of `vfork` or
/// `posix_spawn` has nothing of it.
///
/// **Dropping** the last clone closes the client, which takes at most two seconds. A client in a `static` is never
/// dropped: call [`Client::close`] before the program ends.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// Everything a client is made of, kept to make it again after `fork`.
pub(crate) struct Plan {
    pub(crate) delivery: DeliveryConfig,
    pub(crate) http: HttpSettings,
    pub(crate) destinations: Vec<PlannedDestination>,
    /// Present if the first destination is Sentry.
    pub(crate) sentry: Option<SentryContext>,
    /// Which destination takes each signal.
    pub(crate) signals: [Option<usize>; SIGNALS],
    /// Nothing is taken from the OpenTelemetry SDK.
    #[cfg(feature = "opentelemetry")]
    pub(crate) otel_disabled: bool,
    /// The client's own calls look for a span of the OpenTelemetry SDK.
    #[cfg(feature = "opentelemetry")]
    pub(crate) active_span: bool,
    pub(crate) limits: RecordLimits,
    pub(crate) release: String,
    pub(crate) environment: String,
    /// A root is not kept if its random bits are below this.
    pub(crate) reject_below: u64,
    /// Identifiers and jitter come from the operating system.
    pub(crate) reseed: bool,
    pub(crate) warnings: Vec<Warning>,
}

pub(crate) struct PlannedDestination {
    pub(crate) config: DestinationConfig,
    pub(crate) target: HttpTarget,
    /// Of the DSN; empty for OTLP.
    pub(crate) public_key: String,
    pub(crate) resource: Vec<u8>,
    pub(crate) scope: Vec<u8>,
    pub(crate) origins: Arc<Origins>,
    /// Attributes of every log; empty for OTLP.
    pub(crate) log_attributes: Vec<u8>,
}

struct Inner {
    plan: Plan,
    closed: AtomicBool,
    processes: PerProcess<Process>,
}

/// What belongs to one process.
struct Process {
    delivery: Delivery<HttpExporter>,
    ids: IdGenerator,
    /// The trace of logs that name none.
    trace_id: TraceId,
}

/// Something recorded that got an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Capture {
    /// Its identifier; all zero ([`EventId::NIL`]) when it was refused before there was anything to identify.
    pub id: EventId,
    /// What became of it.
    pub outcome: Outcome,
}

impl Capture {
    const fn refused(outcome: Outcome) -> Self {
        Self {
            id: EventId::NIL,
            outcome,
        }
    }
}

/// The record has nowhere to go: its protocol is off.
const OFF: Outcome = Outcome::Dropped(DropReason::Ignored);

/// Random numbers from the operating system.
pub(crate) fn entropy() -> Result<[u64; 3], getrandom::Error> {
    Ok([getrandom::u64()?, getrandom::u64()?, getrandom::u64()?])
}

impl Process {
    fn new(plan: &Plan, [jitter, first, second]: [u64; 3]) -> Result<Self, DeliveryError> {
        let destinations = plan
            .destinations
            .iter()
            .map(|planned| DestinationSpec {
                config: planned.config,
                sdk_name: SDK_NAME.to_owned(),
                sdk_version: SDK_VERSION.to_owned(),
                public_key: planned.public_key.clone(),
                release: Some(plan.release.clone()).filter(|text| !text.is_empty()),
                environment: Some(plan.environment.clone()).filter(|text| !text.is_empty()),
                resource: planned.resource.clone(),
                scope: planned.scope.clone(),
                origins: Arc::clone(&planned.origins),
                log_attributes: planned.log_attributes.clone(),
                target: planned.target.clone(),
            })
            .collect();
        let config = DeliveryConfig {
            seed: jitter,
            ..plan.delivery.clone()
        };
        let exporter = HttpExporter::new(plan.http.clone());
        // Destinations of a new delivery have the indices 0, 1 and so on, in the first generation.
        let (delivery, _) = Delivery::new(config, exporter, destinations)?;
        let ids = IdGenerator::new([first, second]);
        Ok(Self {
            delivery,
            trace_id: ids.trace_id(),
            ids,
        })
    }
}

/// The way in for a record that may enter.
pub(crate) struct Admitted<'a>(&'a Process);

#[cfg(feature = "opentelemetry")]
impl Admitted<'_> {
    /// Records what has mostly less than a kilobyte.
    #[inline]
    pub(crate) fn record(&self, header: &Header, value: &impl Encode) -> Outcome {
        self.0.delivery.record_admitted(header, value)
    }
}

impl Process {
    /// Apart from its caller, for which a refusal is then a few instructions.
    #[inline(never)]
    fn event(
        &self,
        client: &Client,
        event: &sentry::Event<'_>,
        destination: DestinationId,
        context: &SentryContext,
    ) -> Capture {
        let id = self.ids.event_id();
        let active = client.trace_for(event);
        let encoded = sentry::encoded_event(event, active.as_ref(), id, wall(), context);
        let outcome = self
            .delivery
            .record_admitted(&error_header(destination), &encoded);
        Capture { id, outcome }
    }
}

impl Inner {
    /// The state of this process, or why there is none.
    #[inline]
    fn process(&self) -> Result<&Process, DropReason> {
        self.processes.get_or(|| self.after_fork())
    }

    /// Makes identifiers; in a child that has no state of its own, those of its parent, for records that are dropped.
    fn ids(&self) -> &IdGenerator {
        &self.process().unwrap_or_else(|_| self.processes.last()).ids
    }

    /// Gives a fork's child a state of its own.
    #[cold]
    #[inline(never)]
    fn after_fork(&self) -> Result<&Process, DropReason> {
        if self.closed.load(Ordering::Acquire) {
            return Err(DropReason::Closed);
        }
        self.processes.get_or_make(|inherited| {
            let seed = if self.plan.reseed { entropy().ok() } else { None };
            let seed = seed.unwrap_or_else(|| {
                let pid = u64::from(std::process::id());
                [inherited.ids.derive(pid), wall_nanos(), pid]
            });
            // No memory or no file descriptors: the next record tries again.
            Process::new(&self.plan, seed).map_err(|_| DropReason::InternalSdkError)
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(process) = self.processes.get() {
            let _ = process.delivery.close(DROP_TIMEOUT);
        }
    }
}

impl Client {
    /// A builder with the documented defaults and no destination.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(plan: Plan, seed: [u64; 3]) -> Result<Self, DeliveryError> {
        fork::watch();
        let process = Process::new(&plan, seed)?;
        Ok(Self {
            inner: Arc::new(Inner {
                plan,
                closed: AtomicBool::new(false),
                processes: PerProcess::new(process),
            }),
        })
    }

    /// What was ignored of the environment when the client was built, and why.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.inner.plan.warnings
    }

    /// True when records for Sentry have somewhere to go.
    #[must_use]
    pub fn has_sentry(&self) -> bool {
        self.inner.plan.sentry.is_some()
    }

    /// True when OTLP records of that signal have somewhere to go.
    #[must_use]
    pub fn has_otlp(&self, signal: Signal) -> bool {
        self.otlp(signal).is_some()
    }

    #[inline]
    pub(crate) fn sentry(&self) -> Option<(DestinationId, &SentryContext)> {
        let context = self.inner.plan.sentry.as_ref()?;
        Some((DestinationId::new(0, 0), context))
    }

    /// Records what `make` makes, which has mostly less than a kilobyte.
    pub(crate) fn record_short<V: Encode>(&self, header: &Header, make: impl FnOnce() -> V) -> Outcome {
        match self.inner.process() {
            Ok(process) => process.delivery.record_short(header, make),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// The way in, if such a record may enter; a refusal is counted.
    #[inline(always)]
    pub(crate) fn admitted(&self, header: &Header) -> Result<Admitted<'_>, DropReason> {
        let process = self.inner.process()?;
        process.delivery.admits(header)?;
        Ok(Admitted(process))
    }

    pub(crate) fn record_bytes(&self, header: &Header, bytes: &[u8]) -> Outcome {
        match self.inner.process() {
            Ok(process) => process.delivery.record(header, bytes),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// Counts a record as dropped before it was encoded.
    pub(crate) fn refuse(&self, header: &Header, reason: DropReason) -> Outcome {
        if let Ok(process) = self.inner.process() {
            process.delivery.refuse(header, reason);
        }
        Outcome::Dropped(reason)
    }

    // ---- identifiers and sampling ----------------------------------------------------------------------------------

    /// A new identifier for a session or a check-in. One atomic addition.
    #[must_use]
    pub fn new_event_id(&self) -> EventId {
        self.inner.ids().event_id()
    }

    /// A new trace id. One atomic addition.
    #[must_use]
    pub fn new_trace_id(&self) -> TraceId {
        self.inner.ids().trace_id()
    }

    /// A new span id. One atomic addition.
    #[must_use]
    pub fn new_span_id(&self) -> SpanId {
        self.inner.ids().span_id()
    }

    /// Decides, when a trace begins here, whether it is kept: by the configured rate and by the downsample factor of
    /// the moment on top of it, both by trace id. Ask once per root, and not for a trace that came from elsewhere.
    ///
    /// A trace that is not kept is counted as lost (a transaction and its span, or a span) under `sample_rate` or
    /// `backpressure`; record nothing of it.
    #[must_use]
    pub fn sample_root(&self, trace_id: &TraceId) -> bool {
        let header = match (self.sentry(), self.otlp(Signal::Traces)) {
            (Some((sentry, _)), _) => transaction_header(sentry, trace_id, 0),
            (None, Some(otlp)) => span_header(otlp, Some(trace_id)),
            (None, None) => return false,
        };
        self.keeps_root(&header).is_ok()
    }

    fn keeps_root(&self, header: &Header) -> Result<(), DropReason> {
        let randomness = sampling::randomness(header.trace);
        self.thinned_root(header, randomness, self.inner.plan.reject_below)?;
        Ok(())
    }

    /// The rejection threshold under which a root is kept: that of the downsample factor on top of `rate`'s. A root whose
    /// randomness is below it is counted as lost.
    pub(crate) fn thinned_root(
        &self,
        header: &Header,
        randomness: u64,
        rate: u64,
    ) -> Result<u64, DropReason> {
        let delivery = &self.inner.process()?.delivery;
        let threshold = delivery.gate(header.destination).threshold(rate);
        let reason = if randomness < rate {
            DropReason::SampleRate
        } else if randomness < threshold {
            DropReason::Backpressure
        } else {
            return Ok(threshold);
        };
        delivery.refuse(header, reason);
        Err(reason)
    }

    // ---- Sentry ----------------------------------------------------------------------------------------------------

    /// Records an event.
    #[inline]
    pub fn event(&self, event: &sentry::Event<'_>) -> Capture {
        let Some((destination, context)) = self.sentry() else {
            return Capture::refused(OFF);
        };
        match self.admitted(&error_header(destination)) {
            Ok(Admitted(process)) => process.event(self, event, destination, context),
            Err(reason) => Capture::refused(Outcome::Dropped(reason)),
        }
    }

    /// Records an event that is a message and nothing else.
    pub fn message(&self, level: sentry::Level, message: &str) -> Capture {
        self.event(&sentry::Event {
            level,
            message,
            ..sentry::Event::default()
        })
    }

    /// Records a transaction with its spans. See [`sentry::Transaction::sampled`] for sampling.
    pub fn transaction(&self, transaction: &sentry::Transaction<'_>) -> Capture {
        let Some((destination, context)) = self.sentry() else {
            return Capture::refused(OFF);
        };
        let spans = u32::try_from(transaction.spans.len()).unwrap_or(u32::MAX);
        let header = transaction_header(destination, &transaction.trace.trace_id, spans);
        let kept = match transaction.sampled {
            Some(true) => Ok(()),
            Some(false) => return Capture::refused(self.refuse(&header, DropReason::SampleRate)),
            None if transaction.trace.parent_span_id.is_some() => Ok(()),
            None => self.keeps_root(&header),
        };
        match kept.and_then(|()| self.admitted(&header)) {
            Ok(Admitted(process)) => {
                let id = process.ids.event_id();
                let encoded = sentry::encoded_transaction(transaction, id, context);
                let outcome = process.delivery.record_long(&header, &encoded);
                Capture { id, outcome }
            }
            Err(reason) => Capture::refused(Outcome::Dropped(reason)),
        }
    }

    /// Records a log.
    pub fn log(&self, log: &sentry::Log<'_>) -> Outcome {
        let Some((destination, context)) = self.sentry() else {
            return OFF;
        };
        // A refusal counts them, too.
        let bytes = u32::try_from(sentry::billed_bytes(log, context)).unwrap_or(u32::MAX);
        let header = Header::new(destination, Form::Element, Category::LogItem, 1)
            .also(Category::LogByte, bytes)
            .from_origin(sentry::NOTED_LOG);
        self.record_short(&header, || {
            let active = self.active(|| log.trace_id.is_some() || log.span_id.is_some());
            let (trace_id, span_id) = match active {
                Some(active) => (Some(active.trace_id), Some(active.span_id)),
                None => (log.trace_id, log.span_id),
            };
            sentry::NotedLog {
                log,
                trace_id: trace_id.unwrap_or_else(|| self.inner.processes.last().trace_id),
                span_id,
                now: wall(),
            }
        })
    }

    /// Records an update of a session. Dropped as `insufficient_data` when the client has no release.
    pub fn session(&self, session: &sentry::Session<'_>) -> Outcome {
        let Some((destination, context)) = self.sentry() else {
            return OFF;
        };
        let header = Header::new(destination, Form::Item, Category::Session, 1);
        if !context.has_release {
            return self.refuse(&header, DropReason::InsufficientData);
        }
        self.record_short(&header, || sentry::encoded_session(session, wall(), context))
    }

    /// Records a check-in. Dropped as `insufficient_data` when it names no monitor.
    pub fn check_in(&self, check_in: &sentry::CheckIn<'_>) -> Capture {
        let id = check_in.id.unwrap_or_else(|| self.new_event_id());
        let outcome = self.sentry().map_or(OFF, |(destination, context)| {
            let header = Header::new(destination, Form::Item, Category::Monitor, 1);
            if check_in.monitor.is_empty() {
                return self.refuse(&header, DropReason::InsufficientData);
            }
            self.record_short(&header, || sentry::encoded_check_in(check_in, id, context))
        });
        Capture { id, outcome }
    }

    /// Records a ready-made envelope, whatever its items. It is delivered as it is, with a new `sent_at`.
    ///
    /// Work is proportional to its headers, and to the payloads whose content is counted.
    ///
    /// # Errors
    /// The bytes are no envelope.
    pub fn envelope(&self, envelope: &[u8]) -> Result<Outcome, EnvelopeError> {
        let Some((destination, _)) = self.sentry() else {
            return Ok(OFF);
        };
        let summary = describe(envelope)?;
        let Some(header) = summary.record_header(destination) else {
            return Ok(Outcome::Dropped(DropReason::Invalid));
        };
        let delivery = match self.inner.process() {
            Ok(process) => &process.delivery,
            Err(reason) => return Ok(Outcome::Dropped(reason)),
        };
        let outcome = delivery.record(&header, envelope);
        if let Outcome::Dropped(reason) = outcome
            && header.is_mixed()
        {
            // The intake counted what the header names.
            let named = |category| {
                header.count.category == category || header.also.is_some_and(|also| also.category == category)
            };
            for category in summary.categories().iter().filter(|category| !named(*category)) {
                let quantity = summary.total(category);
                if quantity > 0 {
                    delivery.refuse_count(destination, Count { category, quantity }, reason);
                }
            }
        }
        Ok(outcome)
    }

    /// Records one ready-made envelope item: its header line, a line feed and its payload, without a line feed at the
    /// end. It shares an envelope with others of its category.
    ///
    /// # Errors
    /// The bytes are no item.
    pub fn item(&self, item: &[u8]) -> Result<Outcome, EnvelopeError> {
        let Some((destination, _)) = self.sentry() else {
            return Ok(OFF);
        };
        let header = describe_item(item)?.record_header(destination);
        Ok(self.record_bytes(&header, item))
    }

    // ---- the whole -------------------------------------------------------------------------------------------------

    /// Starts the delivery thread if it does not run, so that the first record costs no more than the others. A program
    /// that records in signal handlers calls it first. True when it runs.
    pub fn start(&self) -> bool {
        self.inner.process().is_ok_and(|process| process.delivery.start())
    }

    /// Sends everything recorded before now without waiting for company, and waits for it, at most `timeout`. Rate
    /// limits, back-off and an open circuit breaker still hold.
    ///
    /// In a diagnostics callback it starts the flush and does not wait.
    pub fn flush(&self, timeout: Duration) -> FlushReport {
        self.inner.process().map_or_else(
            |_| FlushReport::default(),
            |process| process.delivery.flush(timeout),
        )
    }

    /// Accepts nothing more, sends what is queued until `timeout` has passed, drops the rest (counted as `closed`) and
    /// ends the delivery thread. It holds for every clone. A second call can only bring the end forward.
    ///
    /// In a diagnostics callback it starts closing and does not wait.
    pub fn close(&self, timeout: Duration) -> FlushReport {
        let process = self.inner.process();
        self.inner.closed.store(true, Ordering::Release);
        process.map_or_else(
            |_| FlushReport::default(),
            |process| process.delivery.close(timeout),
        )
    }

    /// How it is doing. Holds no secrets.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner
            .process()
            .map_or_else(|_| Status::default(), |process| process.delivery.status())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("sentry", &self.has_sentry())
            .field("otlp", &self.inner.plan.signals.iter().any(Option::is_some))
            .finish_non_exhaustive()
    }
}

fn error_header(destination: DestinationId) -> Header {
    Header::new(destination, Form::Envelope, Category::Error, 1)
}

/// A transaction counts itself, its own span and its child spans.
pub(crate) fn transaction_header(destination: DestinationId, trace_id: &TraceId, children: u32) -> Header {
    Header::new(destination, Form::Envelope, Category::Transaction, 1)
        .also(Category::Span, children.saturating_add(1))
        .in_trace(trace_id.key())
}
