//! Trace-consistent sampling: one threshold on the trace id, so that every service keeps or drops the same traces.
//!
//! A downsample factor of *n* keeps one trace in 2^*n*. The decision is the consistent probability sampling of W3C
//! Trace Context Level 2 ("Random trace-id flag", the rightmost 7 bytes of the trace id) and OpenTelemetry's
//! `tracestate` specification ("Consistent probability sampling"): randomness R is the low 56 bits of the trace id,
//! the rejection threshold is T = 2^56 - 2^(56-n), and a trace is kept when R >= T. A trace that survives factor *n*
//! therefore survives every smaller factor, and `ot=th` carries the same number.
//!
//! What this module does not do: it never decides *whether* to downsample, and it is for roots only. A trace that was
//! begun elsewhere keeps the decision it came with.

use crate::item::TraceKey;
use crate::limits::MAX_DOWNSAMPLE_FACTOR;

/// Bits of a trace id that are random (W3C Trace Context Level 2).
const RANDOM_BITS: u32 = 56;
const RANDOM_SPACE: u64 = 1 << RANDOM_BITS;

/// The rejection threshold of downsample factor `factor`: the number that `ot=th` carries, below 2^56.
///
/// `factor` over [`MAX_DOWNSAMPLE_FACTOR`] counts as that; factor 0 gives 0, which keeps everything.
#[must_use]
pub const fn threshold(factor: u8) -> u64 {
    lowered(0, factor)
}

/// The rejection threshold of a probability that is divided by 2^`factor`: `threshold`, at most 2^56, is that of the
/// probability before. 2^56 keeps nothing.
///
/// A factor goes on top of a sample rate that holds already: of what the rate keeps it keeps one in 2^`factor`.
#[must_use]
pub const fn lowered(threshold: u64, factor: u8) -> u64 {
    let factor = if factor > MAX_DOWNSAMPLE_FACTOR {
        MAX_DOWNSAMPLE_FACTOR
    } else {
        factor
    };
    RANDOM_SPACE - (RANDOM_SPACE.saturating_sub(threshold) >> factor)
}

/// The randomness of a trace id: the number that thresholds are compared with, below 2^56.
#[must_use]
pub const fn randomness(trace: TraceKey) -> u64 {
    trace.0 & (RANDOM_SPACE - 1)
}

/// True when a root with this trace id is kept at downsample factor `factor`.
///
/// Without a trace there is nothing to be consistent with, and the record is kept.
#[must_use]
pub const fn keeps(trace: TraceKey, factor: u8) -> bool {
    !trace.is_some() || randomness(trace) >= threshold(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_factor_of_n_keeps_one_in_two_to_the_n() {
        let mut rng = Rng::new(7);
        for factor in 0..=MAX_DOWNSAMPLE_FACTOR {
            let total = 1u64 << 18;
            let kept = (0..total)
                .filter(|_| keeps(TraceKey(rng.next_u64()), factor))
                .count() as u64;
            let expected = total >> factor;
            let slack = 8 * expected.isqrt();
            assert!(
                kept.abs_diff(expected) <= slack,
                "factor {factor}: {kept} of {total}"
            );
        }
    }

    #[test]
    fn what_a_factor_keeps_every_smaller_factor_keeps() {
        let mut rng = Rng::new(8);
        for _ in 0..20_000 {
            let key = TraceKey(rng.next_u64());
            for factor in 1..=MAX_DOWNSAMPLE_FACTOR {
                assert!(!keeps(key, factor) || keeps(key, factor - 1));
            }
        }
    }

    #[test]
    fn thresholds_are_those_of_the_tracestate_specification() {
        // "th:8" is 50 %, "th:c" is 25 %, "th:e" 12.5 %: trailing zeros of 14 hex digits are left out.
        assert_eq!(threshold(0), 0);
        assert_eq!(threshold(1), 0x80_0000_0000_0000);
        assert_eq!(threshold(2), 0xc0_0000_0000_0000);
        assert_eq!(threshold(3), 0xe0_0000_0000_0000);
        assert_eq!(threshold(10), 0xff_c000_0000_0000);
        assert_eq!(threshold(255), threshold(10));
    }

    #[test]
    fn a_factor_divides_what_a_rate_keeps() {
        // 25 % and a factor of 2 are 6.25 %: all but the top sixteenth is rejected.
        assert_eq!(lowered(0xc0_0000_0000_0000, 2), 0xf0_0000_0000_0000);
        assert_eq!(lowered(0xc0_0000_0000_0000, 0), 0xc0_0000_0000_0000);
        // Nothing stays nothing, and a number that is no threshold counts as that.
        assert_eq!(lowered(1 << 56, 3), 1 << 56);
        assert_eq!(lowered(u64::MAX, 3), 1 << 56);
    }

    #[test]
    fn only_the_low_56_bits_decide_and_the_threshold_itself_is_kept() {
        let at = TraceKey(threshold(4));
        assert!(keeps(at, 4));
        assert!(!keeps(TraceKey(at.0 - 1), 4));
        assert!(keeps(TraceKey(at.0 | 0xAB << 56), 4));
        assert!(!keeps(TraceKey((at.0 - 1) | 0xFF << 56), 4));
    }

    #[test]
    fn records_without_a_trace_are_never_sampled_out() {
        assert!(keeps(TraceKey::NONE, MAX_DOWNSAMPLE_FACTOR));
    }
}
