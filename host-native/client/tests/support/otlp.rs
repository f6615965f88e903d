//! Takes OTLP protobuf requests apart, independently of the code under test.

/// The first resource and scope of a request, and the records of all of them.
#[derive(Debug, Default)]
pub struct Export {
    pub resource: Vec<(String, String)>,
    pub scope: (String, String),
    pub records: Vec<Vec<u8>>,
}

/// One field: its number, and its bytes if it is length-delimited.
fn fields(mut message: &[u8]) -> Vec<(u64, Option<&[u8]>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => {
                varint(&mut message);
                None
            }
            1 => {
                message = &message[8..];
                None
            }
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                let (value, rest) = message.split_at(length);
                message = rest;
                Some(value)
            }
            5 => {
                message = &message[4..];
                None
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first().expect("the varint goes on");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes");
}

fn messages(message: &[u8], field: u64) -> Vec<&[u8]> {
    fields(message)
        .into_iter()
        .filter(|(number, _)| *number == field)
        .filter_map(|(_, value)| value)
        .collect()
}

fn text(message: &[u8], field: u64) -> String {
    messages(message, field)
        .first()
        .map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
        .unwrap_or_default()
}

/// Reads a request of any signal: their outer messages are shaped alike.
pub fn parse(request: &[u8]) -> Export {
    let mut export = Export::default();
    for group in messages(request, 1) {
        for resource in messages(group, 1) {
            for attribute in messages(resource, 1) {
                let value = messages(attribute, 2);
                export.resource.push((text(attribute, 1), text(value[0], 1)));
            }
        }
        for scoped in messages(group, 2) {
            for scope in messages(scoped, 1) {
                export.scope = (text(scope, 1), text(scope, 2));
            }
            export
                .records
                .extend(messages(scoped, 2).into_iter().map(<[u8]>::to_vec));
        }
    }
    export
}

pub fn span_trace_id(span: &[u8]) -> [u8; 16] {
    messages(span, 1)[0].try_into().expect("16 bytes")
}
