//! Resources and scopes beside a destination's own.
//!
//! A destination's requests say where their records come from: a resource (the program) and a scope (the library that
//! recorded). One pair is the destination's own. A program with several instrumented libraries has more, and finds out
//! while it runs; so there is a table of them, to which producers add and which the delivery thread reads. A record
//! carries the number of its entry in its header, one byte, and the engine writes each resource and each scope once per
//! request, in front of their records.
//!
//! The alternatives were a scope inside every record (some 30 bytes each, and a server that takes every record for a
//! group of its own), and one scope per request (as many requests as libraries).
//!
//! Adding takes no lock: an entry is claimed by counting, then filled by the one who claimed it, and readers pass over
//! what is not filled. So a fork in between costs a child one entry and nothing else.

use core::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use surgetank_core::limits::MAX_ORIGINS;
use surgetank_core::wire::otlp::framing::Frame;

/// Most bytes of an encoded scope in a table, so that a full one stays below 256 KiB.
pub const MAX_SCOPE_BYTES: usize = 4096;

/// A resource and a scope, encoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// An encoded `Resource` message; may be empty. Shared by the scopes of one resource.
    pub resource: Arc<[u8]>,
    /// Schema of the resource's attributes; may be empty.
    pub resource_schema_url: Arc<str>,
    /// An encoded `InstrumentationScope` message; may be empty.
    pub scope: Vec<u8>,
    /// Schema of the records' attributes; may be empty.
    pub scope_schema_url: String,
}

impl Origin {
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            resource: &self.resource,
            scope: &self.scope,
            resource_schema_url: &self.resource_schema_url,
            scope_schema_url: &self.scope_schema_url,
        }
    }
}

impl fmt::Debug for Origin {
    /// Lengths only: resources may hold what must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame().fmt(f)
    }
}

/// The table of one destination: up to [`MAX_ORIGINS`] entries, never changed once they are there.
pub struct Origins {
    claimed: AtomicUsize,
    entries: [OnceLock<Origin>; MAX_ORIGINS],
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            claimed: AtomicUsize::new(0),
            entries: [const { OnceLock::new() }; MAX_ORIGINS],
        }
    }
}

impl Origins {
    /// Number of the entry that equals `origin`, for a header's [`origin`](surgetank_core::item::Header::origin); makes
    /// one unless there is one. `None` when the table is full or the scope larger than [`MAX_SCOPE_BYTES`]: such records
    /// have to carry their resource and scope themselves.
    ///
    /// Takes no lock. Allocates nothing, but keeps what it is given.
    pub fn add(&self, origin: Origin) -> Option<u8> {
        if origin.scope.len().saturating_add(origin.scope_schema_url.len()) > MAX_SCOPE_BYTES {
            return None;
        }
        let known = self.entries.iter().position(|entry| entry.get() == Some(&origin));
        let place = match known {
            Some(place) => place,
            None => {
                // Two threads may add the same one: that costs an entry, and both are right.
                let place = self
                    .claimed
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |claimed| {
                        (claimed < MAX_ORIGINS).then_some(claimed + 1)
                    })
                    .ok()?;
                // Nobody else has this number, so the entry is empty and nobody waits for it.
                self.entries.get(place)?.set(origin).ok()?;
                place
            }
        };
        // At most 63.
        Some(place as u8 + 1)
    }

    /// The entries in order of their numbers, from 1; one that is not filled yet is empty, and no record names it.
    pub(super) fn frames(&self) -> Vec<Frame<'_>> {
        let claimed = self.claimed.load(Ordering::Relaxed);
        let entries = self.entries.iter().take(claimed);
        entries
            .map(|entry| entry.get().map_or_else(Frame::default, Origin::frame))
            .collect()
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins")
            .field("claimed", &self.claimed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Origin {
        Origin {
            scope: name.as_bytes().to_vec(),
            ..Origin::default()
        }
    }

    #[test]
    fn equal_origins_share_a_number_and_others_do_not() {
        let origins = Origins::default();
        assert_eq!(origins.add(scope("a")), Some(1));
        assert_eq!(origins.add(scope("b")), Some(2));
        assert_eq!(origins.add(scope("a")), Some(1));
        let other_resource = Origin {
            resource: Arc::from(&b"r"[..]),
            ..scope("a")
        };
        assert_eq!(origins.add(other_resource), Some(3));
        let frames = origins.frames();
        let seen: Vec<_> = frames.iter().map(|frame| (frame.resource, frame.scope)).collect();
        assert_eq!(seen, [(&b""[..], &b"a"[..]), (b"", b"b"), (b"r", b"a")]);
    }

    #[test]
    fn a_full_table_and_a_large_scope_are_refused() {
        let origins = Origins::default();
        assert_eq!(origins.add(scope(&"x".repeat(MAX_SCOPE_BYTES + 1))), None);
        for number in 1..=MAX_ORIGINS {
            let added = origins.add(scope(&number.to_string()));
            assert_eq!(added.map(usize::from), Some(number));
        }
        assert_eq!(origins.add(scope("one more")), None);
        assert_eq!(
            origins.add(scope("7")),
            Some(7),
            "those that are there stay usable"
        );
        assert_eq!(origins.frames().len(), MAX_ORIGINS);
    }

    #[test]
    fn numbers_stay_true_when_many_threads_add() {
        let origins = Origins::default();
        let numbers: Vec<_> = std::thread::scope(|threads| {
            let adding: Vec<_> = (0..4)
                .map(|_| {
                    threads.spawn(|| {
                        (0..15)
                            .filter_map(|name| Some((name, origins.add(scope(&format!("{name}")))?)))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            adding
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        let frames = origins.frames();
        for (name, number) in numbers {
            assert_eq!(
                frames[usize::from(number) - 1].scope,
                format!("{name}").as_bytes()
            );
        }
    }
}
