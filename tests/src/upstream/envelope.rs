//! Takes Sentry envelopes apart (develop docs, "Envelopes"), independently of the code under test, and keeps every byte.

use serde_json::Value;

/// An envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The header as it was written.
    pub header: Vec<u8>,
    /// The items in order.
    pub items: Vec<Item>,
}

/// An item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The header as it was written.
    pub header: Vec<u8>,
    /// The payload, without the line feed behind it.
    pub payload: Vec<u8>,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let (header, mut rest) = line(bytes);
        object(header).ok_or("the envelope header is no JSON object")?;
        let mut items = Vec::new();
        while !rest.is_empty() {
            let (item, after) = Item::read(rest)?;
            items.push(item);
            rest = after;
        }
        Ok(Self {
            header: header.to_vec(),
            items,
        })
    }

    /// The header as JSON.
    #[must_use]
    pub fn header_json(&self) -> Value {
        object(&self.header).unwrap_or_default()
    }
}

impl Item {
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let (header, after) = line(bytes);
        let json = object(header).ok_or("an item header is no JSON object")?;
        if json.get("type").and_then(Value::as_str).is_none() {
            return Err("an item has no type".to_owned());
        }
        let (payload, rest) = match json.get("length") {
            Some(length) => {
                let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
                let (payload, rest) = length
                    .and_then(|length| after.split_at_checked(length))
                    .ok_or("an item's length leads beyond the end")?;
                match rest.split_first() {
                    None => (payload, rest),
                    Some((b'\n', rest)) => (payload, rest),
                    Some(_) => return Err("no line feed behind an item's payload".to_owned()),
                }
            }
            None => line(after),
        };
        let item = Self {
            header: header.to_vec(),
            payload: payload.to_vec(),
        };
        Ok((item, rest))
    }

    /// The type in its header.
    #[must_use]
    pub fn kind(&self) -> String {
        let json = object(&self.header).unwrap_or_default();
        json.get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// The payload as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// The types of an envelope's items, for people; `None` when it is none.
#[must_use]
pub fn kinds(bytes: &[u8]) -> Option<String> {
    let envelope = Envelope::read(bytes).ok()?;
    let kinds: Vec<String> = envelope.items.iter().map(Item::kind).collect();
    Some(format!("[{}]", kinds.join(" ")))
}

fn object(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line).ok().filter(Value::is_object)
}

/// Up to the next line feed or the end, and what comes behind it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
