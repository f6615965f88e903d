//! What the two ends say: the content of frames, as values. The page `FRAMING.md` has the bytes.
//!
//! Reading takes anything and gives a message or nothing. Numbers are little-endian.

mod answer;
mod bytes;
#[cfg(test)]
mod tests;

use surgetank_core::item::Signal;
use surgetank_core::request::RequestKind;
use surgetank_core::response::Failure;
use surgetank_core::time::UnixTime;

pub use self::answer::Answer;
use self::bytes::{Fields, Head};
use crate::frame;

/// Version of the protocol. A device and a gateway that differ do not talk.
pub const VERSION: u8 = 1;

/// Bytes of a device's largest frame, without checksum and stuffing: with them it is one group of stuffing, so it takes
/// two bytes more on the line and the device encodes it in a quarter of a kilobyte.
pub const MAX_UP_BYTES: usize = 250;

/// Bytes of a body that one [`Up::Data`] carries.
pub const MAX_DATA_BYTES: usize = MAX_UP_BYTES - DATA_HEAD;

/// Bytes on the line of a device's largest frame.
pub const UP_LINE_BYTES: usize = frame::line_bytes(MAX_UP_BYTES);

/// Least room for a gateway's frame that a device must have: an answer with `Retry-After` and two rate limits.
pub const MIN_ROOM: u16 = 256;

const DATA_HEAD: usize = 11;

const HELLO: u8 = 0x01;
const DATA: u8 = 0x02;
const ASK: u8 = 0x03;
const DONE: u8 = 0x04;
const WHO: u8 = 0x81;
const WELCOME: u8 = 0x82;
const GOT: u8 = 0x83;
const ANSWER: u8 = 0x84;
const FAILED: u8 = 0x85;
const REFUSED: u8 = 0x86;

const LAST: u8 = 1;
const RESUME: u8 = 1;

/// What a body is, which says where it goes. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyKind {
    /// A Sentry envelope.
    Envelope,
    /// An OTLP request in protobuf.
    Protobuf(Signal),
    /// An OTLP request in JSON.
    Json(Signal),
}

impl BodyKind {
    /// What the body of such a request is.
    #[must_use]
    pub const fn of(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Envelope | RequestKind::Items | RequestKind::Container(_) | RequestKind::Report => {
                Self::Envelope
            }
            RequestKind::Records(signal) | RequestKind::Requests(signal) => Self::Protobuf(signal),
            RequestKind::Json(signal) => Self::Json(signal),
        }
    }

    /// Value for `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Envelope => "application/x-sentry-envelope",
            Self::Protobuf(_) => "application/x-protobuf",
            Self::Json(_) => "application/json",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Envelope => 0,
            Self::Protobuf(signal) => 1 + signal_code(signal),
            Self::Json(signal) => 4 + signal_code(signal),
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Envelope,
            1 => Self::Protobuf(Signal::Traces),
            2 => Self::Protobuf(Signal::Logs),
            3 => Self::Protobuf(Signal::Metrics),
            4 => Self::Json(Signal::Traces),
            5 => Self::Json(Signal::Logs),
            6 => Self::Json(Signal::Metrics),
            _ => return None,
        })
    }
}

const fn signal_code(signal: Signal) -> u8 {
    match signal {
        Signal::Traces => 0,
        Signal::Logs => 1,
        Signal::Metrics => 2,
    }
}

/// From the device to the gateway. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Up<'a> {
    /// Who the device is: said first, and again until it is answered.
    Hello {
        /// [`VERSION`].
        version: u8,
        /// Session it was given before; 0 after a start.
        session: u64,
        /// Bytes on the line of the largest frame it can take.
        room: u16,
    },
    /// A piece of a body.
    Data {
        /// Number of the body, growing within a session.
        transfer: u32,
        /// Where the piece stands in it.
        offset: u32,
        /// What the body is.
        kind: BodyKind,
        /// The body ends with it.
        last: bool,
        /// The piece.
        bytes: &'a [u8],
    },
    /// How far is that body?
    Ask {
        /// Its number.
        transfer: u32,
    },
    /// The answer arrived and may be forgotten.
    Done {
        /// Number of the body it answered.
        transfer: u32,
    },
}

impl<'a> Up<'a> {
    /// Reads a frame's content; `None` for what is no message of this protocol.
    #[must_use]
    pub fn read(content: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(content);
        let message = match fields.byte()? {
            HELLO => Self::Hello {
                version: fields.byte()?,
                session: u64::from_le_bytes(fields.array()?),
                room: u16::from_le_bytes(fields.array()?),
            },
            DATA => Self::Data {
                transfer: fields.number()?,
                offset: fields.number()?,
                kind: BodyKind::from_code(fields.byte()?)?,
                last: fields.byte()? & LAST != 0,
                bytes: core::mem::take(&mut fields.0),
            },
            ASK => Self::Ask {
                transfer: fields.number()?,
            },
            DONE => Self::Done {
                transfer: fields.number()?,
            },
            _ => return None,
        };
        // What a later version appends is passed over.
        Some(message)
    }

