//! Memory for an engine: supplied once by the host, never grown.
//!
//! Sizes are values or const parameters of the storage type and appear nowhere else: all logic works on slices, so a
//! program pays for it once whatever sizes it uses.

use crate::destination::Destination;
use crate::ledger::Loss;
use crate::queue::Block;
use crate::request::RequestSlot;

mod sealed {
    #[allow(unnameable_types, reason = "that nobody else can name it is what seals it")]
    pub trait Sealed {}
}

/// Memory an engine can run in. Sealed: [`FixedStorage`] (borrowed or owned), [`SliceStorage`] and, with feature
/// `alloc`, `HeapStorage`.
pub trait Storage: sealed::Sealed {
    /// The tables.
    #[doc(hidden)]
    fn parts(&mut self) -> Parts<'_>;
    /// The tables, to read.
    #[doc(hidden)]
    fn view(&self) -> View<'_>;
}

/// The tables of an engine.
#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub struct Parts<'a> {
    pub blocks: &'a mut [Block],
    pub destinations: &'a mut [Destination],
    pub requests: &'a mut [RequestSlot],
    pub losses: &'a mut [Loss],
}

/// The tables of an engine, to read.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)]
pub struct View<'a> {
    pub blocks: &'a [Block],
    pub destinations: &'a [Destination],
    pub requests: &'a [RequestSlot],
    pub losses: &'a [Loss],
}

/// Storage of sizes known when compiling, for statics and stacks.
///
/// `BLOCKS` of [`BLOCK_BYTES`](crate::limits::BLOCK_BYTES) bytes hold the records (about 1/64 of them an index);
/// `DESTINATIONS` at most [`MAX_DESTINATIONS`](crate::limits::MAX_DESTINATIONS); `REQUESTS` in flight over all
/// destinations; `LOSSES` pairs of category and reason that wait to be reported.
#[derive(Clone, Debug)]
pub struct FixedStorage<
    const BLOCKS: usize,
    const DESTINATIONS: usize,
    const REQUESTS: usize,
    const LOSSES: usize,
> {
    blocks: [Block; BLOCKS],
    destinations: [Destination; DESTINATIONS],
    requests: [RequestSlot; REQUESTS],
    losses: [Loss; LOSSES],
}

impl<const B: usize, const D: usize, const R: usize, const L: usize> FixedStorage<B, D, R, L> {
    /// Empty storage, usable as the value of a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            blocks: [const { Block::EMPTY }; B],
            destinations: [const { Destination::EMPTY }; D],
            requests: [const { RequestSlot::EMPTY }; R],
            losses: [Loss::EMPTY; L],
        }
    }
}

impl<const B: usize, const D: usize, const R: usize, const L: usize> Default for FixedStorage<B, D, R, L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const B: usize, const D: usize, const R: usize, const L: usize> sealed::Sealed
    for FixedStorage<B, D, R, L>
{
}

impl<const B: usize, const D: usize, const R: usize, const L: usize> Storage for FixedStorage<B, D, R, L> {
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            blocks: &mut self.blocks,
            destinations: &mut self.destinations,
            requests: &mut self.requests,
            losses: &mut self.losses,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            blocks: &self.blocks,
            destinations: &self.destinations,
            requests: &self.requests,
            losses: &self.losses,
        }
    }
}

/// Storage of sizes known at run time, in memory that somebody else reserved: a linker script, the growth of a module's
/// memory.
#[derive(Debug)]
pub struct SliceStorage<'m> {
    blocks: &'m mut [Block],
    destinations: &'m mut [Destination],
    requests: &'m mut [RequestSlot],
    losses: &'m mut [Loss],
}

impl<'m> SliceStorage<'m> {
    /// Storage of these tables, whose content is of no importance; see [`FixedStorage`] for their sizes.
    #[must_use]
    pub const fn new(
        blocks: &'m mut [Block],
        destinations: &'m mut [Destination],
        requests: &'m mut [RequestSlot],
        losses: &'m mut [Loss],
    ) -> Self {
        Self {
            blocks,
            destinations,
            requests,
            losses,
        }
    }
}

impl sealed::Sealed for SliceStorage<'_> {}

impl Storage for SliceStorage<'_> {
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            blocks: self.blocks,
            destinations: self.destinations,
            requests: self.requests,
            losses: self.losses,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            blocks: self.blocks,
            destinations: self.destinations,
            requests: self.requests,
            losses: self.losses,
        }
    }
}

impl<S: Storage> sealed::Sealed for &mut S {}

impl<S: Storage> Storage for &mut S {
    fn parts(&mut self) -> Parts<'_> {
        (**self).parts()
    }

    fn view(&self) -> View<'_> {
        (**self).view()
    }
}

#[cfg(feature = "alloc")]
mod heap {
    use super::{Block, Destination, Loss, Parts, RequestSlot, Storage, View, sealed};
    use crate::limits::{BLOCK_BYTES, MAX_DESTINATIONS};
    use alloc::boxed::Box;
    use alloc::vec;

    /// Storage of sizes known at run time, allocated once.
    #[derive(Clone, Debug)]
    pub struct HeapStorage {
        blocks: Box<[Block]>,
        destinations: Box<[Destination]>,
        requests: Box<[RequestSlot]>,
        losses: Box<[Loss]>,
    }

    impl HeapStorage {
        /// `queue_bytes` of record memory (rounded down to whole blocks), `destinations` servers (1 to
        /// [`MAX_DESTINATIONS`]; others are moved into that range), `requests` in flight over all of them. Room for
        /// losses to report follows from the number of destinations. Record memory that was never used stays untouched, so
        /// that a system which maps pages when they are first used does not count it. Where there is not so much, there is
        /// none, and the engine refuses the storage.
        #[must_use]
        pub fn new(queue_bytes: usize, destinations: usize, requests: usize) -> Self {
            let destinations = destinations.clamp(1, MAX_DESTINATIONS);
            let losses = destinations.saturating_mul(16).max(64);
            Self {
                blocks: bytemuck::allocation::try_zeroed_slice_box(queue_bytes / BLOCK_BYTES)
                    .unwrap_or_default(),
                destinations: vec![Destination::EMPTY; destinations].into_boxed_slice(),
                requests: vec![RequestSlot::EMPTY; requests.max(1)].into_boxed_slice(),
                losses: vec![Loss::EMPTY; losses].into_boxed_slice(),
            }
        }
    }

    impl sealed::Sealed for HeapStorage {}

    impl Storage for HeapStorage {
        fn parts(&mut self) -> Parts<'_> {
            Parts {
                blocks: &mut self.blocks,
                destinations: &mut self.destinations,
                requests: &mut self.requests,
                losses: &mut self.losses,
            }
        }

        fn view(&self) -> View<'_> {
            View {
                blocks: &self.blocks,
                destinations: &self.destinations,
                requests: &self.requests,
                losses: &self.losses,
            }
        }
    }
}

#[cfg(feature = "alloc")]
pub use heap::HeapStorage;
