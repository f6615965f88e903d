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
    use std::sync::atomic::AtomicBool;

    static WATCHES: AtomicBool = AtomicBool::new(false);
    /// What the generation of a child that is forked now will be.
    static NEXT: AtomicU32 = AtomicU32::new(0);

    extern "C" fn before() {
        NEXT.store(generation().wrapping_add(1), Ordering::Relaxed);
        making::before_fork();
    }
    extern "C" fn in_parent() {
        making::after_fork();
    }
    extern "C" fn in_child() {
        GENERATION.store(NEXT.load(Ordering::Relaxed), Ordering::Relaxed);
        making::in_child();
    }

    if WATCHES.load(Ordering::Acquire) {
        return;
    }
    // Threads that come here at once all set the handlers, for waiting for one of them is what a child could not; twice, they do the
    // same as once.
    // SAFETY: the handlers are plain functions that live as long as the program. That of the child only writes to
    // atomics, which is allowed in a child of a program with threads.
    unsafe {
        libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child));
    }
    WATCHES.store(true, Ordering::Release);
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
    let _made = making::begin(making::By::Making);
    make()
}

/// Runs `look_up`, a call of the C library that resolves a name, while the process does not fork, as long as that may matter.
///
/// The C library guards its tables of sources and servers with locks that it does not put in order for a fork's child, which
/// could then never look up a name. They are held for moments when a lookup begins and when it ends, and while it waits for the
/// network none is; so a fork waits for a lookup until that has gone on for [a quarter of a second](making::LOOKUP).
pub(crate) fn unforked_lookup<T>(look_up: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    let _looked_up = making::begin(making::By::LookingUp);
    look_up()
}

/// Who does what a child must not be forked amid, and who forks.
///
/// Any number of threads at a time does the one or the other: none begins while there is a fork, and a fork waits for those
/// that have begun.
#[cfg(unix)]
mod making {
    use core::cell::Cell;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::time::Duration;

    use crate::delivery::clock::wall_nanos;

    /// Forks that wait or are under way.
    static FORKS: AtomicU32 = AtomicU32::new(0);
    /// Things that are being made.
    static MADE: AtomicU32 = AtomicU32::new(0);
    /// Names that are being looked up.
    static LOOKED_UP: AtomicU32 = AtomicU32::new(0);
    /// When the newest of them began, in nanoseconds.
    static NEWEST_LOOKUP: AtomicU64 = AtomicU64::new(0);

    /// Forks that had to wait.
    pub(super) static WAITED: AtomicU32 = AtomicU32::new(0);

    /// Looks of a fork, a millisecond apart, before it goes on all the same.
    const LOOKS: u32 = 1000;

    /// How long after its beginning a lookup still holds up a fork.
    pub(super) const LOOKUP: Duration = Duration::from_millis(250);

    thread_local! {
        /// How often this thread is counted among the forks: once, or twice if two threads made the first clients at once.
        static COUNTED: Cell<u32> = const { Cell::new(0) };
    }

