use super::*;
use crate::wire::otlp::framing::{Frame, Records};
use crate::wire::otlp::protobuf::{Length, Reader, Value, Writer};
use std::string::String;
use std::vec::Vec;

fn written(encode: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = std::vec![0; 1 << 16];
    let mut out = Writer::new(&mut bytes);
    encode(&mut out);
    let len = out.finish().unwrap();
    bytes.truncate(len);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

/// A request of one record, from resource `service.name=a` and scope `s` unless they are to be empty.
fn request(frame: Frame<'_>, record: &[u8]) -> Vec<u8> {
    let mut records = Records::default();
    records.add(record.len());
    let request = frame.request(records).unwrap();
    let mut body = std::vec![0; request.content_length()];
    let mut out = body.as_mut_slice();
    request.write_opening(&mut out).unwrap();
    request.write_record_opening(&mut out, record.len()).unwrap();
    embedded_io::Write::write_all(&mut out, record).unwrap();
    assert!(out.is_empty());
    body
}

fn span(name: &str) -> Span<'_> {
    let trace_id = TraceId::new([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]).unwrap();
    let span_id = SpanId::new([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]).unwrap();
    Span::new(trace_id, span_id, name)
}

/// The values of the fields numbered `number`.
fn fields(message: &[u8], number: u32) -> Vec<Value<'_>> {
    let mut reader = Reader::new(message);
    let mut values = Vec::new();
    while let Some(field) = reader.next().unwrap() {
        if field.number == number {
            values.push(field.value);
        }
    }
    values
}

