//! What is in an export request that somebody else encoded.
//!
//! A relay passes such requests on as they are, but has to know how many items they hold (limits, losses and partial
//! success are counted in spans, log records and data points) and to which trace they belong. It also has to know that
//! they are sound: requests of several clients are joined by concatenation, and one broken request would make the
//! server refuse all of them. So a request is checked to its last byte: by the schema for protobuf (wire types, lengths,
//! UTF-8), by the grammar for JSON.
//!
//! One pass over the bytes, no allocation, no recursion: the work is proportional to the length of the request, the
//! memory to `limits::MAX_OTLP_MESSAGE_DEPTH`.

use super::protobuf::{Field, Malformed, Problem, Reader, Value};
use super::schema::{self, Kind, Message};
use crate::item::{Signal, TraceKey};
use crate::limits::{MAX_OTLP_JSON_DEPTH, MAX_OTLP_MESSAGE_DEPTH};
use crate::wire::hex;
use crate::wire::json::{JsonError, Scanner, Short, Token};
use crate::wire::split::trimmed;
use core::error::Error;
use core::{fmt, str};

/// What a request holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Contents {
    /// Spans, log records or metric data points. Saturates.
    pub items: u32,
    /// The trace of the first span that has a valid one; [`TraceKey::NONE`] for other signals.
    pub trace: TraceKey,
}

/// Counts and checks an `Export*ServiceRequest` in protobuf.
///
/// # Errors
/// [`Malformed`] with the offset of the first byte that does not fit: answer it with 400.
pub fn of_protobuf(signal: Signal, request: &[u8]) -> Result<Contents, Malformed> {
    let mut contents = Contents::default();
    let mut outer = heapless::Vec::<(Reader<'_>, &'static Message), MAX_OTLP_MESSAGE_DEPTH>::new();
    let mut reader = Reader::new(request);
    let mut message = schema::request(signal);
    loop {
        let Some(field) = reader.next()? else {
            match outer.pop() {
                Some(parent) => (reader, message) = parent,
                None => return Ok(contents),
            }
            continue;
        };
        match message.field(field.number) {
            Kind::Message(inner) => {
                let inner_reader = field.message()?;
                if outer.push((reader, message)).is_err() {
                    return Err(Malformed {
                        at: field.at,
                        problem: Problem::TooDeep,
                    });
                }
                (reader, message) = (inner_reader, inner);
                if inner.is_item {
                    contents.items = contents.items.saturating_add(1);
                }
            }
            Kind::TraceId => {
                let id = field.bytes()?;
                if let (false, Ok(id)) = (contents.trace.is_some(), id.try_into()) {
                    contents.trace = TraceKey::of(id);
                }
            }
            kind => check(kind, &field)?,
        }
    }
}

/// Checks a field that holds no message.
fn check(kind: Kind, field: &Field<'_>) -> Result<(), Malformed> {
    let fits = match (kind, field.value) {
        (Kind::Text, Value::Bytes(text)) => {
            return match str::from_utf8(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(Malformed {
                    at: field.at.saturating_add(error.valid_up_to()),
                    problem: Problem::NotUtf8,
                }),
            };
        }
        (Kind::Varints, Value::Bytes(_)) => return field.message()?.varints(),
        (Kind::Fixed64s, Value::Bytes(packed)) => packed.len().is_multiple_of(8),
        (Kind::Varint | Kind::Varints, Value::Varint(_))
        | (Kind::Fixed64 | Kind::Fixed64s, Value::Fixed64(_))
        | (Kind::Fixed32, Value::Fixed32(_))
        | (Kind::Bytes | Kind::TraceId, Value::Bytes(_))
        | (Kind::Unknown, _) => true,
        _ => false,
    };
    if fits { Ok(()) } else { Err(field.unexpected()) }
}

/// Where and why a text is no OTLP/JSON export request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MalformedJson {
    /// Offset of the byte behind which it goes wrong.
    pub at: usize,
    /// What is wrong there.
    pub problem: JsonProblem,
}

/// What is wrong with a text. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonProblem {
    /// It is no JSON object.
    Json(JsonError),
    /// A member that holds what is counted is no array of objects, or a data container no object.
    WrongType,
}

impl fmt::Display for MalformedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid OTLP/JSON at byte {}: ", self.at)?;
        match self.problem {
            JsonProblem::Json(error) => error.fmt(f),
            JsonProblem::WrongType => f.write_str("a value of another type than OTLP gives it"),
        }
    }
}

impl Error for MalformedJson {}

/// Counts and checks an export request in OTLP/JSON. What is not counted is checked for being JSON only.
///
/// # Errors
/// [`MalformedJson`] with the offset of what does not fit: answer it with 400.
pub fn of_json(signal: Signal, request: &[u8]) -> Result<Contents, MalformedJson> {
    let mut scanner = Scanner::new(MAX_OTLP_JSON_DEPTH);
    let mut input = request;
    let mut walk = Walk::new(signal);
    let malformed = |scanner: &Scanner, problem| MalformedJson {
        at: scanner.position() as usize,
        problem,
    };
    loop {
        match scanner.next(&mut input) {
            Ok(Some(token)) => walk
                .step(token, scanner.depth())
                .map_err(|problem| malformed(&scanner, problem))?,
            Ok(None) if !scanner.is_done() => {
                return Err(malformed(&scanner, JsonProblem::Json(JsonError::UnexpectedEnd)));
            }
            Ok(None) if !trimmed(input).is_empty() => {
                return Err(malformed(&scanner, JsonProblem::Json(JsonError::UnexpectedByte)));
            }
            Ok(None) => return Ok(walk.contents),
            Err(error) => return Err(malformed(&scanner, JsonProblem::Json(error))),
        }
    }
}

