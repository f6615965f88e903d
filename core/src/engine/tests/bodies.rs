//! What is written of a request, through the engine that makes it.

use crate::config::{Config, DestinationConfig};
use crate::engine::Engine;
use crate::item::{Category, DestinationId, DropReason, Form, Header, Item, Outcome, TraceKey};
use crate::notice::Action;
use crate::request::{BodyContext, RequestId};
use crate::response::Response;
use crate::storage::FixedStorage;
use crate::time::{Instant, UnixTime};
use crate::wire::envelope::describe;
use crate::wire::otlp::framing::Frame;
use crate::wire::output::WriteError;
use embedded_io::SliceWriteError;
use std::string::String;
use std::vec::Vec;

const CONTEXT: BodyContext<'static> = BodyContext {
    sent_at: UnixTime::from_secs(1_700_000_000),
    sdk_name: "surgetank",
    sdk_version: "0.1.0",
    public_key: "public",
    release: Some("app@1"),
    environment: None,
    resource: b"\x0a\x01r",
    scope: b"\x0a\x01s",
    origins: &[],
};

type Small = Engine<FixedStorage<40, 1, 4, 16>>;

fn engine(config: DestinationConfig) -> (Small, DestinationId) {
    let mut engine = Engine::new(Config::DEFAULT, FixedStorage::new(), 7, Instant::ORIGIN).unwrap();
    let to = engine.open_destination(Instant::ORIGIN, config).unwrap();
    (engine, to)
}

fn record(engine: &mut Small, header: Header, payload: &[u8]) {
    assert_eq!(
        engine.record(Instant::ORIGIN, &Item { header, payload }),
        Outcome::Queued
    );
}

/// The body of the next request, and its id.
fn body(engine: &mut Small, now: Instant) -> (RequestId, Vec<u8>) {
    engine.flush(now);
    loop {
        match engine.poll(now) {
            Action::Send(request) => {
                let mut body = [0; 8192];
                let mut out: &mut [u8] = &mut body;
                request.write_body(&CONTEXT, &mut out).unwrap();
                let left = out.len();
                return (request.id(), body[..8192 - left].to_vec());
            }
            Action::Notice(_) => {}
            Action::Idle(_) | Action::Closed => panic!("nothing to send"),
        }
    }
}

#[test]
fn a_request_says_how_much_of_what_is_in_it() {
    let (mut engine, to) = engine(DestinationConfig::OTLP);
    for trace in 1..4 {
        let header = Header::new(to, Form::OtlpRecord, Category::Span, 1).in_trace(TraceKey(trace));
        record(&mut engine, header, b"a span");
    }
    engine.flush(Instant::ORIGIN);
    let Action::Send(request) = engine.poll(Instant::ORIGIN) else {
        panic!("nothing to send")
    };
    assert_eq!(request.quantity(Category::Span), 3);
    assert_eq!(request.quantity(Category::LogItem), 0);
    let (mut engine, to) = self::engine(DestinationConfig::SENTRY);
    let header = Header::new(to, Form::Envelope, Category::Transaction, 1).also(Category::Span, 41);
    record(&mut engine, header, b"{}\n{\"type\":\"transaction\"}\n{}\n");
    let Action::Send(request) = engine.poll(Instant::ORIGIN) else {
        panic!("nothing to send")
    };
    assert_eq!(request.quantity(Category::Span), 41);
    assert_eq!(request.quantity(Category::Transaction), 1);
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn an_envelope_goes_out_as_it_came_but_for_sent_at() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    let envelope = b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"sent_at\":\"old\"}\n{\"type\":\"event\",\"length\":2}\n{}\n";
    let header = describe(envelope).unwrap().record_header(to).unwrap();
    record(&mut engine, header, envelope);
    let sent = text(&body(&mut engine, Instant::ORIGIN).1);
    assert!(sent.contains("2023-11-14T22:13:20"), "{sent}");
    assert!(
        sent.ends_with("{\"type\":\"event\",\"length\":2}\n{}\n") && !sent.contains("old"),
        "{sent}"
    );
}

