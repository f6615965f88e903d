//! `surgetank serial`: the gateway of a device that has a serial line and no network.
//!
//! ```text
//!  device: engine -> Link =UART= port -> [ frames -> Session ] -body-> Upstreams -HTTP-> Sentry, OTLP
//!                     ^-------------------- answer --'   <---- status, limits ---'
//! ```
//!
//! The device's engine decides everything; here bodies are posted and answers carried back, one at a time. Destinations and
//! their keys are this program's settings. It sends straight to them and keeps nothing on disk: the device gives its records
//! up only when the server's answer has come back to it, so there is nothing here that could be lost. Who wants a spool in
//! between names a sidecar (`surgetank run`) as the destination.

mod port;
mod session;
mod upstreams;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use surgetank::delivery::Answer;
use surgetank_core::response::Failure;
use surgetank_core::time::UnixTime;
use surgetank_serial::frame::FrameReader;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use port::Port;

use crate::cli::SerialArgs;
use crate::clock;
use crate::run::{StartError, failed, print_line};
use crate::shutdown::{LEFT_BEHIND, Signals};
use crate::stderr::say;
use port::Line;
use session::{Post, Reaction, Session, Ticket};
use upstreams::Upstreams;

/// Bytes of the largest frame that is read: twice what a device of this version sends.
const FRAME_BYTES: usize = 512;

/// First pause before a port that cannot be opened is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause: how late a cable that was plugged in again is noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the line may take no bytes before it counts as broken.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Runs until a signal ends it.
pub(crate) fn run(args: &SerialArgs) -> Result<ExitCode, StartError> {
    let lookup = |name: &str| match name {
        "SENTRY_DSN" => args.dsn.clone(),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => args.otlp_endpoint.clone(),
        _ => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
    };
    let upstreams = Upstreams::read(lookup, args.post_timeout).map_err(StartError::Usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let ended = runtime.block_on(async {
        let signals = Signals::new().map_err(failed)?;
        print_line(
            &json!({
                "event": "ready",
                "port": args.port.to_string(),
                "pid": std::process::id(),
                "version": env!("CARGO_PKG_VERSION"),
            })
            .to_string(),
        );
        Ok(Gateway::new(args, upstreams).serve(signals).await)
    });
    // A name that is still being looked up holds up nothing.
    runtime.shutdown_background();
    ended
}

type Outcome = Result<Answer, Failure>;
type Told = (Ticket, Outcome);

/// The program's state.
struct Gateway<'a> {
    args: &'a SerialArgs,
    upstreams: Upstreams,
    session: Session,
    frames: FrameReader<FRAME_BYTES>,
    line: Option<Line>,
    /// When the port is opened again.
    retry_at: Instant,
    pause: Duration,
    /// An outage of the port was told.
    told: bool,
    /// The body that is with a server.
    posting: Option<tokio::task::JoinHandle<()>>,
    outcomes: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    posted: u64,
    answered: u64,
    failures: u64,
}

impl<'a> Gateway<'a> {
    fn new(args: &'a SerialArgs, upstreams: Upstreams) -> Self {
        Self {
            args,
            upstreams,
            session: Session::new(),
            frames: FrameReader::new(),
            line: None,
            retry_at: Instant::now(),
            pause: FIRST_PAUSE,
            told: false,
            posting: None,
            outcomes: mpsc::channel(1),
            posted: 0,
            answered: 0,
            failures: 0,
        }
    }

    async fn serve(mut self, mut signals: Signals) -> ExitCode {
        let mut buffer = [0; FRAME_BYTES];
        let mut end = None;
        loop {
            if end.is_some() && !self.session.is_engaged() {
                break;
            }
            let wanted = self.line.is_none();
            tokio::select! {
                read = read(&mut self.line, &mut buffer) => match read {
                    Ok(0) => self.disconnected("the line was closed"),
                    Ok(read) => self.take(buffer.get(..read).unwrap_or_default()).await,
                    Err(error) => self.disconnected(&error.to_string()),
                },
                opened = open(wanted, self.args, self.retry_at) => self.opened(opened).await,
                Some((ticket, outcome)) = self.outcomes.1.recv() => self.settled(ticket, &outcome).await,
                () = signals.next() => {
                    if end.is_some() {
                        // A second signal means now.
                        break;
                    }
                    end = Some(Instant::now() + self.args.shutdown_timeout);
                    if let Some(answer) = self.session.close() {
                        self.write(&answer).await;
                    }
                }
                () = until(end) => break,
            }
        }
        self.farewell()
    }

