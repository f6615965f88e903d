use std::collections::BTreeMap;

use surgetank_core::rng::Rng;
use surgetank_core::wire::otlp::protobuf::Out as _;

use super::*;
use crate::json::collected;

const DESTINATION: DestinationId = DestinationId::new(0, 0);

fn trace(number: u8) -> TraceId {
    TraceId::new([number; 16]).unwrap()
}

fn id(number: u64) -> SpanId {
    SpanId::new(number.to_be_bytes()).unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn part(kind: PartKind, trace_number: u8, span: u64, parent: u64, body: &[u8]) -> Vec<u8> {
    let head = PartHead {
        kind,
        trace_id: trace(trace_number),
        span_id: id(span),
        parent_id: id(parent),
    };
    collected(|out| {
        head.write(out);
        out.raw(body);
    })
}

/// What came out: envelopes, and spans lost by reason.
#[derive(Default)]
struct Taken {
    envelopes: Vec<(Header, String)>,
    lost: BTreeMap<DropReason, u64>,
}

impl Taken {
    fn each(&mut self) -> impl FnMut(Assembled<'_>) {
        |assembled| match assembled {
            Assembled::Record(item) => {
                let text = String::from_utf8(item.payload.to_vec()).unwrap();
                self.envelopes.push((item.header, text));
            }
            Assembled::Lost { reason, spans, .. } => *self.lost.entry(reason).or_default() += spans,
        }
    }

    fn lost(&self) -> u64 {
        self.lost.values().sum()
    }
}

fn give(assembly: &mut Assembly, now: Instant, payload: &[u8], out: &mut Taken) {
    let root = payload.first() == Some(&(PartKind::Root as u8));
    let header = if root {
        Header::new(DESTINATION, Form::Envelope, Category::Transaction, 1).also(Category::Span, 1)
    } else {
        Header::new(DESTINATION, Form::Item, Category::Span, 1)
    };
    let header = header.from_origin(PART);
    assembly.take(now, &Item { header, payload }, &mut out.each());
}

fn child(assembly: &mut Assembly, trace: u8, span: u64, parent: u64, out: &mut Taken) {
    let body = format!("{{\"s\":{span}}}");
    let payload = part(PartKind::Child, trace, span, parent, body.as_bytes());
    give(assembly, at(0), &payload, out);
}

const ROOT: &[u8] = b"{\"event_id\":\"e\"\0\"t\":1\0{\"spans\":[\0]}";

fn root(assembly: &mut Assembly, trace: u8, span: u64, out: &mut Taken) {
    give(
        assembly,
        at(0),
        &part(PartKind::Root, trace, span, span, ROOT),
        out,
    );
}

/// The numbers of the spans in an envelope, after a look at all of it.
fn spans(envelope: &str) -> Vec<u64> {
    let lines: Vec<&str> = envelope.split('\n').collect();
    let [_, item, payload, ""] = lines[..] else {
        panic!("{envelope}")
    };
    let item: serde_json::Value = serde_json::from_str(item).unwrap();
    assert_eq!(item["length"], payload.len());
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    let spans = payload["spans"].as_array().unwrap().iter();
    let mut spans: Vec<u64> = spans.map(|span| span["s"].as_u64().unwrap()).collect();
    spans.sort_unstable();
    spans
}

#[test]
fn a_root_takes_everything_below_it_and_nothing_else() {
    let mut assembly = Assembly::new(100_000);
    let mut out = Taken::default();
    // 1 has 2 and 3, 3 has 4; 9 is another root of the same trace, with 8; 7 is of another trace, below the same id.
    for (trace, span, parent) in [(1, 4, 3), (1, 3, 1), (1, 2, 1), (1, 8, 9), (2, 7, 1)] {
        child(&mut assembly, trace, span, parent, &mut out);
    }
    root(&mut assembly, 1, 1, &mut out);
    let (header, envelope) = out.envelopes.pop().unwrap();
    assert_eq!(spans(&envelope), [2, 3, 4]);
    assert_eq!(header.also.unwrap().quantity, 4);
    assert_eq!((header.form, header.origin), (Form::Envelope, 0));
    assert!(envelope.starts_with("{\"event_id\":\"e\",\"trace\":{\"t\":1}}\n"));
    root(&mut assembly, 1, 9, &mut out);
    assert_eq!(spans(&out.envelopes.pop().unwrap().1), [8]);
    root(&mut assembly, 2, 1, &mut out);
    assert_eq!(spans(&out.envelopes.pop().unwrap().1), [7]);
    root(&mut assembly, 2, 1, &mut out);
    assert_eq!(spans(&out.envelopes.pop().unwrap().1), [0; 0]);
    assert_eq!((assembly.fill().0, out.lost()), (0, 0));
}

#[test]
fn the_callers_trace_header_takes_the_place_of_our_own() {
    let mut assembly = Assembly::new(100_000);
    let mut out = Taken::default();
    for (span, members, expected) in [
        (
            1,
            &b"\"theirs\":2"[..],
            "{\"event_id\":\"e\",\"trace\":{\"theirs\":2}}\n",
        ),
        (2, b"", "{\"event_id\":\"e\"}\n"),
    ] {
        give(
            &mut assembly,
            at(0),
            &part(PartKind::Sampling, 1, span, span, members),
            &mut out,
        );
        child(&mut assembly, 1, 10, span, &mut out);
        root(&mut assembly, 1, span, &mut out);
        let (header, envelope) = out.envelopes.pop().unwrap();
        assert!(envelope.starts_with(expected), "{envelope}");
        assert_eq!(header.also.unwrap().quantity, 2);
    }
    assert_eq!((assembly.fill().0, out.lost()), (0, 0));
}

#[test]
fn what_is_below_a_refused_root_is_lost_for_the_same_reason() {
    let mut assembly = Assembly::new(100_000);
    let mut out = Taken::default();
    for (span, parent) in [(2, 1), (3, 2), (5, 4)] {
        child(&mut assembly, 1, span, parent, &mut out);
    }
    let reason = [DropReason::RatelimitBackoff as u8];
    give(
        &mut assembly,
        at(0),
        &part(PartKind::Gone, 1, 1, 1, &reason),
        &mut out,
    );
    assert_eq!(out.lost, BTreeMap::from([(DropReason::RatelimitBackoff, 2)]));
    root(&mut assembly, 1, 4, &mut out);
    assert_eq!(spans(&out.envelopes[0].1), [5]);
}

#[test]
fn spans_without_a_root_age_out() {
    let mut assembly = Assembly::new(100_000);
    let mut out = Taken::default();
    give(
        &mut assembly,
        at(0),
        &part(PartKind::Child, 1, 2, 1, b"{}"),
        &mut out,
    );
    give(
        &mut assembly,
        at(1),
        &part(PartKind::Child, 1, 3, 1, b"{}"),
        &mut out,
    );
    give(
        &mut assembly,
        at(1),
        &part(PartKind::Sampling, 1, 4, 4, b""),
        &mut out,
    );
    let limit = MAX_WAIT.as_micros() / 1_000_000;
    assembly.age(at(limit - 1), &mut out.each());
    assert_eq!(out.lost(), 0);
    assembly.age(at(limit), &mut out.each());
    assert_eq!(out.lost, BTreeMap::from([(DropReason::NoParentSpan, 1)]));
    assembly.age(at(limit + 1), &mut out.each());
    assert_eq!(out.lost, BTreeMap::from([(DropReason::NoParentSpan, 2)]));
    assert_eq!(assembly.fill().0, 0);
}

#[test]
fn a_transaction_has_no_more_than_servers_take() {
    let mut assembly = Assembly::new(16 << 20);
    let mut out = Taken::default();
    // A long chain: the far end is left out.
    let many = MAX_SPANS as u64 + 10;
    for span in 2..2 + many {
        child(&mut assembly, 1, span, span - 1, &mut out);
    }
    root(&mut assembly, 1, 1, &mut out);
    let kept = spans(&out.envelopes[0].1);
    assert_eq!(kept, (2..2 + MAX_SPANS as u64).collect::<Vec<_>>());
    assert_eq!(out.lost, BTreeMap::from([(DropReason::TooLarge, 10)]));
    let long = format!("{{\"s\":1,\"x\":\"{}\"}}", "x".repeat(400_000));
    for span in 2..5 {
        let payload = part(PartKind::Child, 1, span, 1, long.as_bytes());
        give(&mut assembly, at(0), &payload, &mut out);
    }
    root(&mut assembly, 1, 1, &mut out);
    assert_eq!(out.envelopes[1].0.also.unwrap().quantity, 3);
    assert!(out.envelopes[1].1.len() <= MAX_TRANSACTION_BYTES + 200);
    assert_eq!(out.lost[&DropReason::TooLarge], 11);
    assert_eq!(assembly.fill().0, 0);
}

#[test]
fn the_oldest_make_room_and_what_cannot_fit_is_refused() {
    let mut assembly = Assembly::new(4 * BYTES_PER_BLOCK);
    let mut out = Taken::default();
    assert_eq!(assembly.fill(), (0, 4 * BLOCK_BYTES));
    for span in 2..8 {
        child(&mut assembly, 1, span, 1, &mut out);
    }
    assert_eq!(out.lost, BTreeMap::from([(DropReason::BufferOverflow, 2)]));
    let most = [b' '; 4 * BLOCK_BYTES + 1];
    give(
        &mut assembly,
        at(0),
        &part(PartKind::Child, 1, 9, 1, &most),
        &mut out,
    );
    assert_eq!(out.lost[&DropReason::TooLarge], 1);
    root(&mut assembly, 1, 1, &mut out);
    assert_eq!(spans(&out.envelopes[0].1), [4, 5, 6, 7]);
    let all = part(PartKind::Child, 1, 9, 1, most.get(1..).unwrap());
    give(&mut assembly, at(0), &all, &mut out);
    assert_eq!(assembly.fill(), (4 * BLOCK_BYTES, 4 * BLOCK_BYTES));
    child(&mut assembly, 1, 2, 1, &mut out);
    assert_eq!(assembly.fill().0, BLOCK_BYTES);
}

#[test]
fn everything_is_given_up_at_the_end() {
    let mut assembly = Assembly::new(100_000);
    let mut out = Taken::default();
    (2..5).for_each(|span| child(&mut assembly, 1, span, 1, &mut out));
    assembly.clear(DropReason::Closed, &mut out.each());
    assert_eq!(out.lost, BTreeMap::from([(DropReason::Closed, 3)]));
    (2..5).for_each(|span| child(&mut assembly, 1, span, 1, &mut out));
    assert_eq!(assembly.reset(), 3);
    assert_eq!(assembly.fill().0, 0);
}

#[test]
fn malformed_parts_are_lost_and_counted() {
    let mut assembly = Assembly::new(100_000);
    let mut out = Taken::default();
    let good = part(PartKind::Child, 1, 2, 1, b"{}");
    for length in 0..33 {
        give(&mut assembly, at(0), &good[..length], &mut out);
    }
    let mut unknown = good;
    unknown[0] = 9;
    give(&mut assembly, at(0), &unknown, &mut out);
    assert_eq!(out.lost, BTreeMap::from([(DropReason::InternalSdkError, 34)]));
}

/// A span as a naive model keeps it: trace, span, parent.
type Known = (u8, u64, u64);

fn take_below(known: &mut Vec<Known>, trace: u8, root: u64) -> Vec<u64> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        known.retain(|(of, span, above)| {
            let below = *of == trace && *above == parent;
            if below {
                found.push(*span);
            }
            !below
        });
        at += 1;
    }
    found.remove(0);
    found.sort_unstable();
    found
}

