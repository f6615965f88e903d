//! `surgetank run`: puts the parts together, says when it is ready, and takes them apart again.

use crate::cli::RunArgs;
use crate::exporter::SidecarExporter;
use crate::relay::{Relay, Upstreams};
use crate::server::{Front, Port, serve};
use crate::shutdown::{Signals, farewell};
use crate::stderr::say;
use crate::store::{StoreEnd, StoreExporter, StoreLimits, Writer};
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use surgetank::delivery::http::{HttpExporter, HttpSettings};
use surgetank::delivery::{Delivery, DeliveryConfig, FlushReport};
use surgetank_core::config::{Config, WhenFull};
use surgetank_core::time;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

/// Destinations at a time: keys of projects, and OTLP senders with credentials of their own.
const MAX_DESTINATIONS: usize = 64;
/// Requests in flight, over all destinations.
const MAX_REQUESTS: usize = 128;
/// How long a record may wait for its upstream to come back.
const MAX_AGE: time::Duration = time::Duration::from_secs(24 * 3600);
/// File descriptors that are asked for: two ports full of connections, and the rest.
const FILE_DESCRIPTORS: u64 = 4096;

/// How long closing the store may take beyond the rest: everything in it is safe already.
const STORE_CLOSE: Duration = Duration::from_millis(500);

/// Why it did not start. Exhaustive.
#[derive(Debug)]
pub(crate) enum StartError {
    /// An option is wrong.
    Usage(String),
    /// Something that was asked for cannot be had.
    Failed(String),
}

pub(crate) fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Failed(error.to_string())
}

/// Runs until a signal ends it; the exit code says whether anything was left.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, StartError> {
    let upstreams = Upstreams {
        sentry: args.sentry_upstream().map_err(StartError::Usage)?,
        otlp: args.otlp_upstream().map_err(StartError::Usage)?,
    };
    raise_file_limit();
    // Two threads keep one long decoding from holding up the answers to others; the delivery and the store have threads
    // of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .thread_name("surgetank-http")
        .enable_all()
        .build()
        .map_err(failed)?;
    let ended = runtime.block_on(serve_until_told(args, upstreams));
    // What is still being decoded has nobody to answer to.
    runtime.shutdown_background();
    ended
}

async fn serve_until_told(args: &RunArgs, upstreams: Upstreams) -> Result<ExitCode, StartError> {
    let mut signals = Signals::new().map_err(failed)?;
    let listener = listen(args.listen, "--listen").await?;
    let otlp_listener = listen(args.otlp_listen, "--otlp-listen").await?;
    let addresses = [
        listener.local_addr().map_err(failed)?,
        otlp_listener.local_addr().map_err(failed)?,
    ];
    for (option, url) in [
        ("--sentry-upstream", &upstreams.sentry),
        ("--otlp-upstream", &upstreams.otlp),
    ] {
        if url
            .as_ref()
            .is_some_and(|url| addresses.iter().any(|address| is_same(url, address)))
        {
            return Err(StartError::Usage(format!(
                "{option} is this sidecar's own address; everything would go round"
            )));
        }
    }
    let directory = args.data_dir.path().map_err(StartError::Usage)?;
    let mode = match (&upstreams.sentry, &upstreams.otlp) {
        (None, None) => "embedded",
        (Some(_), Some(_)) => "forward",
        _ => "mixed",
    };
    let (store, stored) = if mode == "forward" {
        (None, None)
    } else {
        let (store, stored) = open_store(args, &directory)?;
        (Some(store), Some(stored))
    };
    let memory = Memory::of(args.memory);
    let delivery = start_delivery(&memory, store, mode != "embedded")?;
    let relay = Relay::new(delivery, upstreams, MAX_DESTINATIONS);
    let front = Arc::new(Front::new(relay, memory.bodies, args.body_timeout));

    let (stop, stopping) = watch::channel(false);
    let serve = |listener, port| tokio::spawn(serve(listener, port, Arc::clone(&front), stopping.clone()));
    let served = [serve(listener, Port::Sentry), serve(otlp_listener, Port::Otlp)];
    print_line(
        &json!({
            "event": "ready",
            "listen": addresses[0].to_string(),
            "otlp_listen": addresses[1].to_string(),
            "data_dir": directory.to_string_lossy(),
            "mode": mode,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
        })
        .to_string(),
    );

    signals.next().await;
    front.stop();
    stop.send_replace(true);
    let deadline = tokio::time::Instant::now() + args.shutdown_timeout;
    let drain = async {
        for served in served {
            if let Ok(stopped) = served.await {
                stopped.drained().await;
            }
        }
    };
    let (unanswered, hurried) = tokio::select! {
        () = drain => (false, false),
        () = tokio::time::sleep_until(deadline) => (true, false),
        // A second signal means now.
        () = signals.next() => (true, true),
    };
    let left = if hurried {
        Duration::ZERO
    } else {
        deadline.saturating_duration_since(tokio::time::Instant::now())
    };
    let report = close(&front, left, &mut signals).await;
    if let Some(stored) = stored {
        stored.wait(STORE_CLOSE);
    }
    let (line, code) = farewell(&report, front.refusals(), unanswered);
    print_line(&line);
    Ok(code)
}