    async fn opened(&mut self, opened: io::Result<Line>) {
        match opened {
            Ok(line) => {
                self.line = Some(line);
                self.frames.restart();
                say(format_args!("{} is open", self.args.port));
                let greeting = self.session.on_connect();
                self.write(&greeting).await;
            }
            Err(error) => self.disconnected(&error.to_string()),
        }
    }

    /// The port is not there, or not any more.
    fn disconnected(&mut self, why: &str) {
        if self.line.take().is_some() || !self.told {
            say(format_args!("{}: {why}; trying again", self.args.port));
            self.told = true;
        }
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Some(content) = self.frames.feed(*byte) else {
                continue;
            };
            // It works: the next outage begins with short pauses and is told.
            self.pause = FIRST_PAUSE;
            self.told = false;
            let time = UnixTime::from_micros(u64::try_from(clock::unix_micros()).unwrap_or_default());
            let Reaction { reply, post } = self.session.on_frame(content, time, session_number);
            if let Some(post) = post {
                self.post(post);
            }
            if let Some(reply) = reply {
                self.write(&reply).await;
            }
        }
    }

    fn post(&mut self, post: Post) {
        if let Some(posting) = self.posting.take() {
            // The device gave that one up.
            posting.abort();
        }
        self.posted += 1;
        let Post { ticket, kind, body } = post;
        let answer = self.upstreams.post(kind, body);
        let outcomes = self.outcomes.0.clone();
        self.posting = Some(tokio::spawn(async move {
            // Nobody is there to be told at the end only.
            let _ = outcomes.send((ticket, answer.await)).await;
        }));
    }

    async fn settled(&mut self, ticket: Ticket, outcome: &Outcome) {
        match outcome {
            Ok(_) => self.answered += 1,
            Err(failure) => {
                self.failures += 1;
                say(format_args!(
                    "no answer from the server ({failure:?}); the device decides"
                ));
            }
        }
        if let Some(reply) = self.session.on_outcome(ticket, outcome) {
            self.write(&reply).await;
        }
    }

    /// Writes to the line, if there is one. What is not written is asked for again.
    async fn write(&mut self, bytes: &[u8]) {
        let Some(line) = &mut self.line else { return };
        let why = match tokio::time::timeout(WRITE_PATIENCE, line.writer.write_all(bytes)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "takes no bytes".to_owned(),
        };
        self.disconnected(&why);
    }

    fn farewell(&self) -> ExitCode {
        let complete = !self.session.is_engaged();
        print_line(
            &json!({
                "event": "stopped",
                "complete": complete,
                "posted": self.posted,
                "answered": self.answered,
                "failed": self.failures,
                "rejected_frames": self.frames.rejected(),
            })
            .to_string(),
        );
        if complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(LEFT_BEHIND)
        }
    }
}

/// Bytes from the line; never, while there is none.
async fn read(line: &mut Option<Line>, buffer: &mut [u8]) -> io::Result<usize> {
    match line {
        Some(line) => line.reader.read(buffer).await,
        None => pending().await,
    }
}

/// The port, opened at that moment; never, when it is not `wanted`.
async fn open(wanted: bool, args: &SerialArgs, at: Instant) -> io::Result<Line> {
    if !wanted {
        return pending().await;
    }
    tokio::time::sleep_until(at).await;
    match tokio::time::timeout(WRITE_PATIENCE, args.port.open(args.baud)).await {
        Ok(opened) => opened,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => pending().await,
    }
}

/// A number that no session had. Sessions are made rarely: when the system gives no randomness, time will do.
fn session_number() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = clock::unix_micros().to_le_bytes();
    }
    u64::from_le_bytes(bytes).max(1)
}
