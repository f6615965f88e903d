//! What was sent against what arrived, byte for byte.

use std::collections::BTreeMap;

use serde_json::Value;
use surgetank_tests::upstream::Exchange;
use surgetank_tests::upstream::envelope::{Envelope, Item};

/// An OTLP request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Export {
    /// Path and content type.
    pub(crate) kind: (String, String),
    pub(crate) body: Vec<u8>,
}

/// The envelopes that were sent and answered with success.
#[track_caller]
pub(crate) fn accepted_envelopes(exchanges: &[Exchange]) -> Vec<Envelope> {
    let accepted = exchanges.iter().filter(|exchange| exchange.is_accepted());
    envelopes(accepted)
}

/// All envelopes among the requests.
#[track_caller]
pub(crate) fn envelopes<'a>(exchanges: impl IntoIterator<Item = &'a Exchange>) -> Vec<Envelope> {
    let requests = exchanges.into_iter().map(|exchange| &exchange.request);
    requests
        .filter(|request| request.path.contains("/envelope/"))
        .map(|request| Envelope::read(&request.body).expect("what SDKs send is well-formed"))
        .collect()
}

/// The OTLP requests that were sent and answered with success.
pub(crate) fn accepted_exports(exchanges: &[Exchange]) -> Vec<Export> {
    let export = |exchange: &Exchange| {
        let request = &exchange.request;
        (exchange.is_accepted() && request.path.starts_with("/v1/")).then(|| Export {
            kind: (
                request.path.clone(),
                request.header("content-type").unwrap_or_default().to_owned(),
            ),
            body: request.body.clone(),
        })
    };
    exchanges.iter().filter_map(export).collect()
}

/// That each envelope arrived once, and no other: item headers and payloads equal to the byte, the envelope header in
/// everything but `sent_at`, which says when an envelope was last sent.
#[track_caller]
pub(crate) fn assert_same_envelopes(sent: &[Envelope], arrived: &[Envelope]) {
    assert_eq!(outline(sent), outline(arrived), "items by type");
    let mut left: Vec<Envelope> = arrived.iter().map(comparable).collect();
    for envelope in sent.iter().map(comparable) {
        let Some(at) = left.iter().position(|one| *one == envelope) else {
            let first = envelope.items.first();
            let near = left
                .iter()
                .find(|one| one.items == envelope.items)
                .or_else(|| left.iter().find(|one| one.header == envelope.header))
                .or_else(|| {
                    left.iter()
                        .find(|one| one.items.first().map(Item::kind) == first.map(Item::kind))
                });
            panic!(
                "this was sent and did not arrive:\n{}\nnearest to it:\n{}",
                text(&envelope),
                near.map(text).unwrap_or_default()
            );
        };
        left.swap_remove(at);
    }
    assert!(
        left.is_empty(),
        "this arrived and was not sent:\n{}",
        text(&left[0])
    );
}

/// That each request arrived once, and no other: those in JSON one by one, those in protobuf perhaps joined (requests
/// joined are one request by the rules of protobuf).
#[track_caller]
pub(crate) fn assert_same_exports(sent: &[Export], arrived: &[Export]) {
    let mut left = sent.to_vec();
    for export in arrived {
        let mut rest = export.body.as_slice();
        while !rest.is_empty() {
            let may_be_joined = export.kind.1 == "application/x-protobuf";
            let part = left.iter().position(|one| {
                one.kind == export.kind
                    && rest.starts_with(&one.body)
                    && (may_be_joined || rest.len() == one.body.len())
            });
            let Some(part) = part else {
                panic!(
                    "{:?} arrived with {} bytes that were not sent: {}",
                    export.kind,
                    rest.len(),
                    String::from_utf8_lossy(rest)
                );
            };
            rest = rest.get(left.swap_remove(part).body.len()..).unwrap_or_default();
        }
    }
    let missing: Vec<_> = left.iter().map(|one| &one.kind).collect();
    assert!(missing.is_empty(), "these did not arrive: {missing:?}");
}

