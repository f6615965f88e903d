//! The engine at a glance, as JSON. The words are the core's; `js/types.d.ts` has the type.

use embedded_io::Write;
use surgetank_core::breaker::BreakerState;
use surgetank_core::engine::Engine;
use surgetank_core::health::Level;
use surgetank_core::item::{Category, DestinationId};
use surgetank_core::storage::Storage;
use surgetank_core::wire::WriteError;
use surgetank_core::wire::json::Writer;

/// Writes the status of `engine` and of these destinations.
pub(crate) fn write<S: Storage, W: Write>(
    engine: &Engine<S>,
    destinations: impl Iterator<Item = DestinationId>,
    out: &mut W,
) -> Result<(), WriteError<W::Error>> {
    let health = engine.health();
    let totals = engine.totals();
    let counters = engine.counters();
    let mut json = Writer::new(out);
    json.begin_object()?;
    json.key("health")?.text(match health.level {
        Level::Healthy => "healthy",
        Level::Degraded => "degraded",
        Level::Unhealthy => "unhealthy",
    })?;
    json.key("causes")?.begin_array()?;
    for cause in health.causes.iter() {
        json.text(cause.as_str())?;
    }
    json.end_array()?;
    json.key("fillPermille")?
        .unsigned(engine.fill().permille().into())?;
    json.key("factor")?.unsigned(engine.factor().into())?;
    json.key("inFlight")?.unsigned(engine.in_flight() as u64)?;
    json.key("stalls")?.unsigned(counters.stalls.into())?;
    json.key("staleAnswers")?
        .unsigned(counters.stale_answers.into())?;
    json.key("clockStepsBack")?
        .unsigned(counters.clock_steps_back.into())?;
    json.key("categories")?.begin_object()?;
    for category in Category::ALL {
        let sums = totals.of(category);
        if sums.recorded > 0 {
            json.key(category.as_str())?.begin_object()?;
            json.key("recorded")?.unsigned(sums.recorded)?;
            json.key("delivered")?.unsigned(sums.delivered)?;
            json.key("dropped")?.unsigned(sums.dropped)?;
            json.key("queued")?.unsigned(sums.queued())?.end_object()?;
        }
    }
    json.end_object()?;
    json.key("dropped")?.begin_array()?;
    for entry in totals.reasons() {
        json.begin_object()?
            .key("category")?
            .text(entry.category.as_str())?;
        json.key("reason")?.text(entry.reason.as_str())?;
        json.key("quantity")?.unsigned(entry.quantity)?.end_object()?;
    }
    json.end_array()?;
    json.key("destinations")?.begin_array()?;
    for status in destinations.filter_map(|id| engine.destination(id)) {
        json.begin_object()?.key("waiting")?;
        json.unsigned(status.waiting.iter().copied().map(u64::from).sum())?;
        json.key("inFlight")?.unsigned(status.on_wire.into())?;
        json.key("retrying")?.unsigned(status.parked.into())?;
        json.key("concurrency")?.unsigned(status.concurrency.into())?;
        json.key("breaker")?.text(match status.breaker {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        })?;
        let paused = status.paused_for.map_or(0, |span| span.as_millis());
        json.key("pausedMs")?.unsigned(paused)?;
        json.key("limited")?.begin_array()?;
        for category in status.limited.iter() {
            json.text(category.as_str())?;
        }
        json.end_array()?.end_object()?;
    }
    json.end_array()?.end_object()?;
    Ok(())
}
