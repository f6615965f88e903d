//! Takes Sentry envelopes apart, independently of the code under test.

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Envelope {
    pub header: Value,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug)]
pub struct Item {
    pub header: Value,
    pub payload: Vec<u8>,
}

impl Item {
    pub fn kind(&self) -> &str {
        self.header["type"].as_str().expect("an item has a type")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("the payload is JSON")
    }
}

pub fn parse(bytes: &[u8]) -> Envelope {
    let (line, mut rest) = split_line(bytes);
    let header = serde_json::from_slice(line).expect("an envelope header");
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        let header: Value = serde_json::from_slice(line).expect("an item header");
        let payload = match header.get("length").and_then(Value::as_u64) {
            Some(length) => {
                let (payload, after) = after.split_at(usize::try_from(length).unwrap());
                rest = after.strip_prefix(b"\n").unwrap_or_else(|| {
                    assert!(
                        after.is_empty(),
                        "a payload must be followed by a line feed or the end"
                    );
                    after
                });
                payload
            }
            None => {
                let (payload, after) = split_line(after);
                rest = after;
                payload
            }
        };
        items.push(Item {
            header,
            payload: payload.to_vec(),
        });
    }
    Envelope { header, items }
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
