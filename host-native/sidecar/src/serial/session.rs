//! The gateway's end of the protocol as a state machine: frames in, frames and bodies out; no clock, no sockets.
//!
//! It lives as long as the program, across connections: what it remembers about the last body is what keeps a cut line from
//! losing or doubling one. Everything a device sends is bounded here, and a device can only harm itself: what makes no sense
//! is answered with [`Down::Refused`].

use surgetank::delivery::Answer;
use surgetank_core::response::Failure;
use surgetank_core::time::UnixTime;
use surgetank_serial::message::{self, BodyKind, Down, MAX_DATA_BYTES, MIN_ROOM, Refusal, Up, VERSION};

/// Bytes of the largest body that is taken: more than any microcontroller holds, little for the gateway.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Bytes of a body that may be under way: two frames, so that the line is not idle while a confirmation comes back, and no
/// more has to be sent again after a loss.
pub(super) const WINDOW: u16 = 2 * MAX_DATA_BYTES as u16;

/// What a body waits for.
#[derive(Debug)]
enum State {
    /// None was begun in this session.
    Fresh,
    /// Arriving.
    Receiving { kind: BodyKind, body: Vec<u8> },
    /// With the server.
    Posting { length: u32 },
    /// Answered; what to say to whoever asks.
    Answered { reply: Vec<u8> },
    /// The device has the answer.
    Settled,
}

/// A body that is complete.
#[derive(Debug)]
pub(super) struct Post {
    /// For [`Session::on_outcome`].
    pub(super) ticket: Ticket,
    pub(super) kind: BodyKind,
    pub(super) body: Vec<u8>,
}

/// Names one body among all of one program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    session: u64,
    transfer: u32,
}

/// What is known about the device.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    /// It greeted on the present connection.
    greeted: bool,
    /// Bytes of the largest frame it takes.
    room: usize,
    transfer: u32,
    state: State,
    /// No new body is begun any more.
    closing: bool,
}

/// What a frame led to. Exhaustive.
#[derive(Debug, Default)]
pub(super) struct Reaction {
    /// To be written to the line.
    pub(super) reply: Option<Vec<u8>>,
    /// To be posted.
    pub(super) post: Option<Post>,
}

impl Session {
    /// Before any device was heard.
    pub(super) fn new() -> Self {
        Self {
            id: 0,
            greeted: false,
            room: usize::from(MIN_ROOM),
            transfer: 0,
            state: State::Fresh,
            closing: false,
        }
    }

    /// The line was connected (again); what to say first.
    pub(super) fn on_connect(&mut self) -> Vec<u8> {
        self.greeted = false;
        self.write(&Down::Who { version: VERSION })
    }

    /// A frame's content. `time` is the wall clock; `fresh` makes the number of a new session, not 0.
    pub(super) fn on_frame(
        &mut self,
        content: &[u8],
        time: UnixTime,
        fresh: impl FnOnce() -> u64,
    ) -> Reaction {
        let Some(message) = Up::read(content) else {
            return self.reply(&Down::Refused {
                refusal: Refusal::Malformed,
            });
        };
        match message {
            Up::Hello {
                version,
                session,
                room,
            } => self.on_hello(version, session, room, time, fresh),
            _ if !self.greeted => self.reply(&Down::Who { version: VERSION }),
            Up::Data {
                transfer,
                offset,
                kind,
                last,
                bytes,
            } => self.on_data(transfer, offset, kind, last, bytes),
            Up::Ask { transfer } => self.on_ask(transfer),
            Up::Done { transfer } => {
                if transfer == self.transfer && matches!(self.state, State::Answered { .. }) {
                    self.state = State::Settled;
                }
                Reaction::default()
            }
        }
    }

    fn on_hello(
        &mut self,
        version: u8,
        session: u64,
        room: u16,
        time: UnixTime,
        fresh: impl FnOnce() -> u64,
    ) -> Reaction {
        let refusal = if version != VERSION {
            Some(Refusal::Version)
        } else if room < MIN_ROOM {
            Some(Refusal::Room)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.reply(&Down::Refused { refusal });
        }
        // A device that started says 0, and says it again until it is welcomed: all of that is one session as long as
        // nothing was sent in it.
        let same = self.id != 0 && (session == self.id || session == 0 && matches!(self.state, State::Fresh));
        if !same {
            self.id = fresh();
            self.transfer = 0;
            self.state = State::Fresh;
        }
        self.greeted = true;
        self.room = usize::from(room);
        self.reply(&Down::Welcome {
            session: self.id,
            time,
            window: WINDOW,
            limit: MAX_BODY_BYTES as u32,
        })
    }

