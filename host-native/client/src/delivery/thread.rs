//! What is special about the delivery thread: records made on it are refused, and signals do not run on it.
//!
//! Code inside the sending (an HTTP stack that logs, a diagnostics callback that captures) would feed the delivery with
//! its own activity, without end. So the thread carries a mark, and every record call looks at it. The mark is one
//! thread-local byte without a destructor: reading it neither allocates nor registers anything, and works in signal
//! handlers and while a thread ends. It is the same mark for every client of the process, because two clients that
//! report each other's sending would never end either.

use core::cell::Cell;

thread_local! {
    static DELIVERS: Cell<bool> = const { Cell::new(false) };
}

/// True on a thread that delivers, for any client of this process.
#[inline]
pub(crate) fn on_delivery_thread() -> bool {
    DELIVERS.get()
}

/// Makes the calling thread a delivery thread for the rest of its life.
pub(crate) fn become_delivery_thread() {
    DELIVERS.set(true);
    block_signals();
}

/// Keeps the application's signal handlers off this thread: they belong to the application's own threads, and records
/// made in one that ran here would be refused. Signals that a thread brings upon itself stay.
#[cfg(unix)]
fn block_signals() {
    const OWN: [libc::c_int; 7] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
    ];
    let mut set = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initialises the set it is given; `sigdelset` and `pthread_sigmask` get that initialised set
    // and valid signal numbers, and a null old set is allowed.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in OWN {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), core::ptr::null_mut());
    }
}

#[cfg(not(unix))]
fn block_signals() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_on_its_thread() {
        assert!(!on_delivery_thread());
        std::thread::spawn(|| {
            become_delivery_thread();
            assert!(on_delivery_thread());
        })
        .join()
        .unwrap();
        assert!(!on_delivery_thread());
    }
}
