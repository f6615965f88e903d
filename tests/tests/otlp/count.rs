//! Requests of the generated messages, counted here.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use surgetank_core::item::{Signal, TraceKey};
use surgetank_core::wire::otlp::count::{self, Contents};

use crate::samples;

fn contents_of_traces(request: &ExportTraceServiceRequest) -> Contents {
    let spans = request
        .resource_spans
        .iter()
        .flat_map(|outer| &outer.scope_spans)
        .flat_map(|inner| &inner.spans);
    let first = spans
        .clone()
        .next()
        .map(|span| span.trace_id.as_slice().try_into().unwrap());
    Contents {
        items: spans.count() as u32,
        // The low half of an id may be zero, and is then no key.
        trace: first.map_or(TraceKey::NONE, TraceKey::of),
    }
}

fn contents_of_logs(request: &ExportLogsServiceRequest) -> Contents {
    let scopes = request.resource_logs.iter().flat_map(|outer| &outer.scope_logs);
    Contents {
        items: scopes.map(|inner| inner.log_records.len() as u32).sum(),
        trace: TraceKey::NONE,
    }
}

fn contents_of_metrics(request: &ExportMetricsServiceRequest) -> Contents {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|outer| &outer.scope_metrics);
    Contents {
        items: scopes
            .flat_map(|inner| &inner.metrics)
            .map(samples::points)
            .sum::<usize>() as u32,
        trace: TraceKey::NONE,
    }
}

/// True when the generated message of that signal decodes.
fn decodes(signal: Signal, bytes: &[u8]) -> bool {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes).is_ok(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes).is_ok(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes).is_ok(),
    }
}

/// A sound request of any signal.
fn request() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    prop_oneof![
        samples::traces().prop_map(|request| (Signal::Traces, request.encode_to_vec())),
        samples::logs().prop_map(|request| (Signal::Logs, request.encode_to_vec())),
        samples::metrics().prop_map(|request| (Signal::Metrics, request.encode_to_vec())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn traces_count_the_same_in_both_encodings(request in samples::traces()) {
        let expected = contents_of_traces(&request);
        prop_assert_eq!(count::of_protobuf(Signal::Traces, &request.encode_to_vec()), Ok(expected));
        let json = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(count::of_json(Signal::Traces, &json), Ok(expected));
    }

    #[test]
    fn logs_count_the_same_in_both_encodings(request in samples::logs()) {
        let expected = contents_of_logs(&request);
        prop_assert_eq!(count::of_protobuf(Signal::Logs, &request.encode_to_vec()), Ok(expected));
        let json = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(count::of_json(Signal::Logs, &json), Ok(expected));
    }

    #[test]
    fn metrics_count_the_same_in_both_encodings(request in samples::metrics()) {
        let expected = contents_of_metrics(&request);
        prop_assert_eq!(count::of_protobuf(Signal::Metrics, &request.encode_to_vec()), Ok(expected));
        let json = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(count::of_json(Signal::Metrics, &json), Ok(expected));
    }

    #[test]
    fn joined_requests_are_one_request((signal, first) in request(), (other, second) in request()) {
        prop_assume!(signal == other);
        let items = |bytes: &[u8]| count::of_protobuf(signal, bytes).unwrap().items;
        let joined = [&first[..], &second].concat();
        prop_assert_eq!(items(&joined), items(&first) + items(&second));
        prop_assert!(decodes(signal, &joined));
    }

    /// Whatever passes may be merged with the requests of others, so no server must stumble over it. Every byte is made
    /// another one in turn: text stops being UTF-8, tags and lengths become wrong.
    #[test]
    fn what_passes_decodes((signal, mut bytes) in request(), change in 1_u8..=255, cut in any::<prop::sample::Index>()) {
        let passing_decodes = |bytes: &[u8]| count::of_protobuf(signal, bytes).is_err() || decodes(signal, bytes);
        let step = bytes.len() / 600 + 1;
        for at in (0..bytes.len()).step_by(step) {
            for flip in [0x80, change] {
                bytes[at] ^= flip;
                prop_assert!(passing_decodes(&bytes), "byte {}, {:#x}", at, flip);
                bytes[at] ^= flip;
            }
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        prop_assert!(passing_decodes(&bytes), "cut");
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            if count::of_protobuf(signal, &bytes).is_ok() {
                prop_assert!(decodes(signal, &bytes));
            }
            let _ = count::of_json(signal, &bytes);
        }
    }

    #[test]
    fn json_is_what_serde_json_takes_for_it(
        request in samples::traces(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut json = serde_json::to_vec(&request).unwrap();
        *at.get_mut(&mut json) = byte;
        if count::of_json(Signal::Traces, &json).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
    }
}
