use super::*;
use crate::wire::otlp::encode::{AnyValue, KeyValue, Limits, LogRecord, Span, SpanId, TraceId};
use crate::wire::otlp::protobuf::{Out, Writer};
use std::string::ToString;
use std::vec::Vec;

fn written(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = std::vec![0; 1 << 16];
    let mut out = Writer::new(&mut bytes);
    encode(&mut out);
    let len = out.finish().unwrap();
    bytes.truncate(len);
    bytes
}

/// A request with these records, in two scopes of one resource.
fn request(records: &[&[u8]]) -> Vec<u8> {
    written(|out| {
        let resource = out.open(1);
        out.bytes_field(1, b"\x0a\x05\x0a\x01k\x12\x00");
        for half in [&records[..records.len() / 2], &records[records.len() / 2..]] {
            let scope = out.open(2);
            for record in half {
                out.bytes_field(2, record);
            }
            out.close(scope);
        }
        out.close(resource);
    })
}

fn span(trace: u8, attributes: &[KeyValue<'_>]) -> Vec<u8> {
    let trace_id = TraceId::new([trace; 16]).unwrap();
    let span = Span {
        attributes,
        ..Span::new(trace_id, SpanId::new([1; 8]).unwrap(), "n")
    };
    written(|out| span.encode(out, &Limits::default()))
}

fn key(byte: u8) -> TraceKey {
    TraceKey::of(&[byte; 16])
}

#[test]
fn spans_and_the_first_trace_are_found() {
    let attributes = [KeyValue::new("a", AnyValue::Array(&[AnyValue::Int(1)]))];
    let (first, second) = (span(7, &attributes), span(8, &[]));
    let body = request(&[&first, &second, &second]);
    let expected = Contents {
        items: 3,
        trace: key(7),
    };
    assert_eq!(of_protobuf(Signal::Traces, &body), Ok(expected));
    let twice = [&body[..], &body].concat();
    assert_eq!(of_protobuf(Signal::Traces, &twice).unwrap().items, 6);
}

#[test]
fn a_trace_id_that_is_none_is_passed_over() {
    let body = request(&[
        b"\x0a\x03\x01\x02\x03",
        &[b"\x0a\x10", &[0; 16][..]].concat(),
        &span(9, &[]),
    ]);
    let contents = of_protobuf(Signal::Traces, &body).unwrap();
    assert_eq!((contents.items, contents.trace), (3, key(9)));
}

#[test]
fn log_records_are_counted() {
    let record = LogRecord {
        body: AnyValue::String("hi"),
        trace_id: TraceId::new([1; 16]),
        ..LogRecord::default()
    };
    let record = written(|out| record.encode(out, &Limits::default()));
    let contents = of_protobuf(Signal::Logs, &request(&[&record, &record])).unwrap();
    assert_eq!((contents.items, contents.trace), (2, TraceKey::NONE));
}

#[test]
fn metrics_are_counted_in_data_points() {
    let metric = |kind, points: u8| {
        written(|out| {
            out.bytes_field(1, b"name");
            let data = out.open(kind);
            for _ in 0..points {
                out.bytes_field(1, b"\x11\0\0\0\0\0\0\0\0");
            }
            out.close(data);
        })
    };
    let metrics: Vec<Vec<u8>> = [(5, 1), (7, 2), (9, 3), (10, 4), (11, 5)]
        .map(|(kind, points)| metric(kind, points))
        .to_vec();
    let records: Vec<&[u8]> = metrics.iter().map(Vec::as_slice).collect();
    assert_eq!(
        of_protobuf(Signal::Metrics, &request(&records)).unwrap().items,
        15
    );
}

#[test]
fn an_empty_request_holds_nothing() {
    assert_eq!(of_protobuf(Signal::Traces, b""), Ok(Contents::default()));
    assert_eq!(of_json(Signal::Traces, b"{}"), Ok(Contents::default()));
}

#[test]
fn unknown_fields_are_skipped() {
    let mut record = span(3, &[]);
    record.extend_from_slice(b"\xfa\x3f\x02\xff\xff\xf8\x3f\x01");
    assert_eq!(
        of_protobuf(Signal::Traces, &request(&[&record])).unwrap().items,
        1
    );
}

#[test]
fn what_would_spoil_a_merged_request_is_found_at_any_depth() {
    for (record, at, problem) in [
        (&b"\x2a\x02n\xff"[..], 3, Problem::NotUtf8),
        (b"\x2a\x05n", 3, Problem::Truncated),
        (b"\x28\x01", 1, Problem::UnexpectedType),
        (b"\x48\x01", 1, Problem::UnexpectedType),
        (b"\x4a\x04\x0a\x02k\xc3", 5, Problem::NotUtf8),
        (b"\x4a\x05\x12\x03\x0a\x04v", 7, Problem::Truncated),
        (b"\x4a\x02\x1b\x1c", 2, Problem::WireType),
    ] {
        let body = request(&[record]);
        let base = body.len() - record.len();
        let error = of_protobuf(Signal::Traces, &body).unwrap_err();
        assert_eq!((error.at - base, error.problem), (at, problem), "{record:02x?}");
    }
}

#[test]
fn packed_lists_are_checked() {
    let point = |fields: &[u8]| {
        let metric = written(|out| {
            let data = out.open(9);
            out.bytes_field(1, fields);
            out.close(data);
        });
        of_protobuf(Signal::Metrics, &request(&[&metric])).map(|contents| contents.items)
    };
    assert_eq!(point(b"\x32\x08\0\0\0\0\0\0\0\0"), Ok(1));
    assert_eq!(point(b"\x31\0\0\0\0\0\0\0\0"), Ok(1));
    assert_eq!(
        point(b"\x32\x07\0\0\0\0\0\0\0").unwrap_err().problem,
        Problem::UnexpectedType
    );
    let buckets = |list: &[u8]| {
        let metric = written(|out| {
            let data = out.open(10);
            let point = out.open(1);
            let buckets = out.open(8);
            out.bytes_field(2, list);
            out.close(buckets);
            out.close(point);
            out.close(data);
        });
        of_protobuf(Signal::Metrics, &request(&[&metric])).map(|contents| contents.items)
    };
    assert_eq!(buckets(b"\x01\xff\x01"), Ok(1));
    assert_eq!(buckets(b"\x01\xff").unwrap_err().problem, Problem::Truncated);
}

#[test]
fn values_nested_deeper_than_any_client_writes_are_refused() {
    fn nest(out: &mut Writer<'_>, depth: usize) {
        if depth > 0 {
            let list = out.open(5);
            let value = out.open(1);
            nest(out, depth - 1);
            out.close(value);
            out.close(list);
        }
    }
    let body = |depth| {
        let record = written(|out| {
            let value = out.open(5);
            nest(out, depth);
            out.close(value);
        });
        of_protobuf(Signal::Logs, &request(&[&record]))
    };
    assert!(body(crate::limits::MAX_VALUE_DEPTH).is_ok());
    assert_eq!(body(200).unwrap_err().problem, Problem::TooDeep);
}

#[test]
fn json_spans_and_the_first_trace_are_found() {
    let text = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"spans","value":{"arrayValue":{"values":[{}]}}}]},
        "scopeSpans":[{"scope":{"name":"s"},"spans":[
            {"name":"}","traceId":"x","links":[{"traceId":"0102030405060708090a0b0c0d0e0f10"}]},
            {"traceId":"0505050505050505AaAaAaAa\u0062bbbbbbb"},{}],"schemaUrl":""}]},
        {"scopeSpans":null,"unknown":[[{"spans":[{},{}]}]]}], "spans":[{},{}]} "#;
    let contents = of_json(Signal::Traces, text.as_bytes()).unwrap();
    assert_eq!(contents.items, 3);
    assert_eq!(contents.trace, TraceKey(0xAAAA_AAAA_BBBB_BBBB));
}

