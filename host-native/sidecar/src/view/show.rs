//! `surgetank show`: one item whole.

use super::content::{Content, content};
use super::object::object;
use super::timestamp::Timestamp;
use super::{ViewError, json_text};
use crate::cli::ShowArgs;
use crate::store::{Reader, StoredItem};
use std::fmt::Write as _;
use std::io::Write;

/// Bytes of a binary payload that are printed, in lines of 16.
const HEX_BYTES: usize = 256;

/// Finds the item and prints it to `out`.
pub(crate) fn show(args: &ShowArgs, out: &mut impl Write) -> Result<(), ViewError> {
    let directory = args.data_dir.path().map_err(ViewError::Failed)?;
    let item = find(&directory, args.id.trim())?;
    let payload = item.payload.as_deref().unwrap_or_default();
    if args.raw {
        out.write_all(payload)?;
    } else if args.json {
        writeln!(out, "{}", object(&item))?;
    } else {
        out.write_all(text(&item, payload).as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

fn find(directory: &std::path::Path, id: &str) -> Result<StoredItem, ViewError> {
    let Some(reader) = Reader::open(directory)? else {
        return Err(ViewError::Failed(format!(
            "there is no store in {} yet; start `surgetank run` without an upstream, or name its --data-dir",
            directory.display()
        )));
    };
    let event_id: String = id
        .chars()
        .filter(|c| *c != '-')
        .collect::<String>()
        .to_ascii_lowercase();
    let found = if event_id.len() == 32 && event_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        reader.by_event_id(&event_id)?
    } else {
        let number = id.parse().map_err(|_| {
            ViewError::Failed(
                "not an item: give its number as `surgetank tail` prints it, or an event id of 32 hexadecimal digits"
                    .to_owned(),
            )
        })?;
        reader.by_id(number)?
    };
    found.ok_or_else(|| {
        ViewError::Failed(format!(
            "the store in {} has no such item (any more)",
            directory.display()
        ))
    })
}

fn text(item: &StoredItem, payload: &[u8]) -> String {
    let mut out = String::new();
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{name:<13}{value}");
    };
    field("id", &item.id);
    field("stored at", &Timestamp(item.stored_at_us));
    field("source", &item.source);
    if !item.project.is_empty() {
        field("project", &item.project.escape_debug());
    }
    field("type", &item.kind.escape_debug());
    if let Some(event_id) = &item.event_id {
        field("event id", &event_id.escape_debug());
    }
    if let Some(trace_id) = &item.trace_id {
        field("trace id", &trace_id.escape_debug());
    }
    field("content type", &item.content_type.escape_debug());
    field("size", &format_args!("{} bytes", item.payload_bytes));
    for (name, headers) in [("envelope", &item.envelope_headers), ("item", &item.item_headers)] {
        if let Some(headers) = json_text::compact(headers) {
            field(name, &headers);
        }
    }
    out.push('\n');
    match content(item, payload) {
        Content::Json(json) => out.push_str(&json_text::pretty(&json).unwrap_or_default()),
        Content::Text(text) => out.push_str(&text),
        Content::Binary => hex(&mut out, payload),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn hex(out: &mut String, payload: &[u8]) {
    for (row, bytes) in payload.chunks(16).take(HEX_BYTES / 16).enumerate() {
        let _ = write!(out, "{:08x}  ", row * 16);
        for byte in bytes {
            let _ = write!(out, "{byte:02x} ");
        }
        out.extend(std::iter::repeat_n(' ', 3 * (16 - bytes.len()) + 1));
        let printable = |byte: &u8| {
            if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '.'
            }
        };
        out.extend(bytes.iter().map(printable));
        out.push('\n');
    }
    if payload.len() > HEX_BYTES {
        let _ = writeln!(
            out,
            "... and {} bytes more; all of them with --raw",
            payload.len() - HEX_BYTES
        );
    }
}