    /// What holds up a fork.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum By {
        Making,
        LookingUp,
    }

    impl By {
        fn count(self) -> &'static AtomicU32 {
            match self {
                Self::Making => &MADE,
                Self::LookingUp => &LOOKED_UP,
            }
        }
    }

    /// Holds up forks until it is dropped.
    pub(super) struct Hold {
        by: By,
        generation: u32,
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            // A child that was forked amid all the same counts from zero.
            if self.generation == super::generation() {
                self.by.count().fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Waits until nobody forks.
    pub(super) fn begin(by: By) -> Hold {
        loop {
            if FORKS.load(Ordering::SeqCst) == 0 {
                if by == By::LookingUp {
                    NEWEST_LOOKUP.store(wall_nanos(), Ordering::SeqCst);
                }
                let generation = super::generation();
                let hold = Hold { by, generation };
                by.count().fetch_add(1, Ordering::SeqCst);
                // Either side counts itself before it looks at the other, so one of them sees the other at least.
                if FORKS.load(Ordering::SeqCst) == 0 {
                    return hold;
                }
            }
            pause();
        }
    }

    fn is_held() -> bool {
        MADE.load(Ordering::SeqCst) > 0 || is_held_by_lookups()
    }

    pub(super) fn is_held_by_lookups() -> bool {
        let age = || wall_nanos().saturating_sub(NEWEST_LOOKUP.load(Ordering::SeqCst));
        LOOKED_UP.load(Ordering::SeqCst) > 0 && u128::from(age()) < LOOKUP.as_nanos()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a lock of the system could not be given up after a second"
    )]
    fn pause() {
        std::thread::sleep(Duration::from_millis(1));
    }

    pub(super) fn before_fork() {
        FORKS.fetch_add(1, Ordering::SeqCst);
        COUNTED.set(COUNTED.get() + 1);
        if is_held() {
            WAITED.fetch_add(1, Ordering::Relaxed);
            for _ in 0..LOOKS {
                pause();
                if !is_held() {
                    break;
                }
            }
        }
    }

    pub(super) fn after_fork() {
        if let Some(left) = COUNTED.get().checked_sub(1) {
            COUNTED.set(left);
            FORKS.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Makes a lookup that is under way one that began just now, or long ago.
    #[cfg(test)]
    pub(super) fn lookups_began(now: bool) {
        NEWEST_LOOKUP.store(if now { wall_nanos() } else { 0 }, Ordering::SeqCst);
    }

    /// Nobody else is here.
    pub(super) fn in_child() {
        COUNTED.set(0);
        for count in [&FORKS, &MADE, &LOOKED_UP] {
            count.store(0, Ordering::SeqCst);
        }
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
pub(crate) mod tests {
    use super::*;

    /// What `work` says in a child.
    #[cfg(unix)]
    pub(crate) fn in_child(work: impl FnOnce() -> bool) -> bool {
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

    /// One test at a time: what is looked up is the whole process's.
    #[cfg(unix)]
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// Has `hold` begun by a thread, which goes on when a fork waits for it, and gives what the child saw of that.
    #[cfg(unix)]
    fn fork_amid(hold: impl Fn(&dyn Fn()) + Sync) -> bool {
        use std::sync::atomic::AtomicBool;

        watch();
        let ended = AtomicBool::new(false);
        let waited = making::WAITED.load(Ordering::Relaxed);
        let (begun, has_begun) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let begun = begun;
                hold(&|| {
                    begun.send(()).unwrap();
                    while making::WAITED.load(Ordering::Relaxed) == waited {
                        // However late this busy machine lets the fork come.
                        making::lookups_began(true);
                        std::thread::yield_now();
                    }
                    ended.store(true, Ordering::Relaxed);
                });
            });
            has_begun.recv().unwrap();
            in_child(|| ended.load(Ordering::Relaxed) && unforked(|| true) && unforked_lookup(|| true))
        })
    }

    #[cfg(unix)]
    #[test]
    fn a_fork_waits_for_what_is_being_made_or_looked_up() {
        let _turn = TURN.lock();
        assert!(fork_amid(|work| unforked(work)));
        assert!(fork_amid(|work| unforked_lookup(work)));
        // And the parent goes on.
        assert!(unforked(|| true) && unforked_lookup(|| true));
    }

    #[cfg(unix)]
    #[test]
    fn a_fork_does_not_wait_for_a_lookup_that_waits_itself() {
        let _turn = TURN.lock();
        watch();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            // Also when something below fails.
            let end = end;
            scope.spawn(move || {
                unforked_lookup(|| {
                    begun.send(()).unwrap();
                    let _ = ends.recv();
                });
            });
            has_begun.recv().unwrap();
            // It goes on to the end of this test, and other lookups beside it.
            assert!(unforked_lookup(|| true));
            assert!(in_child(|| unforked_lookup(|| true)));
            making::lookups_began(false);
            assert!(!making::is_held_by_lookups());
            assert!(in_child(|| unforked_lookup(|| true)));
            drop(end);
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
