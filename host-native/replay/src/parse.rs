//! Text to [`Script`]: settings first, then destinations, then what happens.

mod steps;
mod words;

use surgetank_core::config::{Config, DestinationConfig, WhenFull};
use surgetank_core::downsample::Policy;

use super::Fault;
use super::script::{Bounds, Destination, MAX_DESTINATIONS, Payload, Script, Settings, Statement, Step};
use words::Words;

/// Sizes of the queue: few, so that a host whose memory is fixed when it is compiled can have them all.
const MEMORY: [(&str, usize); 3] = [("8KiB", 8 << 10), ("32KiB", 32 << 10), ("128KiB", 128 << 10)];

const YES_NO: [(&str, bool); 2] = [("yes", true), ("no", false)];

/// Reads a script.
///
/// # Errors
/// The first line that is not understood, and what would be.
pub fn parse(text: &str) -> Result<Script, Fault> {
    read(text, Vec::new(), Bounds::STORY)
}

/// Reads a script within `bounds` that may name these payloads.
pub(crate) fn read(text: &str, payloads: Vec<Payload>, bounds: Bounds) -> Result<Script, Fault> {
    if text.len() > bounds.text_bytes {
        return Err(Fault::new(
            1,
            format!("the script has {} bytes", text.len()),
            format!("{} are enough for a story; make two of it", bounds.text_bytes),
        ));
    }
    let mut script = Script {
        settings: Settings {
            seed: 1,
            memory: 32 << 10,
            config: Config::DEFAULT,
        },
        destinations: Vec::new(),
        steps: Vec::new(),
        payloads,
        bounds,
    };
    for (line, text) in (1..).zip(text.lines()) {
        let mut words = Words::of(line, text)?;
        let Some(first) = words.optional() else { continue };
        read_line(&mut script, line, &first, &mut words)?;
    }
    if script.destinations.is_empty() {
        return Err(Fault::new(
            text.lines().count().max(1),
            "the script has no destination",
            "write `destination sentry sentry` or `destination collector otlp`",
        ));
    }
    Ok(script)
}

fn read_line(script: &mut Script, line: usize, first: &str, words: &mut Words) -> Result<(), Fault> {
    match first {
        "set" if script.destinations.is_empty() => read_setting(&mut script.settings, words),
        "set" => words.fault(
            "`set` comes too late",
            "write settings before the first destination",
        ),
        "destination" if !script.steps.is_empty() => words.fault(
            "`destination` comes too late",
            "write destinations before the first step",
        ),
        "destination" => read_destination(script, line, words),
        _ if script.steps.len() == script.bounds.steps => words.fault(
            format!("this is statement {}", script.bounds.steps + 1),
            "make two scripts of it",
        ),
        other => {
            let statement: Statement = steps::read(other, words, script)?;
            script.steps.push(Step {
                line,
                text: words.text().to_owned(),
                statement,
            });
            Ok(())
        }
    }?;
    words.end()
}

fn read_setting(settings: &mut Settings, words: &mut Words) -> Result<(), Fault> {
    let config = &mut settings.config;
    let permille = |words: &mut Words| words.count(0..=1000).map(|number| number as u16);
    let key = words.word("the name of a setting")?;
    match key.as_str() {
        "seed" => settings.seed = words.number(0..=u64::MAX)?,
        "memory" => settings.memory = words.choice(&MEMORY)?,
        "max_age" => config.max_age = words.duration()?,
        "when_full" => {
            config.when_full = words.choice(&[
                ("drop_oldest", WhenFull::DropOldest),
                ("refuse_newest", WhenFull::RefuseNewest),
            ])?;
        }
        "reserve" => config.reserve_permille = permille(words)?,
        "report_delay" => config.report_delay = words.duration()?,
        "stall_grace" => config.stall_grace = words.duration()?,
        "downsampling" => {
            config.monitor.policy = words.choice(&[
                ("adaptive", Policy::Adaptive),
                ("sentry_compatible", Policy::SentryCompatible),
                ("off", Policy::Off),
            ])?;
        }
        "downsample_tick" => config.monitor.tick = words.duration()?,
        "downsample_quiet" => config.monitor.quiet = words.duration()?,
        "downsample_high" => config.monitor.high_permille = permille(words)?,
        "downsample_low" => config.monitor.low_permille = permille(words)?,
        "health_dwell" => config.health.dwell = words.duration()?,
        "slot_stuck_after" => config.health.slot_stuck_after = words.duration()?,
        _ => {
            return words.fault(
                format!("there is no setting `{key}`"),
                "write one of seed, memory, max_age, when_full, reserve, report_delay, stall_grace, downsampling, \
                 downsample_tick, downsample_quiet, downsample_high, downsample_low, health_dwell, slot_stuck_after",
            );
        }
    }
    match config.validate() {
        // A pair of bounds may be out of order until its second line is read; the engine checks them once more.
        Err(error) if !error.field().starts_with("monitor.") => words.fault(error.to_string(), "change it"),
        _ => Ok(()),
    }
}

fn read_destination(script: &mut Script, line: usize, words: &mut Words) -> Result<(), Fault> {
    let name = words.word("a name")?;
    if script.destinations.iter().any(|known| known.name == name) {
        return words.fault(
            format!("there is a destination `{name}` already"),
            "write another name",
        );
    }
    if script.destinations.len() == MAX_DESTINATIONS {
        return words.fault(
            format!("`{name}` is one destination too many"),
            format!("hosts have room for {MAX_DESTINATIONS}"),
        );
    }
    let mut config = words.choice(&[
        ("sentry", DestinationConfig::SENTRY),
        ("otlp", DestinationConfig::OTLP),
    ])?;
    while let Some(key) = words.optional() {
        read_destination_setting(&mut config, &key, words)?;
    }
    if let Err(error) = config.validate() {
        return words.fault(error.to_string(), "change it");
    }
    script.destinations.push(Destination { line, name, config });
    Ok(())
}

fn read_destination_setting(
    config: &mut DestinationConfig,
    key: &str,
    words: &mut Words,
) -> Result<(), Fault> {
    let byte = |words: &mut Words| words.count(0..=255).map(|number| number as u8);
    match key {
        "share" => config.share_permille = words.count(1..=1000)? as u16,
        "timeout" => config.timeout = words.duration()?,
        "client_reports" => config.client_reports = words.choice(&YES_NO)?,
        "batch_delay" => config.batch.max_delay = words.duration()?,
        "batch_records" => config.batch.max_records = words.count(1..=u32::MAX)?,
        "batch_bytes" => config.batch.max_bytes = words.count(1..=u32::MAX)?,
        "in_flight" => {
            config.concurrency.initial = byte(words)?;
            config.concurrency.max = byte(words)?;
        }
        "backoff" => {
            config.backoff.initial = words.duration()?;
            config.backoff.max = words.duration()?;
        }
        "breaker_failures" => config.breaker.consecutive_failures = byte(words)?,
        "breaker_pause" => {
            config.breaker.pause.initial = words.duration()?;
            config.breaker.pause.max = words.duration()?;
        }
        "retry_exhausted" => config.retry_resource_exhausted = words.choice(&YES_NO)?,
        _ => {
            return words.fault(
                format!("a destination has no setting `{key}`"),
                "write one of share, timeout, client_reports, batch_delay, batch_records, batch_bytes, in_flight, \
                 backoff, breaker_failures, breaker_pause, retry_exhausted",
            );
        }
    }
    Ok(())
}
