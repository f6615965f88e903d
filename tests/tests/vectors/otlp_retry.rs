//! `otlp_retry.json`: finished export attempts, and what is done with their items.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use surgetank_core::limits::{MAX_OTLP_REQUEST_BYTES, MAX_OTLP_RESPONSE_BYTES, MAX_OTLP_SERVER_DELAY};
use surgetank_core::response::{Failure, GrpcStatus, Response};
use surgetank_core::time::{Duration, UnixTime};
use surgetank_core::wire::otlp::answer::{self, AnswerPolicy, Delay, GrpcCode, Verdict};
use surgetank_core::wire::otlp::framing::Merged;

use crate::{run, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    now: String,
    policy: Policy,
    #[serde(rename = "schema_version")]
    _schema_version: Option<Value>,
    #[serde(rename = "about")]
    _about: Option<Value>,
    #[serde(rename = "fields")]
    _fields: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    server_delay_cap_s: u64,
    max_response_bytes: usize,
    max_request_bytes: usize,
    #[serde(rename = "delay_rule")]
    _delay_rule: Option<Value>,
    #[serde(rename = "drop_rule")]
    _drop_rule: Option<Value>,
    #[serde(rename = "partial_rule")]
    _partial_rule: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    transport: Transport,
    #[serde(rename = "signal")]
    _signal: Signal,
    #[serde(rename = "items_sent")]
    _items_sent: Option<u64>,
    status: Option<u16>,
    event: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Lines>,
    #[serde(default)]
    trailers: BTreeMap<String, Lines>,
    /// Describes the body; is the body where no exact one is given.
    #[serde(default)]
    body: String,
    body_hex: Option<String>,
    body_text: Option<String>,
    grpc_code: Option<String>,
    expected: Expected,
}

#[derive(Deserialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Http,
    Grpc,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Signal {
    Traces,
    Logs,
    Metrics,
}

/// A header once, or on several lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize, PartialEq, Default, Debug)]
#[serde(deny_unknown_fields)]
struct Expected {
    outcome: String,
    delay: Option<String>,
    seconds: Option<f64>,
    rejected: Option<u64>,
    message: Option<String>,
    warning: Option<String>,
    reason: Option<String>,
}

#[test]
fn otlp_retry() {
    run("otlp_retry.json", |file: &File, case: &Case| {
        let cap = Duration::from_secs(file.policy.server_delay_cap_s);
        same("server_delay_cap_s", &cap, &MAX_OTLP_SERVER_DELAY)?;
        same(
            "max_response_bytes",
            &file.policy.max_response_bytes,
            &MAX_OTLP_RESPONSE_BYTES,
        )?;
        same(
            "max_request_bytes",
            &file.policy.max_request_bytes,
            &MAX_OTLP_REQUEST_BYTES,
        )?;
        check(case, unix_time(&file.now)?)
    });
}

fn check(case: &Case, wall: UnixTime) -> Result<(), String> {
    let failure = failure(case)?;
    if let Some(bytes) = serialised_size(&case.body) {
        let refused = Merged::default().add(bytes).is_err();
        same(
            "refused before sending",
            &(failure == Some(Failure::RequestTooLarge)),
            &refused,
        )?;
    }
    if let Some(failure) = failure {
        return compare(case, answer::of_failure(failure));
    }
    let status = case.status.ok_or("neither a status nor an event")?;
    let body = body(case)?;
    let code = field(&case.trailers, "grpc-status").or_else(|| field(&case.headers, "grpc-status"));
    let code = code.map(|code| code.trim().parse().unwrap_or(u32::MAX));
    if let Some(name) = &case.grpc_code {
        let read = code.map_or(GrpcCode::from_http(status), GrpcCode::from_number);
        same("grpc_code", &name.as_str(), &read.as_str())?;
    }
    let response = Response {
        status,
        retry_after: field(&case.headers, "retry-after").map(str::as_bytes),
        content_type: field(&case.headers, "content-type").map(str::as_bytes),
        body: &body,
        grpc: (case.transport == Transport::Grpc).then(|| GrpcStatus {
            code,
            message: field(&case.trailers, "grpc-message").map(str::as_bytes),
            details: field(&case.trailers, "grpc-status-details-bin").map(str::as_bytes),
        }),
        wall,
        ..Response::default()
    };
    compare(case, answer::of_response(&response, AnswerPolicy::default()))
}

