//! A member in one go.
//!
//! Programs write their header lines without white space, and most of the members are a name and a short text or number. Taken
//! whole, such a member costs a fraction of the automaton's work on each of its bytes.

use super::text::skip_plain_ascii;
use super::{Scanner, State, Token};
use crate::wire::hex::decimal_digit;

/// A member that was taken whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<'a> {
    /// Its name.
    pub(crate) name: &'a [u8],
    /// [`Token::Text`] or [`Token::Number`].
    pub(crate) value: Token<'static>,
    /// The text, if it is one.
    pub(crate) text: &'a [u8],
}

impl Scanner {
    /// Takes the next member off the front of `input`, if it is all there, is ASCII without escapes or white space, and has a
    /// text or a natural number as its value, which then lies between [`Scanner::start`] and [`Scanner::position`]. Else it
    /// takes nothing, and [`Scanner::next`] has what there is to say. The bracket of an object that begins with such a member
    /// goes with it, so this is not for who has to see that.
    pub(crate) fn member<'a>(&mut self, input: &mut &'a [u8]) -> Option<Whole<'a>> {
        let before = *input;
        let member = match self.state {
            State::FirstKey | State::NextKey => before,
            State::After if self.kinds & 1 == 1 => before.strip_prefix(b",")?,
            State::Start => before.strip_prefix(b"{")?,
            _ => return None,
        };
        let (name, after) = plain_text(member)?;
        let place = after.strip_prefix(b":")?;
        let (value, text, rest) = match plain_text(place) {
            Some((text, rest)) => (Token::Text, text, rest),
            None => {
                let (number, rest) = natural_number(place)?;
                (Token::Number(Some(number)), &[][..], rest)
            }
        };
        let at = |rest: &[u8]| {
            let taken = before.len().wrapping_sub(rest.len());
            self.position.wrapping_add(taken as u32)
        };
        (self.start, self.position) = (at(place), at(rest));
        if self.depth == 0 {
            (self.depth, self.kinds) = (1, 1);
        }
        self.state = State::After;
        *input = rest;
        Some(Whole { name, value, text })
    }

    /// Takes the last bracket, if it comes next and is an object's. True when it did: the scanner is done.
    pub(crate) fn end_object(&mut self, input: &mut &[u8]) -> bool {
        let is_last = matches!(self.state, State::After) && self.depth == 1 && self.kinds & 1 == 1;
        let Some(rest) = input.strip_prefix(b"}").filter(|_| is_last) else {
            return false;
        };
        *input = rest;
        self.position = self.position.wrapping_add(1);
        (self.depth, self.kinds) = (0, 0);
        self.state = State::Done;
        true
    }
}

/// The text that `input` begins with, and what is behind its quote.
fn plain_text(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = input.strip_prefix(b"\"")?;
    let end = skip_plain_ascii(text);
    let rest = end.strip_prefix(b"\"")?;
    Some((text.get(..text.len().wrapping_sub(end.len()))?, rest))
}

/// The number that `input` begins with, of at most 18 digits, and what is behind it: a comma or the object's end.
fn natural_number(input: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest) = (0_u64, input);
    while let Some((byte, after)) = rest.split_first()
        && let Some(digit) = decimal_digit(*byte)
    {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        rest = after;
    }
    let digits = input.len().wrapping_sub(rest.len());
    let is_number = matches!((digits, input.first()?), (1, _) | (2..=18, b'1'..=b'9'));
    (is_number && matches!(rest.first()?, b',' | b'}')).then_some((value, rest))
}
