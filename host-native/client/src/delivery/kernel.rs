//! The engine with its host's half of the work: bodies, attempts in flight, answers, gates, news.
//!
//! Everything here belongs to the delivery thread and outlives a panic on it.

use std::sync::Arc;

use surgetank_core::engine::{Engine, FlushId, HostProbe, OpenError};
use surgetank_core::gate::GateState;
use surgetank_core::intake::{Intake, Word};
use surgetank_core::item::{Category, DestinationId, DropReason};
use surgetank_core::limits::{BLOCK_BYTES, INTAKE_GATES};
use surgetank_core::notice::{Action, Deadline};
use surgetank_core::request::{BodyContext, Request, RequestId, RequestKind};
use surgetank_core::response::{Failure, Response};
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant};
use surgetank_core::wire::WriteError;
use tokio::task::JoinSet;

#[cfg(feature = "opentelemetry")]
use super::assembly::{Assembly, QUEUE_SHARE};
use super::clock::wall;
use super::door::Door;
use super::exporter::{Answer, Endpoint, Exporter, Outgoing};
use super::origins::Origins;
use super::status::{Fill, InFlight, Snapshot, report};
use super::sums::Sums;
use super::{DeliveryConfig, DeliveryError, DestinationSpec};
use crate::body::Compressor;
use crate::diagnostics::{DiagnosticEvent, Diagnostics};
use crate::panics::panicked;
use crate::sentry::LogTexts;

mod drain;

/// Attempts in flight.
pub(super) type Attempts = JoinSet<Result<Answer, Failure>>;

/// Actions of the engine carried out before the loop looks at its inputs again.
const ACTIONS_PER_ROUND: usize = 64;

pub(super) struct Kernel<E: Exporter> {
    pub(super) config: DeliveryConfig,
    /// Apart, for it is large: what is moved while it is made is stack that stays in use.
    engine: Box<Engine<HeapStorage>>,
    exporter: E,
    open: Vec<Option<Opened<E::Target>>>,
    in_flight: Vec<(tokio::task::Id, RequestId, InFlight)>,
    compressor: Compressor,
    diagnostics: Diagnostics,
    /// Sums of the engines before this one.
    base: Sums,
    /// An engine call has begun and not ended: after a panic, it cannot be trusted.
    in_engine: bool,
    /// A request was taken from the engine and is not in flight yet.
    starting: Option<RequestId>,
    rebuilds: u64,
    /// Sum of [`in_queue`](super::door::in_queue) over everything that left the intake.
    taken: u64,
    /// Makes JSON of logs.
    logs: LogTexts,
    /// Spans that wait for their root.
    #[cfg(feature = "opentelemetry")]
    assembly: Assembly,
    /// A call of the assembly has begun and not ended: after a panic, it cannot be trusted.
    #[cfg(feature = "opentelemetry")]
    in_assembly: bool,
}

struct Opened<T> {
    id: DestinationId,
    spec: Arc<DestinationParts>,
    target: Arc<T>,
}

impl<T> Clone for Opened<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            spec: Arc::clone(&self.spec),
            target: Arc::clone(&self.target),
        }
    }
}

/// A [`DestinationSpec`] without its target.
struct DestinationParts {
    config: surgetank_core::config::DestinationConfig,
    sdk_name: String,
    sdk_version: String,
    public_key: String,
    release: Option<String>,
    environment: Option<String>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    origins: Arc<Origins>,
    log_attributes: Vec<u8>,
}

/// What one round of polling came to.
pub(super) enum Round {
    /// There is more to do at once.
    Again,
    /// Nothing to do before the deadline or an input.
    Idle(Option<Deadline>),
    /// Closed and drained.
    Closed,
}

impl<E: Exporter> Kernel<E> {
    pub(super) fn new(
        config: DeliveryConfig,
        exporter: E,
        destinations: Vec<DestinationSpec<E::Target>>,
        now: Instant,
    ) -> Result<(Self, Vec<DestinationId>), DeliveryError> {
        let engine = new_engine(&config, 0, now).map_err(DeliveryError::Engine)?;
        let mut kernel = Self {
            engine,
            exporter,
            open: Vec::new(),
            in_flight: Vec::new(),
            compressor: Compressor::default(),
            diagnostics: Diagnostics::new(config.diagnostics.clone()),
            base: Sums::default(),
            in_engine: false,
            starting: None,
            rebuilds: 0,
            taken: 0,
            logs: LogTexts::default(),
            #[cfg(feature = "opentelemetry")]
            assembly: Assembly::new(config.queue_bytes / QUEUE_SHARE),
            #[cfg(feature = "opentelemetry")]
            in_assembly: false,
            config,
        };
        let ids = destinations
            .into_iter()
            .map(|spec| kernel.open(now, spec))
            .collect::<Result<_, _>>()
            .map_err(DeliveryError::Destination)?;
        Ok((kernel, ids))
    }

