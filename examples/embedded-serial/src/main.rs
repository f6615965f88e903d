//! A sensor without a network: a timer's interrupt and the main loop record, the engine decides, and what is to be sent
//! leaves over a UART to `surgetank serial`, the gateway. The README beside it says how to run it in QEMU.
//!
//! ```text
//!  SysTick: a measurement --.                                          .-> UART 0 =====> gateway -> Sentry
//!  main loop: an error -----+-> [ INTAKE ] -text-> [ Engine ] -> [ Link ]      <===== answers --'
//! ```
//!
//! No allocator, no operating system. All memory is in statics and on one stack, whose depth the console tells.
#![no_std]
#![no_main]

mod board;
mod console;
mod sensor;

use core::mem::MaybeUninit;

use cortex_m_rt::entry;
use embedded_io::{Read, ReadReady};
use surgetank_core::concurrency::ConcurrencyConfig;
use surgetank_core::config::{BatchConfig, Config, DestinationConfig};
use surgetank_core::destination::Destination;
use surgetank_core::engine::Engine;
use surgetank_core::intake::{Budget, Consumer};
use surgetank_core::item::{DestinationId, DropReason, Item};
use surgetank_core::ledger::Loss;
use surgetank_core::notice::Action;
use surgetank_core::queue::Block;
use surgetank_core::request::{BodyContext, RequestSlot};
use surgetank_core::response::Failure;
use surgetank_core::storage::SliceStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_core::wire::WriteError;
use surgetank_serial::link::{Event, Link};

use sensor::{INTAKE, Record};

/// Blocks of 256 bytes for what waits to be delivered: 4 KiB.
const BLOCKS: usize = 16;
/// One body is on the line at a time; another may wait for its next attempt.
const REQUESTS: usize = 2;
/// Pairs of category and reason whose losses are told to Sentry.
const LOSSES: usize = 8;
/// Bytes of the longest answer that is taken.
const ROOM: usize = 512;

type Storage = SliceStorage<'static>;

/// Bytes of the engine with all its tables.
const ENGINE_BYTES: usize = size_of::<Engine<Storage>>()
    + size_of::<[Block; BLOCKS]>()
    + size_of::<[Destination; 1]>()
    + size_of::<[RequestSlot; REQUESTS]>()
    + size_of::<[Loss; LOSSES]>();
/// With 4 KiB of queue; a program that grows beyond it does not compile.
const _: () = assert!(ENGINE_BYTES <= 8 * 1024);

/// How long a record is worth delivering, and a line worth waiting for.
const HOUR: Duration = Duration::from_secs(3600);

const CONFIG: Config = Config {
    max_age: HOUR,
    ..Config::DEFAULT
};

const SENTRY: DestinationConfig = DestinationConfig {
    // The cable may be out. The gateway has the server's time-out.
    timeout: HOUR,
    batch: BatchConfig {
        max_delay: Duration::from_secs(2),
        max_records: 32,
        max_bytes: 1024,
    },
    concurrency: ConcurrencyConfig {
        initial: 1,
        max: 1,
        ..ConcurrencyConfig::SENTRY
    },
    ..DestinationConfig::SENTRY
};

const CONTEXT: BodyContext<'_> = BodyContext {
    sent_at: UnixTime::from_micros(0),
    sdk_name: "surgetank.embedded-serial",
    sdk_version: env!("CARGO_PKG_VERSION"),
    public_key: "",
    release: None,
    environment: None,
    resource: &[],
    scope: &[],
    origins: &[],
};

#[entry]
fn main() -> ! {
    static mut TABLE: [Block; BLOCKS] = [const { Block::EMPTY }; BLOCKS];
    // Values that are made when the program begins take no flash.
    static mut DESTINATIONS: MaybeUninit<[Destination; 1]> = MaybeUninit::uninit();
    static mut SLOTS: MaybeUninit<[RequestSlot; REQUESTS]> = MaybeUninit::uninit();
    static mut OWED: MaybeUninit<[Loss; LOSSES]> = MaybeUninit::uninit();
    static mut ENGINE: MaybeUninit<Engine<Storage>> = MaybeUninit::uninit();
    static mut LINK: MaybeUninit<Link<ROOM>> = MaybeUninit::uninit();

    let storage = SliceStorage::new(
        TABLE,
        DESTINATIONS.write([const { Destination::EMPTY }]),
        SLOTS.write([RequestSlot::EMPTY; REQUESTS]),
        OWED.write([Loss::EMPTY; LOSSES]),
    );
    let link = LINK.write(Link::new());
    let (Some((mut line, mut console)), Some((engine, destination)), Some(mut records)) =
        (board::start(), begin(ENGINE, storage), INTAKE.consumer())
    else {
        stop()
    };
    let mut errors = 0;

    loop {
        let now = board::instant(board::ticks());
        hear(engine, link, &mut line, now);
        take_in(engine, link, &mut records, destination, now);
        decide(engine, link, now);
        INTAKE.gate(0).publish(engine.gate(now, destination));
        say(engine, link, &mut line, now);
        if let Some(command) = console.typed() {
            console::obey(command, &mut errors, engine, link, &mut console);
        }
        // The next tick, or a byte.
        cortex_m::asm::wfi();
    }
}

