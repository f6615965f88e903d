//! Identifiers of events, traces and spans, and where new ones come from.

use core::fmt;
use core::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use surgetank_core::rng::mix;
use surgetank_core::wire::otlp::encode::{SpanId, TraceId};

/// Identifier of an event, a session or a check-in: a random UUID (version 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// No identifier: all zero.
    pub const NIL: Self = Self([0; 16]);

    /// The identifier of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    /// Reads 32 hexadecimal digits of either case; hyphens are passed over.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 16];
        let mut digits = text.chars().filter(|character| *character != '-');
        for byte in &mut bytes {
            let mut digit = || {
                digits
                    .next()
                    .and_then(|digit| digit.to_digit(16))
                    .ok_or(InvalidId)
            };
            // Two digits of base 16 fit eight bits.
            *byte = (digit()? << 4 | digit()?) as u8;
        }
        if digits.next().is_some() {
            Err(InvalidId)
        } else {
            Ok(Self(bytes))
        }
    }
}

/// The text is no identifier: it must have exactly 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id: it must have exactly 32 hexadecimal digits")
    }
}

impl core::error::Error for InvalidId {}

/// Makes identifiers without a lock: a counter, scrambled with a seed from the operating system.
///
/// One atomic addition per identifier. Identifiers are unique to this generator and, the seed being 128 random bits,
/// among all of them; they are not secrets.
#[derive(Debug)]
pub(crate) struct IdGenerator {
    counter: AtomicU64,
    seed: [u64; 2],
}

/// The odd constant of SplitMix64: every step of the counter reaches far.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl IdGenerator {
    pub(crate) const fn new(seed: [u64; 2]) -> Self {
        Self {
            counter: AtomicU64::new(0),
            seed,
        }
    }

    /// A number that follows from the seed and `from`.
    pub(crate) fn derive(&self, from: u64) -> u64 {
        let [first, second] = self.seed;
        mix(first ^ mix(second ^ from))
    }

    fn next(&self) -> [u64; 2] {
        let [first, second] = self.seed;
        let step = self.counter.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP);
        // A bijection of the counter in the first half makes repetition impossible; the second depends on both seeds.
        let high = mix(step.wrapping_add(first));
        [high, mix(high ^ second.wrapping_add(step))]
    }

    fn sixteen(&self) -> [u8; 16] {
        let [high, low] = self.next();
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    pub(crate) fn event_id(&self) -> EventId {
        let mut bytes = self.sixteen();
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        EventId(bytes)
    }

    pub(crate) fn trace_id(&self) -> TraceId {
        loop {
            // Zero, which is no id, comes once in 2^128.
            if let Some(id) = TraceId::new(self.sixteen()) {
                return id;
            }
        }
    }

    pub(crate) fn span_id(&self) -> SpanId {
        loop {
            let [high, _] = self.next();
            if let Some(id) = SpanId::new(high.to_be_bytes()) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn event_ids_are_uuids_of_version_4() {
        let ids = IdGenerator::new([1, 2]);
        for _ in 0..100 {
            let text = ids.event_id().to_string();
            assert_eq!(text.len(), 32);
            assert_eq!(text.as_bytes()[12], b'4');
            assert!(matches!(text.as_bytes()[16], b'8' | b'9' | b'a' | b'b'));
        }
    }

    #[test]
    fn no_identifier_comes_twice_even_from_many_threads() {
        let ids = IdGenerator::new([7, 8]);
        let all: Vec<EventId> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..10_000).map(|_| ids.event_id()).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        let count = all.len();
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), count);
    }

    #[test]
    fn other_seeds_give_other_identifiers() {
        let [a, b] = [IdGenerator::new([1, 2]), IdGenerator::new([1, 3])];
        assert_ne!(a.trace_id(), b.trace_id());
        assert_ne!(a.event_id().as_bytes(), &a.trace_id().bytes());
    }

    #[test]
    fn text_reads_back_and_other_text_is_refused() {
        let id = IdGenerator::new([3, 4]).event_id();
        assert_eq!(id.to_string().parse(), Ok(id));
        let hyphens = "01234567-89ab-cdef-0123-456789ABCDEF";
        let bytes = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
        assert_eq!(hyphens.parse(), Ok(EventId::from_bytes(bytes)));
        let digits = id.to_string();
        for bad in [
            "",
            "0",
            &digits[1..],
            &format!("{digits}0"),
            &format!("{}g", &digits[1..]),
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(InvalidId), "{bad}");
        }
    }
}
