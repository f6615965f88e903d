//! The lower layer, shared by the client and the sidecar: an intake, an engine, and the thread between them.
//!
//! ```text
//!  any thread                        the delivery thread (one, native, started at first use)
//!  record_*() -> gate -> encode -> [ Intake ] -drain-> [ Engine ] -requests-> Exporter -> server or store
//!                  ^                                      |  ^                    |
//!                  '----------- gates, status ------------'  '-- answers ---------'
//! ```
//!
//! A [`Delivery`] holds no policy: what is sent, retried, limited, sampled or dropped is decided by the engine
//! ([`surgetank_core::engine`]). It adds what the engine must not have: a clock, a thread, and the wire.
//!
//! **Recording** takes no lock, allocates nothing, and makes no system call but an occasional wake-up of the delivery
//! thread; the very first record of a process also starts that thread. It may happen on any thread, in a signal
//! handler (once the thread runs), in a destructor. Records made on the delivery thread itself are refused and counted.
//!
//! **Waiting** is always bounded. [`Delivery::flush`] and [`Delivery::close`] have absolute deadlines that hold
//! whatever the peer, the queue or the thread do; called from the delivery thread (a callback) they do not wait at all.
//! Requests to flush and close do not travel through the queue.
//!
//! **Panics** on the delivery thread are caught and counted, and it goes on: with the same engine and queue, unless the
//! panic came out of an engine call. Then the engine cannot be trusted, a new one takes its place, and what was queued
//! is counted as lost.
//!
//! Memory: the intake and the queue are reserved at once and never grow. Beside them a request in flight has its body
//! in memory, so at most as much again as the queue holds.

#[cfg(feature = "opentelemetry")]
pub(crate) mod assembly;
mod clock;
mod control;
mod door;
mod exporter;
pub(crate) mod fork;
pub mod http;
mod kernel;
mod origins;
mod record;
mod status;
mod sums;
mod thread;
mod wake;
mod worker;

#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::config_error::ConfigError;
use surgetank_core::engine::OpenError;
use surgetank_core::gate::GateState;
use surgetank_core::intake::CapacityError;
use surgetank_core::item::DestinationId;

pub(crate) use clock::{wall, wall_nanos};
pub use door::LiveLimits;
pub use exporter::{Answer, Endpoint, Exporter, Outgoing};
pub use origins::{MAX_SCOPE_BYTES, Origin, Origins};
pub use status::{DestinationReport, Fill, InFlight, Status, WorkerState, WorkerStatus};
pub use sums::Sums;
#[cfg(feature = "opentelemetry")]
pub(crate) use thread::on_delivery_thread;

use crate::diagnostics::DiagnosticCallback;
use control::Shared;
use kernel::Kernel;

/// How old the published sums may be while the delivery thread is busy.
pub const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

/// What a delivery is made of.
#[derive(Clone)]
pub struct DeliveryConfig {
    /// Bytes of the intake: a power of two. The largest record is half of it.
    pub intake_bytes: usize,
    /// Bytes of the queue.
    pub queue_bytes: usize,
    /// Most destinations at a time, 1 to 255.
    pub max_destinations: usize,
    /// Most requests in flight, over all destinations.
    pub max_requests: usize,
    /// The engine's settings.
    pub engine: Config,
    /// Decides every jitter; from the operating system's randomness where runs should differ.
    pub seed: u64,
    /// Name of the thread.
    pub thread_name: &'static str,
    /// Told what happens.
    pub diagnostics: Option<DiagnosticCallback>,
}

impl fmt::Debug for DeliveryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryConfig")
            .field("intake_bytes", &self.intake_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .field("max_destinations", &self.max_destinations)
            .field("max_requests", &self.max_requests)
            .field("thread_name", &self.thread_name)
            .finish_non_exhaustive()
    }
}

/// A destination to be opened.
#[derive(Debug)]
pub struct DestinationSpec<T> {
    /// The engine's settings for it.
    pub config: DestinationConfig,
    /// Name of the SDK in envelopes composed here.
    pub sdk_name: String,
    /// Version of the SDK in envelopes composed here.
    pub sdk_version: String,
    /// Public key of the DSN, for the trace header of envelopes of spans; empty for OTLP.
    pub public_key: String,
    /// Release of the program, for the same header.
    pub release: Option<String>,
    /// Environment of the program, for the same header.
    pub environment: Option<String>,
    /// The encoded `Resource` of OTLP requests composed here; may be empty.
    pub resource: Vec<u8>,
    /// The encoded `InstrumentationScope` of OTLP requests composed here; may be empty.
    pub scope: Vec<u8>,
    /// Other resources and scopes that records name by number.
    pub origins: Arc<Origins>,
    /// Encoded JSON members that the client adds to the attributes of its own Sentry logs; empty where it records none.
    pub log_attributes: Vec<u8>,
    /// What the exporter needs.
    pub target: T,
}

/// Why a delivery could not be made. Exhaustive.
#[derive(Debug)]
pub enum DeliveryError {
    /// The intake's size cannot be had.
    Intake(CapacityError),
    /// A setting of the engine is out of range.
    Engine(ConfigError),
    /// A destination could not be opened.
    Destination(OpenError),
    /// The process is out of file descriptors.
    Bell(std::io::Error),
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intake(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
            Self::Destination(error) => error.fmt(f),
            Self::Bell(error) => write!(f, "no socket to wake the delivery thread with: {error}"),
        }
    }
}

