//! The intake against a list: what is committed comes out whole, in the order of its reservations; what is not is
//! counted; and a sleeping reader is woken once.

use std::collections::{BTreeMap, VecDeque};

use surgetank_core::intake::{Budget, Intake, Pushed, Slot, Word};
use surgetank_core::item::{Category, Count, DestinationId, DropReason, Form, Header, Outcome};

use super::tape::Tape;

/// Slots that one thread holds open at a time.
const SLOTS: usize = 4;

type Small = Intake<[Word; 64]>;

/// A reservation, as the list knows it. The number of an open one names it.
enum Entry {
    Open(u32),
    Committed(Header, Vec<u8>),
    Gone,
}

struct Held<'a> {
    number: u32,
    slot: Slot<'a>,
    header: Header,
    written: Vec<u8>,
}

/// What is known of the reader's sleep.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Awake,
    /// A wake-up is due as soon as a record can be read.
    Asleep,
    Woken,
}

struct Model<'a> {
    intake: &'a Small,
    entries: VecDeque<Entry>,
    held: [Option<Held<'a>>; SLOTS],
    lost: BTreeMap<(Category, DropReason), u64>,
    reader: Reader,
    /// A slot was dropped while the reader slept, which may leave that wake-up to a later commit.
    owed: bool,
    numbers: u32,
}

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let intake = Small::fixed();
    let mut consumer = intake.consumer().expect("nobody else has it");
    let mut model = Model {
        intake: &intake,
        entries: VecDeque::new(),
        held: [const { None }; SLOTS],
        lost: BTreeMap::new(),
        reader: Reader::Awake,
        owed: false,
        numbers: 0,
    };
    while !tape.is_empty() {
        let operation = tape.byte();
        let at = usize::from(operation >> 4) % SLOTS;
        match operation % 8 {
            0 | 1 => model.push(&mut tape),
            2 => model.reserve(at, &mut tape),
            3 => model.write(at, &mut tape),
            4 => model.finish(at, tape.byte()),
            5 => {
                let budget = Budget {
                    records: usize::from(tape.byte()),
                    bytes: usize::from(tape.short()),
                };
                consumer.drain(budget, |item| model.expect(&item.header, item.payload));
                model.reader = Reader::Awake;
            }
            6 => {
                let sleeps = consumer.sleep();
                assert!(
                    !(sleeps && model.is_readable()),
                    "sleeps although a record can be read"
                );
                // Only a drain takes an announcement back.
                model.owed |= !sleeps && model.reader == Reader::Asleep;
                model.reader = if sleeps { Reader::Asleep } else { Reader::Awake };
            }
            _ if tape.byte() > 250 => intake.close(),
            _ => {}
        }
        assert!(
            model.reader != Reader::Asleep || model.owed || !model.is_readable(),
            "nobody was told to wake the reader"
        );
    }
    (0..SLOTS).for_each(|at| model.finish(at, 0));
    consumer.drain(Budget::ALL, |item| model.expect(&item.header, item.payload));
    assert!(!model.is_readable() && model.entries.is_empty() && consumer.is_empty());
    assert_eq!(intake.fill_bytes(), 0);
    let mut lost = BTreeMap::new();
    consumer.take_losses(|_, category, reason, quantity| {
        assert!(
            lost.insert((category, reason), quantity).is_none(),
            "one call for a category and reason"
        );
    });
    assert_eq!(lost, model.lost);
}

impl<'a> Model<'a> {
    fn push(&mut self, tape: &mut Tape<'_>) {
        let (header, payload) = (header(tape), tape.bytes());
        let fits = payload.len() <= 32 && self.intake.fill_bytes() == 0;
        let pushed = self.intake.push(&header, payload);
        match pushed.outcome {
            Outcome::Queued => self.entries.push_back(Entry::Committed(header, payload.to_vec())),
            Outcome::Dropped(reason) => {
                self.check_refusal(reason, payload.len());
                assert!(
                    !fits || self.intake.is_closed(),
                    "an empty ring refused a small record: {reason:?}"
                );
                self.lose(&header, reason);
            }
        }
        self.told(pushed);
    }

