//! The instance: an engine, two windows, and where it is in its life. Every rule of the interface is here or in the
//! readers beside; nothing here is unsafe.

use surgetank_core::config::DestinationConfig;
use surgetank_core::config_error::ConfigError;
use surgetank_core::engine::{Engine, FlushId, HostProbe, OpenError, TakeOverError, Walk};
use surgetank_core::item::{Category, DestinationId, Form, Header, Item, Outcome};
use surgetank_core::notice::Action;
use surgetank_core::record::{HEADER_BYTES, decode};
use surgetank_core::request::RequestId;
use surgetank_core::storage::SliceStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_core::wire::WriteError;
use surgetank_core::wire::envelope::{describe, describe_item};
use surgetank_core::wire::otlp::count;

use crate::codes::{self, FAILURES, SIGNALS, WINDOW_EXTRA, named};
use crate::context::with_context;
use crate::error::{Code, Error, Said};
use crate::fields::Fields;
use crate::memory::{Memory, Window};
use crate::output::Out;
use crate::settings::Unknown;
use crate::{answers, settings, state, status};

type Answer<T> = Result<T, Error>;

/// What a call does: a reference to a function, so that what is around it is there once.
pub(crate) type Work<'w> = &'w mut dyn FnMut(&mut Instance) -> Answer<i64>;

/// What an instance may be asked next; `ABI.md` has the picture.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Initialized, and nothing else happened: state may be taken over.
    New,
    /// State is being taken over.
    Importing,
    Running,
    /// State is being handed over: the engine must not change. The number is that of pieces that may still come.
    Exporting(Walk, u32),
}

struct Life {
    engine: Engine<SliceStorage<'static>>,
    phase: Phase,
}

/// An instance, initialized or not.
pub(crate) struct Instance {
    life: Option<Life>,
    pub(crate) input: Window,
    pub(crate) output: Window,
    /// A call has begun and not ended: when the next one comes and this is still set, the host cut it off.
    busy: bool,
    /// Some call was cut off: nothing but the export is open for good.
    is_cut_off: bool,
    /// The last call that failed.
    last: Option<Error>,
    /// What it said in words of its own, and for a setting what is allowed.
    words: Option<(&'static str, &'static str)>,
    /// The call under way has left such words.
    has_spoken: bool,
}

impl Instance {
    pub(crate) const fn new() -> Self {
        Self {
            life: None,
            input: Window::NONE,
            output: Window::NONE,
            busy: false,
            is_cut_off: false,
            last: None,
            words: None,
            has_spoken: false,
        }
    }

    /// An error in words of its own.
    fn say(&mut self, error: Error, what: &'static str, allowed: &'static str) -> Error {
        self.words = Some((what, allowed));
        self.has_spoken = true;
        error
    }

    #[inline(never)]
    fn refuse_setting(&mut self, error: ConfigError) -> Error {
        self.say(BAD_SETTING, error.field(), error.allowed())
    }

    /// Carries out a call and remembers why it failed. After one that was cut off, only a call that is to `salvage` what can
    /// be read of the state is carried out.
    #[inline(never)]
    pub(crate) fn call(&mut self, salvage: bool, work: Work<'_>) -> i64 {
        self.is_cut_off |= self.busy;
        if self.is_cut_off && !salvage {
            return i64::from(Code::CutOff as i32);
        }
        self.busy = true;
        self.has_spoken = false;
        let answer = work(self);
        self.busy = false;
        answer.unwrap_or_else(|error| {
            self.last = Some(error);
            if !self.has_spoken {
                self.words = None;
            }
            i64::from(error.code as i32)
        })
    }

    fn take(&self, length: u32) -> Answer<&[u8]> {
        taken(&self.input, length)
    }

