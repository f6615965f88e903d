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

/// Makes [`generation`] count and [`unforked`] work. Once per process is enough; more does no harm.
#[cfg(unix)]
pub(crate) fn watch() {
    static ONCE: std::sync::Once = std::sync::Once::new();

    extern "C" fn before() {
        making::before_fork();
    }
    extern "C" fn in_parent() {
        making::after_fork();
    }
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        making::in_child();
    }

    ONCE.call_once(|| {
        // SAFETY: the handlers are plain functions that live as long as the program. That of the child only writes to
        // atomics, which is allowed in a child of a program with threads.
        unsafe {
            libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child));
        }
    });
}

/// Nothing forks here.
#[cfg(not(unix))]
pub(crate) fn watch() {}

/// Runs `make` while the process does not fork.
///
/// Libraries make some things once for a whole process, such as tokio its pipe for signals, and whoever comes meanwhile waits. A
/// child that was forked in between would wait for a thread that it does not have, for ever. So whatever may be the first to
/// make such things is called here; a fork takes as much longer, a second at most.
pub(crate) fn unforked<T>(make: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    let _made = making::begin();
    make()
}

/// Who makes something for the process, and who forks: one thread at a time.
#[cfg(unix)]
mod making {
    use core::cell::Cell;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    static TAKEN: AtomicBool = AtomicBool::new(false);

    /// Forks that had to wait.
    pub(super) static WAITED: AtomicU32 = AtomicU32::new(0);

    /// Looks of a fork, a millisecond apart, before it goes on all the same.
    const LOOKS: u32 = 1000;

    thread_local! {
        /// This thread forks, and took it.
        static FORKS: Cell<bool> = const { Cell::new(false) };
    }

    /// Gives it back.
    pub(super) struct Made(());

    impl Drop for Made {
        fn drop(&mut self) {
            TAKEN.store(false, Ordering::Release);
        }
    }

    /// Waits until nobody forks and nobody else makes anything.
    pub(super) fn begin() -> Made {
        while !take() {
            pause();
        }
        Made(())
    }

    fn take() -> bool {
        // Acquire pairs with the Release of whoever had it.
        TAKEN
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a lock of the system could not be given up after a second"
    )]
    fn pause() {
        std::thread::sleep(Duration::from_millis(1));
    }

    pub(super) fn before_fork() {
        let mut taken = take();
        if !taken {
            WAITED.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..LOOKS {
            if taken {
                break;
            }
            pause();
            taken = take();
        }
        FORKS.set(taken);
    }

    pub(super) fn after_fork() {
        if FORKS.replace(false) {
            TAKEN.store(false, Ordering::Release);
        }
    }

    /// Whoever had it is not here.
    pub(super) fn in_child() {
        FORKS.set(false);
        TAKEN.store(false, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn is_taken() -> bool {
        TAKEN.load(Ordering::Acquire)
    }
}

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

    /// What `work` says in a child.
    #[cfg(unix)]
    fn in_child(work: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs this thread alone, takes no lock but the C library's own, which that keeps usable, and ends
        // without running destructors.
        let child = unsafe {
            match libc::fork() {
                0 => {
                    libc::alarm(90);
                    libc::_exit(i32::from(!work()))
                }
                child => child,
            }
        };
        let mut status = 0;
        // SAFETY: `status` is valid to write to.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    #[cfg(unix)]
    #[test]
    fn a_fork_waits_for_what_is_being_made() {
        use std::sync::atomic::AtomicBool;

        watch();
        let made = AtomicBool::new(false);
        let (begun, has_begun) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unforked(|| {
                    begun.send(()).unwrap();
                    while making::WAITED.load(Ordering::Relaxed) == 0 {
                        std::thread::yield_now();
                    }
                    made.store(true, Ordering::Relaxed);
                });
            });
            has_begun.recv().unwrap();
            assert!(in_child(|| made.load(Ordering::Relaxed)
                && !making::is_taken()
                && unforked(|| true)));
            // And the parent makes more.
            assert!(unforked(|| true));
        });
    }

    #[cfg(unix)]
    #[test]
    fn the_state_stays_until_a_fork_and_a_child_makes_its_own_once() {
        watch();
        let state = PerProcess::new(vec![1]);
        assert_eq!(state.get(), Some(&vec![1]));
        assert_eq!(state.get_or_make(|_| Err("not asked for")), Ok(&vec![1]));
        assert!(in_child(|| {
            let inherited = state.get().is_none() && state.last() == &[1];
            let failed = state.get_or_make(|_| Err("no memory")) == Err("no memory");
            let made = state.get_or_make(|inherited| Ok::<_, &str>(vec![inherited[0] + 1]));
            let made = made == Ok(&vec![2]);
            let kept = state.get_or_make(|_| Err("not asked for")) == Ok(&vec![2]);
            inherited && failed && made && kept && state.get() == Some(&vec![2])
        }));
        assert_eq!(state.get(), Some(&vec![1]));
    }
}
