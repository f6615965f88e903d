//! Passing over what nobody looks at: most of a payload.
//!
//! Inside a bracket that is passed over only strings, brackets and their nesting are followed, so that its end is found;
//! whether what stands between them is JSON is not checked. That takes a fraction of the work of reading it.

use super::{JsonError, Scanner, State, Token};

/// Where in the passed bytes the scanner is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passing {
    /// Outside of strings.
    Between,
    Text,
    /// Behind a backslash in a string.
    Escape,
}

impl Scanner {
    /// Behind [`Token::ObjectStart`] or [`Token::ArrayStart`]: passes over what is inside, so that the bracket's end is the
    /// next token. Elsewhere it does nothing.
    pub(crate) const fn pass_over(&mut self) {
        if matches!(self.state, State::FirstKey | State::FirstValue) {
            self.state = State::Passing(Passing::Between);
            self.passed = self.depth;
        }
    }

    pub(super) fn pass<'a>(
        &mut self,
        mut passing: Passing,
        input: &mut &'a [u8],
    ) -> Result<Option<Token<'a>>, JsonError> {
        let whole = *input;
        let mut rest = whole;
        let token = loop {
            rest = match passing {
                Passing::Between => between(rest),
                Passing::Text => text(rest),
                Passing::Escape => rest,
            };
            let Some((byte, after)) = rest.split_first() else {
                self.state = State::Passing(passing);
                break Ok(None);
            };
            passing = match (passing, *byte) {
                (Passing::Between, b'"') | (Passing::Escape, _) => Passing::Text,
                (Passing::Between, bracket) => match self.bracket(bracket) {
                    Ok(None) => Passing::Between,
                    Ok(end) => {
                        rest = after;
                        break Ok(end);
                    }
                    Err(error) => break Err(error),
                },
                (Passing::Text, b'"') => Passing::Between,
                (Passing::Text, _) => Passing::Escape,
            };
            rest = after;
        };
        let taken = whole.len().wrapping_sub(rest.len());
        self.position = self.position.wrapping_add(taken as u32);
        *input = rest;
        token
    }

    /// Opens or closes a bracket; gives the end of the one that is passed over.
    fn bracket(&mut self, byte: u8) -> Result<Option<Token<'static>>, JsonError> {
        let object = matches!(byte, b'{' | b'}');
        if matches!(byte, b'{' | b'[') {
            self.open(object)?;
            return Ok(None);
        }
        if (self.kinds & 1 == 1) != object {
            return Err(JsonError::UnexpectedByte);
        }
        let is_end = self.depth == self.passed;
        let token = if object { Token::ObjectEnd } else { Token::ArrayEnd };
        self.close(token);
        Ok(is_end.then_some(token))
    }
}

/// `input` from the first quote or bracket on.
fn between(mut input: &[u8]) -> &[u8] {
    while let Some((byte, after)) = input.split_first()
        && !matches!(*byte, b'"' | b'{' | b'}' | b'[' | b']')
    {
        input = after;
    }
    input
}

/// `input` from the first quote or backslash on, eight bytes at a time.
fn text(mut input: &[u8]) -> &[u8] {
    const ONES: u64 = u64::MAX / 255;
    // Sets the high bit of the lowest zero byte, and none below it.
    const fn zero_byte(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    while let Some((chunk, after)) = input.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = zero_byte(word ^ (ONES * b'"' as u64));
        let backslash = zero_byte(word ^ (ONES * b'\\' as u64));
        let found = (quote | backslash) & (ONES << 7);
        if found != 0 {
            let plain = (found.trailing_zeros() / 8) as usize;
            return input.get(plain..).unwrap_or(after);
        }
        input = after;
    }
    while let Some((byte, after)) = input.split_first()
        && !matches!(*byte, b'"' | b'\\')
    {
        input = after;
    }
    input
}
