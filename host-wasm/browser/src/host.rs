//! One engine and what it needs beside it in a page: two windows of memory that JavaScript reads and writes, and the
//! texts that stand in every request of a destination.
//!
//! Nothing here decides; nothing here knows JavaScript either, so all of it is tested as ordinary Rust. Times are
//! arguments. A call that names a destination or a request that does not exist is without effect.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use surgetank_core::breaker::BreakerState;
use surgetank_core::concurrency::ConcurrencyConfig;
use surgetank_core::config::{BatchConfig, Config, DestinationConfig};
use surgetank_core::engine::{Engine, FlushId, Walk};
use surgetank_core::item::{
    Category, CategorySet, DestinationId, DropReason, Form, Header, Item, Outcome, Priority, Signal, TraceKey,
};
use surgetank_core::limits::{MAX_ANSWER_BYTES, MAX_ORIGINS};
use surgetank_core::notice::Action;
use surgetank_core::request::{BodyContext, RequestId};
use surgetank_core::response::{Failure, Response};
use surgetank_core::sampling;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_core::wire::envelope;
use surgetank_core::wire::otlp::framing::Frame;

use crate::allowance::Allowance;
use crate::window::Window;
use crate::{status, store};

/// Clients, transports and exporters that one page can have.
pub const MAX_DESTINATIONS: usize = 8;

/// Requests in flight, over all destinations. A browser opens six connections to a server that speaks HTTP/1.1.
pub const MAX_REQUESTS: usize = 16;

/// Requests in flight to one destination.
const MAX_CONCURRENCY: u8 = 6;

/// Payload bytes of one request that is composed here, so that two of them fit what a page may send with `keepalive`
/// (64 KiB, Fetch standard, "HTTP-network-or-cache fetch").
const MAX_BATCH_BYTES: u32 = 28 * 1024;

/// Smallest and largest memory for records, in bytes.
const QUEUE_BYTES: core::ops::RangeInclusive<usize> = 16 * 1024..=64 * 1024 * 1024;

/// A record may take this part of the memory for records: the windows are as long.
const LARGEST_PART: usize = 2;

/// What a body may have beyond its payload: a client report and the frame of a container.
const FRAME_BYTES: usize = 16 * 1024;

/// Longest text or encoded message that a destination keeps.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// Version and name that envelopes composed here carry.
const SDK: (&str, &str) = ("sentry.javascript.surgetank", env!("CARGO_PKG_VERSION"));

/// What [`Host::poll`] says. The numbers are part of the interface to JavaScript.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Next {
    /// Nothing to do before [`Host::deadline`].
    Idle = 0,
    /// Make the attempt that [`Host::sending`] describes; its body is in the output window.
    Send = 1,
    /// Closed for good.
    Closed = 2,
}

/// An attempt to be made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sending {
    /// To be given back with its outcome.
    pub id: u64,
    /// Position of the destination, in the order they were opened.
    pub destination: u32,
    /// 0 for a Sentry envelope, 1 to 3 for OTLP traces, logs and metrics.
    pub signal: u32,
    /// How long it may take.
    pub timeout: Duration,
}

/// What stands in every request of a destination.
#[derive(Debug, Default)]
struct Place {
    id: DestinationId,
    public_key: String,
    release: Option<String>,
    environment: Option<String>,
    /// Encoded resources and scopes; the first is the destination's own, a record names the others by their position.
    origins: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An answer, as lengths of what lies in the input window, one behind the other in this order.
#[derive(Clone, Copy, Default, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if the page may read it.
    pub retry_after: Option<usize>,
    /// `X-Sentry-Rate-Limits`, lines joined with commas as `fetch` does.
    pub rate_limits: Option<usize>,
    /// `Content-Type`.
    pub content_type: Option<usize>,
    /// The body.
    pub body: usize,
}

/// What a record is, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct What {
    /// What the bytes are.
    pub form: Form,
    /// Category; the quantity is one.
    pub category: Category,
    /// Bytes of a log, which are counted beside it; 0 for others.
    pub log_bytes: u32,
    /// Low 64 bits of the trace id; 0 for none.
    pub trace: u64,
    /// From [`Host::origin`].
    pub origin: u8,
    /// It goes with the errors, whatever its category: OTLP has no other place for an error than a log.
    pub urgent: bool,
}

/// The page's engine. See the [module documentation](self).
#[derive(Debug)]
pub struct Host {
    engine: Engine<HeapStorage>,
    places: Vec<Place>,
    allowance: Allowance,
    /// Written by JavaScript. Its length never changes, so neither does its address.
    input: Vec<u8>,
    /// Read by JavaScript, as far as `output_length` says.
    output: Vec<u8>,
    output_length: usize,
    sending: Sending,
    walk: Walk,
}

