//! The reader driven over pieces, and over an envelope in one piece.

use super::error::EnvelopeError;
use super::header::{EnvelopeHeader, ItemHeader};
use super::reader::{Event, Reader};
use core::iter::{Fuse, Once, once};

/// The events of an envelope that lies in `chunks`.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Walk<'a, I> {
    reader: Reader,
    chunks: Fuse<I>,
    input: &'a [u8],
}

impl<'a, I: Iterator<Item = &'a [u8]>> Walk<'a, I> {
    pub(in crate::wire) fn new(reader: Reader, chunks: I) -> Self {
        Self {
            reader,
            chunks: chunks.fuse(),
            input: &[],
        }
    }

    /// The same with `input` in front of the chunks.
    pub(super) fn with_input(self, input: &'a [u8]) -> Self {
        Self { input, ..self }
    }

    /// The next event; `raw` is called with every piece that was taken on the way to it, in order.
    pub(super) fn next<E: From<EnvelopeError>>(
        &mut self,
        mut raw: impl FnMut(&'a [u8]) -> Result<(), E>,
    ) -> Result<Option<Event<'a>>, E> {
        loop {
            let before = self.input;
            let event = self.reader.next(&mut self.input)?;
            let taken = before.len().saturating_sub(self.input.len());
            if taken > 0 {
                raw(before.get(..taken).unwrap_or_default())?;
            }
            if event.is_some() {
                return Ok(event);
            }
            match self.chunks.next() {
                Some(chunk) => self.input = chunk,
                None => return Ok(self.reader.finish()?),
            }
        }
    }

    /// The next event.
    pub(in crate::wire) fn event(&mut self) -> Result<Option<Event<'a>>, EnvelopeError> {
        self.next(|_| Ok(()))
    }

    /// Bytes taken so far.
    pub(super) const fn offset(&self) -> u64 {
        self.reader.offset()
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
    walk: Walk<'a, Once<&'a [u8]>>,
    ended: bool,
}

/// The header of `envelope` and its items, read as the iterator is advanced.
///
/// # Errors
///
/// What is wrong with the envelope header.
pub fn items(envelope: &[u8]) -> Result<(EnvelopeHeader, Items<'_>), EnvelopeError> {
    let mut walk = Walk::new(Reader::new(), once(envelope));
    let mut header = EnvelopeHeader::default();
    if let Some(Event::Header(read)) = walk.event()? {
        header = read;
    }
    let items = Items {
        envelope,
        walk,
        ended: false,
    };
    Ok((header, items))
}

impl<'a> Items<'a> {
    fn item(&mut self) -> Result<Option<Item<'a>>, EnvelopeError> {
        let mut header = None;
        while let Some(event) = self.walk.event()? {
            match (event, header) {
                (Event::Item(read), _) => header = Some(read),
                (Event::ItemEnd { payload }, Some(header)) => {
                    let payload = payload.of(self.envelope).unwrap_or_default();
                    return Ok(Some(Item { header, payload }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, EnvelopeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.item().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}
