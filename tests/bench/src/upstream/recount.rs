//! Counts what a body holds, by no code of surgetank's: the figure of what was delivered must not be its own word.

/// Events, transactions, logs and spans in an envelope, or records in an OTLP request (`otlp`).
pub(super) fn items_of(body: &[u8], otlp: bool) -> u64 {
    if otlp { records(body) } else { envelope_items(body) }
}

/// Records of an OTLP request: resource (field 1), scope (field 2), record (field 2), the same for spans and logs.
fn records(body: &[u8]) -> u64 {
    fields(body, 1)
        .flat_map(|resource| fields(resource, 2))
        .map(|scope| fields(scope, 2).count() as u64)
        .sum()
}

/// The length-delimited fields of that number; it ends where the bytes make no sense.
fn fields(mut bytes: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let length = match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut bytes)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (field, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            if key >> 3 == wanted && key & 7 == 2 {
                return Some(field);
            }
        }
        None
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Walks the items of an envelope: a line of headers, then the payload, by its length where it is told.
fn envelope_items(body: &[u8]) -> u64 {
    let Some((_, mut rest)) = line(body) else { return 0 };
    let mut items = 0;
    while let Some((headers, payload)) = line(rest) {
        let text = String::from_utf8_lossy(headers);
        items += match word_after(&text, "\"type\":\"") {
            Some("event" | "transaction") => 1,
            Some("log") => number_after(&text, "\"item_count\":").unwrap_or(0),
            _ => 0,
        };
        rest = match number_after(&text, "\"length\":") {
            Some(length) => payload.get(length as usize..).unwrap_or_default(),
            None => line(payload).map_or(&[][..], |(_, rest)| rest),
        };
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
    items
}

/// The first line and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    Some((line, rest.strip_prefix(b"\n").unwrap_or(rest)))
}

fn word_after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark)?.1.split('"').next()
}

fn number_after(text: &str, mark: &str) -> Option<u64> {
    let after = text.split_once(mark)?.1;
    let digits = after.split(|other: char| !other.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_all_scopes_and_resources_are_counted() {
        // Two resources: one with a resource message and a scope of two records, one with a scope of one.
        let scope_of_two = [0x12, 1, 0xAA, 0x12, 2, 0xBB, 0xCC];
        let mut first = vec![0x0A, 1, 0xFF, 0x12, scope_of_two.len() as u8];
        first.extend(scope_of_two);
        let second = [0x12, 3, 0x12, 1, 0xDD];
        let mut body = vec![0x0A, first.len() as u8];
        body.extend(first);
        body.extend([0x0A, second.len() as u8]);
        body.extend(second);
        assert_eq!(items_of(&body, true), 3);
        assert_eq!(items_of(&body[..body.len() - 1], true), 2, "cut off");
    }

    #[test]
    fn items_of_envelopes_are_counted_by_kind_with_and_without_a_length() {
        let body = "{}\n{\"type\":\"event\",\"length\":3}\n{\n}\n{\"type\":\"client_report\"}\n{}\n\
                    {\"type\":\"log\",\"item_count\":7,\"content_type\":\"x\"}\n{\"items\":[]}\n{\"type\":\"transaction\"}\n{}\n";
        assert_eq!(items_of(body.as_bytes(), false), 9);
        assert_eq!(items_of(b"{}\n", false), 0);
        assert_eq!(items_of(b"", false), 0);
    }
}
