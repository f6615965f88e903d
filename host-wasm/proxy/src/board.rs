//! What one worker learned of a server, for the others: a small board in the proxy's shared data.
//!
//! Each worker has an engine of its own, and would have to be refused by itself before it obeys. So who learns a limit
//! writes it onto the board, and all look at it with each tick. Moments are of the monotonic clock, which all workers
//! share. The board has a fixed number of lines and replaces what is over or ends first, so it never grows; the longer
//! of two limits on the same thing stays. It is read and written whole, with the proxy's compare-and-swap.
//!
//! ```text
//! (subject: u64, until: u64 in microseconds, what: u64, scope: u8, unused: 7 bytes) * LINES      little-endian
//! ```
//!
//! *Subject* is a hash of the server, or of the project and key before an ingestion service. *What* is a set of
//! categories, every one for "all", none for "a pause of everything".

use surgetank_core::item::CategorySet;
use surgetank_core::time::Instant;
use surgetank_core::wire::rate_limits::Scope;

/// Name in the shared data. It ends with the version of the layout, as a new module may meet an old one.
pub const NAME: &str = "surgetank.board.1";

/// Lines of the board. A server sets a few limits at once; a fleet behind one key sets as many as it has projects.
const LINES: usize = 64;

/// Bytes of a line.
const LINE_BYTES: usize = 32;

/// Bytes of the whole board.
pub const BOARD_BYTES: usize = LINES * LINE_BYTES;

/// One thing that was learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Of whom.
    pub subject: u64,
    /// Until when.
    pub until: Instant,
    /// What is limited.
    pub what: What,
    /// Whom the server limits.
    pub scope: Scope,
}

/// What must not be sent. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Nothing at all may be sent, but what comes may wait: the server is overloaded.
    Pause,
    /// Every category, known or not.
    All,
    /// These categories.
    Categories(CategorySet),
}

impl What {
    const fn bits(self) -> u64 {
        match self {
            Self::Pause => 0,
            Self::All => u64::MAX,
            Self::Categories(set) => set.bits(),
        }
    }

    const fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::Pause,
            u64::MAX => Self::All,
            bits => Self::Categories(CategorySet::from_bits(bits)),
        }
    }

    /// As limits are set: `None` for everything. A pause is none.
    #[must_use]
    pub const fn categories(self) -> Option<CategorySet> {
        match self {
            Self::Categories(set) => Some(set),
            Self::Pause | Self::All => None,
        }
    }
}

/// The board in memory.
#[derive(Clone, Debug)]
pub struct Board {
    bytes: [u8; BOARD_BYTES],
}

impl Board {
    /// An empty board.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self {
            bytes: [0; BOARD_BYTES],
        }
    }

    /// Takes up what is in the shared data; anything of another size is an empty board.
    pub fn read(&mut self, bytes: &[u8]) {
        if bytes.len() == BOARD_BYTES {
            for (to, from) in self.bytes.iter_mut().zip(bytes) {
                *to = *from;
            }
        } else {
            self.bytes = [0; BOARD_BYTES];
        }
    }

    /// For the shared data.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; BOARD_BYTES] {
        &self.bytes
    }

    /// The lines that hold at `now`.
    pub fn lines(&self, now: Instant) -> impl Iterator<Item = Line> {
        let (lines, _) = self.bytes.as_chunks::<LINE_BYTES>();
        lines.iter().map(decode).filter(move |line| line.until > now)
    }

    /// Writes a line; false when the board says as much already, or has no room for what ends earlier than all of it.
    pub fn write(&mut self, now: Instant, line: &Line) -> bool {
        let (lines, _) = self.bytes.as_chunks_mut::<LINE_BYTES>();
        let same = |other: &Line| (other.subject, other.what.bits()) == (line.subject, line.what.bits());
        let mut place: Option<(Instant, &mut [u8; LINE_BYTES])> = None;
        for bytes in lines {
            let other = decode(bytes);
            // What is over counts as ending first.
            let ends = if other.until > now {
                other.until
            } else {
                Instant::ORIGIN
            };
            if same(&other) && other.until > now {
                if other.until >= line.until {
                    return false;
                }
                *bytes = encode(line);
                return true;
            }
            if place.as_ref().is_none_or(|(first, _)| ends < *first) {
                place = Some((ends, bytes));
            }
        }
        match place {
            Some((ends, bytes)) if ends < line.until => {
                *bytes = encode(line);
                true
            }
            _ => false,
        }
    }
}

