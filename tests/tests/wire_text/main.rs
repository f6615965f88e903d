//! Properties of the text parsers and writers: any input is survived, and what is written is read again.
//!
//! Every parser gets bytes of any kind and, since those hardly get past the first check, texts that look like its own
//! format. Where another implementation exists, both must agree.

mod auth;
mod dsn;
mod limits;
mod propagation;

use proptest::prelude::*;

/// Bytes as a stranger sends them: arbitrary, or made of the pieces of all these formats.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"https://"[..],
        b"Sentry ",
        b"Basic ",
        b"sentry_key",
        b"sentry_version",
        b"sentry-",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"4bf92f3577b34da6a3ce929d0e0e4736",
        b"Tue, 14 Nov 2023 22:13:50 GMT",
        b"error",
        b"metric_bucket",
        b"organization",
        b"60",
        b"1e99",
        b"inf",
        b"%C3%A9",
        b"%",
        b"\xf0\x9f",
        b":",
        b";",
        b",",
        b"=",
        b"/",
        b"@",
        b"?",
        b"&",
        b"-",
        b".",
        b" ",
        b"\t",
        b"\r\n",
        b"\0",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat()),
    ]
}

/// Several field lines of one header.
fn hostile_lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(hostile(), 0..4)
}

fn borrowed(lines: &[Vec<u8>]) -> Vec<&[u8]> {
    lines.iter().map(Vec::as_slice).collect()
}

/// What `write` writes.
fn written(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut out = String::new();
    write(&mut out).expect("a string takes every text");
    out
}
