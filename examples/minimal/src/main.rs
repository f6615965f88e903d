//! The hand-written loop on the bare core: record, poll, send, settle, flush, close.
//!
//! A host of surgetank needs three things: a clock, a way to send bytes, and this loop. Here the clock is
//! `std::time::Instant`, bytes go out through a blocking HTTP client, and a small server in another thread stands in
//! for Sentry, so that the program runs by itself: `cargo run -p surgetank-example-minimal`.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::Engine;
use surgetank_core::item::{Category, DestinationId, Form, Header, Item, TraceKey};
use surgetank_core::notice::{Action, Deadline};
use surgetank_core::request::{BodyContext, Request};
use surgetank_core::response::{Failure, Response};
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_core::wire::dsn::{Dsn, Endpoint};

/// What came of an attempt: status and the headers that the core reads, or why there was no answer.
type Attempt = Result<(u16, Option<String>, Option<String>), Failure>;

fn main() -> Result<(), Box<dyn Error>> {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").map_err(|error| error.to_string())?);
    let address = server.server_addr().to_ip().ok_or("the server has no address")?;
    let standing_in = std::thread::spawn({
        let server = Arc::clone(&server);
        move || serve(&server)
    });

    let text = format!("http://e12d836b15bb49d7bbf99e64295d995b@{address}/42");
    let dsn = Dsn::parse(&text)?;
    let clock = Clock::new();

    // 256 KiB for records, one destination, eight requests in flight: all the memory there will ever be.
    let storage = HeapStorage::new(256 * 1024, 1, 8);
    let seed = clock.wall().as_micros();
    let mut engine = Engine::new(Config::DEFAULT, storage, seed, clock.now())?;
    let sentry = engine.open_destination(clock.now(), DestinationConfig::SENTRY)?;

    for number in 0..250 {
        let log = format!(
            r#"{{"timestamp":{},"level":"info","body":"request {number} served","attributes":{{}}}}"#,
            clock.wall().as_secs()
        );
        let header = Header::new(sentry, Form::Element, Category::LogItem, 1).also(Category::LogByte, 20);
        // The outcome is counted already; a program has nothing to do about it.
        let _ = engine.record(
            clock.now(),
            &Item {
                header,
                payload: log.as_bytes(),
            },
        );
    }
    let envelope = error_envelope("the disk is full");
    let header = Header::new(sentry, Form::Envelope, Category::Error, 1).in_trace(TraceKey::NONE);
    let _ = engine.record(
        clock.now(),
        &Item {
            header,
            payload: envelope.as_bytes(),
        },
    );

    // Everything recorded so far is to go now, not when the batches are old enough.
    let until = clock.now().saturating_add(Duration::from_secs(30));
    let flush = engine.flush(clock.now());
    while let Some(deadline) = run(&mut engine, &clock, &dsn, sentry) {
        if engine.is_flushed(flush) || clock.now() >= until {
            break;
        }
        clock.wait_until(deadline, until);
    }

    // Two seconds to send what is left, then what remains is dropped and counted.
    let until = clock.now().saturating_add(Duration::from_secs(2));
    engine.close(clock.now(), until);
    while let Some(deadline) = run(&mut engine, &clock, &dsn, sentry) {
        clock.wait_until(deadline, until);
    }

    server.unblock();
    let received = standing_in.join().map_err(|_| "the server panicked")?;
    let logs = engine.totals().of(Category::LogItem);
    let errors = engine.totals().of(Category::Error);
    say(&format!(
        "errors: {errors:?}\nlogs: {logs:?}\nrequests at the server: {received}"
    ));
    if (errors.delivered, logs.delivered) != (1, 250) {
        let losses = engine.totals().reasons();
        return Err(format!("not everything was delivered: {losses:?}").into());
    }
    Ok(())
}

