use super::*;
use std::vec::Vec;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = [0; 256];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer);
    let len = writer.finish().unwrap();
    bytes[..len].to_vec()
}

fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::new();
    while let Some(field) = reader.next()? {
        fields.push((field.number, field.value));
    }
    Ok(fields)
}

#[test]
fn varint_len_is_what_is_written() {
    for shift in 0..64 {
        for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
            assert_eq!(written(|w| w.varint(value)).len(), varint_len(value), "{value}");
        }
    }
}

#[test]
fn every_wire_type_reads_back() {
    let bytes = written(|w| {
        w.varint_field(1, u64::MAX);
        w.fixed64_field(2, 0x0102_0304_0506_0708);
        w.bytes_field(16, b"hello");
        w.fixed32_field((1 << 29) - 1, 0xA1B2_C3D4);
    });
    assert_eq!(
        fields(&bytes).unwrap(),
        [
            (1, Value::Varint(u64::MAX)),
            (2, Value::Fixed64(0x0102_0304_0506_0708)),
            (16, Value::Bytes(b"hello")),
            ((1 << 29) - 1, Value::Fixed32(0xA1B2_C3D4)),
        ]
    );
}

#[test]
fn an_open_message_gets_its_length_in_place() {
    let bytes = written(|w| {
        let outer = w.open(1);
        w.varint_field(1, 5);
        let inner = w.open(2);
        w.raw(b"xyz");
        w.close(inner);
        w.close(outer);
    });
    assert_eq!(bytes, b"\x0a\x8a\x80\x80\x00\x08\x05\x12\x83\x80\x80\x00xyz");
    let mut reader = Reader::new(&bytes);
    let mut outer = reader.next().unwrap().unwrap().message().unwrap();
    assert_eq!(outer.next().unwrap().unwrap().value, Value::Varint(5));
    let inner = outer.next().unwrap().unwrap();
    assert_eq!((inner.value, inner.at), (Value::Bytes(b"xyz"), 12));
}

#[test]
fn a_write_that_does_not_fit_is_reported_at_the_end() {
    let mut bytes = [0; 4];
    let mut writer = Writer::new(&mut bytes);
    writer.bytes_field(1, b"four");
    writer.raw(b"");
    assert_eq!(writer.finish(), Err(Full));
    let mut writer = Writer::new(&mut bytes);
    let open = writer.open(1);
    writer.close(open);
    assert_eq!(writer.finish(), Err(Full));
    let mut writer = Writer::new(&mut bytes);
    writer.raw(b"full");
    assert_eq!(writer.finish(), Ok(4));
}

#[test]
fn pieces_are_copied_whole_whatever_their_lengths() {
    let source: Vec<u8> = (0..200).collect();
    for length in 0..=source.len() {
        let text = &source[..length];
        let expected = [b"<<", text, b">"].concat();
        assert_eq!(written(|w| w.framed(b"<<", text, b">")), expected);
        assert_eq!(Length::of(|w| w.framed(b"<<", text, b">")), expected.len());
        let mut short = std::vec![0; expected.len() - 1];
        let mut writer = Writer::new(&mut short);
        writer.framed(b"<<", text, b">");
        assert_eq!(writer.finish(), Err(Full));
    }
}

#[test]
fn of_a_block_only_the_counted_bytes_stay_also_at_the_end_of_the_memory() {
    let mut bytes = [0; 9];
    let mut writer = Writer::new(&mut bytes);
    writer.front(*b"12345678", 3);
    writer.front(*b"abcdefgh", 2);
    writer.apart(|writer| writer.front(*b"ABCDEFGH", 4));
    assert_eq!(writer.finish(), Ok(9));
    writer.front(*b"x", 1);
    assert_eq!(writer.finish(), Err(Full));
    assert_eq!(&bytes, b"123abABCD");
    assert_eq!(Length::of(|w| w.front(*b"12345678", 3)), 3);
}

#[test]
fn malformed_input_is_named_with_its_offset() {
    for (bytes, at, problem) in [
        (&b"\x08"[..], 1, Problem::Truncated),
        (b"\x08\x80", 2, Problem::Truncated),
        (b"\x08\x01\x12\x02x", 5, Problem::Truncated),
        (b"\x09\x01\x02", 3, Problem::Truncated),
        (b"\x0d\x01", 2, Problem::Truncated),
        (
            b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
            1,
            Problem::LongVarint,
        ),
        (
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            1,
            Problem::LongVarint,
        ),
        (b"\x00\x01", 0, Problem::FieldNumber),
        (b"\x80\x80\x80\x80\x10\x01", 0, Problem::FieldNumber),
        (b"\x0b\x0c", 0, Problem::WireType),
        (b"\x08\x01\x0c", 2, Problem::WireType),
        (b"\x0e\x01", 0, Problem::WireType),
        (b"\x0f\x01", 0, Problem::WireType),
        (
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            11,
            Problem::Truncated,
        ),
    ] {
        assert_eq!(fields(bytes), Err(Malformed { at, problem }), "{bytes:02x?}");
    }
}

#[test]
fn varints_longer_than_they_must_be_are_accepted() {
    assert_eq!(
        fields(b"\x88\x80\x00\x85\x80\x80\x00").unwrap(),
        [(1, Value::Varint(5))]
    );
}

#[test]
fn a_reader_is_at_its_end_after_an_error() {
    let mut reader = Reader::new(b"\x0b\x08\x01");
    assert!(reader.next().is_err());
    assert_eq!(reader.next(), Ok(None));
}

#[test]
fn the_prefix_of_a_message_reads_as_far_as_it_goes() {
    let bytes = b"\x0a\x09\x08\x07\x12\x05hello";
    for len in 0..=bytes.len() {
        let mut outer = Reader::of_prefix(&bytes[..len]);
        let mut seen = (0, &b""[..]);
        while let Some(field) = outer.next().unwrap() {
            let mut inner = field.message().unwrap();
            while let Some(field) = inner.next().unwrap() {
                match field.number {
                    1 => seen.0 = field.varint().unwrap(),
                    _ => seen.1 = field.bytes().unwrap(),
                }
            }
        }
        assert_eq!(seen.0, if len >= 4 { 7 } else { 0 });
        assert_eq!(seen.1, &b"hello"[..len.saturating_sub(6)]);
    }
    assert!(Reader::of_prefix(b"\x0b").next().is_err());
}

#[test]
fn a_value_of_another_type_is_unexpected() {
    let field = Reader::new(b"\x08\x01").next().unwrap().unwrap();
    assert_eq!(field.bytes().unwrap_err().problem, Problem::UnexpectedType);
    assert!(field.message().is_err());
    let field = Reader::new(b"\x0a\x00").next().unwrap().unwrap();
    assert_eq!(field.varint(), Err(field.unexpected()));
    assert_eq!(field.wire_type(), WireType::Bytes);
}

#[test]
fn a_length_is_what_a_writer_writes() {
    fn encode(out: &mut impl Out) {
        let open = out.open(3);
        out.fixed32_field(20, 1);
        out.bytes_field(1, &[b'x'; 130]);
        out.varint_field(2, 300);
        out.close(open);
    }
    let mut bytes = [0; 200];
    let mut writer = Writer::new(&mut bytes);
    encode(&mut writer);
    assert_eq!(Length::of(encode), writer.finish().unwrap());
}
