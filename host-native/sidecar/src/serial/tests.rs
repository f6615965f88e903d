//! The two ends of the protocol with a bad line between them, in simulated time: the device's as it is shipped, with an
//! engine, and the gateway's session, with a server that remembers what it took.

use super::session::{MAX_BODY_BYTES, Post, Reaction, Session, Ticket};
use surgetank::delivery::Answer;
use surgetank_core::concurrency::ConcurrencyConfig;
use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::Engine;
use surgetank_core::item::{Category, DestinationId, Form, Header, Item, Outcome};
use surgetank_core::notice::{Action, Notice, Settlement};
use surgetank_core::request::BodyContext;
use surgetank_core::response::Failure;
use surgetank_core::rng::Rng;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_serial::frame::{self, FrameReader};
use surgetank_serial::link::{Event, Link};
use surgetank_serial::message::{BodyKind, Down, MAX_DATA_BYTES, Refusal, Up, VERSION};

/// Wall clock of the gateway at the start.
const MORNING: UnixTime = UnixTime::from_micros(1_767_225_600_000_000);

const STEP: Duration = Duration::from_millis(50);

/// What the line does to bytes.
#[derive(Clone, Copy, Default)]
struct Weather {
    /// Of a thousand bytes, so many are changed.
    flipped: u64,
    /// Of a thousand bytes, so many are lost.
    lost: u64,
    cut: bool,
}

