use super::*;

use std::time::Duration;

use sentry_core::protocol::{DebugImage, DebugMeta, LogLevel, ProguardDebugImage};
use sentry_core::types::Uuid;
use serde::Serialize;

use super::super::serializer;

#[track_caller]
fn assert_as_serde_json(value: &impl Serialize, place: Place<'_>) {
    let expected = serde_json::to_vec(value).unwrap();
    let mut bytes = vec![0; expected.len()];
    let written = serializer::write(value, place, &mut bytes).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&expected)
    );
    assert_eq!(written, Some(expected.len()));
}

/// Moments of every length of fraction, and those without one.
fn moments() -> impl Iterator<Item = SystemTime> {
    let nanos = [
        0,
        1,
        10,
        123_456_789,
        120_000_000,
        100_000_000,
        999_999_999,
        50,
        1_000,
        1_020_000,
    ];
    let seconds = [0, 951_782_399, 1_767_323_045, 253_402_300_799];
    let pairs = seconds
        .into_iter()
        .flat_map(move |seconds| nanos.map(|nanos| (seconds, nanos)));
    pairs.map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos))
}

fn trace(parent_span_id: Option<SpanId>) -> TraceContext {
    TraceContext {
        span_id: SpanId::from([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]),
        trace_id: TraceId::from([0xab; 16]),
        parent_span_id,
        op: Some("op".to_owned()),
        ..TraceContext::default()
    }
}

fn other() -> Context {
    let inner = serde_json::json!({"span_id": "a", "trace_id": 1, "event_id": {"debug_meta": []}});
    Context::Other([("trace".to_owned(), inner)].into())
}

#[test]
fn events_are_written_as_the_crate_writes_them() {
    let meta: &'static DebugMeta = Box::leak(Box::new(DebugMeta {
        images: vec![DebugImage::Proguard(ProguardDebugImage {
            uuid: Uuid::from_bytes([9; 16]),
        })],
        ..DebugMeta::default()
    }));
    let mut event = Event {
        event_id: Uuid::from_bytes([0xde; 16]),
        debug_meta: Cow::Borrowed(meta),
        ..Event::default()
    };
    for _ in 0..2 {
        assert_as_serde_json(&event, Place::Event(&event));
    }
    event.debug_meta.to_mut().images.clear();
    assert_as_serde_json(&event, Place::Event(&event));
    event.debug_meta.to_mut().images = vec![meta.images[0].clone(); 2];
    event.extra.insert("debug_meta".to_owned(), "mine".into());
    event.tags.insert("event_id".to_owned(), "mine".to_owned());
    event.contexts.insert("span".to_owned(), other());
    assert_as_serde_json(&event, Place::Event(&event));
    event
        .contexts
        .insert("trace".to_owned(), trace(Some(SpanId::from([1; 8]))).into());
    assert_as_serde_json(&event, Place::Event(&event));
    event.contexts.insert("another".to_owned(), trace(None).into());
    assert_as_serde_json(&event, Place::Event(&event));
}

#[test]
fn stacks_are_written_as_the_crate_writes_them() {
    let addresses = [0, 1, 0xf, 0x10, 0xabc_def0, u64::MAX, 1 << 63, 0x7fff_dead_beef];
    let frames: Vec<Frame> = addresses
        .into_iter()
        .map(|address| Frame {
            function: Some("instruction_addr".to_owned()),
            image_addr: (address % 2 == 0).then_some(Addr(address / 2)),
            instruction_addr: Some(Addr(address)),
            symbol_addr: (address % 2 == 1).then_some(Addr(address / 3)),
            vars: [("image_addr".to_owned(), 7.into())].into(),
            ..Frame::default()
        })
        .collect();
    let stacktrace = |from| Stacktrace {
        frames: frames.get(from..).unwrap().to_vec(),
        ..Stacktrace::default()
    };
    let exception = |stacktrace, raw_stacktrace| Exception {
        ty: "E".to_owned(),
        stacktrace,
        raw_stacktrace,
        ..Exception::default()
    };
    let event = Event {
        exception: vec![
            exception(None, Some(stacktrace(1))),
            exception(Some(stacktrace(0)), Some(stacktrace(3))),
        ]
        .into(),
        stacktrace: Some(stacktrace(5)),
        threads: vec![
            Thread::default(),
            Thread {
                stacktrace: Some(stacktrace(2)),
                ..Thread::default()
            },
        ]
        .into(),
        ..Event::default()
    };
    assert_as_serde_json(&event, Place::Event(&event));
}

#[test]
fn transactions_are_written_as_the_crate_writes_them() {
    let mut spans = vec![Span::default()];
    for (at, time) in moments().enumerate() {
        spans.push(Span {
            span_id: SpanId::from([at as u8; 8]),
            trace_id: TraceId::from([at as u8; 16]),
            parent_span_id: (at % 3 != 0).then(|| SpanId::from([at as u8 + 1; 8])),
            timestamp: Some(time),
            start_timestamp: time,
            description: Some("timestamp".to_owned()),
            data: [("trace_id".to_owned(), "mine".into())].into(),
            ..Span::default()
        });
    }
    for time in moments() {
        let transaction = Transaction {
            event_id: Uuid::from_bytes([0xde; 16]),
            timestamp: Some(time),
            spans: spans.clone(),
            contexts: [
                ("a".to_owned(), other()),
                ("trace".to_owned(), trace(None).into()),
            ]
            .into(),
            ..Transaction::default()
        };
        assert_as_serde_json(&transaction, Place::Transaction(&transaction));
    }
}

#[test]
fn logs_are_written_as_the_crate_writes_them() {
    #[derive(Serialize)]
    struct Container<'a> {
        items: &'a [Log],
    }
    let logs: Vec<Log> = [None, Some(TraceId::from([0x5a; 16])), None]
        .into_iter()
        .map(|trace_id| Log {
            level: LogLevel::Info,
            body: "line".to_owned(),
            trace_id,
            timestamp: UNIX_EPOCH + Duration::from_millis(1_767_323_045_500),
            severity_number: None,
            attributes: [("trace_id".to_owned(), "mine".into())].into(),
        })
        .collect();
    assert_as_serde_json(&Container { items: &logs }, Place::LogContainer(&logs));
}

#[test]
fn a_moment_that_the_crate_cannot_write_is_left_to_it() {
    let mut span = Span {
        timestamp: Some(UNIX_EPOCH - Duration::from_secs(1)),
        ..Span::default()
    };
    assert!(serde_json::to_vec(&span).is_err());
    assert!(serializer::write(&span, Place::Span(&span), &mut [0; 400]).is_err());
    span.timestamp = Some(UNIX_EPOCH + Duration::from_secs(253_402_300_800));
    assert!(serde_json::to_vec(&span).is_err());
    assert!(serializer::write(&span, Place::Span(&span), &mut [0; 400]).is_err());
}

#[test]
fn bytes_that_do_not_make_the_same_identifier_are_none() {
    /// Hashes something else than it is.
    #[derive(PartialEq)]
    struct Odd([u8; 8]);
    impl Hash for Odd {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write(&[0; 8]);
        }
    }
    impl From<[u8; 8]> for Odd {
        fn from(bytes: [u8; 8]) -> Self {
            Self(bytes)
        }
    }
    assert_eq!(bytes_of(Odd([1; 8])), None);
    assert_eq!(bytes_of(Odd([0; 8])), Some([0; 8]));
}
