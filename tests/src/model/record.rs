//! Records whose fate can be read off the engine's sums: each part counts a power of two that no other living part of
//! its category has, so that every difference of a sum names the parts that make it up.

use surgetank_core::item::{
    Category, CategorySet, DestinationId, DropReason, Form, Header, Priority, TraceKey,
};
use surgetank_core::wire::envelope;

use super::op::Kind;

/// Categories in which every living part has a bit of its own. The quantities in others are only added up.
pub(super) const CODED: [Category; 12] = [
    Category::Error,
    Category::Transaction,
    Category::Span,
    Category::Session,
    Category::Monitor,
    Category::LogItem,
    Category::TraceMetric,
    Category::Replay,
    Category::Profile,
    Category::Attachment,
    Category::Feedback,
    Category::Internal,
];

/// What is kept or dropped as one: a record, or an item of a mixed envelope.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// A limit on any of these covers it.
    pub(super) limited_by: CategorySet,
    /// What it counts; the first is coded.
    pub(super) counts: Vec<(Category, u64)>,
    /// It is its envelope's event.
    pub(super) is_event: bool,
    /// It goes when the event goes.
    pub(super) needs_event: bool,
    /// What the client report in it says.
    pub(super) report: Vec<(Category, DropReason, u64)>,
}

impl Part {
    fn new(counts: Vec<(Category, u64)>) -> Self {
        let limited_by = counts
            .iter()
            .fold(CategorySet::EMPTY, |set, (category, _)| set.with(*category));
        Self {
            limited_by,
            counts,
            is_event: false,
            needs_event: false,
            report: Vec::new(),
        }
    }
}

/// A record to be offered to the engine.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

/// Bits per category that no living part has.
pub(super) type Taken = [u64; Category::COUNT];

/// A bit of `category` that is free; it is taken then. `None` when all 32 are in use.
fn bit(taken: &mut Taken, category: Category) -> Option<u64> {
    let limit = match category {
        // These items count 1 each, so only one of them can be told apart at a time.
        Category::Feedback | Category::Internal => 1,
        _ => 32,
    };
    let used = &mut taken[category.index()];
    let free = (!*used).trailing_zeros();
    if free >= limit {
        return None;
    }
    *used |= 1 << free;
    Some(1 << free)
}

/// Makes record `number`; `None` when too many of its kind are alive.
pub(super) fn make(
    number: u64,
    destination: DestinationId,
    kind: Kind,
    bytes: usize,
    trace: u64,
    priority: Option<Priority>,
    mut taken: Taken,
) -> Option<Made> {
    let filler = "x".repeat(bytes);
    let opaque = format!("{number:08} {filler}");
    let plain = |form, counts: Vec<(Category, u64)>, payload: String| {
        let (category, quantity) = counts[0];
        let mut header = Header::new(destination, form, category, quantity as u32);
        if let Some((category, quantity)) = counts.get(1) {
            header = header.also(*category, *quantity as u32);
        }
        Made {
            header,
            payload: payload.into_bytes(),
            parts: vec![Part::new(counts)],
        }
    };
    let mut one = |category| bit(&mut taken, category).map(|bit| (category, bit));
    let element = || format!("{{\"n\":\"{number:08}\",\"trace_id\":\"{trace:032x}\",\"x\":\"{filler}\"}}");
    let mut made = match kind {
        Kind::Envelope(category) => {
            let mut counts = vec![one(category)?];
            if category == Category::Transaction {
                counts.push(one(Category::Span)?);
            }
            let envelope = format!("{{}}\n{{\"type\":\"event\"}}\n{opaque}\n");
            plain(Form::Envelope, counts, envelope)
        }
        Kind::Mixed(items) => mixed(number, destination, items, &filler, &mut taken)?,
        Kind::Session | Kind::Profile => {
            let category = if kind == Kind::Session {
                Category::Session
            } else {
                Category::Profile
            };
            let name = category.as_str();
            plain(
                Form::Item,
                vec![one(category)?],
                format!("{{\"type\":\"{name}\"}}\n{opaque}"),
            )
        }
        Kind::Log => {
            let counts = vec![one(Category::LogItem)?, (Category::LogByte, bytes as u64 + 1)];
            plain(Form::Element, counts, element())
        }
        Kind::Metric => {
            let counts = vec![one(Category::TraceMetric)?, (Category::TraceMetricByte, 9)];
            plain(Form::Element, counts, element())
        }
        Kind::Span => plain(Form::Element, vec![one(Category::Span)?], element()),
        Kind::OtlpSpan => plain(Form::OtlpRecord, vec![one(Category::Span)?], opaque),
        Kind::OtlpLog => plain(Form::OtlpRecord, vec![one(Category::LogItem)?], opaque),
        Kind::OtlpRequest => plain(Form::OtlpRequest, vec![one(Category::Span)?], opaque),
        Kind::OtlpJson => plain(Form::OtlpJson, vec![one(Category::LogItem)?], opaque),
    };
    if matches!(kind, Kind::Span | Kind::OtlpSpan) {
        made.header.trace = TraceKey(trace);
    }
    if let Some(priority) = priority {
        made.header.priority = priority;
    }
    Some(made)
}

