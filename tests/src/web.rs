//! A client that keeps its connection: enough of HTTP/1.1 to ask a proxy and to read its answer.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::upstream::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// All of its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// A connection to a proxy. One that the proxy said it closes, as after an answer that came before all of its request,
/// is made anew.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    is_over: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self {
            address,
            stream: BufReader::new(stream),
            is_over: false,
        }
    }

    /// Asks and reads the answer.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.try_ask(method, path, headers, body);
        answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The same; none when the connection ended before there was all of an answer.
    fn try_ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        if self.is_over {
            *self = Self::to(self.address);
        }
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let request = [text.as_bytes(), body].concat();
        let written = self.stream.get_mut().write_all(&request);
        let answer = written.ok().and_then(|()| self.read());
        let is_closed = |answer: &Answer| answer.header("connection") == Some("close");
        self.is_over = answer.as_ref().is_none_or(is_closed);
        answer
    }

    /// `GET` of a path.
    ///
    /// # Panics
    /// When there is no answer within [`PATIENCE`].
    #[track_caller]
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, b"")
    }

    /// `GET` of a path; again over a new connection when this one was closed in between, as a proxy may at any time and
    /// clients do (RFC 9110, section 9.2.2).
    ///
    /// # Panics
    /// When there is no answer to a few attempts.
    #[track_caller]
    pub fn get_again(&mut self, path: &str) -> Answer {
        const ATTEMPTS: usize = 5;
        let answer = (0..ATTEMPTS).find_map(|_| self.try_ask("GET", path, &[], b""));
        answer.unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    fn read(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let length = answer.header("content-length").map(|length| length.parse().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length?, 0);
                self.stream.read_exact(&mut body).ok()?;
            }
            None => self.read_chunks(&mut body)?,
        }
        answer.body = body;
        Some(answer)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).ok()?;
            let start = body.len();
            body.resize(start + length, 0);
            self.stream.read_exact(body.get_mut(start..)?).ok()?;
            self.line()?;
            if length == 0 {
                return Some(());
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}
