//! The delivery thread: its start, its loop, its end.
//!
//! It is a native thread with a single-threaded runtime of its own, so it depends on nothing of the application: not on
//! its runtime, not on green threads, not on its locks. It starts at first use, because a thread that is made before
//! `fork` does not exist in the child.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use surgetank_core::engine::FlushId;
use surgetank_core::intake::{Budget, Consumer, Sleep};
use surgetank_core::time::Instant;

use super::control::{Done, Shared, locked};
use super::fork::unforked;
use super::kernel::{Attempts, Kernel, Round};
use super::thread::become_delivery_thread;
use super::wake::{Bell, UnboundBell};
use super::{Exporter, PUBLISH_INTERVAL};
use crate::panics::panicked;

/// No thread; the next record starts one.
pub(super) const NOT_STARTED: u8 = 0;
/// Somebody is starting it.
pub(super) const STARTING: u8 = 1;
/// It runs.
pub(super) const RUNNING: u8 = 2;
/// It ended and will not come back.
pub(super) const ENDED: u8 = 3;

/// Pause between two tries to start a thread that the operating system refused.
const START_PAUSE_MS: u64 = 1000;

/// Bytes taken out of the intake before the loop looks at answers again. Requests make progress only between two rounds: with
/// eight times as much, a flood makes the thread take in (and push out again) what could have been sent meanwhile, a third
/// less for its time (`tests/bench/FINDINGS.md`).
const DRAIN_BYTES: usize = 32 * 1024;

/// While records come steadily the thread looks for them this often instead of having every one of them wake it.
const NAP: Duration = Duration::from_millis(1);

/// How long a producer holds a slot open before that is news.
const OPEN_SLOT_NEWS: Duration = Duration::from_millis(100);

/// Longest pause after a panic; the first one is 10 ms, and each doubles.
const MAX_PANIC_PAUSE: Duration = Duration::from_secs(1);

/// Starts the thread unless it runs. One load when it does. True when it runs or is about to.
#[inline]
pub(super) fn start<E: Exporter>(shared: &Arc<Shared<E>>) -> bool {
    // Acquire pairs with the thread's own stores; producers need nothing of what was written before them.
    match shared.state.load(Ordering::Acquire) {
        STARTING | RUNNING => true,
        ENDED => false,
        _ => start_thread(shared),
    }
}

#[cold]
fn start_thread<E: Exporter>(shared: &Arc<Shared<E>>) -> bool {
    let now = shared.clock.now().as_micros() / 1000;
    if now < shared.next_start.load(Ordering::Relaxed) {
        return false;
    }
    let begun = shared
        .state
        .compare_exchange(NOT_STARTED, STARTING, Ordering::AcqRel, Ordering::Acquire);
    if let Err(other) = begun {
        return other != ENDED;
    }
    let name = match &*locked(&shared.parked) {
        Some((kernel, _)) => kernel.config.thread_name,
        None => "",
    };
    let own = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || thread_main(&own));
    if spawned.is_err() {
        start_failed(shared);
        return false;
    }
    true
}

fn start_failed<E: Exporter>(shared: &Shared<E>) {
    shared.failed_starts.fetch_add(1, Ordering::Relaxed);
    let now = shared.clock.now().as_micros() / 1000;
    shared.next_start.store(now + START_PAUSE_MS, Ordering::Relaxed);
    shared.state.store(NOT_STARTED, Ordering::Release);
}

/// Makes a delivery whose thread never ran one that ended. False when it runs after all.
pub(super) fn retire<E: Exporter>(shared: &Shared<E>) -> bool {
    let retired = shared
        .state
        .compare_exchange(NOT_STARTED, ENDED, Ordering::AcqRel, Ordering::Acquire)
        .is_ok();
    if retired {
        let done = Done {
            ended: true,
            ..Done::default()
        };
        shared.publish(done, |_| {});
    }
    retired
}

fn thread_main<E: Exporter>(shared: &Arc<Shared<E>>) {
    become_delivery_thread();
    let runtime = unforked(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(16)
            .thread_name("surgetank-lookup")
            .on_thread_start(become_delivery_thread)
            .build()
    });
    let Ok(runtime) = runtime else {
        start_failed(shared);
        return;
    };
    let mut parked = locked(&shared.parked);
    let bound = parked.as_ref().map(|(_, bell)| {
        let _runtime = runtime.enter();
        bell.bind()
    });
    let (Some(Ok(bell)), Some((mut kernel, unbound))) = (bound, parked.take()) else {
        drop(parked);
        start_failed(shared);
        return;
    };
    drop(parked);
    shared.state.store(RUNNING, Ordering::Release);
    let mut attempts = Attempts::new();
    let mut work = Work::new(shared.clock.now());
    let mut panics = 0u32;
    while panicked(|| {
        if panics > 0 && kernel.recover(shared.clock.now(), &mut attempts) {
            kernel.ids().for_each(|id| shared.publish_id(id));
            work.begin_flushes_again();
        }
        runtime.block_on(async {
            if panics > 0 {
                let pause = Duration::from_millis(10).saturating_mul(1 << panics.min(7));
                tokio::time::sleep(pause.min(MAX_PANIC_PAUSE)).await;
            }
            deliver(shared, &mut kernel, &mut attempts, &mut work, &bell).await;
        });
    }) {
        panics = panics.saturating_add(1);
        shared.restarts.fetch_add(1, Ordering::Relaxed);
    }
    end(shared, kernel, unbound, &work);
    drop(attempts);
    // Neither a lookup that hangs nor a connection that is being made holds the thread.
    runtime.shutdown_background();
}