/// An envelope with items of several categories, chosen by the bits of `items`.
fn mixed(
    number: u64,
    destination: DestinationId,
    items: u8,
    filler: &str,
    taken: &mut Taken,
) -> Option<Made> {
    let mut text = String::from("{}\n");
    let mut parts = Vec::new();
    let mut item = |header: String, payload: &str, part: Part| {
        text.push_str(&header);
        text.push('\n');
        text.push_str(payload);
        text.push('\n');
        parts.push(part);
    };
    // Without this one two envelopes could be alike, and their fates mistaken for each other's.
    let sessions = bit(taken, Category::Session)?;
    let body = format!("{number:08} {filler}");
    item(
        format!(
            "{{\"type\":\"session\",\"item_count\":{sessions},\"length\":{}}}",
            body.len()
        ),
        &body,
        Part::new(vec![(Category::Session, sessions)]),
    );
    if items & 1 != 0 {
        let logs = bit(taken, Category::LogItem)?;
        item(
            format!("{{\"type\":\"log\",\"item_count\":{logs}}}"),
            "{\"items\":[{\"body\":\"four\"},{\"body\":\"\"}]}",
            Part::new(vec![(Category::LogItem, logs), (Category::LogByte, 5)]),
        );
    }
    if items & 2 != 0 {
        let feedback = bit(taken, Category::Feedback)?;
        let mut part = Part::new(vec![(Category::Feedback, feedback)]);
        part.is_event = true;
        part.needs_event = true;
        item("{\"type\":\"feedback\"}".to_owned(), "{}", part);
    }
    if items & 4 != 0 {
        let bytes = bit(taken, Category::Attachment)?;
        let mut part = Part::new(vec![(Category::Attachment, bytes), (Category::AttachmentItem, 1)]);
        part.needs_event = true;
        let reference = "application/vnd.sentry.attachment-ref+json";
        item(
            format!(
                "{{\"type\":\"attachment\",\"content_type\":\"{reference}\",\"attachment_length\":{bytes},\"length\":0}}"
            ),
            "",
            part,
        );
    }
    if items & 8 != 0 {
        let check_ins = bit(taken, Category::Monitor)?;
        item(
            format!("{{\"type\":\"check_in\",\"item_count\":{check_ins}}}"),
            "{}",
            Part::new(vec![(Category::Monitor, check_ins)]),
        );
    }
    if items & 48 == 48 {
        let reports = bit(taken, Category::Internal)?;
        let quantity = 1 + number % 7;
        let mut part = Part::new(vec![(Category::Internal, reports)]);
        part.report = vec![(Category::Replay, DropReason::BeforeSend, quantity)];
        item(
            "{\"type\":\"client_report\"}".to_owned(),
            &format!(
                "{{\"discarded_events\":[{{\"reason\":\"before_send\",\"category\":\"replay\",\"quantity\":{quantity}}}]}}"
            ),
            part,
        );
    }
    let payload = text.into_bytes();
    let summary = envelope::describe(&payload).expect("the envelope is well formed");
    let header = summary.record_header(destination).expect("it has items");
    Some(Made {
        header,
        payload,
        parts,
    })
}

/// Blocks that a payload of `bytes` bytes takes: 168 in the first, 252 in each further one.
pub(super) const fn blocks_of(bytes: usize) -> u64 {
    1 + (bytes.saturating_sub(168) as u64).div_ceil(252)
}
