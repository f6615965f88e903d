//! The state of one worker's instance, and what it does at each callback: the host of the engine.
//!
//! Like every host it decides nothing about delivery. It keeps apart the **roots** (one for each configuration that
//! uses this instance: several while a new one replaces an old one), which each have a place in the engine's table for
//! every server they name, and the **requests** on their way through.
//!
//! Sending is done from `on_tick`, `on_http_call_response` and, under load, from `on_log` on behalf of the root, as an
//! answer must come to a context that lives; never from `on_done`. A root that ends with records still queued puts its
//! end off until they are delivered or [`GRACE`] is over.

mod delivery;
mod learning;
mod traffic;

use core::fmt::Write as _;

use heapless::String;
use surgetank_core::config::{BatchConfig, Config, DestinationConfig};
use surgetank_core::destination::Destination;
use surgetank_core::engine::Engine;
use surgetank_core::item::DestinationId;
use surgetank_core::ledger::Loss;
use surgetank_core::limits::BLOCK_BYTES;
use surgetank_core::queue::Block;
use surgetank_core::request::RequestSlot;
use surgetank_core::response::Failure;
use surgetank_core::rng::Rng;
use surgetank_core::storage::SliceStorage;
use surgetank_core::time::{Duration, Instant};

use crate::abi::{Buffer, Host, Level, Once};
use crate::board::{Board, subject};
use crate::calls::{Calls, MOST_CALLS};
use crate::config::{self, Settings};
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::requests::Requests;

/// Configurations that one instance serves at once.
const ROOTS: usize = 4;

/// Memory for records. As much of it is used as the virtual machine's configuration says, and none that never held a record is
/// touched, so that the rest costs nothing. It is all zeros, and so by itself: it takes no room in the module. A span takes
/// one or two blocks.
static BLOCKS: Once<[Block; config::MOST_QUEUE_BYTES as usize / BLOCK_BYTES]> =
    Once::new([const { Block::EMPTY }; _]);

/// The engine's other tables.
struct Tables {
    destinations: [Destination; 2 * ROOTS],
    requests: [RequestSlot; MOST_CALLS],
    losses: [Loss; 64],
}

static TABLES: Once<Tables> = Once::new(Tables {
    destinations: [const { Destination::EMPTY }; _],
    requests: [const { RequestSlot::EMPTY }; _],
    losses: [Loss::EMPTY; _],
});

/// Payload bytes of one request.
const BATCH_BYTES: u32 = 96 * 1024;
/// Bytes of one body: a batch, a prefix of four bytes for each record in it, resource and scope; or an event and a report.
const BODY_BYTES: usize = BATCH_BYTES as usize + 8 * 1024;
/// Bytes of the longest record.
const RECORD_BYTES: usize = 4096;
/// Bytes of the headers of one call.
const HEAD_BYTES: usize = 6 * 1024;
/// Bytes of an answer's body that are looked at: the messages of a partial success or a refusal are shorter.
const ANSWER_BYTES: usize = 4096;

/// How often the engine is asked at least.
const TICK_MS: u32 = 100;
/// Records after which it is asked before the next tick.
const RECORDS_BEFORE_POLL: u32 = 256;
/// Requests that one callback starts at most.
const MOST_STARTS: usize = 8;
/// How long a root that ends may still deliver.
const GRACE: Duration = Duration::from_secs(5);

/// The encoded `InstrumentationScope`: `name` and `version`.
const SCOPE: &[u8] = concat!("\x0a\x0fsurgetank.envoy\x12\x05", env!("CARGO_PKG_VERSION")).as_bytes();
const _: () = assert!(
    env!("CARGO_PKG_VERSION").len() == 5,
    "the scope says how long it is"
);

/// Name of this client in Sentry's envelopes.
const SDK_NAME: &str = "surgetank.envoy";

/// One configuration.
struct Root {
    context: u32,
    settings: Settings,
    otlp: Option<DestinationId>,
    sentry: Option<DestinationId>,
    /// Subjects of the board: the two servers, and the service that is guarded.
    subjects: Subjects,
    /// Set when it is to end: until then it may deliver.
    leaves_at: Option<Instant>,
    /// It ended; its place may be taken.
    gone: bool,
}

/// Under what the servers of a root stand on the board.
#[derive(Clone, Copy, Default)]
struct Subjects {
    otlp: u64,
    sentry: u64,
    guarded: u64,
}

impl Subjects {
    fn of(settings: &Settings) -> Self {
        let otlp = settings.otlp.as_ref();
        let sentry = settings.sentry.as_ref();
        let of = |cluster: &str, path: &str| subject([cluster.as_bytes(), path.as_bytes()]);
        Self {
            otlp: otlp.map_or(0, |otlp| of(&otlp.cluster, &otlp.path)),
            sentry: sentry.map_or(0, |sentry| of(&sentry.cluster, &sentry.auth)),
            guarded: of("guarded", &settings.program.service_name),
        }
    }
}

