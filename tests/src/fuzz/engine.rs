//! The engine under any calls in any order: every sum agrees after every call, what it sends can be read, and it ends.

use surgetank_core::config::{Config, DestinationConfig, WhenFull};
use surgetank_core::downsample::Policy;
use surgetank_core::engine::{Engine, HostProbe};
use surgetank_core::item::{Category, DestinationId, DropReason, Form, Header, Item, TraceKey};
use surgetank_core::notice::Action;
use surgetank_core::request::{BodyContext, Request, RequestId, RequestKind};
use surgetank_core::response::{Failure, Response};
use surgetank_core::storage::FixedStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_core::wire::envelope::{describe, describe_item};
use surgetank_core::wire::otlp::protobuf::Reader;

use super::tape::Tape;
use crate::books::Books;

/// 12 KiB of queue, three servers, four requests in flight.
type Small = Engine<FixedStorage<48, 3, 4, 8>>;

/// Polls in a row after which an engine that still has something to do is taken for one that never goes quiet.
const MAX_POLLS: u32 = 1_000;

/// Deadlines that an engine that was closed may still have.
const MAX_ROUNDS: u32 = 10_000;

/// Ready-made envelopes: of one category, mixed, with what depends on its event, and with nothing in it.
const ENVELOPES: [&[u8]; 5] = [
    b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"event\"}\n{}\n",
    b"{}\n{\"type\":\"session\"}\n{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"attachment\",\"length\":3,\"filename\":\"a\"}\nabc\n",
    b"{}\n{\"type\":\"transaction\"}\n{\"spans\":[{},{}]}\n{\"type\":\"profile\"}\n{}",
    b"{}\n{\"type\":\"log\",\"item_count\":2,\"content_type\":\"application/vnd.sentry.items.log+json\"}\n{\"items\":[{},{}]}",
    b"{}",
];

/// Single items.
const ITEMS: [&[u8]; 4] = [
    b"{\"type\":\"event\"}\n{}",
    b"{\"type\":\"check_in\"}\n{}",
    b"{\"type\":\"transaction\"}\n{\"spans\":[{}]}",
    b"{\"type\":\"client_report\"}\n{}",
];

/// `Span { trace_id }` and a `LogRecord` with a severity.
const OTLP_RECORD: &[u8] = b"\x0a\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10";

struct Run<'a> {
    engine: Small,
    tape: Tape<'a>,
    now: Instant,
    destinations: Vec<DestinationId>,
    sent: Vec<RequestId>,
    /// Every payload so far was what its header says.
    honest: bool,
}

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut config = Config {
        max_age: Duration::from_secs(60),
        ..Config::DEFAULT
    };
    config.when_full = if tape.flag() {
        WhenFull::RefuseNewest
    } else {
        WhenFull::DropOldest
    };
    config.monitor.policy = match tape.byte() % 3 {
        0 => Policy::Adaptive,
        1 => Policy::SentryCompatible,
        _ => Policy::Off,
    };
    let start = Instant::ORIGIN;
    let engine = Small::new(config, FixedStorage::new(), tape.long(), start).expect("a valid configuration");
    let mut run = Run {
        engine,
        tape,
        now: start,
        destinations: Vec::new(),
        sent: Vec::new(),
        honest: true,
    };
    run.open();
    while !run.tape.is_empty() {
        run.step();
        run.check();
    }
    run.end();
}

