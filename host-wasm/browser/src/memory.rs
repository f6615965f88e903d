//! The module's allocator: memory is taken when the engine starts and when a destination is opened, and never again.
//!
//! So it only moves a mark through memory that it asks the browser for, and gives nothing back. A general allocator would
//! be a tenth of the module. What grows without bound would find no end of memory here but be refused: null.
//!
//! An engine that is started anew takes new memory; that happens once in a page's life, in a page that closes its client
//! and makes another.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;

const PAGE_BYTES: usize = 64 * 1024;

/// Most memory that the module asks for, in pages: four times the largest queue.
const MAX_PAGES: usize = 4096;

struct Bump {
    /// Address of the first free byte; 0 before the first call.
    free: Cell<usize>,
}

// SAFETY: the module has one thread (wasm32 without the feature `atomics`).
unsafe impl Sync for Bump {}

#[global_allocator]
static BUMP: Bump = Bump { free: Cell::new(0) };

// SAFETY: every block lies between the mark before and the mark after the call, in memory that the browser has given
// to this module behind all that the linker placed there; the mark only rises, so blocks never overlap.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let end = memory_size(0) * PAGE_BYTES;
        // What the linker placed ends at the end of the first memory.
        let from = if self.free.get() == 0 {
            end
        } else {
            self.free.get()
        };
        let start = (from + layout.align() - 1) & !(layout.align() - 1);
        let Some(behind) = start.checked_add(layout.size()) else {
            return core::ptr::null_mut();
        };
        if behind > end {
            let pages = (behind - end).div_ceil(PAGE_BYTES);
            if pages > MAX_PAGES || memory_grow(0, pages) == usize::MAX {
                return core::ptr::null_mut();
            }
        }
        self.free.set(behind);
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above. Memory that the browser gives is zero, and none is ever given twice.
        unsafe { self.alloc(layout) }
    }
}

// Tests have the standard library's.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(test)]
mod tests;
