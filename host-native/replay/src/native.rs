//! The host of this process: an engine in memory of the heap, called directly.

use surgetank_core::config::Config;
use surgetank_core::engine::{Engine, FlushId};
use surgetank_core::item::{DestinationId, Item};
use surgetank_core::notice::Action;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::Instant;

use super::call::{Call, Reply, Sent, Snapshot};
use super::script::{MAX_DESTINATIONS, MAX_REQUESTS};
use crate::body;
use crate::books::Books;

/// An engine, once it was started.
#[derive(Debug, Default)]
pub struct Native {
    engine: Option<Engine<HeapStorage>>,
    destinations: Vec<DestinationId>,
    flushes: Vec<FlushId>,
}

impl Native {
    /// Carries out `call` at `now`, the time on the host's clock.
    pub fn call(&mut self, now: Instant, call: &Call<'_>) -> Reply {
        let Some(engine) = &mut self.engine else {
            return match *call {
                Call::Start { config, memory, seed } => self.start(now, *config, memory, seed),
                _ => Reply::Fault("the engine was not started".to_owned()),
            };
        };
        match *call {
            Call::Start { .. } => Reply::Fault("the engine was started before".to_owned()),
            Call::Open(config) => match engine.open_destination(now, *config) {
                Ok(id) => {
                    self.destinations.push(id);
                    Reply::Opened(id)
                }
                Err(error) => Reply::Fault(error.to_string()),
            },
            Call::Record { header, payload } => {
                Reply::Recorded(engine.record(now, &Item { header, payload }))
            }
            Call::Losses {
                destination,
                category,
                reason,
                quantity,
            } => {
                engine.on_losses(now, destination, category, reason, quantity);
                Reply::Done
            }
            Call::Response { id, response } => Reply::Settled(engine.on_response(now, id, &response)),
            Call::Failure { id, failure } => Reply::Settled(engine.on_failure(now, id, failure)),
            Call::Probe(probe) => {
                engine.on_probe(now, probe);
                Reply::Done
            }
            Call::Flush => {
                self.flushes.push(engine.flush(now));
                Reply::Done
            }
            Call::IsFlushed(number) => match self.flushes.get(number) {
                Some(flush) => Reply::Flushed(engine.is_flushed(*flush)),
                None => Reply::Fault(format!("there was no flush {number}")),
            },
            Call::Close { until } => {
                engine.close(now, until);
                Reply::Done
            }
            Call::Poll => poll(engine, now),
            Call::Gate(destination) => Reply::Gate(engine.gate(now, destination)),
            Call::Books => Reply::Books(Books::of(engine)),
            Call::Status => Reply::Status(Snapshot {
                health: engine.health(),
                used_blocks: engine.fill().used_blocks,
                capacity_blocks: engine.fill().capacity_blocks,
                factor: engine.factor(),
                in_flight: engine.in_flight(),
                counters: engine.counters(),
                destinations: self
                    .destinations
                    .iter()
                    .filter_map(|id| engine.destination(*id).map(Into::into))
                    .collect(),
            }),
        }
    }

    fn start(&mut self, now: Instant, config: Config, memory: usize, seed: u64) -> Reply {
        let storage = HeapStorage::new(memory, MAX_DESTINATIONS, MAX_REQUESTS);
        match Engine::new(config, storage, seed, now) {
            Ok(engine) => {
                self.engine = Some(engine);
                Reply::Done
            }
            Err(error) => Reply::Fault(error.to_string()),
        }
    }
}

fn poll(engine: &mut Engine<HeapStorage>, now: Instant) -> Reply {
    match engine.poll(now) {
        Action::Send(request) => match body::of(&request) {
            Ok(body) => Reply::Send(Sent {
                id: request.id(),
                destination: request.destination(),
                kind: request.kind(),
                attempt: request.attempt(),
                timeout: request.timeout(),
                records: request.records(),
                payload_bytes: request.payload_bytes(),
                carries_report: request.carries_report(),
                body,
            }),
            Err(error) => Reply::Fault(format!("the body cannot be written: {error:?}")),
        },
        Action::Notice(notice) => Reply::Notice(notice),
        Action::Idle(deadline) => Reply::Idle(deadline),
        Action::Closed => Reply::Closed,
    }
}
