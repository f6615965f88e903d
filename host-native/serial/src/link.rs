//! The device's end of the line: one body at a time, each delivered once however often the line is cut.
//!
//! A device cannot see that a cable was pulled: bytes go nowhere. So nothing here waits for anything. The engine's request
//! stays on the wire while the line is dead, and the body is asked about, more and more rarely, until somebody answers:
//!
//! ```text
//!  Hello -> Welcome          a session, the wall clock, how much may be under way
//!  Data.. -> Got..           as far as the window allows; after a loss from where the gateway says
//!  Ask -> Got | Answer       when nothing came for a while
//!  Answer -> Done            the engine judges it; then the next body, under the next number
//! ```
//!
//! Bodies have numbers within a session, and the gateway keeps the answer to the last one: a body that was delivered while the
//! line was cut is answered from memory and not sent again. The body itself is stored nowhere but in the engine's queue: a
//! piece of it is written by writing the whole body and passing on what the piece covers. That is work (a body of *n* windows
//! is framed *n* times), but no memory, and bodies on a serial line are small.

mod piece;

use embedded_io::Write;
use surgetank_core::request::{BodyContext, Request, RequestId};
use surgetank_core::response::{Failure, Response};
use surgetank_core::time::{Duration, Instant, UnixTime};
use surgetank_core::wire::{WriteError, put};

use self::piece::{Piece, Stop};
use crate::frame::FrameReader;
use crate::message::{Answer, BodyKind, Down, MAX_DATA_BYTES, Refusal, UP_LINE_BYTES, Up, VERSION};

/// First pause before something that was not answered is said again: several times what a window and an answer take at
/// 9600 baud.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause: how late a line that works again may be noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What a frame from the gateway means for the engine. Exhaustive.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The gateway is there; the wall clock is set.
    Welcome,
    /// Hand it to `on_response`.
    Answer {
        /// Whose.
        request: RequestId,
        /// What the server said.
        answer: Answer<'a>,
        /// Wall clock now, for [`Response::wall`].
        wall: UnixTime,
    },
    /// Hand it to `on_failure`.
    Failure {
        /// Whose.
        request: RequestId,
        /// What went wrong.
        failure: Failure,
    },
    /// The gateway cannot talk with this device.
    Refused(Refusal),
}

impl<'a> Event<'a> {
    /// Calls `each` with the answer as the engine takes it; false when this is none.
    pub fn with_response(&self, each: impl FnOnce(RequestId, &Response<'_>)) -> bool {
        let Self::Answer {
            request,
            answer,
            wall,
        } = self
        else {
            return false;
        };
        let response = Response {
            status: answer.status,
            retry_after: answer.retry_after,
            rate_limits: answer.rate_limits.as_slice(),
            content_type: answer.content_type,
            body: answer.body,
            grpc: None,
            wall: *wall,
        };
        each(*request, &response);
        true
    }
}

/// Sums of what the line did, for status displays.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Frames sent.
    pub sent: u32,
    /// Frames that arrived whole.
    pub received: u32,
    /// Times that something was sent again from an earlier place.
    pub resumed: u32,
    /// Sessions begun.
    pub sessions: u32,
}

/// The line as a device sees it. `ROOM` is the largest frame it can take, in bytes on the line: at least
/// [`MIN_ROOM`](crate::message::MIN_ROOM), and the memory that it costs.
#[derive(Clone, Debug)]
pub struct Link<const ROOM: usize> {
    reader: FrameReader<ROOM>,
    session: u64,
    greeted: bool,
    /// When the last welcome came, and what time it was there.
    clock: Option<(Instant, UnixTime)>,
    window: u32,
    transfer: Option<Transfer>,
    /// Number of the next body.
    next: u32,
    /// Number of a body whose answer is to be confirmed.
    done: Option<u32>,
    /// When something is said although nothing came.
    due: Instant,
    pause: Duration,
    counters: Counters,
}

/// The body that is under way.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    number: u32,
    request: RequestId,
    /// Wall clock at the first piece; the same in each, so that all pieces are of one body.
    sent_at: UnixTime,
    /// Bytes written to the line.
    sent: u32,
    /// Bytes the gateway confirmed.
    got: u32,
    /// Bytes of the body, once its end was written.
    length: Option<u32>,
}

