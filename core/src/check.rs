//! Broken invariants: loud in debug builds, survivable in release.
//!
//! The core lives in other people's processes, so a bug of ours must not take them down. `always!` asserts in debug
//! builds; in release it evaluates to the condition, and the caller takes the recovery path (which counts the item as
//! dropped with reason `internal_sdk_error`).

/// Evaluates to the condition; a false one panics in debug builds only.
macro_rules! always {
    ($condition:expr, $what:literal) => {{
        let holds = $condition;
        debug_assert!(holds, $what);
        holds
    }};
}

pub(crate) use always;
