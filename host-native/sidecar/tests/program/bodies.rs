//! Bodies that are packed, too large, bombs, or never end.

use crate::sidecar::{Sidecar, auth, parts};
use crate::{KEY, SOON, envelope, now};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) fn pack(encoding: &str, plain: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" | "x-gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        "deflate" => {
            let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 4, 22)
                .write_all(plain)
                .unwrap();
            out
        }
        "zstd" => zstd::stream::encode_all(plain, 3).unwrap(),
        _ => plain.to_vec(),
    }
}

#[test]
fn every_coding_of_sentry_is_unpacked_and_unknown_ones_are_read_as_they_are() {
    let sidecar = Sidecar::start(&[]);
    // Large enough for each of the two ways bodies are unpacked.
    let noise: String = (0..200_000u32)
        .map(|i| char::from(b' ' + (i.wrapping_mul(2_654_435_761) >> 26) as u8))
        .collect();
    let noise = serde_json::to_string(&noise).unwrap();
    let codings = ["gzip", "x-gzip", "deflate", "br", "zstd", "identity", "compress"];
    for coding in codings {
        for payload in ["{}", &noise] {
            let body = pack(coding, &envelope("event", payload));
            let request = sidecar
                .post("/api/42/envelope/")
                .header("x-sentry-auth", auth(KEY));
            let (status, _, answer) = parts(
                request
                    .header("content-encoding", coding)
                    .body(body)
                    .send()
                    .unwrap(),
            );
            assert_eq!(status, 200, "{coding}: {answer}");
        }
    }
    // Several are stored at a time, in any order.
    let items = sidecar.stored(2 * codings.len());
    let payloads: Vec<Vec<u8>> = items.iter().map(|item| sidecar.raw(&item["id"])).collect();
    for expected in ["{}", &noise] {
        let found = payloads
            .iter()
            .filter(|payload| *payload == expected.as_bytes())
            .count();
        assert_eq!(found, codings.len(), "of {} bytes", expected.len());
    }
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let request = sidecar
            .post("/api/42/envelope/")
            .header("x-sentry-auth", auth(KEY));
        let body = envelope("event", "{}");
        let (status, _, answer) = parts(
            request
                .header("content-encoding", coding)
                .body(body)
                .send()
                .unwrap(),
        );
        assert_eq!(status, 400, "{coding} that is none: {answer}");
    }
}

#[test]
fn a_bomb_costs_its_sender_a_413_and_the_sidecar_next_to_nothing() {
    let sidecar = Sidecar::start(&["--memory", "32MiB"]);
    let before = sidecar.resident_kb();
    let zeros = vec![0; 16 << 20];
    for coding in ["gzip", "deflate", "zstd"] {
        let bomb = pack(coding, &zeros);
        let request = sidecar
            .post("/api/42/envelope/")
            .header("x-sentry-auth", auth(KEY));
        let (status, _, _) = parts(
            request
                .header("content-encoding", coding)
                .body(bomb)
                .send()
                .unwrap(),
        );
        assert_eq!(status, 413, "{coding}");
    }
    let grown = sidecar.resident_kb().saturating_sub(before);
    assert!(grown < 40_000, "{grown} KiB");
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
}

#[test]
fn a_declared_length_over_the_limit_is_refused_unread() {
    let sidecar = Sidecar::start(&["--memory", "32MiB"]);
    let mut stream = TcpStream::connect(sidecar.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\ncontent-length: 99999999999\r\n\r\n{{}}",
        auth(KEY)
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn half_a_body_is_not_held_open() {
    // Without the option it would be for 15 s.
    let sidecar = Sidecar::start(&["--body-timeout", "300ms"]);
    let mut stream = TcpStream::connect(sidecar.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let started = now();
    write!(
        stream,
        "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\ncontent-length: 100\r\n\r\nhalf",
        auth(KEY)
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("did not arrive in time"), "{answer}");
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(12),
        "{took:?}"
    );
}

#[test]
fn bodies_under_way_share_one_budget() {
    let sidecar = Sidecar::start(&["--memory", "8MiB"]);
    // Each declares 900 kB and sends nothing: two have room, a third has not.
    let open = || {
        let mut stream = TcpStream::connect(sidecar.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        write!(
            stream,
            "POST /api/42/envelope/ HTTP/1.1\r\nhost: h\r\nx-sentry-auth: {}\r\nexpect: 100-continue\r\n\
             content-length: 900000\r\n\r\n",
            auth(KEY)
        )
        .unwrap();
        stream
    };
    let mut waiting: Vec<TcpStream> = (0..2).map(|_| open()).collect();
    for stream in &mut waiting {
        // Its body is asked for, so its room is taken.
        let mut asked = [0; 25];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut refused = open();
    let mut answer = [0; 12];
    refused.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    for stream in &mut waiting {
        stream.write_all(&[b' '; 900_000]).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400", "it was read, and is no envelope");
    }
    assert_eq!(parts(sidecar.send(envelope("event", "{}"))).0, 200);
}
