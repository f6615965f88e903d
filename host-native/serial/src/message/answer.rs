//! A server's answer on its way to the device, cut to what the device has room for.

use super::bytes::{Fields, Head};
use crate::frame;

const RETRY_AFTER: u8 = 1;
const RATE_LIMITS: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const BODY: u8 = 4;

/// Longest `Retry-After` and `Content-Type` that are passed on: the core reads no longer ones.
const MAX_VALUE_BYTES: usize = 64;

/// Bytes before each field of an answer: tag and length.
const FIELD_HEAD: usize = 3;

/// What a server answered, as much of it as changes a decision. All as received.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Value of `Retry-After`.
    pub retry_after: Option<&'a [u8]>,
    /// Values of all `X-Sentry-Rate-Limits`, joined by commas.
    pub rate_limits: Option<&'a [u8]>,
    /// Value of `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// The first bytes of the body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads what stands behind the body's number; `None` when it ends early.
    pub(super) fn read(fields: &mut Fields<'a>) -> Option<Self> {
        let mut answer = Self {
            status: u16::from_le_bytes(fields.array()?),
            ..Self::default()
        };
        while let Some(tag) = fields.byte() {
            let length = usize::from(u16::from_le_bytes(fields.array()?));
            let value = fields.slice(length)?;
            match tag {
                RETRY_AFTER => answer.retry_after = Some(value),
                RATE_LIMITS => answer.rate_limits = Some(value),
                CONTENT_TYPE => answer.content_type = Some(value),
                BODY => answer.body = value,
                // A later version's.
                _ => {}
            }
        }
        Some(answer)
    }

    /// Writes an answer's frame, behind what `head` has already. The fields go in the order of how much depends on them;
    /// each takes what the ones before it left.
    pub(super) fn write<'b>(&self, head: &mut Head, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        head.put(&self.status.to_le_bytes());
        let mut left = frame::content_bytes(buffer.len()).checked_sub(head.bytes().len())?;
        let short = |value: &&[u8]| value.len() <= MAX_VALUE_BYTES;
        let retry_after = field(RETRY_AFTER, self.retry_after.filter(short), &mut left, whole);
        let rate_limits = field(RATE_LIMITS, self.rate_limits, &mut left, groups);
        let content_type = field(CONTENT_TYPE, self.content_type.filter(short), &mut left, whole);
        let body = field(BODY, Some(self.body), &mut left, prefix);
        let [a, b, c, d] = [&retry_after, &rate_limits, &content_type, &body];
        frame::encode(
            &[
                head.bytes(),
                a.0.bytes(),
                a.1,
                b.0.bytes(),
                b.1,
                c.0.bytes(),
                c.1,
                d.0.bytes(),
                d.1,
            ],
            buffer,
        )
    }
}

/// Tag and length of a field, and the part of `value` that `cut` says fits; nothing of it when that is empty.
fn field<'v>(
    tag: u8,
    value: Option<&'v [u8]>,
    left: &mut usize,
    cut: fn(&[u8], usize) -> &[u8],
) -> (Head, &'v [u8]) {
    let most = left.saturating_sub(FIELD_HEAD).min(usize::from(u16::MAX));
    let value = cut(value.unwrap_or_default(), most);
    let mut head = Head::new();
    if !value.is_empty() {
        head.put(&[tag]).put(&(value.len() as u16).to_le_bytes());
        *left -= FIELD_HEAD + value.len();
    }
    (head, value)
}

/// All of it or nothing.
fn whole(value: &[u8], most: usize) -> &[u8] {
    if value.len() <= most { value } else { &[] }
}

/// As many groups of a rate-limit header as fit.
fn groups(value: &[u8], most: usize) -> &[u8] {
    let Some(start) = value.get(..=most) else {
        return value;
    };
    let end = start.iter().rposition(|byte| *byte == b',').unwrap_or(0);
    start.get(..end).unwrap_or_default()
}

fn prefix(value: &[u8], most: usize) -> &[u8] {
    value.get(..most).unwrap_or(value)
}
