//! The members of an object that lies in one piece.

use super::{JsonError, Scanner, Short, Token};
use crate::limits::MAX_JSON_DEPTH;

/// Bytes of a member name that are kept; longer names are passed on as `None`.
const NAME_BYTES: usize = 64;

/// What kind of value a member has.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string; read it with [`text`].
    Text,
    /// A number; its value when it was written as an integer from 0 to 2^64 - 1.
    Number(Option<u64>),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'n, 'a> {
    /// The name without escapes; `None` when it is longer than 64 bytes.
    pub name: Option<&'n [u8]>,
    /// What the value is.
    pub kind: Kind,
    /// The value as it stands, quotes and brackets included.
    pub value: &'a [u8],
}

/// Calls `visit` for each member of `object`, in order. A name that occurs twice is visited twice: whoever assigns has
/// the last one win. Bound: one walk over `object`.
///
/// # Errors
///
/// What is wrong with the text, nesting beyond [`MAX_JSON_DEPTH`] included. Members before the mistake were visited.
pub fn visit_members<'a>(object: &'a [u8], mut visit: impl FnMut(Member<'_, 'a>)) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(MAX_JSON_DEPTH);
    let mut input = object;
    let mut name = Short::<NAME_BYTES>::new();
    let mut named = false;
    let mut start = 0;
    while let Some(token) = scanner.next(&mut input)? {
        let kind = match (token, scanner.depth()) {
            (Token::ArrayStart, 1) => return Err(JsonError::UnexpectedByte),
            (Token::ObjectStart | Token::ArrayStart, 2) => {
                start = scanner.start();
                continue;
            }
            (Token::Part(piece), 1) if !named => {
                name.push(piece);
                continue;
            }
            (Token::Char(character), 1) if !named => {
                name.push_char(character);
                continue;
            }
            (Token::Key, 1) => {
                named = true;
                continue;
            }
            (Token::ObjectEnd, 1) => Kind::Object,
            (Token::ArrayEnd, 1) => Kind::Array,
            (Token::Text, 1) => Kind::Text,
            (Token::Number(value), 1) => Kind::Number(value),
            (Token::Bool(value), 1) => Kind::Bool(value),
            (Token::Null, 1) => Kind::Null,
            _ => continue,
        };
        if !matches!(kind, Kind::Object | Kind::Array) {
            start = scanner.start();
        }
        visit(Member {
            name: name.get(),
            kind,
            value: object
                .get(start as usize..scanner.position() as usize)
                .unwrap_or_default(),
        });
        name.clear();
        named = false;
    }
    if !scanner.is_done() {
        return Err(JsonError::UnexpectedEnd);
    }
    if input
        .iter()
        .any(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
    {
        return Err(JsonError::UnexpectedByte);
    }
    Ok(())
}

/// The text of a string `value` (quotes included, as in [`Member::value`]), without escapes, written into `buffer`.
///
/// `None` when it is no complete string or longer than `buffer`. Bound: one walk over `value`.
#[must_use]
pub fn text<'b>(value: &[u8], buffer: &'b mut [u8]) -> Option<&'b str> {
    let (b'"', mut input) = value.split_first()? else {
        return None;
    };
    let mut scanner = Scanner::inside_text();
    let mut used = 0_usize;
    let mut character = [0; 4];
    loop {
        let piece = match scanner.next(&mut input).ok()?? {
            Token::Part(piece) => piece,
            Token::Char(escaped) => escaped.encode_utf8(&mut character).as_bytes(),
            _ => break,
        };
        let room = buffer.get_mut(used..)?.get_mut(..piece.len())?;
        for (to, from) in room.iter_mut().zip(piece) {
            *to = *from;
        }
        used = used.checked_add(piece.len())?;
    }
    if !input.is_empty() {
        return None;
    }
    core::str::from_utf8(buffer.get(..used)?).ok()
}