impl Root {
    fn destinations(&self) -> impl Iterator<Item = DestinationId> {
        [self.otlp, self.sentry].into_iter().flatten()
    }

    /// Name and cluster of the server with that id.
    fn server(&self, id: DestinationId) -> (&'static str, &str) {
        match (&self.settings.otlp, &self.settings.sentry) {
            (Some(otlp), _) if self.otlp == Some(id) => ("otlp", &otlp.cluster),
            (_, Some(sentry)) => ("sentry", &sentry.cluster),
            _ => ("", ""),
        }
    }
}

type Heart = Engine<SliceStorage<'static>>;

/// Everything that an instance holds.
pub(crate) struct Plugin {
    engine: Option<Heart>,
    /// Bytes of records that the engine can hold.
    queue_bytes: u32,
    roots: [Option<Root>; ROOTS],
    requests: Requests,
    calls: Calls,
    metrics: Metrics,
    /// One for each root.
    guards: [Guard; ROOTS],
    board: Board,
    /// Version of the board that was looked at last.
    seen: u32,
    random: Rng,
    /// What the monotonic clock lacks to nanoseconds since 1970; looked at with each tick.
    epoch: u64,
    /// Records since the engine was asked last.
    unasked: u32,
    work: Work,
}

/// Memory for what is being made.
struct Work {
    record: [u8; RECORD_BYTES],
    head: [u8; HEAD_BYTES],
    body: [u8; BODY_BYTES],
}

impl Plugin {
    pub(crate) const fn new() -> Self {
        Self {
            engine: None,
            queue_bytes: config::QUEUE_BYTES,
            roots: [const { None }; ROOTS],
            requests: Requests::new(),
            calls: Calls::new(),
            metrics: Metrics::new(),
            guards: [const { Guard::new() }; ROOTS],
            board: Board::new(),
            seen: 0,
            random: Rng::new(0),
            epoch: 0,
            unasked: 0,
            work: Work {
                record: [0; RECORD_BYTES],
                head: [0; HEAD_BYTES],
                body: [0; BODY_BYTES],
            },
        }
    }

    fn root_of(&self, context: u32) -> Option<usize> {
        let is_it = |root: &Option<Root>| {
            root.as_ref()
                .is_some_and(|root| root.context == context && !root.gone)
        };
        self.roots.iter().position(is_it)
    }

    // ---- beginning and end of contexts -----------------------------------------------------------------------------

    /// A context begins: a root (which waits for its configuration), or a request.
    pub(crate) fn create(&mut self, context: u32, root: u32) {
        if root == 0 {
            return;
        }
        let begun = self
            .root_of(root)
            .is_some_and(|index| self.requests.begin(context, index as u8));
        if !begun {
            self.metrics.untracked();
        }
    }

    /// The virtual machine starts, before any root of it is configured; false refuses its configuration.
    pub(crate) fn configure_machine(&mut self, host: &Host, bytes: usize) -> bool {
        let queue_bytes = read(host, Buffer::Machine, bytes, config::queue_bytes);
        self.queue_bytes = queue_bytes.unwrap_or(self.queue_bytes);
        queue_bytes.is_some()
    }

    /// Reads a root's configuration; false refuses it.
    pub(crate) fn configure(&mut self, host: &Host, context: u32, bytes: usize) -> bool {
        let Some(settings) = read(host, Buffer::Configuration, bytes, config::parse) else {
            return false;
        };
        let now = moment(host.monotonic_nanos());
        self.look_at_wall_clock(host);
        if self.engine.is_none() {
            self.random = Rng::new(host.random());
            let storage = storage(self.queue_bytes);
            self.engine = storage
                .and_then(|storage| Engine::new(Config::DEFAULT, storage, self.random.next_u64(), now).ok());
            self.metrics.define(host);
        }
        let place = self.root_of(context).or_else(|| {
            let is_free = |root: &Option<Root>| root.as_ref().is_none_or(|root| root.gone);
            self.roots.iter().position(is_free)
        });
        let (Some(place), Some(engine)) = (
            place.and_then(|place| self.roots.get_mut(place)),
            &mut self.engine,
        ) else {
            return refuse(host, format_args!("one of at most {ROOTS} in use at once"));
        };
        let mut root = Root {
            context,
            subjects: Subjects::of(&settings),
            settings,
            otlp: None,
            sentry: None,
            leaves_at: None,
            gone: false,
        };
        if let Some(otlp) = &root.settings.otlp {
            let config = DestinationConfig {
                timeout: Duration::from_millis(u64::from(otlp.timeout_ms)),
                batch: BatchConfig {
                    max_delay: Duration::from_millis(u64::from(otlp.delay_ms)),
                    max_bytes: BATCH_BYTES,
                    ..BatchConfig::DEFAULT
                },
                ..DestinationConfig::OTLP
            };
            root.otlp = engine.open_destination(now, config).ok();
        }
        if let Some(sentry) = &root.settings.sentry {
            let config = DestinationConfig {
                timeout: Duration::from_millis(u64::from(sentry.timeout_ms)),
                ..DestinationConfig::SENTRY
            };
            root.sentry = engine.open_destination(now, config).ok();
        }
        let opened = root.otlp.is_some() == root.settings.otlp.is_some()
            && root.sentry.is_some() == root.settings.sentry.is_some();
        if root.settings.guard {
            self.metrics.define_guard(host);
        }
        *place = Some(root);
        // What others know concerns the new servers, too.
        self.seen = 0;
        host.tick_every(TICK_MS);
        opened
            || refuse(
                host,
                format_args!("for fewer servers while earlier ones are still written to"),
            )
    }