/// Polls until there is nothing to do; then says until when. `None` when the engine is closed.
fn run(
    engine: &mut Engine<HeapStorage>,
    clock: &Clock,
    dsn: &Dsn<'_>,
    sentry: DestinationId,
) -> Option<Option<Deadline>> {
    loop {
        let now = clock.now();
        let (id, attempt) = match engine.poll(now) {
            Action::Send(request) => (request.id(), send(&request, dsn, clock.wall())),
            Action::Notice(notice) => {
                say(&format!("{notice:?}"));
                continue;
            }
            Action::Idle(deadline) => return Some(deadline),
            Action::Closed => return None,
        };
        let now = clock.now();
        let _ = match attempt {
            Ok((status, retry_after, limits)) => {
                let limits: Vec<&[u8]> = limits.iter().map(String::as_bytes).collect();
                let response = Response {
                    status,
                    retry_after: retry_after.as_deref().map(str::as_bytes),
                    rate_limits: &limits,
                    wall: clock.wall(),
                    ..Response::default()
                };
                engine.on_response(now, id, &response)
            }
            Err(failure) => engine.on_failure(now, id, failure),
        };
        // Producers on other threads would be shown this word.
        let _ = engine.gate(now, sentry);
    }
}

/// One attempt. All deadlines are the request's.
fn send(request: &Request<'_>, dsn: &Dsn<'_>, sent_at: UnixTime) -> Attempt {
    let context = BodyContext {
        sent_at,
        sdk_name: "surgetank.example.minimal",
        sdk_version: env!("CARGO_PKG_VERSION"),
        public_key: dsn.public_key(),
        release: None,
        environment: None,
        resource: &[],
        scope: &[],
        origins: &[],
    };
    let mut body = Vec::new();
    request
        .write_body(&context, &mut body)
        .map_err(|_| Failure::InvalidRequest)?;
    let mut url = String::new();
    dsn.write_url(&mut url, Endpoint::Envelope)
        .map_err(|_| Failure::Internal)?;
    let auth = format!("Sentry sentry_key={}, sentry_version=7", dsn.public_key());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(request.timeout().into()))
        .http_status_as_error(false)
        // The server is on this machine, whatever proxy the environment names.
        .proxy(None)
        .build()
        .into();
    let answer = agent
        .post(&url)
        .header("X-Sentry-Auth", &auth)
        .content_type(request.kind().content_type())
        .send(&body[..])
        .map_err(|error| match error {
            ureq::Error::Timeout(_) => Failure::Timeout,
            ureq::Error::HostNotFound => Failure::Dns,
            _ => Failure::Connect,
        })?;
    let header = |name| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    Ok((
        answer.status().as_u16(),
        header("retry-after"),
        header("x-sentry-rate-limits"),
    ))
}

fn error_envelope(message: &str) -> String {
    let event = format!(r#"{{"level":"error","message":"{message}","platform":"native"}}"#);
    let id = "9ec79c33ec9942ab8353589fcb2e04dc";
    format!(
        "{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n",
        event.len()
    )
}

/// Stands in for Sentry: takes everything. Returns how many requests came.
fn serve(server: &tiny_http::Server) -> usize {
    let mut requests = 0;
    for mut request in server.incoming_requests() {
        let mut body = Vec::new();
        let read = request.as_reader().read_to_end(&mut body);
        let answer = tiny_http::Response::from_string("{}");
        if read.is_ok() && request.respond(answer).is_ok() {
            requests += 1;
        }
    }
    requests
}

/// The host's two notions of time.
struct Clock {
    start: std::time::Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a host is where the clock is read")]
    fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "a host is where the clock is read")]
    fn wall(&self) -> UnixTime {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a host is where a thread waits; it has nothing else to do"
    )]
    fn wait_until(&self, deadline: Option<Deadline>, end: Instant) {
        let until = deadline.map_or(end, |deadline| deadline.at.min(end));
        std::thread::sleep(until.since(self.now()).into());
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn say(line: &str) {
    println!("{line}");
}
