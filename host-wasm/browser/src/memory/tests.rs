//! The allocator in the memory of a browser: all of these tests live on it.

use alloc::alloc::{alloc, alloc_zeroed, dealloc};
use alloc::vec::Vec;

use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

#[test]
fn blocks_are_aligned_and_never_overlap() {
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for (size, align) in [
        (1, 1),
        (7, 8),
        (0, 1),
        (70_000, 16),
        (3, 4096),
        (200_000, 1),
        (5, 64),
    ] {
        // SAFETY: what is allocated is only looked at.
        let start = unsafe { alloc(layout(size.max(1), align)) } as usize;
        assert!(
            start > 0 && start.is_multiple_of(align),
            "{size} bytes at {start}"
        );
        assert!(
            start + size <= memory_size(0) * PAGE_BYTES,
            "{size} bytes lie in memory"
        );
        for (from, to) in &taken {
            assert!(
                start >= *to || start + size <= *from,
                "{size} bytes at {start} overlap {from}..{to}"
            );
        }
        taken.push((start, start + size));
    }
}

#[test]
fn memory_is_zero_and_none_is_given_twice() {
    let size = 3 * PAGE_BYTES;
    // SAFETY: the block is `size` bytes long, and is given back as it was taken.
    let first = unsafe {
        let block = alloc_zeroed(layout(size, 8));
        assert!(!block.is_null() && (0..size).all(|at| *block.add(at) == 0));
        block.write_bytes(0xff, size);
        dealloc(block, layout(size, 8));
        block as usize
    };
    // SAFETY: as above.
    unsafe {
        let block = alloc_zeroed(layout(size, 8));
        assert!(
            block as usize >= first + size,
            "what was given back is not used again"
        );
        assert!((0..size).all(|at| *block.add(at) == 0));
    }
}

#[test]
fn what_is_larger_than_any_queue_is_refused_and_the_rest_goes_on() {
    let before = memory_size(0);
    // SAFETY: the answer is looked at, nothing more.
    let block = unsafe { alloc(layout((MAX_PAGES + 1) * PAGE_BYTES, 1)) };
    assert!(block.is_null());
    assert_eq!(memory_size(0), before);
    assert_eq!(Vec::from([1, 2, 3]).len(), 3);
}
