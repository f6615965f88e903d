//! The engine alone, at steady state: nothing limited, nothing full, every answer 200.

use std::hint::black_box;

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::Engine;
use surgetank_core::item::{Category, DestinationId, Form, Header, Item, TraceKey};
use surgetank_core::notice::Action;
use surgetank_core::request::BodyContext;
use surgetank_core::response::Response;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};

use crate::glass::{Glass, Phase};

/// Bytes of a payload.
const PAYLOAD: usize = 256;

struct Bench {
    engine: Engine<HeapStorage>,
    destination: DestinationId,
    now: Instant,
    body: Vec<u8>,
}

impl Bench {
    fn new(config: DestinationConfig) -> Self {
        let now = Instant::from_micros(1_000_000);
        let storage = HeapStorage::new(4 << 20, 4, 64);
        let mut engine = Engine::new(Config::DEFAULT, storage, 7, now).expect("the defaults are valid");
        let destination = engine
            .open_destination(now, config)
            .expect("the defaults are valid");
        Self {
            engine,
            destination,
            now,
            body: Vec::with_capacity(1 << 20),
        }
    }

    /// Records `records` items like `header`, then polls, writes and settles until the engine is idle.
    fn round(&mut self, glass: Glass, header: &Header, payload: &[u8], records: u32) {
        self.now = self.now.saturating_add(Duration::from_millis(1));
        let now = self.now;
        // As it lies before a host that drains an intake.
        let item = Item {
            header: *header,
            payload,
        };
        glass.look(Phase::Record, || {
            for _ in 0..records {
                let _ = black_box(self.engine.record(now, black_box(&item)));
            }
        });
        let context = BodyContext {
            sent_at: UnixTime::from_secs(1_800_000_000),
            sdk_name: "surgetank.bench",
            sdk_version: "0",
            public_key: "e12d836b15bb49d7bbf99e64295d995b",
            release: None,
            environment: None,
            resource: &[],
            scope: &[],
            origins: &[],
        };
        loop {
            let request = glass.look(Phase::Batch, || match self.engine.poll(now) {
                Action::Send(request) => Some(request),
                Action::Notice(notice) => panic!("not the steady state: {notice:?}"),
                Action::Idle(_) => None,
                Action::Closed => panic!("nobody closed it"),
            });
            let Some(request) = request else { break };
            self.body.clear();
            glass.look(Phase::Body, || {
                request
                    .write_body(&context, &mut self.body)
                    .expect("a vector takes everything");
            });
            let id = request.id();
            glass.look(Phase::Settle, || {
                let _ = black_box(self.engine.on_response(
                    now,
                    id,
                    &Response {
                        status: 200,
                        wall: context.sent_at,
                        ..Response::default()
                    },
                ));
            });
        }
        glass.look(Phase::Batch, || {
            black_box(self.engine.gate(now, self.destination));
        });
    }
}

/// A log of 256 B in a Sentry container of 100.
pub(crate) fn log_element(glass: Glass, rounds: u32) {
    let mut bench = Bench::new(DestinationConfig::SENTRY);
    let payload = json(PAYLOAD);
    let header = Header::new(bench.destination, Form::Element, Category::LogItem, 1)
        .also(Category::LogByte, PAYLOAD as u32);
    for _ in 0..rounds {
        bench.round(glass, &header, &payload, 100);
    }
}

/// An OTLP span of 256 B in a request of 512, 16 spans a trace.
pub(crate) fn otlp_span(glass: Glass, rounds: u32) {
    let mut bench = Bench::new(DestinationConfig::OTLP);
    let payload = vec![7; PAYLOAD];
    let mut trace = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..rounds {
        for _ in 0..32 {
            trace = trace.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1);
            let header =
                Header::new(bench.destination, Form::OtlpRecord, Category::Span, 1).in_trace(TraceKey(trace));
            bench.round(glass, &header, &payload, 16);
        }
    }
}

/// An OTLP log of 256 B in a request of 512.
pub(crate) fn otlp_log(glass: Glass, rounds: u32) {
    let mut bench = Bench::new(DestinationConfig::OTLP);
    let payload = vec![7; PAYLOAD];
    let header = Header::new(bench.destination, Form::OtlpRecord, Category::LogItem, 1);
    for _ in 0..rounds {
        bench.round(glass, &header, &payload, 512);
    }
}

/// One error envelope at a time, each a request of its own.
pub(crate) fn error_envelope(glass: Glass, rounds: u32) {
    let mut bench = Bench::new(DestinationConfig::SENTRY);
    let event = String::from_utf8(json(PAYLOAD - 110)).expect("it is text");
    let payload = format!(
        "{{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n",
        event.len()
    );
    let header = Header::new(bench.destination, Form::Envelope, Category::Error, 1);
    for _ in 0..rounds {
        bench.round(glass, &header, payload.as_bytes(), 1);
    }
}

/// A JSON object of exactly `bytes` bytes.
fn json(bytes: usize) -> Vec<u8> {
    let mut text = String::from("{\"level\":\"info\",\"body\":\"");
    while text.len() < bytes - 2 {
        text.push('x');
    }
    text.push_str("\"}");
    text.into_bytes()
}
