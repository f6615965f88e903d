//! HTTP/1.1 as far as telemetry clients speak it (RFC 9112): heads, bodies by length and in chunks, content codings.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST`, ...
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names as they were written.
    pub headers: Vec<(String, String)>,
    /// The body after decompression.
    pub body: Vec<u8>,
    /// Head and body as they came, chunks and compression included.
    pub(super) bytes: Vec<u8>,
}

impl Received {
    /// Value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// An answer as it was sent.
#[derive(Clone, Debug)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// From the last byte of the request to the last of the answer.
    pub after: Duration,
}

impl Answered {
    /// Value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Start line, headers and body of a message, and all its bytes.
pub(super) struct Message {
    pub(super) start: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Reads a message; `None` when the connection ended before it began.
///
/// # Errors
/// What the connection gives, and `InvalidData` for what is no HTTP.
pub(super) fn read_message(input: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut bytes = Vec::new();
    let start = read_line(input, &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let line = read_line(input, &mut bytes)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("a header without a colon"))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let is_chunked = header(&headers, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let body = if is_chunked {
        read_chunks(input, &mut bytes)?
    } else {
        let length = match header(&headers, "content-length") {
            Some(length) => length
                .parse()
                .map_err(|_| invalid("a content-length that is no number"))?,
            None => 0,
        };
        read_bytes(input, length, &mut bytes)?
    };
    Ok(Some(Message {
        start,
        headers,
        body,
        bytes,
    }))
}

impl Message {
    /// As a request.
    pub(super) fn into_request(self) -> io::Result<Received> {
        let mut words = self.start.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(invalid("no request line"));
        };
        Ok(Received {
            method: method.to_owned(),
            path: path.to_owned(),
            body: decompressed(header(&self.headers, "content-encoding"), self.body)?,
            headers: self.headers,
            bytes: self.bytes,
        })
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> io::Result<u16> {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| invalid("no status line"))
    }
}

/// Writes an answer whole.
pub(super) fn write_answer(
    output: &mut impl Write,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut answer = head.into_bytes();
    answer.extend_from_slice(body);
    output.write_all(&answer)
}

fn read_chunks(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(input, bytes)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without a size"))?;
        body.extend(read_bytes(input, size, bytes)?);
        if size == 0 {
            // Trailers, of which there are none in practice, and the empty line.
            while !read_line(input, bytes)?.is_empty() {}
            return Ok(body);
        }
        read_line(input, bytes)?;
    }
}

fn read_bytes(input: &mut impl BufRead, length: usize, bytes: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut part = vec![0; length];
    input.read_exact(&mut part)?;
    bytes.extend_from_slice(&part);
    Ok(part)
}

/// A line without its end; empty at the end of the connection.
fn read_line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    bytes.extend_from_slice(&line);
    let text = String::from_utf8(line).map_err(|_| invalid("a line that is no UTF-8"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The body without its content coding (RFC 9110 8.4); one that is not known is left as it is.
fn decompressed(coding: Option<&str>, body: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        Some("gzip") => flate2::read::MultiGzDecoder::new(body.as_slice()).read_to_end(&mut plain)?,
        Some("deflate") => flate2::read::ZlibDecoder::new(body.as_slice()).read_to_end(&mut plain)?,
        Some("br") => {
            brotli_decompressor::Decompressor::new(body.as_slice(), 4096).read_to_end(&mut plain)?
        }
        _ => return Ok(body),
    };
    Ok(plain)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
