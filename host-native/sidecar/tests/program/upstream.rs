//! An upstream that records what it gets and answers as it is told, down to the last byte of a connection.

use crate::{SOON, eventually, now};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Before it was answered.
    pub(crate) arrived: Instant,
}

impl Recorded {
    /// The items of an envelope: type and payload. Those of the upstream's own making are left out.
    pub(crate) fn items(&self) -> Vec<(String, Vec<u8>)> {
        let (_, items) = surgetank_core::wire::envelope::items(&self.body).unwrap();
        items
            .map(|item| {
                let item = item.unwrap();
                (item.header.item_type.as_str().to_owned(), item.payload.to_vec())
            })
            .collect()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status and header lines, each ended by CR LF.
    Answer(u16, String),
    /// Nothing, until told otherwise.
    Stall,
    /// Closes the connection in the middle of the answer.
    CloseMidway,
}

pub(crate) const OK: Reply = Reply::Answer(200, String::new());

type Behaviour = Arc<dyn Fn(usize, &Recorded) -> Reply + Send + Sync>;

struct State {
    behaviour: Behaviour,
    requests: Vec<Recorded>,
    generation: u64,
}

/// The upstream. Its threads end with the process.
pub(crate) struct Upstream {
    address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Upstream {
    /// Answers everything with 200.
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let state = State {
            behaviour: Arc::new(|_, _| OK),
            requests: Vec::new(),
            generation: 0,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From here on every request is answered so; the number counts all requests from 0. Those that are stalled are
    /// looked at again.
    pub(crate) fn behave(&self, behaviour: impl Fn(usize, &Recorded) -> Reply + Send + Sync + 'static) {
        let mut state = self.state.0.lock().unwrap();
        state.behaviour = Arc::new(behaviour);
        state.generation += 1;
        self.state.1.notify_all();
    }

    pub(crate) fn always(&self, reply: Reply) {
        self.behave(move |_, _| reply.clone());
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state.0.lock().unwrap().requests.clone()
    }

    /// The requests, once there are at least `count`.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Recorded> {
        eventually(&format!("{count} requests upstream"), || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
    }

    /// All items of all envelopes, once `enough` of them are there.
    #[track_caller]
    pub(crate) fn items_until(
        &self,
        enough: impl Fn(&[(String, Vec<u8>)]) -> bool,
    ) -> Vec<(String, Vec<u8>)> {
        eventually("items upstream", || {
            let items: Vec<_> = self.requests().iter().flat_map(Recorded::items).collect();
            enough(&items).then_some(items)
        })
    }
}

fn serve(mut stream: TcpStream, state: &(Mutex<State>, Condvar)) {
    stream.set_read_timeout(Some(3 * SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut state = state.0.lock().unwrap();
            state.requests.push(request.clone());
            state.requests.len() - 1
        };
        let reply = loop {
            let locked = state.0.lock().unwrap();
            let (behaviour, generation) = (Arc::clone(&locked.behaviour), locked.generation);
            drop(locked);
            match behaviour(number, &request) {
                Reply::Stall => {
                    let locked = state.0.lock().unwrap();
                    let waited = state
                        .1
                        .wait_timeout_while(locked, 3 * SOON, |state| state.generation == generation);
                    if waited.unwrap().1.timed_out() {
                        return;
                    }
                }
                reply => break reply,
            }
        };
        let written = match reply {
            Reply::Answer(status, headers) => {
                write!(
                    stream,
                    "HTTP/1.1 {status} Said\r\n{headers}content-length: 2\r\n\r\n{{}}"
                )
            }
            Reply::CloseMidway => {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-le");
                return;
            }
            Reply::Stall => unreachable!(),
        };
        if written.is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Recorded> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let arrived = now();
    Some(Recorded {
        path,
        headers,
        body,
        arrived,
    })
}

/// An address nobody listens on, and how to begin listening there.
pub(crate) struct Absent(String);

impl Absent {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self(listener.local_addr().unwrap().to_string())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0)
    }

    pub(crate) fn appear(self) -> Upstream {
        Upstream::on(eventually("the port to be free", || {
            TcpListener::bind(&self.0).ok()
        }))
    }
}