fn compare(case: &Case, verdict: Verdict<'_>) -> Result<(), String> {
    let mut actual = Expected::default();
    let mut said = None;
    match verdict {
        Verdict::Success { warning } => {
            actual.outcome = "success".to_owned();
            actual.warning = warning.map(|warning| warning.to_string());
        }
        Verdict::Partial { rejected, message } => {
            actual.outcome = "partial".to_owned();
            actual.rejected = Some(rejected);
            actual.message = Some(message.to_string());
        }
        Verdict::Retry { delay, message, .. } => {
            actual.outcome = "retry".to_owned();
            said = Some(message.to_string());
            match delay {
                Delay::Backoff => actual.delay = Some("backoff".to_owned()),
                Delay::After(delay) => {
                    actual.delay = Some("after".to_owned());
                    actual.seconds = Some(delay.as_micros() as f64 / 1e6);
                }
            }
        }
        Verdict::Drop { refusal, message } => {
            actual.outcome = "drop".to_owned();
            said = Some(message.to_string());
            actual.reason = Some(refusal.to_string());
        }
    }
    // What a refusal says is free unless the case names it.
    if case.expected.message.is_some() {
        actual.message = actual.message.or(said);
    }
    same("verdict", &case.expected, &actual)
}

/// What a host reports for the case's event, or for an answer that it does not read to its end.
fn failure(case: &Case) -> Result<Option<Failure>, String> {
    let length = field(&case.headers, "content-length").and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_OTLP_RESPONSE_BYTES) {
        return Ok(Some(Failure::ResponseTooLarge));
    }
    let Some(event) = &case.event else {
        return Ok(None);
    };
    const WORDS: &[(&[&str], Failure)] = &[
        (&["request", "large"], Failure::RequestTooLarge),
        (&["response", "large"], Failure::ResponseTooLarge),
        (&["request", "over"], Failure::RequestTooLarge),
        (&["response", "over"], Failure::ResponseTooLarge),
        (&["dns"], Failure::Dns),
        (&["tls"], Failure::Tls),
        (&["certificate"], Failure::Tls),
        (&["timeout"], Failure::Timeout),
        (&["deadline"], Failure::Timeout),
        (&["unreachable"], Failure::Connect),
        (&["refused"], Failure::Connect),
        (&["lost"], Failure::Disconnected),
        (&["closed"], Failure::Disconnected),
        (&["disconnect"], Failure::Disconnected),
        (&["reset"], Failure::Disconnected),
        (&["goaway"], Failure::Disconnected),
        (&["eof"], Failure::Disconnected),
        (&["truncated"], Failure::Disconnected),
        (&["incomplete"], Failure::Disconnected),
        (&["malformed"], Failure::MalformedResponse),
    ];
    let named = |words: &[&str]| words.iter().all(|word| event.contains(word));
    let found = WORDS.iter().find(|(words, _)| named(words));
    let (_, failure) = found.ok_or_else(|| format!("no failure stands for the event {event}"))?;
    Ok(Some(*failure))
}

/// The first line of that field, whatever the case of its name.
fn field<'a>(fields: &'a BTreeMap<String, Lines>, name: &str) -> Option<&'a str> {
    let (_, lines) = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    match lines {
        Lines::One(line) => Some(line),
        Lines::Several(lines) => lines.first().map(String::as_str),
    }
}

fn body(case: &Case) -> Result<Vec<u8>, String> {
    if let Some(text) = &case.body_text {
        return Ok(text.clone().into_bytes());
    }
    let Some(hex) = &case.body_hex else {
        return Ok(case.body.clone().into_bytes());
    };
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .ok_or_else(|| format!("body_hex: {digit} is no digit"))
        })
        .collect::<Result<_, _>>()?;
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect())
}

/// The number in "serialised size N".
fn serialised_size(body: &str) -> Option<usize> {
    let (_, rest) = body.split_once("serialised size ")?;
    rest.split(|other: char| !other.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Reads `YYYY-MM-DDThh:mm:ssZ`.
fn unix_time(text: &str) -> Result<UnixTime, String> {
    let numbers: Vec<i64> = text
        .split(|other: char| !other.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second] = numbers[..] else {
        return Err(format!("now: {text} is not YYYY-MM-DDThh:mm:ssZ"));
    };
    // Days from 1 March of year 0, so that the leap day ends its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    u64::try_from(seconds)
        .map(UnixTime::from_secs)
        .map_err(|_| format!("now: {text} is before 1970"))
}
