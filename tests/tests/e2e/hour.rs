//! Records the traffic of an hour: what the real SDKs send to the sidecar while the upstream goes through what upstreams go
//! through, as a scenario that every host plays (`tests/scenarios/hour.recording`).
//!
//! ```sh
//! SURGETANK_RECORD=1 cargo test --workspace --all-features --test e2e -- hour --nocapture
//! SURGETANK_UPDATE=1 cargo test -p surgetank-tests --test scenarios
//! ```
//!
//! The programs record a round for each minute, and rounds are short; the recording is stretched to an hour. So are pauses that
//! the upstream asks for, which the SDKs obeyed in the recording; how long an answer took is left as it was. What they sent is
//! kept to the byte, but for paths and the names of the machine and its kernel, which give way to others of the same length.
//!
//! Without the variable a few rounds are recorded and played, and nothing is written.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use surgetank_core::item::Signal;
use surgetank_tests::process::pause;
use surgetank_tests::scenario::script::{Payload, PayloadForm};
use surgetank_tests::scenario::{folder, read, recording, run_script};
use surgetank_tests::upstream::envelope::kinds;
use surgetank_tests::upstream::{Exchange, Received, Reply, Upstream, now};

use crate::client::{Client, Sdk, root};
use crate::scene::{EVERY_SDK, Scene};

/// Rounds of the whole recording.
const ROUNDS: u32 = 60;

/// Bytes that the recording may take in the repository.
const MOST_BYTES: usize = 300_000;

/// How long a round takes at least: a pause that the upstream asks for is over within a few.
const ROUND: Duration = Duration::from_millis(500);

const HOUR: Duration = Duration::from_secs(3600);

/// What an upstream is like for a while. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Weather {
    /// Takes everything.
    Fair,
    /// Takes everything, and limits errors and logs.
    Limits,
    /// Refuses everything with 429.
    Refuses,
    /// Refuses everything with 503.
    Busy,
    /// Nobody listens.
    Down,
    /// Closes connections without an answer.
    Breaks,
}

/// From which round on it is so.
const WEATHER: [(u32, Weather); 10] = [
    (0, Weather::Fair),
    (10, Weather::Limits),
    (17, Weather::Fair),
    (22, Weather::Refuses),
    (24, Weather::Fair),
    (28, Weather::Busy),
    (32, Weather::Fair),
    (35, Weather::Down),
    (46, Weather::Breaks),
    (49, Weather::Fair),
];

/// Seconds that the upstream asks for.
const LIMIT: u64 = 2;
const PAUSE: u64 = 1;

const LIMITED: &str = "error;log_item:organization";

impl Weather {
    /// Makes the upstream so.
    fn begin(self, upstream: &mut Upstream) {
        if self == Self::Down {
            return upstream.close_port();
        }
        upstream.open_port();
        let limits = format!("{LIMIT}:{LIMITED}");
        let pause = PAUSE.to_string();
        match self {
            Self::Fair | Self::Down => upstream.always(Reply::Accept),
            Self::Limits => upstream.set(move |request, _| {
                if request.path.contains("/envelope/") {
                    Reply::status(200).with("x-sentry-rate-limits", &limits)
                } else {
                    Reply::Accept
                }
            }),
            Self::Refuses => upstream.always(Reply::status(429).with("retry-after", &pause)),
            Self::Busy => upstream.always(Reply::status(503).with("retry-after", &pause)),
            Self::Breaks => upstream.always(Reply::Close),
        }
    }

    /// The same in a script, where a second is as long as `stretch`.
    fn statement(self, is_sentry: bool, stretch: f64) -> String {
        let stretched = |seconds: u64| (seconds as f64 * stretch).round();
        match self {
            Self::Limits if is_sentry => format!("200 rate_limits \"{}:{LIMITED}\"", stretched(LIMIT)),
            Self::Fair | Self::Limits => "200".to_owned(),
            Self::Refuses => format!("429 retry_after {}", stretched(PAUSE)),
            Self::Busy => format!("503 retry_after {}", stretched(PAUSE)),
            Self::Down => "fail connect".to_owned(),
            Self::Breaks => "fail disconnected".to_owned(),
        }
    }
}

/// What the programs do in a round.
fn record(client: &mut Client, round: u32) {
    let name = format!("round {round}");
    let is_rich = round.is_multiple_of(5);
    match client.sdk {
        Sdk::SentryPython | Sdk::SentryNode => {
            client.ask("error", json!({"message": name, "attached": is_rich}));
            client.ask("trace", json!({"name": name, "spans": 2 + round % 4}));
            client.ask("logs", json!({"body": name, "count": 3 + round % 3}));
            if is_rich {
                client.ask("metric", json!({"name": "orders", "value": round}));
                client.ask("session", json!({"errored": round % 2 == 1}));
                client.ask("check_in", json!({"slug": "nightly"}));
            }
        }
        Sdk::OtelPython | Sdk::OtelNode => {
            client.ask("spans", json!({"name": name, "count": 2 + round % 4}));
            client.ask("logs", json!({"body": name, "count": 3 + round % 3}));
            if round.is_multiple_of(2) {
                client.ask("metric", json!({"value": round + 1}));
            }
        }
    }
    client.flush();
}

