//! The sidecar under load: `wrk` sends envelopes over loopback, an upstream answers at once.
//!
//! These are wall times on whatever else the machine does, with load, sidecar and upstream on the same cores; processor
//! time and memory are read from the system and are steadier.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::upstream::{Mode, Upstream};

/// How long each load lasts.
const SECONDS: u64 = 5;

/// Payload in bytes and connections.
const LOADS: [(&str, usize, u32); 4] = [
    ("event", 1024, 1),
    ("event", 1024, 8),
    ("event", 1024, 64),
    ("transaction", 10 * 1024, 64),
];

/// The table of both modes, and what the program itself takes.
pub(crate) fn report(binary: &Path, scratch: &Path) -> Result<String> {
    let server = Upstream::start(Mode::Fast)?;
    let mut text = String::new();
    writeln!(
        text,
        "- program, stripped: {:.1} MB",
        stripped(binary, scratch)? as f64 / 1e6
    )?;
    for (mode, upstream) in [
        (
            "forwarding to an upstream that answers at once",
            Some(format!("http://{}", server.address)),
        ),
        ("embedded store", None),
    ] {
        let idle = Sidecar::start(binary, scratch, upstream.as_deref())?;
        writeln!(
            text,
            "- {mode}: ready line after {} ms, {} MiB resident when idle",
            idle.ready.as_millis(),
            idle.resident("VmRSS:")? / 1024
        )?;
        drop(idle);
        text.push_str(
            "\n| payload, connections | answered/s | taken/s | p50 | p99 | CPU s per 10 k | highest RSS MiB |\n|---|---|---|---|---|---|---|\n",
        );
        for (kind, bytes, connections) in LOADS {
            eprintln!("sidecar, {mode}: {kind} {bytes} B, {connections} connections ...");
            let sidecar = Sidecar::start(binary, scratch, upstream.as_deref())?;
            let before = sidecar.processor_seconds()?;
            let load = load(&sidecar.address, scratch, kind, bytes, connections)?;
            let spent = sidecar.processor_seconds()? - before;
            writeln!(
                text,
                "| {kind} {} KiB, {connections} | {:.0} | {:.0} | {} | {} | {:.2} | {} |",
                bytes / 1024,
                load.requests as f64 / load.seconds,
                (load.requests - load.refused) as f64 / load.seconds,
                load.p50,
                load.p99,
                spent / load.requests as f64 * 10_000.0,
                sidecar.resident("VmHWM:")? / 1024,
            )?;
        }
        text.push('\n');
    }
    Ok(text)
}

struct Sidecar {
    child: Child,
    address: String,
    ready: Duration,
}

impl Sidecar {
    fn start(binary: &Path, scratch: &Path, upstream: Option<&str>) -> Result<Self> {
        let data = scratch.join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        let mut command = Command::new(binary);
        command
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--otlp-listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(&data)
            .stdout(Stdio::piped());
        if let Some(upstream) = upstream {
            command.args(["--sentry-upstream", upstream]);
        }
        #[expect(clippy::disallowed_methods, reason = "how long it takes is measured")]
        let begun = Instant::now();
        let mut sidecar = Self {
            child: command
                .spawn()
                .with_context(|| format!("could not start {}", binary.display()))?,
            address: String::new(),
            ready: Duration::ZERO,
        };
        let out = sidecar.child.stdout.take().context("its output is read")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        sidecar.ready = begun.elapsed();
        let (_, after) = line.split_once("\"listen\":\"").context("no ready line")?;
        sidecar.address = after.split('"').next().unwrap_or_default().to_owned();
        Ok(sidecar)
    }

    fn file(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!(
            "/proc/{}/{name}",
            self.child.id()
        ))?)
    }

    /// A figure of its memory in KiB.
    fn resident(&self, figure: &str) -> Result<u64> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .context("no such figure")
    }

    /// Time on all processors, in the program and for it: ticks of 10 ms.
    fn processor_seconds(&self) -> Result<f64> {
        let stat = self.file("stat")?;
        let (_, after) = stat.rsplit_once(')').context("an unknown format")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: u64 = [11, 12]
            .iter()
            .filter_map(|at| fields.get(*at)?.parse::<u64>().ok())
            .sum();
        Ok(ticks as f64 / 100.0)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Load {
    requests: u64,
    seconds: f64,
    p50: String,
    p99: String,
    refused: u64,
}

fn load(address: &str, scratch: &Path, kind: &str, bytes: usize, connections: u32) -> Result<Load> {
    let script = scratch.join("load.lua");
    std::fs::write(&script, script_of(kind, bytes))?;
    let threads = connections.min(2).to_string();
    let output = Command::new("wrk")
        .args([
            "--latency",
            "--threads",
            &threads,
            "--connections",
            &connections.to_string(),
        ])
        .args(["--duration", &format!("{SECONDS}s"), "--script"])
        .arg(&script)
        .arg(format!(
            "http://{address}/api/1/envelope/?sentry_key=e12d836b15bb49d7bbf99e64295d995b"
        ))
        .output()
        .context("wrk is needed: `apt-get install wrk`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    let after = |mark: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(mark))?;
        line.trim_start()
            .strip_prefix(mark)?
            .split_whitespace()
            .next()
            .map(str::to_owned)
    };
    let requests: u64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .with_context(|| format!("wrk says nothing of its requests: {text}"))?;
    Ok(Load {
        requests,
        seconds: SECONDS as f64,
        p50: after("50%").unwrap_or_default(),
        p99: after("99%").unwrap_or_default(),
        refused: after("Non-2xx or 3xx responses:")
            .and_then(|number| number.parse().ok())
            .unwrap_or(0),
    })
}

/// An envelope of that many bytes, sent as it stands by every request.
fn script_of(kind: &str, bytes: usize) -> String {
    let span = r#"{"span_id":"00f067aa0ba902b7","op":"db","description":"SELECT * FROM items WHERE id = ?","start_timestamp":1800000000.25,"timestamp":1800000000.5}"#;
    let wrap = |inner: &str| match kind {
        "event" => format!(r#"{{"level":"error","message":"{inner}"}}"#),
        _ => format!(
            r#"{{"type":"transaction","transaction":"GET /","start_timestamp":1800000000,"timestamp":1800000001,"contexts":{{"trace":{{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"53995c3f42cd8ad8"}}}},"spans":[{inner}]}}"#
        ),
    };
    let filling = bytes.saturating_sub(120 + wrap("").len());
    let payload = match kind {
        "event" => wrap(&"x".repeat(filling)),
        _ => wrap(&vec![span; filling / (span.len() + 1)].join(",")),
    };
    let body = format!(
        "{{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}}\n{{\"type\":\"{kind}\",\"length\":{}}}\n{payload}\n",
        payload.len()
    );
    format!(
        "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/x-sentry-envelope\"\nwrk.body = [==[{body}]==]\n"
    )
}

/// Bytes of the program without its symbols.
fn stripped(binary: &Path, scratch: &Path) -> Result<u64> {
    let copy = scratch.join("stripped");
    let status = Command::new("strip").arg("-o").arg(&copy).arg(binary).status();
    ensure!(
        status.is_ok_and(|status| status.success()),
        "`strip` of binutils is needed"
    );
    Ok(std::fs::metadata(&copy)?.len())
}
