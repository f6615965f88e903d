//! Envelopes: read whole and in pieces, counted, filtered and read again.

use std::collections::BTreeMap;

use surgetank_core::item::{Category, CategorySet};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::envelope::{
    EnvelopeError, EnvelopeHeader, Event, ItemHeader, Reader, counts_of, describe, items, write_filtered,
};

use super::tape::Tape;

/// What a reader says of an envelope, payloads put together.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    header: Option<EnvelopeHeader>,
    items: Vec<(ItemHeader, Vec<u8>)>,
    ended: usize,
}

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let removed = CategorySet::from_bits(tape.long());
    let piece = usize::from(tape.byte()).max(1);
    let envelope = tape.rest();
    let whole = read(envelope, envelope.len().max(1));
    assert_eq!(whole, read(envelope, piece), "pieces of {piece} bytes");
    let summary = describe(envelope);
    assert_eq!(summary.as_ref().err(), whole.as_ref().err(), "described and read");
    let Ok(whole) = whole else {
        refused(envelope, piece, removed);
        return;
    };
    assert_eq!(whole.ended, whole.items.len());
    walked(envelope, &whole);
    filtered(envelope, piece, removed, &whole);
    unchanged(envelope, piece, &whole);
}

fn read(envelope: &[u8], piece: usize) -> Result<Seen, EnvelopeError> {
    let mut reader = Reader::new();
    let mut seen = Seen::default();
    for mut chunk in envelope.chunks(piece) {
        while let Some(event) = reader.next(&mut chunk)? {
            seen.take(event);
        }
        assert!(chunk.is_empty(), "a reader that wants more leaves nothing");
    }
    while let Some(event) = reader.finish()? {
        seen.take(event);
    }
    Ok(seen)
}

impl Seen {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Header(header) => assert!(self.header.replace(header).is_none(), "one header"),
            Event::Item(header) => self.items.push((header, Vec::new())),
            Event::Payload(bytes) => {
                assert!(!bytes.is_empty());
                self.items
                    .last_mut()
                    .expect("a payload belongs to an item")
                    .1
                    .extend_from_slice(bytes);
            }
            Event::ItemEnd { payload } => {
                self.ended += 1;
                let (_, bytes) = self.items.last().expect("an end belongs to an item");
                assert_eq!(payload.len(), bytes.len() as u64);
            }
        }
    }
}

/// An envelope that cannot be read is neither counted nor passed on as if it could.
fn refused(envelope: &[u8], piece: usize, removed: CategorySet) {
    assert!(
        counts_of(envelope.chunks(piece), removed, |count| panic!(
            "counted {count:?}"
        ))
        .is_err()
    );
    let mut out = Vec::new();
    assert!(write_filtered(envelope.chunks(piece), removed, UnixTime::default(), &mut out).is_err());
}

fn walked(envelope: &[u8], whole: &Seen) {
    let (header, items) = items(envelope).expect("read before");
    assert_eq!(Some(header), whole.header);
    let walked: Vec<_> = items.map(|item| item.expect("read before")).collect();
    assert_eq!(walked.len(), whole.items.len());
    for (item, (header, payload)) in walked.iter().zip(&whole.items) {
        assert_eq!((&item.header, item.payload), (header, payload.as_slice()));
    }
}

/// What is left after filtering counts as what `counts_of` says is left.
fn filtered(envelope: &[u8], piece: usize, removed: CategorySet, whole: &Seen) {
    let mut out = Vec::new();
    let written = write_filtered(envelope.chunks(piece), removed, UnixTime::from_secs(1), &mut out)
        .expect("read before");
    assert_eq!(
        usize::from(written.items) + usize::from(written.left_out),
        whole.items.len()
    );
    let left = read(&out, out.len()).expect("what is written can be read");
    assert_eq!(left.items.len(), usize::from(written.items));
    assert_eq!(sums(envelope, removed), sums(&out, CategorySet::from_bits(0)));
}

/// With nothing removed every payload is the same, byte for byte.
fn unchanged(envelope: &[u8], piece: usize, whole: &Seen) {
    let mut out = Vec::new();
    let none = CategorySet::from_bits(0);
    write_filtered(envelope.chunks(piece), none, UnixTime::from_secs(1), &mut out).expect("read before");
    let again = read(&out, out.len()).expect("what is written can be read");
    let payloads = |seen: &Seen| {
        seen.items
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(payloads(&again), payloads(whole));
}

fn sums(envelope: &[u8], removed: CategorySet) -> BTreeMap<Category, u32> {
    let mut sums = BTreeMap::new();
    counts_of(std::iter::once(envelope), removed, |count| {
        assert!(
            sums.insert(count.category, count.quantity).is_none(),
            "one call for a category"
        );
    })
    .expect("read before");
    sums
}
