//! Lists of records: lanes, and the records of requests. Every operation takes constant time, for the links are in the
//! records' own blocks.

use super::{BLOCKS, Block, HEADER, LENGTH, NEXT, NIL, PREV, RecordRef};

/// A list of records: a lane, or the records of one request.
#[derive(Clone, Copy, Debug)]
pub struct List {
    pub(super) head: u32,
    tail: u32,
    records: u32,
    bytes: u32,
    blocks: u32,
}

impl List {
    /// No records.
    pub const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        records: 0,
        bytes: 0,
        blocks: 0,
    };

    /// Records in it.
    pub(crate) const fn records(&self) -> u32 {
        self.records
    }

    /// Payload bytes in it (saturating).
    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Blocks its records take.
    pub(crate) const fn blocks(&self) -> u32 {
        self.blocks
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.head == NIL
    }

    pub(crate) const fn head(&self) -> Option<RecordRef> {
        if self.head == NIL {
            None
        } else {
            Some(RecordRef(self.head))
        }
    }
}

/// Adds a record at the start. Constant time.
pub(crate) fn push_front(blocks: &mut [Block], list: &mut List, record: RecordRef) {
    let mut front = List::EMPTY;
    push_back(blocks, &mut front, record);
    prepend(blocks, list, front);
}

/// Adds a record at the end. Constant time.
#[inline]
pub(crate) fn push_back(blocks: &mut [Block], list: &mut List, record: RecordRef) {
    let (length, needed) = match blocks.get_mut(record.0 as usize) {
        Some(block) => {
            block.set_word::<PREV>(list.tail);
            block.set_word::<NEXT>(NIL);
            (block.word::<LENGTH>(), block.word::<BLOCKS>())
        }
        None => return,
    };
    match blocks.get_mut(list.tail as usize) {
        Some(tail) => tail.set_word::<NEXT>(record.0),
        None => list.head = record.0,
    }
    list.tail = record.0;
    list.records = list.records.wrapping_add(1);
    list.bytes = list.bytes.saturating_add(length);
    list.blocks = list.blocks.wrapping_add(needed);
}

/// Takes a record out of the list it is in. Constant time.
#[inline]
pub(crate) fn remove(blocks: &mut [Block], list: &mut List, record: RecordRef) {
    let Some(block) = blocks.get(record.0 as usize) else {
        return;
    };
    let (prev, next) = (block.word::<PREV>(), block.word::<NEXT>());
    let (length, needed) = (block.word::<LENGTH>(), block.word::<BLOCKS>());
    match blocks.get_mut(prev as usize) {
        Some(block) => block.set_word::<NEXT>(next),
        None => list.head = next,
    }
    match blocks.get_mut(next as usize) {
        Some(block) => block.set_word::<PREV>(prev),
        None => list.tail = prev,
    }
    list.records = list.records.wrapping_sub(1);
    list.bytes = list.bytes.saturating_sub(length);
    list.blocks = list.blocks.wrapping_sub(needed);
}

/// Puts all of `front` before what is in `list`, keeping both orders. Constant time.
pub(crate) fn prepend(blocks: &mut [Block], list: &mut List, front: List) {
    if front.is_empty() {
        return;
    }
    if list.is_empty() {
        *list = front;
        return;
    }
    if let Some(block) = blocks.get_mut(front.tail as usize) {
        block.set_word::<NEXT>(list.head);
    }
    if let Some(block) = blocks.get_mut(list.head as usize) {
        block.set_word::<PREV>(front.tail);
    }
    list.head = front.head;
    list.records = list.records.wrapping_add(front.records);
    list.bytes = list.bytes.saturating_add(front.bytes);
    list.blocks = list.blocks.wrapping_add(front.blocks);
}

/// Takes the records from the first one to `last` out of `list`, as a list of their own. `run` holds their sums.
/// Constant time.
pub(crate) fn split_front(blocks: &mut [Block], list: &mut List, last: RecordRef, run: Run) -> List {
    let rest = match blocks.get_mut(last.0 as usize) {
        Some(block) => {
            let rest = block.word::<NEXT>();
            block.set_word::<NEXT>(NIL);
            rest
        }
        None => return List::EMPTY,
    };
    let front = List {
        head: list.head,
        tail: last.0,
        records: run.records,
        bytes: run.bytes,
        blocks: run.blocks,
    };
    match blocks.get_mut(rest as usize) {
        Some(block) => block.set_word::<PREV>(NIL),
        None => list.tail = NIL,
    }
    list.head = rest;
    list.records = list.records.wrapping_sub(run.records);
    list.bytes = list.bytes.saturating_sub(run.bytes);
    list.blocks = list.blocks.wrapping_sub(run.blocks);
    front
}

/// Sums of records that follow each other in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) records: u32,
    pub(crate) bytes: u32,
    pub(super) blocks: u32,
}

impl Run {
    /// This and one more record.
    #[inline]
    pub(crate) const fn with(self, record: &Ahead) -> Self {
        Self {
            records: self.records.wrapping_add(1),
            bytes: self.bytes.saturating_add(record.length),
            blocks: self.blocks.wrapping_add(record.blocks),
        }
    }
}

/// What a walk through a list needs of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    pub(crate) record: RecordRef,
    /// See [`kind`](super::kind).
    pub(crate) kind: u64,
    length: u32,
    blocks: u32,
    next: u32,
}

impl Ahead {
    #[inline]
    pub(crate) fn of(blocks: &[Block], record: RecordRef) -> Option<Self> {
        let block = blocks.get(record.0 as usize)?;
        Some(Self {
            record,
            kind: block.long::<HEADER>(),
            length: block.word::<LENGTH>(),
            blocks: block.word::<BLOCKS>(),
            next: block.word::<NEXT>(),
        })
    }

    /// The record behind it in its list.
    #[inline]
    pub(crate) fn next(&self, blocks: &[Block]) -> Option<Self> {
        // The end of a list is no block's index.
        Self::of(blocks, RecordRef(self.next))
    }
}

/// Adds all of `back` behind what is in `list`. Constant time.
pub(crate) fn append(blocks: &mut [Block], list: &mut List, back: List) {
    let front = core::mem::replace(list, back);
    prepend(blocks, list, front);
}

/// The record after `record` in its list.
pub(crate) fn next(blocks: &[Block], record: RecordRef) -> Option<RecordRef> {
    match blocks.get(record.0 as usize)?.word::<NEXT>() {
        NIL => None,
        next => Some(RecordRef(next)),
    }
}
