//! What the answers of an OTLP receiver do to records, sums and the breaker.

use super::*;
use crate::breaker::BreakerConfig;
use crate::response::GrpcStatus;

/// In a row they open the breaker.
const FAILURES: u8 = BreakerConfig::DEFAULT.consecutive_failures;

#[test]
fn partial_success_counts_the_rejected_as_dropped() {
    let mut rig = Rig::otlp();
    for _ in 0..10 {
        let header = Header::new(rig.to, Form::OtlpRecord, Category::Span, 1).in_trace(TraceKey(3));
        assert_eq!(rig.record(header, b"span"), Outcome::Queued);
    }
    rig.engine.flush(rig.now);
    let id = rig.sends()[0].0;
    // ExportTraceServiceResponse { partial_success { rejected_spans: 3 } }
    let response = Response {
        status: 200,
        body: &[0x0a, 0x02, 0x08, 0x03],
        content_type: Some(b"application/x-protobuf"),
        ..Response::default()
    };
    let ack = rig.engine.on_response(rig.now, id, &response);
    assert_eq!(ack, Ack::Settled(Settlement::Partial { rejected: 3 }));
    assert_eq!(rig.engine.totals().of(Category::Span).delivered, 7);
    assert_eq!(rig.dropped(Category::Span, DropReason::Rejected), 3);
    rig.conserve();
}

#[test]
fn a_batch_that_is_too_large_is_counted_as_that_and_the_server_works() {
    let mut rig = Rig::otlp();
    for _ in 0..FAILURES {
        let header = Header::new(rig.to, Form::OtlpRecord, Category::Span, 1);
        assert_eq!(rig.record(header, b"span"), Outcome::Queued);
        rig.engine.flush(rig.now);
        let id = rig.sends()[0].0;
        let reason = DropReason::TooLarge;
        assert_eq!(rig.answer(id, 413), Ack::Settled(Settlement::Dropped { reason }));
    }
    assert_eq!(
        rig.dropped(Category::Span, DropReason::TooLarge),
        u64::from(FAILURES)
    );
    rig.conserve();
}

#[test]
fn an_internal_error_in_grpc_words_is_the_servers_fault() {
    let mut rig = Rig::otlp();
    for _ in 0..FAILURES {
        let header = Header::new(rig.to, Form::OtlpRecord, Category::Span, 1);
        assert_eq!(rig.record(header, b"span"), Outcome::Queued);
        rig.engine.flush(rig.now);
        let id = rig.sends()[0].0;
        let response = Response {
            status: 200,
            grpc: Some(GrpcStatus {
                code: Some(13),
                ..GrpcStatus::default()
            }),
            ..Response::default()
        };
        let reason = DropReason::SendError;
        let ack = rig.engine.on_response(rig.now, id, &response);
        assert_eq!(ack, Ack::Settled(Settlement::Dropped { reason }));
    }
    let status = rig.engine.destination(rig.to).unwrap();
    assert_eq!(status.breaker, BreakerState::Open);
    rig.conserve();
}
