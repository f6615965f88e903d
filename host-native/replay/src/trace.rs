//! The trace: what happened, as lines of text. Whole numbers and names only, nothing that depends on where it is made.
//!
//! A line that repeats the one before it is counted instead of written again, so that a burst can be read.

use core::fmt::{Display, Write as _};

use surgetank_core::breaker::BreakerState;
use surgetank_core::gate::GateState;
use surgetank_core::health::{Cause, CauseSet, Health, Level};
use surgetank_core::item::{Category, CategorySet, DestinationId, Form, Header, Priority};
use surgetank_core::notice::{Ack, Deadline, DeadlineReason, Notice, Settlement};
use surgetank_core::request::{RequestId, RequestKind};
use surgetank_core::time::{Duration, Instant};

use super::call::{Sent, Snapshot};
use super::script::{Answer, Destination, ServerResponse};
use crate::body;
use crate::books::Books;

/// Lines as they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    written: usize,
    last: Option<(String, usize)>,
}

impl Lines {
    pub(super) fn push(&mut self, line: String) {
        match &mut self.last {
            Some((last, times)) if *last == line => *times += 1,
            _ => {
                self.write_last();
                self.last = Some((line, 1));
            }
        }
    }

    fn write_last(&mut self) {
        let Some((line, times)) = self.last.take() else {
            return;
        };
        self.text.push_str(&line);
        if times > 1 {
            let _ = write!(self.text, " ({times} times)");
        }
        self.text.push('\n');
        self.written += 1;
    }

    pub(super) const fn written(&self) -> usize {
        self.written
    }

    pub(super) fn finish(mut self) -> String {
        self.write_last();
        self.text
    }
}

/// Seconds with six decimals.
pub(super) fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn span(span: Duration) -> String {
    seconds(span.as_micros())
}

fn moment(at: Instant) -> String {
    seconds(at.as_micros())
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{item}");
    }
    text
}

fn name_of(destinations: &[Destination], id: DestinationId) -> &str {
    destinations
        .get(id.index())
        .map_or("nobody", |destination| destination.name.as_str())
}

/// A request's own id: its place in the table, and how often that was used.
fn slot(id: RequestId) -> String {
    format!("{}.{}", id.bits() as u32, id.bits() >> 32)
}

pub(super) fn record(destinations: &[Destination], header: &Header, bytes: usize) -> String {
    let mut text = format!(
        "record {} {} {} {}",
        name_of(destinations, header.destination),
        form(header.form),
        header.count.category.as_str(),
        header.count.quantity
    );
    if let Some(also) = header.also {
        let _ = write!(text, "+{} {}", also.category.as_str(), also.quantity);
    }
    if header.is_mixed() {
        let _ = write!(text, " of {}", categories(header.categories));
    }
    let _ = write!(text, ", {bytes} bytes, {}", priority(header.priority));
    if header.trace.is_some() {
        let _ = write!(text, ", trace {:x}", header.trace.0);
    }
    text
}

const fn form(form: Form) -> &'static str {
    match form {
        Form::Envelope => "envelope",
        Form::Item => "item",
        Form::Element => "element",
        Form::OtlpRecord => "otlp_record",
        Form::OtlpRequest => "otlp_request",
        Form::OtlpJson => "otlp_json",
    }
}

const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "critical",
        Priority::High => "high",
        Priority::Medium => "medium",
        Priority::Low => "low",
        Priority::Lowest => "lowest",
    }
}

/// `all`, or the names.
fn categories(set: CategorySet) -> String {
    if set == CategorySet::ALL {
        return "all".to_owned();
    }
    joined(set.iter().map(Category::as_str))
}

pub(super) fn sent(destinations: &[Destination], number: usize, sent: &Sent) -> String {
    let mut text = format!(
        "send r{number} {} to {}: {}, attempt {}, {} records of {} bytes, body {} bytes {:016x}, timeout {}",
        slot(sent.id),
        name_of(destinations, sent.destination),
        kind(sent.kind),
        sent.attempt,
        sent.records,
        sent.payload_bytes,
        sent.body.len(),
        body::hash(&sent.body),
        span(sent.timeout)
    );
    if sent.carries_report {
        let body = String::from_utf8_lossy(&sent.body);
        let item = body.rsplit_once("{\"type\":\"client_report\"");
        let report = item.and_then(|(_, item)| item.split_once('\n'));
        let _ = write!(
            text,
            ", report {}",
            report.map_or("missing", |(_, report)| report.trim_end())
        );
    }
    text
}