    /// Calls the engine. A panic inside leaves a mark for [`Kernel::recover`].
    fn engine<R>(&mut self, call: impl FnOnce(&mut Engine<HeapStorage>) -> R) -> R {
        self.in_engine = true;
        let result = call(&mut self.engine);
        self.in_engine = false;
        result
    }

    pub(super) fn open(
        &mut self,
        now: Instant,
        spec: DestinationSpec<E::Target>,
    ) -> Result<DestinationId, OpenError> {
        let id = self.engine(|engine| engine.open_destination(now, spec.config))?;
        let opened = Opened {
            id,
            target: Arc::new(spec.target),
            spec: Arc::new(DestinationParts {
                config: spec.config,
                sdk_name: spec.sdk_name,
                sdk_version: spec.sdk_version,
                public_key: spec.public_key,
                release: spec.release,
                environment: spec.environment,
                resource: spec.resource,
                scope: spec.scope,
                origins: spec.origins,
                log_attributes: spec.log_attributes,
            }),
        };
        if self.open.len() <= id.index() {
            self.open.resize_with(id.index() + 1, || None);
        }
        if let Some(place) = self.open.get_mut(id.index()) {
            *place = Some(opened);
        }
        Ok(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = DestinationId> {
        self.open.iter().flatten().map(|opened| opened.id)
    }

    /// Hands the answer of every attempt that ended to the engine.
    pub(super) fn settle(&mut self, now: Instant, attempts: &mut Attempts) {
        while let Some(ended) = attempts.try_join_next_with_id() {
            self.settle_one(now, ended);
        }
    }

    pub(super) fn settle_one(
        &mut self,
        now: Instant,
        ended: Result<(tokio::task::Id, Result<Answer, Failure>), tokio::task::JoinError>,
    ) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            // The attempt panicked.
            Err(error) => {
                let task = error.id();
                panicked(|| drop(error));
                (task, Err(Failure::Internal))
            }
        };
        let Some(place) = self.in_flight.iter().position(|(known, ..)| *known == task) else {
            return;
        };
        let (_, request, _) = self.in_flight.swap_remove(place);
        // A stale answer is counted by the engine.
        let _ = match outcome {
            Ok(answer) => {
                let limits: Vec<&[u8]> = answer.rate_limits.iter().map(Vec::as_slice).collect();
                let response = Response {
                    status: answer.status,
                    retry_after: answer.retry_after.as_deref(),
                    rate_limits: &limits,
                    content_type: answer.content_type.as_deref(),
                    body: &answer.body,
                    grpc: None,
                    wall: wall(),
                };
                self.engine(|engine| engine.on_response(now, request, &response))
            }
            Err(failure) => {
                self.diagnostics.tell(now, DiagnosticEvent::Failed(failure));
                self.engine(|engine| engine.on_failure(now, request, failure))
            }
        };
    }

    /// Lets the engine act: starts attempts, tells news.
    pub(super) fn act(&mut self, now: Instant, attempts: &mut Attempts) -> Round {
        for _ in 0..ACTIONS_PER_ROUND {
            self.in_engine = true;
            let action = self.engine.poll(now);
            self.in_engine = false;
            match action {
                Action::Send(request) => {
                    let id = request.id();
                    self.starting = Some(id);
                    let in_flight = InFlight {
                        spans: request.quantity(Category::Span),
                        logs: request.quantity(Category::LogItem),
                    };
                    let outgoing = prepare(&request, &self.open, &self.exporter, &mut self.compressor);
                    match outgoing {
                        Ok(outgoing) => {
                            let timeout = outgoing.timeout;
                            // Some kilobytes, which would be moved several times on their way into the task.
                            let attempt = Box::pin(self.exporter.export(outgoing));
                            let task = attempts.spawn(async move {
                                tokio::time::timeout(timeout, attempt)
                                    .await
                                    .unwrap_or(Err(Failure::Timeout))
                            });
                            self.in_flight.push((task.id(), id, in_flight));
                        }
                        Err(error) => {
                            if let Unsendable::Compression = error {
                                self.diagnostics.tell(now, DiagnosticEvent::CompressionFailed);
                            }
                            let failure = match error {
                                Unsendable::Invalid => Failure::InvalidRequest,
                                Unsendable::NoDestination | Unsendable::Compression => Failure::Internal,
                            };
                            let _ = self.engine(|engine| engine.on_failure(now, id, failure));
                        }
                    }
                    self.starting = None;
                }
                Action::Notice(notice) => self.diagnostics.tell(now, DiagnosticEvent::of(notice)),
                Action::Idle(deadline) => return Round::Idle(deadline),
                Action::Closed => return Round::Closed,
            }
        }
        Round::Again
    }

