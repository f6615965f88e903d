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
    UnixTime::from_micros(u64::try_from(wall_since_epoch().as_micros()).unwrap_or(u64::MAX))
}

/// The wall clock in nanoseconds since the epoch.
pub(crate) fn wall_nanos() -> u64 {
    u64::try_from(wall_since_epoch().as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the host's one clock")]
fn wall_since_epoch() -> core::time::Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
