//! The statements that make things happen.

use surgetank_core::engine::HostProbe;
use surgetank_core::item::{Category, DropReason, Priority, Signal};
use surgetank_core::response::Failure;
use surgetank_core::time::Duration;
use surgetank_core::wire::envelope::ItemType;

use super::words::Words;
use crate::Fault;
use crate::script::{
    Answer, Destination, Kind, MAX_FILL, MAX_TIMES, Recording, Script, ServerResponse, Statement, Trace,
    Which,
};

/// Every statement, for the one who mistyped it.
const STATEMENTS: &str =
    "at, wait, clock, record, lose, serve, answer, probe, poll, polls, flush, close, status";

const PRIORITIES: [(&str, Priority); Priority::COUNT] = [
    ("critical", Priority::Critical),
    ("high", Priority::High),
    ("medium", Priority::Medium),
    ("low", Priority::Low),
    ("lowest", Priority::Lowest),
];

const SIGNALS: [(&str, Signal); 3] = [
    ("traces", Signal::Traces),
    ("logs", Signal::Logs),
    ("metrics", Signal::Metrics),
];

const FAILURES: [(&str, Failure); 10] = [
    ("dns", Failure::Dns),
    ("connect", Failure::Connect),
    ("tls", Failure::Tls),
    ("timeout", Failure::Timeout),
    ("disconnected", Failure::Disconnected),
    ("malformed_response", Failure::MalformedResponse),
    ("invalid_request", Failure::InvalidRequest),
    ("request_too_large", Failure::RequestTooLarge),
    ("response_too_large", Failure::ResponseTooLarge),
    ("internal", Failure::Internal),
];

/// Reads the statement that begins with `first`.
pub(super) fn read(first: &str, words: &mut Words, script: &Script) -> Result<Statement, Fault> {
    let destinations = script.destinations.as_slice();
    Ok(match first {
        "at" => Statement::At(words.duration()?),
        "wait" => Statement::Wait(words.duration()?),
        "clock" => Statement::Clock(words.jump()?),
        "record" => Statement::Record(recording(words, script)?),
        "lose" => lose(words, destinations)?,
        "serve" => Statement::Serve {
            destination: destination(words, destinations)?,
            behaviour: behaviour(words)?,
        },
        "answer" => {
            let which = which(words)?;
            let first = words.word("an HTTP status or `fail`")?;
            let (answer, after) = answer(&first, words)?;
            if after != Duration::ZERO {
                return words.fault("`answer` is now", "write `wait` before it, or `serve` instead");
            }
            Statement::Answer { which, answer }
        }
        "probe" => probe(words)?,
        "poll" => Statement::Poll,
        "polls" => Statement::Polls(words.choice(&[("on", true), ("off", false)])?),
        "flush" => match words.optional().as_deref() {
            None => Statement::Flush(None),
            Some("within") => Statement::Flush(Some(words.duration()?)),
            Some(other) => return words.fault(format!("`flush {other}`"), "write `flush within 2s`"),
        },
        "close" => {
            words.choice(&[("within", ())])?;
            Statement::Close(words.duration()?)
        }
        "status" => Statement::Status,
        other => {
            return words.fault(
                format!("there is no statement `{other}`"),
                format!("write one of set, destination, {STATEMENTS}"),
            );
        }
    })
}

fn destination(words: &mut Words, destinations: &[Destination]) -> Result<usize, Fault> {
    let names: Vec<(&str, usize)> = destinations
        .iter()
        .enumerate()
        .map(|(at, destination)| (destination.name.as_str(), at))
        .collect();
    words.choice(&names)
}

fn recording(words: &mut Words, script: &Script) -> Result<Recording, Fault> {
    let mut recording = Recording {
        destination: destination(words, &script.destinations)?,
        kind: kind(words, script.payloads.len())?,
        priority: None,
        trace: Trace::None,
        fill: 0,
        items: 1,
        times: 1,
        every: Duration::ZERO,
        gated: false,
    };
    while let Some(option) = words.optional() {
        match option.as_str() {
            "priority" => recording.priority = Some(words.choice(&PRIORITIES)?),
            "trace" => recording.trace = trace(words)?,
            "fill" => recording.fill = words.count(0..=MAX_FILL as u32)? as usize,
            "items" => recording.items = words.count(0..=1_000)?,
            "times" => recording.times = words.count(1..=MAX_TIMES)?,
            "every" => recording.every = words.duration()?,
            "gated" => recording.gated = true,
            other => {
                return words.fault(
                    format!("a record has no `{other}`"),
                    "write one of priority, trace, fill, items, times, every, gated",
                );
            }
        }
    }
    Ok(recording)
}

/// What a record is; there are so many `payloads` that were recorded.
fn kind(words: &mut Words, payloads: usize) -> Result<Kind, Fault> {
    let right = "envelope ITEM+ITEM.., item ITEM, log, span, metric, request SIGNAL or json SIGNAL";
    let word = words.word(right)?;
    Ok(match word.as_str() {
        "envelope" => {
            let items = words.word("items joined by `+`, like event+attachment")?;
            let items: Result<Vec<ItemType>, Fault> =
                items.split('+').map(|name| item_type(name, words)).collect();
            Kind::Envelope(items?)
        }
        "item" => {
            let name = words.word("the type of an item, like session")?;
            Kind::Item(item_type(&name, words)?)
        }
        "log" => Kind::Log,
        "span" => Kind::Span,
        "metric" => Kind::Metric,
        "request" => Kind::Request(words.choice(&SIGNALS)?),
        "json" => Kind::Json(words.choice(&SIGNALS)?),
        "recorded" if payloads == 0 => {
            return words.fault(
                "nothing was recorded for this script",
                "write `recorded` in a recording alone",
            );
        }
        "recorded" => Kind::Recorded(words.number(1..=payloads as u64)? as usize - 1),
        other => {
            return words.fault(
                format!("`{other}` is no kind of record"),
                format!("write {right}"),
            );
        }
    })
}

