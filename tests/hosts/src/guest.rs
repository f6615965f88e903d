//! A host that carries a scenario's calls to an instance, wherever that is.

use surgetank_core::config::Config;
use surgetank_core::item::{DestinationId, DropReason, Outcome};
use surgetank_core::notice::Ack;
use surgetank_core::record;
use surgetank_core::time::Instant;
use surgetank_module::Code;
use surgetank_module::codes::{FAILURES, number, poll};
use surgetank_replay::body::CONTEXT;
use surgetank_replay::call::{Call, Reply};
use surgetank_replay::script::{MAX_DESTINATIONS, MAX_REQUESTS};

use crate::frame::{Door, Frame, Number, Output, Returned};
use crate::replies::{self, Reader};
use crate::writing::{self, Row};

/// Bytes of the largest payload that a scenario can offer here.
const PAYLOAD_BYTES: u32 = 1 << 20;

/// An instance behind a door, and what its host remembers.
#[derive(Debug)]
pub struct Guest<D> {
    door: D,
    destinations: Vec<DestinationId>,
    flushes: Vec<i64>,
    /// What `body` is given with each piece.
    context: Vec<u8>,
}

impl<D: Door> Guest<D> {
    /// A host of the instance behind `door`.
    pub fn new(door: D) -> Self {
        let mut context = Row::default();
        context
            .bytes(1, CONTEXT.sdk_name.as_bytes())
            .bytes(2, CONTEXT.sdk_version.as_bytes())
            .bytes(3, CONTEXT.public_key.as_bytes());
        Self {
            door,
            destinations: Vec::new(),
            flushes: Vec::new(),
            context: context.0,
        }
    }

    /// The door, nothing more being asked of the instance.
    pub fn into_door(self) -> D {
        self.door
    }

    /// Carries out `call` at `now`.
    pub fn call(&mut self, now: Instant, call: &Call<'_>) -> Reply {
        self.carry(now.as_micros(), call).unwrap_or_else(Reply::Fault)
    }

    fn ask(
        &mut self,
        function: &'static str,
        numbers: Vec<Number>,
        input: &[u8],
        output: Output,
    ) -> Result<Returned, String> {
        self.door.call(&Frame {
            function,
            numbers,
            input: input.to_vec(),
            output,
        })
    }

    /// The same, for calls that must succeed.
    fn get(
        &mut self,
        function: &'static str,
        numbers: Vec<Number>,
        input: &[u8],
        output: Output,
    ) -> Result<Returned, String> {
        let returned = self.ask(function, numbers, input, output)?;
        if returned.value >= 0 {
            return Ok(returned);
        }
        let why = self.ask("explain", vec![], &[], Output::Returned)?;
        let why = String::from_utf8_lossy(&why.output);
        Err(format!("{function} returned {}: {why}", returned.value))
    }

    fn carry(&mut self, now: u64, call: &Call<'_>) -> Result<Reply, String> {
        let nothing = Output::Bytes(0);
        Ok(match *call {
            Call::Start { config, memory, seed } => self.start(now, config, memory, seed)?,
            Call::Open(config) => {
                let input = writing::destination(config);
                let numbers = vec![(input.len() as u32).into(), now.into()];
                let id = self.get("open", numbers, &input, nothing)?.value;
                let id = DestinationId::from_bits(id as u32);
                self.destinations.push(id);
                Reply::Opened(id)
            }
            Call::Record { header, payload } => {
                let input = [&record::encode(&header)[..], payload].concat();
                let numbers = vec![(input.len() as u32).into(), now.into()];
                let value = self.get("record", numbers, &input, nothing)?.value;
                Reply::Recorded(match value.checked_sub(1) {
                    Some(reason) if reason >= 0 => Outcome::Dropped(
                        DropReason::from_number(reason as u8).ok_or("a reason of no number")?,
                    ),
                    _ => Outcome::Queued,
                })
            }
            Call::Losses {
                destination,
                category,
                reason,
                quantity,
            } => {
                let destination = destination.map_or(-1, |id| i64::from(id.bits()));
                let numbers = vec![
                    destination.into(),
                    (category as u32).into(),
                    (reason as u32).into(),
                    quantity.into(),
                    now.into(),
                ];
                self.get("losses", numbers, &[], nothing)?;
                Reply::Done
            }
            Call::Response { id, response } => {
                let input = writing::response(&response);
                let numbers = vec![id.bits().into(), (input.len() as u32).into(), now.into()];
                let returned = self.ask("response", numbers, &input, Output::Bytes(16))?;
                settled(&returned)?
            }
            Call::Failure { id, failure } => {
                let failure = u32::from(number(&FAILURES, &failure));
                let numbers = vec![id.bits().into(), failure.into(), now.into()];
                let returned = self.ask("failure", numbers, &[], Output::Bytes(16))?;
                settled(&returned)?
            }
            Call::Probe(probe) => {
                let memory = probe.memory_permille.map_or(-1, i32::from);
                let slot = probe.oldest_open_slot.as_micros();
                self.get(
                    "probe",
                    vec![memory.into(), slot.into(), now.into()],
                    &[],
                    nothing,
                )?;
                Reply::Done
            }
            Call::Flush => {
                let id = self.get("flush", vec![now.into()], &[], nothing)?.value;
                self.flushes.push(id);
                Reply::Done
            }
            Call::IsFlushed(number) => {
                let id = *self.flushes.get(number).ok_or("there was no such flush")?;
                let value = self.get("is_flushed", vec![id.into()], &[], nothing)?.value;
                Reply::Flushed(value == 1)
            }
            Call::Close { until } => {
                let numbers = vec![until.as_micros().into(), now.into()];
                self.get("close", numbers, &[], nothing)?;
                Reply::Done
            }
            Call::Poll => self.poll(now)?,
            Call::Gate(destination) => {
                let numbers = vec![destination.bits().into(), now.into()];
                let bits = self.get("gate", numbers, &[], nothing)?.value;
                Reply::Gate(surgetank_core::gate::GateState::from_bits(bits as u64))
            }
            Call::Books => {
                let totals = self.get("totals", vec![], &[], Output::Returned)?.output;
                let held = self.get("held", vec![], &[], Output::Returned)?.output;
                Reply::Books(replies::books(Reader(&totals), Reader(&held))?)
            }
            Call::Status => self.status()?,
        })
    }