fn kind(kind: RequestKind) -> String {
    let name = match kind {
        RequestKind::Envelope => "envelope",
        RequestKind::Items => "items",
        RequestKind::Container(container) => return format!("{} container", container.item_type()),
        RequestKind::Report => "report",
        RequestKind::Records(_) => "records",
        RequestKind::Requests(_) => "requests",
        RequestKind::Json(_) => "json",
    };
    match kind.signal() {
        Some(signal) => format!("{} {name}", signal.as_str()),
        None => name.to_owned(),
    }
}

pub(super) fn answer(number: usize, answer: &Answer, ack: Ack) -> String {
    let came = match answer {
        Answer::Failure(failure) => format!("{failure:?}").to_lowercase(),
        Answer::Response(response) => headers(response),
    };
    let ack = match ack {
        Ack::Stale => "stale".to_owned(),
        Ack::Settled(settled) => settlement(settled),
    };
    format!("answer r{number} {came} = {ack}")
}

fn headers(response: &ServerResponse) -> String {
    let mut text = response.status.to_string();
    if let Some(value) = &response.retry_after {
        let _ = write!(text, " retry_after {value:?}");
    }
    for line in &response.rate_limits {
        let _ = write!(text, " rate_limits {line:?}");
    }
    if let Some(code) = response.grpc {
        let _ = write!(text, " grpc {code}");
    }
    if !response.body.is_empty() {
        let _ = write!(text, " body {} bytes", response.body.len());
    }
    text
}

fn settlement(settlement: Settlement) -> String {
    match settlement {
        Settlement::Delivered => "delivered".to_owned(),
        Settlement::Partial { rejected } => format!("delivered but {rejected} rejected"),
        Settlement::RateLimited { covered } => format!("rate limited: {}", categories(covered)),
        Settlement::Dropped { reason } => format!("dropped as {}", reason.as_str()),
        Settlement::Retry { reason, pause } => {
            format!("retry after {} ({})", span(pause), reason.as_str())
        }
    }
}

/// The number of a request, by its id.
pub(super) type NumberOf<'a> = &'a dyn Fn(RequestId) -> Option<usize>;

pub(super) fn notice(destinations: &[Destination], number_of: NumberOf<'_>, notice: &Notice) -> String {
    let name = |id| name_of(destinations, id);
    match *notice {
        Notice::Health(change) => format!(
            "notice health {} -> {} because of {}",
            health(change.from),
            health(change.to),
            change.cause.as_str()
        ),
        Notice::Factor(change) => format!(
            "notice factor {} -> {} because of {}",
            change.from,
            change.to,
            snake(change.cause)
        ),
        Notice::Breaker { destination, state } => {
            format!("notice breaker of {} {}", name(destination), breaker(state))
        }
        Notice::Stalled { request } => match number_of(request) {
            Some(number) => format!("notice stalled r{number}"),
            None => format!("notice stalled {}", slot(request)),
        },
        Notice::Settled {
            destination,
            status,
            records,
            settlement: settled,
        } => format!(
            "notice settled {} {}, {records} records: {}",
            name(destination),
            status.map_or("no answer".to_owned(), |status| status.to_string()),
            settlement(settled)
        ),
        Notice::Left { records } => format!("notice left {records} records"),
    }
}

/// The name of a value as its `Debug` form, which is one word in camel case.
fn snake(value: impl core::fmt::Debug) -> String {
    let mut text = String::new();
    for char in format!("{value:?}").chars() {
        if char.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(char.to_ascii_lowercase());
    }
    text
}

const fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half open",
    }
}

fn health(health: Health) -> String {
    let level = match health.level {
        Level::Healthy => "healthy",
        Level::Degraded => "degraded",
        Level::Unhealthy => "unhealthy",
    };
    if health.causes == CauseSet::EMPTY {
        return level.to_owned();
    }
    format!("{level} ({})", joined(health.causes.iter().map(Cause::as_str)))
}

pub(super) fn idle(deadline: Option<Deadline>) -> String {
    match deadline {
        None => "idle".to_owned(),
        Some(Deadline { at, reason }) => format!("idle until {}: {}", moment(at), due(reason)),
    }
}

