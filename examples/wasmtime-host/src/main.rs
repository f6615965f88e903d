//! A host for surgetank's module: this program has the clock and the network, the module decides, and it is exchanged for
//! another instance in the middle of an outage, without losing what waits.
//!
//! ```sh
//! cargo xtask wasm
//! cargo run --manifest-path tests/hosts/Cargo.toml --package surgetank-example-wasmtime-host
//! ```

mod module;
mod server;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{Config, Engine, Module, Result};

use module::{Action, Surgetank, fields};
use server::Server;

/// Errors that the program records.
const ERRORS: u32 = 20;

fn main() -> Result<()> {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config)?;
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "dist/surgetank.wasm".to_owned());
    let module = Module::from_file(&engine, path)?;
    let server = Server::start()?;
    let clock = Clock::start();

    // 1 MiB of queue; everything else as it is by default.
    let settings = fields(&[(1, &(1u32 << 20).to_le_bytes())]);
    let mut old = Surgetank::new(&engine, &module, &settings, clock.now(), 1)?;
    // A Sentry server (protocol 0) that is tried again after 50 ms (tag 74).
    let sentry = old.open(
        &fields(&[(64, &[0]), (74, &50_000u32.to_le_bytes())]),
        clock.now(),
    )?;
    for number in 0..ERRORS {
        let event = format!("{{}}\n{{\"type\":\"event\"}}\n{{\"message\":\"error {number}\"}}\n");
        assert!(old.envelope(sentry, event.as_bytes(), clock.now())?);
    }

    // The server is overloaded: it takes nothing, and everything waits.
    let tried = round(&mut old, &server, &clock)?.0;
    println!(
        "{tried} attempts while the server answered 503, {} arrived",
        server.received()
    );

    let mut new = Surgetank::new(&engine, &module, &settings, clock.now(), 2)?;
    let missing = new.take_over(&mut old, clock.now())?;
    drop(old);
    println!("the module was exchanged; missing: {missing}");
    assert_eq!(missing, 0);

    server.recover();
    while server.received() < ERRORS {
        let (_, deadline) = round(&mut new, &server, &clock)?;
        clock.wait_until(deadline);
    }
    println!("{} of {ERRORS} arrived, {}", server.received(), new.status()?);
    assert_eq!(server.received(), ERRORS);
    Ok(())
}

/// Carries out what the engine wants done now. Returns how many attempts that were, and when there is more to do.
fn round(surgetank: &mut Surgetank, server: &Server, clock: &Clock) -> Result<(u32, Option<u64>)> {
    let mut attempts = 0;
    loop {
        match surgetank.poll(clock.now())? {
            Action::Send(request) => {
                attempts += 1;
                let body = surgetank.body(request, clock.wall())?;
                match post(server, &body) {
                    Ok(status) => surgetank.response(
                        request,
                        &fields(&[(1, &status.to_le_bytes()), (2, &clock.wall().to_le_bytes())]),
                        clock.now(),
                    )?,
                    // Disconnected.
                    Err(_) => surgetank.failure(request, 4, clock.now())?,
                };
            }
            Action::Notice => {}
            Action::Idle(deadline) => return Ok((attempts, deadline)),
            Action::Closed => return Ok((attempts, None)),
        }
    }
}

/// Posts an envelope; returns the status of the answer.
fn post(server: &Server, body: &[u8]) -> std::io::Result<u16> {
    let mut connection = TcpStream::connect(server.address())?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        connection,
        "POST /api/1/envelope/ HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-sentry-envelope\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        server.address(),
        body.len()
    )?;
    connection.write_all(body)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData.into())
}

/// The clock that the module lacks.
struct Clock(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "the module has no clock: this is the place for it"
)]
impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the program's start.
    fn now(&self) -> i64 {
        self.0.elapsed().as_micros() as i64
    }

    /// Microseconds since 1970.
    fn wall(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_micros() as i64)
    }

    fn wait_until(&self, deadline: Option<u64>) {
        let Some(deadline) = deadline else { return };
        let wait = deadline.saturating_sub(self.now() as u64);
        std::thread::sleep(Duration::from_micros(wait));
    }
}
