//! Sentry envelopes: read, counted, filtered and written (develop docs, "Envelopes" and "Envelope Items").
//!
//! Everything works on pieces: an envelope may lie in many blocks of memory, or arrive a byte at a time. Memory is a
//! few hundred bytes, whatever an envelope holds.
//!
//! | to | use |
//! |---|---|
//! | read one as it arrives | [`Reader`] |
//! | walk over one that lies in one piece | [`items`] |
//! | know what to record about one | [`describe`], [`describe_item`] |
//! | count what leaves a mixed one | [`counts_of`] |
//! | send a ready-made one, less what is limited | [`write_filtered`] |
//! | make one from single items or elements | [`write_header`], [`write_items`], [`write_container`] |

mod compose;
mod error;
mod filter;
mod header;
mod item_type;
mod quantities;
mod reader;
mod summary;
mod walk;

pub use compose::{
    ContainerKind, EnvelopeFields, Trace, element_trace_id, write_container, write_header, write_items,
};
pub use error::{EnvelopeError, EnvelopeErrorKind};
pub use filter::{Filtered, counts_of, write_filtered};
pub use header::{AttachmentForm, EnvelopeHeader, Extent, ItemHeader, ProfileSide};
pub use item_type::ItemType;
pub use quantities::{ItemScan, Quantities};
pub use reader::{Event, Reader};
pub use summary::{EnvelopeSummary, ItemSummary, describe, describe_item};
pub use walk::{Item, Items, items};
pub(super) use walk::{Source, Walk};

#[cfg(test)]
mod tests;
