//! The recording server for tests in other languages: one line of JSON for each request, one for each answer.
//!
//! ```text
//! out: {"url": "http://127.0.0.1:PORT"}
//! out: {"number": 0, "at_us": 1234, "method": "POST", "path": "/..", "headers": {..}, "body": "hexadecimal"}
//! in:  {"number": 0, "reply": "accept" | "stall" | "close" | {"status": 429, "headers": {..}, "body": "hexadecimal"}}
//! ```
//!
//! Header names are in small letters; `at_us` counts from the start, in microseconds. `accept` is what the real server
//! answers, to a browser's preflight too. It ends with its input, and so with whoever started it.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use surgetank_tests::upstream::{Received, Reply, Upstream, now};

/// Answers that came, for the connections that wait for them.
#[derive(Default)]
struct Replies {
    by_number: Mutex<HashMap<usize, Reply>>,
    changed: Condvar,
}

impl Replies {
    /// Waits without a deadline: whoever answers ends this program when it gives up.
    fn wait_for(&self, number: usize) -> Reply {
        let lock = self.by_number.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self
            .changed
            .wait_while(lock, |known| !known.contains_key(&number))
            .unwrap_or_else(PoisonError::into_inner);
        known.remove(&number).unwrap_or(Reply::Close)
    }

    fn put(&self, number: usize, reply: Reply) {
        let mut known = self.by_number.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(number, reply);
        self.changed.notify_all();
    }
}

fn main() -> ExitCode {
    let replies = Arc::new(Replies::default());
    let (waiting, begun) = (Arc::clone(&replies), now());
    let server = Upstream::start(move |request, number| {
        let at = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        say(&described(request, number, at));
        waiting.wait_for(number)
    });
    say(&json!({ "url": server.url() }));
    for line in std::io::stdin().lock().lines() {
        let told = line
            .ok()
            .and_then(|line| serde_json::from_str(&line).ok())
            .and_then(|told: Value| {
                let number = usize::try_from(told.get("number")?.as_u64()?).ok()?;
                Some((number, reply(told.get("reply")?)?))
            });
        match told {
            Some((number, reply)) => replies.put(number, reply),
            None => return ExitCode::FAILURE,
        }
    }
    // Connections may still wait for an answer that nobody will give.
    std::process::exit(0)
}

/// Writes one line whole, whichever thread it comes from. Without a reader there is nobody to tell.
fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn described(request: &Received, number: usize, at_us: u64) -> Value {
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), Value::from(value.as_str())))
        .collect();
    json!({
        "number": number,
        "at_us": at_us,
        "method": request.method,
        "path": request.path,
        "headers": headers,
        "body": hexadecimal(&request.body),
    })
}

/// What to do with a request; `None` for what this program does not know.
fn reply(told: &Value) -> Option<Reply> {
    match told.as_str() {
        Some("accept") => return Some(Reply::Accept),
        Some("stall") => return Some(Reply::Stall),
        Some("close") => return Some(Reply::Close),
        Some(_) => return None,
        None => {}
    }
    let headers = told.get("headers")?.as_object()?.iter().map(|(name, value)| {
        // Names are few, and this program does not live long.
        let name: &'static str = name.clone().leak();
        Some((name, value.as_str()?.to_owned()))
    });
    Some(Reply::Answer {
        status: u16::try_from(told.get("status")?.as_u64()?).ok()?,
        headers: headers.collect::<Option<_>>()?,
        body: bytes(told.get("body")?.as_str()?)?,
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
