//! What JavaScript calls: numbers in, numbers out. Times are milliseconds, as the platform's clocks give them; bytes lie
//! in the two windows of [`Host`], whose addresses are asked for anew whenever memory may have grown.
//!
//! There is one engine. Calls before [`start`] are without effect.

use alloc::boxed::Box;

use surgetank_core::engine::FlushId;
use surgetank_core::item::{Category, DropReason, Form, Outcome};
use surgetank_core::response::Failure;
use surgetank_core::time::{Duration, Instant, UnixTime};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::host::{Answer, Host, Next, What};
use crate::page::{self, FLUSHES, Page, with};

/// Says that there is none, where a number is asked for.
const NONE: u32 = u32::MAX;

/// The engine's time of a reading in milliseconds; NaN and negative readings are the origin.
fn instant(millis: f64) -> Instant {
    Instant::from_micros((millis * 1000.0) as u64)
}

fn span(millis: f64) -> Duration {
    Duration::from_micros((millis * 1000.0) as u64)
}

fn wall_time(millis: f64) -> UnixTime {
    UnixTime::from_micros((millis * 1000.0) as u64)
}

fn category_of(number: u32) -> Category {
    u8::try_from(number)
        .ok()
        .and_then(Category::from_number)
        .unwrap_or(Category::Default)
}

const fn reason_number(outcome: Result<(), DropReason>) -> u32 {
    match outcome {
        Ok(()) => NONE,
        Err(reason) => reason as u32,
    }
}

const fn outcome_number(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Queued => NONE,
        Outcome::Dropped(reason) => reason as u32,
    }
}

/// Starts the engine anew: records of an earlier one are gone with it. False when it cannot.
#[wasm_bindgen]
pub fn start(now: f64, queue_bytes: u32, seed: f64) -> bool {
    let page = Host::new(queue_bytes as usize, seed as u64, instant(now)).map(|host| {
        Box::new(Page {
            host,
            flushes: [None; FLUSHES],
        })
    });
    let started = page.is_some();
    page::set(page);
    started
}

/// Address of the input window.
#[wasm_bindgen]
pub fn input() -> usize {
    with(0, |page| page.host.input().as_ptr() as usize)
}

/// Length of the input window, in bytes; a record that does not fit it is too large.
#[wasm_bindgen]
pub fn input_length() -> usize {
    with(0, |page| page.host.input().len())
}

/// Address of the output window.
#[wasm_bindgen]
pub fn output() -> usize {
    with(0, |page| page.host.output().as_ptr() as usize)
}

/// Length of the output window, in bytes.
#[wasm_bindgen]
pub fn output_length() -> usize {
    with(0, |page| page.host.output().len())
}

/// Opens a destination and gives its number, or `NONE`. The input window holds key, release and environment.
#[wasm_bindgen]
pub fn open(now: f64, otlp: bool, timeout: f64, key: u32, release: u32, environment: u32) -> u32 {
    let lengths = [key as usize, release as usize, environment as usize];
    with(None, |page| {
        page.host.open(instant(now), otlp, Some(span(timeout)), lengths)
    })
    .unwrap_or(NONE)
}

/// Names a resource and a scope, encoded in the input window, by a number, or `NONE` when there are too many.
#[wasm_bindgen]
pub fn origin(destination: u32, resource: u32, scope: u32) -> u32 {
    with(None, |page| {
        page.host.origin(destination, resource as usize, scope as usize)
    })
    .map_or(NONE, u32::from)
}

/// `NONE` when a record of that category may come, else the number of the reason, for which `quantity` is counted.
#[wasm_bindgen]
pub fn admit(now: f64, destination: u32, category: u32, quantity: u32, urgent: bool) -> u32 {
    with(Err(DropReason::Closed), |page| {
        page.host
            .admit(instant(now), destination, category_of(category), quantity, urgent)
    })
    .pipe(reason_number)
}

/// `NONE` when the root of that trace is kept, else the number of the reason, which is counted.
#[wasm_bindgen]
pub fn sample(now: f64, destination: u32, trace: u64, rate: f64) -> u32 {
    with(Err(DropReason::Closed), |page| {
        page.host.sample(instant(now), destination, trace, rate)
    })
    .pipe(reason_number)
}

/// Records the input window; `NONE`, or the number of the reason why not. `began` is when the caller began to make it.
#[wasm_bindgen]
#[allow(
    clippy::too_many_arguments,
    reason = "numbers are what crosses the boundary for nothing"
)]
pub fn record(
    began: f64,
    now: f64,
    destination: u32,
    form: u32,
    category: u32,
    log_bytes: u32,
    trace: u64,
    origin: u32,
    urgent: bool,
    length: u32,
) -> u32 {
    let what = What {
        form: u8::try_from(form)
            .ok()
            .and_then(Form::from_number)
            .unwrap_or(Form::Envelope),
        category: category_of(category),
        log_bytes,
        trace,
        origin: origin as u8,
        urgent,
    };
    with(Outcome::Dropped(DropReason::Closed), |page| {
        page.host.record(
            instant(now),
            span(now - began),
            destination,
            what,
            length as usize,
        )
    })
    .pipe(outcome_number)
}

/// Records the Sentry envelope in the input window, as [`record`].
#[wasm_bindgen]
pub fn envelope(began: f64, now: f64, destination: u32, length: u32) -> u32 {
    with(Outcome::Dropped(DropReason::Closed), |page| {
        page.host
            .record_envelope(instant(now), span(now - began), destination, length as usize)
    })
    .pipe(outcome_number)
}