/// Bytes of the longest name or id that is looked at.
const SHORT_BYTES: usize = 32;

/// Depth of a span's, log record's or metric's object.
const RECORD_DEPTH: u8 = 7;

/// Follows the brackets that lead to the items, and passes over all others.
struct Walk {
    signal: Signal,
    contents: Contents,
    /// Brackets on the way that are open; all brackets when none but those are.
    followed: u8,
    /// Name of the current member of the innermost followed object.
    name: Short<SHORT_BYTES>,
    /// True between the name and the end of its value.
    named: bool,
    trace_id: Short<SHORT_BYTES>,
}

/// A bracket on the way to the items.
struct Bracket {
    object: bool,
    /// Member names under which it may stand; none inside an array.
    names: &'static [&'static str],
    is_item: bool,
}

impl Walk {
    const fn new(signal: Signal) -> Self {
        Self {
            signal,
            contents: Contents {
                items: 0,
                trace: TraceKey::NONE,
            },
            followed: 0,
            name: Short::new(),
            named: false,
            trace_id: Short::new(),
        }
    }

    /// The bracket that is followed at `depth`.
    fn bracket(&self, depth: u8) -> Option<Bracket> {
        let metrics = self.signal == Signal::Metrics;
        let names: &[&str] = match (depth, self.signal) {
            (2, Signal::Traces) => &["resourceSpans"],
            (2, Signal::Logs) => &["resourceLogs"],
            (2, Signal::Metrics) => &["resourceMetrics"],
            (4, Signal::Traces) => &["scopeSpans"],
            (4, Signal::Logs) => &["scopeLogs"],
            (4, Signal::Metrics) => &["scopeMetrics"],
            (6, Signal::Traces) => &["spans"],
            (6, Signal::Logs) => &["logRecords"],
            (6, Signal::Metrics) => &["metrics"],
            (8, Signal::Metrics) => &["gauge", "sum", "histogram", "exponentialHistogram", "summary"],
            (9, Signal::Metrics) => &["dataPoints"],
            (1 | 3 | 5 | RECORD_DEPTH, _) => &[],
            (10, Signal::Metrics) => &[],
            _ => return None,
        };
        Some(Bracket {
            object: !matches!(depth, 2 | 4 | 6 | 9),
            names,
            is_item: depth == if metrics { 10 } else { RECORD_DEPTH },
        })
    }

    /// True when the value that begins now stands where `bracket` is expected.
    fn is_awaited(&self, bracket: &Bracket) -> bool {
        bracket.names.is_empty() || bracket.names.iter().any(|name| self.name.is(name))
    }

    fn step(&mut self, token: Token<'_>, depth: u8) -> Result<(), JsonProblem> {
        match token {
            Token::ObjectStart | Token::ArrayStart => {
                if self.followed.saturating_add(1) == depth
                    && let Some(bracket) = self.bracket(depth)
                    && self.is_awaited(&bracket)
                {
                    if bracket.object != (token == Token::ObjectStart) {
                        return Err(JsonProblem::WrongType);
                    }
                    self.followed = depth;
                    if bracket.is_item {
                        self.contents.items = self.contents.items.saturating_add(1);
                    }
                    self.end_value();
                }
            }
            Token::ObjectEnd | Token::ArrayEnd => {
                self.followed = self.followed.min(depth);
                if self.followed == depth {
                    self.end_value();
                }
            }
            _ if depth != self.followed => {}
            Token::Part(piece) if !self.named => self.name.push(piece),
            Token::Char(character) if !self.named => self.name.push_char(character),
            Token::Part(piece) => self.trace_id.push(piece),
            Token::Char(character) => self.trace_id.push_char(character),
            Token::Key => self.named = true,
            Token::Text | Token::Number(_) | Token::Bool(_) | Token::Null => {
                let awaited = self.bracket(depth.saturating_add(1));
                if token != Token::Null && awaited.is_some_and(|bracket| self.is_awaited(&bracket)) {
                    return Err(JsonProblem::WrongType);
                }
                let in_span = self.signal == Signal::Traces && depth == RECORD_DEPTH;
                if token == Token::Text
                    && in_span
                    && !self.contents.trace.is_some()
                    && self.name.is("traceId")
                {
                    self.contents.trace = self.trace_id.get().map_or(TraceKey::NONE, trace_key);
                }
                self.end_value();
            }
        }
        Ok(())
    }

    /// Forgets the member whose value has begun to be followed, or has ended.
    fn end_value(&mut self) {
        self.named = false;
        self.name.clear();
        self.trace_id.clear();
    }
}

/// The key of an id of 32 hexadecimal digits of either case.
fn trace_key(text: &[u8]) -> TraceKey {
    let (pairs, rest) = text.as_chunks::<2>();
    let mut id = [0; 16];
    if pairs.len() != id.len() || !rest.is_empty() {
        return TraceKey::NONE;
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        match hex::byte(*high, *low) {
            Some(value) => *byte = value,
            None => return TraceKey::NONE,
        }
    }
    TraceKey::of(&id)
}

#[cfg(test)]
mod tests;
