//! What a host that answers clients of its own may promise them before it takes a record: room, and rate limits.
//!
//! A gate says whether a record may enter at all. A relay has to say more: that what it takes will find room in the
//! engine, too, and for how long a limit holds. Both are published once a round, so they are as old as the last round of
//! the delivery thread; room is kept exact all the same, by counting what was promised since.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason, Header, Outcome, Priority};
use surgetank_core::limits::{BLOCK_BYTES, INTAKE_SHARE_PERCENT};
use surgetank_core::ratelimit::RateLimits;
use surgetank_core::time::{Duration, Instant};
use surgetank_core::wire::rate_limits::Scope;

use super::{Delivery, Exporter};

/// Bytes that a record takes in the queue, at most.
pub(super) const fn in_queue(payload_bytes: usize) -> u64 {
    let bytes = payload_bytes as u64;
    // Links take less than an eighth, and the last block is not full.
    bytes.saturating_add(bytes / 8).saturating_add(BLOCK_BYTES as u64)
}

/// Published by the delivery thread.
#[derive(Debug)]
pub(super) struct Door {
    room: Mutex<Room>,
    places: Vec<Place>,
}

/// Room in the queue, all of it in bytes.
#[derive(Default, Debug)]
struct Room {
    capacity: u64,
    /// Free when the delivery thread last looked.
    free: u64,
    /// What it had taken out of the intake until then, in sum.
    taken: u64,
    /// What was promised until now, in sum.
    promised: u64,
}

impl Room {
    /// True when a record finds room behind all that was promised before it, with what is left to more important lanes.
    fn has(&self, priority: Priority, needed: u64) -> bool {
        let share = INTAKE_SHARE_PERCENT.get(priority.index()).copied().unwrap_or(0);
        let reserved = self.capacity / 100 * u64::from(100u8.saturating_sub(share));
        let coming = self.promised.saturating_sub(self.taken);
        self.free >= reserved.saturating_add(coming).saturating_add(needed)
    }
}

/// One destination's limits.
#[derive(Debug)]
struct Place {
    /// Bits of the limited categories, of whatever destination has the place.
    limited: AtomicU64,
    limits: Mutex<(DestinationId, RateLimits)>,
}

