//! Where a record goes in a byte ring: arithmetic on positions that never sees a byte, so it is testable on paper.
//!
//! A position counts bytes since the ring was made and wraps with `usize`; its place in memory is the position modulo
//! the capacity, a power of two. Everything is a multiple of [`ALIGN`]. A record never wraps around the end of memory:
//! when it does not fit before the end, the rest up to the end becomes padding and the record starts at offset 0.
//!
//! The share of a record's priority bounds what may be in use *without* the padding, so a record of up to half the
//! capacity fits into an empty ring whatever the offset, even for a priority whose share is half the ring.

/// Every record starts at, and takes, a multiple of this many bytes.
pub(crate) const ALIGN: usize = 8;

/// What [`place`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// It fits, after this many bytes of padding.
    After(usize),
    /// It does not fit, or not within the share.
    Full,
    /// `head` was read later than `tail`: the two belong to different moments.
    Stale,
}

/// What [`look`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// It fits at `tail`, which is at this place in memory, if `tail` still is the tail.
    Fits(usize),
    /// It does not fit, or not within the share.
    Full,
    /// It fits, but not before the end of memory.
    Wraps,
}

/// `bytes` rounded up to a multiple of [`ALIGN`]; `bytes` is at most `usize::MAX - 7`.
pub(crate) const fn align_up(bytes: usize) -> usize {
    bytes.wrapping_add(ALIGN - 1) & !(ALIGN - 1)
}

/// A first look at where `total` bytes go when `head..tail` is in use: what [`place`] says, in half the steps. The arguments
/// are those of [`place`].
///
/// It does not tell apart a `head` that was read later than `tail`: that looks like [`Look::Fits`], and then the tail has
/// moved on, which whoever exchanges it finds out. (With 32-bit positions it looks like [`Look::Full`] when a gibibyte or
/// more went through the ring between the two readings.)
pub(crate) const fn look(tail: usize, head: usize, capacity: usize, total: usize, share: usize) -> Look {
    // What is left of the share; less than nothing when more important records have taken more than that.
    let room = head.wrapping_add(share).wrapping_sub(tail) as isize;
    if room < total as isize {
        return Look::Full;
    }
    let at = offset(tail, capacity);
    let to_end = capacity.wrapping_sub(at);
    if total <= to_end {
        return Look::Fits(at);
    }
    let free = head.wrapping_add(capacity).wrapping_sub(tail) as isize;
    if free < to_end.wrapping_add(total) as isize {
        Look::Full
    } else {
        Look::Wraps
    }
}

/// Where `total` bytes go when `head..tail` is in use.
///
/// `capacity` is a power of two of at least [`ALIGN`] and at most 2^30, `total` an aligned size of at most half of it,
/// `share` at most `capacity`; no sum can overflow then, on 32-bit targets either.
pub(crate) const fn place(tail: usize, head: usize, capacity: usize, total: usize, share: usize) -> Place {
    let used = tail.wrapping_sub(head);
    if used > capacity {
        return Place::Stale;
    }
    let to_end = capacity.wrapping_sub(offset(tail, capacity));
    let padding = if total > to_end { to_end } else { 0 };
    let after = used.wrapping_add(total);
    if after > share || after.wrapping_add(padding) > capacity {
        return Place::Full;
    }
    Place::After(padding)
}

/// The place in memory of `position`.
pub(crate) const fn offset(position: usize, capacity: usize) -> usize {
    position & capacity.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_ring_takes_half_its_capacity_at_every_offset_within_the_smallest_share() {
        let capacity = 256;
        for start in (0..2 * capacity).step_by(ALIGN) {
            for total in (ALIGN..=capacity / 2).step_by(ALIGN) {
                assert!(
                    matches!(
                        place(start, start, capacity, total, capacity / 2),
                        Place::After(_)
                    ),
                    "{total} bytes at {start}"
                );
            }
        }
    }

    #[test]
    fn what_is_placed_is_contiguous_and_overlaps_nothing() {
        let capacity = 128usize;
        for tail in (0..2 * capacity).step_by(ALIGN) {
            for used in (0..=capacity).step_by(ALIGN) {
                let head = tail.wrapping_sub(used);
                for total in (ALIGN..=capacity / 2).step_by(ALIGN) {
                    if let Place::After(padding) = place(tail, head, capacity, total, capacity) {
                        let start = offset(tail.wrapping_add(padding), capacity);
                        assert!(start + total <= capacity);
                        assert!(used + padding + total <= capacity);
                        assert!(padding == 0 || start == 0);
                    } else {
                        let to_end = capacity - offset(tail, capacity);
                        let need = if total > to_end { to_end + total } else { total };
                        assert!(used + need > capacity, "refused although it fits");
                    }
                }
            }
        }
    }

    #[test]
    fn a_first_look_agrees_with_the_second() {
        let capacity = 128usize;
        for tail in (0..2 * capacity).step_by(ALIGN) {
            for used in (0..=capacity).step_by(ALIGN) {
                let head = tail.wrapping_sub(used);
                for total in (ALIGN..=capacity / 2).step_by(ALIGN) {
                    for share in [64, 76, 128] {
                        let place = place(tail, head, capacity, total, share);
                        let expected = match place {
                            Place::After(0) => Look::Fits(tail % capacity),
                            Place::After(_) => Look::Wraps,
                            Place::Full | Place::Stale => Look::Full,
                        };
                        assert_eq!(look(tail, head, capacity, total, share), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_first_look_does_not_refuse_for_a_head_that_was_read_later() {
        assert_eq!(look(64, 72, 128, 8, 128), Look::Fits(64));
        let before_the_wrap = usize::MAX - 7;
        assert_eq!(look(before_the_wrap, 64, 128, 8, 128), Look::Fits(120));
    }

    #[test]
    fn a_share_bounds_what_is_in_use_without_the_padding() {
        assert_eq!(place(64, 0, 128, 16, 80), Place::After(0));
        assert_eq!(place(64, 0, 128, 24, 80), Place::Full);
        assert_eq!(place(112, 112, 128, 64, 64), Place::After(16));
    }

    #[test]
    fn positions_wrap_with_the_word() {
        let head = usize::MAX - 15; // 16 bytes before the wrap
        assert_eq!(offset(head, 128), 112);
        assert_eq!(place(head, head, 128, 16, 128), Place::After(0));
        let tail = head.wrapping_add(16);
        assert_eq!(tail, 0);
        assert_eq!(place(tail, head, 128, 64, 128), Place::After(0));
        assert_eq!(place(tail.wrapping_add(64), head, 128, 56, 128), Place::Full);
    }

    #[test]
    fn a_head_read_after_the_tail_had_moved_on_is_told_apart_from_full() {
        assert_eq!(place(64, 72, 128, 8, 128), Place::Stale);
        assert_eq!(place(64, 64, 128, 8, 128), Place::After(0));
    }

    #[test]
    fn sizes_round_up_to_the_alignment() {
        assert_eq!([0, 1, 8, 9].map(align_up), [0, 8, 8, 16]);
    }
}
