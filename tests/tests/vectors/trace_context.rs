//! `traceparent.json`: propagation headers and what a conforming parser makes of them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use surgetank_core::wire::trace_context::{Baggage, SentryTrace, Traceparent, Tracestate};

use crate::{run, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "schema_version")]
    version: u32,
    #[serde(rename = "about")]
    _about: Option<Value>,
    #[serde(rename = "fields")]
    _fields: Option<Value>,
    #[serde(rename = "limits")]
    _limits: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    kind: Kind,
    headers: Vec<String>,
    expected: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Traceparent,
    Tracestate,
    Baggage,
    SentryTrace,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TraceparentParts {
    version: u8,
    trace_id: String,
    parent_id: String,
    flags: u8,
    sampled: bool,
    random: bool,
    propagate: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TracestateParts {
    members: Vec<(String, String)>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BaggageParts {
    entries: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    value: String,
    properties: Vec<(String, Option<String>)>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SentryTraceParts {
    trace_id: String,
    parent_id: String,
    sampled: Option<bool>,
}

#[test]
fn trace_context() {
    run("traceparent.json", |file: &File, case: &Case| {
        same("schema_version", &1, &file.version)?;
        check(case)
    });
}

fn check(case: &Case) -> Result<(), String> {
    let lines: Vec<&[u8]> = case.headers.iter().map(|line| line.as_bytes()).collect();
    match case.kind {
        Kind::Traceparent => compare(case, Traceparent::parse(&lines).map(traceparent)),
        Kind::Tracestate => compare(case, Tracestate::parse(&lines).map(tracestate)),
        Kind::Baggage => compare(case, Baggage::parse(&lines).map(baggage)),
        Kind::SentryTrace => compare(case, SentryTrace::parse(&lines).map(sentry_trace)),
    }
}

/// Compares every field that is expected; those of `P` have to be there, all of them and no other.
fn compare<P: Serialize + DeserializeOwned, E: std::fmt::Debug>(
    case: &Case,
    actual: Result<P, E>,
) -> Result<(), String> {
    let mut expected = case.expected.clone();
    let valid = expected.remove("valid");
    // A discarded list may say that nothing is in it.
    let nothing = expected.values().all(|value| *value == json!([]));
    match (valid, actual) {
        (Some(Value::Bool(false)), actual) if nothing => match actual {
            Err(_) => Ok(()),
            Ok(actual) => Err(format!("expected nothing valid, got {}", json!(actual))),
        },
        (Some(Value::Bool(true)), actual) => {
            let expected: P = serde_json::from_value(Value::Object(expected))
                .map_err(|error| format!("expected: cannot be interpreted: {error}"))?;
            match actual {
                Ok(actual) => same("parts", &json!(expected), &json!(actual)),
                Err(error) => Err(format!("expected {}, got {error:?}", json!(expected))),
            }
        }
        _ => Err("expected: `valid` is no boolean, or something stands beside `false`".to_owned()),
    }
}

fn traceparent(parent: Traceparent) -> TraceparentParts {
    TraceparentParts {
        version: parent.version,
        trace_id: parent.trace_id.to_string(),
        parent_id: parent.parent_id.to_string(),
        flags: parent.flags,
        sampled: parent.sampled(),
        random: parent.random(),
        propagate: parent.to_string(),
    }
}

fn tracestate(state: Tracestate<'_>) -> TracestateParts {
    TracestateParts {
        members: state
            .entries()
            .map(|entry| (entry.key.to_owned(), entry.value.to_owned()))
            .collect(),
    }
}

fn baggage(baggage: Baggage<'_>) -> BaggageParts {
    let entries = baggage.members().map(|member| Entry {
        key: member.key.to_owned(),
        value: member.value.to_string(),
        properties: member
            .properties()
            .map(|property| {
                (
                    property.key.to_owned(),
                    property.value.map(|value| value.to_string()),
                )
            })
            .collect(),
    });
    BaggageParts {
        entries: entries.collect(),
    }
}

fn sentry_trace(trace: SentryTrace) -> SentryTraceParts {
    SentryTraceParts {
        trace_id: trace.trace_id.to_string(),
        parent_id: trace.parent_id.to_string(),
        sampled: trace.sampled,
    }
}
