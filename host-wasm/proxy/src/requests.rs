//! Requests on their way through the proxy, in a fixed table.
//!
//! What is needed when a request ends is noted when it begins, text included: reading it twice from the host would cost
//! more than the whole rest. The table is open: a request's place is near its id, ids go up one by one, so a place is
//! found at once unless many requests last long. A request without a place is not recorded, which is counted.

use surgetank_core::wire::trace_context::{SpanId, TraceId};

use crate::context::{Context, Decision};

/// Requests at once that one worker can record. A slot has a quarter of a kilobyte.
const SLOTS: usize = 2048;

/// Places that are looked at for one id.
const REACH: usize = 16;

/// Bytes of text of one request: method, path and authority; the rest is cut.
const TEXT_BYTES: usize = 176;
/// Most of them for the method, of which the longest that anybody registered has 17 bytes.
const METHOD_BYTES: usize = 24;
/// Most of them for the path.
const PATH_BYTES: usize = 120;

/// A request that was let through.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Context id of the host; 0 for a free slot.
    id: u32,
    /// Index of its root.
    root: u8,
    method: u8,
    path: u8,
    authority: u8,
    /// The parts of its context, zeros while only its place is taken: a table of zeros costs a module nothing.
    trace_id: [u8; 16],
    span_id: [u8; 8],
    parent: [u8; 8],
    flags: u8,
    decision: u8,
    /// Whose limits count for it, when the plugin guards what stands behind; 0 otherwise.
    pub subject: u64,
    /// When it came, on the monotonic clock in nanoseconds.
    pub started: u64,
    text: [u8; TEXT_BYTES],
}

impl Slot {
    const FREE: Self = Self {
        id: 0,
        root: 0,
        method: 0,
        path: 0,
        authority: 0,
        trace_id: [0; 16],
        span_id: [0; 8],
        parent: [0; 8],
        flags: 0,
        decision: 0,
        subject: 0,
        started: 0,
        text: [0; TEXT_BYTES],
    };

    /// Notes what the request is: the path without its query, which may hold what nobody should store.
    pub fn note(&mut self, method: &[u8], path: &[u8], authority: &[u8]) {
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        self.method = self.put(0, METHOD_BYTES, method);
        let at = usize::from(self.method);
        self.path = self.put(at, PATH_BYTES, path);
        let at = at.saturating_add(usize::from(self.path));
        self.authority = self.put(at, TEXT_BYTES, authority);
    }

    fn put(&mut self, at: usize, most: usize, text: &[u8]) -> u8 {
        let room = self.text.get_mut(at..).unwrap_or_default();
        let places = room.iter_mut().take(most).zip(text);
        places
            .map(|(to, from)| *to = *from)
            .count()
            .try_into()
            .unwrap_or_default()
    }

    /// The method as it was written.
    #[must_use]
    pub fn method(&self) -> &str {
        self.text(0, self.method)
    }

    /// The path, perhaps cut.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text(usize::from(self.method), self.path)
    }

    /// The authority, perhaps cut.
    #[must_use]
    pub fn authority(&self) -> &str {
        let at = usize::from(self.method).saturating_add(usize::from(self.path));
        self.text(at, self.authority)
    }

    /// Up to the first byte that is no text; a cut may go through a character.
    fn text(&self, at: usize, length: u8) -> &str {
        let bytes = self
            .text
            .get(at..)
            .and_then(|rest| rest.get(..usize::from(length)));
        let bytes = bytes.unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| core::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        }
    }

    /// Index of its root context.
    #[must_use]
    pub fn root(&self) -> usize {
        usize::from(self.root)
    }

    /// Notes its trace.
    pub fn set_context(&mut self, context: &Context) {
        self.trace_id = context.trace_id.bytes();
        self.span_id = context.span_id.bytes();
        self.parent = context.parent.map_or([0; 8], SpanId::bytes);
        self.flags = context.flags;
        self.decision = context.decision as u8;
    }

    /// Its trace; `None` while only its place is taken.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        Some(Context {
            trace_id: TraceId::new(self.trace_id)?,
            span_id: SpanId::new(self.span_id)?,
            parent: SpanId::new(self.parent),
            flags: self.flags,
            decision: Decision::from_number(self.decision)?,
        })
    }
}

