//! The status as JSON, by the core's own writer: the same text as [`Status::to_json`], which keeps paths to a panic. The
//! comparison of hosts holds one against the other.

use surgetank_core::health::Level;
use surgetank_core::item::Category;
use surgetank_core::status::Status;
use surgetank_core::wire::WriteError;
use surgetank_core::wire::json::Writer;

use crate::output::{Full, Out};

/// Writes `status` as one JSON object.
pub(crate) fn write(status: &Status<'_>, out: &mut Out<'_>) -> Result<(), WriteError<Full>> {
    let mut json = Writer::new(out);
    json.begin_object()?.key("health")?.begin_object()?;
    json.key("level")?.text(match status.health.level {
        Level::Healthy => "healthy",
        Level::Degraded => "degraded",
        Level::Unhealthy => "unhealthy",
    })?;
    json.key("causes")?.begin_array()?;
    for cause in status.health.causes.iter() {
        json.text(cause.as_str())?;
    }
    json.end_array()?.end_object()?;
    json.key("fill_permille")?
        .unsigned(u64::from(status.fill_permille))?;
    json.key("factor")?.unsigned(u64::from(status.factor))?;
    json.key("in_flight")?.unsigned(status.in_flight as u64)?;
    let counters = status.counters;
    json.key("counters")?.begin_object()?;
    for (name, count) in [
        ("stale_answers", counters.stale_answers),
        ("stalls", counters.stalls),
        ("clock_steps_back", counters.clock_steps_back),
        ("notices_lost", counters.notices_lost),
    ] {
        json.key(name)?.unsigned(u64::from(count))?;
    }
    json.end_object()?;
    let totals = status.totals;
    json.key("totals")?.begin_object()?;
    json.key("categories")?.begin_object()?;
    for category in Category::ALL {
        let sums = totals.of(category);
        if sums.recorded > 0 {
            json.key(category.as_str())?.begin_object()?;
            json.key("recorded")?.unsigned(sums.recorded)?;
            json.key("delivered")?.unsigned(sums.delivered)?;
            json.key("dropped")?.unsigned(sums.dropped)?;
            json.key("queued")?.unsigned(sums.queued())?;
            json.end_object()?;
        }
    }
    json.end_object()?.key("dropped")?.begin_array()?;
    for entry in totals.reasons() {
        json.begin_object()?;
        json.key("category")?.text(entry.category.as_str())?;
        json.key("reason")?.text(entry.reason.as_str())?;
        json.key("quantity")?.unsigned(entry.quantity)?;
        json.end_object()?;
    }
    json.end_array()?;
    json.key("unreported")?.unsigned(totals.unreported())?;
    json.end_object()?.end_object()?;
    Ok(())
}