fn encode(line: &Line) -> [u8; LINE_BYTES] {
    let mut bytes = [0; LINE_BYTES];
    let scope = match line.scope {
        Scope::Key => 0,
        Scope::Project => 1,
        Scope::Organization => 2,
    };
    let words = [line.subject, line.until.as_micros(), line.what.bits(), scope];
    for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    bytes
}

fn decode(bytes: &[u8; LINE_BYTES]) -> Line {
    let mut words = [0_u64; 4];
    for (word, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*from);
    }
    let [subject, until, what, scope] = words;
    Line {
        subject,
        until: Instant::from_micros(until),
        what: What::from_bits(what),
        scope: match scope {
            1 => Scope::Project,
            2 => Scope::Organization,
            _ => Scope::Key,
        },
    }
}

/// A subject's number: FNV-1a over its parts, scrambled. Never zero, which free lines have.
#[must_use]
pub fn subject<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for part in parts {
        // A separator, so that parts do not run into one another.
        for byte in part.iter().chain(&[0xFF]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    surgetank_core::rng::mix(hash).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use surgetank_core::item::Category;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn line(subject: u64, until: u64, what: What) -> Line {
        Line {
            subject,
            until: at(until),
            what,
            scope: Scope::Project,
        }
    }

    #[test]
    fn what_is_written_is_read_by_others() {
        let mut board = Board::new();
        let lines = [
            line(7, 60, What::All),
            line(7, 30, What::Categories(CategorySet::of(Category::Error))),
            line(8, 5, What::Pause),
        ];
        for line in &lines {
            assert!(board.write(at(0), line));
        }
        let mut other = Board::new();
        other.read(board.bytes());
        assert_eq!(other.lines(at(0)).collect::<Vec<_>>(), lines);
        assert_eq!(other.lines(at(5)).count(), 2);
        other.read(b"rubbish");
        assert_eq!(other.lines(at(0)).count(), 0);
    }

    #[test]
    fn the_longer_limit_on_one_thing_stays() {
        let mut board = Board::new();
        assert!(board.write(at(0), &line(7, 60, What::All)));
        assert!(!board.write(at(0), &line(7, 60, What::All)));
        assert!(!board.write(at(0), &line(7, 30, What::All)));
        assert!(board.write(at(0), &line(7, 90, What::All)));
        assert_eq!(board.lines(at(0)).collect::<Vec<_>>(), [line(7, 90, What::All)]);
    }

    #[test]
    fn a_full_board_gives_up_what_ends_first_and_never_grows() {
        let mut board = Board::new();
        for subject in 1..=LINES as u64 {
            assert!(board.write(at(0), &line(subject, 100 + subject, What::All)));
        }
        assert!(
            !board.write(at(0), &line(999, 50, What::All)),
            "it would end before all others"
        );
        assert!(board.write(at(0), &line(999, 500, What::All)));
        assert_eq!(board.lines(at(0)).count(), LINES);
        assert!(!board.lines(at(0)).any(|line| line.subject == 1));
        // What is over makes room first.
        assert!(board.write(at(103), &line(1000, 104, What::All)));
        assert!(board.lines(at(103)).any(|line| line.subject == 4));
    }

    #[test]
    fn subjects_are_told_apart_by_their_parts() {
        let of = |parts: &[&str]| subject(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&[]), 0);
        assert_eq!(of(&["ab"]), of(&["ab"]));
    }
}
