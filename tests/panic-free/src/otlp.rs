//! OTLP requests: framing, and protobuf in both directions.

use core::fmt;

use embedded_io::Write as _;
use surgetank_core::item::Signal;
use surgetank_core::time::Duration;
use surgetank_core::wire::otlp::answer::GrpcCode;
use surgetank_core::wire::otlp::count;
use surgetank_core::wire::otlp::framing::{Frame, Merged, Records};
use surgetank_core::wire::otlp::protobuf::{Out as _, Reader, Value, Writer};
use surgetank_core::wire::otlp::reply::{ExportResponse, RpcStatus};

use crate::input::Tape;
use crate::output::{Sum, keep};

/// A request of any two records in any frame.
#[unsafe(no_mangle)]
extern "C" fn otlp_request() {
    let mut tape = Tape::new();
    let frame = Frame {
        resource: tape.bytes(),
        scope: tape.bytes(),
        resource_schema_url: tape.text(),
        scope_schema_url: tape.text(),
    };
    let written = [tape.bytes(), tape.bytes()];
    let mut records = Records::default();
    written.iter().for_each(|record| records.add(record.len()));
    let Ok(request) = frame.request(records) else {
        return;
    };
    let mut out = Sum::default();
    keep(request.write_opening(&mut out));
    for record in written {
        keep(request.write_record_opening(&mut out, record.len()));
        keep(out.write_all(record));
    }
    let mut merged = Merged::default();
    keep(merged.add(tape.word() as usize));
    keep((
        out.value(),
        request.content_length(),
        frame.overhead(),
        merged.content_length(),
    ));
}

/// A request of somebody else, in protobuf and in JSON.
#[unsafe(no_mangle)]
extern "C" fn otlp_count() {
    let mut tape = Tape::new();
    let signal = match tape.byte() {
        0 => Signal::Traces,
        1 => Signal::Logs,
        _ => Signal::Metrics,
    };
    let request = tape.bytes();
    let mut sum = Sum::default();
    match count::of_protobuf(signal, request) {
        Ok(contents) => keep(contents),
        Err(malformed) => keep(fmt::Write::write_fmt(&mut sum, format_args!("{malformed}"))),
    }
    match count::of_json(signal, request) {
        Ok(contents) => keep(contents),
        Err(malformed) => keep(fmt::Write::write_fmt(&mut sum, format_args!("{malformed}"))),
    }
    keep(sum.value());
}

/// What a server answers, in both encodings.
#[unsafe(no_mangle)]
extern "C" fn otlp_reply() {
    let mut tape = Tape::new();
    let response = ExportResponse {
        rejected: tape.word(),
        message: tape.text(),
    };
    let status = RpcStatus {
        code: GrpcCode::from_number(tape.word()),
        message: tape.text(),
        retry_delay: tape.flag().then(|| Duration::from_micros(tape.long())),
    };
    let mut buffer = [0_u8; 256];
    let mut writer = Writer::new(&mut buffer);
    response.encode(&mut writer);
    status.encode(&mut writer);
    keep((writer.finish(), response.encoded_len(), status.encoded_len()));
    let mut out = Sum::default();
    keep(response.write_json(Signal::Logs, &mut out).is_ok());
    keep(status.write_json(&mut out).is_ok());
    keep((buffer, out.value()));
}

/// Any bytes read as a message, one level deep.
#[unsafe(no_mangle)]
extern "C" fn protobuf_read() {
    let mut reader = Reader::new(Tape::new().bytes());
    while let Ok(Some(field)) = reader.next() {
        if let Value::Bytes(_) = field.value
            && let Ok(mut inner) = field.message()
        {
            while let Ok(Some(field)) = inner.next() {
                keep((field.number, field.varint(), field.bytes()));
            }
        }
    }
}

/// A message written into a buffer that may be too small.
#[unsafe(no_mangle)]
extern "C" fn protobuf_write() {
    let mut tape = Tape::new();
    let mut buffer = [0_u8; 256];
    let len = usize::from(tape.byte());
    let mut writer = Writer::new(buffer.get_mut(..len).unwrap_or_default());
    let outer = writer.open(tape.word());
    writer.varint_field(tape.word(), tape.long());
    let inner = writer.open(tape.word());
    writer.bytes_field(tape.word(), tape.bytes());
    writer.fixed64_field(tape.word(), tape.long());
    writer.fixed32_field(tape.word(), tape.word());
    writer.close(inner);
    writer.raw(tape.bytes());
    writer.close(outer);
    keep(writer.finish());
    keep(buffer);
}