fn limited(limits: Limits, attributes: &[KeyValue<'_>]) -> Vec<u8> {
    written(|out| {
        Span {
            attributes,
            ..span("n")
        }
        .encode(out, &limits);
    })
}

#[test]
fn a_whole_trace_request_has_the_expected_bytes() {
    let attributes = [KeyValue::new("service.name", AnyValue::String("a"))];
    let resource = written(|out| {
        Resource {
            attributes: &attributes,
        }
        .encode(out);
    });
    let scope = written(|out| {
        Scope {
            name: "s",
            ..Scope::default()
        }
        .encode(out);
    });
    let record = written(|out| {
        Span {
            kind: SpanKind::Server,
            start_unix_nanos: 1,
            end_unix_nanos: 2,
            status: Status::Error { message: "" },
            flags: 0x101,
            ..span("n")
        }
        .encode(out, &Limits::default());
    });
    let frame = Frame {
        resource: &resource,
        scope: &scope,
        ..Frame::default()
    };
    assert_eq!(
        hex(&request(frame, &record)),
        "0a5d0a150a130a0c736572766963652e6e616d6512030a016112440a030a0173123d0a100102030405060708090a0b0c0d0e0f10\
         120811121314151617182a016e30023901000000000000004102000000000000007a021802850101010000"
    );
}

#[test]
fn a_whole_log_request_has_the_expected_bytes() {
    let attributes = [KeyValue::new("k", AnyValue::Int(-1))];
    let record = written(|out| {
        LogRecord {
            time_unix_nanos: 1,
            severity: Some(Severity::INFO),
            body: AnyValue::String("hi"),
            attributes: &attributes,
            flags: 1,
            observed_unix_nanos: 2,
            event_name: "e",
            ..LogRecord::default()
        }
        .encode(out, &Limits::default());
    });
    assert_eq!(
        hex(&request(Frame::default(), &record)),
        "0a381236123409010000000000000010092a040a02686932100a016b120b18ffffffffffffffffff014501000000\
         590200000000000000620165"
    );
}

#[test]
fn attributes_beyond_the_limit_are_counted() {
    let attributes = [
        KeyValue::new("a", AnyValue::Bool(true)),
        KeyValue::new("", AnyValue::Bool(true)),
        KeyValue::new("b", AnyValue::Bool(true)),
        KeyValue::new("c", AnyValue::Bool(true)),
    ];
    let limits = Limits {
        attributes: 2,
        ..Limits::default()
    };
    let bytes = limited(limits, &attributes);
    assert_eq!(fields(&bytes, 9).len(), 2);
    assert_eq!(fields(&bytes, 10), [Value::Varint(2)]);
}

#[test]
fn strings_are_cut_by_characters_and_bytes_by_bytes() {
    let array = [
        AnyValue::String("ééé"),
        AnyValue::Bytes(b"abc"),
        AnyValue::Int(1 << 40),
    ];
    let map = [KeyValue::new("longkey", AnyValue::String("éé€"))];
    let attributes = [
        KeyValue::new("s", AnyValue::String("äöü")),
        KeyValue::new("a", AnyValue::Array(&array)),
        KeyValue::new("m", AnyValue::Map(&map)),
        KeyValue::new("t", AnyValue::String("äö")),
    ];
    let limits = Limits {
        value_length: 2,
        ..Limits::default()
    };
    let cut_array = [
        AnyValue::String("éé"),
        AnyValue::Bytes(b"ab"),
        AnyValue::Int(1 << 40),
    ];
    let cut_map = [KeyValue::new("longkey", AnyValue::String("éé"))];
    let cut = [
        KeyValue::new("s", AnyValue::String("äö")),
        KeyValue::new("a", AnyValue::Array(&cut_array)),
        KeyValue::new("m", AnyValue::Map(&cut_map)),
        KeyValue::new("t", AnyValue::String("äö")),
    ];
    assert_eq!(limited(limits, &attributes), limited(Limits::NONE, &cut));
}

#[test]
fn bodies_and_resources_are_not_cut() {
    let attributes = [KeyValue::new("k", AnyValue::String("long"))];
    let limits = Limits {
        value_length: 1,
        attributes: 0,
        ..Limits::default()
    };
    let record = LogRecord {
        body: AnyValue::String("long"),
        attributes: &attributes,
        ..LogRecord::default()
    };
    let bytes = written(|out| record.encode(out, &limits));
    assert_eq!(hex(&bytes), "2a060a046c6f6e673801");
    assert_eq!(
        hex(&written(|out| Resource {
            attributes: &attributes
        }
        .encode(out))),
        "0a0b0a016b12060a046c6f6e67"
    );
}

#[test]
fn values_deeper_than_the_limit_are_empty() {
    fn nested(values: &mut Values<'_, Writer<'_>>, depth: usize) {
        if depth > 0 {
            values.add_array(|values| nested(values, depth - 1));
        }
    }
    let bytes = written(|out| {
        LogRecord::default().encode_with(out, &Limits::default(), |parts| {
            parts.array_body(|values| nested(values, 200));
        });
    });
    let mut depth = 0;
    let mut message = match fields(&bytes, 5)[..] {
        [Value::Bytes(body)] => body,
        ref other => panic!("{other:?}"),
    };
    while let [Value::Bytes(list)] = fields(message, 5)[..] {
        depth += 1;
        match fields(list, 1)[..] {
            [Value::Bytes(value)] => message = value,
            _ => break,
        }
    }
    assert_eq!(
        depth,
        crate::limits::MAX_VALUE_DEPTH + 1,
        "the innermost one is empty"
    );
}

#[test]
fn events_and_links_have_limits_of_their_own() {
    let attributes = [
        KeyValue::new("a", AnyValue::Int(1)),
        KeyValue::new("b", AnyValue::Int(1)),
    ];
    let event = Event {
        time_unix_nanos: 5,
        name: "e",
        attributes: &attributes,
        dropped_attributes: 3,
    };
    let link = Link {
        trace_id: span("").trace_id,
        span_id: span("").span_id,
        trace_state: "",
        attributes: &attributes,
        dropped_attributes: 0,
        flags: 0,
    };
    let limits = Limits {
        events: 1,
        event_attributes: 1,
        links: 1,
        link_attributes: 0,
        ..Limits::default()
    };
    let bytes = written(|out| {
        Span {
            events: &[event, event],
            dropped_events: 10,
            links: &[link, link, link],
            ..span("n")
        }
        .encode(out, &limits);
    });
    let [Value::Bytes(event)] = fields(&bytes, 11)[..] else {
        panic!("one event");
    };
    assert_eq!(
        (fields(event, 3).len(), fields(event, 4)),
        (1, std::vec![Value::Varint(4)])
    );
    let [Value::Bytes(link)] = fields(&bytes, 13)[..] else {
        panic!("one link");
    };
    assert_eq!(
        (fields(link, 4).len(), fields(link, 5)),
        (0, std::vec![Value::Varint(2)])
    );
    assert_eq!(fields(&bytes, 12), [Value::Varint(11)]);
    assert_eq!(fields(&bytes, 14), [Value::Varint(2)]);
}

#[test]
fn what_a_closure_adds_equals_what_slices_add() {
    let values = [
        AnyValue::Int(1),
        AnyValue::Double(0.5),
        AnyValue::Array(&[AnyValue::Empty]),
    ];
    let entries = [KeyValue::new("k", AnyValue::String("v"))];
    let attributes = [
        KeyValue::new("x", AnyValue::Bytes(b"\0")),
        KeyValue::new("a", AnyValue::Array(&values)),
        KeyValue::new("m", AnyValue::Map(&entries)),
    ];
    let sliced = limited(Limits::default(), &attributes);
    let streamed = written(|out| {
        span("n").encode_with(out, &Limits::default(), |parts| {
            parts.attribute("x", AnyValue::Bytes(b"\0"));
            parts.array_attribute("a", |array| {
                array.add(AnyValue::Int(1));
                array.add(AnyValue::Double(0.5));
                array.add_array(|inner| inner.add(AnyValue::Empty));
            });
            parts.map_attribute("m", |map| map.add("k", AnyValue::String("v")));
        });
    });
    assert_eq!(streamed, sliced);
}

#[test]
fn a_trace_state_by_members_equals_one_as_text() {
    let members = [("ot", "th:8"), ("vendor", "x")];
    let link = Link {
        trace_id: span("").trace_id,
        span_id: span("").span_id,
        trace_state: "",
        attributes: &[],
        dropped_attributes: 0,
        flags: 0,
    };
    let by_members = written(|out| {
        span("n").encode_with(out, &Limits::default(), |parts| {
            parts.link_in(&link, || members.iter().copied(), |_| {});
            parts.trace_state(|| members.iter().copied());
            parts.trace_state(core::iter::empty);
        });
    });
    let Some(&Value::Bytes(state)) = fields(&by_members, 3).first() else {
        panic!("{by_members:?}");
    };
    assert_eq!(
        (state, fields(&by_members, 3).len()),
        (&b"ot=th:8,vendor=x"[..], 1)
    );
    let whole = Link {
        trace_state: "ot=th:8,vendor=x",
        ..link
    };
    let as_text = written(|out| {
        Span {
            links: &[whole],
            ..span("n")
        }
        .encode(out, &Limits::default());
    });
    assert_eq!(fields(&by_members, 13), fields(&as_text, 13));
}

#[test]
fn the_length_is_exact_and_one_byte_less_is_reported() {
    let long = "x".repeat(300);
    let attributes = [
        KeyValue::new(&long, AnyValue::String(&long)),
        KeyValue::new("k", AnyValue::Array(&[AnyValue::Bool(false)])),
    ];
    let span = Span {
        attributes: &attributes,
        status: Status::Error { message: &long },
        ..span("n")
    };
    let limits = Limits::default();
    let len = span.encoded_len(&limits);
    assert_eq!(len, Length::of(|out| span.encode(out, &limits)));
    for room in 0..=len {
        let mut bytes = std::vec![0; room];
        let mut out = Writer::new(&mut bytes);
        span.encode(&mut out, &limits);
        assert_eq!(out.finish().is_ok(), room == len, "{room} of {len}");
    }
}
