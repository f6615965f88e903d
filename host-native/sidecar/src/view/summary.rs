//! One line about one thing: an event, a log, a span.

use super::content::{Content, content};
use super::timestamp::Timestamp;
use super::{otlp, sentry};
use crate::store::StoredItem;
use serde_json::Value;
use std::fmt;

/// Lines for the elements of one container or request; what is beyond is counted.
const MAX_LINES: usize = 100;
/// Characters of a title.
const MAX_TITLE_CHARS: usize = 200;

/// What there is to say about one thing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Summary {
    /// `event`, `log`, `span`, ...
    pub(crate) kind: String,
    /// `error`, `info`, `ok`, ...; empty when it has none.
    pub(crate) level: String,
    pub(crate) title: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) event_id: Option<String>,
}

/// What there is to say about an item: one entry, or one for each element of a container, at most [`MAX_LINES`] and
/// one that counts the rest.
pub(crate) fn summaries(item: &StoredItem) -> Vec<Summary> {
    let mut all = item
        .payload
        .as_deref()
        .and_then(|payload| match content(item, payload) {
            Content::Json(json) => serde_json::from_slice::<Value>(&json).ok(),
            Content::Text(_) | Content::Binary => None,
        })
        .map(|value| {
            if item.source == "otlp" {
                otlp::summaries(item, &value)
            } else {
                sentry::summaries(item, &value)
            }
        })
        .unwrap_or_default();
    if all.is_empty() {
        let title = format!("{} bytes{}", item.payload_bytes, sentry::file_name(item));
        all.push(Summary {
            kind: item.kind.clone(),
            title,
            ..Summary::default()
        });
    }
    if all.len() > MAX_LINES {
        let rest = all.len() - MAX_LINES;
        all.truncate(MAX_LINES);
        let title = format!("and {rest} more; see all with: surgetank show {}", item.id);
        all.push(Summary {
            kind: item.kind.clone(),
            title,
            ..Summary::default()
        });
    }
    for summary in &mut all {
        if summary.event_id.is_none() {
            summary.event_id.clone_from(&item.event_id);
        }
        if summary.trace_id.is_none() {
            summary.trace_id.clone_from(&item.trace_id);
        }
    }
    all
}

/// A summary as a line of text.
pub(crate) struct Line<'a> {
    pub(crate) item: &'a StoredItem,
    pub(crate) summary: &'a Summary,
    pub(crate) coloured: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            item,
            summary,
            coloured,
        } = *self;
        write!(f, "{}  {:>5}  ", Timestamp(item.stored_at_us), item.id)?;
        if item.source == "sentry" || !item.project.is_empty() {
            write!(f, "project {}  ", Plain(&item.project))?;
        } else {
            f.write_str("otlp  ")?;
        }
        write!(f, "{:<11}  ", Plain(&summary.kind).to_string())?;
        if !summary.level.is_empty() {
            let colour = if coloured { colour(&summary.level) } else { "" };
            let end = if colour.is_empty() { "" } else { "\x1b[0m" };
            write!(f, "{colour}{:<7}{end}  ", Plain(&summary.level).to_string())?;
        }
        let title = summary.title.lines().next().unwrap_or_default();
        let cut: String = title.chars().take(MAX_TITLE_CHARS).collect();
        write!(
            f,
            "{}{}",
            Plain(&cut),
            if cut.len() < summary.title.len() {
                "..."
            } else {
                ""
            }
        )?;
        if let Some(event_id) = &summary.event_id {
            write!(f, "  event={}", Plain(event_id))?;
        }
        if let Some(trace_id) = &summary.trace_id {
            write!(f, "  trace={}", Plain(trace_id))?;
        }
        Ok(())
    }
}

fn colour(level: &str) -> &'static str {
    match level.to_ascii_lowercase().as_str() {
        "fatal" | "error" | "crashed" => "\x1b[31m",
        "warning" | "warn" | "abnormal" => "\x1b[33m",
        "info" | "ok" => "\x1b[32m",
        _ => "",
    }
}

/// Text without the characters that a terminal would obey.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| {
            f.write_char(if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            })
        })
    }
}