/// Any order of parts: each root gets what a naive search finds, and nothing is lost or kept twice.
#[test]
fn it_agrees_with_a_naive_search() {
    for seed in 0..40 {
        let mut random = Rng::new(seed);
        let mut below = |most: u64| random.next_u64() % most;
        let mut assembly = Assembly::new(200_000);
        let mut out = Taken::default();
        let mut known: Vec<Known> = Vec::new();
        for span in 1000..3000 {
            let trace = 1 + below(3) as u8;
            // Mostly below something that ends later, as spans are.
            let parent = 1000 + below(2000);
            if below(20) == 0 {
                root(&mut assembly, trace, parent, &mut out);
                let expected = take_below(&mut known, trace, parent);
                let (_, envelope) = out.envelopes.pop().unwrap();
                assert_eq!(spans(&envelope), expected, "seed {seed}");
            } else {
                let padding = " ".repeat(below(900) as usize);
                let body = format!("{{\"s\":{span}{padding}}}");
                let payload = part(PartKind::Child, trace, span, parent, body.as_bytes());
                let lost = out.lost();
                give(&mut assembly, at(0), &payload, &mut out);
                // The oldest made room.
                known.drain(..(out.lost() - lost) as usize);
                known.push((trace, span, parent));
            }
            assert!(assembly.fill().0 <= assembly.fill().1);
            assert!(assembly.blocks.len() <= assembly.capacity);
        }
        assert!(out.lost() > 0, "room was short");
        let lost = out.lost();
        assembly.clear(DropReason::Closed, &mut out.each());
        assert_eq!(out.lost() - lost, known.len() as u64);
        assert_eq!(assembly.fill().0, 0);
    }
}