impl Door {
    pub(super) fn new(destinations: usize) -> Self {
        let place = || Place {
            limited: AtomicU64::new(0),
            limits: Mutex::new((DestinationId::default(), RateLimits::new())),
        };
        Self {
            room: Mutex::default(),
            places: (0..destinations).map(|_| place()).collect(),
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        // Whoever panicked with it left whole numbers.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `taken` is the sum of [`in_queue`] over everything that ever left the intake.
    pub(super) fn publish_room(&self, capacity: u64, free: u64, taken: u64) {
        let mut room = self.room();
        (room.capacity, room.free, room.taken) = (capacity, free, taken);
    }

    pub(super) fn publish_limits(&self, now: Instant, id: DestinationId, limits: &RateLimits) {
        let Some(place) = self.places.get(id.index()) else {
            return;
        };
        let limited = limits.limited_at(now).bits();
        if limited == 0 && place.limited.load(Ordering::Relaxed) == 0 {
            return;
        }
        *place.limits.lock().unwrap_or_else(PoisonError::into_inner) = (id, *limits);
        place.limited.store(limited, Ordering::Relaxed);
    }

    fn limits(&self, now: Instant, id: DestinationId) -> Option<LiveLimits> {
        let place = self.places.get(id.index())?;
        if place.limited.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (known, limits) = *place.limits.lock().unwrap_or_else(PoisonError::into_inner);
        (known == id && !limits.limited_at(now).is_empty()).then_some(LiveLimits { limits, now })
    }
}

/// The limits of a destination at one moment.
#[derive(Clone, Debug)]
pub struct LiveLimits {
    limits: RateLimits,
    now: Instant,
}

impl LiveLimits {
    /// Categories that must not be sent.
    #[must_use]
    pub fn limited(&self) -> CategorySet {
        self.limits.limited_at(self.now)
    }

    /// How much longer every category is limited, and who says so; `None` without such a limit.
    #[must_use]
    pub fn all(&self) -> Option<(Duration, Scope)> {
        self.left(self.limits.all_until())
    }

    /// How much longer `category` itself is limited, without regard to [`LiveLimits::all`]; `None` when it is not.
    #[must_use]
    pub fn of(&self, category: Category) -> Option<(Duration, Scope)> {
        self.left(self.limits.own_until(category))
    }

    fn left(&self, entry: Option<(Instant, Scope)>) -> Option<(Duration, Scope)> {
        entry
            .map(|(until, scope)| (until.since(self.now), scope))
            .filter(|(left, _)| !left.is_zero())
    }
}

impl<E: Exporter> Delivery<E> {
    /// True when a record of `payload_bytes` in the lane `priority` would be taken by [`Delivery::record_in_room`].
    #[must_use]
    pub fn has_room(&self, priority: Priority, payload_bytes: usize) -> bool {
        self.shared.door.room().has(priority, in_queue(payload_bytes))
            && self.shared.intake.has_room(priority, payload_bytes)
    }

    /// As [`Delivery::record`], but refuses a record that might not find room in the engine's queue, for hosts that
    /// promise delivery with their answer: together with
    /// [`WhenFull::RefuseNewest`](surgetank_core::config::WhenFull::RefuseNewest) nothing that was queued is dropped for
    /// want of room. Less important lanes leave more important ones a share, as in the intake
    /// ([`INTAKE_SHARE_PERCENT`]).
    ///
    /// What is refused for want of room, or at the gate for another reason than a rate limit, is **not** counted: the
    /// host's client is told, and counts it. Takes a short lock, so it is not for signal handlers; every record of the
    /// delivery has to come this way.
    pub fn record_in_room(&self, header: &Header, payload: &[u8]) -> Outcome {
        let shared = &*self.shared;
        match shared
            .intake
            .gate(header.destination.index())
            .load()
            .admits(header.categories, header.priority)
        {
            // The engine decides about limits, and counts what they cost.
            Ok(()) | Err(DropReason::RatelimitBackoff) => {}
            Err(reason) => return Outcome::Dropped(reason),
        }
        let mut room = shared.door.room();
        let needed = in_queue(payload.len());
        // The lock is held, so what has room in the intake keeps it until it is there.
        if !room.has(header.priority, needed) || !shared.intake.has_room(header.priority, payload.len()) {
            return Outcome::Dropped(DropReason::QueueOverflow);
        }
        let outcome = self.record(header, payload);
        if outcome == Outcome::Queued {
            room.promised = room.promised.saturating_add(needed);
        }
        outcome
    }

    /// Bytes of the largest record that can be taken.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.shared.intake.max_payload()
    }

    /// The rate limits that `id` is under; `None` when it is under none. One load then, and a short lock otherwise.
    #[must_use]
    pub fn limits(&self, id: DestinationId) -> Option<LiveLimits> {
        self.shared.door.limits(self.shared.clock.now(), id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn limits_are_told_with_what_is_left_of_them() {
        let door = Door::new(2);
        let id = DestinationId::new(1, 7);
        let mut limits = RateLimits::new();
        limits.limit(Some(CategorySet::of(Category::Error)), at(60), Scope::Project);
        door.publish_limits(at(10), id, &limits);
        let live = door.limits(at(20), id).unwrap();
        assert_eq!(live.limited(), CategorySet::of(Category::Error));
        assert_eq!(
            live.of(Category::Error),
            Some((Duration::from_secs(40), Scope::Project))
        );
        assert_eq!((live.of(Category::Span), live.all()), (None, None));
        assert!(
            door.limits(at(60), id).is_none(),
            "it ran out since it was published"
        );
    }

    #[test]
    fn room_is_kept_for_what_is_more_important_and_for_what_was_promised() {
        let door = Door::new(1);
        door.publish_room(100_000, 100_000, 0);
        for priority in Priority::ALL {
            let most = u64::from(INTAKE_SHARE_PERCENT[priority.index()]) * 1000;
            assert!(door.room().has(priority, most), "{priority:?}");
            assert!(!door.room().has(priority, most + 1), "{priority:?}");
        }
        door.room().promised = 30_000;
        assert!(!door.room().has(Priority::Critical, 70_001), "still on its way");
        door.publish_room(100_000, 80_000, 20_000);
        assert!(
            !door.room().has(Priority::Critical, 70_001),
            "two thirds have arrived"
        );
        door.publish_room(100_000, 100_000, 30_000);
        assert!(door.room().has(Priority::Critical, 100_000), "and were delivered");
    }

    #[test]
    fn limits_of_another_destination_are_not_told() {
        let door = Door::new(1);
        let mut limits = RateLimits::new();
        limits.limit(None, at(60), Scope::Key);
        door.publish_limits(at(0), DestinationId::new(0, 1), &limits);
        assert!(
            door.limits(at(1), DestinationId::new(0, 1))
                .unwrap()
                .all()
                .is_some()
        );
        assert!(door.limits(at(1), DestinationId::new(0, 2)).is_none());
        assert!(door.limits(at(1), DestinationId::new(9, 0)).is_none());
        door.publish_limits(at(2), DestinationId::new(0, 2), &RateLimits::new());
        assert!(door.limits(at(3), DestinationId::new(0, 1)).is_none());
    }
}