#[test]
fn logs_share_a_container_whose_header_counts_them() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    for log in [&b"{\"body\":\"a\"}"[..], b"{\"body\":\"bb\"}"] {
        let header = Header::new(to, Form::Element, Category::LogItem, 1).also(Category::LogByte, 2);
        record(&mut engine, header, log);
    }
    let sent = text(&body(&mut engine, Instant::ORIGIN).1);
    let summary = describe(sent.as_bytes()).unwrap();
    assert_eq!((summary.items(), summary.total(Category::LogItem)), (1, 2));
    assert!(
        sent.contains("{\"version\":2,\"items\":[{\"body\":\"a\"},{\"body\":\"bb\"}]}"),
        "{sent}"
    );
}

#[test]
fn an_envelope_of_spans_names_their_trace() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    let header = Header::new(to, Form::Element, Category::Span, 1).in_trace(TraceKey(5));
    record(
        &mut engine,
        header,
        b"{\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}",
    );
    let sent = text(&body(&mut engine, Instant::ORIGIN).1);
    let first = sent.lines().next().unwrap();
    assert!(
        first.contains("\"trace\":{\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""),
        "{first}"
    );
    assert!(
        first.contains("\"public_key\":\"public\"") && first.contains("app@1"),
        "{first}"
    );
}

#[test]
fn sessions_share_an_envelope() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    for _ in 0..3 {
        record(
            &mut engine,
            Header::new(to, Form::Item, Category::Session, 1),
            b"{\"type\":\"session\",\"length\":2}\n{}",
        );
    }
    let sent = body(&mut engine, Instant::ORIGIN).1;
    assert_eq!(describe(&sent).unwrap().items(), 3);
}

#[test]
fn otlp_records_stand_in_one_resource_and_scope() {
    let (mut engine, to) = engine(DestinationConfig::OTLP);
    for span in [&b"\x2a\x01a"[..], b"\x2a\x01b"] {
        record(
            &mut engine,
            Header::new(to, Form::OtlpRecord, Category::Span, 1),
            span,
        );
    }
    let sent = body(&mut engine, Instant::ORIGIN).1;
    let expected = b"\x0a\x16\x0a\x03\x0a\x01r\x12\x0f\x0a\x03\x0a\x01s\x12\x03\x2a\x01a\x12\x03\x2a\x01b";
    assert_eq!(sent[sent.len() - 10..], expected[expected.len() - 10..]);
    assert!(sent.starts_with(b"\x0a"));
}

/// `body` writes with this context.
fn body_in(engine: &mut Small, context: &BodyContext<'_>) -> Result<Vec<u8>, WriteError<SliceWriteError>> {
    engine.flush(Instant::ORIGIN);
    loop {
        match engine.poll(Instant::ORIGIN) {
            Action::Send(request) => {
                let mut body = [0; 8192];
                let mut out: &mut [u8] = &mut body;
                request.write_body(context, &mut out)?;
                let left = out.len();
                return Ok(body[..8192 - left].to_vec());
            }
            Action::Notice(_) => {}
            Action::Idle(_) | Action::Closed => panic!("nothing to send"),
        }
    }
}

#[test]
fn records_of_several_origins_stand_under_their_own_scope_and_each_resource_once() {
    let (mut engine, to) = engine(DestinationConfig::OTLP);
    let origins = [
        Frame {
            resource: b"R",
            scope: b"x",
            ..Frame::default()
        },
        Frame {
            resource: b"R",
            scope: b"y",
            scope_schema_url: "u",
            ..Frame::default()
        },
        Frame {
            resource: b"Q",
            resource_schema_url: "v",
            ..Frame::default()
        },
    ];
    for (origin, payload) in [(2, b"a"), (0, b"b"), (1, b"c"), (3, b"d"), (2, b"e")] {
        let header = Header::new(to, Form::OtlpRecord, Category::Span, 1).from_origin(origin);
        record(&mut engine, header, payload);
    }
    let context = BodyContext {
        origins: &origins,
        ..CONTEXT
    };
    let expected: &[&[u8]] = &[
        // Origin 0: the destination's own resource and scope.
        b"\x0a\x0f\x0a\x03\x0a\x01r\x12\x08\x0a\x03\x0a\x01s\x12\x01b",
        // Origins 1 and 2 share a resource; 2 has a schema.
        b"\x0a\x19\x0a\x01R",
        b"\x12\x06\x0a\x01x\x12\x01c",
        b"\x12\x0c\x0a\x01y\x1a\x01u\x12\x01a\x12\x01e",
        // Origin 3 has a resource with a schema, and no scope.
        b"\x0a\x0b\x0a\x01Q\x1a\x01v\x12\x03\x12\x01d",
    ];
    assert_eq!(body_in(&mut engine, &context), Ok(expected.concat()));
}

