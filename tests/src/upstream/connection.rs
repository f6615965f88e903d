//! One connection: reads requests, records them, and does with each what the script says.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::http::{Answered, Message, Received, read_message, write_answer};
use super::{Exchange, Reply, Shared, cors, ingest, now};

/// How often a thread that waits looks whether the server ends.
const LOOK: Duration = Duration::from_millis(20);
/// How long a server that requests are passed on to may take.
const FORWARD_TIME: Duration = Duration::from_secs(60);
const DRIBBLE_PAUSE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) fn serve(stream: TcpStream, epoch: u64, shared: &Shared) {
    let line = Line {
        stream: &stream,
        shared,
        epoch,
    };
    // A connection that breaks is no news: the log has a request without an answer.
    let _ = line.prepare().and_then(|()| line.serve());
}

/// A connection as its thread sees it.
struct Line<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
    epoch: u64,
}

impl Line<'_> {
    fn prepare(&self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_read_timeout(Some(LOOK))
    }

    fn serve(&self) -> io::Result<()> {
        let mut input = BufReader::new(Patient(self));
        while let Some(message) = read_message(&mut input)? {
            let begun = now();
            let request = message.into_request()?;
            let number = self.record(&request);
            let Some(reply) = self.reply(&request, number) else {
                return Ok(());
            };
            let Some((status, mut headers, body)) = self.carry_out(reply, &request)? else {
                return Ok(());
            };
            headers.extend(cors::headers(&request));
            // Nobody reads the log in between: a peer that has the answer and goes on finds it in there. Answers are small,
            // so they go into the socket's buffer and a peer that does not read holds up nothing.
            let mut log = self.shared.log();
            write_answer(&mut &*self.stream, status, &headers, &body)?;
            if let Some(exchange) = log.exchanges.get_mut(number) {
                exchange.answer = Some(Answered {
                    status,
                    headers,
                    body,
                    after: begun.elapsed(),
                });
            }
            drop(log);
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn record(&self, request: &Received) -> usize {
        let mut log = self.shared.log();
        log.exchanges.push(Exchange {
            request: request.clone(),
            at: now(),
            answer: None,
        });
        let number = log.exchanges.len() - 1;
        drop(log);
        self.shared.changed.notify_all();
        number
    }

    /// What to do, once it is not to stall; `None` when the peer or the server went away meanwhile.
    fn reply(&self, request: &Received, number: usize) -> Option<Reply> {
        loop {
            let log = self.shared.log();
            let (script, generation) = (Arc::clone(&log.script), log.generation);
            drop(log);
            match script(request, number) {
                Reply::Stall => {}
                reply => return Some(reply),
            }
            // In this order: an answer to a peer that gave up just now would be taken for one that arrived.
            loop {
                if self.is_over() || self.is_abandoned() {
                    return None;
                }
                if self.shared.log().generation != generation {
                    break;
                }
            }
        }
    }

    /// The answer to send; `None` when there is none, or when it was sent as far as it should.
    #[expect(clippy::type_complexity, reason = "status, headers and body, used once")]
    fn carry_out(
        &self,
        reply: Reply,
        request: &Received,
    ) -> io::Result<Option<(u16, Vec<(String, String)>, Vec<u8>)>> {
        Ok(match reply {
            Reply::Accept => Some(cors::preflight(request).unwrap_or_else(|| ingest::answer(request))),
            Reply::Answer {
                status,
                headers,
                body,
            } => {
                let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
                Some((status, headers.collect(), body))
            }
            Reply::Forward(address) => {
                let answer = forwarded(address, &request.bytes)?;
                let kept = |(name, _): &(String, String)| {
                    !["content-length", "transfer-encoding", "connection"]
                        .iter()
                        .any(|own| name.eq_ignore_ascii_case(own))
                };
                let status = answer.status()?;
                let headers = answer.headers.into_iter().filter(kept).collect();
                Some((status, headers, answer.body))
            }
            Reply::Stall | Reply::Close => None,
            Reply::CloseMidway => {
                (&*self.stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-le")?;
                None
            }
            Reply::Dribble => {
                self.dribble()?;
                None
            }
        })
    }

    fn dribble(&self) -> io::Result<()> {
        (&*self.stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")?;
        for _ in 0..100 {
            (&*self.stream).write_all(b" ")?;
            let until = now() + DRIBBLE_PAUSE;
            while now() < until {
                if self.is_over() || self.is_abandoned() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst) || self.shared.epoch.load(Ordering::SeqCst) != self.epoch
    }

    /// True when the peer closed the connection. Takes up to [`LOOK`].
    fn is_abandoned(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => !is_time_out(&error),
        }
    }
}

/// Passes a request on as it came, and waits for the answer.
fn forwarded(address: SocketAddr, request: &[u8]) -> io::Result<Message> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(FORWARD_TIME))?;
    (&stream).write_all(request)?;
    read_message(&mut BufReader::new(&stream))?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Reads on when nothing came for a moment, until the server ends.
struct Patient<'a>(&'a Line<'a>);

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&*self.0.stream).read(buffer) {
                Err(error) if is_time_out(&error) && !self.0.is_over() => {}
                Err(error) if is_time_out(&error) => return Ok(0),
                other => return other,
            }
        }
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
