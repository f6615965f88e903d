//! Calls to collectors that are out, by the host's token; and what an answer to one is.
//!
//! The host's tokens are neither dense nor stable over workers, so they are looked up in a small table, which has room
//! for every request that the engine can have out.

use surgetank_core::item::DestinationId;
use surgetank_core::request::RequestId;
use surgetank_core::response::Failure;

use crate::headers::Pairs;

/// Calls out at once: as many as the engine's storage has requests.
pub const MOST_CALLS: usize = 40;

/// One call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// The host's number for it.
    pub token: u32,
    /// The context that its answer comes to.
    pub context: u32,
    /// The engine's number for it.
    pub request: RequestId,
    /// To whom.
    pub destination: DestinationId,
}

/// The table.
#[derive(Debug)]
pub struct Calls {
    places: [Option<Call>; MOST_CALLS],
}

impl Calls {
    /// An empty table.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self {
            places: [None; MOST_CALLS],
        }
    }

    /// Notes a call that was made; false when there is no room.
    pub fn add(&mut self, call: Call) -> bool {
        let free = self.places.iter_mut().find(|place| place.is_none());
        free.map(|place| *place = Some(call)).is_some()
    }

    /// Takes the call of that token out.
    pub fn take(&mut self, token: u32) -> Option<Call> {
        self.take_if(|call| call.token == token)
    }

    /// Takes out a call whose answer would come to `context`.
    pub fn take_of(&mut self, context: u32) -> Option<Call> {
        self.take_if(|call| call.context == context)
    }

    fn take_if(&mut self, is_it: impl Fn(&Call) -> bool) -> Option<Call> {
        let mut places = self.places.iter_mut();
        places.find(|place| place.as_ref().is_some_and(&is_it))?.take()
    }

    /// True when there is no room for another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.places.iter().all(Option::is_some)
    }
}

/// What came back for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An answer of the server itself.
    Server(u16),
    /// The proxy answered in the server's place: it got none.
    Proxy(Failure),
}

impl Answer {
    /// Reads it from the headers of the answer.
    ///
    /// The proxy marks what a server answered with the time that it took, and its own answers with nothing: they have
    /// three headers (`:status`, `content-length`, `content-type: text/plain`). Both are looked at, since either mark can be
    /// switched off, and a collector's 503 has a meaning that a refused connection has not.
    #[must_use]
    pub fn of(headers: Pairs<'_>, body: &[u8]) -> Self {
        let Some(status) = headers.get(":status").and_then(number) else {
            return Self::Proxy(Failure::Disconnected);
        };
        let is_plain = headers
            .iter()
            .all(|(name, _)| matches!(name, b":status" | b"content-length" | b"content-type"))
            && headers.get("content-type") == Some(b"text/plain");
        if headers.get("x-envoy-upstream-service-time").is_some() || !is_plain {
            return Self::Server(status);
        }
        match status {
            504 => Self::Proxy(Failure::Timeout),
            503 => Self::Proxy(cause(body)),
            // A proxy's own answer to a call has no other status.
            _ => Self::Server(status),
        }
    }
}

/// Why the proxy got no answer, by the words of its body.
fn cause(body: &[u8]) -> Failure {
    let says = |words: &str| body.windows(words.len()).any(|part| part == words.as_bytes());
    if says("TLS_error") || says("TLS error") {
        Failure::Tls
    } else if says("connection termination") || says("remote reset") || says("protocol error") {
        Failure::Disconnected
    } else {
        Failure::Connect
    }
}

/// A status in digits.
#[must_use]
pub fn number(text: &[u8]) -> Option<u16> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers;
    use std::vec::Vec;

    fn answer(list: &[(&str, &str)], body: &str) -> Answer {
        let mut memory = [0; 512];
        let pairs: Vec<(&[u8], &[u8])> = list
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let bytes = headers::write(&mut memory, pairs.into_iter()).unwrap();
        Answer::of(Pairs::new(bytes), body.as_bytes())
    }

    #[test]
    fn answers_of_the_proxy_are_told_from_those_of_the_server() {
        let own = |status| {
            [
                (":status", status),
                ("content-length", "91"),
                ("content-type", "text/plain"),
            ]
        };
        let refused = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
        assert_eq!(answer(&own("503"), refused), Answer::Proxy(Failure::Connect));
        let ended =
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        assert_eq!(answer(&own("503"), ended), Answer::Proxy(Failure::Disconnected));
        assert_eq!(
            answer(&own("504"), "upstream request timeout"),
            Answer::Proxy(Failure::Timeout)
        );
        for mark in [
            ("x-envoy-upstream-service-time", "3"),
            ("server", "relay"),
            ("retry-after", "5"),
        ] {
            let mut list = own("503").to_vec();
            list.push(mark);
            assert_eq!(answer(&list, refused), Answer::Server(503), "{mark:?}");
        }
        assert_eq!(answer(&own("429"), ""), Answer::Server(429));
        assert_eq!(answer(&[], ""), Answer::Proxy(Failure::Disconnected));
    }

    #[test]
    fn calls_are_found_by_token_and_by_context() {
        let mut calls = Calls::new();
        let call = |token, context| Call {
            token,
            context,
            request: RequestId::from_bits(u64::from(token)),
            destination: DestinationId::default(),
        };
        for token in 0..MOST_CALLS as u32 {
            assert!(calls.add(call(token * 4, token % 2)));
        }
        assert!(calls.is_full() && !calls.add(call(1, 1)));
        assert_eq!(calls.take(8), Some(call(8, 0)));
        assert_eq!(calls.take(8), None);
        let mut left = 0;
        while calls.take_of(1).is_some() {
            left += 1;
        }
        assert_eq!(left, MOST_CALLS / 2);
    }
}
