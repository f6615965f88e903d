//! Which traces are kept, and what they say about it.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample};
use surgetank::diagnostics::DiagnosticEvent;
use surgetank::opentelemetry::{Sampler, SpanProcessor};
use surgetank::{Category, Client, DropReason};

use crate::decoded::spans;
use crate::support::{self, Reply, Server};
use crate::{PATIENT, builder};

/// The low 56 bits of a trace id.
fn randomness(trace_id: TraceId) -> u64 {
    let bytes = trace_id.to_bytes();
    u64::from_be_bytes(bytes[8..].try_into().expect("8 bytes")) & ((1 << 56) - 1)
}

fn ask(sampler: &Sampler, context: &Context, trace_id: u128) -> SamplingResult {
    sampler.should_sample(
        Some(context),
        TraceId::from(trace_id),
        "name",
        &SpanKind::Server,
        &[],
        &[],
    )
}

#[test]
fn roots_are_kept_by_the_clients_rate_say_so_and_the_others_are_counted() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server)
        .traces_sample_rate(0.25)
        .build()
        .expect("a client");
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::new(&client))
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    let tracer = provider.tracer("t");
    for _ in 0..1000 {
        tracer.in_span("root", |context| {
            tracer.start_with_context("child", &context).end();
        });
    }
    provider.shutdown_with_timeout(PATIENT).expect("in time");
    let requests = server.requests();
    let all = spans(requests.iter().map(|request| request.body.as_slice()));
    let kept = all.len() / 2;
    assert!((150..350).contains(&kept), "{kept}");
    for whole in &all {
        let id: [u8; 16] = whole.record.trace_id.clone().try_into().expect("16 bytes");
        assert!(randomness(TraceId::from_bytes(id)) >= 0xc0_0000_0000_0000);
        assert_eq!(whole.record.trace_state, "ot=th:c", "of {}", whole.record.name);
    }
    assert_eq!(
        all.iter().filter(|whole| whole.record.name == "child").count(),
        kept
    );
    let totals = client.status().totals;
    assert_eq!(
        totals.dropped(Category::Span, DropReason::SampleRate),
        1000 - kept as u64
    );
}

#[test]
fn spans_with_a_parent_follow_it_and_pass_its_trace_state_on() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server)
        .traces_sample_rate(0.0)
        .build()
        .expect("a client");
    let sampler = Sampler::new(&client);
    for remote in [true, false] {
        for (flags, expected) in [
            (TraceFlags::SAMPLED, SamplingDecision::RecordAndSample),
            (TraceFlags::NOT_SAMPLED, SamplingDecision::Drop),
        ] {
            let state: TraceState = "ot=th:8,vendor=x".parse().expect("a trace state");
            let parent = SpanContext::new(TraceId::from(1), SpanId::from(2), flags, remote, state);
            let result = ask(&sampler, &Context::new().with_remote_span_context(parent), 1);
            assert_eq!(result.decision, expected);
            assert_eq!(result.trace_state.header(), "ot=th:8,vendor=x");
        }
    }
    // A rate of 0 keeps no root, whatever its id.
    let root = ask(&sampler, &Context::new(), u128::MAX);
    assert_eq!(root.decision, SamplingDecision::Drop);
    let _ = client.close(PATIENT);
    assert_eq!(client.status().totals.of(Category::Span).dropped, 1);
}

/// Keeps every root with this trace state.
#[derive(Clone, Debug)]
struct Says(&'static str);

impl ShouldSample for Says {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: vec![KeyValue::new("sampler", "inner")],
            trace_state: self.0.parse().expect("a trace state"),
        }
    }
}

#[test]
fn a_root_sampler_keeps_what_it_says_while_there_is_no_pressure() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server)
        .traces_sample_rate(0.0)
        .build()
        .expect("a client");
    let root = |says| {
        ask(
            &Sampler::new(&client).with_root(Says(says)),
            &Context::new(),
            u128::MAX,
        )
    };
    for says in ["", "vendor=x", "ot=th:8,vendor=x", "ot=rv:ffffffffffffff;th:c"] {
        let result = root(says);
        assert_eq!(result.decision, SamplingDecision::RecordAndSample, "{says}");
        assert_eq!(result.trace_state.header(), says);
        assert_eq!(result.attributes.len(), 1);
    }
    // A threshold that the randomness does not reach was not kept by chance.
    assert_eq!(root("ot=rv:00000000000000;th:8").decision, SamplingDecision::Drop);
}

/// Fills the queue of a client whose server has no time for it, until it keeps fewer traces.
fn under_pressure(client: &Client, factors: &Receiver<u8>) -> u8 {
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(client))
        .build();
    let tracer = provider.tracer("t");
    let begun = support::now();
    loop {
        for _ in 0..100 {
            tracer.start("bulk").end();
        }
        if let Ok(factor) = factors.recv_timeout(Duration::from_millis(20)) {
            return factor;
        }
        assert!(begun.elapsed() < PATIENT, "{:?}", client.status());
    }
}

#[test]
fn under_pressure_the_factor_multiplies_with_what_roots_were_kept_by_and_is_told() {
    let server = Server::start(|_, _| Reply::status(503).with("Retry-After", "600"));
    let (tell, factors) = mpsc::channel();
    let client = builder(&server)
        .memory(256 * 1024)
        .traces_sample_rate(0.5)
        .on_diagnostic(move |diagnostic| {
            if let DiagnosticEvent::Factor(change) = diagnostic.event {
                let _ = tell.send(change.to);
            }
        })
        .build()
        .expect("a client");
    let before = under_pressure(&client, &factors);
    let by_rate = Sampler::new(&client);
    let by_root = Sampler::new(&client).with_root(Says("ot=th:c;x:y,vendor=x"));
    let mut kept = 0;
    for number in 0..4096_u128 {
        // Spread evenly over the 56 bits.
        let id = (1 << 100) | number << 44;
        let (rate, root) = (
            ask(&by_rate, &Context::new(), id),
            ask(&by_root, &Context::new(), id),
        );
        for (result, exponent, rest) in [(rate, 1, ""), (root, 2, ";x:y,vendor=x")] {
            if result.decision == SamplingDecision::Drop {
                assert!(result.attributes.is_empty());
                continue;
            }
            kept += 1;
            let state = result.trace_state.header();
            // The factor may have gone up meanwhile.
            let told = (before..=10).find(|factor| {
                let threshold = (1_u64 << 56) - (1 << (56 - exponent - u32::from(*factor)));
                let digits = format!("{threshold:014x}");
                let expected = format!("ot=th:{}{rest}", digits.trim_end_matches('0'));
                state == expected && randomness(TraceId::from(id)) >= threshold
            });
            assert!(told.is_some(), "{state} of {id:x}, factor {before}");
        }
    }
    // Of 4096 half and a quarter, divided by at least 2 and at most 1024.
    assert!((3..=1536).contains(&kept), "{kept}");
    let totals = client.status().totals;
    assert!(totals.dropped(Category::Span, DropReason::Backpressure) > 0);
    let _ = client.close(Duration::ZERO);
}
