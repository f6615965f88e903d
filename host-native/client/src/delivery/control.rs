//! What the delivery thread and everybody else share, and the calls that wait for it.
//!
//! Producers touch only the intake, the ring and one atomic state. The locks here are taken by whoever flushes,
//! closes, asks for the status or opens a destination, and by the delivery thread for moments; nobody waits for
//! anything while holding one. After `fork` the child makes a new delivery, so a lock that was held in the parent is
//! never met.

use core::time::Duration;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use surgetank_core::engine::OpenError;
use surgetank_core::health::{Cause, CauseSet, Level};
use surgetank_core::intake::{Intake, Word};
use surgetank_core::item::DestinationId;
use surgetank_core::time::Instant;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::door::Door;
use super::kernel::Kernel;
use super::status::{Fill, Snapshot, Status, WorkerState, WorkerStatus};
use super::thread::on_delivery_thread;
use super::wake::{Ring, UnboundBell};
use super::{DeliveryError, DestinationSpec, Exporter, FlushReport, worker};

/// How long beyond its deadline `close` waits for the delivery thread to settle the accounts of what it dropped.
const ACCOUNTING: Duration = Duration::from_millis(50);

/// How long `status` waits for the delivery thread to bring the figures up to date.
const LOOK: Duration = Duration::from_millis(20);

/// How long the delivery thread may leave a look unanswered before it counts as stalled.
const STALLED: Duration = Duration::from_secs(1);

/// As much of the intake is touched when it is made: all of a client's with its default memory. A page that a recording call
/// touches first costs it a microsecond, and sometimes a wait for the kernel's lock of the process's memory map.
const TOUCHED_BYTES: usize = 1024 * 1024;

/// No close was asked for.
const NEVER: u64 = u64::MAX;