    fn start(&mut self, now: u64, config: &Config, memory: usize, seed: u64) -> Result<Reply, String> {
        let mut row = Row::default();
        row.number(1, memory as u64)
            .number(2, MAX_DESTINATIONS as u64)
            .number(3, MAX_REQUESTS as u64)
            .number(4, 64u64)
            .number(5, PAYLOAD_BYTES);
        writing::engine(config, &mut row);
        let numbers = vec![(row.0.len() as u32).into(), now.into(), seed.into()];
        self.get("init", numbers, &row.0, Output::Bytes(0))?;
        Ok(Reply::Done)
    }

    fn poll(&mut self, now: u64) -> Result<Reply, String> {
        let returned = self.get("poll", vec![now.into()], &[], Output::Bytes(40))?;
        let output = Reader(&returned.output);
        Ok(match returned.value as i32 {
            poll::IDLE => Reply::Idle(replies::idle(output)?),
            poll::SEND => {
                let mut sent = replies::sent(output)?;
                sent.body = self.body(sent.id.bits())?;
                Reply::Send(sent)
            }
            poll::NOTICE => Reply::Notice(replies::notice(output)?),
            poll::CLOSED => Reply::Closed,
            other => return Err(format!("poll returned {other}")),
        })
    }

    fn body(&mut self, request: u64) -> Result<Vec<u8>, String> {
        let context = self.context.clone();
        let wall = CONTEXT.sent_at.as_micros();
        let mut body = Vec::new();
        loop {
            let numbers = vec![
                request.into(),
                wall.into(),
                (body.len() as u64).into(),
                (context.len() as u32).into(),
            ];
            let piece = self.get("body", numbers, &context, Output::Returned)?.output;
            if piece.is_empty() {
                return Ok(body);
            }
            body.extend(piece);
        }
    }

    fn status(&mut self) -> Result<Reply, String> {
        let health = self.get("health", vec![], &[], Output::Bytes(0))?.value;
        let figures = self.get("figures", vec![], &[], Output::Returned)?.output;
        let mut destinations = Vec::new();
        for id in self.destinations.clone() {
            let returned = self.ask("destination", vec![id.bits().into()], &[], Output::Returned)?;
            if returned.value > 0 {
                destinations.push(replies::destination(Reader(&returned.output))?);
            }
        }
        let health = replies::health(health as u32)?;
        let snapshot = replies::snapshot(health, Reader(&figures), destinations)?;
        Ok(Reply::Status(snapshot))
    }
}

fn settled(returned: &Returned) -> Result<Reply, String> {
    if returned.value == i64::from(Code::Stale as i32) {
        return Ok(Reply::Settled(Ack::Stale));
    }
    let mut output = Reader(&returned.output);
    let (_, reason, value) = (output.word()?, output.word()?, output.long()?);
    let settlement = replies::settled(returned.value as i32, reason, value)?;
    Ok(Reply::Settled(Ack::Settled(settlement)))
}
