//! The report: what was measured, part by part, against what was aimed at.

mod calls;
mod delivery;
mod figures;
mod inside;
mod queues;
mod targets;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::callgrind;
use crate::cases::Part;
use crate::charts::Chart;
use crate::{load, sidecar};
use figures::Figures;

/// What was asked for.
pub(crate) struct Order {
    /// Only these parts; all when there is none.
    pub(crate) only: Vec<Part>,
    pub(crate) quick: bool,
    /// The folder for the report and its charts.
    pub(crate) to: PathBuf,
    pub(crate) scratch: PathBuf,
    /// The sidecar's program.
    pub(crate) sidecar: PathBuf,
    /// This program without the peers in it.
    pub(crate) alone: PathBuf,
}

impl Order {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How often what is timed is done.
    fn runs(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// That much, or a tenth of it where it only has to be seen to work.
    fn much(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

/// What is gathered while measuring.
#[derive(Default)]
struct Report {
    text: String,
    figures: Figures,
    charts: Vec<Chart>,
}

type Section = fn(&Order, &mut Report) -> Result<()>;

const SECTIONS: [(Part, Section); 6] = [
    (Part::Engine, inside::engine),
    (Part::Queues, queues::section),
    (Part::Wire, inside::wire),
    (Part::Calls, calls::section),
    (Part::Delivery, delivery::section),
    (Part::Sidecar, sidecar_section),
];

/// Measures and shows; writes report and charts when everything was measured in full.
pub(crate) fn write(order: &Order) -> Result<()> {
    std::fs::create_dir_all(&order.scratch)?;
    let mut report = Report::default();
    for (part, section) in SECTIONS {
        if order.wants(part) {
            section(order, &mut report)?;
        }
    }
    let text = format!(
        "{}{}{}",
        heading(order)?,
        targets::table(&report.figures)?,
        report.text
    );
    println!("{text}");
    let whole = order.only.is_empty() && !order.quick;
    let to = if whole { &order.to } else { &order.scratch };
    let charts = to.join("charts");
    std::fs::create_dir_all(&charts)?;
    for chart in &report.charts {
        chart.write(&charts)?;
    }
    let file = to.join("REPORT.md");
    std::fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
    eprintln!("written: {} and its charts", file.display());
    Ok(())
}

impl Report {
    /// Opens a section.
    fn title(&mut self, title: &str, remark: &str) -> Result<()> {
        writeln!(self.text, "\n## {title}\n\n{remark}\n")?;
        Ok(())
    }

    /// The first two lines of a table.
    fn head(&mut self, columns: &[&str]) -> Result<()> {
        writeln!(
            self.text,
            "\n| {} |\n|{}",
            columns.join(" | "),
            "---|".repeat(columns.len())
        )?;
        Ok(())
    }

    fn row(&mut self, cells: &[String]) -> Result<()> {
        writeln!(self.text, "| {} |", cells.join(" | "))?;
        Ok(())
    }

    /// Shows a chart here and keeps it to be drawn.
    fn chart(&mut self, chart: Chart) -> Result<()> {
        writeln!(self.text, "\n![{}](charts/{}.svg)", chart.title, chart.name)?;
        self.charts.push(chart);
        Ok(())
    }
}

fn heading(order: &Order) -> Result<String> {
    let mut text = String::from(
        "# Figures\n\nWritten by `cargo xtask bench`. **Instructions** are counted by callgrind and do not depend on how busy the machine \
         is: they are the figures to quote. Wall times and rates depend on it, are noisy, and stand here with the number of their \
         runs. What was tried on the way to them is in [FINDINGS.md](FINDINGS.md).\n\n",
    );
    let mut line = |name: &str, value: &str| writeln!(text, "- {name}: {}", value.trim());
    line("date", &output("date", &["-u", "+%Y-%m-%d"]))?;
    line("processor", &processor())?;
    line("system", &output("uname", &["-srm"]))?;
    line("compiler", &output("rustc", &["--version"]))?;
    line(
        "flags",
        "release, opt-level 3, fat LTO, one codegen unit, for everything in a table alike",
    )?;
    line("counted by", &callgrind::version()?)?;
    line(
        "timed by",
        &format!(
            "two looks at the clock, which take {} ns by themselves and are part of each time",
            load::clock_cost().as_nanos()
        ),
    )?;
    line(
        "load average of the last minute when it was written",
        std::fs::read_to_string("/proc/loadavg")?
            .split(' ')
            .next()
            .unwrap_or("unknown"),
    )?;
    line(
        "peers",
        "`sentry` 0.49 with its own transport, `opentelemetry_sdk` and `opentelemetry-otlp` 0.33 over HTTP with protobuf, each \
         with its defaults; exact versions in [Cargo.lock](Cargo.lock)",
    )?;
    line(
        "server",
        "a process of its own on loopback, which counts what it gets; what is called delivered is its count",
    )?;
    line(
        "ratios",
        "a row's figure divided by that of the best peer in the same table for the same kind of item",
    )?;
    if order.quick {
        line("**short runs**", "to see that it works, not to quote")?;
    }
    Ok(text)
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        Some(
            line.strip_prefix("model name")?
                .trim_start_matches([' ', '\t', ':']),
        )
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", name.unwrap_or("unknown"))
}

fn sidecar_section(order: &Order, report: &mut Report) -> Result<()> {
    report.title(
        "Sidecar under load",
        "Release build (thin LTO), default memory of 128 MiB; `wrk`, sidecar and upstream share the cores, so rates and \
         latencies are **wall times and noisy**, one run each. An upstream answers on loopback at once; what finds no room \
         is refused with 503 at once: answered, but not taken.",
    )?;
    report
        .text
        .push_str(&sidecar::report(&order.sidecar, &order.scratch)?);
    Ok(())
}
