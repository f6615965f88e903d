//! Times that the calling thread gave up the processor by itself, which is what waiting is.
//!
//! The first touch of a page of memory is left out: the kernel may wait for a lock of its own to provide it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by test programs, each of which uses its own part"
)]

/// Counts of the calling thread since it began.
struct Usage {
    voluntary: i64,
    faults: i64,
}

impl Usage {
    fn now() -> Self {
        let mut usage = core::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the kernel writes a whole `rusage`, for which there is room, and all zeros are one, too.
        let usage = unsafe {
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
            usage.assume_init()
        };
        Self {
            voluntary: usage.ru_nvcsw,
            faults: usage.ru_minflt + usage.ru_majflt,
        }
    }
}

/// Pages that the thread had to be given in `call`.
#[allow(dead_code, reason = "not every test that counts waits counts pages")]
pub(crate) fn faults(call: impl FnOnce()) -> i64 {
    let before = Usage::now().faults;
    call();
    Usage::now().faults - before
}

/// Waits seen in calls that touched no new page, and such calls.
#[derive(Default, Debug)]
pub struct Waits {
    pub waits: i64,
    pub calls: i64,
}

impl Waits {
    /// Makes `call` a few times.
    pub fn count(&mut self, mut call: impl FnMut()) {
        const TIMES: i64 = 8;
        let before = Usage::now();
        for _ in 0..TIMES {
            call();
        }
        let after = Usage::now();
        if after.faults == before.faults {
            self.calls += TIMES;
            self.waits += after.voluntary - before.voluntary;
        }
    }
}
