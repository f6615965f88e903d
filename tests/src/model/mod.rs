//! The engine against a naive model of it: plain maps, no blocks, no lists, everything searched from end to end.
//!
//! [`play`] carries out a sequence of operations on both. Where the promises leave no choice (what is let in, what an
//! answer does, what is counted, when a flush or a close is over) the model says what must happen. Where the engine may
//! choose (which destination and lane is next, how long a jittered pause is, how many requests are in flight) the
//! model checks that its choice is allowed. After every operation, for every category: recorded = delivered + dropped
//! + queued, the tables hold exactly the records that the model holds, and each block is accounted for.
//!
//! The sums alone tell which record left and why: each counts a power of two that no other living record of its
//! category has.
//!
//! At the end every server works again, and the engine must get rid of everything by its own deadlines alone.

mod admission;
mod game;
mod op;
mod polling;
mod record;
mod settling;

use surgetank_core::config::{BatchConfig, Config, DestinationConfig, Protocol, WhenFull};
use surgetank_core::engine::{Engine, HostProbe, OpenError};
use surgetank_core::item::DropReason;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant};

use game::{Fault, Game, Server, Sums, ensure};
pub use op::Code;
use op::{Answer, Op};
use polling::Said;

/// Places for requests: fewer than could be in flight, so that they run out.
const REQUESTS: usize = 6;

const DESTINATIONS: usize = 3;

/// Rounds of answering everything after which an engine is taken for one that keeps something.
const MAX_ROUNDS: usize = 400;

/// Plays `settings`, then `operations`, on the engine and its model.
///
/// # Panics
/// When the engine does something that it must not do; the message has every operation up to that one.
pub fn play(settings: Code, operations: &[Code]) {
    let config = config_of(settings);
    let storage = HeapStorage::new((20 + usize::from(settings[3] % 45)) * 256, DESTINATIONS, REQUESTS);
    let seed = u64::from_le_bytes(settings);
    let engine = Engine::new(config, storage, seed, Instant::ORIGIN).expect("valid settings");
    let mut game = Game::new(config, engine);
    let mut played = Vec::new();
    let operations = operations.iter().map(|code| Op::of(*code));
    for op in std::iter::once(Op::Open(Protocol::Sentry)).chain(operations) {
        played.push(op.clone());
        if let Err(fault) = step(&mut game, op, settings) {
            fail(&fault, &game, &played);
        }
        if game.is_blind() {
            return;
        }
    }
    if let Err(fault) = wind_up(&mut game) {
        fail(&fault, &game, &played);
    }
}

fn fail(fault: &str, game: &Game, played: &[Op]) -> ! {
    let mut text = String::new();
    for op in played {
        text.push_str(&format!("  {op:?}\n"));
    }
    let Config {
        when_full,
        reserve_permille,
        max_age,
        ..
    } = game.config;
    panic!(
        "{fault}\nat {} us, after\n{text}with {when_full:?}, {reserve_permille} permille reserved, {max_age:?}",
        game.now
    );
}

fn config_of(settings: Code) -> Config {
    let [a, b, c, ..] = settings;
    Config {
        when_full: if a % 4 == 0 {
            WhenFull::RefuseNewest
        } else {
            WhenFull::DropOldest
        },
        reserve_permille: u16::from(b % 4) * 100,
        max_age: Duration::from_secs(if c % 2 == 0 { 600 } else { 20 }),
        ..Config::DEFAULT
    }
}

fn destination_of(settings: Code, protocol: Protocol, opened: usize) -> DestinationConfig {
    let [.., a, b, c, d] = settings;
    let base = match protocol {
        Protocol::Sentry => DestinationConfig::SENTRY,
        Protocol::Otlp => DestinationConfig::OTLP,
    };
    DestinationConfig {
        share_permille: if (usize::from(a) + opened).is_multiple_of(3) {
            400
        } else {
            1000
        },
        client_reports: base.client_reports && b % 5 != 0,
        batch: BatchConfig {
            max_records: if c % 2 == 0 { 4 } else { 512 },
            max_bytes: if d % 3 == 0 { 600 } else { 1024 * 1024 },
            ..BatchConfig::DEFAULT
        },
        ..base
    }
}