    /// Writes the frame into `buffer`; `None` when it does not fit. [`UP_LINE_BYTES`] are enough for every message whose
    /// piece has at most [`MAX_DATA_BYTES`].
    #[must_use]
    pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut head = Head::new();
        let mut rest: &[u8] = &[];
        match *self {
            Self::Hello {
                version,
                session,
                room,
            } => head
                .put(&[HELLO, version])
                .put(&session.to_le_bytes())
                .put(&room.to_le_bytes()),
            Self::Data {
                transfer,
                offset,
                kind,
                last,
                bytes,
            } => {
                rest = bytes;
                head.put(&[DATA])
                    .put(&transfer.to_le_bytes())
                    .put(&offset.to_le_bytes())
                    .put(&[kind.code(), if last { LAST } else { 0 }])
            }
            Self::Ask { transfer } => head.put(&[ASK]).put(&transfer.to_le_bytes()),
            Self::Done { transfer } => head.put(&[DONE]).put(&transfer.to_le_bytes()),
        };
        frame::encode(&[head.bytes(), rest], buffer)
    }
}

/// Why a gateway does not talk. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It speaks another version.
    Version,
    /// The frame was whole, but no message that it knows or allows here.
    Malformed,
    /// The device has less than [`MIN_ROOM`].
    Room,
}

/// From the gateway to the device. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Down<'a> {
    /// Who is there? Said when the line is connected, and to whoever did not greet.
    Who {
        /// [`VERSION`].
        version: u8,
    },
    /// Answer to [`Up::Hello`].
    Welcome {
        /// The session that holds from here on. Another one than the device named: the gateway knows nothing of before.
        session: u64,
        /// Wall clock now.
        time: UnixTime,
        /// Bytes of a body that may be under way without having been confirmed.
        window: u16,
        /// Bytes of the largest body that is taken.
        limit: u32,
    },
    /// How much of a body arrived in one piece from its start.
    Got {
        /// Number of the body.
        transfer: u32,
        /// Bytes.
        received: u32,
        /// Whatever was sent behind them is lost: go on there.
        resume: bool,
    },
    /// The server's answer to a body.
    Answer {
        /// Number of the body.
        transfer: u32,
        /// The answer.
        answer: Answer<'a>,
    },
    /// A body got no answer.
    Failed {
        /// Number of the body.
        transfer: u32,
        /// Why.
        failure: Failure,
    },
    /// What was said cannot be answered.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

impl<'a> Down<'a> {
    /// Reads a frame's content; `None` for what is no message of this protocol.
    #[must_use]
    pub fn read(content: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(content);
        Some(match fields.byte()? {
            WHO => Self::Who {
                version: fields.byte()?,
            },
            WELCOME => Self::Welcome {
                session: u64::from_le_bytes(fields.array()?),
                time: UnixTime::from_micros(u64::from_le_bytes(fields.array()?)),
                window: u16::from_le_bytes(fields.array()?),
                limit: fields.number()?,
            },
            GOT => Self::Got {
                transfer: fields.number()?,
                received: fields.number()?,
                resume: fields.byte()? & RESUME != 0,
            },
            ANSWER => Self::Answer {
                transfer: fields.number()?,
                answer: Answer::read(&mut fields)?,
            },
            FAILED => Self::Failed {
                transfer: fields.number()?,
                failure: failure(fields.byte()?)?,
            },
            REFUSED => Self::Refused {
                refusal: match fields.byte()? {
                    1 => Refusal::Version,
                    2 => Refusal::Malformed,
                    3 => Refusal::Room,
                    _ => return None,
                },
            },
            _ => return None,
        })
    }

    /// Writes the frame into `buffer`; `None` when it does not fit. An answer is cut to what fits: its body at any byte, its
    /// rate limits at a comma; status and `Retry-After` are never cut.
    #[must_use]
    pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut head = Head::new();
        match *self {
            Self::Who { version } => head.put(&[WHO, version]),
            Self::Welcome {
                session,
                time,
                window,
                limit,
            } => head
                .put(&[WELCOME])
                .put(&session.to_le_bytes())
                .put(&time.as_micros().to_le_bytes())
                .put(&window.to_le_bytes())
                .put(&limit.to_le_bytes()),
            Self::Got {
                transfer,
                received,
                resume,
            } => head
                .put(&[GOT])
                .put(&transfer.to_le_bytes())
                .put(&received.to_le_bytes())
                .put(&[if resume { RESUME } else { 0 }]),
            Self::Answer { transfer, answer } => {
                head.put(&[ANSWER]).put(&transfer.to_le_bytes());
                return answer.write(&mut head, buffer);
            }
            Self::Failed { transfer, failure } => head
                .put(&[FAILED])
                .put(&transfer.to_le_bytes())
                .put(&[failure_code(failure)]),
            Self::Refused { refusal } => head.put(&[
                REFUSED,
                match refusal {
                    Refusal::Version => 1,
                    Refusal::Malformed => 2,
                    Refusal::Room => 3,
                },
            ]),
        };
        frame::encode(&[head.bytes()], buffer)
    }
}

const fn failure_code(failure: Failure) -> u8 {
    match failure {
        Failure::Dns => 1,
        Failure::Connect => 2,
        Failure::Tls => 3,
        Failure::Timeout => 4,
        Failure::Disconnected => 5,
        Failure::MalformedResponse => 6,
        Failure::InvalidRequest => 7,
        Failure::RequestTooLarge => 8,
        Failure::ResponseTooLarge => 9,
        Failure::Internal => 10,
    }
}

const fn failure(code: u8) -> Option<Failure> {
    Some(match code {
        1 => Failure::Dns,
        2 => Failure::Connect,
        3 => Failure::Tls,
        4 => Failure::Timeout,
        5 => Failure::Disconnected,
        6 => Failure::MalformedResponse,
        7 => Failure::InvalidRequest,
        8 => Failure::RequestTooLarge,
        9 => Failure::ResponseTooLarge,
        10 => Failure::Internal,
        _ => return None,
    })
}
