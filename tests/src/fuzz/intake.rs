//! The intake against a list: what is committed comes out whole, in the order of its reservations; what is not is
//! counted; and a sleeping reader is woken once.

use std::collections::{BTreeMap, VecDeque};

use surgetank_core::intake::{Budget, Intake, Pushed, Sleep, Slot, Word};
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

/// Where the duty to wake the reader is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mark {
    Nowhere,
    /// The next reservation takes it.
    Tail,
    /// The open slot of that number has it.
    Slot(u32),
}

struct Model<'a> {
    intake: &'a Small,
    entries: VecDeque<Entry>,
    held: [Option<Held<'a>>; SLOTS],
    lost: BTreeMap<(Category, DropReason), u64>,
    mark: Mark,
    /// Since the last drain.
    announced: bool,
    /// The reader sleeps and nobody was told to wake it.
    asleep: bool,
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
        mark: Mark::Nowhere,
        announced: false,
        asleep: false,
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
                model.drained();
            }
            6 => model.slept(consumer.sleep(), consumer.is_empty()),
            _ if tape.byte() > 250 => intake.close(),
            _ => {}
        }
        assert!(
            !model.asleep || model.mark != Mark::Nowhere,
            "nobody is to wake the reader"
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
        let wakes = pushed.outcome == Outcome::Queued && self.mark == Mark::Tail;
        self.told(pushed.wake, wakes);
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
                if self.mark == Mark::Tail {
                    self.mark = Mark::Slot(self.numbers);
                }
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
        let has_mark = self.mark == Mark::Slot(number);
        let (entry, reason, pushed) = match how % 3 {
            0 => {
                drop(slot);
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
        match pushed {
            Some(Pushed {
                outcome: Outcome::Queued,
                wake,
            }) => self.told(wake, has_mark),
            Some(Pushed { wake: true, .. }) => self.told(true, has_mark),
            // Given back whole, or dropped, which can tell nobody.
            _ if has_mark => self.mark = Mark::Tail,
            _ => {}
        }
    }

    /// A drain takes an announcement back that nobody has answered.
    fn drained(&mut self) {
        if self.announced && self.mark == Mark::Tail {
            self.mark = Mark::Nowhere;
        }
        (self.announced, self.asleep) = (false, false);
    }

    fn slept(&mut self, sleep: Sleep, empty: bool) {
        self.asleep = empty && !self.intake.is_closed();
        if empty {
            assert_eq!(sleep, Sleep::UntilWoken, "nothing is reserved");
            self.announced = true;
            if self.asleep {
                self.mark = Mark::Tail;
            }
        } else if self.is_readable() {
            assert_eq!(sleep, Sleep::No, "a record can be read");
        } else {
            // Before an open slot it naps, but for padding and slots that were given up, which a drain has to pass first.
            assert_ne!(sleep, Sleep::UntilWoken, "something is reserved");
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

    fn told(&mut self, wake: bool, expected: bool) {
        assert_eq!(wake, expected, "the one that has the mark wakes the reader");
        if wake {
            (self.mark, self.asleep) = (Mark::Nowhere, false);
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