fn step(game: &mut Game, op: Op, settings: Code) -> Result<(), Fault> {
    match op {
        Op::Record {
            destination,
            kind,
            bytes,
            trace,
            priority,
        } => game.record(destination, kind, bytes, trace, priority)?,
        Op::Poll => game.poll().map(|_| ())?,
        Op::PollUntilIdle => game.poll_until_idle().map(|_| ())?,
        Op::Answer { request, answer } => game.answer(request, &answer)?,
        Op::Fail { request, failure } => game.fail(request, failure)?,
        Op::AnswerStale { request } => game.answer_stale(request)?,
        Op::Losses {
            destination,
            category,
            reason,
            quantity,
        } => lose(game, destination, category, reason, quantity)?,
        Op::Flush => {
            let id = game.engine.flush(game.instant());
            let held = game.live.keys().copied().collect();
            game.flushes.push((id, held));
            game.flush_reports = game.now + 1_000_000;
        }
        Op::Close { within } => {
            let until = game.now + within;
            game.engine.close(game.instant(), Instant::from_micros(until));
            game.closing = Some(game.closing.map_or(until, |earlier| earlier.min(until)));
        }
        Op::Pass(span) => game.now += span,
        Op::PassToDeadline => {
            if let Said::Idle(Some(at)) = game.poll_until_idle()? {
                game.now = game.now.max(at);
            }
        }
        Op::StepBack(span) => {
            let earlier = Instant::from_micros(game.now.saturating_sub(span));
            let before = game.engine.counters().clock_steps_back;
            let deadline = game.engine.next_deadline(game.instant());
            let counted = game.engine.counters().clock_steps_back;
            ensure!(
                counted == before,
                "a clock that stands still is taken for one that went back"
            );
            let stepped = game.engine.next_deadline(earlier);
            ensure!(
                stepped == deadline,
                "an earlier time is taken at its word: {stepped:?}, not {deadline:?}"
            );
            let counted = game.engine.counters().clock_steps_back;
            ensure!(
                counted == before + u32::from(span > 0 && game.now > 0),
                "{counted} steps back counted"
            );
        }
        Op::Probe(memory_permille) => {
            let probe = HostProbe {
                memory_permille,
                ..HostProbe::default()
            };
            game.engine.on_probe(game.instant(), probe);
        }
        Op::Open(protocol) => open(game, protocol, settings)?,
    }
    if game.is_blind() {
        return Ok(());
    }
    game.check()
}

fn lose(
    game: &mut Game,
    destination: Option<u8>,
    category: surgetank_core::item::Category,
    reason: DropReason,
    quantity: u64,
) -> Result<(), Fault> {
    let id = destination
        .filter(|_| !game.ids.is_empty())
        .map(|at| game.ids[usize::from(at) % game.ids.len()]);
    let now = game.now;
    game.engine
        .on_losses(game.instant(), id, category, reason, quantity);
    if let Some(server) = id.and_then(|id| game.server_mut(id)) {
        server.owe(category, reason, quantity, now);
    }
    let difference = game.difference();
    if game.is_blind() {
        return Ok(());
    }
    let mut expected = Sums::ZERO;
    expected.recorded[category.index()] = quantity;
    expected.dropped[reason.index()][category.index()] = quantity;
    game.settle_up(&difference, &[], expected)
}

/// Opens a destination: a free entry first, then the idle one without limits that was used least recently.
fn open(game: &mut Game, protocol: Protocol, settings: Code) -> Result<(), Fault> {
    let config = destination_of(settings, protocol, game.ids.len());
    let is_idle = |server: &Server| {
        !game.live.values().any(|record| record.destination() == server.id)
            && !game
                .on_wire
                .values()
                .any(|request| request.destination == server.id)
    };
    let key = |server: &Server| (!server.limited(game.now).is_empty(), server.last_used);
    let best = game
        .servers
        .values()
        .filter(|server| is_idle(server))
        .map(key)
        .min();
    let has_free = game.servers.len() < DESTINATIONS;
    let opened = game.engine.open_destination(game.instant(), config);
    let id = match opened {
        Ok(id) => id,
        Err(OpenError::NoDestination(_)) => {
            ensure!(!has_free && best.is_none(), "no destination although one is idle");
            return Ok(());
        }
        Err(OpenError::Config(error)) => return Err(format!("{error}")),
    };
    ensure!(!game.ids.contains(&id), "{id:?} is given again");
    let replaced = game.servers.get(&id.index());
    let right = match replaced {
        None => has_free,
        Some(server) => !has_free && is_idle(server) && Some(key(server)) == best,
    };
    ensure!(right, "{id:?} replaces the wrong destination");
    if game.server(id).is_none() {
        let mut server = Server::new(id, config, game.now);
        // A request takes an eighth of the destination's share at most.
        let eighth = game.share(config.share_permille) * 256 / 8;
        let batch = &mut server.config.batch;
        batch.max_bytes = batch.max_bytes.min(eighth as u32);
        game.servers.insert(id.index(), server);
    }
    game.ids.push(id);
    Ok(())
}

/// Answers everything until nothing is left, then closes: the engine must come to an end by itself.
fn wind_up(game: &mut Game) -> Result<(), Fault> {
    let works = Answer {
        status: 200,
        retry_after: None,
        limits: Vec::new(),
        rejected: 0,
    };
    for _ in 0..MAX_ROUNDS {
        let said = game.poll_until_idle()?;
        if game.is_blind() {
            return Ok(());
        }
        game.check()?;
        if let Said::Closed = said {
            ensure!(game.live.is_empty(), "closed with {} records", game.live.len());
            return Ok(());
        }
        if !game.on_wire.is_empty() {
            game.now += 1_000;
            game.answer(0, &works)?;
            continue;
        }
        if game.live.is_empty() && game.closing.is_none() {
            let until = game.now + 1_000_000;
            game.engine.close(game.instant(), Instant::from_micros(until));
            game.closing = Some(game.closing.map_or(until, |earlier| earlier.min(until)));
            continue;
        }
        match said {
            Said::Idle(Some(at)) => game.now = game.now.max(at),
            other => {
                return Err(format!(
                    "{} records are kept for ever: {other:?}",
                    game.live.len()
                ));
            }
        }
    }
    Err(format!(
        "{} records are still there after {MAX_ROUNDS} answers",
        game.live.len()
    ))
}