    /// A context is to end; false puts the end of a root off. A request's has nothing left: it was logged.
    pub(crate) fn done(&mut self, host: &Host, context: u32) -> bool {
        let Some(index) = self.root_of(context) else {
            return true;
        };
        let now = moment(host.monotonic_nanos());
        if !self.is_busy(index) {
            self.leave(index, now);
            return true;
        }
        if let (Some(Some(root)), Some(engine)) = (self.roots.get_mut(index), &mut self.engine) {
            root.leaves_at = Some(now.saturating_add(GRACE));
            engine.flush(now);
        }
        false
    }

    /// The root at that index is gone as soon as the callback returns.
    fn leave(&mut self, index: usize, now: Instant) {
        let Some(Some(root)) = self.roots.get_mut(index) else {
            return;
        };
        root.leaves_at = None;
        root.gone = true;
        // No answer comes to a context that is gone.
        while let (Some(call), Some(engine)) = (self.calls.take_of(root.context), &mut self.engine) {
            let _ = engine.on_failure(now, call.request, Failure::Disconnected);
        }
    }

    /// True while records wait for one of the root's servers, or are under way to it.
    fn is_busy(&self, index: usize) -> bool {
        let (Some(Some(root)), Some(engine)) = (self.roots.get(index), &self.engine) else {
            return false;
        };
        root.destinations().any(|id| {
            engine.destination(id).is_some_and(|status| {
                status.on_wire > 0 || status.parked > 0 || status.waiting.iter().any(|waiting| *waiting > 0)
            })
        })
    }

    fn look_at_wall_clock(&mut self, host: &Host) {
        self.epoch = host.wall_nanos().wrapping_sub(host.monotonic_nanos());
    }
}

/// Storage for that many bytes of records, the first time.
fn storage(queue_bytes: u32) -> Option<SliceStorage<'static>> {
    let blocks = BLOCKS.take()?.get_mut(..queue_bytes as usize / BLOCK_BYTES)?;
    let tables = TABLES.take()?;
    Some(SliceStorage::new(
        blocks,
        &mut tables.destinations,
        &mut tables.requests,
        &mut tables.losses,
    ))
}

/// A configuration of `bytes` bytes, as `parse` reads it; when it is refused, the proxy's log says why.
fn read<T>(
    host: &Host,
    buffer: Buffer,
    bytes: usize,
    parse: impl FnOnce(&[u8]) -> Result<T, config::Refusal>,
) -> Option<T> {
    if bytes > config::MOST_BYTES {
        refuse(
            host,
            format_args!("it must have {} bytes at most", config::MOST_BYTES),
        );
        return None;
    }
    let text = host.buffer(buffer, config::MOST_BYTES).unwrap_or_default();
    parse(text)
        .map_err(|refusal| refuse(host, format_args!("{refusal}")))
        .ok()
}

/// Says why a configuration is refused; false.
fn refuse(host: &Host, why: core::fmt::Arguments<'_>) -> bool {
    let mut line = String::<320>::new();
    let _ = write!(line, "surgetank: configuration refused: {why}");
    host.log(Level::Error, &line);
    false
}

/// A moment of the engine, from nanoseconds.
const fn moment(nanos: u64) -> Instant {
    Instant::from_micros(nanos / 1000)
}

/// The root whose server that is.
fn owner(roots: &[Option<Root>], id: DestinationId) -> Option<&Root> {
    roots
        .iter()
        .flatten()
        .find(|root| root.destinations().any(|own| own == id))
}
