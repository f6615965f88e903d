//! Clients from whose queues nothing leaves: each queue there is, at each fill level, before a server that stalls and before a
//! delivery thread that is stuck or gone.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by test programs, each of which uses its own part"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use surgetank::sentry::Level;
use surgetank::{Category, Client, DropReason, MIN_MEMORY, Outcome, Status};

use crate::support::{self, Reply, Server};
use crate::switches::Waits;

const PATIENT: Duration = Duration::from_secs(60);

/// Requests that a client has in flight at a server of which it knows nothing yet.
const IN_FLIGHT: usize = 4;

/// How full a queue is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    Empty,
    OneRecord,
    Half,
    Full,
}

impl Fill {
    pub const ALL: [Self; 4] = [Self::Empty, Self::OneRecord, Self::Half, Self::Full];
}

/// What is full, and why it stays so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The engine's queue, before a server that stalls.
    Queue,
    /// The requests in flight, which a server does not answer: none, one, or as many as there may be.
    InFlight,
    /// The intake, before a delivery thread that is stuck in a callback.
    Intake,
    /// The intake, before a delivery thread that is gone: no panic can kill it, but the kernel does here.
    IntakeOfTheDead,
    /// Spans that wait for their root.
    #[cfg(feature = "opentelemetry")]
    Assembly,
}

impl Place {
    /// Every place at every level.
    pub fn all() -> impl Iterator<Item = (Self, Fill)> {
        let places = [
            Self::Queue,
            Self::InFlight,
            Self::Intake,
            Self::IntakeOfTheDead,
            #[cfg(feature = "opentelemetry")]
            Self::Assembly,
        ];
        places
            .into_iter()
            .flat_map(|place| Fill::ALL.map(|level| (place, level)))
    }
}

/// Opened by the test, passed by whoever waits for that.
#[derive(Default)]
pub struct Barrier {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Barrier {
    pub fn open(&self) {
        *self.open.lock().expect("not poisoned") = true;
        self.changed.notify_all();
    }

    pub fn pass(&self) {
        let open = self.open.lock().expect("not poisoned");
        let (_open, waited) = self
            .changed
            .wait_timeout_while(open, PATIENT, |open| !*open)
            .expect("not poisoned");
        assert!(!waited.timed_out());
    }
}

/// What the next callback is to do.
type Task = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A client in such a state, and what keeps it there until this is dropped.
pub struct Held {
    pub client: Client,
    rest: Rest,
}

/// All but the client.
pub struct Rest {
    /// Lets the delivery thread go on, and the server refuse the first request, which a callback is told.
    go_on: Arc<Barrier>,
    task: Task,
    server: Server,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.go_on.open();
    }
}

impl Held {
    /// Fills the place up to the level; no call may wait.
    pub fn new(place: Place, level: Fill) -> Self {
        let (go_on, stuck) = (Arc::new(Barrier::default()), Arc::new(Barrier::default()));
        let in_callback = matches!(place, Place::Intake | Place::IntakeOfTheDead);
        let refuse = Arc::clone(&go_on);
        let server = Server::start(move |_, number| {
            if number > 0 {
                return Reply::Stall;
            }
            if !in_callback {
                refuse.pass();
            }
            Reply::status(400)
        });
        let task = Task::default();
        let (tell, wait, given) = (Arc::clone(&stuck), Arc::clone(&go_on), Arc::clone(&task));
        let first = AtomicBool::new(in_callback);
        let client = Client::builder()
            .sentry_dsn(&server.dsn())
            .memory(MIN_MEMORY)
            .environment_proxies(false)
            .on_diagnostic(move |_| {
                if first.swap(false, Ordering::SeqCst) {
                    tell.open();
                    if place == Place::IntakeOfTheDead {
                        end_this_thread();
                    }
                    wait.pass();
                }
                let task = given.lock().expect("not poisoned").take();
                if let Some(task) = task {
                    task();
                }
            })
            .build()
            .expect("valid settings");
        assert!(client.start());
        if in_callback {
            record(&client);
            stuck.pass();
        }
        let held = Self {
            client,
            rest: Rest { go_on, task, server },
        };
        held.fill(place, level);
        held
    }

    /// The client, and what has to outlive it.
    pub fn apart(self) -> (Client, Rest) {
        (self.client, self.rest)
    }

    /// Has the delivery thread make `call` in a callback, and gives what came of it.
    pub fn in_callback<T: Send + 'static>(&self, call: impl FnOnce(&Client) -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let client = self.client.clone();
        *self.rest.task.lock().expect("not poisoned") = Some(Box::new(move || {
            let _ = tell.send(catch_unwind(AssertUnwindSafe(|| call(&client))));
        }));
        // An empty queue has nothing yet that could be refused.
        record(&self.client);
        self.rest.go_on.open();
        let made = told.recv_timeout(PATIENT).expect("a callback");
        made.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn fill(&self, place: Place, level: Fill) {
        let overflows = |status: &Status, category, reason| status.totals.dropped(category, reason) > 0;
        match (place, level) {
            (_, Fill::Empty) => {}
            #[cfg(feature = "opentelemetry")]
            (Place::Assembly, _) => {
                let mut end = crate::sdk_span::ends(&self.client);
                self.fill_until(&mut end, |status| match level {
                    Fill::OneRecord => status.assembly.used_bytes > 0,
                    Fill::Half => status.assembly.used_bytes * 2 >= status.assembly.capacity_bytes,
                    _ => overflows(status, Category::Span, DropReason::BufferOverflow),
                });
            }
            (Place::InFlight, _) => {
                let requests = match level {
                    Fill::OneRecord => 1,
                    Fill::Half => IN_FLIGHT / 2,
                    _ => IN_FLIGHT,
                };
                (0..requests).for_each(|_| record(&self.client));
                self.rest.server.wait_for(|arrived| arrived.len() == requests);
            }
            (_, Fill::OneRecord) => record(&self.client),
            (Place::Queue, _) => self.fill_until(&mut || record(&self.client), |status| match level {
                Fill::Half => status.queue.used_bytes * 2 >= status.queue.capacity_bytes,
                _ => overflows(status, Category::Error, DropReason::QueueOverflow),
            }),
            (Place::Intake | Place::IntakeOfTheDead, _) => {
                self.fill_until(&mut || record(&self.client), |status| match level {
                    Fill::Half => status.intake.used_bytes * 2 >= status.intake.capacity_bytes,
                    // Nobody else counts it.
                    _ => {
                        let more = self.client.message(Level::Error, &"x".repeat(2000));
                        more.outcome == Outcome::Dropped(DropReason::QueueOverflow)
                    }
                });
            }
        }
    }

    fn fill_until(&self, record: &mut dyn FnMut(), done: impl Fn(&Status) -> bool) {
        let mut waits = Waits::default();
        let begun = support::now();
        loop {
            waits.count(&mut *record);
            let status = self.client.status();
            if done(&status) {
                break;
            }
            assert!(begun.elapsed() < PATIENT, "{status:?}");
        }
        assert_eq!(waits.waits, 0, "{waits:?}");
    }
}

pub fn record(client: &Client) {
    let _ = client.message(Level::Error, str::from_utf8(&[b'x'; 200]).expect("text"));
}

/// Ends the delivery thread as nothing does that Rust could catch.
fn end_this_thread() {
    // SAFETY: ends this thread alone; what lies on its stack stays as it is, and nobody waits for the thread.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
