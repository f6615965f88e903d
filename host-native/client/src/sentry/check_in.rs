//! Check-ins of scheduled jobs ("Check-In Payloads").

use core::time::Duration;

use surgetank_core::wire::otlp::encode::TraceId;
use surgetank_core::wire::otlp::protobuf::Out;

use super::{Item, SentryContext, number, text};
use crate::ids::EventId;
use crate::json::{Encode, Json, name};

/// A check-in: a job began, or ended.
#[derive(Clone, Copy, Debug)]
pub struct CheckIn<'a> {
    /// The monitor's slug.
    pub monitor: &'a str,
    /// What happened.
    pub status: CheckInStatus,
    /// The id that the job's first check-in returned; a new one if absent.
    pub id: Option<EventId>,
    /// How long the job took.
    pub duration: Option<Duration>,
    /// Creates or updates the monitor.
    pub config: Option<Monitor<'a>>,
    /// The trace the job's events belong to.
    pub trace_id: Option<TraceId>,
}

/// State of a job.
///
/// Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CheckInStatus {
    /// It began.
    InProgress,
    /// It ended well.
    Ok,
    /// It failed.
    Error,
}

impl CheckInStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// How a job should run. Zero and empty fields are left to Sentry's defaults.
#[derive(Clone, Copy, Debug)]
pub struct Monitor<'a> {
    /// When it should run.
    pub schedule: Schedule<'a>,
    /// Minutes it may be late.
    pub checkin_margin: u32,
    /// Minutes it may take.
    pub max_runtime: u32,
    /// Name of the time zone of the schedule.
    pub timezone: &'a str,
    /// Failures in a row that make an issue.
    pub failure_issue_threshold: u32,
    /// Successes in a row that resolve it.
    pub recovery_threshold: u32,
}

/// When a job should run. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule<'a> {
    /// As a crontab line says.
    Crontab(&'a str),
    /// Every so many units.
    Every(u32, Interval),
}

/// Unit of an interval. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Interval {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Interval {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

pub(crate) struct Payload<'a> {
    check_in: &'a CheckIn<'a>,
    id: EventId,
    context: &'a SentryContext,
}

/// A check-in with what its client adds, as one envelope item.
pub(crate) fn encoded_check_in<'a>(
    check_in: &'a CheckIn<'a>,
    id: EventId,
    context: &'a SentryContext,
) -> Item<Payload<'a>> {
    Item::new(
        "check_in",
        Payload {
            check_in,
            id,
            context,
        },
    )
}

impl Encode for Payload<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let Self {
            check_in,
            id,
            context,
        } = *self;
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("check_in_id"));
        json.hex_16(id.as_bytes());
        text(&mut json, name!("monitor_slug"), check_in.monitor);
        text(&mut json, name!("status"), check_in.status.as_str());
        if let Some(duration) = check_in.duration {
            json.name(name!("duration"));
            json.seconds(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
        json.members(&context.release);
        if let Some(monitor) = &check_in.config {
            write_monitor(&mut json, monitor);
        }
        if let Some(trace_id) = check_in.trace_id {
            json.name(name!("contexts"));
            json.begin_object();
            json.name(name!("trace"));
            json.begin_object();
            json.name(name!("trace_id"));
            json.hex_16(&trace_id.bytes());
            json.end_object();
            json.end_object();
        }
        json.end_object();
    }
}

fn write_monitor<O: Out>(json: &mut Json<'_, O>, monitor: &Monitor<'_>) {
    json.name(name!("monitor_config"));
    json.begin_object();
    json.name(name!("schedule"));
    json.begin_object();
    match monitor.schedule {
        Schedule::Crontab(line) => {
            text(json, name!("type"), "crontab");
            text(json, name!("value"), line);
        }
        Schedule::Every(count, unit) => {
            text(json, name!("type"), "interval");
            json.name(name!("value"));
            json.u64(u64::from(count));
            text(json, name!("unit"), unit.as_str());
        }
    }
    json.end_object();
    number(json, name!("checkin_margin"), monitor.checkin_margin);
    number(json, name!("max_runtime"), monitor.max_runtime);
    text(json, name!("timezone"), monitor.timezone);
    number(
        json,
        name!("failure_issue_threshold"),
        monitor.failure_issue_threshold,
    );
    number(json, name!("recovery_threshold"), monitor.recovery_threshold);
    json.end_object();
}