struct World {
    now: Instant,
    rng: Rng,
    weather: Weather,
    engine: Engine<HeapStorage>,
    destination: DestinationId,
    link: Link<512>,
    frames: FrameReader<512>,
    session: Session,
    /// Numbers of sessions given.
    sessions: u64,
    /// With the server: when it answers.
    posted: Vec<(Instant, Ticket)>,
    /// What the server took, in order.
    taken: Vec<Vec<u8>>,
    answer: Result<Answer, Failure>,
    latency: Duration,
    recorded: u64,
    notices: Vec<Notice>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::from_micros(0);
        let storage = HeapStorage::new(64 * 1024, 1, 2);
        let mut engine = Engine::new(Config::DEFAULT, storage, seed, now).unwrap();
        let destination = engine.open_destination(now, device_destination()).unwrap();
        Self {
            now,
            rng: Rng::new(seed),
            weather: Weather::default(),
            engine,
            destination,
            link: Link::new(),
            frames: FrameReader::new(),
            session: Session::new(),
            sessions: 0,
            posted: Vec::new(),
            taken: Vec::new(),
            answer: Ok(Answer::accepted()),
            latency: Duration::from_millis(120),
            recorded: 0,
            notices: Vec::new(),
        }
    }

    /// An error whose message is its number and whose envelope has about so many bytes.
    fn record(&mut self, bytes: usize) {
        let message = format!("[{}]{}", self.recorded, "x".repeat(bytes));
        let payload = format!("{{}}\n{{\"type\":\"event\"}}\n{{\"message\":\"{message}\"}}\n");
        let header = Header::new(self.destination, Form::Envelope, Category::Error, 1);
        let item = Item {
            header,
            payload: payload.as_bytes(),
        };
        assert_eq!(self.engine.record(self.now, &item), Outcome::Queued);
        self.recorded += 1;
    }

    /// Bytes as they arrive at the other end.
    fn carried(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut arrived = Vec::new();
        for byte in bytes {
            let luck = self.rng.next_u64() % 1000;
            if self.weather.cut || luck < self.weather.lost {
                continue;
            }
            let flipped = luck < self.weather.lost + self.weather.flipped;
            arrived.push(if flipped { byte ^ (1 << (luck % 8)) } else { *byte });
        }
        arrived
    }

    fn reach_device(&mut self, bytes: &[u8]) {
        for byte in self.carried(bytes) {
            match self.link.feed(self.now, byte) {
                Some(event @ Event::Answer { .. }) => {
                    let (engine, now) = (&mut self.engine, self.now);
                    event.with_response(|request, response| {
                        let _ = engine.on_response(now, request, response);
                    });
                }
                Some(Event::Failure { request, failure }) => {
                    let _ = self.engine.on_failure(self.now, request, failure);
                }
                Some(Event::Welcome) | None => {}
                Some(Event::Refused(refusal)) => panic!("{refusal:?}"),
            }
        }
    }

    fn reach_gateway(&mut self, bytes: &[u8]) {
        for byte in self.carried(bytes) {
            let Some(content) = self.frames.feed(byte) else {
                continue;
            };
            let time = UnixTime::from_micros(MORNING.as_micros() + self.now.as_micros());
            let sessions = &mut self.sessions;
            let Reaction { reply, post } = self.session.on_frame(content, time, || {
                *sessions += 1;
                *sessions
            });
            if let Some(Post { ticket, body, .. }) = post {
                self.taken.push(body);
                self.posted.push((self.now.saturating_add(self.latency), ticket));
            }
            if let Some(reply) = reply {
                self.reach_device(&reply);
            }
        }
    }

    /// A moment passes.
    fn step(&mut self) {
        let due: Vec<Ticket> = self
            .posted
            .extract_if(.., |(at, _)| *at <= self.now)
            .map(|(_, ticket)| ticket)
            .collect();
        for ticket in due {
            if let Some(reply) = self.session.on_outcome(ticket, &self.answer) {
                self.reach_device(&reply);
            }
        }
        loop {
            match self.engine.poll(self.now) {
                Action::Send(request) => self.link.begin(&request),
                Action::Notice(notice) => self.notices.push(notice),
                Action::Idle(_) | Action::Closed => break,
            }
        }
        let mut line = Vec::new();
        let request = self.link.request().and_then(|id| self.engine.on_wire(id));
        let context = BodyContext {
            sent_at: UnixTime::default(),
            sdk_name: "test",
            sdk_version: "1",
            public_key: "",
            release: None,
            environment: None,
            resource: &[],
            scope: &[],
            origins: &[],
        };
        self.link
            .advance(self.now, request.as_ref(), &context, &mut line)
            .unwrap();
        self.reach_gateway(&line);
        self.now = self.now.saturating_add(STEP);
    }

    fn pass(&mut self, span: Duration) {
        for _ in 0..span.as_micros() / STEP.as_micros() {
            self.step();
        }
    }

    fn reconnect(&mut self) {
        self.frames.restart();
        let greeting = self.session.on_connect();
        self.reach_device(&greeting);
    }

    /// Numbers of the records that the server took, in the order in which it did.
    fn numbers(&self) -> Vec<u64> {
        let number = |body: &Vec<u8>| {
            let text = std::str::from_utf8(body).unwrap();
            let (_, rest) = text.split_once('[').unwrap();
            rest.split_once(']').unwrap().0.parse().unwrap()
        };
        self.taken.iter().map(number).collect()
    }

    #[track_caller]
    fn assert_each_once(&self) {
        let mut numbers = self.numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..self.recorded).collect::<Vec<_>>());
        let sums = self.engine.totals().of(Category::Error);
        assert_eq!(
            (sums.recorded, sums.delivered, sums.dropped),
            (self.recorded, self.recorded, 0)
        );
    }
}

/// A destination behind a line that may be cut for long.
fn device_destination() -> DestinationConfig {
    DestinationConfig {
        timeout: Duration::from_secs(3600),
        concurrency: ConcurrencyConfig {
            initial: 1,
            max: 1,
            ..ConcurrencyConfig::SENTRY
        },
        ..DestinationConfig::SENTRY
    }
}

#[test]
fn on_a_good_line_each_record_arrives_once_and_in_order() {
    let mut world = World::new(1);
    world.reconnect();
    for size in [0, 100, 400, 478, 1000, 3000] {
        world.record(size);
    }
    world.pass(Duration::from_secs(20));
    assert_eq!(world.numbers(), [0, 1, 2, 3, 4, 5]);
    world.assert_each_once();
    assert_eq!(world.link.counters().resumed, 0);
    assert_eq!(
        world.link.wall(world.now).map(UnixTime::as_secs),
        Some(MORNING.as_secs() + 20)
    );
}

