//! The engine: every input and output, with any header, payload, answer, time and settings that pass validation.

use core::cell::UnsafeCell;

use surgetank_core::engine::{Engine, HostProbe};
use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason, Item};
use surgetank_core::notice::Action;
use surgetank_core::record::decode;
use surgetank_core::request::{BodyContext, RequestId};
use surgetank_core::storage::FixedStorage;
use surgetank_core::time::{Instant, UnixTime};
use surgetank_core::wire::otlp::framing::Frame;
use surgetank_core::wire::rate_limits::Scope;

use crate::answers::{failure, with_response};
use crate::input::Tape;
use crate::output::{Sum, keep};
use crate::settings::{self, span};

type Small = Engine<FixedStorage<64, 4, 8, 16>>;

/// The one engine.
struct Cell(UnsafeCell<Option<Small>>);

// SAFETY: the target has one thread (wasm32 without the atomics feature), and no function here calls another that
// uses the engine.
unsafe impl Sync for Cell {}

static ENGINE: Cell = Cell(UnsafeCell::new(None));

/// Runs `use_it` on the engine, if there is one, at the time the tape says.
fn with_engine(use_it: impl FnOnce(&mut Small, Instant, &mut Tape)) {
    // SAFETY: see `Cell`; the reference ends with this call.
    if let Some(engine) = unsafe { &mut *ENGINE.0.get() } {
        let mut tape = Tape::new();
        let now = Instant::from_micros(tape.long());
        use_it(engine, now, &mut tape);
    }
}

/// Makes the engine.
#[unsafe(no_mangle)]
extern "C" fn engine_new() {
    let mut tape = Tape::new();
    let config = settings::engine(&mut tape);
    let engine = Engine::new(
        config,
        FixedStorage::new(),
        tape.long(),
        Instant::from_micros(tape.long()),
    );
    // SAFETY: see `Cell`.
    unsafe { *ENGINE.0.get() = engine.ok() };
}

/// Opens a destination of either protocol.
#[unsafe(no_mangle)]
extern "C" fn engine_open_destination() {
    with_engine(|engine, now, tape| {
        keep(engine.open_destination(now, settings::destination(tape)));
    });
}

/// Records any bytes under any header.
#[unsafe(no_mangle)]
extern "C" fn engine_record() {
    with_engine(|engine, now, tape| {
        if let Some(header) = decode(&tape.array()) {
            keep(engine.record(
                now,
                &Item {
                    header,
                    payload: tape.bytes(),
                },
            ));
        }
    });
}

/// Polls once; a request's body is written.
#[unsafe(no_mangle)]
extern "C" fn engine_poll() {
    with_engine(|engine, now, tape| match engine.poll(now) {
        Action::Send(request) => {
            let _ = core::hint::black_box(request.quantity(Category::Span));
            let origins = [
                Frame {
                    resource: tape.bytes(),
                    scope: tape.bytes(),
                    ..Frame::default()
                },
                Frame {
                    resource_schema_url: tape.text(),
                    scope_schema_url: tape.text(),
                    ..Frame::default()
                },
            ];
            let context = BodyContext {
                public_key: "key",
                release: None,
                environment: Some("test"),
                sent_at: UnixTime::from_micros(tape.long()),
                sdk_name: tape.text(),
                sdk_version: tape.text(),
                resource: tape.bytes(),
                scope: tape.bytes(),
                origins: origins.get(..usize::from(tape.byte())).unwrap_or(&origins),
            };
            let mut body = Sum::default();
            keep(request.write_body(&context, &mut body));
            keep((
                body.value(),
                request.id(),
                request.kind(),
                request.attempt(),
                request.timeout(),
            ));
            request.payloads().for_each(keep);
        }
        other => keep(other),
    });
}

/// Settles any request with any answer.
#[unsafe(no_mangle)]
extern "C" fn engine_on_response() {
    with_engine(|engine, now, tape| {
        let id = RequestId::from_bits(tape.long());
        with_response(tape, |response| keep(engine.on_response(now, id, response)));
    });
}

/// Settles any request without an answer.
#[unsafe(no_mangle)]
extern "C" fn engine_on_failure() {
    with_engine(|engine, now, tape| {
        keep(engine.on_failure(now, RequestId::from_bits(tape.long()), failure(tape)));
    });
}

/// Losses and the host's health.
#[unsafe(no_mangle)]
extern "C" fn engine_on_losses_and_probe() {
    with_engine(|engine, now, tape| {
        let destination = (tape.flag()).then(|| DestinationId::from_bits(tape.word()));
        if let (Some(category), Some(reason)) = (
            Category::from_number(tape.byte()),
            DropReason::from_number(tape.byte()),
        ) {
            engine.on_losses(now, destination, category, reason, tape.long());
        }
        let memory_permille = (tape.flag()).then(|| u16::from_le_bytes(tape.array()));
        engine.on_probe(
            now,
            HostProbe {
                memory_permille,
                oldest_open_slot: span(tape),
            },
        );
    });
}

/// What another engine learned.
#[unsafe(no_mangle)]
extern "C" fn engine_learn() {
    with_engine(|engine, now, tape| {
        let destination = DestinationId::from_bits(tape.word());
        let categories = tape.flag().then(|| CategorySet::from_bits(tape.long()));
        let until = Instant::from_micros(tape.long());
        engine.on_limit(now, destination, categories, until, Scope::Project);
        engine.on_pause(now, destination, until);
    });
}

/// Flushes, and asks whether it is done.
#[unsafe(no_mangle)]
extern "C" fn engine_flush() {
    with_engine(|engine, now, _| {
        let flush = engine.flush(now);
        keep(engine.is_flushed(flush));
    });
}

/// Closes.
#[unsafe(no_mangle)]
extern "C" fn engine_close() {
    with_engine(|engine, now, tape| engine.close(now, Instant::from_micros(tape.long())));
}

/// Everything that can be asked.
#[unsafe(no_mangle)]
extern "C" fn engine_state() {
    with_engine(|engine, now, tape| {
        let destination = DestinationId::from_bits(tape.word());
        keep((
            engine.gate(now, destination),
            engine.next_deadline(now),
            engine.destination(destination),
        ));
        keep((
            engine.health(),
            engine.totals().clone(),
            engine.counters(),
            engine.factor(),
            engine.fill(),
        ));
        keep(engine.in_flight());
    });
}