/// The table.
#[derive(Debug)]
pub struct Requests {
    slots: [Slot; SLOTS],
}

impl Requests {
    /// An empty table.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "half a megabyte, for a static only")]
    pub const fn new() -> Self {
        Self {
            slots: [Slot::FREE; SLOTS],
        }
    }

    fn places(id: u32) -> impl Iterator<Item = usize> {
        let home = id as usize;
        (0..REACH).map(move |step| home.wrapping_add(step) % SLOTS)
    }

    /// Takes a place for the request `id` of the root at index `root`. False when there is none.
    pub fn begin(&mut self, id: u32, root: u8) -> bool {
        let free = Self::places(id).find(|place| self.slots.get(*place).is_some_and(|slot| slot.id == 0));
        let Some(slot) = free.and_then(|place| self.slots.get_mut(place)) else {
            return false;
        };
        slot.id = id;
        slot.root = root;
        slot.trace_id = [0; 16];
        slot.subject = 0;
        true
    }

    /// The request `id`, if it has a place.
    pub fn get(&mut self, id: u32) -> Option<&mut Slot> {
        let place =
            Self::places(id).find(|place| self.slots.get(*place).is_some_and(|slot| slot.id == id))?;
        self.slots.get_mut(place)
    }

    /// Gives its place back.
    pub fn end(&mut self, id: u32) {
        if let Some(slot) = self.get(id) {
            slot.id = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    #[test]
    fn text_is_kept_without_the_query_and_cut_to_its_place() {
        let mut slot = Slot::FREE;
        slot.note(b"GET", b"/orders/7?token=secret", b"shop.example");
        assert_eq!(
            (slot.method(), slot.path(), slot.authority()),
            ("GET", "/orders/7", "shop.example")
        );
        slot.note(&[b'M'; 300], &[b'p'; 300], &[b'a'; 300]);
        let lengths = (slot.method().len(), slot.path().len(), slot.authority().len());
        assert_eq!(
            lengths,
            (METHOD_BYTES, PATH_BYTES, TEXT_BYTES - METHOD_BYTES - PATH_BYTES)
        );
        slot.note(b"", b"/\xFF/a", b"");
        assert_eq!((slot.method(), slot.path(), slot.authority()), ("", "/", ""));
        let long = "é".repeat(PATH_BYTES);
        slot.note(b"GET", std::format!("/{long}").as_bytes(), b"");
        assert_eq!(slot.path().len(), PATH_BYTES - 1);
    }

    #[test]
    fn a_context_is_kept_as_it_was() {
        let mut slot = Slot::FREE;
        assert_eq!(slot.context(), None);
        for (parent, decision) in [
            (None, Decision::Record),
            (SpanId::new([9; 8]), Decision::Caller),
            (None, Decision::Rate),
            (None, Decision::Pressure),
        ] {
            let context = Context {
                trace_id: TraceId::new([7; 16]).unwrap(),
                span_id: SpanId::new([8; 8]).unwrap(),
                parent,
                flags: 3,
                decision,
            };
            slot.set_context(&context);
            assert_eq!(slot.context(), Some(context));
        }
    }

    #[test]
    fn many_requests_keep_their_places_and_one_too_many_gets_none() {
        let mut requests = Box::new(Requests::new());
        let ids = 1..=SLOTS as u32;
        assert!(ids.clone().all(|id| requests.begin(id, 0)));
        assert!(!requests.begin(SLOTS as u32 + 1, 0));
        assert!(ids.clone().all(|id| requests.get(id).is_some()));
        requests.end(5);
        assert!(requests.get(5).is_none());
        // Another id finds the place within its reach.
        assert!(requests.begin(SLOTS as u32 * 3 + 2, 1));
        assert_eq!(requests.get(SLOTS as u32 * 3 + 2).unwrap().root(), 1);
        assert!(requests.get(6).is_some());
    }
}
