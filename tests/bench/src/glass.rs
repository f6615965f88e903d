//! Marks what is measured: callgrind counts only while one of these functions is on the stack.
//!
//! One function per phase, so that one run gives a figure for each. They are never inlined, which costs a call and a
//! return per measurement; what is measured is a loop over many items, so that this does not show.

/// What a measured piece of work belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Into the engine, into a queue, or the recording call.
    Record,
    /// Choosing what is sent.
    Batch,
    /// Writing a request's body.
    Body,
    /// Taking an answer.
    Settle,
    /// Out of a queue.
    Pop,
    /// What is refused.
    Refuse,
    /// The loop that measures, with nothing in it.
    Idle,
}

impl Phase {
    /// The function that marks it, as callgrind names it.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Record => "surgetank_bench::glass::record",
            Self::Batch => "surgetank_bench::glass::batch",
            Self::Body => "surgetank_bench::glass::body",
            Self::Settle => "surgetank_bench::glass::settle",
            Self::Pop => "surgetank_bench::glass::pop",
            Self::Refuse => "surgetank_bench::glass::refuse",
            Self::Idle => "surgetank_bench::glass::idle",
        }
    }
}

/// Says whether work is measured now or only warms up.
#[derive(Clone, Copy, Debug)]
pub struct Glass {
    /// False while warming up.
    pub counting: bool,
}

impl Glass {
    /// Does `work`, measured as `phase` when it is time.
    pub fn look<R>(self, phase: Phase, work: impl FnOnce() -> R) -> R {
        if !self.counting {
            return work();
        }
        match phase {
            Phase::Record => record(work),
            Phase::Batch => batch(work),
            Phase::Body => body(work),
            Phase::Settle => settle(work),
            Phase::Pop => pop(work),
            Phase::Refuse => refuse(work),
            Phase::Idle => idle(work),
        }
    }
}

macro_rules! glasses {
    ($($name:ident)*) => {$(
        #[inline(never)]
        fn $name<R>(work: impl FnOnce() -> R) -> R {
            // Something of its own, or the linker makes one function of two that do the same work.
            std::hint::black_box(stringify!($name));
            std::hint::black_box(work())
        }
    )*};
}

glasses!(record batch body settle pop refuse idle);
