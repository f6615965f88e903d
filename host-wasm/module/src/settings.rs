//! Settings by number: one table for reading them from a host and for writing them into the exported state.

use surgetank_core::config::{Config, DestinationConfig, Protocol, WhenFull};
use surgetank_core::downsample::Policy;
use surgetank_core::limits::{BLOCK_BYTES, MAX_DESTINATIONS};
use surgetank_core::time::Duration;

use crate::codes::{POLICIES, PROTOCOLS, WHEN_FULL, named, number};
use crate::error::{Code, Error, Said};
use crate::fields::{self, Fields};
use crate::output::Out;

/// Sizes of an instance, fixed when it is initialized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes of the queue.
    pub(crate) queue: u32,
    pub(crate) destinations: u32,
    /// Requests in flight over all destinations.
    pub(crate) requests: u32,
    /// Pairs of category and reason that wait to be reported.
    pub(crate) losses: u32,
    /// Bytes of the largest payload.
    pub(crate) payload: u32,
}

impl Sizes {
    const DEFAULT: Self = Self {
        queue: 256 * 1024,
        destinations: 4,
        requests: 32,
        losses: 64,
        payload: 64 * 1024,
    };

    /// The rule that does not hold, if there is one.
    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let blocks = self.queue as usize / BLOCK_BYTES;
        let rules = [
            (
                blocks >= 2 && self.queue <= MOST_BYTES,
                "queue: 512 to 2^30 bytes",
            ),
            (
                self.destinations >= 1 && self.destinations as usize <= MAX_DESTINATIONS,
                "destinations: 1 to 255",
            ),
            (
                self.requests >= 1 && self.requests <= MOST_ENTRIES,
                "requests: 1 to 65536",
            ),
            (self.losses <= MOST_ENTRIES, "losses: at most 65536"),
            (
                self.payload >= LEAST_PAYLOAD && self.payload <= MOST_BYTES,
                "payload: 4096 to 2^30 bytes",
            ),
        ];
        rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule)
    }
}

const MOST_BYTES: u32 = 1 << 30;
const MOST_ENTRIES: u32 = 1 << 16;
/// Every fixed answer fits a window of that size.
const LEAST_PAYLOAD: u32 = 4096;

