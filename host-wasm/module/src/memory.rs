//! Memory of an instance: reserved once when it is initialized, then divided into the engine's tables and two windows.
//!
//! All `unsafe` of this crate but the one static is here: making typed slices of fresh bytes, and looking at windows that
//! the host writes and reads between calls.

use core::ptr;

use surgetank_core::destination::Destination;
use surgetank_core::ledger::Loss;
use surgetank_core::queue::Block;
use surgetank_core::request::RequestSlot;
use surgetank_core::storage::SliceStorage;

use crate::codes::WINDOW_EXTRA;
use crate::settings::Sizes;

/// Bytes that the host and the instance exchange. The host touches them only between two calls.
#[derive(Debug)]
pub(crate) struct Window {
    start: *mut u8,
    size: usize,
}

impl Window {
    /// No bytes.
    pub(crate) const NONE: Self = Self {
        start: ptr::null_mut(),
        size: 0,
    };

    /// A window over all of `bytes`, for as long as the program lasts.
    pub(crate) const fn over(bytes: &'static mut [u8]) -> Self {
        Self {
            start: bytes.as_mut_ptr(),
            size: bytes.len(),
        }
    }

    /// Where the host finds it.
    pub(crate) const fn start(&self) -> *mut u8 {
        self.start
    }

    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// The first `length` bytes; `None` when it is shorter.
    pub(crate) fn first(&self, length: usize) -> Option<&[u8]> {
        if length > self.size || self.start.is_null() {
            return None;
        }
        // SAFETY: `start` points to `size` initialized bytes that live as long as the program (`over`) and belong to this
        // window alone; the host writes only between calls, and the borrow ends with the call.
        Some(unsafe { core::slice::from_raw_parts(self.start, length) })
    }

    /// All of it, to write to.
    pub(crate) fn all(&mut self) -> &mut [u8] {
        if self.start.is_null() {
            return &mut [];
        }
        // SAFETY: as above; `&mut self` is the only way to it.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.size) }
    }
}

/// What an instance lives in.
pub(crate) struct Memory {
    pub(crate) storage: SliceStorage<'static>,
    pub(crate) input: Window,
    pub(crate) output: Window,
}

impl Memory {
    /// Reserves memory of these sizes; `None` when it cannot be had.
    pub(crate) fn reserve(sizes: &Sizes) -> Option<Self> {
        let window = sizes.payload.checked_add(WINDOW_EXTRA)? as usize;
        let counts = [
            (size_of::<Block>(), sizes.queue as usize / size_of::<Block>()),
            (size_of::<Destination>(), sizes.destinations as usize),
            (size_of::<RequestSlot>(), sizes.requests as usize),
            (size_of::<Loss>(), sizes.losses as usize),
            (1, window),
            (1, window),
        ];
        let mut bytes = 0usize;
        for (size, count) in counts {
            // Room for each part to be moved up to its alignment.
            bytes = bytes.checked_add(size.checked_mul(count)?)?.checked_add(ALIGN)?;
        }
        let mut arena = Arena {
            next: fresh(bytes)?,
            left: bytes,
        };
        let [(_, blocks), (_, destinations), (_, requests), (_, losses), ..] = counts;
        Some(Self {
            storage: SliceStorage::new(
                arena.slice(blocks, || Block::EMPTY)?,
                arena.slice(destinations, || Destination::EMPTY)?,
                arena.slice(requests, || RequestSlot::EMPTY)?,
                arena.slice(losses, || Loss::EMPTY)?,
            ),
            input: Window::over(arena.slice(window, || 0)?),
            output: Window::over(arena.slice(window, || 0)?),
        })
    }
}

/// No type here needs a larger alignment.
const ALIGN: usize = 16;
const _: () = assert!(align_of::<Destination>() <= ALIGN && align_of::<Block>() <= ALIGN);

/// Fresh bytes that are handed out from the front.
struct Arena {
    next: *mut u8,
    left: usize,
}

impl Arena {
    /// The next `count` values, each made by `make`.
    fn slice<T: 'static>(&mut self, count: usize, make: impl Fn() -> T) -> Option<&'static mut [T]> {
        let gap = self.next.align_offset(align_of::<T>());
        let bytes = size_of::<T>().checked_mul(count)?;
        let taken = gap.checked_add(bytes)?;
        self.left = self.left.checked_sub(taken)?;
        // SAFETY: `next` points into (or just behind) one reservation of which at least `taken` bytes were left.
        let start = unsafe { self.next.add(gap) }.cast::<T>();
        // SAFETY: as above.
        self.next = unsafe { self.next.add(taken) };
        for at in 0..count {
            // SAFETY: `start` is aligned for `T` and has room for `count` of them, which belong to nobody else: the bytes
            // are fresh and `next` is behind them.
            unsafe { start.add(at).write(make()) };
        }
        // SAFETY: `count` values were just written there; the memory is never given back.
        Some(unsafe { core::slice::from_raw_parts_mut(start, count) })
    }
}

/// `bytes` bytes that nothing else uses, for as long as the program lasts. Whole pages are added to the module's memory.
#[cfg(target_arch = "wasm32")]
fn fresh(bytes: usize) -> Option<*mut u8> {
    const PAGE: usize = 65_536;
    let pages = bytes.checked_add(PAGE - 1)? / PAGE;
    let before = core::arch::wasm32::memory_grow::<0>(pages);
    (before != usize::MAX).then(|| core::ptr::with_exposed_provenance_mut(before.wrapping_mul(PAGE)))
}

#[cfg(not(any(target_arch = "wasm32", target_os = "none")))]
fn fresh(bytes: usize) -> Option<*mut u8> {
    let mut memory = std::vec::Vec::new();
    memory.try_reserve_exact(bytes).ok()?;
    memory.resize(bytes, 0);
    Some(memory.leak().as_mut_ptr())
}

#[cfg(target_os = "none")]
fn fresh(bytes: usize) -> Option<*mut u8> {
    aside::take(bytes)
}

/// Without a system there is nobody to ask for memory: the firmware sets some aside.
#[cfg(target_os = "none")]
pub(crate) mod aside {
    use core::cell::UnsafeCell;

    struct Set(UnsafeCell<Option<&'static mut [u8]>>);

    // SAFETY: the functions of this crate are called from one thread (`exports`), and none of them from inside another.
    unsafe impl Sync for Set {}

    static SET: Set = Set(UnsafeCell::new(None));

    /// Gives the memory that `surgetank_init` divides. For firmware; before that call.
    pub fn set_aside(bytes: &'static mut [u8]) {
        // SAFETY: see `Set`.
        unsafe { *SET.0.get() = Some(bytes) };
    }

    pub(super) fn take(bytes: usize) -> Option<*mut u8> {
        // SAFETY: see `Set`.
        let set = unsafe { &mut *SET.0.get() };
        set.take_if(|set| set.len() >= bytes).map(|set| set.as_mut_ptr())
    }
}
