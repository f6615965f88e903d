//! The command line: what can be asked for, and words for what was wrong with it.

use crate::serial::Port;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Address that Sentry SDKs are pointed at by default.
const DEFAULT_LISTEN: &str = "127.0.0.1:8969";
/// OTLP/HTTP's own port (OTLP specification, "OTLP/HTTP Default Port").
const DEFAULT_OTLP_LISTEN: &str = "127.0.0.1:4318";

const MEBIBYTE: usize = 1024 * 1024;
/// Least that `--memory` takes: below it one usual request would fill the queue.
const MIN_MEMORY: usize = 8 * MEBIBYTE;
/// Most that `--memory` takes: 64 GiB, or less where addresses are short.
const MAX_MEMORY: usize = if usize::BITS > 32 {
    64 << (usize::BITS - 34)
} else {
    1 << 30
};
const MIN_STORE: u64 = MEBIBYTE as u64;
const MAX_STORE: u64 = 1 << 40;

#[derive(Parser, Debug)]
#[command(
    name = "surgetank",
    version,
    about = "Local relay for Sentry and OpenTelemetry: takes telemetry in at once, delivers it when it can",
    long_about = "Local relay for Sentry and OpenTelemetry telemetry.\n\n\
        Without an upstream, what arrives is kept in an embedded store: `surgetank tail` prints it live and \
        `surgetank show ID` prints one item whole. With upstreams it is forwarded to them under the senders' own keys.",
    after_long_help = EXIT_CODES,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

const EXIT_CODES: &str = "Exit codes:\n  \
    0  done; `run`: stopped and nothing was left\n  \
    1  could not start, or failed while running\n  \
    2  the command line is wrong\n  \
    3  `run`: stopped, and telemetry that was accepted was left undelivered; `serial`: stopped, and the device does not \
    know what came of what it sent last";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Takes telemetry in and forwards or stores it (the default)
    Run(RunArgs),
    /// Prints what arrives in the embedded store, one line an item
    Tail(TailArgs),
    /// Prints one stored item whole
    Show(ShowArgs),
    /// Plays a scripted scenario on the engine and prints what it decided
    Replay(ReplayArgs),
    /// Forwards what a device without a network sends over a serial line
    Serial(SerialArgs),
}

#[derive(Args, Debug, Clone)]
pub(crate) struct RunArgs {
    /// Address for Sentry ingestion and health; port 0 picks a free one
    #[arg(long, env = "SURGETANK_LISTEN", value_name = "ADDR", default_value = DEFAULT_LISTEN, value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Address for OTLP/HTTP; port 0 picks a free one
    #[arg(long, env = "SURGETANK_OTLP_LISTEN", value_name = "ADDR", default_value = DEFAULT_OTLP_LISTEN, value_parser = address)]
    pub(crate) otlp_listen: SocketAddr,
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// Where Sentry telemetry is forwarded, without a key: the senders' own are used
    #[arg(
        long,
        env = "SURGETANK_SENTRY_UPSTREAM",
        hide_env_values = true,
        value_name = "URL"
    )]
    sentry_upstream: Option<String>,
    /// Where OTLP is forwarded; /v1/traces, /v1/logs and /v1/metrics are appended
    #[arg(
        long,
        env = "SURGETANK_OTLP_UPSTREAM",
        hide_env_values = true,
        value_name = "URL"
    )]
    otlp_upstream: Option<String>,
    /// Memory for telemetry that waits or is being received, e.g. 64MiB
    #[arg(long, env = "SURGETANK_MEMORY", value_name = "SIZE", default_value = "128MiB", value_parser = memory)]
    pub(crate) memory: usize,
    /// Largest size of the embedded store; the oldest bulk goes first, errors last
    #[arg(long, env = "SURGETANK_STORE_SIZE", value_name = "SIZE", default_value = "512MiB", value_parser = store_size)]
    pub(crate) store_size: u64,
    /// How long the embedded store keeps an item, e.g. 12h or 7d
    #[arg(long, env = "SURGETANK_STORE_AGE", value_name = "TIME", default_value = "7d", value_parser = store_age)]
    pub(crate) store_age: Duration,
    /// How long a request body may take to arrive
    #[arg(long, env = "SURGETANK_BODY_TIMEOUT", value_name = "TIME", default_value = "15s", value_parser = timeout)]
    pub(crate) body_timeout: Duration,
    /// How long SIGTERM waits for answers and deliveries under way
    #[arg(long, env = "SURGETANK_SHUTDOWN_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub(crate) shutdown_timeout: Duration,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct DataDir {
    /// Directory of the embedded store [default: $XDG_DATA_HOME/surgetank or ~/.local/share/surgetank]
    #[arg(long, env = "SURGETANK_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// How many stored items to print first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) lines: u32,
    /// Ends after the stored items instead of waiting for new ones
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// One JSON object an item instead of a line of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct ShowArgs {
    /// Number of the item as `tail` prints it, or its event id (32 hexadecimal digits)
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// One JSON object with everything known about the item
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// The payload alone, byte for byte as it arrived
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct ReplayArgs {
    /// The script; tests/scenarios/README.md has the language
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Clone)]
pub(crate) struct SerialArgs {
    /// The line to the device: the path of a serial port, or tcp:HOST:PORT
    #[arg(value_name = "PORT", value_parser = Port::parse)]
    pub(crate) port: Port,
    /// Bits a second of a serial port, which has 8 data bits, no parity and one stop bit
    #[arg(long, env = "SURGETANK_BAUD", value_name = "RATE", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    pub(crate) baud: u32,
    /// Where envelopes go; a sidecar is a server like any other. The OTLP variables of OpenTelemetry clients count, too
    #[arg(long, env = "SENTRY_DSN", hide_env_values = true, value_name = "DSN")]
    pub(crate) dsn: Option<String>,
    /// Where OTLP goes; /v1/traces, /v1/logs and /v1/metrics are appended
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) otlp_endpoint: Option<String>,
    /// How long a server may take to answer
    #[arg(long, env = "SURGETANK_POST_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub(crate) post_timeout: Duration,
    /// How long SIGTERM waits until the device has the answer to what was sent
    #[arg(long, env = "SURGETANK_SHUTDOWN_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub(crate) shutdown_timeout: Duration,
}