    pub(super) fn flush(&mut self, now: Instant) -> FlushId {
        self.engine(|engine| engine.flush(now))
    }

    pub(super) fn is_flushed(&self, id: FlushId) -> bool {
        self.engine.is_flushed(id)
    }

    pub(super) fn close(&mut self, now: Instant, until: Instant) {
        #[cfg(feature = "opentelemetry")]
        self.assemble(now, |assembly, each| assembly.clear(DropReason::Closed, each));
        self.engine(|engine| engine.close(now, until));
    }

    pub(super) fn probe(&mut self, now: Instant, oldest_open_slot: Duration) {
        let probe = HostProbe {
            memory_permille: None,
            oldest_open_slot,
        };
        self.engine(|engine| engine.on_probe(now, probe));
    }

    /// Tells producers what they may know.
    pub(super) fn publish_gates(&mut self, now: Instant, intake: &Intake<Box<[Word]>>) {
        let mut shared: Option<GateState> = None;
        for index in 0..self.open.len() {
            let Some(id) = self
                .open
                .get(index)
                .and_then(Option::as_ref)
                .map(|opened| opened.id)
            else {
                continue;
            };
            let gate = self.engine(|engine| engine.gate(now, id));
            if index + 1 < INTAKE_GATES {
                intake.gate(index).publish(gate);
                continue;
            }
            // The last gate stands for all the others: a limit shows only if all of them have it.
            shared = Some(match shared {
                None => gate,
                Some(all) => {
                    let only_some = all.limited().without(gate.limited());
                    all.with_limited(all.limited().without(only_some))
                        .with_breaker_open(all.is_breaker_open() && gate.is_breaker_open())
                }
            });
        }
        if let Some(gate) = shared {
            intake.gate(INTAKE_GATES - 1).publish(gate);
        }
    }

    /// Tells hosts that answer clients of their own what they may promise them.
    pub(super) fn publish_door(&self, now: Instant, door: &Door) {
        let fill = self.engine.fill();
        let free = fill.capacity_blocks.saturating_sub(fill.used_blocks);
        let bytes = |blocks: u32| u64::from(blocks) * BLOCK_BYTES as u64;
        door.publish_room(bytes(fill.capacity_blocks), bytes(free), self.taken);
        for opened in self.open.iter().flatten() {
            if let Some(limits) = self.engine.limits(opened.id) {
                door.publish_limits(now, opened.id, limits);
            }
        }
    }

    pub(super) fn snapshot(&mut self, now: Instant, snapshot: &mut Snapshot) {
        let engine = &self.engine;
        let (fill, counters) = (engine.fill(), engine.counters());
        snapshot.taken = now;
        snapshot.health = engine.health();
        snapshot.queue = Fill {
            used_bytes: u64::from(fill.used_blocks) * BLOCK_BYTES as u64,
            capacity_bytes: u64::from(fill.capacity_blocks) * BLOCK_BYTES as u64,
        };
        #[cfg(feature = "opentelemetry")]
        {
            let (used, capacity) = self.assembly.fill();
            snapshot.assembly = Fill {
                used_bytes: used as u64,
                capacity_bytes: capacity as u64,
            };
        }
        let in_flight = self.in_flight.iter().map(|(.., in_flight)| *in_flight);
        snapshot.in_flight = in_flight.fold(InFlight::default(), InFlight::plus);
        snapshot.factor = engine.factor();
        snapshot.stale_answers = counters.stale_answers;
        snapshot.stalls = counters.stalls;
        snapshot.notices_lost = counters.notices_lost;
        snapshot.diagnostics = self.diagnostics.counts();
        snapshot.destinations.clear();
        for opened in self.open.iter().flatten() {
            if let Some(status) = engine.destination(opened.id) {
                snapshot
                    .destinations
                    .push(report(opened.id, opened.spec.config.protocol, &status));
            }
        }
        snapshot.sums.set(&self.base, engine.totals());
    }

