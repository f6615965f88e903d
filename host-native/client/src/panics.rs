//! Panics of code that is not ours (exporters, callbacks) on a thread that has to go on.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `call`; true when it panicked. What it was working on must be looked at before it is used again.
///
/// What the panic carries is dropped here. That is code of others once more, and may panic, too: outside of a catch it
/// would end the thread after all.
pub(crate) fn panicked(call: impl FnOnce()) -> bool {
    let Err(carried) = catch_unwind(AssertUnwindSafe(call)) else {
        return false;
    };
    if let Err(carried_again) = catch_unwind(AssertUnwindSafe(|| drop(carried))) {
        // There is no end to this, so it stops here.
        core::mem::forget(carried_again);
    }
    true
}
