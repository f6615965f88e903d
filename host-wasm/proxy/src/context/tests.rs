use super::*;
use crate::headers;
use std::string::ToString;
use std::vec::Vec;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What is read from these headers.
fn parent_of(list: &[(&str, &str)]) -> Option<Parent> {
    let mut memory = [0; 1024];
    let pairs: Vec<(&[u8], &[u8])> = list
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let bytes = headers::write(&mut memory, pairs.into_iter()).unwrap();
    Incoming::of(Pairs::new(bytes)).parent()
}

fn w3c(flags: &str) -> std::string::String {
    std::format!("00-{TRACE}-{SPAN}-{flags}")
}

#[test]
fn a_trace_is_taken_over_with_the_callers_decision() {
    for (flags, sampled, decision) in [
        ("01", true, Decision::Record),
        ("00", false, Decision::Caller),
        ("03", true, Decision::Record),
    ] {
        let parent = parent_of(&[("traceparent", &w3c(flags))]);
        assert_eq!(parent.unwrap().sampled, Some(sampled));
        // Whatever the rate says.
        for threshold in [0, 1 << 56] {
            let context = Context::new(parent, threshold, GateState::OPEN, &mut Rng::new(7));
            assert_eq!(context.decision, decision);
            assert_eq!(context.trace_id.to_string(), TRACE);
            assert_eq!(context.parent.unwrap().to_string(), SPAN);
            assert_ne!(context.span_id.to_string(), SPAN);
            let own = std::format!("00-{TRACE}-{}-{flags}", context.span_id);
            assert_eq!(context.traceparent(), own.as_bytes());
        }
    }
}

#[test]
fn sentrys_header_counts_where_there_is_no_good_traceparent() {
    let sentry = std::format!("{TRACE}-{SPAN}");
    let other = "00-11111111111111111111111111111111-2222222222222222-00";
    let parent = parent_of(&[("sentry-trace", &sentry), ("traceparent", "rubbish")]).unwrap();
    assert_eq!(
        (parent.trace_id.to_string().as_str(), parent.sampled),
        (TRACE, None)
    );
    let both = parent_of(&[("sentry-trace", &sentry), ("traceparent", other)]).unwrap();
    assert_eq!(both.sampled, Some(false));
    assert_ne!(both.trace_id.to_string(), TRACE);
}

#[test]
fn two_lines_of_traceparent_are_worth_nothing() {
    let line = w3c("01");
    assert_eq!(parent_of(&[("traceparent", &line), ("traceparent", &line)]), None);
}

#[test]
fn a_trace_without_a_decision_is_decided_by_its_id() {
    let sentry = std::format!("{TRACE}-{SPAN}");
    let parent = parent_of(&[("sentry-trace", &sentry)]);
    // The low 56 bits of the trace: 0xce929d0e0e4736.
    let lot = 0x00ce_929d_0e0e_4736;
    for (threshold, decision) in [(lot, Decision::Record), (lot + 1, Decision::Rate)] {
        let context = Context::new(parent, threshold, GateState::OPEN, &mut Rng::new(7));
        assert_eq!(context.decision, decision);
    }
    let pressed = GateState::OPEN.with_factor(10);
    let context = Context::new(parent, 0, pressed, &mut Rng::new(7));
    assert_eq!(context.decision, Decision::Pressure);
    let sampled = std::format!("{TRACE}-{}-0", context.span_id);
    assert_eq!(context.sentry_trace(), sampled.as_bytes());
}

#[test]
fn a_new_trace_says_that_its_id_is_random() {
    let mut random = Rng::new(7);
    let first = Context::new(None, 0, GateState::OPEN, &mut random);
    let second = Context::new(None, 1 << 56, GateState::OPEN, &mut random);
    assert_eq!((first.flags, second.flags), (3, 2));
    assert_eq!(first.parent, None);
    assert_ne!(first.trace_id, second.trace_id);
}

#[test]
fn the_head_of_a_trace_writes_the_sampling_context_and_keeps_foreign_baggage() {
    let context = Context::new(None, 0, GateState::OPEN, &mut Rng::new(7));
    let head = Head {
        public_key: "0123456789abcdef0123456789abcdef",
        sample_rate: "0.25",
        release: "shop@1.4.2",
        environment: "",
    };
    let incoming: [&[u8]; 2] = [b"a=1;p, sentry-trace_id=00", b"b=2"];
    assert_eq!(
        context.baggage(&incoming, &head).as_str(),
        std::format!(
            "a=1;p,b=2,sentry-trace_id={},sentry-public_key=0123456789abcdef0123456789abcdef,\
             sentry-sample_rate=0.25,sentry-sampled=true,sentry-release=shop%401.4.2",
            context.trace_id
        )
    );
}