/// What was recorded.
struct Tape {
    begun: Instant,
    ended: Instant,
    weather: Vec<(Instant, Weather)>,
    /// What the programs sent.
    sent: Vec<Exchange>,
    /// What the upstream answered.
    answered: Vec<Exchange>,
}

/// Runs the programs for these rounds.
fn tape(rounds: impl Iterator<Item = u32>) -> Tape {
    let mut scene = Scene::forwarding(Upstream::accepting(), EVERY_SDK, &[]);
    let begun = now();
    let mut weather: Vec<(Instant, Weather)> = Vec::new();
    for round in rounds {
        let (_, next) = *WEATHER
            .iter()
            .rfind(|(from, _)| *from <= round)
            .expect("there is weather from the start");
        if weather.last().is_none_or(|(_, last)| *last != next) {
            next.begin(&mut scene.upstream);
            weather.push((now(), next));
        }
        let over = now() + ROUND;
        for client in &mut scene.clients {
            record(client, round);
        }
        while now() < over {
            pause();
        }
    }
    let ended = now();
    Weather::Fair.begin(&mut scene.upstream);
    scene.end_clients();
    scene.sidecar.stop();
    let mut sent: Vec<Exchange> = [scene.sentry.exchanges(), scene.otlp.exchanges()].concat();
    sent.retain(|exchange| exchange.at <= ended);
    sent.sort_by_key(|exchange| exchange.at);
    Tape {
        begun,
        ended,
        weather,
        sent,
        answered: scene.upstream.exchanges(),
    }
}

/// The form of a request, and what it is likely to resemble.
fn form(request: &Received) -> (PayloadForm, String) {
    let sender = request.header("user-agent").unwrap_or_default();
    if request.path.contains("/envelope/") {
        let kinds = kinds(&request.body).expect("what SDKs send is well-formed");
        return (PayloadForm::Envelope, format!("{sender} {kinds}"));
    }
    let signal = match request.path.as_str() {
        "/v1/traces" => Signal::Traces,
        "/v1/logs" => Signal::Logs,
        "/v1/metrics" => Signal::Metrics,
        other => panic!("what is sent to {other}?"),
    };
    let form = match request.header("content-type") {
        Some("application/x-protobuf") => PayloadForm::Request(signal),
        _ => PayloadForm::Json(signal),
    };
    (form, sender.to_owned())
}

/// What payloads could tell about this machine.
fn traces_of_the_machine() -> Vec<(Vec<u8>, Vec<u8>)> {
    let like = |text: &str, pattern: &str| -> Vec<u8> { pattern.bytes().cycle().take(text.len()).collect() };
    let quoted = |text: &[u8]| [b"\"", text, b"\""].concat();
    let system = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.expect("a Linux").trim().to_owned()
    };
    let (host, release) = (system("hostname"), system("osrelease"));
    let given = root().display().to_string();
    let real = root()
        .canonicalize()
        .expect("the root is there")
        .display()
        .to_string();
    vec![
        (given.clone().into_bytes(), like(&given, "/shop")),
        (real.clone().into_bytes(), like(&real, "/shop")),
        (quoted(host.as_bytes()), quoted(&like(&host, "shop"))),
        (release.clone().into_bytes(), like(&release, "6.1.")),
    ]
}