#[test]
fn bodies_of_every_length_arrive_whole() {
    let mut world = World::new(2);
    for size in 380..440 {
        world.record(size);
    }
    world.pass(Duration::from_secs(60));
    world.assert_each_once();
    for body in &world.taken {
        let text = std::str::from_utf8(body).unwrap();
        assert!(text.contains("\"sent_at\":\"2026-01-01T00:0"), "{text}");
        assert!(text.ends_with("x\"}\n"), "{text}");
    }
}

#[test]
fn a_line_that_flips_and_loses_bytes_doubles_and_loses_nothing() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.weather = Weather {
            flipped: 1,
            lost: 1,
            cut: false,
        };
        for size in 0..20 {
            world.record(size * 60);
        }
        world.pass(Duration::from_secs(400));
        assert!(
            world.link.rejected() + world.frames.rejected() > 0,
            "the line was good"
        );
        assert_eq!(world.sessions, 1);
        world.assert_each_once();
    }
}

#[test]
fn a_line_that_is_cut_at_any_moment_doubles_and_loses_nothing() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for number in 0..200 {
            if number % 5 == 0 {
                world.record((number as usize % 7) * 150);
            }
            let moment = world.rng.next_u64() % 8;
            for _ in 0..moment {
                world.step();
            }
            world.weather.cut = !world.weather.cut;
            if !world.weather.cut {
                world.reconnect();
            }
        }
        world.weather.cut = false;
        world.reconnect();
        world.pass(Duration::from_secs(60));
        world.assert_each_once();
        assert_eq!(world.sessions, 1);
    }
}

#[test]
fn an_answer_that_was_lost_is_given_again_and_the_body_not_posted_again() {
    let mut world = World::new(3);
    world.reconnect();
    world.record(100);
    while world.taken.is_empty() {
        world.step();
    }
    world.weather.cut = true;
    world.pass(Duration::from_secs(120));
    assert_eq!(world.engine.totals().of(Category::Error).delivered, 0);
    world.weather.cut = false;
    world.pass(Duration::from_secs(5));
    world.assert_each_once();
}

#[test]
fn a_gateway_that_was_started_anew_gets_the_body_from_its_start() {
    let mut world = World::new(4);
    world.reconnect();
    world.record(2000);
    // Half of it is there.
    while world.link.counters().sent < 5 {
        world.step();
    }
    world.session = Session::new();
    world.reconnect();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.sessions, 2);
    world.assert_each_once();
}

#[test]
fn a_server_that_limits_is_obeyed_by_the_device() {
    let mut world = World::new(5);
    world.answer = Ok(Answer {
        status: 429,
        retry_after: Some(b"60".to_vec()),
        rate_limits: vec![b"30:error:key".to_vec(), b"40:log_item:key".to_vec()],
        ..Answer::default()
    });
    world.reconnect();
    world.record(10);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.taken.len(), 1);
    let gate = world.engine.gate(world.now, world.destination);
    assert!(gate.limited().contains(Category::Error) && gate.limited().contains(Category::LogItem));
    let limited = |notice: &Notice| {
        matches!(
            notice,
            Notice::Settled {
                settlement: Settlement::RateLimited { .. },
                ..
            }
        )
    };
    assert!(world.notices.iter().any(limited), "{:?}", world.notices);
    world.pass(Duration::from_secs(29));
    assert!(
        !world
            .engine
            .gate(world.now, world.destination)
            .limited()
            .contains(Category::Error)
    );
}

#[test]
fn a_failure_is_the_engines_to_judge() {
    let mut world = World::new(6);
    world.answer = Err(Failure::Connect);
    world.reconnect();
    world.record(10);
    world.pass(Duration::from_secs(2));
    let sums = world.engine.totals().of(Category::Error);
    assert_eq!((sums.queued(), sums.dropped), (1, 0));
    // What did not arrive was not taken.
    let attempts = world.taken.len();
    assert!(attempts >= 1);
    world.taken.clear();
    world.answer = Ok(Answer::accepted());
    world.pass(Duration::from_secs(120));
    world.assert_each_once();
}

/// The content of the one frame.
fn content(line: &[u8]) -> Vec<u8> {
    let mut reader = FrameReader::<1024>::new();
    let read = line
        .iter()
        .find_map(|byte| reader.feed(*byte).map(<[u8]>::to_vec));
    read.expect("a frame")
}

