//! Deadlines of tenths of a second, checked on a machine that has other things to do.
//!
//! A call may be late for two reasons: it waited for something (a defect), or the machine let it wait for a processor.
//! The second is measured, so that it excuses exactly as much as it took. The kernel says how long the calling thread was
//! ready to run and did not. And a thread that wants to run every few milliseconds sees when a virtual machine stood
//! still, which no thread inside was charged for. On an idle machine both are nearly nothing. What is left is waiting for
//! a lock of the allocator or of the kernel whose holder has no processor: a defect is late every time, this is not, so a
//! late scene is played again, twice at most.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// What a deadline may be missed by.
pub const GRACE: Duration = Duration::from_millis(100);

/// How often the watching thread wants to run.
const BEAT: Duration = Duration::from_millis(5);

/// When a beat should have come, and when it came, for those that were late although the thread had a processor.
static GAPS: Mutex<Vec<(Instant, Instant)>> = Mutex::new(Vec::new());

fn gaps() -> std::sync::MutexGuard<'static, Vec<(Instant, Instant)>> {
    GAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            let (mut last, mut waited) = (Instant::now(), kept_waiting());
            loop {
                std::thread::sleep(BEAT);
                let (now, waited_now) = (Instant::now(), kept_waiting());
                let begun = last + BEAT + (waited_now - waited);
                if now.saturating_duration_since(begun) > BEAT {
                    gaps().push((begun, now));
                }
                (last, waited) = (now, waited_now);
            }
        });
    });
}

/// How long the machine stood still between two moments.
fn standstill(from: Instant, to: Instant) -> Duration {
    // A gap that includes this moment is seen when it ends.
    std::thread::sleep(2 * BEAT);
    let overlap =
        |(begun, ended): &(Instant, Instant)| (*ended).min(to).saturating_duration_since((*begun).max(from));
    gaps().iter().map(overlap).sum()
}

/// How long this thread was ready to run and did not, since it began.
fn kept_waiting() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// How the message of a late call begins.
const LATE: &str = "late";

/// Plays a scene in which calls are made [`within`] limits.
pub fn on_time<T>(scene: impl Fn() -> T) -> T {
    for _ in 0..2 {
        match catch_unwind(AssertUnwindSafe(&scene)) {
            Ok(result) => return result,
            Err(panic)
                if panic
                    .downcast_ref::<String>()
                    .is_some_and(|text| text.starts_with(LATE)) => {}
            Err(panic) => resume_unwind(panic),
        }
    }
    scene()
}

/// Makes `call`, which must not take longer than `limit` and [`GRACE`].
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, call: impl FnOnce() -> T) -> T {
    watch();
    let waited = kept_waiting();
    let begun = Instant::now();
    let result = call();
    let ended = Instant::now();
    let machine = (kept_waiting() - waited) + standstill(begun + limit, ended);
    let took = ended - begun;
    assert!(
        took <= limit + GRACE + machine,
        "{LATE}: {what}: took {took:?}, at most {limit:?} and {GRACE:?}; the machine's part is {machine:?}"
    );
    result
}