/// A setting's place.
enum Slot<'a> {
    Byte(&'a mut u8),
    Short(&'a mut u16),
    Word(&'a mut u32),
    Span(&'a mut Duration),
    Flag(&'a mut bool),
    Protocol(&'a mut Protocol),
    WhenFull(&'a mut WhenFull),
    Policy(&'a mut Policy),
}

impl Slot<'_> {
    /// Stores `value`; `None` when it does not fit.
    fn set(self, value: u64) -> Option<()> {
        match self {
            Self::Byte(place) => *place = value.try_into().ok()?,
            Self::Short(place) => *place = value.try_into().ok()?,
            Self::Word(place) => *place = value.try_into().ok()?,
            Self::Span(place) => *place = Duration::from_micros(value),
            Self::Flag(place) => *place = named(&[false, true], value)?,
            Self::Protocol(place) => *place = named(&PROTOCOLS, value)?,
            Self::WhenFull(place) => *place = named(&WHEN_FULL, value)?,
            Self::Policy(place) => *place = named(&POLICIES, value)?,
        }
        Some(())
    }

    fn value(&self) -> u64 {
        match self {
            Self::Byte(place) => u64::from(**place),
            Self::Short(place) => u64::from(**place),
            Self::Word(place) => u64::from(**place),
            Self::Span(place) => place.as_micros(),
            Self::Flag(place) => u64::from(**place),
            Self::Protocol(place) => u64::from(number(&PROTOCOLS, place)),
            Self::WhenFull(place) => u64::from(number(&WHEN_FULL, place)),
            Self::Policy(place) => u64::from(number(&POLICIES, place)),
        }
    }
}

fn size_slot(sizes: &mut Sizes, tag: u32) -> Option<Slot<'_>> {
    Some(Slot::Word(match tag {
        1 => &mut sizes.queue,
        2 => &mut sizes.destinations,
        3 => &mut sizes.requests,
        4 => &mut sizes.losses,
        5 => &mut sizes.payload,
        _ => return None,
    }))
}

fn engine_slot(config: &mut Config, tag: u32) -> Option<Slot<'_>> {
    let (monitor, health) = (&mut config.monitor, &mut config.health);
    Some(match tag {
        16 => Slot::Span(&mut config.max_age),
        17 => Slot::WhenFull(&mut config.when_full),
        18 => Slot::Short(&mut config.reserve_permille),
        19 => Slot::Span(&mut config.report_delay),
        20 => Slot::Span(&mut config.stall_grace),
        24 => Slot::Policy(&mut monitor.policy),
        25 => Slot::Span(&mut monitor.tick),
        26 => Slot::Span(&mut monitor.quiet),
        27 => Slot::Short(&mut monitor.high_permille),
        28 => Slot::Short(&mut monitor.low_permille),
        32 => Slot::Short(&mut health.queue.early.enter),
        33 => Slot::Short(&mut health.queue.early.leave),
        34 => Slot::Short(&mut health.queue.high.enter),
        35 => Slot::Short(&mut health.queue.high.leave),
        36 => Slot::Short(&mut health.queue.critical.enter),
        37 => Slot::Short(&mut health.queue.critical.leave),
        40 => Slot::Short(&mut health.memory.early.enter),
        41 => Slot::Short(&mut health.memory.early.leave),
        42 => Slot::Short(&mut health.memory.high.enter),
        43 => Slot::Short(&mut health.memory.high.leave),
        44 => Slot::Short(&mut health.memory.critical.enter),
        45 => Slot::Short(&mut health.memory.critical.leave),
        48 => Slot::Span(&mut health.slot_stuck_after),
        49 => Slot::Span(&mut health.dwell),
        _ => return None,
    })
}

const FIRST_OF_DESTINATION: u32 = 64;
const LAST_OF_DESTINATION: u32 = 83;

fn destination_slot(config: &mut DestinationConfig, tag: u32) -> Option<Slot<'_>> {
    let (backoff, breaker) = (&mut config.backoff, &mut config.breaker);
    Some(match tag {
        FIRST_OF_DESTINATION => Slot::Protocol(&mut config.protocol),
        65 => Slot::Short(&mut config.share_permille),
        66 => Slot::Span(&mut config.timeout),
        67 => Slot::Flag(&mut config.client_reports),
        68 => Slot::Span(&mut config.batch.max_delay),
        69 => Slot::Word(&mut config.batch.max_records),
        70 => Slot::Word(&mut config.batch.max_bytes),
        71 => Slot::Byte(&mut config.concurrency.initial),
        72 => Slot::Byte(&mut config.concurrency.max),
        73 => Slot::Span(&mut config.concurrency.slack),
        74 => Slot::Span(&mut backoff.initial),
        75 => Slot::Span(&mut backoff.max),
        76 => Slot::Byte(&mut backoff.jitter_percent),
        77 => Slot::Byte(&mut breaker.consecutive_failures),
        78 => Slot::Byte(&mut breaker.failure_percent),
        79 => Slot::Byte(&mut breaker.window),
        80 => Slot::Span(&mut breaker.pause.initial),
        81 => Slot::Span(&mut breaker.pause.max),
        82 => Slot::Byte(&mut breaker.pause.jitter_percent),
        LAST_OF_DESTINATION => Slot::Flag(&mut config.retry_resource_exhausted),
        _ => return None,
    })
}

const UNKNOWN: Error = &Said::new(Code::Setting, "there is no setting of that number here");
const UNFIT: Error = &Said::new(Code::Setting, "a setting's value is none of those it can have");

/// Settings of an engine and sizes of its memory: the defaults, but for what the fields say. Unchecked.
pub(crate) fn engine(bytes: &[u8]) -> Result<(Sizes, Config), Error> {
    let (mut sizes, mut config) = (Sizes::DEFAULT, Config::DEFAULT);
    let mut fields = Fields::new(bytes);
    while let Some((tag, value)) = fields.next()? {
        let value = fields::number(value)?;
        let slot = size_slot(&mut sizes, tag).or_else(|| engine_slot(&mut config, tag));
        slot.ok_or(UNKNOWN)?.set(value).ok_or(UNFIT)?;
    }
    Ok((sizes, config))
}

/// What to do with a setting that this version does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// A host means something that would not happen.
    Refuse,
    /// Another version of the module wrote it.
    PassOver,
}

/// Settings of a destination: the defaults of its protocol, which must come first, but for what the fields say.
pub(crate) fn destination(mut fields: Fields<'_>, unknown: Unknown) -> Result<DestinationConfig, Error> {
    let mut config = DestinationConfig::SENTRY;
    let mut is_first = true;
    while let Some((tag, value)) = fields.next()? {
        let value = fields::number(value)?;
        if tag == FIRST_OF_DESTINATION {
            if !is_first {
                return Err(const { &Said::malformed("the protocol must be the first setting") });
            }
            if named(&PROTOCOLS, value) == Some(Protocol::Otlp) {
                config = DestinationConfig::OTLP;
            }
        }
        is_first = false;
        match destination_slot(&mut config, tag) {
            Some(slot) => slot.set(value).ok_or(UNFIT)?,
            None if unknown == Unknown::PassOver => {}
            None => return Err(UNKNOWN),
        }
    }
    Ok(config)
}

/// Writes all settings of a destination as fields.
pub(crate) fn write_destination(config: &DestinationConfig, out: &mut Out<'_>) {
    let mut config = *config;
    for tag in FIRST_OF_DESTINATION..=LAST_OF_DESTINATION {
        if let Some(slot) = destination_slot(&mut config, tag) {
            out.word(tag).word(8).long(slot.value());
        }
    }
}