/// Hands a message to the session.
fn say(session: &mut Session, message: &Up<'_>) -> (Option<Vec<u8>>, Option<Post>) {
    let mut buffer = [0; 1024];
    let content = content(message.write(&mut buffer).expect("it fits"));
    let Reaction { reply, post } = session.on_frame(&content, MORNING, || 77);
    (reply.map(|line| self::content(&line)), post)
}

const HELLO: Up<'_> = Up::Hello {
    version: VERSION,
    session: 0,
    room: 512,
};

#[test]
fn who_does_not_greet_is_asked_to() {
    let mut session = Session::new();
    let (reply, post) = say(&mut session, &Up::Ask { transfer: 1 });
    assert_eq!(Down::read(&reply.unwrap()), Some(Down::Who { version: VERSION }));
    assert!(post.is_none());
}

#[test]
fn another_version_or_too_little_room_is_refused() {
    for (version, room, refusal) in [(2, 512, Refusal::Version), (1, 255, Refusal::Room)] {
        let mut session = Session::new();
        let hello = Up::Hello {
            version,
            session: 0,
            room,
        };
        let (reply, _) = say(&mut session, &hello);
        assert_eq!(Down::read(&reply.unwrap()), Some(Down::Refused { refusal }));
    }
}

#[test]
fn a_body_that_never_ends_is_answered_as_too_large_and_takes_no_more_memory() {
    let mut session = Session::new();
    say(&mut session, &HELLO);
    let mut offset = 0;
    let mut failed = 0;
    while (offset as usize) < MAX_BODY_BYTES + 10 * MAX_DATA_BYTES {
        let piece = Up::Data {
            transfer: 1,
            offset,
            kind: BodyKind::Envelope,
            last: false,
            bytes: &[b'x'; MAX_DATA_BYTES],
        };
        let (reply, post) = say(&mut session, &piece);
        assert!(post.is_none());
        let failure = Failure::RequestTooLarge;
        failed += usize::from(Down::read(&reply.unwrap()) == Some(Down::Failed { transfer: 1, failure }));
        offset += MAX_DATA_BYTES as u32;
    }
    assert!(failed > 5);
}

#[test]
fn whole_frames_of_nonsense_are_refused_and_change_nothing() {
    let mut session = Session::new();
    say(&mut session, &HELLO);
    let mut rng = Rng::new(9);
    let mut posts = 0;
    for _ in 0..20_000 {
        let length = (rng.next_u64() % 40) as usize;
        let mut content: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
        if let Some(first) = content.first_mut() {
            *first %= 8;
        }
        let Reaction { reply, post } = session.on_frame(&content, MORNING, || 78);
        posts += usize::from(post.is_some());
        assert!(reply.is_none_or(|line| line.len() <= frame::line_bytes(512)));
    }
    // Some of it is a body by chance; more than one at a time is never with the server.
    assert!(posts < 20_000);
    let (reply, _) = say(&mut session, &HELLO);
    assert!(matches!(Down::read(&reply.unwrap()), Some(Down::Welcome { .. })));
}

#[test]
fn a_gateway_that_ends_takes_no_new_body_and_still_gives_the_last_answer() {
    let mut session = Session::new();
    say(&mut session, &HELLO);
    let piece = |transfer| Up::Data {
        transfer,
        offset: 0,
        kind: BodyKind::Envelope,
        last: true,
        bytes: b"{}\n",
    };
    let (_, post) = say(&mut session, &piece(1));
    assert!(session.close().is_none());
    assert!(session.is_engaged());
    let answer = session.on_outcome(post.unwrap().ticket, &Ok(Answer::accepted()));
    assert!(answer.is_some() && session.is_engaged());
    assert_eq!(
        session.close(),
        answer,
        "whose confirmation was lost confirms again"
    );
    say(&mut session, &Up::Done { transfer: 1 });
    assert!(!session.is_engaged());
    let (reply, post) = say(&mut session, &piece(2));
    assert!(reply.is_none() && post.is_none());
}
