//! The serving side: HTTP/1.1, a thread per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Mode;
use super::recount::items_of;

/// How long a slow server takes.
const SLOW: Duration = Duration::from_millis(50);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
/// An OTLP answer without a message in it is an empty body.
const OK_PROTOBUF: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
const LIMITED: &str = "HTTP/1.1 429 Too Many Requests\r\nX-Sentry-Rate-Limits: 60::organization\r\nRetry-After: 60\r\n\
                       Content-Length: 0\r\n\r\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    items: AtomicU64,
    body_bytes: AtomicU64,
    wire_bytes: AtomicU64,
}

static COUNTS: Counts = Counts {
    requests: AtomicU64::new(0),
    items: AtomicU64::new(0),
    body_bytes: AtomicU64::new(0),
    wire_bytes: AtomicU64::new(0),
};

/// Prints its address, then its counts for every line that comes, until no more can come.
pub(crate) fn serve(mode: Mode) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    if mode == Mode::Refuse {
        drop(listener);
    } else {
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    // The error is the peer's end.
                    let _ = answer(&connection, mode);
                });
            }
        });
    }
    for line in std::io::stdin().lines() {
        line.context("the asking end broke")?;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "{} {} {} {}",
            count(&COUNTS.requests),
            count(&COUNTS.items),
            count(&COUNTS.body_bytes),
            count(&COUNTS.wire_bytes)
        );
    }
    Ok(())
}

/// What a request's head says, and its length.
#[derive(Default)]
struct Head {
    bytes: u64,
    length: u64,
    chunked: bool,
    otlp: bool,
    encoding: Option<String>,
}

fn answer(connection: &TcpStream, mode: Mode) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 * 1024, connection);
    let mut out = connection;
    let mut body = Vec::new();
    let mut plain = Vec::new();
    while let Some(head) = read_head(&mut reader)? {
        body.clear();
        let framing = read_body(&mut reader, &head, &mut body)?;
        COUNTS.requests.fetch_add(1, Ordering::Relaxed);
        COUNTS.body_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        COUNTS
            .wire_bytes
            .fetch_add(head.bytes + framing + body.len() as u64, Ordering::Relaxed);
        let answer = match mode {
            Mode::Fast | Mode::Slow if head.otlp => OK_PROTOBUF,
            Mode::Fast | Mode::Slow => OK,
            Mode::Limited => LIMITED,
            Mode::Unavailable | Mode::Refuse => UNAVAILABLE,
            Mode::Stall => {
                // Holds the connection until the peer gives up.
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
        };
        if mode == Mode::Slow {
            wait();
        }
        out.write_all(answer.as_bytes())?;
        if matches!(mode, Mode::Fast | Mode::Slow) {
            let content = unpacked(&body, head.encoding.as_deref(), &mut plain)?;
            COUNTS
                .items
                .fetch_add(items_of(content, head.otlp), Ordering::Relaxed);
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a server that is slow")]
fn wait() {
    std::thread::sleep(SLOW);
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut head = Head::default();
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if head.bytes == 0 {
            head.otlp = line.starts_with("POST /v1/");
        }
        head.bytes += line.len() as u64;
        let header = line.trim_end();
        if header.is_empty() {
            return Ok(Some(head));
        }
        let Some((name, value)) = header.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse().map_err(std::io::Error::other)?;
        } else if name.eq_ignore_ascii_case("content-encoding") {
            head.encoding = Some(value.to_ascii_lowercase());
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
}

/// Appends the body to `body`; gives the bytes around its chunks.
fn read_body(reader: &mut impl BufRead, head: &Head, body: &mut Vec<u8>) -> std::io::Result<u64> {
    if !head.chunked {
        reader.by_ref().take(head.length).read_to_end(body)?;
        return Ok(0);
    }
    let mut framing = 0;
    let mut line = String::new();
    loop {
        line.clear();
        framing += reader.read_line(&mut line)? as u64;
        let length = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        reader.by_ref().take(length).read_to_end(body)?;
        // A chunk, or the last one's absence, is followed by an empty line.
        line.clear();
        framing += reader.read_line(&mut line)? as u64;
        if length == 0 {
            return Ok(framing);
        }
    }
}

/// The body as it was before it was compressed.
fn unpacked<'a>(body: &'a [u8], encoding: Option<&str>, plain: &'a mut Vec<u8>) -> std::io::Result<&'a [u8]> {
    plain.clear();
    match encoding {
        None | Some("identity") => return Ok(body),
        Some("gzip") => {
            flate2::read::MultiGzDecoder::new(body).read_to_end(plain)?;
        }
        Some("zstd") => {
            zstd::stream::copy_decode(body, &mut *plain)?;
        }
        Some(other) => return Err(std::io::Error::other(format!("unknown encoding {other}"))),
    }
    Ok(plain)
}