fn item_type(name: &str, words: &Words) -> Result<ItemType, Fault> {
    match ItemType::from_name(name.as_bytes()) {
        ItemType::Unknown => words.fault(
            format!("`{name}` is no type of item"),
            "write one of the protocol, like event, transaction, session, check_in, attachment, log",
        ),
        known => Ok(known),
    }
}

fn trace(words: &mut Words) -> Result<Trace, Fault> {
    let word = words.word("the number of a trace, or `new`")?;
    match (word.as_str(), word.parse()) {
        ("new", _) => Ok(Trace::New),
        (_, Ok(number)) if number > 0 => Ok(Trace::Numbered(number)),
        _ => words.fault(
            format!("`{word}` is no trace"),
            "write a number from 1 on, or `new` for one that nobody else has",
        ),
    }
}

fn lose(words: &mut Words, destinations: &[Destination]) -> Result<Statement, Fault> {
    let mut names: Vec<(&str, Option<usize>)> = vec![("nobody", None)];
    names.extend(
        destinations
            .iter()
            .enumerate()
            .map(|(at, destination)| (destination.name.as_str(), Some(at))),
    );
    let categories = Category::ALL.map(|category| (category.as_str(), category));
    let reasons = DropReason::ALL.map(|reason| (reason.as_str(), reason));
    Ok(Statement::Lose {
        destination: words.choice(&names)?,
        category: words.choice(&categories)?,
        reason: words.choice(&reasons)?,
        quantity: words.number(1..=1_000_000)?,
    })
}

fn behaviour(words: &mut Words) -> Result<Option<(Answer, Duration)>, Fault> {
    let first = words.word("an HTTP status, `fail` or `nothing`")?;
    if first == "nothing" {
        return Ok(None);
    }
    answer(&first, words).map(Some)
}

fn which(words: &mut Words) -> Result<Which, Fault> {
    let word = words.word("a request: oldest, newest or its number, like r7")?;
    let number = word
        .strip_prefix('r')
        .and_then(|number| number.parse::<usize>().ok());
    match (word.as_str(), number) {
        ("oldest", _) => Ok(Which::Oldest),
        ("newest", _) => Ok(Which::Newest),
        (_, Some(number)) => Ok(Which::Numbered(number)),
        _ => words.fault(
            format!("`{word}` is no request"),
            "write oldest, newest or its number in the trace, like r7",
        ),
    }
}

/// What comes back, and after how long.
fn answer(first: &str, words: &mut Words) -> Result<(Answer, Duration), Fault> {
    if first == "fail" {
        let failure = Answer::Failure(words.choice(&FAILURES)?);
        let after = match words.optional().as_deref() {
            None => Duration::ZERO,
            Some("after") => words.duration()?,
            Some(other) => return words.fault(format!("a failure has no `{other}`"), "write `after 2s`"),
        };
        return Ok((failure, after));
    }
    let Some(status) = first
        .parse()
        .ok()
        .filter(|status: &u16| (100..=599).contains(status))
    else {
        return words.fault(
            format!("`{first}` is no answer"),
            "write an HTTP status from 100 to 599, or `fail` and how",
        );
    };
    let mut response = ServerResponse {
        status,
        ..ServerResponse::default()
    };
    let mut after = Duration::ZERO;
    while let Some(option) = words.optional() {
        match option.as_str() {
            "after" => after = words.duration()?,
            "retry_after" => response.retry_after = Some(words.word("the value of Retry-After")?),
            "rate_limits" => response
                .rate_limits
                .push(words.word("a line of X-Sentry-Rate-Limits")?),
            "content_type" => response.content_type = Some(words.word("the value of Content-Type")?),
            "body" => response.body = words.word("the body as text")?.into_bytes(),
            "body_hex" => response.body = hex(words)?,
            "grpc" => response.grpc = Some(words.count(0..=16)?),
            "grpc_details" => response.grpc_details = Some(words.word("grpc-status-details-bin")?),
            other => {
                return words.fault(
                    format!("an answer has no `{other}`"),
                    "write one of after, retry_after, rate_limits, content_type, body, body_hex, grpc, grpc_details",
                );
            }
        }
    }
    Ok((Answer::Response(response), after))
}

fn hex(words: &mut Words) -> Result<Vec<u8>, Fault> {
    let word = words.word("the body in hexadecimal")?;
    let pair = |pair: &[u8]| {
        let text = core::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = word.as_bytes().chunks(2).map(pair).collect();
    match bytes {
        Some(bytes) if word.len() % 2 == 0 => Ok(bytes),
        _ => words.fault(
            format!("`{word}` is not hexadecimal"),
            "write two digits for each byte",
        ),
    }
}

fn probe(words: &mut Words) -> Result<Statement, Fault> {
    let mut probe = HostProbe::default();
    while let Some(word) = words.optional() {
        match word.as_str() {
            "memory" => probe.memory_permille = Some(words.count(0..=1000)? as u16),
            "slot" => probe.oldest_open_slot = words.duration()?,
            other => {
                return words.fault(
                    format!("a probe has no `{other}`"),
                    "write `memory` and its permille, or `slot` and the age of the oldest open one",
                );
            }
        }
    }
    Ok(Statement::Probe(probe))
}
