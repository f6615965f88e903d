//! What the engine says, laid out in the output window; and answers of servers, read from the input window.

use surgetank_core::engine::DestinationStatus;
use surgetank_core::health::Health;
use surgetank_core::item::Category;
use surgetank_core::ledger::{CategoryTotals, Totals};
use surgetank_core::notice::{Ack, Deadline, Notice, Settlement};
use surgetank_core::request::Request;
use surgetank_core::response::{GrpcStatus, Response};
use surgetank_core::time::UnixTime;

use crate::codes::{self, number};
use crate::error::{Code, Error, Said};
use crate::fields::{self, Fields};
use crate::output::Out;

/// Lines of `X-Sentry-Rate-Limits` that one answer may have; a host joins further ones with a comma.
const MAX_LINES: usize = 16;

/// Calls `with` with the answer that `bytes` describe.
pub(crate) fn with_response<T>(bytes: &[u8], with: impl FnOnce(&Response<'_>) -> T) -> Result<T, Error> {
    let mut response = Response::default();
    let mut lines: [&[u8]; MAX_LINES] = [&[]; MAX_LINES];
    let mut used = 0;
    let mut grpc = GrpcStatus::default();
    let mut over_grpc = false;
    let mut fields = Fields::new(bytes);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => {
                let status = fields::number(value)?.try_into();
                response.status = status.map_err(|_| const { &Said::malformed("that is no HTTP status") })?;
            }
            2 => response.wall = UnixTime::from_micros(fields::number(value)?),
            3 => response.retry_after = Some(value),
            4 => {
                *lines
                    .get_mut(used)
                    .ok_or(const { &Said::malformed("more than 16 lines of rate limits; join them") })? =
                    value;
                used += 1;
            }
            5 => response.content_type = Some(value),
            6 => response.body = value,
            7 => over_grpc = true,
            8 => {
                let code = fields::number(value)?.try_into();
                grpc.code = Some(code.map_err(|_| const { &Said::malformed("that is no gRPC status") })?);
            }
            9 => grpc.message = Some(value),
            10 => grpc.details = Some(value),
            _ => return Err(const { &Said::malformed("an answer has no field of that number") }),
        }
    }
    response.rate_limits = lines.get(..used).unwrap_or_default();
    response.grpc = over_grpc.then_some(grpc);
    Ok(with(&response))
}

/// The answer to an outcome: its number, with what goes with it in 16 bytes.
pub(crate) fn ack(ack: Ack, out: &mut Out<'_>) -> Result<i64, Error> {
    match ack {
        Ack::Settled(settled) => {
            let (kind, reason, value) = settlement(settled);
            out.word(kind as u32).word(reason).long(value);
            Ok(i64::from(kind))
        }
        Ack::Stale => {
            Err(const { &Said::new(Code::Stale, "the request was settled before, or never existed") })
        }
    }
}

/// Number, reason, value.
fn settlement(settlement: Settlement) -> (i32, u32, u64) {
    use codes::settlement::{DELIVERED, DROPPED, PARTIAL, RATE_LIMITED, RETRY};
    match settlement {
        Settlement::Delivered => (DELIVERED, 0, 0),
        Settlement::Partial { rejected } => (PARTIAL, 0, rejected),
        Settlement::RateLimited { covered } => (RATE_LIMITED, 0, covered.bits()),
        Settlement::Dropped { reason } => (DROPPED, reason as u32, 0),
        Settlement::Retry { reason, pause } => (RETRY, reason as u32, pause.as_micros()),
    }
}

/// A request that is to be sent: 40 bytes.
pub(crate) fn send(request: &Request<'_>, out: &mut Out<'_>) {
    out.long(request.id().bits())
        .word(request.destination().bits())
        .word(u32::from(number(&codes::KINDS, &request.kind())))
        .word(request.attempt())
        .word(request.records())
        .word(request.payload_bytes())
        .word(u32::from(request.carries_report()))
        .long(request.timeout().as_micros());
}

/// A deadline, or none: 16 bytes.
pub(crate) fn idle(deadline: Option<Deadline>, out: &mut Out<'_>) {
    let (is_there, reason, at) = match deadline {
        None => (0, 0, 0),
        Some(Deadline { at, reason }) => (1, number(&codes::DEADLINES, &reason), at.as_micros()),
    };
    out.word(is_there).word(u32::from(reason)).long(at);
}

/// A notice: 24 bytes.
pub(crate) fn notice(notice: Notice, out: &mut Out<'_>) {
    use codes::notice::{BREAKER, FACTOR, HEALTH, LEFT, SETTLED, STALLED};
    let (kind, a, b, c, wide) = match notice {
        Notice::Health(change) => (
            HEALTH,
            health(change.from),
            health(change.to),
            change.cause as u32,
            0,
        ),
        Notice::Factor(change) => (
            FACTOR,
            u32::from(change.from),
            u32::from(change.to),
            u32::from(number(&codes::FACTOR_CAUSES, &change.cause)),
            0,
        ),
        Notice::Breaker { destination, state } => (
            BREAKER,
            destination.bits(),
            u32::from(number(&codes::BREAKERS, &state)),
            0,
            0,
        ),
        Notice::Stalled { request } => (STALLED, 0, 0, 0, request.bits()),
        Notice::Settled {
            destination,
            status,
            records,
            settlement: settled,
        } => {
            let (kind, reason, value) = settlement(settled);
            let status = u32::from(status.unwrap_or_default());
            let what = status << 16 | reason << 8 | kind as u32;
            (SETTLED, destination.bits(), what, records, value)
        }
        Notice::Left { records } => (LEFT, records, 0, 0, 0),
    };
    out.word(kind).word(a).word(b).word(c).long(wide);
}

/// Health in one word: the level in the high half, the causes in the low one.
pub(crate) fn health(health: Health) -> u32 {
    u32::from(number(&codes::LEVELS, &health.level)) << 16 | u32::from(health.causes.bits())
}

/// Sums and reasons: two counts, then rows.
pub(crate) fn totals(totals: &Totals, out: &mut Out<'_>) {
    let is_used = |category: &&Category| totals.of(**category) != CategoryTotals::default();
    out.word(Category::ALL.iter().filter(is_used).count() as u32)
        .word(totals.reasons().len() as u32)
        .long(totals.unlisted())
        .long(totals.unreported());
    for category in Category::ALL.iter().filter(is_used) {
        let sums = totals.of(*category);
        out.long(*category as u64)
            .long(sums.recorded)
            .long(sums.delivered)
            .long(sums.dropped);
    }
    for entry in totals.reasons() {
        out.word(entry.category as u32)
            .word(entry.reason as u32)
            .long(entry.quantity);
    }
}

/// One destination: 64 bytes.
pub(crate) fn destination(status: &DestinationStatus, out: &mut Out<'_>) {
    for waiting in status.waiting {
        out.word(waiting);
    }
    out.word(status.on_wire)
        .word(status.parked)
        .word(u32::from(status.concurrency))
        .word(u32::from(number(&codes::BREAKERS, &status.breaker)))
        .word(status.used_blocks)
        .word(u32::from(status.paused_for.is_some()))
        .word(0)
        .long(status.paused_for.unwrap_or_default().as_micros())
        .long(status.limited.bits());
}