impl std::fmt::Debug for SerialArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the DSN and the endpoint, which may hold keys.
        f.debug_struct("SerialArgs")
            .field("port", &self.port)
            .field("baud", &self.baud)
            .finish_non_exhaustive()
    }
}

impl Cli {
    /// What was asked for; `run` unless something else was.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

impl RunArgs {
    /// The Sentry upstream, checked here and not by the parser of the command line, which would repeat a wrong value,
    /// and with it a key.
    pub(crate) fn sentry_upstream(&self) -> Result<Option<Url>, String> {
        optional_upstream(
            "--sentry-upstream (SURGETANK_SENTRY_UPSTREAM)",
            self.sentry_upstream.as_deref(),
        )
    }

    /// The OTLP upstream; see [`RunArgs::sentry_upstream`].
    pub(crate) fn otlp_upstream(&self) -> Result<Option<Url>, String> {
        optional_upstream(
            "--otlp-upstream (SURGETANK_OTLP_UPSTREAM)",
            self.otlp_upstream.as_deref(),
        )
    }
}

/// An empty value, as a deployment file may leave it, is none.
fn optional_upstream(option: &str, text: Option<&str>) -> Result<Option<Url>, String> {
    text.filter(|text| !text.trim().is_empty())
        .map(|text| upstream(text.trim()).map_err(|error| format!("{option}: {error}")))
        .transpose()
}

impl DataDir {
    /// The directory that was given, or the user's own.
    pub(crate) fn path(&self) -> Result<PathBuf, String> {
        self.path_in(|name| std::env::var_os(name).map(PathBuf::from))
    }

    fn path_in(&self, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, String> {
        if let Some(given) = &self.data_dir {
            return Ok(given.clone());
        }
        // Relative values must be ignored (XDG Base Directory Specification).
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .map(|base| base.join("surgetank"))
            .ok_or_else(|| {
                "no directory for the embedded store: neither XDG_DATA_HOME nor HOME is set; \
                 give one with --data-dir or SURGETANK_DATA_DIR"
                    .to_owned()
            })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let named = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_| {
        "not an address; write IP:PORT, such as 127.0.0.1:8969, [::1]:8969 or 127.0.0.1:0".to_owned()
    })
}

fn upstream(text: &str) -> Result<Url, String> {
    const RIGHT: &str = "write a base URL such as https://o1.ingest.sentry.io or http://127.0.0.1:4318";
    let url = Url::parse(text).map_err(|error| format!("not a URL ({error}); {RIGHT}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme must be http or https; {RIGHT}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "a key does not belong here, the senders' own keys are used; {RIGHT}"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("a query or fragment does not belong here; {RIGHT}"));
    }
    Ok(url)
}

fn memory(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (MIN_MEMORY..=MAX_MEMORY).contains(bytes))
        .ok_or_else(|| format!("{text} is out of range: between 8MiB and {}GiB", MAX_MEMORY >> 30))
}

fn store_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if (MIN_STORE..=MAX_STORE).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("{text} is out of range: between 1MiB and 1TiB"))
    }
}

/// Bytes: a whole number and a unit; `64M`, `64MB` and `64MiB` all mean mebibytes, as people who size memory do.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        "t" | "tb" | "tib" => Some(40),
        _ => None,
    };
    let bytes = number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1u64 << shift));
    bytes.ok_or_else(|| {
        "not a size; write a whole number with a unit, such as 512KiB, 64MiB or 2GiB".to_owned()
    })
}

fn timeout(text: &str) -> Result<Duration, String> {
    ranged(
        text,
        Duration::from_millis(100),
        Duration::from_secs(3600),
        "between 100ms and 1h",
    )
}

fn store_age(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 24 * 3600;
    ranged(
        text,
        Duration::from_secs(1),
        Duration::from_secs(3650 * DAY),
        "between 1s and 3650d",
    )
}

fn ranged(text: &str, least: Duration, most: Duration, range: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if (least..=most).contains(&time) {
        Ok(time)
    } else {
        Err(format!("{text} is out of range: {range}"))
    }
}

/// A whole number and a unit; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let millis = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" | "min" => Some(60 * 1000),
        "h" => Some(3600 * 1000),
        "d" => Some(24 * 3600 * 1000),
        _ => None,
    };
    let millis = number
        .zip(millis)
        .and_then(|(number, unit)| number.checked_mul(unit));
    millis.map(Duration::from_millis).ok_or_else(|| {
        "not a time; write a whole number with one of the units ms, s, m, h, d, such as 500ms, 15s or 7d"
            .to_owned()
    })
}

fn number_and_unit(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    (number.parse().ok(), unit.trim_start())
}

#[cfg(test)]
mod tests;
