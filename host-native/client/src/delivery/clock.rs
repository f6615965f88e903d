//! The one place where a clock is read.

use surgetank_core::time::{Instant, UnixTime};

/// The host's clocks: a monotonic one with an origin of its own, and the wall clock.
///
/// Reading either is a call into the C library that takes no lock and is safe in a signal handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the host's one clock")]
    pub(crate) fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// Time since [`Clock::start`].
    #[expect(clippy::disallowed_methods, reason = "this is the host's one clock")]
    pub(crate) fn now(&self) -> Instant {
        let since = std::time::Instant::now().saturating_duration_since(self.origin);
        Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The same moment for the runtime's timers.
    pub(crate) fn at(&self, instant: Instant) -> tokio::time::Instant {
        let since = core::time::Duration::from_micros(instant.as_micros());
        tokio::time::Instant::from_std(self.origin.checked_add(since).unwrap_or(self.origin))
    }
}

/// The wall clock; the epoch itself when it is set before that.
pub(crate) fn wall() -> UnixTime {
    let since = wall_since_epoch();
    // 64 bits last for 584 000 years.
    let micros = since.as_secs().wrapping_mul(1_000_000);
    UnixTime::from_micros(micros.wrapping_add(u64::from(since.subsec_micros())))
}

/// The wall clock in nanoseconds since the epoch.
pub(crate) fn wall_nanos() -> u64 {
    let since = wall_since_epoch();
    // 64 bits last until 2554.
    let nanos = since.as_secs().wrapping_mul(1_000_000_000);
    nanos.wrapping_add(u64::from(since.subsec_nanos()))
}

#[expect(clippy::disallowed_methods, reason = "this is the host's one clock")]
fn wall_since_epoch() -> core::time::Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