    /// After a panic on the delivery thread: makes everything fit to go on. True when the queue was lost.
    ///
    /// The engine is only ever changed inside its own calls, so when none was under way it is whole, with everything
    /// queued; the one request that was between the engine and the wire is reported as failed. When one was under way,
    /// nothing is known about it but its sums, which are plain numbers: a new engine takes its place, and what the old
    /// one had queued counts as lost. Attempts in flight belong to the old engine's requests and end with it.
    pub(super) fn recover(&mut self, now: Instant, attempts: &mut Attempts) -> bool {
        let starting = self.starting.take();
        let lost = core::mem::take(&mut self.in_engine);
        if lost {
            self.rebuild(now, attempts);
        } else if let Some(request) = starting {
            let _ = self.engine(|engine| engine.on_failure(now, request, Failure::Internal));
        }
        #[cfg(feature = "opentelemetry")]
        if core::mem::take(&mut self.in_assembly) {
            let spans = self.assembly.reset();
            self.engine(|engine| {
                engine.on_losses(now, None, Category::Span, DropReason::InternalSdkError, spans);
            });
        }
        self.diagnostics
            .tell(now, DiagnosticEvent::WorkerPanicked { queue_lost: lost });
        lost
    }

    /// Leaves what a panic inside an engine call leaves.
    #[cfg(test)]
    pub(super) fn break_engine(&mut self) {
        self.in_engine = true;
    }

    fn rebuild(&mut self, now: Instant, attempts: &mut Attempts) {
        attempts.abort_all();
        attempts.detach_all();
        self.in_flight.clear();
        let mut sums = Sums::default();
        sums.set(&self.base, self.engine.totals());
        self.rebuilds += 1;
        // The settings were accepted before, and the memory is of the same size.
        let Ok(engine) = new_engine(&self.config, self.rebuilds, now) else {
            return;
        };
        self.engine = engine;
        for index in 0..self.open.len() {
            let Some(opened) = self.open.get_mut(index).and_then(Option::take) else {
                continue;
            };
            if let Ok(id) = self.engine.open_destination(now, opened.spec.config)
                && let Some(place) = self.open.get_mut(id.index())
            {
                *place = Some(Opened { id, ..opened });
            }
        }
        let queued: Vec<(Category, u64)> = sums
            .categories()
            .map(|(category, totals)| (category, totals.queued()))
            .collect();
        sums.forget_queued();
        self.base = sums;
        for (category, quantity) in queued {
            self.engine
                .on_losses(now, None, category, DropReason::InternalSdkError, quantity);
        }
    }
}

fn new_engine(
    config: &DeliveryConfig,
    rebuilds: u64,
    now: Instant,
) -> Result<Box<Engine<HeapStorage>>, surgetank_core::config_error::ConfigError> {
    let storage = HeapStorage::new(config.queue_bytes, config.max_destinations, config.max_requests);
    let engine = Engine::new(config.engine, storage, config.seed.wrapping_add(rebuilds), now)?;
    Ok(Box::new(engine))
}

/// Why no attempt can be made.
enum Unsendable {
    /// The engine names a destination that is not open here.
    NoDestination,
    /// A record is not what its header says.
    Invalid,
    Compression,
}

fn prepare<E: Exporter>(
    request: &Request<'_>,
    open: &[Option<Opened<E::Target>>],
    exporter: &E,
    compressor: &mut Compressor,
) -> Result<Outgoing<E::Target>, Unsendable> {
    let opened = open
        .get(request.destination().index())
        .and_then(Option::as_ref)
        .filter(|opened| opened.id == request.destination())
        .ok_or(Unsendable::NoDestination)?;
    let endpoint = endpoint(request.kind());
    let compression = exporter.compression(&opened.target, endpoint);
    let likely = request.payload_bytes() as usize + 512;
    let origins = opened.spec.origins.frames();
    let context = BodyContext {
        sent_at: wall(),
        sdk_name: &opened.spec.sdk_name,
        sdk_version: &opened.spec.sdk_version,
        public_key: &opened.spec.public_key,
        release: opened.spec.release.as_deref(),
        environment: opened.spec.environment.as_deref(),
        resource: &opened.spec.resource,
        scope: &opened.spec.scope,
        origins: &origins,
    };
    let written = compressor.body(compression, likely, |body| request.write_body(&context, body));
    let (body, content_encoding) = written.map_err(|error| match error {
        WriteError::Invalid(_) => Unsendable::Invalid,
        WriteError::Sink(_) | WriteError::Stalled => Unsendable::Compression,
    })?;
    Ok(Outgoing {
        target: Arc::clone(&opened.target),
        endpoint,
        attempt: request.attempt(),
        timeout: request.timeout().into(),
        content_type: request.kind().content_type(),
        content_encoding,
        body,
    })
}

fn endpoint(kind: RequestKind) -> Endpoint {
    kind.signal().map_or(Endpoint::Envelope, Endpoint::Otlp)
}
