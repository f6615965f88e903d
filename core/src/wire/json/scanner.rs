//! The incremental scanner: bytes in, tokens out.
//!
//! A pushdown automaton whose stack is one bit a level (object or array), so nesting costs no memory. It accepts
//! exactly the grammar of RFC 8259 with an object or array at the top, checks UTF-8 inside strings, and stops behind
//! the last bracket, so the caller decides what may follow. One leniency, shared with the parsers it feeds: an escaped
//! surrogate without its partner reads as U+FFFD.

use crate::wire::hex;
use pass::Passing;
use text::{Utf8, unescape};
pub(crate) use whole::Whole;

mod pass;
mod text;
mod whole;

/// What is wrong with a text that should be JSON.
///
/// Exhaustive. The offset is [`Scanner::position`]: the byte that could not stand there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JsonError {
    /// A byte that the grammar does not allow here.
    UnexpectedByte,
    /// A control character inside a string; it must be escaped.
    ControlCharacter,
    /// A backslash before something other than `"\/bfnrt` or `u` and four hexadecimal digits.
    InvalidEscape,
    /// Bytes inside a string that are not UTF-8.
    InvalidUtf8,
    /// Deeper nesting than the consumer follows.
    TooDeep,
    /// The text ended before its last bracket.
    UnexpectedEnd,
}

impl JsonError {
    /// The complaint, as a clause.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnexpectedByte => "a byte that JSON does not allow here",
            Self::ControlCharacter => "an unescaped control character in a string",
            Self::InvalidEscape => "an unknown escape in a string",
            Self::InvalidUtf8 => "a string that is not UTF-8",
            Self::TooDeep => "too many nested objects or arrays",
            Self::UnexpectedEnd => "an end in the middle of the JSON text",
        }
    }
}

impl core::fmt::Display for JsonError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for JsonError {}