    fn reserve(&mut self, at: usize, tape: &mut Tape<'_>) {
        if self.held[at].is_some() {
            return;
        }
        let (header, room) = (header(tape), usize::from(tape.byte()));
        match self.intake.reserve(&header, room) {
            Ok(slot) => {
                self.numbers += 1;
                self.entries.push_back(Entry::Open(self.numbers));
                self.held[at] = Some(Held {
                    number: self.numbers,
                    slot,
                    header,
                    written: Vec::new(),
                });
            }
            Err(reason) => {
                self.check_refusal(reason, room);
                self.lose(&header, reason);
            }
        }
    }

    fn write(&mut self, at: usize, tape: &mut Tape<'_>) {
        let bytes = tape.bytes();
        let Some(held) = &mut self.held[at] else { return };
        let fits = !held.slot.is_overflowed() && bytes.len() <= held.slot.remaining();
        assert_eq!(held.slot.append(bytes).is_ok(), fits);
        if fits {
            held.written.extend_from_slice(bytes);
        }
        assert_eq!(held.slot.written_mut(), held.written.as_slice());
        if tape.flag() {
            held.header = header(tape);
            held.slot.set_header(&held.header);
        }
    }

    /// Ends a slot: dropped, discarded or committed.
    fn finish(&mut self, at: usize, how: u8) {
        let Some(Held {
            number,
            slot,
            header,
            written,
        }) = self.held[at].take()
        else {
            return;
        };
        let overflowed = slot.is_overflowed();
        let (entry, reason, pushed) = match how % 3 {
            0 => {
                drop(slot);
                self.owed |= self.reader == Reader::Asleep;
                (Entry::Gone, Some(DropReason::InternalSdkError), None)
            }
            1 => (
                Entry::Gone,
                Some(DropReason::BeforeSend),
                Some(slot.discard(DropReason::BeforeSend)),
            ),
            _ if overflowed => (Entry::Gone, Some(DropReason::TooLarge), Some(slot.commit())),
            _ => (Entry::Committed(header, written), None, Some(slot.commit())),
        };
        let place = self
            .entries
            .iter_mut()
            .find(|entry| matches!(entry, Entry::Open(open) if *open == number));
        *place.expect("an open slot is in the list") = entry;
        let expected = reason.map_or(Outcome::Queued, Outcome::Dropped);
        assert!(pushed.is_none_or(|pushed| pushed.outcome == expected));
        if let Some(reason) = reason {
            self.lose(&header, reason);
        }
        if let Some(pushed) = pushed {
            self.told(pushed);
        }
    }

    /// A record comes out.
    fn expect(&mut self, header: &Header, payload: &[u8]) {
        self.skip_gone();
        match self.entries.pop_front() {
            Some(Entry::Committed(expected, bytes)) => {
                assert_eq!((header, payload), (&expected, bytes.as_slice()))
            }
            Some(Entry::Open(_) | Entry::Gone) => panic!("a record that was not committed"),
            None => panic!("a record that nobody made"),
        }
    }

    fn skip_gone(&mut self) {
        while let Some(Entry::Gone) = self.entries.front() {
            self.entries.pop_front();
        }
    }

    fn is_readable(&mut self) -> bool {
        self.skip_gone();
        matches!(self.entries.front(), Some(Entry::Committed(..)))
    }

    fn told(&mut self, pushed: Pushed) {
        if pushed.wake {
            if self.reader != Reader::Asleep {
                assert!(self.owed, "woken without having slept");
                self.owed = false;
                return;
            }
            self.reader = Reader::Woken;
        }
    }

    fn check_refusal(&self, reason: DropReason, payload: usize) {
        match reason {
            DropReason::TooLarge => assert!(payload > self.intake.max_payload()),
            DropReason::Closed => assert!(self.intake.is_closed()),
            DropReason::QueueOverflow => assert!(self.intake.fill_bytes() > 0),
            other => panic!("refused for {other:?}"),
        }
    }

    fn lose(&mut self, header: &Header, reason: DropReason) {
        for Count { category, quantity } in [Some(header.count), header.also].into_iter().flatten() {
            // Nothing is counted where nothing was lost.
            if quantity > 0 {
                *self.lost.entry((category, reason)).or_default() += u64::from(quantity);
            }
        }
    }
}

fn header(tape: &mut Tape<'_>) -> Header {
    let category = Category::ALL[usize::from(tape.byte()) % Category::COUNT];
    let header = Header::new(
        DestinationId::default(),
        Form::Item,
        category,
        u32::from(tape.byte()),
    );
    if tape.flag() {
        header.also(Category::LogByte, u32::from(tape.byte()))
    } else {
        header
    }
}