fn covered(mut bytes: Vec<u8>, traces: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    for (from, to) in traces {
        let mut at = 0;
        while let Some(found) = position(&bytes[at..], from) {
            at += found;
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl Tape {
    /// Seconds of the hour in a second of the tape.
    fn stretch(&self) -> f64 {
        HOUR.as_secs_f64() / self.ended.duration_since(self.begun).as_secs_f64()
    }

    /// Time in the hour.
    fn micros(&self, at: Instant) -> u64 {
        (at.duration_since(self.begun).as_secs_f64() * self.stretch() * 1e6) as u64
    }

    /// How long answers took, the middle one.
    fn latency(&self) -> Duration {
        let answers = self.answered.iter().filter_map(|one| one.answer.as_ref());
        let mut all: Vec<Duration> = answers.map(|answer| answer.after).collect();
        all.sort();
        all[all.len() / 2]
    }

    /// As a recording.
    fn file(&self) -> Vec<u8> {
        let traces = traces_of_the_machine();
        let read: Vec<(PayloadForm, String, Vec<u8>)> = self
            .sent
            .iter()
            .map(|exchange| {
                let (form, alike) = form(&exchange.request);
                (form, alike, covered(exchange.request.body.clone(), &traces))
            })
            .collect();
        // What is alike lies side by side; the order of the script is another matter.
        let mut sorted: Vec<&(PayloadForm, String, Vec<u8>)> = read.iter().collect();
        sorted.sort_by_key(|(form, alike, _)| (*form, alike));
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut payloads = Vec::new();
        for (form, _, bytes) in sorted {
            places.entry(bytes).or_insert_with(|| {
                payloads.push(Payload {
                    form: *form,
                    bytes: bytes.clone(),
                });
                payloads.len()
            });
        }
        let script = self.script(read.iter().map(|(form, _, bytes)| {
            let name = match form {
                PayloadForm::Envelope => "sentry",
                PayloadForm::Request(_) | PayloadForm::Json(_) => "otlp",
            };
            format!("record {name} recorded {}", places[bytes.as_slice()])
        }));
        recording::write(&script, &payloads).expect("memory can be written to")
    }

    /// The script; `records` are its statements in order.
    fn script(&self, records: impl Iterator<Item = String>) -> String {
        let stretch = self.stretch();
        let latency = self.latency().as_micros();
        let mut events: Vec<(u64, String)> = Vec::new();
        for (at, weather) in &self.weather {
            for name in ["sentry", "otlp"] {
                let statement = weather.statement(name == "sentry", stretch);
                let text = format!("serve {name} {statement} after {latency}us # {weather:?}");
                events.push((self.micros(*at), text));
            }
        }
        let times = self.sent.iter().map(|exchange| self.micros(exchange.at));
        events.extend(times.zip(records));
        events.sort_by_key(|(at, _)| *at);
        let mut script = format!(
            "# An hour of mixed traffic: what real SDKs sent while their upstream was limited, busy, gone and back.\n\
             # Recorded by tests/tests/e2e/hour.rs and stretched by {stretch:.1}.\n\
             set memory 128KiB\ndestination sentry sentry\ndestination otlp otlp\n"
        );
        let mut now = None;
        for (at, text) in events {
            if now != Some(at) {
                let _ = writeln!(script, "at {at}us");
                now = Some(at);
            }
            let _ = writeln!(script, "{text}");
        }
        script.push_str("at 1h\nstatus\nflush within 2m\nwait 2m\nclose within 10s\nwait 10s\n");
        script
    }
}

/// That nothing is left of the machine it was recorded on.
fn assert_tells_nothing(payloads: &[Payload]) {
    let mut words: Vec<Vec<u8>> = traces_of_the_machine()
        .into_iter()
        .map(|(from, _)| from)
        .collect();
    let folders = ["HOME", "PWD", "CARGO_HOME", "TMPDIR"];
    let folders = folders.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let folders = folders.filter(|folder| folder.components().count() > 1);
    words.extend(folders.map(|folder| folder.display().to_string().into_bytes()));
    for payload in payloads {
        for word in &words {
            let found = position(&payload.bytes, word);
            assert!(
                found.is_none(),
                "{} is in\n{}",
                String::from_utf8_lossy(word),
                String::from_utf8_lossy(&payload.bytes)
            );
        }
    }
}

/// That the recording plays, and has in it what it was recorded for.
fn assert_plays(file: &[u8]) {
    let script = read(file).unwrap_or_else(|fault| panic!("{fault}"));
    assert_tells_nothing(&script.payloads);
    let trace = run_script(&script).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(trace.contains("the books balance"));
    for kind in [
        "error",
        "transaction",
        "span",
        "log_item",
        "session",
        "monitor",
        "trace_metric",
    ] {
        let sums = format!("\n  {kind}: recorded ");
        assert!(trace.contains(&sums), "no {kind} was recorded");
    }
    for answer in ["200 = delivered", "429", "503", "connect", "disconnected"] {
        let found = trace
            .lines()
            .any(|line| line.contains(" answer r") && line.contains(answer));
        assert!(found, "no answer was {answer}");
    }
}

#[test]
fn an_hour_is_recorded_and_plays() {
    if std::env::var_os("SURGETANK_RECORD").is_none() {
        // One round of each.
        assert_plays(&tape(WEATHER.iter().map(|(from, _)| *from)).file());
        return;
    }
    let file = tape(0..ROUNDS).file();
    assert_plays(&file);
    assert!(file.len() <= MOST_BYTES, "the recording has {} bytes", file.len());
    let path: &Path = &folder().join("hour.recording");
    std::fs::write(path, &file).expect("the recording can be written");
}