impl core::error::Error for DeliveryError {}

/// Why a destination could not be opened on a running delivery. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenDestinationError {
    /// The engine refused.
    Refused(OpenError),
    /// The delivery was closed, or its thread could not be started.
    Stopped,
}

impl fmt::Display for OpenDestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Stopped => f.write_str("the delivery does not run (closed, or no thread could be started)"),
        }
    }
}

impl core::error::Error for OpenDestinationError {}

/// What a flush or close came to.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct FlushReport {
    /// True when nothing that was recorded before the call is left.
    pub complete: bool,
    /// Sums at the end of the call. `queued` per category is what was left, see [`FlushReport::left`].
    pub sums: Sums,
    /// Sums when the call began, at most [`PUBLISH_INTERVAL`] old.
    pub before: Sums,
    /// Bytes that still lie in the intake, not yet counted by category; 0 unless the delivery thread does not run or
    /// a producer holds a record open.
    pub intake_bytes: u64,
}

impl FlushReport {
    /// Quantities that are still queued or in flight, by category.
    pub fn left(&self) -> impl Iterator<Item = (surgetank_core::item::Category, u64)> {
        self.sums
            .categories()
            .map(|(category, totals)| (category, totals.queued()))
            .filter(|(_, left)| *left > 0)
    }

    /// Quantities delivered during the call, by category.
    pub fn delivered(&self) -> impl Iterator<Item = (surgetank_core::item::Category, u64)> {
        self.sums.categories().map(|(category, totals)| {
            let before = self.before.of(category).delivered;
            (category, totals.delivered.saturating_sub(before))
        })
    }
}

/// A handle on the intake, the engine and the thread. Cloning it is cheap; the last one does **not** close it, so call
/// [`Delivery::close`].
pub struct Delivery<E: Exporter> {
    shared: Arc<Shared<E>>,
}

impl<E: Exporter> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<E: Exporter> fmt::Debug for Delivery<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

impl<E: Exporter> Delivery<E> {
    /// Reserves the memory and opens the first destinations; their ids have the indices 0, 1 and so on. No thread runs
    /// yet.
    ///
    /// # Errors
    /// No memory of that size, a setting out of range, or no file descriptors.
    pub fn new(
        config: DeliveryConfig,
        exporter: E,
        destinations: Vec<DestinationSpec<E::Target>>,
    ) -> Result<(Self, Vec<DestinationId>), DeliveryError> {
        let (ring, bell) = wake::bell().map_err(DeliveryError::Bell)?;
        let clock = clock::Clock::start();
        let (kernel, ids) = Kernel::new(config, exporter, destinations, clock.now())?;
        let shared = Shared::new(kernel, clock, ring, bell)?;
        Ok((
            Self {
                shared: Arc::new(shared),
            },
            ids,
        ))
    }

    /// Starts the delivery thread if it does not run. Recording does so by itself; a program that records in signal
    /// handlers, or wants the first record to cost no more than the others, calls it first.
    ///
    /// True when it runs.
    pub fn start(&self) -> bool {
        worker::start(&self.shared)
    }

    /// Opens a destination while the delivery runs. It may take the place of the one that was idle for longest: see
    /// [`Delivery::is_current`].
    ///
    /// # Errors
    /// No place, a setting out of range, or the delivery does not run.
    pub async fn open_destination(
        &self,
        spec: DestinationSpec<E::Target>,
    ) -> Result<DestinationId, OpenDestinationError> {
        let answer = self.shared.send_open(spec);
        if !self.start() {
            return Err(OpenDestinationError::Stopped);
        }
        self.shared.ring.ring();
        match answer.await {
            Ok(opened) => opened.map_err(OpenDestinationError::Refused),
            Err(_) => Err(OpenDestinationError::Stopped),
        }
    }

    /// True while `id` stands for the destination it was opened for. Records for another one are dropped and counted.
    #[must_use]
    pub fn is_current(&self, id: DestinationId) -> bool {
        self.shared.is_current(id)
    }

    /// What producers for `id` may know. Exact for the first three destinations; from the fourth on they share one gate
    /// that shows only what holds for all of them.
    #[must_use]
    pub fn gate(&self, id: DestinationId) -> GateState {
        self.shared.intake.gate(id.index()).load()
    }

    /// Sends everything recorded before now without waiting for company, and waits for it, at most `timeout`. Limits,
    /// pauses and an open circuit breaker still hold.
    ///
    /// Called on the delivery thread it starts the flush and does not wait.
    #[must_use = "the report says what is left"]
    pub fn flush(&self, timeout: Duration) -> FlushReport {
        control::flush(&self.shared, timeout)
    }

    /// Accepts nothing more, sends what is queued until `timeout` has passed, drops the rest (counted as `closed`) and
    /// ends the thread. A second call can only bring the end forward.
    ///
    /// Called on the delivery thread it starts closing and does not wait.
    #[must_use = "the report says what is left"]
    pub fn close(&self, timeout: Duration) -> FlushReport {
        control::close(&self.shared, timeout)
    }

    /// How it is doing. Asks the delivery thread for up-to-date figures and waits for them for at most 20 ms; not for the
    /// record path.
    #[must_use]
    pub fn status(&self) -> Status {
        control::status(&self.shared)
    }
}