impl Host {
    /// An engine with `queue_bytes` of memory for records (brought into 16 KiB to 64 MiB). `None` only if the core
    /// refuses its own defaults.
    #[must_use]
    pub fn new(queue_bytes: usize, seed: u64, now: Instant) -> Option<Self> {
        let queue_bytes = queue_bytes.clamp(*QUEUE_BYTES.start(), *QUEUE_BYTES.end());
        let storage = HeapStorage::new(queue_bytes, MAX_DESTINATIONS, MAX_REQUESTS);
        Some(Self {
            engine: Engine::new(Config::DEFAULT, storage, seed, now).ok()?,
            places: Vec::with_capacity(MAX_DESTINATIONS),
            allowance: Allowance::new(now),
            input: alloc::vec![0; queue_bytes / LARGEST_PART],
            output: alloc::vec![0; queue_bytes / LARGEST_PART + FRAME_BYTES],
            output_length: 0,
            sending: Sending::default(),
            walk: Walk::default(),
        })
    }

    /// The input window: half as long as the memory for records. What is longer is no record.
    pub fn input(&mut self) -> &mut [u8] {
        &mut self.input
    }

    /// The output window: the body after [`Next::Send`], the text after [`Host::status`].
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.get(..self.output_length).unwrap_or_default()
    }

    /// Opens a destination. The input window holds the public key, the release and the environment, of these lengths.
    /// `None` when there are [`MAX_DESTINATIONS`] already, or a text is not UTF-8.
    pub fn open(
        &mut self,
        now: Instant,
        otlp: bool,
        timeout: Option<Duration>,
        lengths: [usize; 3],
    ) -> Option<u32> {
        if self.places.len() >= MAX_DESTINATIONS {
            return None;
        }
        let [key, release, environment] = lengths;
        let (public_key, rest) = self.input.split_at_checked(key)?;
        let (release, rest) = rest.split_at_checked(release)?;
        let environment = rest.get(..environment)?;
        if lengths.iter().any(|length| *length > MAX_KEPT_BYTES) {
            return None;
        }
        let text = |bytes: &[u8]| core::str::from_utf8(bytes).ok().map(str::to_owned);
        let (public_key, release, environment) = (text(public_key)?, text(release)?, text(environment)?);
        let defaults = if otlp {
            DestinationConfig::OTLP
        } else {
            DestinationConfig::SENTRY
        };
        let config = DestinationConfig {
            timeout: timeout.filter(|span| !span.is_zero()).unwrap_or(defaults.timeout),
            batch: BatchConfig {
                max_bytes: MAX_BATCH_BYTES,
                ..defaults.batch
            },
            concurrency: ConcurrencyConfig {
                max: defaults.concurrency.max.min(MAX_CONCURRENCY),
                ..defaults.concurrency
            },
            ..defaults
        };
        let id = self.engine.open_destination(now, config).ok()?;
        let filled = |text: String| (!text.is_empty()).then_some(text);
        self.places.push(Place {
            id,
            public_key,
            release: filled(release),
            environment: filled(environment),
            origins: Vec::new(),
        });
        Some(self.places.len() as u32 - 1)
    }

    /// Names a resource and a scope of a destination, encoded in the input window with these lengths, by a number. The
    /// same two are to be named once. `None` when the table is full: such records go as whole requests.
    pub fn origin(&mut self, destination: u32, resource: usize, scope: usize) -> Option<u8> {
        let place = self.places.get_mut(destination as usize)?;
        let number = place.origins.len();
        if number > MAX_ORIGINS || resource.max(scope) > MAX_KEPT_BYTES {
            return None;
        }
        let (resource, rest) = self.input.split_at_checked(resource)?;
        let scope = rest.get(..scope)?;
        place.origins.push((resource.to_vec(), scope.to_vec()));
        Some(number as u8)
    }

    /// Whether a record that counts `quantity` may come, before it is encoded. A refusal is counted here.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &mut self,
        now: Instant,
        destination: u32,
        category: Category,
        quantity: u32,
        urgent: bool,
    ) -> Result<(), DropReason> {
        let Some(id) = self.id(destination) else {
            return Err(DropReason::Closed);
        };
        let priority = if urgent {
            Priority::Critical
        } else {
            category.priority()
        };
        let gate = self.engine.gate(now, id);
        let admitted = gate.admits(CategorySet::of(category), priority).and_then(|()| {
            match self.allowance.permits(now, priority) {
                true => Ok(()),
                false => Err(DropReason::BufferOverflow),
            }
        });
        if let Err(reason) = admitted {
            self.engine
                .on_losses(now, Some(id), category, reason, quantity.into());
        }
        admitted
    }

    /// Whether the root span of a trace is kept at `rate` (0 to 1), with the engine's downsample factor on top. A root that
    /// is not is counted here, as one span.
    ///
    /// # Errors
    /// Why not.
    pub fn sample(
        &mut self,
        now: Instant,
        destination: u32,
        trace: u64,
        rate: f64,
    ) -> Result<(), DropReason> {
        let Some(id) = self.id(destination) else {
            return Err(DropReason::Closed);
        };
        // NaN is no rate, and keeps nothing.
        let rate = if rate > 0.0 { rate.min(1.0) } else { 0.0 };
        let kept = (rate * (1u64 << 56) as f64) as u64;
        let threshold = (1u64 << 56) - kept;
        let randomness = sampling::randomness(TraceKey(trace));
        let reason = if randomness < threshold {
            DropReason::SampleRate
        } else if randomness < self.engine.gate(now, id).threshold(threshold) {
            DropReason::Backpressure
        } else {
            return Ok(());
        };
        self.engine.on_losses(now, Some(id), Category::Span, reason, 1);
        Err(reason)
    }

    /// Records the first `length` bytes of the input window, which took `spent` to make.
    pub fn record(
        &mut self,
        now: Instant,
        spent: Duration,
        destination: u32,
        what: What,
        length: usize,
    ) -> Outcome {
        let Some(id) = self.id(destination) else {
            return Outcome::Dropped(DropReason::Closed);
        };
        let mut header = Header::new(id, what.form, what.category, 1)
            .in_trace(TraceKey(what.trace))
            .from_origin(what.origin);
        if what.log_bytes > 0 && what.form == Form::Element {
            header = header.also(Category::LogByte, what.log_bytes);
        }
        if what.urgent {
            header.priority = Priority::Critical;
        }
        self.push(now, spent, header, length)
    }

    /// Records the whole Sentry envelope that is the first `length` bytes of the input window; its items are read for
    /// what they count. One that is malformed is counted as one `default` item, `invalid`.
    pub fn record_envelope(
        &mut self,
        now: Instant,
        spent: Duration,
        destination: u32,
        length: usize,
    ) -> Outcome {
        let Some(id) = self.id(destination) else {
            return Outcome::Dropped(DropReason::Closed);
        };
        let header = self.input.get(..length).map(envelope::describe);
        match header.and_then(|summary| summary.ok()?.record_header(id)) {
            Some(header) => self.push(now, spent, header, length),
            None => {
                self.engine
                    .on_losses(now, Some(id), Category::Default, DropReason::Invalid, 1);
                Outcome::Dropped(DropReason::Invalid)
            }
        }
    }

    fn push(&mut self, now: Instant, spent: Duration, header: Header, length: usize) -> Outcome {
        self.allowance.take(spent);
        let payload = self.input.get(..length).unwrap_or_default();
        self.engine.record(now, &Item { header, payload })
    }

    /// Counts what JavaScript recorded and lost before it came here.
    pub fn lost(
        &mut self,
        now: Instant,
        destination: u32,
        category: Category,
        reason: DropReason,
        quantity: u32,
    ) {
        let id = self.id(destination);
        self.engine.on_losses(now, id, category, reason, quantity.into());
    }

    /// The next thing to do. `wall` is the wall clock.
    pub fn poll(&mut self, now: Instant, wall: UnixTime) -> Next {
        loop {
            let request = match self.engine.poll(now) {
                Action::Send(request) => request,
                // What a notice tells, the status tells too.
                Action::Notice(_) => continue,
                Action::Idle(_) => return Next::Idle,
                Action::Closed => return Next::Closed,
            };
            let id = request.id();
            let found = self
                .places
                .iter()
                .position(|place| place.id == request.destination());
            let (index, place) = match found.and_then(|index| Some((index, self.places.get(index)?))) {
                Some(found) => found,
                None => continue,
            };
            let mut others = [Frame::default(); MAX_ORIGINS];
            for (other, (resource, scope)) in others.iter_mut().zip(place.origins.iter().skip(1)) {
                *other = Frame {
                    resource,
                    scope,
                    ..Frame::default()
                };
            }
            let (resource, scope) = place
                .origins
                .first()
                .map_or((&[][..], &[][..]), |(resource, scope)| (resource, scope));
            let context = BodyContext {
                sent_at: wall,
                sdk_name: SDK.0,
                sdk_version: SDK.1,
                public_key: &place.public_key,
                release: place.release.as_deref(),
                environment: place.environment.as_deref(),
                resource,
                scope,
                origins: &others,
            };
            let mut out = Window::new(&mut self.output);
            let body = match request.write_body(&context, &mut out) {
                Ok(()) => out.written().ok_or(Failure::RequestTooLarge),
                Err(_) => Err(Failure::InvalidRequest),
            };
            self.output_length = match body {
                Ok(length) => length,
                Err(failure) => {
                    let _ = self.engine.on_failure(now, id, failure);
                    continue;
                }
            };
            self.sending = Sending {
                id: id.bits(),
                destination: index as u32,
                signal: match request.kind().signal() {
                    None => 0,
                    Some(Signal::Traces) => 1,
                    Some(Signal::Logs) => 2,
                    Some(Signal::Metrics) => 3,
                },
                timeout: request.timeout(),
            };
            return Next::Send;
        }
    }

    /// What the last [`Next::Send`] was about.
    #[must_use]
    pub const fn sending(&self) -> Sending {
        self.sending
    }

    /// The answer to an attempt; its texts lie in the input window.
    pub fn respond(&mut self, now: Instant, wall: UnixTime, id: u64, answer: Answer) {
        let mut rest = &self.input[..];
        let mut next = |length: Option<usize>| {
            let (text, after) = rest.split_at_checked(length?)?;
            rest = after;
            Some(text)
        };
        let retry_after = next(answer.retry_after);
        let rate_limits = next(answer.rate_limits);
        let content_type = next(answer.content_type);
        let body = next(Some(answer.body)).unwrap_or_default();
        let response = Response {
            status: answer.status,
            retry_after,
            rate_limits: rate_limits.as_slice(),
            content_type,
            body: body.get(..MAX_ANSWER_BYTES).unwrap_or(body),
            grpc: None,
            wall,
        };
        let _ = self.engine.on_response(now, RequestId::from_bits(id), &response);
    }

    /// An attempt got no answer.
    pub fn fail(&mut self, now: Instant, id: u64, failure: Failure) {
        let _ = self.engine.on_failure(now, RequestId::from_bits(id), failure);
    }

    /// True while something keeps records from being delivered: an outage, not a limit of the server.
    pub fn is_troubled(&self) -> bool {
        let states = self
            .places
            .iter()
            .filter_map(|place| self.engine.destination(place.id));
        let mut troubled = states.map(|state| {
            state.parked > 0 || state.paused_for.is_some() || state.breaker != BreakerState::Closed
        });
        troubled.any(|troubled| troubled)
    }

    /// Begins to go through the records that are held, in flight ones included.
    pub fn begin_held(&mut self) {
        self.walk = Walk::default();
    }

    /// Writes the next record that is held into the output window, for a store: its header, then its payload, which needs
    /// nothing else to be understood. [`Host::sending`] says whose it is. False at the end. Nothing else is to be called
    /// in between.
    pub fn next_held(&mut self) -> bool {
        while let Some((mut header, payload)) = self.engine.next_record(&mut self.walk) {
            let found = self
                .places
                .iter()
                .position(|place| place.id == header.destination);
            let Some((index, place)) = found.and_then(|index| Some((index, self.places.get(index)?))) else {
                continue;
            };
            let mut out = Window::new(&mut self.output);
            let written = store::write(&mut header, payload, &place.origins, &mut out);
            if let (Ok(()), Some(length)) = (written, out.written()) {
                self.output_length = length;
                self.sending.destination = index as u32;
                return true;
            }
        }
        self.output_length = 0;
        false
    }

    /// Records what [`Host::next_held`] wrote, in this engine or an earlier one: the first `length` bytes of the input
    /// window. What is no such record is counted as one `default` item, `invalid`.
    pub fn restore(&mut self, now: Instant, destination: u32, length: usize) -> Outcome {
        let Some(id) = self.id(destination) else {
            return Outcome::Dropped(DropReason::Closed);
        };
        let stored = self.input.get(..length).and_then(store::read);
        match stored {
            Some((header, payload)) => {
                let header = Header {
                    destination: id,
                    ..header
                };
                self.engine.record(now, &Item { header, payload })
            }
            None => {
                self.engine
                    .on_losses(now, Some(id), Category::Default, DropReason::Invalid, 1);
                Outcome::Dropped(DropReason::Invalid)
            }
        }
    }

    /// When to poll next if nothing happens before.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.engine.next_deadline(now).map(|deadline| deadline.at)
    }

    /// Starts to send everything recorded before now.
    pub fn flush(&mut self, now: Instant) -> FlushId {
        self.engine.flush(now)
    }

    /// True when everything before that flush is settled.
    #[must_use]
    pub const fn is_flushed(&self, flush: FlushId) -> bool {
        self.engine.is_flushed(flush)
    }

    /// Accepts nothing more and ends at `until`.
    pub fn close(&mut self, now: Instant, until: Instant) {
        self.engine.close(now, until);
    }

    /// Writes the status as JSON into the output window.
    pub fn status(&mut self) {
        let places = self.places.iter().map(|place| place.id);
        let mut out = Window::new(&mut self.output);
        status::write(&self.engine, places, &mut out);
        // The longest status is shorter than the shortest window.
        self.output_length = out.written().unwrap_or_default();
    }

    fn id(&self, destination: u32) -> Option<DestinationId> {
        self.places.get(destination as usize).map(|place| place.id)
    }
}

#[cfg(test)]
mod tests;
