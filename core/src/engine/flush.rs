//! Flushes under way: how many of the records that each covers are still here.
//!
//! Counting is exact and costs a compare per released record and flush; nothing is searched. Up to
//! [`MAX_FLUSHES`] run side by side; a further one joins the newest and then both end together.

use crate::limits::MAX_FLUSHES;

/// Marks what a flush covers: everything recorded before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushId {
    place: u8,
    below: u64,
}

impl FlushId {
    /// All of it in one word, at most 63 bits of it, for hosts that carry it through foreign code.
    #[must_use]
    pub const fn bits(self) -> u64 {
        (self.below << 8 | self.place as u64) & (u64::MAX >> 1)
    }

    /// The inverse of [`FlushId::bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            place: bits as u8,
            below: bits >> 8,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The first flush this place serves since it was last free.
    since: u64,
    /// Records numbered below this are covered.
    below: u64,
    /// Covered records not yet released.
    left: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Flushes {
    marks: [Mark; MAX_FLUSHES],
}

impl Flushes {
    pub(super) const fn new() -> Self {
        Self {
            marks: [Mark {
                since: 0,
                below: 0,
                left: 0,
            }; MAX_FLUSHES],
        }
    }

    /// Starts a flush of the `records` records that are here, all numbered below `below`.
    pub(super) fn start(&mut self, below: u64, records: u32) -> FlushId {
        let mut place = 0;
        let mut best: Option<(bool, u64)> = None;
        for (at, mark) in self.marks.iter().enumerate() {
            // A finished place first; else the newest, which is joined.
            let key = (mark.left == 0, mark.below);
            if best.is_none_or(|best| key > best) {
                best = Some(key);
                place = at;
            }
        }
        if let Some(mark) = self.marks.get_mut(place) {
            if mark.left == 0 {
                mark.since = below;
            }
            mark.below = below;
            mark.left = records;
        }
        FlushId {
            place: place as u8,
            below,
        }
    }

    pub(super) const fn is_done(&self, id: FlushId) -> bool {
        let [a, b, c, d] = &self.marks;
        let mark = match id.place {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        id.below < mark.since || mark.left == 0
    }

    /// True when a flush under way covers the record with that number.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        self.marks
            .iter()
            .any(|mark| mark.left > 0 && sequence < mark.below)
    }

    /// True when none is under way.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.marks.iter().all(|mark| mark.left == 0)
    }

    /// A record left the queue, delivered or dropped.
    #[inline]
    pub(super) fn released(&mut self, sequence: u64) {
        for mark in &mut self.marks {
            if mark.left > 0 && sequence < mark.below {
                mark.left = mark.left.wrapping_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_ends_when_everything_before_it_left() {
        let mut flushes = Flushes::new();
        let id = flushes.start(3, 2);
        assert!(flushes.covers(2) && !flushes.covers(3));
        flushes.released(3);
        flushes.released(1);
        assert!(!flushes.is_done(id));
        flushes.released(2);
        assert!(flushes.is_done(id));
    }

    #[test]
    fn a_flush_of_nothing_is_done_at_once() {
        let mut flushes = Flushes::new();
        let id = flushes.start(1, 0);
        assert!(flushes.is_done(id));
    }

    #[test]
    fn flushes_side_by_side_end_each_in_its_time_and_places_are_used_again() {
        let mut flushes = Flushes::new();
        let first = flushes.start(2, 1);
        let second = flushes.start(3, 2);
        flushes.released(1);
        assert!(flushes.is_done(first) && !flushes.is_done(second));
        let third = flushes.start(4, 2);
        assert!(flushes.is_done(first), "its place was given to another flush");
        flushes.released(2);
        assert!(flushes.is_done(second) && !flushes.is_done(third));
    }

    #[test]
    fn one_too_many_joins_the_newest() {
        let mut flushes = Flushes::new();
        let ids: std::vec::Vec<FlushId> = (0..=MAX_FLUSHES as u64)
            .map(|at| flushes.start(at + 2, at as u32 + 1))
            .collect();
        assert_eq!(ids[MAX_FLUSHES].place, ids[MAX_FLUSHES - 1].place);
        for sequence in 1..=MAX_FLUSHES as u64 {
            flushes.released(sequence);
        }
        assert!(
            flushes.is_done(ids[0])
                && !flushes.is_done(ids[MAX_FLUSHES - 1])
                && !flushes.is_done(ids[MAX_FLUSHES])
        );
        flushes.released(MAX_FLUSHES as u64 + 1);
        assert!(ids.iter().all(|id| flushes.is_done(*id)));
    }
}
