//! Properties of the OTLP code, against the messages generated from the official schema.
//!
//! What is encoded here has to decode there to the same values; what is encoded there has to count and check out here;
//! whatever passes the check here has to decode there. And any bytes at all are survived.

mod answer;
mod count;
mod encode;
mod samples;

use surgetank_core::wire::otlp::protobuf::Writer;

/// What `encode` writes, which has to be `len` bytes.
fn written(len: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut out = Writer::new(&mut bytes);
    encode(&mut out);
    assert_eq!(out.finish(), Ok(len), "the measured length is the written one");
    bytes
}