impl Run<'_> {
    fn step(&mut self) {
        match self.tape.byte() % 12 {
            0..=3 => self.record(),
            4 | 5 => drop(self.poll()),
            6 => self.answer(),
            7 => self.fail(),
            8 => {
                self.now = self
                    .now
                    .saturating_add(Duration::from_millis(u64::from(self.tape.short())))
            }
            9 => match self.tape.byte() % 4 {
                0 => self.now = Instant::from_micros(self.now.as_micros() / 2),
                1 => self.open(),
                2 => self.probe(),
                _ => self.lose(),
            },
            10 => {
                let flush = self.engine.flush(self.now);
                assert!(self.engine.fill().used_blocks > 0 || self.engine.is_flushed(flush));
            }
            _ if self.tape.byte() > 250 => {
                let until = self
                    .now
                    .saturating_add(Duration::from_millis(u64::from(self.tape.short())));
                self.engine.close(self.now, until);
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        if let Err(wrong) = Books::of(&self.engine).balance() {
            panic!("{wrong}");
        }
        for id in &self.destinations {
            let _ = (self.engine.gate(self.now, *id), self.engine.destination(*id));
        }
        let _ = (self.engine.health(), self.engine.next_deadline(self.now));
    }

    fn open(&mut self) {
        let mut config = if self.tape.flag() {
            DestinationConfig::SENTRY
        } else {
            DestinationConfig::OTLP
        };
        config.share_permille = self.tape.short() % 1000 + 1;
        config.batch.max_records = u32::from(self.tape.byte()) + 1;
        config.batch.max_bytes = u32::from(self.tape.short()) + 1;
        if let Ok(id) = self.engine.open_destination(self.now, config) {
            self.destinations.push(id);
        }
    }

    /// One of the destinations ever opened, or any id at all.
    fn destination(&mut self) -> DestinationId {
        let at = usize::from(self.tape.byte());
        match self.destinations.get(at % 4) {
            Some(id) => *id,
            None => DestinationId::from_bits(u32::try_from(at).unwrap_or_default()),
        }
    }

    fn record(&mut self) {
        let to = self.destination();
        let category = Category::ALL[usize::from(self.tape.byte()) % Category::COUNT];
        let trace = TraceKey(u64::from(self.tape.byte() % 4));
        let choice = usize::from(self.tape.byte());
        let (header, payload) = match self.tape.byte() % 8 {
            0 => match describe(ENVELOPES[choice % ENVELOPES.len()])
                .ok()
                .and_then(|known| known.record_header(to))
            {
                Some(header) => (header, ENVELOPES[choice % ENVELOPES.len()]),
                None => return,
            },
            1 => {
                let item = ITEMS[choice % ITEMS.len()];
                (describe_item(item).expect("well-formed").record_header(to), item)
            }
            2 => (
                Header::new(to, Form::Element, Category::LogItem, 1).also(Category::LogByte, 2),
                b"{}".as_slice(),
            ),
            3 => (
                Header::new(to, Form::Element, Category::Span, 1).in_trace(trace),
                b"{}".as_slice(),
            ),
            4 => (
                Header::new(to, Form::OtlpRecord, Category::Span, 1).in_trace(trace),
                OTLP_RECORD,
            ),
            5 => (
                Header::new(to, Form::OtlpRequest, Category::LogItem, 3),
                b"\x0a\x00".as_slice(),
            ),
            6 => (
                Header::new(to, Form::OtlpJson, Category::Span, 3),
                b"{}".as_slice(),
            ),
            _ => {
                self.honest = false;
                let form = Form::from_number(self.tape.byte() % 6).expect("six forms");
                let mut header = Header::new(to, form, category, u32::from(self.tape.byte())).in_trace(trace);
                header.categories = surgetank_core::item::CategorySet::from_bits(self.tape.long());
                (header, self.tape.bytes())
            }
        };
        let _ = self.engine.record(self.now, &Item { header, payload });
    }

    /// Polls until there is nothing to do; the next deadline, or `None` when closed.
    fn poll(&mut self) -> Option<Option<Instant>> {
        for _ in 0..MAX_POLLS {
            match self.engine.poll(self.now) {
                Action::Send(request) => {
                    written(&request, self.honest);
                    self.sent.push(request.id());
                }
                Action::Notice(_) => {}
                Action::Idle(deadline) => return Some(deadline.map(|deadline| deadline.at)),
                Action::Closed => return None,
            }
        }
        panic!("the engine never goes quiet");
    }

    /// A request that was sent, or any id at all.
    fn request(&mut self) -> RequestId {
        let at = usize::from(self.tape.byte());
        match self.sent.len() {
            len if len > 0 && at < 250 => self.sent.swap_remove(at % len),
            _ => RequestId::from_bits(self.tape.long()),
        }
    }

    fn answer(&mut self) {
        let id = self.request();
        let status = [200, 429, 503, 400, 500, 502, 413, 207][usize::from(self.tape.byte()) % 8];
        let retry_after = self.tape.flag().then(|| self.tape.bytes());
        let limits = [self.tape.bytes()];
        let rate_limits = if self.tape.flag() { limits.as_slice() } else { &[] };
        let body = self.tape.bytes();
        let response = Response {
            status,
            retry_after,
            rate_limits,
            body,
            ..Response::default()
        };
        let _ = self.engine.on_response(self.now, id, &response);
    }

    fn fail(&mut self) {
        const FAILURES: [Failure; 9] = [
            Failure::Dns,
            Failure::Connect,
            Failure::Tls,
            Failure::Timeout,
            Failure::Disconnected,
            Failure::MalformedResponse,
            Failure::RequestTooLarge,
            Failure::Internal,
            Failure::InvalidRequest,
        ];
        let id = self.request();
        let _ = self.engine.on_failure(
            self.now,
            id,
            FAILURES[usize::from(self.tape.byte()) % FAILURES.len()],
        );
    }

    fn probe(&mut self) {
        let memory_permille = self.tape.flag().then(|| self.tape.short());
        let oldest_open_slot = Duration::from_millis(u64::from(self.tape.short()));
        self.engine.on_probe(
            self.now,
            HostProbe {
                memory_permille,
                oldest_open_slot,
            },
        );
    }

    fn lose(&mut self) {
        let to = self.tape.flag().then(|| self.destination());
        let category = Category::ALL[usize::from(self.tape.byte()) % Category::COUNT];
        self.engine.on_losses(
            self.now,
            to,
            category,
            DropReason::QueueOverflow,
            u64::from(self.tape.byte()),
        );
    }

    /// Closed, and with every request answered, an engine comes to its end with nothing left.
    fn end(mut self) {
        let until = self.now.saturating_add(Duration::from_secs(10));
        self.engine.close(self.now, until);
        for _ in 0..MAX_ROUNDS {
            let Some(deadline) = self.poll() else {
                self.check();
                assert_eq!((self.engine.fill().used_blocks, self.engine.in_flight()), (0, 0));
                return;
            };
            for id in std::mem::take(&mut self.sent) {
                let _ = self.engine.on_response(
                    self.now,
                    id,
                    &Response {
                        status: 200,
                        ..Response::default()
                    },
                );
            }
            self.now = self
                .now
                .max(deadline.unwrap_or(self.now))
                .saturating_add(Duration::from_micros(1));
        }
        panic!("the engine never closes");
    }
}

/// Writes the body; what was made of honest records can be read.
fn written(request: &Request<'_>, honest: bool) {
    let context = BodyContext {
        sent_at: UnixTime::from_secs(1_700_000_000),
        sdk_name: "surgetank.fuzz",
        sdk_version: "0.1.0",
        public_key: "9ec79c33ec9942ab8353589fcb2e04dc",
        release: Some("fuzz@1"),
        environment: None,
        resource: &[],
        scope: &[],
        origins: &[],
    };
    let mut body = Vec::new();
    let outcome = request.write_body(&context, &mut body);
    if !honest {
        return;
    }
    outcome.expect("an honest request can be written");
    match request.kind() {
        RequestKind::Envelope | RequestKind::Items | RequestKind::Container(_) | RequestKind::Report => {
            let summary = describe(&body)
                .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&body)));
            assert!(summary.items() > 0, "an envelope without items was sent");
        }
        RequestKind::Records(_) | RequestKind::Requests(_) => {
            let mut reader = Reader::new(&body);
            while reader.next().expect("protobuf").is_some() {}
        }
        RequestKind::Json(_) => assert_eq!(body, b"{}"),
    }
}
