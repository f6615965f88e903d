//! What is inside a string: runs of plain bytes, escapes, and the check of UTF-8.

use super::{JsonError, Scanner, State, Step, Token};

/// Bounds of the next byte inside a multi-byte character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utf8 {
    left: u8,
    low: u8,
    high: u8,
}

impl Utf8 {
    pub(super) const NONE: Self = Self::expect(0, 0x80, 0xBF);

    const fn expect(left: u8, low: u8, high: u8) -> Self {
        Self { left, low, high }
    }

    /// The state behind lead byte `byte` (RFC 3629, section 4).
    const fn lead(byte: u8) -> Option<Self> {
        Some(match byte {
            0xC2..=0xDF => Self::expect(1, 0x80, 0xBF),
            0xE0 => Self::expect(2, 0xA0, 0xBF),
            0xED => Self::expect(2, 0x80, 0x9F),
            0xE1..=0xEF => Self::expect(2, 0x80, 0xBF),
            0xF0 => Self::expect(3, 0x90, 0xBF),
            0xF1..=0xF3 => Self::expect(3, 0x80, 0xBF),
            0xF4 => Self::expect(3, 0x80, 0x8F),
            _ => return None,
        })
    }

    /// The state behind continuation byte `byte`.
    const fn next(self, byte: u8) -> Option<Self> {
        if byte < self.low || byte > self.high {
            return None;
        }
        Some(Self::expect(self.left.saturating_sub(1), 0x80, 0xBF))
    }
}

impl Scanner {
    /// Length of the run at the front of `input` that stands for itself. Errors only at its first byte.
    pub(super) fn plain_run(&mut self, input: &[u8]) -> Result<usize, JsonError> {
        let mut rest = input;
        loop {
            if self.utf8.left == 0 {
                rest = skip_plain_ascii(rest);
            }
            let Some((byte, after)) = rest.split_first() else {
                break;
            };
            let next = if self.utf8.left > 0 {
                self.utf8.next(*byte).ok_or(JsonError::InvalidUtf8)
            } else {
                match *byte {
                    b'"' | b'\\' => break,
                    0..0x20 => Err(JsonError::ControlCharacter),
                    0x80.. => Utf8::lead(*byte).ok_or(JsonError::InvalidUtf8),
                    _ => Ok(Utf8::NONE),
                }
            };
            match next {
                Ok(utf8) => self.utf8 = utf8,
                Err(error) if rest.len() == input.len() => return Err(error),
                Err(_) => break,
            }
            rest = after;
        }
        Ok(input.len().wrapping_sub(rest.len()))
    }

    /// The four digits of `\u` are there: the character they complete, if they do.
    pub(super) fn end_unit(&mut self) -> Option<char> {
        let high = core::mem::take(&mut self.surrogate);
        let unit = self.unit;
        self.state = State::Text;
        let is_high = matches!(unit, 0xD800..=0xDBFF);
        if is_high {
            self.surrogate = unit;
            self.state = State::AfterHigh;
        }
        match (high, unit) {
            (0, _) if is_high => None,
            (0, _) => Some(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
            (_, 0xDC00..=0xDFFF) => {
                let code = 0x1_0000 + (u32::from(high & 0x3FF) << 10 | u32::from(unit & 0x3FF));
                Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            _ => {
                if !is_high {
                    let character = char::from_u32(u32::from(unit));
                    self.state = State::Pending(character.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(char::REPLACEMENT_CHARACTER)
            }
        }
    }

    pub(super) fn lone_surrogate(&mut self, state: State) -> Step {
        self.surrogate = 0;
        self.state = state;
        Step::Ended(Some(Token::Char(char::REPLACEMENT_CHARACTER)))
    }
}

/// The character that `\` and `byte` stand for.
pub(super) const fn unescape(byte: u8) -> Option<char> {
    Some(match byte {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

/// `input` from the first byte on that is a quote, a backslash, a control character or not ASCII. Eight bytes at a
/// time: strings are most of a payload.
pub(super) fn skip_plain_ascii(input: &[u8]) -> &[u8] {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // Sets the high bit of the lowest zero byte, and none below it.
    const fn zero_byte(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let mut rest = input;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = zero_byte(word ^ (ONES * b'"' as u64));
        let backslash = zero_byte(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control | word) & HIGH;
        if found != 0 {
            let plain = (found.trailing_zeros() / 8) as usize;
            return rest.get(plain..).unwrap_or(after);
        }
        rest = after;
    }
    while let Some((byte, after)) = rest.split_first() {
        if matches!(*byte, b'"' | b'\\' | 0..0x20 | 0x80..) {
            break;
        }
        rest = after;
    }
    rest
}