/// A step of the scanner.
///
/// Exhaustive. A string arrives as any number of [`Token::Part`] and [`Token::Char`], then [`Token::Key`] or
/// [`Token::Text`], which says what the string was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'a> {
    /// `{`.
    ObjectStart,
    /// `}`.
    ObjectEnd,
    /// `[`.
    ArrayStart,
    /// `]`.
    ArrayEnd,
    /// Bytes of a string as they stand: no escapes in them, possibly cut inside a character.
    Part(&'a [u8]),
    /// One character of a string that was escaped.
    Char(char),
    /// A member name is complete.
    Key,
    /// A string value is complete.
    Text,
    /// A number; its value when it was written as an integer from 0 to 2^64 - 1.
    Number(Option<u64>),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before the outermost bracket.
    Start,
    /// A value must follow.
    Value,
    /// Just behind `[`.
    FirstValue,
    /// Just behind `{`.
    FirstKey,
    /// Behind the comma of an object.
    NextKey,
    Colon,
    /// Behind a value.
    After,
    Text,
    Escape,
    /// Digits of `\u` still to come.
    Unicode(u8),
    /// Behind an escaped high surrogate.
    AfterHigh,
    /// Behind an escaped high surrogate and a backslash.
    AfterHighEscape,
    /// A character to hand out before going on.
    Pending(char),
    Number(NumberState),
    Literal(Literal),
    /// Inside a bracket that is passed over.
    Passing(Passing),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NumberState {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Literal {
    True,
    False,
    Null,
}

/// What one byte did.
enum Step {
    /// Used up, nothing to tell.
    Took,
    /// Used up.
    Gave(Token<'static>),
    /// Not used up: it ends what stands before it.
    Ended(Option<Token<'static>>),
}

/// The deepest nesting a scanner can follow: the bits of its stack.
const MAX_LEVELS: u8 = 128;

/// Scans one JSON object or array that arrives in pieces. About 60 bytes.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// One bit a level, the innermost lowest; set for an object.
    kinds: u128,
    state: State,
    depth: u8,
    max_depth: u8,
    key: bool,
    utf8: Utf8,
    /// Code unit being read, and the high surrogate before it or 0.
    unit: u16,
    surrogate: u16,
    /// Value of the number being read; bytes of the literal being read.
    number: Option<u64>,
    position: u32,
    start: u32,
    /// Brackets open when passing over began: the innermost one's end ends it.
    passed: u8,
}

impl Scanner {
    /// A scanner that refuses more than `max_depth` nested brackets (at most 128).
    #[must_use]
    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    pub const fn new(max_depth: usize) -> Self {
        Self {
            kinds: 0,
            state: State::Start,
            depth: 0,
            max_depth: if max_depth < MAX_LEVELS as usize {
                max_depth as u8
            } else {
                MAX_LEVELS
            },
            key: false,
            utf8: Utf8::NONE,
            unit: 0,
            surrogate: 0,
            number: None,
            position: 0,
            start: 0,
            passed: 0,
        }
    }

    /// A scanner just behind the opening quote of a string value; it is not done until [`Token::Text`].
    pub(crate) const fn inside_text() -> Self {
        let mut scanner = Self::new(0);
        scanner.state = State::Text;
        scanner
    }

    /// Brackets open now: 1 inside the outermost one.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// Bytes used up, modulo 2^32; after an error the position of the byte that could not stand there.
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.position
    }

    /// Where the last value or name began: its quote, bracket, sign, first digit or letter. For values made of several
    /// tokens it is moved on by what is inside.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// True behind the last bracket: no further byte is used up.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// True while the text being told is a member's name.
    #[inline]
    pub(crate) const fn is_in_name(&self) -> bool {
        self.key
    }

    /// Takes bytes off the front of `input` up to the end of the next token.
    ///
    /// `None` when more input is needed (all of it was used up) or the text is complete ([`Scanner::is_done`]).
    /// Touches each byte once.
    ///
    /// # Errors
    ///
    /// What is wrong with the byte at [`Scanner::position`]. Later calls go wrong in the same way or another.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Token<'a>>, JsonError> {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Passing(passing) => return self.pass(passing, input),
                State::Pending(character) => {
                    self.state = State::Text;
                    return Ok(Some(Token::Char(character)));
                }
                State::Text => {
                    let run = self.plain_run(input)?;
                    if run > 0
                        && let Some((part, rest)) = input.split_at_checked(run)
                    {
                        *input = rest;
                        self.position = self.position.wrapping_add(run as u32);
                        return Ok(Some(Token::Part(part)));
                    }
                }
                _ => {}
            }
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            let step = self.step(*byte)?;
            if let Step::Ended(token) = step {
                if token.is_some() {
                    return Ok(token);
                }
                continue;
            }
            *input = rest;
            self.position = self.position.wrapping_add(1);
            if let Step::Gave(token) = step {
                return Ok(Some(token));
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<Step, JsonError> {
        let blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.state {
            State::Start
            | State::Value
            | State::FirstValue
            | State::FirstKey
            | State::NextKey
            | State::Colon
            | State::After
                if blank => {}
            State::Start => match byte {
                b'{' | b'[' => return self.open(byte == b'{'),
                _ => return Err(JsonError::UnexpectedByte),
            },
            State::FirstValue if byte == b']' => return Ok(self.close(Token::ArrayEnd)),
            State::Value | State::FirstValue => return self.value(byte),
            State::FirstKey if byte == b'}' => return Ok(self.close(Token::ObjectEnd)),
            State::FirstKey | State::NextKey => match byte {
                b'"' => self.open_text(true),
                _ => return Err(JsonError::UnexpectedByte),
            },
            State::Colon if byte == b':' => self.state = State::Value,
            State::After => match (byte, self.kinds & 1 == 1) {
                (b',', true) => self.state = State::NextKey,
                (b',', false) => self.state = State::Value,
                (b'}', true) => return Ok(self.close(Token::ObjectEnd)),
                (b']', false) => return Ok(self.close(Token::ArrayEnd)),
                _ => return Err(JsonError::UnexpectedByte),
            },
            State::Text => match byte {
                b'"' => {
                    self.state = if self.key { State::Colon } else { State::After };
                    return Ok(Step::Gave(if self.key { Token::Key } else { Token::Text }));
                }
                // Anything else was taken by `plain_run`.
                _ => self.state = State::Escape,
            },
            State::Escape => {
                if byte == b'u' {
                    self.unit = 0;
                    self.state = State::Unicode(4);
                } else {
                    let character = unescape(byte).ok_or(JsonError::InvalidEscape)?;
                    self.state = State::Text;
                    return Ok(Step::Gave(Token::Char(character)));
                }
            }
            State::Unicode(left) => {
                let digit = hex::digit(byte).ok_or(JsonError::InvalidEscape)?;
                self.unit = (self.unit << 4) | u16::from(digit);
                if left > 1 {
                    self.state = State::Unicode(left.wrapping_sub(1));
                } else if let Some(character) = self.end_unit() {
                    return Ok(Step::Gave(Token::Char(character)));
                }
            }
            State::AfterHigh if byte == b'\\' => self.state = State::AfterHighEscape,
            State::AfterHighEscape if byte == b'u' => {
                self.unit = 0;
                self.state = State::Unicode(4);
            }
            State::AfterHigh => return Ok(self.lone_surrogate(State::Text)),
            State::AfterHighEscape => return Ok(self.lone_surrogate(State::Escape)),
            State::Number(number) => return self.number(number, byte),
            State::Literal(literal) => return self.literal(literal, byte),
            State::Colon => return Err(JsonError::UnexpectedByte),
            State::Pending(_) | State::Passing(_) | State::Done => return Ok(Step::Ended(None)),
        }
        Ok(Step::Took)
    }

    fn value(&mut self, byte: u8) -> Result<Step, JsonError> {
        self.start = self.position;
        self.state = match byte {
            b'{' | b'[' => return self.open(byte == b'{'),
            b'"' => {
                self.open_text(false);
                State::Text
            }
            b'-' => {
                self.number = None;
                State::Number(NumberState::Minus)
            }
            b'0'..=b'9' => {
                self.number = hex::decimal_digit(byte).map(u64::from);
                State::Number(if byte == b'0' {
                    NumberState::Zero
                } else {
                    NumberState::Integer
                })
            }
            b't' => State::Literal(Literal::True),
            b'f' => State::Literal(Literal::False),
            b'n' => State::Literal(Literal::Null),
            _ => return Err(JsonError::UnexpectedByte),
        };
        Ok(Step::Took)
    }

    fn open(&mut self, object: bool) -> Result<Step, JsonError> {
        if self.depth >= self.max_depth {
            return Err(JsonError::TooDeep);
        }
        self.start = self.position;
        self.depth = self.depth.wrapping_add(1);
        self.kinds = (self.kinds << 1) | u128::from(object);
        Ok(Step::Gave(if object {
            self.state = State::FirstKey;
            Token::ObjectStart
        } else {
            self.state = State::FirstValue;
            Token::ArrayStart
        }))
    }

    fn close(&mut self, token: Token<'static>) -> Step {
        self.kinds >>= 1;
        self.depth = self.depth.saturating_sub(1);
        self.state = if self.depth == 0 {
            State::Done
        } else {
            State::After
        };
        Step::Gave(token)
    }

    fn open_text(&mut self, key: bool) {
        self.start = self.position;
        self.key = key;
        self.utf8 = Utf8::NONE;
        self.surrogate = 0;
        self.state = State::Text;
    }

    fn number(&mut self, state: NumberState, byte: u8) -> Result<Step, JsonError> {
        use NumberState::{Exponent, ExponentDigits, ExponentSign, Fraction, Integer, Minus, Point, Zero};
        let next = match (state, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') => Integer,
            (Integer, b'0'..=b'9') => {
                let digit = hex::decimal_digit(byte).map_or(0, u64::from);
                self.number = self
                    .number
                    .and_then(|value| value.checked_mul(10)?.checked_add(digit));
                Integer
            }
            (Zero | Integer, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            (Zero | Integer | Fraction | ExponentDigits, _) => {
                self.state = State::After;
                return Ok(Step::Ended(Some(Token::Number(self.number))));
            }
            _ => return Err(JsonError::UnexpectedByte),
        };
        if matches!(next, Point | Exponent) {
            self.number = None;
        }
        self.state = State::Number(next);
        Ok(Step::Took)
    }

    fn literal(&mut self, literal: Literal, byte: u8) -> Result<Step, JsonError> {
        let (word, token) = match literal {
            Literal::True => (&b"true"[..], Token::Bool(true)),
            Literal::False => (&b"false"[..], Token::Bool(false)),
            Literal::Null => (&b"null"[..], Token::Null),
        };
        let at = self.position.wrapping_sub(self.start) as usize;
        if word.get(at) != Some(&byte) {
            return Err(JsonError::UnexpectedByte);
        }
        if at.wrapping_add(1) < word.len() {
            return Ok(Step::Took);
        }
        self.state = State::After;
        Ok(Step::Gave(token))
    }
}
