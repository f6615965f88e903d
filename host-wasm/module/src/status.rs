//! The status as JSON, piece by piece: the same text as [`Status::to_json`], which keeps paths to a panic. The comparison of
//! hosts holds one against the other. No text in it needs an escape.

use surgetank_core::health::Level;
use surgetank_core::item::Category;
use surgetank_core::status::Status;

use crate::output::Out;

/// Writes `status` as one JSON object.
pub(crate) fn write(status: &Status<'_>, out: &mut Out<'_>) {
    text(
        out,
        "{\"health\":{\"level\":",
        match status.health.level {
            Level::Healthy => "healthy",
            Level::Degraded => "degraded",
            Level::Unhealthy => "unhealthy",
        },
    );
    out.bytes(b",\"causes\":[");
    let mut before = "";
    for cause in status.health.causes.iter() {
        text(out, before, cause.as_str());
        before = ",";
    }
    out.decimal("]},\"fill_permille\":", u64::from(status.fill_permille));
    out.decimal(",\"factor\":", u64::from(status.factor));
    out.decimal(",\"in_flight\":", status.in_flight as u64);
    let counters = status.counters;
    out.decimal(
        ",\"counters\":{\"stale_answers\":",
        u64::from(counters.stale_answers),
    );
    out.decimal(",\"stalls\":", u64::from(counters.stalls));
    out.decimal(",\"clock_steps_back\":", u64::from(counters.clock_steps_back));
    out.decimal(",\"notices_lost\":", u64::from(counters.notices_lost));
    let totals = status.totals;
    out.bytes(b"},\"totals\":{\"categories\":{");
    before = "";
    for category in &Category::ALL {
        let sums = totals.of(*category);
        if sums.recorded > 0 {
            text(out, before, category.as_str());
            out.decimal(":{\"recorded\":", sums.recorded);
            out.decimal(",\"delivered\":", sums.delivered);
            out.decimal(",\"dropped\":", sums.dropped);
            out.decimal(",\"queued\":", sums.queued());
            out.bytes(b"}");
            before = ",";
        }
    }
    out.bytes(b"},\"dropped\":[");
    before = "{\"category\":";
    for entry in totals.reasons() {
        text(out, before, entry.category.as_str());
        text(out, ",\"reason\":", entry.reason.as_str());
        out.decimal(",\"quantity\":", entry.quantity);
        out.bytes(b"}");
        before = ",{\"category\":";
    }
    out.decimal("],\"unreported\":", totals.unreported());
    out.bytes(b"}}");
}

/// Writes `before` and `text` between quotes.
#[inline(never)]
fn text(out: &mut Out<'_>, before: &str, text: &str) {
    out.bytes(before.as_bytes())
        .bytes(b"\"")
        .bytes(text.as_bytes())
        .bytes(b"\"");
}