#[test]
fn json_log_records_and_data_points_are_counted() {
    let logs = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}},{}]},{"logRecords":[{}]}]}]}"#;
    assert_eq!(of_json(Signal::Logs, logs.as_bytes()).unwrap().items, 3);
    assert_eq!(of_json(Signal::Traces, logs.as_bytes()).unwrap().items, 0);
    let metrics = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"a","gauge":{"dataPoints":[{"asInt":"1"},{}]}},
        {"name":"b","sum":{"dataPoints":[{}],"isMonotonic":true}},
        {"histogram":{"dataPoints":[{}]}},{"exponentialHistogram":{"dataPoints":[{}]}},
        {"summary":{"dataPoints":[{"quantileValues":[{},{}]}]}},
        {"other":{"dataPoints":[{}]}}]}]}]}"#;
    assert_eq!(of_json(Signal::Metrics, metrics.as_bytes()).unwrap().items, 6);
}

#[test]
fn json_of_the_wrong_shape_is_refused() {
    for (text, problem) in [
        ("[]", JsonProblem::WrongType),
        ("{", JsonProblem::Json(JsonError::UnexpectedEnd)),
        ("", JsonProblem::Json(JsonError::UnexpectedEnd)),
        ("{} x", JsonProblem::Json(JsonError::UnexpectedByte)),
        (r#"{"resourceSpans":{}}"#, JsonProblem::WrongType),
        (r#"{"resourceSpans":1}"#, JsonProblem::WrongType),
        (r#"{"resourceSpans":[1]}"#, JsonProblem::WrongType),
        (r#"{"resourceSpans":[[]]}"#, JsonProblem::WrongType),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":["x"]}]}]}"#,
            JsonProblem::WrongType,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{]}]}]}"#,
            JsonProblem::Json(JsonError::UnexpectedByte),
        ),
    ] {
        assert_eq!(
            of_json(Signal::Traces, text.as_bytes()).unwrap_err().problem,
            problem,
            "{text}"
        );
    }
    assert_eq!(
        of_json(Signal::Traces, br#"{"resourceSpans":7}"#)
            .unwrap_err()
            .to_string(),
        "invalid OTLP/JSON at byte 18: a value of another type than OTLP gives it"
    );
}
