//! A server on loopback that answers every request at once, with the same answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

/// Everything was taken.
pub(crate) const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
/// Errors are limited for a minute.
#[cfg_attr(not(feature = "peers"), allow(dead_code))]
pub(crate) const LIMITED: &str = "HTTP/1.1 429 Too Many Requests\r\nX-Sentry-Rate-Limits: 60:error:key\r\n\
                                  Content-Length: 0\r\n\r\n";

/// Starts it, a thread per connection; it ends with the process.
pub(crate) fn start(answer: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&connection, answer));
        }
    });
    Ok(address)
}

/// Answers until the peer goes. The error is the peer's end or a request that no client of ours writes.
fn serve(connection: &TcpStream, answer: &str) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, connection);
    let mut out = connection;
    let mut line = String::new();
    loop {
        let (mut length, mut chunked) = (0u64, false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let header = line.trim_end().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
            if header.is_empty() {
                break;
            }
        }
        while chunked {
            line.clear();
            reader.read_line(&mut line)?;
            length = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            chunked = length > 0;
            // A chunk, or the last one's absence, is followed by an empty line.
            std::io::copy(&mut (&mut reader).take(length + 2), &mut std::io::sink())?;
            length = 0;
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        out.write_all(answer.as_bytes())?;
    }
}
