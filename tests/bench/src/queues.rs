//! Into a queue, out of it, and refused when it is full: the intake, and other queues beside it, counted on one thread
//! and timed under several.

mod intake;
#[cfg(feature = "peers")]
mod peers;
mod play;

pub(crate) use play::Task;

/// One queue.
pub(crate) struct Queue {
    pub(crate) name: &'static str,
    pub(crate) shows: &'static str,
    pub(crate) ours: bool,
    /// Takes several producers.
    pub(crate) several: bool,
    /// Plays with records of each kind; `None` where it cannot hold them.
    pub(crate) small: fn(&mut Task),
    pub(crate) large: fn(&mut Task),
    pub(crate) mixed: Option<fn(&mut Task)>,
}

/// Records that are put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Records {
    /// 64 B each.
    Small,
    /// 1 KiB each.
    Large,
    /// 64 B to 64 KiB, as many between 64 and 128 B as between 32 and 64 KiB.
    Mixed,
}

impl Records {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Mixed => "mixed",
        }
    }

    pub(crate) const fn shows(self) -> &'static str {
        match self {
            Self::Small => "64 B",
            Self::Large => "1 KiB",
            Self::Mixed => "64 B to 64 KiB",
        }
    }
}

impl Queue {
    pub(crate) fn of(&self, records: Records) -> Option<fn(&mut Task)> {
        match records {
            Records::Small => Some(self.small),
            Records::Large => Some(self.large),
            Records::Mixed => self.mixed,
        }
    }
}

/// A queue of values of fixed size, or of boxes with the last word.
#[cfg(feature = "peers")]
macro_rules! queue {
    ($function:ident, $name:literal, $shows:literal, $several:literal, $mixed:expr) => {
        Queue {
            name: $name,
            shows: $shows,
            ours: false,
            several: $several,
            small: peers::$function::<64>,
            large: peers::$function::<1024>,
            mixed: $mixed,
        }
    };
}

#[rustfmt::skip]
pub(crate) const QUEUES: &[Queue] = &[
    Queue {
        name: "intake",
        shows: "surgetank intake",
        ours: true,
        several: true,
        small: intake::fixed::<64>,
        large: intake::fixed::<1024>,
        mixed: Some(intake::mixed),
    },
    #[cfg(feature = "peers")]
    queue!(nexus, "nexus", "nexus-logbuf mpsc (variable size)", true, Some(peers::nexus_mixed)),
    #[cfg(feature = "peers")]
    queue!(array_queue, "arrayqueue", "crossbeam ArrayQueue", true, Some(peers::array_queue_mixed)),
    #[cfg(feature = "peers")]
    queue!(heapless_mpmc, "heapless", "heapless mpmc", true, None),
    #[cfg(feature = "peers")]
    queue!(thingbuf, "thingbuf", "thingbuf, written in place", true, None),
    #[cfg(feature = "peers")]
    queue!(kanal, "kanal", "kanal", true, None),
    #[cfg(feature = "peers")]
    queue!(sync_channel, "sync_channel", "std sync_channel", true, None),
    #[cfg(feature = "peers")]
    queue!(flume, "flume", "flume", true, None),
    #[cfg(feature = "peers")]
    queue!(rtrb, "rtrb", "rtrb (one producer)", false, None),
    #[cfg(feature = "peers")]
    queue!(bbqueue, "bbqueue", "bbqueue (one producer), framed", false, None),
];