/// How much there is of each category, counted by the rules for Sentry's client reports.
pub(crate) fn quantities(envelopes: &[Envelope]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let mut add = |category: &str, quantity: u64| *sums.entry(category.to_owned()).or_default() += quantity;
    for item in envelopes.iter().flat_map(|envelope| &envelope.items) {
        let json = item.json();
        let header: Value = serde_json::from_slice(&item.header).unwrap_or_default();
        let items = header["item_count"].as_u64().unwrap_or(1);
        match item.kind().as_str() {
            "event" => add("error", 1),
            "transaction" => {
                add("transaction", 1);
                add("span", 1 + json["spans"].as_array().map_or(0, Vec::len) as u64);
            }
            "span" => add("span", items),
            "log" => add("log_item", items),
            "trace_metric" => add("trace_metric", items),
            "session" => add("session", 1),
            "sessions" => add("session", sessions(&json)),
            "check_in" => add("monitor", 1),
            "feedback" => add("feedback", 1),
            "attachment" => add("attachment_item", 1),
            "client_report" => {}
            other => panic!("no rule for {other}"),
        }
    }
    sums
}

fn sessions(json: &Value) -> u64 {
    let states = ["exited", "errored", "abnormal", "crashed"];
    let aggregates = json["aggregates"].as_array().into_iter().flatten();
    aggregates
        .flat_map(|one| states.iter().filter_map(|state| one[*state].as_u64()))
        .sum()
}

/// What client reports in these envelopes say was lost of a category, for one reason or for all.
pub(crate) fn reported(envelopes: &[Envelope], category: &str, reason: Option<&str>) -> u64 {
    let items = envelopes.iter().flat_map(|envelope| &envelope.items);
    items
        .filter(|item| item.kind() == "client_report")
        .flat_map(|item| {
            item.json()["discarded_events"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .filter(|loss| loss["category"] == category && reason.is_none_or(|reason| loss["reason"] == reason))
        .filter_map(|loss| loss["quantity"].as_u64())
        .sum()
}

/// How many items of each type there are.
pub(crate) fn outline(envelopes: &[Envelope]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in envelopes.iter().flat_map(|envelope| &envelope.items) {
        *counts.entry(item.kind()).or_default() += 1;
    }
    counts
}

/// The envelope without the time of sending, which whoever sends it writes anew.
fn comparable(envelope: &Envelope) -> Envelope {
    let header = String::from_utf8(envelope.header.clone()).expect("headers are UTF-8");
    Envelope {
        header: without_sent_at(&header).into_bytes(),
        items: envelope.items.clone(),
    }
}

fn without_sent_at(header: &str) -> String {
    let Some((before, after)) = header.split_once("\"sent_at\":\"") else {
        return header.to_owned();
    };
    let (_, after) = after.split_once('"').expect("a string has an end");
    match before.strip_suffix(',') {
        Some(before) => format!("{before}{after}"),
        None => format!("{before}{}", after.strip_prefix(',').unwrap_or(after)),
    }
}

fn text(envelope: &Envelope) -> String {
    let mut text = String::from_utf8_lossy(&envelope.header).into_owned();
    for item in &envelope.items {
        let payload: String = String::from_utf8_lossy(&item.payload).chars().take(300).collect();
        text.push_str(&format!(
            "\n  {}\n  {} bytes: {payload}",
            String::from_utf8_lossy(&item.header),
            item.payload.len()
        ));
    }
    text
}

#[test]
fn the_time_of_sending_does_not_count() {
    for header in [
        r#"{"a":1,"sent_at":"x","b":2}"#,
        r#"{"sent_at":"x","a":1,"b":2}"#,
        r#"{"a":1,"b":2,"sent_at":"x"}"#,
        r#"{"a":1,"b":2}"#,
    ] {
        assert_eq!(without_sent_at(header), r#"{"a":1,"b":2}"#);
    }
    assert_eq!(without_sent_at(r#"{"sent_at":"x"}"#), "{}");
}