const fn due(reason: DeadlineReason) -> &'static str {
    match reason {
        DeadlineReason::BatchDue => "batch due",
        DeadlineReason::ReportDue => "report due",
        DeadlineReason::BackoffEnds => "backoff ends",
        DeadlineReason::BreakerProbe => "breaker probe",
        DeadlineReason::LimitEnds => "limit ends",
        DeadlineReason::RequestOverdue => "request overdue",
        DeadlineReason::Tick => "tick",
        DeadlineReason::CloseEnds => "close ends",
    }
}

pub(super) fn gate(name: &str, gate: GateState) -> String {
    let mut facts = Vec::new();
    if !gate.limited().is_empty() {
        facts.push(format!("limited {}", categories(gate.limited())));
    }
    if gate.factor() > 0 {
        facts.push(format!("factor {}", gate.factor()));
    }
    if let Some(lane) = gate.pressure() {
        facts.push(format!("refuses from {}", priority(lane)));
    }
    if gate.is_breaker_open() {
        facts.push("breaker open".to_owned());
    }
    if gate.is_closed() {
        facts.push("closed".to_owned());
    }
    if facts.is_empty() {
        facts.push("open".to_owned());
    }
    format!("gate {name} {:016x}: {}", gate.bits(), facts.join(", "))
}

/// What changed in the books; empty when nothing did.
pub(super) fn change(before: &Books, after: &Books) -> String {
    let mut changes = Vec::new();
    let mut grown = |name: &str, before: u64, after: u64| {
        if after != before {
            changes.push(format!("{name}+{}", after.wrapping_sub(before)));
        }
    };
    for (category, sums, _) in &after.rows {
        let (name, old) = (category.as_str(), before.sums(*category));
        grown(&format!("{name} recorded"), old.recorded, sums.recorded);
        grown(&format!("{name} delivered"), old.delivered, sums.delivered);
        for entry in after.reasons.iter().filter(|entry| entry.category == *category) {
            let same = |old: &&surgetank_core::ledger::ReasonTotal| {
                old.category == entry.category && old.reason == entry.reason
            };
            let old = before.reasons.iter().find(same).map_or(0, |old| old.quantity);
            grown(&format!("{name} {}", entry.reason.as_str()), old, entry.quantity);
        }
    }
    grown("unlisted", before.unlisted, after.unlisted);
    grown("unreported", before.unreported, after.unreported);
    changes.join(", ")
}

/// The state of everything, a line each.
pub(super) fn status(destinations: &[Destination], now: &Snapshot) -> Vec<String> {
    let counters = now.counters;
    let mut lines = vec![
        format!("  health {}", health(now.health)),
        format!(
            "  queue {} of {} blocks, {} requests in flight, factor {}",
            now.used_blocks, now.capacity_blocks, now.in_flight, now.factor
        ),
        format!(
            "  stale answers {}, stalls {}, clock steps back {}, notices lost {}",
            counters.stale_answers, counters.stalls, counters.clock_steps_back, counters.notices_lost
        ),
    ];
    for (destination, status) in destinations.iter().zip(&now.destinations) {
        let mut line = format!(
            "  {}: waiting {} in {} blocks, {} on the wire of {}, {} parked, breaker {}",
            destination.name,
            joined(status.waiting),
            status.used_blocks,
            status.on_wire,
            status.concurrency,
            status.parked,
            breaker(status.breaker)
        );
        if let Some(pause) = status.paused_for {
            let _ = write!(line, ", paused for {}", span(pause));
        }
        if !status.limited.is_empty() {
            let _ = write!(line, ", limited {}", categories(status.limited));
        }
        lines.push(line);
    }
    lines
}

/// The sums, a line for each category.
pub(super) fn sums(books: &Books) -> Vec<String> {
    let mut lines = Vec::new();
    for (category, sums, held) in &books.rows {
        let reasons = books.reasons.iter().filter(|entry| entry.category == *category);
        let reasons: Vec<String> = reasons
            .map(|entry| format!("{} {}", entry.reason.as_str(), entry.quantity))
            .collect();
        let mut line = format!(
            "  {}: recorded {} = delivered {} + dropped {} + held {held}",
            category.as_str(),
            sums.recorded,
            sums.delivered,
            sums.dropped
        );
        if !reasons.is_empty() {
            let _ = write!(line, " ({})", reasons.join(", "));
        }
        lines.push(line);
    }
    lines.push(format!(
        "  unlisted {}, unreported {}",
        books.unlisted, books.unreported
    ));
    lines
}