/// Counts what was lost before it came here.
#[wasm_bindgen]
pub fn lost(now: f64, destination: u32, category: u32, reason: u32, quantity: u32) {
    let reason = u8::try_from(reason).ok().and_then(DropReason::from_number);
    with((), |page| {
        let reason = reason.unwrap_or(DropReason::InternalSdkError);
        page.host
            .lost(instant(now), destination, category_of(category), reason, quantity);
    });
}

/// 0: wait until [`deadline`]. 1: send. 2: closed.
#[wasm_bindgen]
pub fn poll(now: f64, wall: f64) -> u32 {
    with(Next::Idle, |page| page.host.poll(instant(now), wall_time(wall))) as u32
}

/// Identity of the request that [`poll`] gave out.
#[wasm_bindgen]
pub fn sending_id() -> u64 {
    with(0, |page| page.host.sending().id)
}

/// Its destination.
#[wasm_bindgen]
pub fn sending_to() -> u32 {
    with(0, |page| page.host.sending().destination)
}

/// 0 for an envelope, 1 to 3 for OTLP traces, logs and metrics.
#[wasm_bindgen]
pub fn sending_signal() -> u32 {
    with(0, |page| page.host.sending().signal)
}

/// How long it may take, in milliseconds.
#[wasm_bindgen]
pub fn sending_timeout() -> f64 {
    with(Duration::ZERO, |page| page.host.sending().timeout).as_millis() as f64
}

/// The answer to a request. The input window holds `Retry-After`, `X-Sentry-Rate-Limits`, `Content-Type` (negative
/// lengths: not there) and the body.
#[wasm_bindgen]
#[allow(
    clippy::too_many_arguments,
    reason = "numbers are what crosses the boundary for nothing"
)]
pub fn respond(
    now: f64,
    wall: f64,
    id: u64,
    status: u32,
    retry_after: i32,
    rate_limits: i32,
    content_type: i32,
    body: u32,
) {
    let length = |length: i32| usize::try_from(length).ok();
    let answer = Answer {
        status: status as u16,
        retry_after: length(retry_after),
        rate_limits: length(rate_limits),
        content_type: length(content_type),
        body: body as usize,
    };
    with((), |page| {
        page.host.respond(instant(now), wall_time(wall), id, answer)
    });
}

/// A request got no answer. 0: the network failed. 1: it took too long. 2: this side failed.
#[wasm_bindgen]
pub fn fail(now: f64, id: u64, why: u32) {
    let failure = match why {
        0 => Failure::Disconnected,
        1 => Failure::Timeout,
        _ => Failure::Internal,
    };
    with((), |page| page.host.fail(instant(now), id, failure));
}

/// When to [`poll`] next, in milliseconds; infinite when only a call can change anything.
#[wasm_bindgen]
pub fn deadline(now: f64) -> f64 {
    with(None, |page| page.host.deadline(instant(now)))
        .map_or(f64::INFINITY, |at| at.as_micros() as f64 / 1000.0)
}

/// Starts to send everything; gives the flush's number. A fifth at a time shares the number of the fourth.
#[wasm_bindgen]
pub fn flush(now: f64) -> u32 {
    with(NONE, |page| {
        let flush = page.host.flush(instant(now));
        let host = &page.host;
        let free = |slot: &Option<FlushId>| slot.is_none_or(|id| host.is_flushed(id));
        let number = page.flushes.iter().position(free).unwrap_or(FLUSHES - 1);
        if let Some(slot) = page.flushes.get_mut(number) {
            *slot = Some(flush);
        }
        number as u32
    })
}

/// True when everything before that flush is settled.
#[wasm_bindgen]
pub fn flushed(number: u32) -> bool {
    with(true, |page| {
        let slot = page.flushes.get(number as usize).copied().flatten();
        slot.is_none_or(|id| page.host.is_flushed(id))
    })
}

/// Accepts nothing more and ends at `until`.
#[wasm_bindgen]
pub fn close(now: f64, until: f64) {
    with((), |page| page.host.close(instant(now), instant(until)));
}

/// True while an outage keeps records from being delivered.
#[wasm_bindgen]
pub fn troubled() -> bool {
    with(false, |page| page.host.is_troubled())
}

/// Begins to go through the records that are held.
#[wasm_bindgen]
pub fn begin_held() {
    with((), |page| page.host.begin_held());
}

/// Writes the next of them into the output window; false at the end. [`sending_to`] says whose it is.
#[wasm_bindgen]
pub fn next_held() -> bool {
    with(false, |page| page.host.next_held())
}

/// Records what [`next_held`] wrote; `NONE`, or the number of the reason why not.
#[wasm_bindgen]
pub fn restore(now: f64, destination: u32, length: u32) -> u32 {
    with(Outcome::Dropped(DropReason::Closed), |page| {
        page.host.restore(instant(now), destination, length as usize)
    })
    .pipe(outcome_number)
}

/// Writes the status as JSON into the output window.
#[wasm_bindgen]
pub fn status() {
    with((), |page| page.host.status());
}

/// Puts a function behind a value.
trait Pipe: Sized {
    fn pipe<T>(self, then: impl FnOnce(Self) -> T) -> T {
        then(self)
    }
}

impl<T> Pipe for T {}

#[cfg(all(test, target_arch = "wasm32"))]
mod tests;