impl<const ROOM: usize> Link<ROOM> {
    /// A line that nobody answered yet.
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(
                ROOM >= crate::message::MIN_ROOM as usize && ROOM <= u16::MAX as usize,
                "an answer has to fit"
            );
        }
        Self {
            reader: FrameReader::new(),
            session: 0,
            greeted: false,
            clock: None,
            window: 0,
            transfer: None,
            next: 1,
            done: None,
            due: Instant::ORIGIN,
            pause: FIRST_PAUSE,
            counters: Counters {
                sent: 0,
                received: 0,
                resumed: 0,
                sessions: 0,
            },
        }
    }

    /// The request whose body is under way; look it up with `Engine::on_wire` for [`advance`](Self::advance).
    #[must_use]
    pub fn request(&self) -> Option<RequestId> {
        self.transfer.map(|transfer| transfer.request)
    }

    /// Takes a request over that the engine wants sent. There is one at a time: see [`request`](Self::request). An engine
    /// with one request in flight never has a second.
    pub const fn begin(&mut self, request: &Request<'_>) {
        self.transfer = Some(Transfer {
            number: self.next,
            request: request.id(),
            sent_at: UnixTime::from_micros(0),
            sent: 0,
            got: 0,
            length: None,
        });
        self.next = self.next.wrapping_add(1);
    }

    /// Wall clock, once a gateway said it.
    #[must_use]
    pub fn wall(&self, now: Instant) -> Option<UnixTime> {
        let (at, time) = self.clock?;
        Some(UnixTime::from_micros(
            time.as_micros().saturating_add(now.since(at).as_micros()),
        ))
    }

    /// The session; 0 before the first. Unique among all that gateways give, so ids can be made of it.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.session
    }

    /// True while the gateway counts as there: it has greeted, and nothing said since is unanswered for long.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.greeted && self.pause < LONGEST_PAUSE
    }

    /// Sums.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Frames that were dropped because they were not whole.
    #[must_use]
    pub const fn rejected(&self) -> u32 {
        self.reader.rejected()
    }

    /// When [`advance`](Self::advance) has something to say by itself. There may be something at once after a byte came or a
    /// request began.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Takes a byte from the line.
    pub fn feed(&mut self, now: Instant, byte: u8) -> Option<Event<'_>> {
        let content = self.reader.feed(byte)?;
        let message = Down::read(content)?;
        self.counters.received = self.counters.received.saturating_add(1);
        self.pause = FIRST_PAUSE;
        match message {
            Down::Who { .. } => {
                self.greeted = false;
                self.due = now;
                None
            }
            Down::Welcome {
                session,
                time,
                window,
                ..
            } => {
                if session != self.session {
                    self.session = session;
                    self.counters.sessions = self.counters.sessions.saturating_add(1);
                    // This gateway knows nothing of what went before.
                    if let Some(transfer) = &mut self.transfer {
                        transfer.sent = 0;
                        transfer.got = 0;
                        transfer.length = None;
                    }
                }
                self.greeted = true;
                self.clock = Some((now, time));
                self.window = u32::from(window).max(1);
                // What was under way may have been lost with the line: ask.
                self.due = now;
                Some(Event::Welcome)
            }
            Down::Got {
                transfer,
                received,
                resume,
            } => {
                let current = self.transfer.as_mut().filter(|own| own.number == transfer)?;
                self.due = now.saturating_add(FIRST_PAUSE);
                // A gateway cannot have more than was ever sent, in one session.
                let received = received.min(current.sent);
                current.got = received;
                if resume && received < current.sent {
                    current.sent = received;
                    current.length = None;
                    self.counters.resumed = self.counters.resumed.saturating_add(1);
                }
                None
            }
            Down::Answer { transfer, answer } => {
                self.done = Some(transfer);
                let own = self.transfer.take_if(|own| own.number == transfer)?;
                let wall = self
                    .clock
                    .map(|(at, time)| time.as_micros().saturating_add(now.since(at).as_micros()));
                Some(Event::Answer {
                    request: own.request,
                    answer,
                    wall: UnixTime::from_micros(wall.unwrap_or_default()),
                })
            }
            Down::Failed { transfer, failure } => {
                self.done = Some(transfer);
                let own = self.transfer.take_if(|own| own.number == transfer)?;
                Some(Event::Failure {
                    request: own.request,
                    failure,
                })
            }
            Down::Refused { refusal } => Some(Event::Refused(refusal)),
        }
    }

    /// Says what is to be said now: at most one window of the body. `request` is what the engine has on the wire under
    /// [`Link::request`]; `None` when it took it back, and the body is given up. `context` without its `sent_at`, which comes
    /// from here.
    ///
    /// # Errors
    /// Those of `out`: the rest is said again when its time has come. [`WriteError::Invalid`] when the body cannot be
    /// written; settle the request with [`Failure::InvalidRequest`] and call [`give_up`](Self::give_up).
    pub fn advance<W: Write>(
        &mut self,
        now: Instant,
        request: Option<&Request<'_>>,
        context: &BodyContext<'_>,
        out: &mut W,
    ) -> Result<(), WriteError<W::Error>> {
        if self.transfer.is_some() && request.is_none() {
            self.give_up();
        }
        if !self.greeted {
            return if now < self.due {
                Ok(())
            } else {
                self.wait(now);
                let hello = Up::Hello {
                    version: VERSION,
                    session: self.session,
                    room: ROOM as u16,
                };
                // The zero ends whatever noise stands before it.
                put(out, &[0])?;
                self.say(&hello, out)
            };
        }
        if let Some(transfer) = self.done.take() {
            self.say(&Up::Done { transfer }, out)?;
        }
        let Some((transfer, request)) = self.transfer.zip(request) else {
            return Ok(());
        };
        let open = transfer
            .got
            .saturating_add(self.window)
            .saturating_sub(transfer.sent);
        if transfer.length.is_none() && open > 0 {
            self.due = now.saturating_add(self.pause);
            let sent_at = match (transfer.sent, self.wall(now)) {
                (0, Some(wall)) => wall,
                _ => transfer.sent_at,
            };
            let transfer = Transfer { sent_at, ..transfer };
            return self.send(transfer, open, request, context, out);
        }
        if now < self.due {
            return Ok(());
        }
        self.wait(now);
        put(out, &[0])?;
        self.say(
            &Up::Ask {
                transfer: transfer.number,
            },
            out,
        )
    }

    /// Forgets the body that is under way.
    pub const fn give_up(&mut self) {
        self.transfer = None;
    }

    fn wait(&mut self, now: Instant) {
        self.due = now.saturating_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    fn say<W: Write>(&mut self, message: &Up<'_>, out: &mut W) -> Result<(), WriteError<W::Error>> {
        let mut buffer = [0; UP_LINE_BYTES];
        let line = message
            .write(&mut buffer)
            .ok_or(WriteError::Invalid("a message longer than a frame"))?;
        self.counters.sent = self.counters.sent.saturating_add(1);
        put(out, line)
    }

    /// Sends up to `open` bytes of the body from where it stopped.
    fn send<W: Write>(
        &mut self,
        transfer: Transfer,
        open: u32,
        request: &Request<'_>,
        context: &BodyContext<'_>,
        out: &mut W,
    ) -> Result<(), WriteError<W::Error>> {
        let mut piece = Piece {
            link: self,
            out,
            transfer,
            kind: BodyKind::of(request.kind()),
            position: 0,
            until: transfer.sent.saturating_add(open),
            chunk: [0; MAX_DATA_BYTES],
            filled: 0,
        };
        let context = BodyContext {
            sent_at: transfer.sent_at,
            ..*context
        };
        let ended = match request.write_body(&context, &mut piece) {
            Ok(()) => true,
            Err(WriteError::Sink(Stop::Enough)) => false,
            Err(WriteError::Sink(Stop::Line(error))) => return Err(error),
            Err(WriteError::Stalled) => return Err(WriteError::Stalled),
            Err(WriteError::Invalid(what)) => return Err(WriteError::Invalid(what)),
        };
        let written = piece.finish(ended)?;
        self.transfer = Some(Transfer {
            sent: written,
            length: ended.then_some(written),
            ..transfer
        });
        Ok(())
    }
}

impl<const ROOM: usize> Default for Link<ROOM> {
    fn default() -> Self {
        Self::new()
    }
}
