//! Finding out that this process is a fork's child, without a system call per record.
//!
//! `getpid` is a system call on current C libraries. Instead a handler that `fork` runs in the child adds one to a
//! number, and whoever keeps state of a process compares numbers: one load.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How often the processes from the first one down to this one forked since [`watch`] was first called.
#[inline]
pub(crate) fn generation() -> u32 {
    // Relaxed: it changes only while a child has a single thread.
    GENERATION.load(Ordering::Relaxed)
}

/// Makes [`generation`] count. Once per process is enough; more does no harm.
#[cfg(unix)]
pub(crate) fn watch() {
    static ONCE: std::sync::Once = std::sync::Once::new();

    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }

    ONCE.call_once(|| {
        // SAFETY: the handler is a plain function that lives as long as the program and only adds to an atomic, which
        // is allowed in a child of a program with threads.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    });
}

/// Nothing forks here.
#[cfg(not(unix))]
pub(crate) fn watch() {}

/// State that belongs to one process; a fork's child makes its own.
///
/// The parent's state is leaked in the child: its memory may be in the middle of a change by a thread that does not
/// exist there, and its sockets are the parent's.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    /// Never null. Replaced in a child, where the old one is leaked.
    current: AtomicPtr<Stamped<T>>,
}

#[derive(Debug)]
struct Stamped<T> {
    generation: u32,
    state: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// State of the calling process.
    pub(crate) fn new(state: T) -> Self {
        Self {
            current: AtomicPtr::new(boxed(state)),
        }
    }

    #[inline]
    fn stamped(&self) -> &Stamped<T> {
        // SAFETY: the pointer came from a box, and is freed only by `drop`, which has `self` alone.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// The state that was used last, by this process or by the one it was forked from.
    #[inline]
    pub(crate) fn last(&self) -> &T {
        &self.stamped().state
    }

    /// The state of this process; `None` in a child that has made none yet.
    pub(crate) fn get(&self) -> Option<&T> {
        self.get_or(|| Err(())).ok()
    }

    /// The state of this process, or what `child` says in a child that has made none yet. Two loads and a comparison.
    #[inline]
    pub(crate) fn get_or<'a, E>(&'a self, child: impl FnOnce() -> Result<&'a T, E>) -> Result<&'a T, E> {
        let stamped = self.stamped();
        if stamped.generation == generation() {
            Ok(&stamped.state)
        } else {
            child()
        }
    }

    /// The state of this process, which `make` makes in a child that has none yet. Several threads may come here at
    /// once; each makes one, the first is kept. Nobody waits for another.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get_or_make<E>(&self, make: impl FnOnce(&T) -> Result<T, E>) -> Result<&T, E> {
        let inherited = self.stamped();
        if inherited.generation == generation() {
            return Ok(&inherited.state);
        }
        let made = boxed(make(&inherited.state)?);
        let old = core::ptr::from_ref(inherited).cast_mut();
        let kept = self
            .current
            .compare_exchange(old, made, Ordering::AcqRel, Ordering::Acquire);
        if kept.is_err() {
            // SAFETY: it came from a box just now, and nobody else has seen it.
            drop(unsafe { Box::from_raw(made) });
        }
        Ok(self.last())
    }
}

fn boxed<T>(state: T) -> *mut Stamped<T> {
    Box::into_raw(Box::new(Stamped {
        generation: generation(),
        state,
    }))
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box, and nobody else has `self`, so nobody uses it.
        let stamped = unsafe { Box::from_raw(*self.current.get_mut()) };
        if stamped.generation != generation() {
            core::mem::forget(stamped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stays_until_a_fork_and_a_child_makes_its_own_once() {
        watch();
        let state = PerProcess::new(vec![1]);
        assert_eq!(state.get(), Some(&vec![1]));
        assert_eq!(state.get_or_make(|_| Err("not asked for")), Ok(&vec![1]));
        // What the handler does in a child. No other test of this program depends on the number.
        GENERATION.fetch_add(1, Ordering::Relaxed);
        assert_eq!(state.get(), None);
        assert_eq!(state.last(), &[1]);
        assert_eq!(state.get_or_make(|_| Err("no memory")), Err("no memory"));
        let made = state.get_or_make(|inherited| Ok::<_, &str>(vec![inherited[0] + 1]));
        assert_eq!(made, Ok(&vec![2]));
        assert_eq!(state.get_or_make(|_| Err("not asked for")), Ok(&vec![2]));
        assert_eq!(state.get(), Some(&vec![2]));
    }
}
