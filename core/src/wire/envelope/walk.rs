//! The reader driven over pieces, and over an envelope in one piece.

use super::error::EnvelopeError;
use super::header::{EnvelopeHeader, Extent, ItemHeader};
use super::quantities::{ItemScan, Quantities};
use super::reader::{Reader, Step};

/// Where a walk gets the pieces of an envelope, in order: a reference to a function, so that there is one copy of what
/// walks, not one for each kind of pieces.
pub(in crate::wire) type Source<'a, 's> = &'s mut dyn FnMut() -> Option<&'a [u8]>;

/// The steps of an envelope that lies in pieces.
pub(in crate::wire) struct Walk<'a, 's> {
    reader: Reader,
    source: Source<'a, 's>,
    is_used_up: bool,
    input: &'a [u8],
    /// The input as it was behind the last item, or at the piece's start.
    mark: &'a [u8],
    taken: &'a [u8],
}

impl<'a, 's> Walk<'a, 's> {
    #[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
    pub(in crate::wire) fn new(source: Source<'a, 's>) -> Self {
        Self {
            reader: Reader::new(),
            source,
            is_used_up: false,
            input: &[],
            mark: &[],
            taken: &[],
        }
    }

    /// What comes is an item: `input`, and what the pieces hold.
    pub(super) const fn expect_item(&mut self, input: &'a [u8]) {
        self.reader.expect_item();
        self.input = input;
        self.mark = input;
    }

    /// The next step. [`Step::More`] means nothing but that it has come to the end of a piece.
    pub(super) fn step(&mut self) -> Step<'a> {
        let step = self.reader.step(&mut self.input);
        if matches!(step, Step::Item | Step::Payload(_)) {
            self.taken = &[];
            return step;
        }
        let taken = self.mark.len().saturating_sub(self.input.len());
        self.taken = self.mark.get(..taken).unwrap_or_default();
        self.mark = self.input;
        if !matches!(step, Step::More) {
            return step;
        }
        if !self.is_used_up
            && let Some(piece) = (self.source)()
        {
            self.input = piece;
            self.mark = piece;
            return step;
        }
        self.is_used_up = true;
        self.reader.end_step()
    }

    /// The bytes taken since the last item ended or the piece began, when a step ends an item or comes to the piece's end;
    /// behind other steps none, for they follow with those.
    pub(super) const fn taken(&self) -> &'a [u8] {
        self.taken
    }

    /// Bytes taken so far.
    pub(super) const fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// Goes to the end of the envelope's header.
    pub(super) fn enter_envelope(&mut self) -> &EnvelopeHeader {
        while !matches!(self.step(), Step::Header | Step::End | Step::Wrong) {}
        self.reader.header()
    }

    /// Goes to the end of the next item's header, past what is before. False when there is none, or none that is right.
    pub(in crate::wire) fn enter_item(&mut self) -> bool {
        loop {
            match self.step() {
                Step::Item => return true,
                Step::End | Step::Wrong => return false,
                _ => {}
            }
        }
    }

    /// Goes to the end of the item that was entered. False when it is wrong.
    pub(in crate::wire) fn read_payload(&mut self, read: &mut dyn FnMut(&'a [u8])) -> bool {
        loop {
            match self.step() {
                Step::ItemEnd => return true,
                Step::Payload(piece) => read(piece),
                Step::End | Step::Wrong => return false,
                _ => {}
            }
        }
    }

    /// Goes to the end of the item that was entered, and says what it counts for.
    pub(super) fn count(&mut self) -> Option<Quantities> {
        let mut scan = ItemScan::new(self.reader.item());
        self.read_payload(&mut |piece| scan.feed(piece))
            .then(|| scan.finish(self.payload().len()))
    }

    /// What the first line said.
    pub(super) const fn header(&self) -> &EnvelopeHeader {
        self.reader.header()
    }

    /// What the header of the last item said.
    pub(in crate::wire) const fn item(&self) -> &ItemHeader {
        self.reader.item()
    }

    /// Where the last payload was.
    pub(super) const fn payload(&self) -> Extent {
        self.reader.payload()
    }

    /// What went wrong, if something did.
    pub(super) fn outcome(&self) -> Result<(), EnvelopeError> {
        self.reader.outcome()
    }
}

/// An item of an envelope that lies in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What its header says.
    pub header: ItemHeader,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Iterator over the items of an envelope. Ends behind the first error.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    envelope: &'a [u8],
    reader: Reader,
    input: &'a [u8],
    ended: bool,
}

/// The header of `envelope` and its items, read as the iterator is advanced.
///
/// # Errors
///
/// What is wrong with the envelope header.
pub fn items(envelope: &[u8]) -> Result<(EnvelopeHeader, Items<'_>), EnvelopeError> {
    let mut items = Items {
        envelope,
        reader: Reader::new(),
        input: envelope,
        ended: false,
    };
    items.step();
    items.reader.outcome()?;
    Ok((*items.reader.header(), items))
}

impl<'a> Items<'a> {
    fn step(&mut self) -> Step<'a> {
        match self.reader.step(&mut self.input) {
            Step::More => self.reader.end_step(),
            step => step,
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, EnvelopeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.step() {
                Step::ItemEnd => {
                    return Some(Ok(Item {
                        header: *self.reader.item(),
                        payload: self.reader.payload().of(self.envelope).unwrap_or_default(),
                    }));
                }
                Step::End | Step::Wrong => {
                    self.ended = true;
                    return self.reader.outcome().err().map(Err);
                }
                _ => {}
            }
        }
        None
    }
}
