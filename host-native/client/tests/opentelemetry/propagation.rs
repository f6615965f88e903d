//! What goes from one program to the next, and what a hostile caller can do with it.

use std::collections::BTreeMap;

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::SdkTracerProvider;
use proptest::prelude::*;
use serde_json::{Value, json};
use surgetank::Client;
use surgetank::opentelemetry::{Propagator, Sampler, SpanProcessor};

use crate::PATIENT;
use crate::support::{Reply, Server};
use crate::transactions::{envelopes, sentry};

/// A request: any number of lines with one name, as on the wire.
#[derive(Clone, Default, Debug)]
struct Request(Vec<(String, String)>);

impl Request {
    fn of(headers: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(headers.iter().map(owned).collect())
    }
}

impl Extractor for Request {
    fn get(&self, key: &str) -> Option<&str> {
        self.get_all(key)?.first().copied()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let lines = self.0.iter().filter(|(name, _)| name == key);
        let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
        (!lines.is_empty()).then_some(lines)
    }
}

impl Injector for Request {
    fn set(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const HEAD: &str = "sentry-trace_id=4bf92f3577b34da6a3ce929d0e0e4736,sentry-public_key=abc,\
                    sentry-sample_rate=0.5,sentry-release=a%20b%2C%22c";

fn client(dsn: &str) -> Client {
    Client::builder()
        .sentry_dsn(dsn)
        .release("shop@1 ä")
        .environment("prod")
        .build()
        .expect("a client")
}

fn without_sentry() -> Propagator {
    Propagator::new(&Client::builder().build().expect("a client"))
}

fn with_sentry() -> Propagator {
    Propagator::new(&client("https://key@o1.ingest.sentry.io/42"))
}

fn extract(propagator: &Propagator, headers: &[(&str, &str)]) -> Context {
    propagator.extract_with_context(&Context::new(), &Request::of(headers))
}

fn inject(propagator: &Propagator, context: &Context) -> BTreeMap<String, String> {
    let mut request = Request::default();
    propagator.inject_context(context, &mut request);
    let count = request.0.len();
    let headers: BTreeMap<_, _> = request.0.into_iter().collect();
    assert_eq!(headers.len(), count, "each once");
    headers
}

fn span(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}

/// A span of this program below what came in.
fn below(context: &Context) -> Context {
    let caller = span(context);
    context.with_span(Below(SpanContext::new(
        caller.trace_id(),
        SpanId::from(0xbe10),
        caller.trace_flags(),
        false,
        caller.trace_state().clone(),
    )))
}

#[derive(Debug)]
struct Below(SpanContext);

impl opentelemetry::trace::Span for Below {
    fn add_event_with_timestamp<T: Into<std::borrow::Cow<'static, str>>>(
        &mut self,
        _: T,
        _: std::time::SystemTime,
        _: Vec<KeyValue>,
    ) {
    }
    fn span_context(&self) -> &SpanContext {
        &self.0
    }
    fn is_recording(&self) -> bool {
        false
    }
    fn set_attribute(&mut self, _: KeyValue) {}
    fn set_status(&mut self, _: opentelemetry::trace::Status) {}
    fn update_name<T: Into<std::borrow::Cow<'static, str>>>(&mut self, _: T) {}
    fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {}
    fn end_with_timestamp(&mut self, _: std::time::SystemTime) {}
}

#[test]
fn a_trace_that_begins_here_carries_our_sampling_context() {
    let caller = SpanContext::new(
        TraceId::from_hex(TRACE).expect("an id"),
        SpanId::from(1),
        TraceFlags::SAMPLED,
        false,
        "ot=th:8,vendor=x".parse().expect("a trace state"),
    );
    let context = Context::new()
        .with_span(Below(caller))
        .with_baggage([KeyValue::new("shop", "a b"), KeyValue::new("sentry-fake", "1")]);
    let headers = inject(&with_sentry(), &context);
    assert_eq!(headers["traceparent"], format!("00-{TRACE}-0000000000000001-01"));
    assert_eq!(headers["tracestate"], "ot=th:8,vendor=x");
    assert_eq!(headers["sentry-trace"], format!("{TRACE}-0000000000000001-1"));
    assert_eq!(
        headers["baggage"],
        format!(
            "shop=a%20b,sentry-trace_id={TRACE},sentry-public_key=key,sentry-org_id=1,\
             sentry-release=shop%401%20%C3%A4,sentry-environment=prod,sentry-sampled=true,\
             sentry-sample_rate=0.5,sentry-sample_rand=0.193075"
        )
    );
    let headers = inject(&without_sentry(), &context);
    assert_eq!(
        headers.keys().collect::<Vec<_>>(),
        ["baggage", "traceparent", "tracestate"]
    );
    assert_eq!(headers["baggage"], "shop=a%20b");
}

#[test]
fn the_heads_sampling_context_goes_on_as_it_came() {
    for propagator in [with_sentry(), without_sentry()] {
        let baggage = format!("mine=1;p=q;r, {HEAD},sentry-new=%25");
        let sentry_trace = format!("{TRACE}-00f067aa0ba902b7-1");
        let context = extract(
            &propagator,
            &[
                ("traceparent", TRACEPARENT),
                ("tracestate", "vendor=x"),
                ("sentry-trace", &sentry_trace),
                ("baggage", &baggage),
            ],
        );
        let caller = span(&context);
        assert!(caller.is_remote() && caller.is_sampled());
        assert_eq!(context.baggage().len(), 1, "only what is not Sentry's");
        let headers = inject(&propagator, &below(&context));
        assert_eq!(headers["baggage"], format!("mine=1;p=q;r,{HEAD},sentry-new=%25"));
        assert_eq!(headers["traceparent"], format!("00-{TRACE}-000000000000be10-01"));
        assert_eq!(headers["sentry-trace"], format!("{TRACE}-000000000000be10-1"));
        assert_eq!(headers["tracestate"], "vendor=x");
    }
}

#[test]
fn an_empty_context_of_a_sentry_head_stays_empty_and_another_head_gets_ours() {
    let sentry_trace = format!("{TRACE}-00f067aa0ba902b7-1");
    let frozen = extract(&with_sentry(), &[("sentry-trace", &sentry_trace)]);
    let headers = inject(&with_sentry(), &below(&frozen));
    assert_eq!(headers.get("baggage"), None);
    assert!(headers.contains_key("sentry-trace"));
    let open = extract(&with_sentry(), &[("traceparent", TRACEPARENT)]);
    let headers = inject(&with_sentry(), &below(&open));
    assert!(headers["baggage"].starts_with(&format!("sentry-trace_id={TRACE},")));
}

#[test]
fn sentry_trace_alone_continues_the_trace() {
    for (end, sampled) in [("-1", true), ("-0", false), ("", false)] {
        let sentry_trace = format!("{TRACE}-00f067aa0ba902b7{end}");
        let context = extract(&with_sentry(), &[("sentry-trace", &sentry_trace)]);
        let caller = span(&context);
        assert_eq!(caller.trace_id().to_string(), TRACE);
        assert_eq!(caller.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!((caller.is_sampled(), caller.is_remote()), (sampled, true));
        // Passed on by a program that makes no spans.
        assert_eq!(inject(&with_sentry(), &context)["sentry-trace"], sentry_trace);
    }
}

#[test]
fn a_sampling_context_of_another_trace_and_a_differing_sentry_trace_do_not_count() {
    let other = "11111111111111111111111111111111";
    let sentry_trace = format!("{other}-00f067aa0ba902b7-0");
    let baggage = format!("sentry-trace_id={other},sentry-public_key=abc");
    let context = extract(
        &with_sentry(),
        &[
            ("traceparent", TRACEPARENT),
            ("sentry-trace", &sentry_trace),
            ("baggage", &baggage),
        ],
    );
    assert_eq!(span(&context).trace_id().to_string(), TRACE);
    assert!(span(&context).is_sampled());
    let headers = inject(&with_sentry(), &below(&context));
    assert!(headers["baggage"].contains(&format!("sentry-trace_id={TRACE},sentry-public_key=key")));
    assert!(!headers["baggage"].contains(other));
}

#[test]
fn a_trace_of_another_organization_is_not_continued() {
    let sentry_trace = format!("{TRACE}-00f067aa0ba902b7-1");
    for (org, continued) in [("1", true), ("2", false)] {
        let baggage = format!("a=b,{HEAD},sentry-org_id={org}");
        let headers = [
            ("traceparent", TRACEPARENT),
            ("sentry-trace", sentry_trace.as_str()),
            ("baggage", baggage.as_str()),
        ];
        let context = extract(&with_sentry(), &headers);
        assert_eq!(span(&context).is_valid(), continued, "{org}");
        assert_eq!(context.baggage().len(), 1);
        assert!(span(&extract(&without_sentry(), &headers)).is_valid());
        // Somebody of ours in between, whose trace is another one.
        let own = "00-22222222222222222222222222222222-00f067aa0ba902b7-01";
        let between = [("traceparent", own), headers[1], headers[2]];
        assert!(span(&extract(&with_sentry(), &between)).is_valid());
    }
}

#[test]
fn an_open_decision_is_made_here() {
    let undecided = format!("{TRACE}-00f067aa0ba902b7");
    for (rate, kept) in [(1.0, 1), (0.0, 0)] {
        let server = Server::start(|_, _| Reply::ok());
        let client = sentry(&server)
            .traces_sample_rate(rate)
            .build()
            .expect("a client");
        let propagator = Propagator::new(&client);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::new(&client))
            .with_span_processor(SpanProcessor::new(&client))
            .build();
        let tracer = provider.tracer("t");
        let context = extract(&propagator, &[("sentry-trace", &undecided)]);
        tracer.start_with_context("open", &context).end();
        // What its caller said no to stays so.
        let refused = format!("{undecided}-0");
        let context = extract(&propagator, &[("sentry-trace", &refused)]);
        tracer.start_with_context("refused", &context).end();
        assert!(client.flush(PATIENT).complete);
        assert_eq!(envelopes(&server).len(), kept, "{rate}");
    }
}

#[test]
fn transactions_carry_the_heads_sampling_context() {
    let server = Server::start(|_, _| Reply::ok());
    let client = sentry(&server).build().expect("a client");
    let propagator = Propagator::new(&client);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let tracer = provider.tracer("t");
    let sentry_trace = format!("{TRACE}-00f067aa0ba902b7-1");
    let cases: [(&[(&str, &str)], Value); 4] = [
        (
            &[("traceparent", TRACEPARENT), ("baggage", HEAD)],
            json!({"trace_id": TRACE, "public_key": "abc", "sample_rate": "0.5", "release": "a b,\"c"}),
        ),
        (&[("sentry-trace", &sentry_trace)], Value::Null),
        // Without what the server asks of such a header, there is none.
        (
            &[("traceparent", TRACEPARENT), ("baggage", "sentry-release=x")],
            Value::Null,
        ),
        (
            &[("traceparent", TRACEPARENT)],
            json!({
                "trace_id": TRACE, "public_key": "0123456789abcdef0123456789abcdef",
                "release": "shop@1", "environment": "prod", "transaction": "root", "sampled": "true",
            }),
        ),
    ];
    for (number, (headers, expected)) in cases.iter().enumerate() {
        let context = extract(&propagator, headers);
        let root = context.with_span(tracer.start_with_context("root", &context));
        tracer.start_with_context("child", &root).end();
        root.span().end();
        assert!(client.flush(PATIENT).complete);
        let (envelope, event) = envelopes(&server).pop().expect("a transaction");
        assert_eq!(envelope.header["trace"], *expected, "{number}");
        assert_eq!(event["contexts"]["trace"]["parent_span_id"], "00f067aa0ba902b7");
        assert_eq!(event["spans"].as_array().map(Vec::len), Some(1));
    }
    assert_eq!(client.status().assembly.used_bytes, 0);
}

#[test]
fn the_sentry_crate_and_this_propagator_continue_each_others_traces() {
    for (flags, sampled) in [(TraceFlags::SAMPLED, true), (TraceFlags::NOT_SAMPLED, false)] {
        let trace_id = TraceId::from_hex(TRACE).expect("an id");
        let here = SpanContext::new(trace_id, SpanId::from(1), flags, false, Default::default());
        let sent = inject(&with_sentry(), &Context::new().with_span(Below(here)));
        let headers = sent.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let theirs = sentry::TransactionContext::continue_from_headers("there", "op", headers);
        assert_eq!(theirs.trace_id().to_string(), TRACE);
        assert_eq!(theirs.sampled(), Some(sampled));

        let hub = sentry::Hub::new(None, std::sync::Arc::default());
        let transaction = hub.start_transaction(theirs);
        let back = transaction
            .iter_headers()
            .map(|(name, value)| (name.to_owned(), value));
        let request = Request(back.collect());
        let context = with_sentry().extract_with_context(&Context::new(), &request);
        let theirs = transaction.get_trace_context();
        assert_eq!(span(&context).trace_id().to_string(), TRACE);
        assert_eq!(span(&context).span_id().to_string(), theirs.span_id.to_string());
    }
}

#[test]
fn the_protocol_vectors_hold() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/traceparent.json"
    );
    let text = std::fs::read_to_string(path).expect("the vectors");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let propagator = without_sentry();
    let mut seen = BTreeMap::new();
    for case in file["cases"].as_array().expect("cases") {
        let (kind, expected) = (case["kind"].as_str().expect("a kind"), &case["expected"]);
        let lines = case["headers"].as_array().expect("lines").iter();
        let mut headers: Vec<(&str, &str)> =
            lines.map(|line| (kind, line.as_str().expect("a line"))).collect();
        if kind == "tracestate" {
            headers.push(("traceparent", TRACEPARENT));
        }
        let context = extract(&propagator, &headers);
        let span = span(&context);
        *seen.entry(kind).or_insert(0) += 1;
        match kind {
            "traceparent" | "sentry-trace" => {
                assert_eq!(span.is_valid(), expected["valid"], "{case}");
                if span.is_valid() {
                    assert_eq!(span.trace_id().to_string(), expected["trace_id"], "{case}");
                    assert_eq!(span.span_id().to_string(), expected["parent_id"], "{case}");
                    assert_eq!(
                        span.is_sampled(),
                        expected["sampled"].as_bool() == Some(true),
                        "{case}"
                    );
                }
                if let Some(propagate) = expected.get("propagate") {
                    assert_eq!(inject(&propagator, &context)["traceparent"], *propagate, "{case}");
                }
            }
            "baggage" => {
                let nothing = Vec::new();
                let entries = expected["entries"].as_array().unwrap_or(&nothing);
                let ours = |entry: &&Value| {
                    entry["key"]
                        .as_str()
                        .is_some_and(|key| key.starts_with("sentry-"))
                };
                let names: std::collections::BTreeSet<_> = entries
                    .iter()
                    .filter(|entry| !ours(entry))
                    .map(|entry| entry["key"].as_str())
                    .collect();
                // The API keeps 64.
                assert_eq!(context.baggage().len(), names.len().min(64), "{case}");
                for (key, (value, _)) in context.baggage() {
                    let entry = entries.iter().rfind(|entry| entry["key"] == key.as_str());
                    assert_eq!(entry.expect("expected")["value"], value.as_str(), "{case}");
                }
            }
            _ => {
                let state = span.trace_state();
                if expected["valid"] == false {
                    assert_eq!(state.header(), "", "{case}");
                    continue;
                }
                for member in expected["members"].as_array().expect("members") {
                    let (key, value) = (member[0].as_str(), member[1].as_str());
                    // The API does not know every key of the standard's second level; then it has none.
                    let known = state.get(key.expect("a key"));
                    assert!(known == value || state.header().is_empty(), "{case}");
                }
            }
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// Bytes of headers, tame and wild.
fn header() -> impl Strategy<Value = (String, String)> {
    let name = prop::sample::select(vec!["traceparent", "tracestate", "sentry-trace", "baggage"]);
    let value = prop_oneof![
        "[ -~\t]{0,80}",
        "\\PC{0,40}",
        "(00|01|ff|cc)-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3](-x)?",
        "[0-9a-f]{32}-[0-9a-f]{16}(-[01])?",
        "((sentry-)?[a-z_]{1,8}=[!-~]{0,12}(;[a-z]{1,3}(=[a-z]{0,3})?)?,? ?){0,80}",
        "([a-z]{1,5}=[a-z]{1,300},){0,40}",
    ];
    (name.prop_map(str::to_owned), value)
}

proptest! {
    /// Whatever comes in, what goes out again is within the limits of the standards and reads back the same.
    #[test]
    fn what_goes_out_is_well_formed_whatever_came_in(headers in prop::collection::vec(header(), 0..6)) {
        for propagator in [with_sentry(), without_sentry()] {
            let context = propagator.extract_with_context(&Context::new(), &Request(headers.clone()));
            let sent = inject(&propagator, &context);
            if let Some(baggage) = sent.get("baggage") {
                prop_assert!(baggage.len() <= 8192);
                prop_assert!(baggage.split(',').count() <= 180);
            }
            if let Some(state) = sent.get("tracestate") {
                prop_assert!(state.split(',').count() <= 32);
            }
            let lines: Vec<(&str, &str)> =
                sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let again = extract(&propagator, &lines);
            prop_assert_eq!(span(&again), span(&context));
            prop_assert_eq!(&inject(&propagator, &again), &sent);
            // The SDK's own propagators read the same.
            let request = Request::of(&lines);
            let theirs = TraceContextPropagator::new().extract_with_context(&Context::new(), &request);
            prop_assert_eq!(span(&theirs).trace_id(), span(&context).trace_id());
            let theirs = BaggagePropagator::new().extract_with_context(&Context::new(), &request);
            for (key, (value, _)) in context.baggage() {
                if value.as_str().trim() == value.as_str() && !value.as_str().contains('\u{fffd}') {
                    prop_assert_eq!(theirs.baggage().get(key.as_str()), Some(value), "{:?}", key);
                }
            }
        }
    }

    /// What a program puts into its baggage arrives, whatever it is made of.
    #[test]
    fn values_of_ones_own_arrive(values in prop::collection::vec("\\PC{0,30}", 0..20)) {
        let propagator = with_sentry();
        let members = values.iter().enumerate().map(|(number, value)| KeyValue::new(format!("k{number}"), value.clone()));
        let context = Context::new().with_baggage(members);
        let sent = inject(&propagator, &context);
        let lines: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let arrived = extract(&propagator, &lines);
        for (number, value) in values.iter().enumerate() {
            let arrived = arrived.baggage().get(format!("k{number}"));
            prop_assert_eq!(arrived.map(|value| value.as_str()), Some(value.as_str()));
        }
    }
}