fn end<E: Exporter>(shared: &Shared<E>, mut kernel: Kernel<E>, bell: UnboundBell, work: &Work) {
    // Whoever opens a destination from here on is told that there is nobody.
    locked(&shared.commands).clear();
    kernel.publish_gates(shared.clock.now(), &shared.intake);
    let done = Done {
        flushed: work.asked,
        looked: shared.looks.load(Ordering::Acquire),
        ended: true,
    };
    shared.publish(done, |snapshot| {
        kernel.snapshot(shared.clock.now(), snapshot);
        shared.state.store(ENDED, Ordering::Release);
    });
    drop(bell);
}

/// What the loop remembers between two rounds, and across a panic.
struct Work {
    /// The newest flush that is known here.
    asked: u64,
    flushes: Vec<Flush>,
    published: Instant,
    /// The newest look that was answered.
    looked: u64,
    /// The engine was told to close.
    closing: bool,
    /// Where a producer holds a slot open, and since when.
    stuck: Option<(usize, Instant)>,
}

struct Flush {
    number: u64,
    /// Bytes drained since it began.
    drained: usize,
    /// The engine was told to send what it has, while a producer that is in the middle of a record holds up the rest.
    hurried: bool,
    /// Set once everything that was in the intake when it began is in the engine.
    id: Option<FlushId>,
}

impl Work {
    fn new(now: Instant) -> Self {
        Self {
            asked: 0,
            flushes: Vec::new(),
            published: now,
            looked: 0,
            closing: false,
            stuck: None,
        }
    }

    /// The engine was made anew: flushes that it was told of are unknown to it.
    fn begin_flushes_again(&mut self) {
        for flush in &mut self.flushes {
            (flush.hurried, flush.id) = (false, None);
        }
    }

    fn note_flushes<E: Exporter>(&mut self, shared: &Shared<E>) {
        let asked = shared.flushes.load(Ordering::Acquire);
        if asked > self.asked {
            self.asked = asked;
            self.flushes.push(Flush {
                number: asked,
                drained: 0,
                hurried: false,
                id: None,
            });
        }
    }

    /// Carries flushes on; the number of the newest that is done.
    fn carry_flushes<E: Exporter>(
        &mut self,
        kernel: &mut Kernel<E>,
        consumer: &Consumer<'_>,
        drained: usize,
        capacity: usize,
        now: Instant,
    ) -> u64 {
        let mut done = 0;
        self.flushes.retain_mut(|flush| {
            flush.drained = flush.drained.saturating_add(drained);
            let id = match flush.id {
                Some(id) => id,
                None => {
                    // The ring cannot have held more than its capacity.
                    if flush.drained < capacity && !consumer.is_empty() {
                        if !core::mem::replace(&mut flush.hurried, true) {
                            let _ = kernel.flush(now);
                        }
                        return true;
                    }
                    *flush.id.insert(kernel.flush(now))
                }
            };
            if !kernel.is_flushed(id) {
                return true;
            }
            done = done.max(flush.number);
            false
        });
        done
    }

    /// Looks at a producer that holds a slot open; how long it has.
    fn open_slot(&mut self, consumer: &Consumer<'_>, now: Instant) -> surgetank_core::time::Duration {
        let Some(position) = consumer.stuck_position() else {
            self.stuck = None;
            return surgetank_core::time::Duration::ZERO;
        };
        match self.stuck {
            Some((known, since)) if known == position => now.since(since),
            _ => {
                self.stuck = Some((position, now));
                surgetank_core::time::Duration::ZERO
            }
        }
    }
}