    /// The engine, for a call that may change it: no state is moved from now on.
    #[inline(never)]
    fn running(&mut self) -> Answer<&mut Engine<SliceStorage<'static>>> {
        let life = self.life.as_mut().ok_or(NOT_INITIALIZED)?;
        match life.phase {
            Phase::New => life.phase = Phase::Running,
            Phase::Running => {}
            Phase::Importing => return Err(const { &Said::new(Code::Order, "the import has not ended") }),
            Phase::Exporting(..) => {
                return Err(const { &Said::new(Code::Order, "the state is being exported") });
            }
        }
        Ok(&mut life.engine)
    }

    /// The engine, to look at.
    fn look(&self) -> Answer<&Engine<SliceStorage<'static>>> {
        Ok(&self.life.as_ref().ok_or(NOT_INITIALIZED)?.engine)
    }

    fn answer(&mut self, write: &mut dyn FnMut(&mut Out<'_>)) -> Answer<i64> {
        let mut out = Out::new(self.output.all());
        write(&mut out);
        out.finish()
    }

    // ---- beginning -------------------------------------------------------------------------------------------------

    pub(crate) fn init(&mut self, length: u32, now: u64, seed: u64) -> Answer<i64> {
        if self.life.is_some() {
            return Err(const { &Said::new(Code::Order, "it is initialized already") });
        }
        let (sizes, config) = settings::engine(self.take(length)?)?;
        if let Some(rule) = sizes.broken_rule() {
            return Err(self.say(BAD_SETTING, rule, ""));
        }
        config.validate().map_err(|error| self.refuse_setting(error))?;
        let memory =
            Memory::reserve(&sizes).ok_or(const { &Said::new(Code::Memory, "the memory cannot be had") })?;
        let engine = Engine::new(config, memory.storage, seed, Instant::from_micros(now))
            .map_err(|error| self.refuse_setting(error))?;
        (self.input, self.output) = (memory.input, memory.output);
        self.life = Some(Life {
            engine,
            phase: Phase::New,
        });
        Ok(0)
    }

    pub(crate) fn open(&mut self, length: u32, now: u64) -> Answer<i64> {
        let config: DestinationConfig =
            settings::destination(Fields::new(self.take(length)?), Unknown::Refuse)?;
        let opened = self
            .running()?
            .open_destination(Instant::from_micros(now), config);
        match opened {
            Ok(id) => Ok(i64::from(id.bits())),
            Err(OpenError::Config(error)) => Err(self.refuse_setting(error)),
            Err(OpenError::NoDestination(_)) => Err(const {
                &Said::new(
                    Code::Destination,
                    "every destination has records queued or in flight",
                )
            }),
        }
    }

    // ---- records ---------------------------------------------------------------------------------------------------

    pub(crate) fn record(&mut self, length: u32, now: u64) -> Answer<i64> {
        let input = taken(&self.input, length)?;
        let (header, payload) = input
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(const { &Said::malformed("a record begins with a header of 32 bytes") })?;
        let header = decode(header).ok_or(state::BAD_HEADER)?;
        self.offer(header, HEADER_BYTES, payload.len(), now)
    }

    pub(crate) fn record_whole(
        &mut self,
        destination: u32,
        form: u32,
        signal: u32,
        length: u32,
        now: u64,
    ) -> Answer<i64> {
        let destination = DestinationId::from_bits(destination);
        let payload = self.take(length)?;
        let malformed = const { &Said::malformed("the payload is not what its form says") };
        let form = u8::try_from(form).ok().and_then(Form::from_number);
        let header = match form {
            Some(Form::Envelope) => {
                let summary = describe(payload).map_err(|_| malformed)?;
                summary.record_header(destination).ok_or(malformed)?
            }
            Some(Form::Item) => describe_item(payload)
                .map_err(|_| malformed)?
                .record_header(destination),
            Some(form @ (Form::OtlpRequest | Form::OtlpJson)) => {
                let signal = named(&SIGNALS, u64::from(signal))
                    .ok_or(const { &Said::malformed("a number names no signal") })?;
                let contents = if form == Form::OtlpJson {
                    count::of_json(signal, payload).map_err(|_| malformed)?
                } else {
                    count::of_protobuf(signal, payload).map_err(|_| malformed)?
                };
                let category = match signal {
                    surgetank_core::item::Signal::Traces => Category::Span,
                    surgetank_core::item::Signal::Logs => Category::LogItem,
                    surgetank_core::item::Signal::Metrics => Category::TraceMetric,
                };
                Header::new(destination, form, category, contents.items).in_trace(contents.trace)
            }
            Some(Form::Element | Form::OtlpRecord) | None => {
                return Err(const { &Said::malformed("payloads of that form do not say what they hold") });
            }
        };
        self.offer(header, 0, length as usize, now)
    }

    /// Records `length` bytes of the input window from `start` on.
    fn offer(&mut self, header: Header, start: usize, length: usize, now: u64) -> Answer<i64> {
        self.running()?;
        let Some(life) = &mut self.life else {
            return Err(NOT_INITIALIZED);
        };
        let input = self.input.first(start.saturating_add(length)).unwrap_or_default();
        if length > self.input.size().saturating_sub(WINDOW_EXTRA as usize) {
            return Err(TOO_LONG);
        }
        let payload = input.get(start..).unwrap_or_default();
        let outcome = life
            .engine
            .record(Instant::from_micros(now), &Item { header, payload });
        Ok(match outcome {
            Outcome::Queued => 0,
            Outcome::Dropped(reason) => i64::from(reason as u8).saturating_add(1),
        })
    }

    pub(crate) fn losses(
        &mut self,
        destination: i64,
        category: u32,
        reason: u32,
        quantity: u64,
        now: u64,
    ) -> Answer<i64> {
        let (category, reason) = (state::category(category)?, state::reason(reason)?);
        let destination = u32::try_from(destination).ok().map(DestinationId::from_bits);
        self.running()?
            .on_losses(Instant::from_micros(now), destination, category, reason, quantity);
        Ok(0)
    }

    // ---- requests --------------------------------------------------------------------------------------------------

    pub(crate) fn poll(&mut self, now: u64) -> Answer<i64> {
        self.running()?;
        let Some(life) = &mut self.life else {
            return Err(NOT_INITIALIZED);
        };
        let mut out = Out::new(self.output.all());
        let what = match life.engine.poll(Instant::from_micros(now)) {
            Action::Send(request) => {
                answers::send(&request, &mut out);
                codes::poll::SEND
            }
            Action::Notice(notice) => {
                answers::notice(notice, &mut out);
                codes::poll::NOTICE
            }
            Action::Idle(deadline) => {
                answers::idle(deadline, &mut out);
                codes::poll::IDLE
            }
            Action::Closed => codes::poll::CLOSED,
        };
        out.finish()?;
        Ok(i64::from(what))
    }

    pub(crate) fn body(&mut self, request: u64, wall: u64, offset: u64, length: u32) -> Answer<i64> {
        let life = self.life.as_ref().ok_or(NOT_INITIALIZED)?;
        let request = life.engine.on_wire(RequestId::from_bits(request)).ok_or(STALE)?;
        let context = taken(&self.input, length)?;
        let output = self.output.all();
        let mut refused = None;
        let written = with_context(context, UnixTime::from_micros(wall), |context| {
            let mut out = Out::from(output, offset);
            match request.write_body(context, &mut out) {
                // A sink that is full is a piece that is complete.
                Ok(()) | Err(WriteError::Sink(_) | WriteError::Stalled) => Ok(out.written()),
                Err(WriteError::Invalid(what)) => {
                    refused = Some(what);
                    Ok(0)
                }
            }
        });
        match refused {
            Some(what) => Err(self.say(BAD_RECORD, what, "")),
            None => written,
        }
    }

    pub(crate) fn response(&mut self, request: u64, length: u32, now: u64) -> Answer<i64> {
        self.running()?;
        let Some(life) = &mut self.life else {
            return Err(NOT_INITIALIZED);
        };
        let input = taken(&self.input, length)?;
        let (id, now) = (RequestId::from_bits(request), Instant::from_micros(now));
        let ack = answers::with_response(input, |response| life.engine.on_response(now, id, response))?;
        answers::ack(ack, &mut Out::new(self.output.all()))
    }

    pub(crate) fn failure(&mut self, request: u64, failure: u32, now: u64) -> Answer<i64> {
        let failure = named(&FAILURES, u64::from(failure))
            .ok_or(const { &Said::malformed("a number names no failure") })?;
        let (id, now) = (RequestId::from_bits(request), Instant::from_micros(now));
        let ack = self.running()?.on_failure(now, id, failure);
        answers::ack(ack, &mut Out::new(self.output.all()))
    }

    pub(crate) fn probe(&mut self, memory_permille: i32, open_slot: u64, now: u64) -> Answer<i64> {
        let probe = HostProbe {
            memory_permille: u32::try_from(memory_permille)
                .ok()
                .map(|permille| permille.try_into().unwrap_or(u16::MAX)),
            oldest_open_slot: Duration::from_micros(open_slot),
        };
        self.running()?.on_probe(Instant::from_micros(now), probe);
        Ok(0)
    }

    pub(crate) fn flush(&mut self, now: u64) -> Answer<i64> {
        Ok(self.running()?.flush(Instant::from_micros(now)).bits() as i64)
    }

    pub(crate) fn close(&mut self, until: u64, now: u64) -> Answer<i64> {
        self.running()?
            .close(Instant::from_micros(now), Instant::from_micros(until));
        Ok(0)
    }

    // ---- looking ---------------------------------------------------------------------------------------------------

    pub(crate) fn is_flushed(&self, flush: u64) -> Answer<i64> {
        Ok(i64::from(self.look()?.is_flushed(FlushId::from_bits(flush))))
    }

    pub(crate) fn gate(&mut self, destination: u32, now: u64) -> Answer<i64> {
        let id = DestinationId::from_bits(destination);
        Ok(self.running()?.gate(Instant::from_micros(now), id).bits() as i64)
    }

    pub(crate) fn health(&self) -> Answer<i64> {
        Ok(i64::from(answers::health(self.look()?.health())))
    }

    pub(crate) fn status(&mut self) -> Answer<i64> {
        let engine = &self.life.as_ref().ok_or(NOT_INITIALIZED)?.engine;
        let mut out = Out::new(self.output.all());
        status::write(&engine.status(), &mut out);
        out.finish()
    }

    pub(crate) fn figures(&mut self) -> Answer<i64> {
        let engine = self.look()?;
        let (fill, counters) = (engine.fill(), engine.counters());
        let (in_flight, factor) = (engine.in_flight() as u32, u32::from(engine.factor()));
        self.answer(&mut |out| {
            out.word(fill.used_blocks)
                .word(fill.capacity_blocks)
                .word(in_flight)
                .word(factor)
                .word(counters.stale_answers)
                .word(counters.stalls)
                .word(counters.clock_steps_back)
                .word(counters.notices_lost);
        })
    }

    pub(crate) fn totals(&mut self) -> Answer<i64> {
        let engine = &self.life.as_ref().ok_or(NOT_INITIALIZED)?.engine;
        let mut out = Out::new(self.output.all());
        answers::totals(engine.totals(), &mut out);
        out.finish()
    }

    pub(crate) fn held(&mut self) -> Answer<i64> {
        let engine = &self.life.as_ref().ok_or(NOT_INITIALIZED)?.engine;
        let mut out = Out::new(self.output.all());
        for (_, quantity) in engine.held() {
            out.long(quantity);
        }
        out.finish()
    }

    pub(crate) fn destination(&mut self, destination: u32) -> Answer<i64> {
        let status = self.look()?.destination(DestinationId::from_bits(destination));
        let status = status.ok_or(const { &Said::new(Code::Destination, "no destination has that id") })?;
        self.answer(&mut |out| answers::destination(&status, out))
    }

    pub(crate) fn explain(&mut self) -> Answer<i64> {
        let plain = self.last.map_or("nothing failed", |last| last.what);
        let (what, allowed) = self.words.unwrap_or((plain, ""));
        self.answer(&mut |out| {
            out.bytes(what.as_bytes());
            if !allowed.is_empty() {
                out.bytes(b" must be ").bytes(allowed.as_bytes());
            }
        })
    }

    // ---- handing over ----------------------------------------------------------------------------------------------

    pub(crate) fn export(&mut self) -> Answer<i64> {
        let life = self.life.as_mut().ok_or(NOT_INITIALIZED)?;
        let (mut walk, left) = match life.phase {
            Phase::Exporting(walk, left) => (walk, left),
            // Each record takes a block. A cut-off call may have left a list that runs in a circle.
            _ => {
                let records = life.engine.fill().capacity_blocks;
                (Walk::default(), records.saturating_add(MOST_OTHER_PIECES))
            }
        };
        let piece = if left == 0 {
            None
        } else {
            life.engine.next_piece(&mut walk)
        };
        life.phase = Phase::Exporting(walk, left.saturating_sub(1));
        let mut out = Out::new(self.output.all());
        if let Some(piece) = piece {
            state::write(piece, &mut out);
        }
        out.finish()
    }

    pub(crate) fn export_cancel(&mut self) -> Answer<i64> {
        let life = self.life.as_mut().ok_or(NOT_INITIALIZED)?;
        match life.phase {
            Phase::Exporting(..) => {
                life.phase = Phase::Running;
                Ok(0)
            }
            _ => Err(const { &Said::new(Code::Order, "nothing is being exported") }),
        }
    }

    pub(crate) fn import(&mut self, length: u32, now: u64) -> Answer<i64> {
        let piece = state::read(taken(&self.input, length)?)?;
        let life = self.life.as_mut().ok_or(NOT_INITIALIZED)?;
        match life.phase {
            Phase::New | Phase::Importing => life.phase = Phase::Importing,
            Phase::Running | Phase::Exporting(..) => {
                return Err(const { &Said::new(Code::Order, "state goes into a new instance only") });
            }
        }
        match life.engine.take_over(Instant::from_micros(now), &piece) {
            Ok(()) => Ok(0),
            Err(TakeOverError::Dropped(reason)) => Err(self.say(DROPPED, reason.as_str(), "")),
            Err(TakeOverError::Config(error)) => Err(self.refuse_setting(error)),
            Err(TakeOverError::NoPlace) => Err(const {
                &Said::new(
                    Code::Destination,
                    "the destination's place is taken or does not exist",
                )
            }),
            Err(TakeOverError::UnknownDestination) => {
                Err(const { &Said::new(Code::Destination, "the destination is not open") })
            }
        }
    }

    pub(crate) fn import_end(&mut self, now: u64) -> Answer<i64> {
        let life = self.life.as_mut().ok_or(NOT_INITIALIZED)?;
        if !matches!(life.phase, Phase::Importing) {
            return Err(const { &Said::new(Code::Order, "nothing is being imported") });
        }
        life.phase = Phase::Running;
        let missing = life.engine.complete(Instant::from_micros(now));
        Ok(i64::try_from(missing).unwrap_or(i64::MAX))
    }
}

/// More pieces than there are beside records: one of the whole, sums and reasons, destinations, limits, losses.
const MOST_OTHER_PIECES: u32 = 1 + 40 + 64 + 255 + 255 * 41 + 65_536;

const BAD_SETTING: Error = &Said::new(Code::Setting, "a setting is out of range");
const BAD_RECORD: Error = &Said::new(Code::Record, "a record is not what its header says");
const DROPPED: Error = &Said::new(Code::Dropped, "the record is dropped");
const NOT_INITIALIZED: Error = &Said::new(Code::Order, "it is not initialized");
const TOO_LONG: Error = &Said::new(Code::TooLong, "the input is longer than the window allows");
const STALE: Error = &Said::new(Code::Stale, "the host does not have that request");

fn taken(input: &Window, length: u32) -> Answer<&[u8]> {
    input.first(length as usize).ok_or(TOO_LONG)
}
