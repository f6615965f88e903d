//! What to record about an envelope: its categories and counts, and the record header that follows from them.

use super::error::{EnvelopeError, EnvelopeErrorKind};
use super::filter::ItemSet;
use super::header::{EnvelopeHeader, ItemHeader};
use super::quantities::Quantities;
use super::walk::Walk;
use crate::item::{Category, CategorySet, Count, DestinationId, Form, Header};

/// Counts of several items, per category.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    totals: [u32; Category::COUNT],
    categories: CategorySet,
    has_event: bool,
    has_crash: bool,
    /// Items counted.
    items: u16,
    /// The categories that every item counts in, if they all count in the same.
    shared: Option<(Category, Option<Category>)>,
}

impl Tally {
    /// Counts the items that `walk` comes to, but for those in `left_out`. What goes wrong is in the walk's outcome.
    #[inline(never)]
    pub(super) fn of(walk: &mut Walk<'_, '_>, left_out: &ItemSet) -> Self {
        let mut tally = Self {
            totals: [0; Category::COUNT],
            categories: CategorySet::EMPTY,
            has_event: false,
            has_crash: false,
            items: 0,
            shared: None,
        };
        let mut index = 0_usize;
        while walk.enter_item() {
            // An event that is left out is one all the same.
            tally.has_event |= walk.item().item_type.is_event();
            let is_left_out = left_out.contains(index);
            index = index.saturating_add(1);
            if !is_left_out && let Some(quantities) = walk.count() {
                tally.add(walk.item(), &quantities);
            }
        }
        tally.close();
        tally
    }

    fn add(&mut self, header: &ItemHeader, quantities: &Quantities) {
        let categories = Some(header.counted_in());
        if self.items == 0 {
            self.shared = categories;
        } else if self.shared != categories {
            self.shared = None;
        }
        self.items = self.items.saturating_add(1);
        self.has_crash |= header.is_crash();
        self.count(quantities.count);
        if let Some(also) = quantities.also {
            self.count(also);
        }
    }

    /// Adds the error that a crash dump stands for: one an envelope, and none when the envelope has the event itself.
    fn close(&mut self) {
        if self.has_crash {
            self.shared = None;
        }
        if self.has_crash && !self.has_event {
            self.count(Count {
                category: Category::Error,
                quantity: 1,
            });
        }
    }

    fn count(&mut self, count: Count) {
        self.categories = self.categories.with(count.category);
        if let Some(total) = self.totals.get_mut(count.category.index()) {
            *total = total.saturating_add(count.quantity);
        }
    }

    pub(super) fn total(&self, category: Category) -> u32 {
        self.totals.get(category.index()).copied().unwrap_or_default()
    }

    pub(super) const fn categories(&self) -> CategorySet {
        self.categories
    }
}

/// What an envelope holds.
#[derive(Clone, Debug)]
pub struct EnvelopeSummary {
    header: EnvelopeHeader,
    tally: Tally,
}

impl EnvelopeSummary {
    /// What the first line says.
    #[must_use]
    pub const fn header(&self) -> &EnvelopeHeader {
        &self.header
    }

    /// Number of items, at most [`MAX_ENVELOPE_ITEMS`](crate::limits::MAX_ENVELOPE_ITEMS).
    #[must_use]
    pub const fn items(&self) -> u16 {
        self.tally.items
    }

    /// The categories it holds or is limited by.
    #[must_use]
    pub const fn categories(&self) -> CategorySet {
        self.tally.categories()
    }

    /// How much of `category` it holds, saturating.
    #[must_use]
    pub fn total(&self, category: Category) -> u32 {
        self.tally.total(category)
    }

    /// The most important category: the one that decides the lane. A client report that rides along decides nothing.
    /// `None` for an envelope without items.
    #[must_use]
    pub fn leading_category(&self) -> Option<Category> {
        self.categories()
            .iter()
            .min_by_key(|category| (*category == Category::Internal, category.priority()))
    }

    /// The header to record the envelope with; `None` when it holds no item, so there is nothing to deliver.
    ///
    /// When all items count in the same categories, the header names them all. Otherwise it names the most important
    /// one only and [`Header::is_mixed`] holds: the counts are to be read with [`counts_of`](super::counts_of).
    #[must_use]
    pub fn record_header(&self, destination: DestinationId) -> Option<Header> {
        let (category, second) = match self.tally.shared {
            Some(shared) => shared,
            None => (self.leading_category()?, None),
        };
        let mut header = Header::new(destination, Form::Envelope, category, self.total(category))
            .in_trace(self.header.trace_key());
        if let Some(second) = second {
            header = header.also(second, self.total(second));
        }
        header.categories = header.categories.union(self.categories());
        Some(header)
    }
}

/// Reads `envelope` and counts what it holds.
///
/// Bound: each byte of the headers once; of the payloads only those of transactions, session aggregates, logs and
/// trace metrics, and those without a declared length.
///
/// # Errors
///
/// What is wrong with the envelope, and where.
pub fn describe(envelope: &[u8]) -> Result<EnvelopeSummary, EnvelopeError> {
    let mut piece = Some(envelope);
    let mut source = || piece.take();
    let mut walk = Walk::new(&mut source);
    let tally = Tally::of(&mut walk, &ItemSet::EMPTY);
    walk.outcome()?;
    Ok(EnvelopeSummary {
        header: *walk.header(),
        tally,
    })
}

/// What a single item holds.
#[derive(Clone, Copy, Debug)]
pub struct ItemSummary {
    header: ItemHeader,
    quantities: Quantities,
}

impl ItemSummary {
    /// What its header says.
    #[must_use]
    pub const fn header(&self) -> &ItemHeader {
        &self.header
    }

    /// What it counts for.
    #[must_use]
    pub const fn quantities(&self) -> &Quantities {
        &self.quantities
    }

    /// The header to record the item with.
    #[must_use]
    pub const fn record_header(&self, destination: DestinationId) -> Header {
        let count = self.quantities.count;
        let header = Header::new(destination, Form::Item, count.category, count.quantity);
        match self.quantities.also {
            Some(also) => header.also(also.category, also.quantity),
            None => header,
        }
    }
}

/// Reads a single `item`: its header line, a line feed and its payload, without the line feed behind it.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn describe_item(item: &[u8]) -> Result<ItemSummary, EnvelopeError> {
    let mut source = || None;
    let mut walk = Walk::new(&mut source);
    walk.expect_item(item);
    if walk.enter_item()
        && walk.item().line.start == 0
        && let Some(quantities) = walk.count()
        && walk.payload().start > walk.item().line.end
        && walk.payload().end == item.len() as u64
    {
        return Ok(ItemSummary {
            header: *walk.item(),
            quantities,
        });
    }
    walk.outcome()?;
    Err(EnvelopeError {
        kind: EnvelopeErrorKind::NotOneItem,
        offset: walk.offset(),
    })
}