/// The loop. Returns when the delivery is closed.
async fn deliver<E: Exporter>(
    shared: &Arc<Shared<E>>,
    kernel: &mut Kernel<E>,
    attempts: &mut Attempts,
    work: &mut Work,
    bell: &Bell,
) {
    // Only this thread reads while it runs.
    let Some(mut consumer) = shared.intake.consumer() else {
        return;
    };
    // The record in hand when an earlier round panicked may be why it did.
    consumer.skip_interrupted();
    let capacity = shared.intake.capacity();
    let budget = Budget {
        records: usize::MAX,
        bytes: DRAIN_BYTES,
    };
    let mut reported_slot = surgetank_core::time::Duration::ZERO;
    loop {
        let now = shared.clock.now();
        let looked = shared.looks.load(Ordering::Acquire);
        work.note_flushes(shared);
        for command in locked(&shared.commands).drain(..) {
            let opened = kernel.open(now, command.spec);
            if let Ok(id) = opened {
                shared.publish_id(id);
            }
            // Whoever asked may have gone.
            let _ = command.answer.send(opened);
        }
        let drained = kernel.drain(now, &mut consumer, budget);
        kernel.settle(now, attempts);
        let flushed = work.carry_flushes(kernel, &consumer, drained.bytes, capacity, now);
        if let Some(until) = shared.closing()
            && (consumer.is_empty() || now >= until)
        {
            work.closing = true;
            kernel.close(now, until);
        }
        let open_slot = work.open_slot(&consumer, now);
        if open_slot != reported_slot && (open_slot.is_zero() || open_slot >= OPEN_SLOT_NEWS.into()) {
            reported_slot = open_slot;
            kernel.probe(now, open_slot);
        }
        let round = kernel.act(now, attempts);
        kernel.publish_gates(now, &shared.intake);
        kernel.publish_door(now, &shared.door);
        let deadline = match round {
            Round::Closed => return,
            Round::Again => Some(now),
            Round::Idle(deadline) => deadline.map(|deadline| deadline.at),
        };
        if flushed > 0 || looked > work.looked || now.since(work.published) >= PUBLISH_INTERVAL.into() {
            work.published = now;
            work.looked = looked;
            let done = Done {
                flushed,
                looked,
                ended: false,
            };
            shared.publish(done, |snapshot| kernel.snapshot(now, snapshot));
        }
        if drained.more || matches!(round, Round::Again) || deadline.is_some_and(|at| at <= now) {
            // Attempts make progress only while the loop waits.
            tokio::task::yield_now().await;
            continue;
        }
        let soon = |span: Duration| Some(now.saturating_add(span.into()));
        let mut until = deadline;
        if work.flushes.iter().any(|flush| flush.id.is_none()) {
            until = earlier(until, soon(NAP));
        }
        if !work.closing {
            until = earlier(until, shared.closing());
        }
        if drained.records > 0 && drained.bytes < capacity / 16 {
            // Records come, but not so many that the intake fills during a nap. Nobody has to wake the thread for them.
            until = earlier(until, soon(NAP));
        } else {
            match consumer.sleep() {
                Sleep::UntilWoken => {}
                Sleep::Nap(nap) => until = earlier(until, soon(nap.into())),
                Sleep::No => continue,
            }
            // Whoever looks while the thread sleeps sees everything.
            work.published = now;
            shared.publish(Done::default(), |snapshot| kernel.snapshot(now, snapshot));
        }
        wait(shared, kernel, attempts, bell, until).await;
    }
}

/// Waits for a ring, an answer or the deadline.
async fn wait<E: Exporter>(
    shared: &Shared<E>,
    kernel: &mut Kernel<E>,
    attempts: &mut Attempts,
    bell: &Bell,
    until: Option<Instant>,
) {
    let deadline = async {
        match until {
            Some(until) => tokio::time::sleep_until(shared.clock.at(until)).await,
            None => core::future::pending().await,
        }
    };
    tokio::select! {
        () = bell.wait() => {
            shared.wake_ups.fetch_add(1, Ordering::Relaxed);
        }
        Some(ended) = attempts.join_next_with_id() => kernel.settle_one(shared.clock.now(), ended),
        () = deadline => {}
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::super::tests::{Behaviour, TestExporter, config, span, spec};
    use super::*;

    #[test]
    fn a_flush_outlives_the_engine_that_was_told_of_it() {
        let clock = Clock::start();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _runtime = runtime.enter();
        let exporter = TestExporter::new(Behaviour::Stall);
        let (mut kernel, ids) = Kernel::new(config(), exporter, vec![spec()], clock.now()).unwrap();
        let intake = surgetank_core::intake::Intake::allocate(4096).unwrap();
        let mut consumer = intake.consumer().unwrap();
        let mut work = Work::new(clock.now());
        let flush = |number| Flush {
            number,
            drained: 0,
            hurried: false,
            id: None,
        };
        // The first two are carried out by the first engine, so that the third has a number the second does not know.
        for number in 1..=3 {
            work.flushes.push(flush(number));
            if number == 3 {
                let _ = intake.push(&span(ids[0]), b"x");
                kernel.drain(clock.now(), &mut consumer, Budget::ALL);
            }
            let done = work.carry_flushes(&mut kernel, &consumer, 0, 4096, clock.now());
            assert_eq!(done, if number == 3 { 0 } else { number });
        }
        kernel.break_engine();
        assert!(kernel.recover(clock.now(), &mut Attempts::new()));
        work.begin_flushes_again();
        // Its record is lost and counted: nothing is left to wait for.
        assert_eq!(
            work.carry_flushes(&mut kernel, &consumer, 0, 4096, clock.now()),
            3
        );
    }
}