    fn on_data(&mut self, transfer: u32, offset: u32, kind: BodyKind, last: bool, bytes: &[u8]) -> Reaction {
        if transfer != self.transfer || matches!(self.state, State::Fresh) {
            if self.closing {
                // Unanswered, it stays with the device.
                return Reaction::default();
            }
            if offset != 0 {
                return self.got(transfer, 0, true);
            }
            // The device went on to another body; one before it, if it is still with the server, is nobody's.
            self.transfer = transfer;
            self.state = State::Receiving {
                kind,
                body: Vec::new(),
            };
        }
        let State::Receiving { kind: known, body } = &mut self.state else {
            return self.progress();
        };
        if *known != kind {
            return self.reply(&Down::Refused {
                refusal: Refusal::Malformed,
            });
        }
        let received = body.len() as u32;
        if offset != received {
            // Behind a gap, or again.
            return self.got(transfer, received, offset > received);
        }
        if body.len() + bytes.len() > MAX_BODY_BYTES {
            let ticket = self.ticket();
            return Reaction {
                reply: self.on_outcome(ticket, &Err(Failure::RequestTooLarge)),
                post: None,
            };
        }
        body.extend_from_slice(bytes);
        let received = body.len() as u32;
        let mut reaction = self.got(transfer, received, false);
        if last
            && let State::Receiving { kind, body } =
                std::mem::replace(&mut self.state, State::Posting { length: received })
        {
            reaction.post = Some(Post {
                ticket: self.ticket(),
                kind,
                body,
            });
        }
        reaction
    }

    fn on_ask(&self, transfer: u32) -> Reaction {
        if transfer == self.transfer && !matches!(self.state, State::Fresh) {
            self.progress()
        } else if self.closing {
            Reaction::default()
        } else {
            self.got(transfer, 0, true)
        }
    }

    /// How far the present body is.
    fn progress(&self) -> Reaction {
        match &self.state {
            State::Receiving { body, .. } => self.got(self.transfer, body.len() as u32, true),
            State::Posting { length } => self.got(self.transfer, *length, false),
            State::Answered { reply } => Reaction {
                reply: Some(reply.clone()),
                post: None,
            },
            State::Fresh | State::Settled => Reaction::default(),
        }
    }

    /// What came of a post; the frame for the device, unless it has gone on to another body.
    pub(super) fn on_outcome(
        &mut self,
        ticket: Ticket,
        outcome: &Result<Answer, Failure>,
    ) -> Option<Vec<u8>> {
        let waits = matches!(self.state, State::Receiving { .. } | State::Posting { .. });
        if !waits || ticket != self.ticket() {
            return None;
        }
        let transfer = self.transfer;
        let reply = match outcome {
            Ok(answer) => {
                let limits = answer.rate_limits.join(&b", "[..]);
                self.write(&Down::Answer {
                    transfer,
                    answer: message::Answer {
                        status: answer.status,
                        retry_after: answer.retry_after.as_deref(),
                        rate_limits: Some(limits.as_slice()),
                        content_type: answer.content_type.as_deref(),
                        body: &answer.body,
                    },
                })
            }
            Err(failure) => self.write(&Down::Failed {
                transfer,
                failure: *failure,
            }),
        };
        self.state = State::Answered { reply: reply.clone() };
        Some(reply)
    }

    /// Takes no new body from here on. The last answer, which a device that has it confirms once more.
    pub(super) fn close(&mut self) -> Option<Vec<u8>> {
        self.closing = true;
        match &self.state {
            State::Answered { reply } => Some(reply.clone()),
            _ => None,
        }
    }

    /// True while a body is with the server, or its answer not confirmed: ending now could double it.
    pub(super) const fn is_engaged(&self) -> bool {
        matches!(self.state, State::Posting { .. } | State::Answered { .. })
    }

    const fn ticket(&self) -> Ticket {
        Ticket {
            session: self.id,
            transfer: self.transfer,
        }
    }

    fn got(&self, transfer: u32, received: u32, resume: bool) -> Reaction {
        self.reply(&Down::Got {
            transfer,
            received,
            resume,
        })
    }

    fn reply(&self, message: &Down<'_>) -> Reaction {
        Reaction {
            reply: Some(self.write(message)),
            post: None,
        }
    }

    fn write(&self, message: &Down<'_>) -> Vec<u8> {
        let mut buffer = vec![0; self.room.max(usize::from(MIN_ROOM))];
        // Every message fits the least room; answers are cut to it.
        message.write(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
    }
}