pub(super) struct Shared<E: Exporter> {
    pub(super) intake: Intake<Box<[Word]>>,
    pub(super) door: Door,
    pub(super) ring: Ring,
    pub(super) clock: Clock,
    /// One of [`worker`]'s states.
    pub(super) state: AtomicU8,
    /// Milliseconds on the clock before which no new start is tried.
    pub(super) next_start: AtomicU64,
    pub(super) failed_starts: AtomicU32,
    pub(super) restarts: AtomicU32,
    pub(super) wake_ups: AtomicU64,
    /// Flushes asked for; the number of the newest.
    pub(super) flushes: AtomicU64,
    /// Times somebody asked for up-to-date figures.
    pub(super) looks: AtomicU64,
    /// Microseconds on the clock at which closing ends, or [`NEVER`].
    pub(super) close_at: AtomicU64,
    /// Id bits of each open destination plus one; 0 for none.
    ids: Vec<AtomicU64>,
    /// What the thread needs, until it takes it.
    pub(super) parked: Mutex<Option<(Kernel<E>, UnboundBell)>>,
    pub(super) commands: Mutex<Vec<Command<E::Target>>>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

pub(super) struct Command<T> {
    pub(super) spec: DestinationSpec<T>,
    pub(super) answer: oneshot::Sender<Result<DestinationId, OpenError>>,
}

#[derive(Default)]
struct Progress {
    /// The newest flush that is done.
    flushed: u64,
    /// The newest look that is answered.
    looked: u64,
    /// Since when looks are left unanswered.
    unanswered_since: Option<Instant>,
    ended: bool,
    snapshot: Snapshot,
}

/// What the thread has done.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    /// The newest flush that is done; 0 for none.
    pub(super) flushed: u64,
    /// The newest look that these figures answer; 0 for none.
    pub(super) looked: u64,
    /// It ended.
    pub(super) ended: bool,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it left whole values: every change is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<E: Exporter> Shared<E> {
    pub(super) fn new(
        mut kernel: Kernel<E>,
        clock: Clock,
        ring: Ring,
        bell: UnboundBell,
    ) -> Result<Self, DeliveryError> {
        let mut intake = Intake::allocate(kernel.config.intake_bytes).map_err(DeliveryError::Intake)?;
        intake.touch(TOUCHED_BYTES);
        let mut snapshot = Snapshot::default();
        kernel.snapshot(clock.now(), &mut snapshot);
        let door = Door::new(kernel.config.max_destinations);
        kernel.publish_door(clock.now(), &door);
        let shared = Self {
            intake,
            door,
            ring,
            clock,
            state: AtomicU8::new(worker::NOT_STARTED),
            next_start: AtomicU64::new(0),
            failed_starts: AtomicU32::new(0),
            restarts: AtomicU32::new(0),
            wake_ups: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            close_at: AtomicU64::new(NEVER),
            ids: (0..kernel.config.max_destinations)
                .map(|_| AtomicU64::new(0))
                .collect(),
            parked: Mutex::new(None),
            commands: Mutex::new(Vec::new()),
            progress: Mutex::new(Progress {
                snapshot,
                ..Progress::default()
            }),
            changed: Condvar::new(),
        };
        for id in kernel.ids() {
            shared.publish_id(id);
        }
        *locked(&shared.parked) = Some((kernel, bell));
        Ok(shared)
    }

    pub(super) fn publish_id(&self, id: DestinationId) {
        if let Some(cell) = self.ids.get(id.index()) {
            cell.store(u64::from(id.bits()) + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_current(&self, id: DestinationId) -> bool {
        self.ids
            .get(id.index())
            .is_some_and(|cell| cell.load(Ordering::Relaxed) == u64::from(id.bits()) + 1)
    }

    pub(super) fn send_open(
        &self,
        spec: DestinationSpec<E::Target>,
    ) -> oneshot::Receiver<Result<DestinationId, OpenError>> {
        let (answer, receiver) = oneshot::channel();
        locked(&self.commands).push(Command { spec, answer });
        receiver
    }

    /// The deadline of closing, once somebody asked for it.
    pub(super) fn closing(&self) -> Option<Instant> {
        match self.close_at.load(Ordering::Acquire) {
            NEVER => None,
            micros => Some(Instant::from_micros(micros)),
        }
    }

    /// Publishes where the thread is and wakes whoever waits for it.
    pub(super) fn publish(&self, done: Done, snapshot: impl FnOnce(&mut Snapshot)) {
        let mut progress = locked(&self.progress);
        progress.flushed = progress.flushed.max(done.flushed);
        progress.looked = progress.looked.max(done.looked);
        progress.unanswered_since = None;
        progress.ended |= done.ended;
        snapshot(&mut progress.snapshot);
        drop(progress);
        self.changed.notify_all();
    }

    /// Waits until `done` or the deadline; false for the latter. On the delivery thread it does not wait.
    fn wait(&self, until: Instant, done: impl Fn(&Progress) -> bool) -> bool {
        let mut progress = locked(&self.progress);
        loop {
            if done(&progress) {
                return true;
            }
            let left = until.since(self.clock.now());
            if left.is_zero() || on_delivery_thread() {
                return false;
            }
            progress = self
                .changed
                .wait_timeout(progress, left.into())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Nothing was ever recorded: there is nothing to wait for.
    fn is_untouched(&self) -> bool {
        self.state.load(Ordering::Acquire) == worker::NOT_STARTED
            && self.intake.fill_bytes() == 0
            && locked(&self.commands).is_empty()
    }
}

fn deadline(now: Instant, timeout: Duration) -> Instant {
    now.saturating_add(timeout.into())
}

pub(super) fn flush<E: Exporter>(shared: &std::sync::Arc<Shared<E>>, timeout: Duration) -> FlushReport {
    let until = deadline(shared.clock.now(), timeout);
    let before = status(shared).totals;
    if shared.is_untouched() {
        return report(shared, before, true);
    }
    let number = shared.flushes.fetch_add(1, Ordering::AcqRel) + 1;
    worker::start(shared);
    shared.ring.ring();
    let done = shared.wait(until, |progress| progress.flushed >= number || progress.ended);
    report(shared, before, done)
}

pub(super) fn close<E: Exporter>(shared: &std::sync::Arc<Shared<E>>, timeout: Duration) -> FlushReport {
    let until = deadline(shared.clock.now(), timeout);
    let before = status(shared).totals;
    let untouched = shared.is_untouched();
    shared.intake.close();
    // A value below `NEVER`: the clock would need half a million years.
    shared
        .close_at
        .fetch_min(until.as_micros().min(NEVER - 1), Ordering::AcqRel);
    if untouched && shared.intake.fill_bytes() == 0 && worker::retire(shared) {
        return report(shared, before, true);
    }
    worker::start(shared);
    shared.ring.ring();
    let ended = shared.wait(deadline(until, ACCOUNTING), |progress| progress.ended);
    let mut report = report(shared, before, ended);
    report.complete &= report.intake_bytes == 0
        && report.left().next().is_none()
        && report.sums.categories().all(|(category, _)| {
            let dropped =
                |sums: &super::Sums| sums.dropped(category, surgetank_core::item::DropReason::Closed);
            dropped(&report.sums) == dropped(&report.before)
        });
    report
}

fn report<E: Exporter>(shared: &Shared<E>, before: super::Sums, done: bool) -> FlushReport {
    let status = status(shared);
    FlushReport {
        complete: done,
        sums: status.totals,
        before,
        // After a flush that is done, what lies there came later.
        intake_bytes: if done && !shared.intake.is_closed() {
            0
        } else {
            shared.intake.fill_bytes() as u64
        },
    }
}

/// Asks the thread, if it runs, to bring the figures up to date.
fn look<E: Exporter>(shared: &Shared<E>) {
    if shared.state.load(Ordering::Acquire) != worker::RUNNING || on_delivery_thread() {
        return;
    }
    let number = shared.looks.fetch_add(1, Ordering::AcqRel) + 1;
    shared.ring.ring();
    let now = shared.clock.now();
    let answered = |progress: &Progress| progress.looked >= number || progress.ended;
    if !shared.wait(deadline(now, LOOK), answered) {
        locked(&shared.progress).unanswered_since.get_or_insert(now);
    }
}

pub(super) fn status<E: Exporter>(shared: &Shared<E>) -> Status {
    look(shared);
    let mut progress = locked(&shared.progress);
    // Read under the lock: the thread ends under it.
    let state = shared.state.load(Ordering::Acquire);
    if state == worker::ENDED {
        // Nobody else reads the intake any more: what producers counted since is added here.
        let sums = &mut progress.snapshot.sums;
        if let Some(mut consumer) = shared.intake.consumer() {
            consumer.take_losses(|_, category, reason, quantity| sums.lose(category, reason, quantity));
        }
    } else if let Some((kernel, _)) = locked(&shared.parked).as_mut() {
        // No thread has taken it, so nobody else reads the intake while this lock is held.
        let now = shared.clock.now();
        if let Some(mut consumer) = shared.intake.consumer() {
            kernel.take_losses(now, &mut consumer);
        }
        kernel.snapshot(now, &mut progress.snapshot);
    }
    let snapshot = progress.snapshot.clone();
    let unanswered = progress.unanswered_since;
    drop(progress);
    let failed_starts = shared.failed_starts.load(Ordering::Relaxed);
    let no_thread = failed_starts > 0 && state == worker::NOT_STARTED;
    let stuck = unanswered.is_some_and(|since| shared.clock.now().since(since) >= STALLED.into());
    let mut health = snapshot.health;
    if no_thread || (stuck && state == worker::RUNNING) {
        health.level = Level::Unhealthy;
        health.causes = health.causes.union(CauseSet::of(Cause::WorkerStalled));
    }
    Status {
        health,
        worker: WorkerStatus {
            state: match state {
                worker::NOT_STARTED | worker::STARTING => WorkerState::NotStarted,
                worker::ENDED => WorkerState::Ended,
                _ => WorkerState::Running,
            },
            wake_ups: shared.wake_ups.load(Ordering::Relaxed),
            restarts: shared.restarts.load(Ordering::Relaxed),
            failed_starts,
        },
        queue: snapshot.queue,
        assembly: snapshot.assembly,
        in_flight: snapshot.in_flight,
        intake: Fill {
            used_bytes: shared.intake.fill_bytes() as u64,
            capacity_bytes: shared.intake.capacity() as u64,
        },
        downsample_factor: snapshot.factor,
        destinations: snapshot.destinations,
        totals: snapshot.sums,
        stale_answers: snapshot.stale_answers,
        stalls: snapshot.stalls,
        notices_lost: snapshot.notices_lost,
        diagnostics: snapshot.diagnostics,
    }
}