/// Makes the engine. Apart from `main`, whose part of the stack is there for ever.
#[inline(never)]
fn begin(
    place: &'static mut MaybeUninit<Engine<Storage>>,
    storage: Storage,
) -> Option<(&'static mut Engine<Storage>, DestinationId)> {
    // Jitter of pauses; devices that are not to do the same at once take it from their serial number.
    const SEED: u64 = 1;
    let engine = place.write(Engine::new(CONFIG, storage, SEED, Instant::ORIGIN).ok()?);
    let destination = engine.open_destination(Instant::ORIGIN, SENTRY).ok()?;
    Some((engine, destination))
}

/// What came from the gateway.
#[inline(never)]
fn hear(engine: &mut Engine<Storage>, link: &mut Link<ROOM>, line: &mut board::Line, now: Instant) {
    let mut buffer = [0; 32];
    while let Ok(true) = line.read_ready() {
        // It waits for the first byte only, and that is there.
        let count = line.read(&mut buffer).unwrap_or(0);
        for byte in buffer.iter().take(count) {
            match link.feed(now, *byte) {
                Some(event @ Event::Answer { .. }) => {
                    event.with_response(|request, response| {
                        let _ = engine.on_response(now, request, response);
                    });
                }
                Some(Event::Failure { request, failure }) => {
                    let _ = engine.on_failure(now, request, failure);
                }
                // A gateway of another version: somebody has to come and look, and the records wait.
                Some(Event::Welcome | Event::Refused(_)) | None => {}
            }
        }
    }
}

/// Records, from the intake into the engine as text, once the time is known; and what the intake refused.
#[inline(never)]
fn take_in(
    engine: &mut Engine<Storage>,
    link: &Link<ROOM>,
    records: &mut Consumer<'_>,
    destination: DestinationId,
    now: Instant,
) {
    if let Some(wall) = link.wall(now) {
        records.drain(Budget::ALL, |item| {
            let category = item.header.count.category;
            let mut buffer = [0; 320];
            let written = Record::read(category, item.payload).and_then(|record| {
                let ago = now.since(board::instant(record.ticks)).as_micros();
                let at = UnixTime::from_micros(wall.as_micros().saturating_sub(ago));
                record.write(destination, link.session(), at, &mut buffer).ok()
            });
            match written {
                Some((header, payload)) => {
                    // What is dropped is counted there.
                    let _ = engine.record(now, &Item { header, payload });
                }
                None => engine.on_losses(now, Some(destination), category, DropReason::InternalSdkError, 1),
            }
        });
    }
    records.take_losses(|_, category, reason, quantity| {
        engine.on_losses(now, Some(destination), category, reason, quantity);
    });
}

/// What the engine wants to be done.
#[inline(never)]
fn decide(engine: &mut Engine<Storage>, link: &mut Link<ROOM>, now: Instant) {
    loop {
        match engine.poll(now) {
            Action::Send(request) => link.begin(&request),
            Action::Notice(_) => {}
            Action::Idle(_) | Action::Closed => return,
        }
    }
}

/// What is to be said to the gateway.
#[inline(never)]
fn say(engine: &mut Engine<Storage>, link: &mut Link<ROOM>, line: &mut board::Line, now: Instant) {
    let request = link.request();
    let body = request.and_then(|id| engine.on_wire(id));
    let said = link.advance(now, body.as_ref(), &CONTEXT, line);
    if let (Err(WriteError::Invalid(_)), Some(request)) = (said, request) {
        link.give_up();
        let _ = engine.on_failure(now, request, Failure::InvalidRequest);
    }
}

/// There is nothing to be done: a constant of this program is wrong.
fn stop() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}