/// Delivers what is queued; a signal ends that at once.
async fn close(front: &Arc<Front>, timeout: Duration, signals: &mut Signals) -> FlushReport {
    let closing = |timeout| {
        let front = Arc::clone(front);
        // A thread of its own: decoding may have taken all the others.
        let (report, closed) = tokio::sync::oneshot::channel();
        let spawned = std::thread::Builder::new().spawn(move || {
            // Whoever waits may have been told to hurry.
            let _ = report.send(front.relay().close(timeout));
        });
        (spawned.is_ok(), closed)
    };
    let (started, mut closed) = closing(timeout);
    if !started {
        return front.relay().close(Duration::ZERO);
    }
    let report = tokio::select! {
        report = &mut closed => report,
        () = signals.next() => {
            // Brings the end forward for the first call, too.
            closing(Duration::ZERO).1.await
        }
    };
    report.unwrap_or_default()
}

/// How the memory that was asked for is divided.
struct Memory {
    /// Requests that are being received.
    bodies: usize,
    /// What was just taken. A power of two; the largest request is half of it.
    intake: usize,
    /// What waits to be delivered.
    queue: usize,
}

impl Memory {
    fn of(total: usize) -> Self {
        let intake = 1usize << (total / 4).max(1).ilog2();
        // Twice: a body is there as it arrived and unpacked.
        let bodies = total / 4;
        Self {
            bodies,
            intake,
            queue: total - intake - bodies,
        }
    }
}

fn open_store(args: &RunArgs, directory: &Path) -> Result<(StoreExporter, StoreEnd), StartError> {
    let limits = StoreLimits {
        bytes: args.store_size,
        age: args.store_age,
    };
    let (writer, moved) = Writer::open(directory, limits).map_err(failed)?;
    if let Some(moved) = moved {
        say(format_args!(
            "the store was damaged; it was moved to {} and a new one begun",
            moved.display()
        ));
    }
    StoreExporter::start(writer).map_err(failed)
}

fn start_delivery(
    memory: &Memory,
    store: Option<StoreExporter>,
    forwards: bool,
) -> Result<Delivery<SidecarExporter>, StartError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(failed)?;
    let config = DeliveryConfig {
        intake_bytes: memory.intake,
        queue_bytes: memory.queue,
        max_destinations: MAX_DESTINATIONS,
        max_requests: MAX_REQUESTS,
        engine: Config {
            max_age: MAX_AGE,
            // A sender that was answered with 200 was promised delivery; who comes too late is told.
            when_full: WhenFull::RefuseNewest,
            // The room for more important lanes is kept before a record is taken.
            reserve_permille: 0,
            ..Config::DEFAULT
        },
        seed: u64::from_le_bytes(seed),
        thread_name: "surgetank-delivery",
        diagnostics: Some(Arc::new(|diagnostic| say(format_args!("{diagnostic}")))),
    };
    let http = HttpExporter::new(HttpSettings::default());
    if forwards {
        http.prepare();
    }
    let exporter = SidecarExporter::new(http, store);
    let (delivery, _) = Delivery::new(config, exporter, Vec::new()).map_err(failed)?;
    if delivery.start() {
        Ok(delivery)
    } else {
        Err(failed("the system gives no thread for the delivery"))
    }
}

async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        failed(format_args!(
            "cannot listen on {address}: {error}; choose another address with {option}, port 0 for a free one"
        ))
    })
}

/// True when `url` leads to `address`, as far as that shows without a name server.
fn is_same(url: &Url, address: &SocketAddr) -> bool {
    let host = match url.host() {
        Some(url::Host::Ipv4(host)) => host.into(),
        Some(url::Host::Ipv6(host)) => host.into(),
        Some(url::Host::Domain(name)) if name.eq_ignore_ascii_case("localhost") => address.ip(),
        _ => return false,
    };
    let here = address.ip() == host || address.ip().is_unspecified() && host.is_loopback();
    url.port_or_known_default() == Some(address.port()) && here
}

/// Asks for as many file descriptors as the connections may need, as far as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(FILE_DESCRIPTORS, |most| most.min(FILE_DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        // Without it fewer connections find a place; nothing else changes.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Prints a line for programs; whoever closed standard output does not want it.
pub(crate) fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
