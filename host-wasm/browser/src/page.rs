//! The page's one engine, where every call finds it.

use core::cell::Cell;

use alloc::boxed::Box;
use surgetank_core::engine::FlushId;

use crate::host::Host;

/// Flushes that JavaScript can wait for at a time.
pub(crate) const FLUSHES: usize = 4;

/// The engine, and what only its bindings need.
pub(crate) struct Page {
    pub(crate) host: Host,
    pub(crate) flushes: [Option<FlushId>; FLUSHES],
}

type Slot = Cell<Option<Box<Page>>>;

#[cfg(target_arch = "wasm32")]
fn slot<T>(work: impl FnOnce(&Slot) -> T) -> T {
    struct Only(Slot);
    // SAFETY: the module has one thread (wasm32 without the feature `atomics`).
    unsafe impl Sync for Only {}
    static PAGE: Only = Only(Cell::new(None));
    work(&PAGE.0)
}

#[cfg(not(target_arch = "wasm32"))]
fn slot<T>(work: impl FnOnce(&Slot) -> T) -> T {
    std::thread_local! {
        static PAGE: Slot = const { Cell::new(None) };
    }
    PAGE.with(work)
}

/// Puts an engine in place of the one before.
pub(crate) fn set(page: Option<Box<Page>>) {
    slot(|slot| slot.set(page));
}

/// Runs `work` on the engine; `missing` when there is none, or when it is at work already.
pub(crate) fn with<T>(missing: T, work: impl FnOnce(&mut Page) -> T) -> T {
    slot(|slot| {
        let Some(mut page) = slot.take() else {
            return missing;
        };
        let done = work(&mut page);
        slot.set(Some(page));
        done
    })
}