#[test]
fn a_record_of_an_origin_that_the_host_does_not_have_is_not_sent_under_another() {
    for origin in [1, 63, 64, 255] {
        let (mut engine, to) = engine(DestinationConfig::OTLP);
        let header = Header::new(to, Form::OtlpRecord, Category::Span, 1).from_origin(origin);
        record(&mut engine, header, b"x");
        assert!(
            matches!(body_in(&mut engine, &CONTEXT), Err(WriteError::Invalid(_))),
            "{origin}"
        );
    }
}

#[test]
fn encoded_otlp_requests_are_joined() {
    let (mut engine, to) = engine(DestinationConfig::OTLP);
    for request in [&b"\x0a\x00"[..], b"\x0a\x02\x12\x00"] {
        record(
            &mut engine,
            Header::new(to, Form::OtlpRequest, Category::Span, 1),
            request,
        );
    }
    assert_eq!(body(&mut engine, Instant::ORIGIN).1, b"\x0a\x00\x0a\x02\x12\x00");
}

#[test]
fn a_client_report_rides_with_the_next_envelope_and_is_told_once() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    engine.on_losses(
        Instant::ORIGIN,
        Some(to),
        Category::Transaction,
        DropReason::Backpressure,
        3,
    );
    let header = Header::new(to, Form::Envelope, Category::Error, 1);
    record(&mut engine, header, b"{}\n{\"type\":\"event\"}\n{}\n");
    let (id, first) = body(&mut engine, Instant::ORIGIN);
    let first = text(&first);
    assert!(first.contains("\"type\":\"client_report\""), "{first}");
    assert!(
        first.contains("\"reason\":\"backpressure\"") && first.contains("\"quantity\":3"),
        "{first}"
    );
    describe(first.as_bytes()).unwrap();
    engine.on_response(
        Instant::ORIGIN,
        id,
        &Response {
            status: 200,
            ..Response::default()
        },
    );
    record(&mut engine, header, b"{}\n{\"type\":\"event\"}\n{}\n");
    let second = text(&body(&mut engine, Instant::ORIGIN).1);
    assert!(!second.contains("client_report"), "{second}");
}

#[test]
fn limited_items_of_a_mixed_envelope_stay_behind_alone_and_are_counted() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    let probe = Header::new(to, Form::Envelope, Category::Error, 1);
    record(&mut engine, probe, b"{}\n{\"type\":\"event\"}\n{}\n");
    let (id, _) = body(&mut engine, Instant::ORIGIN);
    let envelope = b"{}\n{\"type\":\"event\",\"length\":2}\n{}\n{\"type\":\"session\",\"length\":2}\n{}\n";
    let header = describe(envelope).unwrap().record_header(to).unwrap();
    assert!(header.is_mixed());
    record(&mut engine, header, envelope);
    let limits: &[&[u8]] = &[b"60:session:key"];
    engine.on_response(
        Instant::ORIGIN,
        id,
        &Response {
            status: 200,
            rate_limits: limits,
            ..Response::default()
        },
    );
    let sent = text(&body(&mut engine, Instant::ORIGIN).1);
    assert!(
        sent.contains("\"type\":\"event\"") && !sent.contains("\"type\":\"session\""),
        "{sent}"
    );
    assert_eq!(
        engine
            .totals()
            .dropped(Category::Session, DropReason::RatelimitBackoff),
        1
    );
    assert_eq!(engine.totals().of(Category::Error).dropped, 0);
}

#[test]
fn a_sink_without_room_is_an_error() {
    let (mut engine, to) = engine(DestinationConfig::SENTRY);
    record(
        &mut engine,
        Header::new(to, Form::Envelope, Category::Error, 1),
        b"{}\n{\"type\":\"event\"}\n{}\n",
    );
    let Action::Send(request) = engine.poll(Instant::ORIGIN) else {
        panic!("nothing to send")
    };
    let mut room = [0; 10];
    let mut out: &mut [u8] = &mut room;
    assert!(request.write_body(&CONTEXT, &mut out).is_err());
}
